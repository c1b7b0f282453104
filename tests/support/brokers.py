"""Brokers to talk to: the embedded one in this process, and Mosquitto with the files we write."""

import asyncio
import gc
import shutil
import signal
import socket
import subprocess
import warnings
from pathlib import Path
from typing import Protocol

from treasury.bus.acl import mosquitto_acl, mosquitto_config, mosquitto_passwords
from treasury.bus.broker import EmbeddedBroker
from treasury.bus.messages import BrokerAddress
from treasury.bus.secrets import password
from treasury.bus.topics import Topics

SECRET = bytes(range(32))
TOPICS = Topics("test")
# Debian keeps servers out of a user's path.
MOSQUITTO = shutil.which("mosquitto", path="/usr/sbin:/usr/bin:/usr/local/sbin:/usr/local/bin")


def free_port() -> int:
    """A port that nobody listens on at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class AnyBroker(Protocol):
    """A broker that can be killed and comes back, having forgotten everything."""

    address: BrokerAddress

    async def start(self) -> None: ...

    async def kill(self) -> None: ...


class Embedded:
    """The embedded broker."""

    def __init__(self) -> None:
        self.address = BrokerAddress("127.0.0.1", free_port())
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Serve, and wait until it does."""
        broker = EmbeddedBroker(SECRET, TOPICS, port=self.address.port)
        self._task = asyncio.create_task(broker.run())
        ready = asyncio.create_task(broker.ready.wait())
        await asyncio.wait({ready, self._task}, return_when=asyncio.FIRST_COMPLETED)
        ready.cancel()
        if self._task.done():
            self._task.result()

    async def kill(self) -> None:
        """Cut everybody off."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})
            self._task = None
            collect()


class Mosquitto:
    """Mosquitto, with the access list and passwords that `treasury bus acl` writes."""

    def __init__(self, folder: Path, *, tls: bool = False) -> None:
        """tls: with a certificate of its own, which is also its authority."""
        ca = str(folder / "cert.pem") if tls else ""
        self.address = BrokerAddress("127.0.0.1", free_port(), tls, ca)
        self._folder = folder
        self._process: asyncio.subprocess.Process | None = None
        # Started as root it becomes another user before it reads them.
        folder.chmod(0o755)
        for parent in folder.parents:
            if parent.owner() == folder.owner() and parent.stat().st_mode & 0o077 == 0:
                parent.chmod(0o755)
        acl, passwords = folder / "acl", folder / "passwords"
        acl.write_text(mosquitto_acl(TOPICS))
        passwords.write_text(mosquitto_passwords(SECRET, range(1, 10)))
        config = mosquitto_config(str(acl), str(passwords)).replace(
            "persistence true", "persistence false"
        )
        config += f"listener {self.address.port} 127.0.0.1\n"
        if tls:
            certify(folder)
            config += f"certfile {folder}/cert.pem\nkeyfile {folder}/key.pem\n"
        (folder / "conf").write_text(config)

    async def start(self) -> None:
        """Start it, and wait until it takes connections."""
        assert MOSQUITTO is not None
        self._process = await asyncio.create_subprocess_exec(
            MOSQUITTO,
            "-c",
            str(self._folder / "conf"),
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
        )
        for _ in range(200):
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", self.address.port)
            except OSError:
                assert self._process.returncode is None, "mosquitto has ended"
                await asyncio.sleep(0.02)
                continue
            writer.close()
            await writer.wait_closed()
            return
        raise AssertionError("mosquitto does not listen")

    async def kill(self) -> None:
        """Kill it: what it had not passed on is gone."""
        if self._process is not None and self._process.returncode is None:
            self._process.send_signal(signal.SIGKILL)
            await self._process.wait()


def collect() -> None:
    """Collect the sockets that amqtt leaves of clients it cut off, paho of refused handshakes."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()


def certify(folder: Path) -> None:
    """Write cert.pem and key.pem for loopback."""
    subject = ["-subj", "/CN=broker", "-addext", "subjectAltName=IP:127.0.0.1"]
    files = ["-keyout", str(folder / "key.pem"), "-out", str(folder / "cert.pem")]
    subprocess.run(
        [
            "openssl",
            "req",
            "-x509",
            "-newkey",
            "rsa:2048",
            "-nodes",
            "-days",
            "2",
            *subject,
            *files,
        ],
        check=True,
        capture_output=True,
    )
    (folder / "key.pem").chmod(0o644)


def account(name: str) -> tuple[str, str]:
    """An account with its password."""
    return name, password(SECRET, name)


__all__ = [
    "MOSQUITTO",
    "SECRET",
    "TOPICS",
    "AnyBroker",
    "Embedded",
    "Mosquitto",
    "account",
    "certify",
    "collect",
    "free_port",
]
