"""A broker of its own process for end-to-end tests, and a cable to it that can be pulled."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path

from tests.support.brokers import MOSQUITTO, free_port
from tests.support.farm import INSTALLATION, RUN, pause
from treasury.bootstrap.wiring import KEY_FILE

# Accounts for so many machines; each costs a slow hash.
_LEASES = 80


class Broker:
    """Mosquitto with the files that `treasury bus acl` writes for a daemon's state directory."""

    def __init__(self, folder: Path, state: Path) -> None:
        self.port = free_port()
        self._folder = folder / "mosquitto"
        command = [sys.executable, "-c", RUN, "bus", "acl", "--secret"]
        command += [str(state / KEY_FILE), "--installation", INSTALLATION]
        state.mkdir(mode=0o700, parents=True)
        subprocess.run(
            [*command, "--leases", f"1-{_LEASES}", "-o", str(self._folder)],
            check=True,
            capture_output=True,
        )
        config = self._folder / "treasury.conf"
        text = config.read_text() + f"listener {self.port} 127.0.0.1\n"
        # Started by root it would become somebody who may not read these files.
        config.write_text(text + ("user root\n" if os.geteuid() == 0 else ""))
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, and wait until it takes connections."""
        assert MOSQUITTO is not None
        self._process = subprocess.Popen(
            [MOSQUITTO, "-c", str(self._folder / "treasury.conf")],
            cwd=self._folder,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for _ in range(200):
            with suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
                return
            assert self._process.poll() is None, "mosquitto has ended"
            pause(0.05)
        raise AssertionError("mosquitto does not listen")

    def kill(self) -> None:
        """SIGKILL: what it had not written down is gone."""
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait()


class Cable:
    """Carries TCP to a port; pulled, it carries nothing of the machines, and takes nothing new.
    The control's own connection, known by its client's name, goes on."""

    def __init__(self, target: int) -> None:
        self.port = free_port()
        self._target = target
        self._pulled = False
        self._open: set[asyncio.StreamWriter] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._listen(), self._loop).result(10)

    def _serve(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_forever()
        self._loop.run_until_complete(self._loop.shutdown_asyncgens())
        self._loop.close()

    async def _listen(self) -> None:
        self._server = await asyncio.start_server(self._carry, "127.0.0.1", self.port)

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            hello = await reader.read(4_096)
            machine = b"control-" not in hello
            if machine and self._pulled:
                return
            there_reader, there = await asyncio.open_connection("127.0.0.1", self._target)
            if machine:
                self._open |= {writer, there}
            there.write(hello)
            one = asyncio.create_task(_pump(reader, there))
            other = asyncio.create_task(_pump(there_reader, writer))
            await asyncio.wait({one, other}, return_when=asyncio.FIRST_COMPLETED)
            for task in (one, other):
                task.cancel()
            await asyncio.gather(one, other, return_exceptions=True)
            self._open -= {writer, there}
            there.close()
        except OSError:
            return
        finally:
            writer.close()

    def pull(self) -> None:
        """Cut the machines off."""

        def cut() -> None:
            self._pulled = True
            for writer in list(self._open):
                writer.transport.abort()

        self._loop.call_soon_threadsafe(cut)

    def mend(self) -> None:
        """Put it back."""
        self._pulled = False

    def close(self) -> None:
        """End everything."""

        async def end() -> None:
            self._server.close()
            others = asyncio.all_tasks() - {asyncio.current_task()}
            for task in others:
                task.cancel()
            await asyncio.gather(*others, return_exceptions=True)

        asyncio.run_coroutine_threadsafe(end(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65_536):
        writer.write(data)
        await writer.drain()


__all__ = ["MOSQUITTO", "Broker", "Cable"]
