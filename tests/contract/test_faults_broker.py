"""Faults of brokers on real connections: silence, revoked accounts, shared names, old papers."""

import asyncio
import random
import ssl
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.support.brokers import TOPICS, Embedded, account, collect
from tests.support.nodes import Control, until
from treasury.bus import client as bus_client
from treasury.bus.client import BusClient
from treasury.bus.messages import BrokerAddress
from treasury.domain.time import SECOND
from treasury.engine import Book
from treasury.runtime.clocks import SystemClock
from treasury.store.memory import MemoryStore


@asynccontextmanager
async def listening(answer, context: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    """A server that is no broker; its port."""
    server = await asyncio.start_server(answer, "127.0.0.1", 0, ssl=context)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


@asynccontextmanager
async def connecting(client: BusClient) -> AsyncIterator[list[int]]:
    """A client that runs; the instants at which it was connected."""
    came: list[int] = []
    clock = SystemClock()
    task = asyncio.create_task(
        client.run([(TOPICS.status, 1)], lambda: came.append(clock.now()), lambda *_: None)
    )
    try:
        yield came
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        collect()


def made(address: BrokerAddress, name: str = "control-test-1", password: str = "") -> BusClient:
    """The control's connection."""
    user, word = account("control")
    return BusClient(address, user, password or word, name, SystemClock(), random.Random(1))


async def test_a_line_that_has_gone_dead_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    """The peer took the connection and the subscription and then never answers again, though the
    socket stays open: after one and a half keepalives it is given up, and tried anew."""
    monkeypatch.setattr(bus_client, "_KEEPALIVE_S", 1)
    taken = 0

    async def half_open(reader, writer) -> None:
        nonlocal taken
        taken += 1
        await reader.readexactly(1)
        await reader.readexactly((await reader.readexactly(1))[0])
        writer.write(b"\x20\x02\x00\x00")
        await reader.readexactly(1)
        body = await reader.readexactly((await reader.readexactly(1))[0])
        writer.write(b"\x90\x03" + body[:2] + b"\x01")
        while await reader.read(100):
            pass
        writer.close()

    async with listening(half_open) as port:
        client = made(BrokerAddress("127.0.0.1", port))
        async with connecting(client) as came:
            await until(lambda: client.up_since is not None, "connected")
            first = came[0]
            await until(lambda: taken == 2, "another connection")
            await until(lambda: len(came) == 2, "connected again")
            assert came[1] - first >= SECOND


async def test_a_revoked_account_is_told_and_money_goes_on() -> None:
    """The broker lets the control in no more: its health says so, turns are taken all the same, and
    with the account back the connection comes back by itself."""
    broker = Embedded()
    await broker.start()
    control = Control(broker, Book(), MemoryStore())
    right, control.bus.client._password = control.bus.client._password, "revoked"
    await control.start()
    await until(lambda: "not connected yet" not in control.bus.client.fault, "a refusal")
    assert control.bus.status()["connected"] is False
    assert control.bus.client.fault
    turn = control.book.seq
    assert turn >= 3
    control.bus.client._password = right
    await until(lambda: control.bus.status()["connected"], "a connection")
    assert control.bus.client.fault == ""
    await control.stop()
    await broker.kill()
    collect()


async def test_two_leaders_do_not_throw_each_other_out() -> None:
    """A deposed daemon and its successor have names of their own on the broker, by epoch: both stay
    connected. Under one name the broker would drop the older each time."""
    broker = Embedded()
    await broker.start()
    one, two = (made(broker.address, f"control-test-{epoch}") for epoch in (1, 2))
    async with connecting(one) as first, connecting(two) as second:
        await until(lambda: first and second, "both connected")
        for client in (one, two):
            assert await client.publish(TOPICS.status, b"{}")
        await asyncio.sleep(0.3)
        assert (len(first), len(second)) == (1, 1)
        assert one.up_since is not None and two.up_since is not None
    await broker.kill()


def papers(folder: Path) -> ssl.SSLContext:
    """A server's certificate that ran out in 2021, and its own authority."""
    files = ["-keyout", str(folder / "key.pem"), "-out", str(folder / "request.pem")]
    subject = ["-subj", "/CN=broker", "-addext", "subjectAltName=IP:127.0.0.1"]
    subprocess.run(
        ["openssl", "req", "-newkey", "rsa:2048", "-nodes", *subject, *files],
        check=True,
        capture_output=True,
    )
    dates = ["-not_before", "20200101000000Z", "-not_after", "20210101000000Z"]
    sign = ["openssl", "x509", "-req", "-in", str(folder / "request.pem"), "-copy_extensions"]
    signed = [*sign, "copyall", "-signkey", str(folder / "key.pem")]
    where = ["-out", str(folder / "cert.pem")]
    found = subprocess.run([*signed, *dates, *where], capture_output=True, check=False)
    if found.returncode:
        # OpenSSL before 3.4 has no dates for this verb: a day that ended yesterday.
        subprocess.run([*signed, "-days", "-1", *where], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "cert.pem", folder / "key.pem")
    return context


# paho leaves the socket of a refused handshake to the collector.
@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
async def test_an_expired_certificate_keeps_us_outside_and_never_in_the_clear(
    tmp_path: Path,
) -> None:
    """It is refused with its reason, tried again later each time, and no byte of MQTT, with our
    password in it, is sent to a peer that could not prove who it is."""
    said: list[bytes] = []

    async def listen(reader, writer) -> None:
        said.append(await reader.read(100))
        writer.close()

    context = papers(tmp_path)
    async with listening(listen, context) as port:
        ca = str(tmp_path / "cert.pem")
        client = made(BrokerAddress("127.0.0.1", port, tls=True, ca=ca))
        async with connecting(client) as came:
            await until(lambda: "expired" in client.fault, "a refusal with its reason")
            await asyncio.sleep(1.5)
            assert "certificate has expired" in client.fault
            assert came == [] and client.up_since is None
    assert b"".join(said) == b""
