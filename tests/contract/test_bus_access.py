"""Who may say and hear what, asked of the brokers themselves."""

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import aiomqtt
import pytest

from tests.conftest import Require
from tests.support.brokers import (
    MOSQUITTO,
    TOPICS,
    AnyBroker,
    Mosquitto,
    account,
    certify,
    collect,
)
from tests.support.nodes import Control, Node, until
from treasury.bus.fields import SIZE_MAX
from treasury.bus.topics import FROM_CONTROL, FROM_NODE
from treasury.domain.task import Task
from treasury.domain.time import SECOND
from treasury.engine import Book
from treasury.store.memory import MemoryStore

TOLD = b"x"


def client(broker: AnyBroker, name: str, word: str, who: str) -> Any:
    """A connection of an account."""
    return aiomqtt.Client(
        broker.address.host,
        broker.address.port,
        username=name,
        password=word,
        identifier=who,
        protocol=aiomqtt.ProtocolVersion.V311,
        timeout=10,
    )


async def heard(listener: Any, marker: str) -> set[str]:
    """Topics a client hears of, up to a message on `marker`."""
    topics = set()
    async for message in listener.messages:
        if message.topic.value == marker:
            return topics
        topics.add(message.topic.value)
    raise AssertionError("the connection ended")


async def test_a_machine_says_only_its_own(broker: AnyBroker) -> None:
    """Of everything machine 1 publishes, only its own report and log reach anybody."""
    name, word = account("control")
    async with client(broker, name, word, "c") as control:
        await control.subscribe(f"{TOPICS.root}/#", 1)
        async with client(broker, *account("1"), "n1") as node:
            for lease in (1, 2):
                for channel in (*FROM_CONTROL, *FROM_NODE):
                    await node.publish(TOPICS.node(lease, channel), TOLD, qos=0)
            for topic in (TOPICS.status, TOPICS.events, TOPICS.prices("aws")):
                await node.publish(topic, TOLD, qos=0)
            # The broker has answered once this is through, on the same connection.
            await node.publish(TOPICS.node(1, "report"), TOLD, qos=1)
        await control.publish(f"{TOPICS.root}/end", TOLD, qos=1)
        expected = {TOPICS.node(1, channel) for channel in FROM_NODE}
        assert await asyncio.wait_for(heard(control, f"{TOPICS.root}/end"), 10) == expected


async def test_a_machine_hears_only_its_own(broker: AnyBroker) -> None:
    """Whatever filter machine 1 asks for, no other machine's orders or secrets come to it."""
    async with client(broker, *account("1"), "n1") as node:
        for topic in ("#", f"{TOPICS.root}/#", TOPICS.nodes("order"), TOPICS.node(2, "secret")):
            try:
                await node.subscribe(topic, 1)
            except aiomqtt.MqttError:
                continue
        await node.subscribe([(TOPICS.node(1, channel), 1) for channel in FROM_CONTROL])
        async with client(broker, *account("control"), "c") as control:
            for lease in (2, 1):
                for channel in ("order", "secret", "ack"):
                    await control.publish(TOPICS.node(lease, channel), TOLD, qos=1)
        assert await asyncio.wait_for(heard(node, TOPICS.node(1, "ack")), 10) == {
            TOPICS.node(1, "order"),
            TOPICS.node(1, "secret"),
        }


