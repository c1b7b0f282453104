"""A daemon of its own for the demonstration: a process as a user would start it, and its API."""

import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Final

from treasury.cli.client import Client, find
from treasury.domain.errors import UserError

_START_SECONDS: Final = 60.0
_STOP_SECONDS: Final = 60.0
_LOOK_SECONDS: Final = 0.1
_RUN: Final = "from treasury.cli import main; main()"


class DaemonEndedError(UserError):
    """The daemon ended by itself; the message holds the end of its log."""


class LiveDaemon:
    """`treasury run` in a folder: its configuration, database, state and log are in there."""

    def __init__(self, folder: Path, config: str, api_port: int, program: str = _RUN) -> None:
        """program: what Python runs, for tests that want the same under other circumstances."""
        self.folder = folder
        self.config = folder / "treasury.toml"
        self.log = folder / "daemon.log"
        self.state = folder / "treasury-state"
        self.db = folder / "treasury.db"
        self.port = api_port
        self._program = program
        self._process: subprocess.Popen[bytes] | None = None
        folder.mkdir(parents=True, exist_ok=True)
        self.config.write_text(config, encoding="utf-8")

    def start(self) -> None:
        """Start the process; it is not ready yet."""
        with open(self.log, "ab") as log:
            self._process = subprocess.Popen(  # noqa: S603 - this very program
                [sys.executable, "-c", self._program, "run", str(self.config)],
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        """Its number; 0 while it does not run."""
        return self._process.pid if self.alive() and self._process is not None else 0

    def alive(self) -> bool:
        """Whether the process runs."""
        return self._process is not None and self._process.poll() is None

    def wait_ready(self, seconds: float = _START_SECONDS) -> None:
        """Return when it is ready. Raises DaemonEndedError."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            if not self.alive():
                raise DaemonEndedError(f"the daemon ended by itself:\n{self.tail()}")
            try:
                if self.client.get("/readyz")["ok"]:
                    return
            except (UserError, OSError):
                # Nobody answers yet, or not yes; or there is no token yet.
                pass
            time.sleep(_LOOK_SECONDS)
        raise DaemonEndedError(f"the daemon is not ready after {seconds:g} s:\n{self.tail()}")

    def stop(self) -> int:
        """Ask it to end and wait; returns its exit code. One that will not is killed."""
        if self._process is None:
            return 0
        if self.alive():
            self._process.send_signal(signal.SIGTERM)
        try:
            return self._process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()
            return -signal.SIGKILL

    def kill(self) -> None:
        """End it as a power cut would."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def tail(self, lines: int = 20) -> str:
        """The end of its log."""
        try:
            text = self.log.read_text(encoding="utf-8", errors="replace")
        except FileNotFoundError:
            return ""
        return "\n".join(text.splitlines()[-lines:])

    @property
    def client(self) -> Client:
        """Its API, as its administrator. Raises UserError before it has one."""
        return find(f"http://127.0.0.1:{self.port}", self.state / "api-tokens")


def free_port() -> int:
    """A TCP port of this machine that nobody listens on just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


__all__ = ["DaemonEndedError", "LiveDaemon", "free_port"]