async def test_a_viewer_sees_prices_and_commands_nobody(broker: AnyBroker) -> None:
    """The viewer hears prices, events and status; what it publishes reaches nobody."""
    async with client(broker, *account("viewer"), "v") as viewer:
        await viewer.subscribe([(f"{TOPICS.root}/prices/#", 1), (TOPICS.events, 1)])
        await viewer.subscribe(TOPICS.status, 1)
        async with client(broker, *account("control"), "c") as control:
            await control.subscribe(f"{TOPICS.root}/node/#", 1)
            await viewer.publish(TOPICS.node(1, "order"), TOLD, qos=0)
            await viewer.publish(TOPICS.node(1, "report"), TOLD, qos=0)
            await viewer.subscribe(TOPICS.status, 1)
            for topic in (TOPICS.prices("aws"), TOPICS.events, TOPICS.status):
                await control.publish(topic, TOLD, qos=1)
            seen = await asyncio.wait_for(heard(viewer, TOPICS.status), 10)
            assert seen == {TOPICS.prices("aws"), TOPICS.events}
            await control.publish(TOPICS.node(3, "report"), TOLD, qos=1)
            assert await asyncio.wait_for(heard(control, TOPICS.node(3, "report")), 10) == set()


@pytest.mark.parametrize(
    ("name", "word"),
    [("1", account("2")[1]), ("1", ""), ("control", "control"), ("root", "x"), ("", "")],
)
async def test_a_wrong_password_stays_outside(broker: AnyBroker, name: str, word: str) -> None:
    """Another lease's password, none, and accounts that do not exist are all turned away."""
    with pytest.raises(aiomqtt.MqttError):
        async with client(broker, name, word, "intruder"):
            raise AssertionError("let in")


async def test_what_is_too_large_reaches_nobody(tmp_path: Path, require: Require) -> None:
    """Mosquitto with our lines passes on no message beyond the size that codecs take."""
    require(MOSQUITTO, "mosquitto is not installed")
    broker = Mosquitto(tmp_path)
    await broker.start()
    async with client(broker, *account("control"), "c") as control:
        await control.subscribe(TOPICS.nodes("report"), 1)
        async with client(broker, *account("1"), "n1") as node:
            for size in (SIZE_MAX + 1_000, 10):
                try:
                    await node.publish(TOPICS.node(1, "report"), b"x" * size, qos=1)
                except aiomqtt.MqttError:
                    break
        async with client(broker, *account("1"), "n2") as node:
            await node.publish(TOPICS.node(1, "report"), b"y" * 100, qos=1)
        sizes = []
        async for message in control.messages:
            sizes.append(len(message.payload))
            if sizes[-1] == 100:
                break
    assert max(sizes) == 100
    await broker.kill()


class Elsewhere:
    """A broker as somebody sees it who trusts another authority."""

    def __init__(self, broker: AnyBroker, ca: Path) -> None:
        self.address = replace(broker.address, ca=str(ca))


@pytest.mark.slow
# paho leaves the socket of a refused handshake to the collector.
@pytest.mark.filterwarnings("ignore::ResourceWarning")
async def test_certificates_are_verified_by_both_ends(tmp_path: Path, require: Require) -> None:
    """Over TLS a job runs; a machine or a control that trusts another authority stays outside."""
    require(MOSQUITTO, "mosquitto is not installed")
    right, wrong = tmp_path / "right", tmp_path / "wrong"
    right.mkdir()
    wrong.mkdir()
    certify(wrong)
    broker = Mosquitto(right, tls=True)
    elsewhere: Any = Elsewhere(broker, wrong / "cert.pem")
    await broker.start()
    control = Control(broker, Book(), MemoryStore())
    await control.start()
    (lease,) = await control.place("job", Task(command=("true",)))
    deceived = Node(wrong, elsewhere, lease, fuse_ns=4 * SECOND)
    await deceived.start()
    # Its fuse ends it: nobody was heard.
    assert await deceived.ended() == 0
    assert control.state("job") == "acquiring" and not control.bus.machines
    machine = Node(right, broker, lease)
    await machine.start()
    await until(lambda: control.state("job") == "finished", "finished")
    fooled = Control(elsewhere, Book(), MemoryStore())
    await fooled.start()
    await until(lambda: "CERTIFICATE_VERIFY_FAILED" in fooled.bus.client.fault, "a refusal")
    for each in (fooled, control):
        await each.stop()
    collect()
    await machine.destroy()
    await broker.kill()
