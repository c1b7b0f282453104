"""A program in a process group of its own, that outlives this agent and is found again.

A lock tells whether it lives: it is taken before the program is started, inherited by the wrapper,
and free again only when the wrapper is gone. So there is no instant at which an agent that is
killed leaves a program that the next one would not find, or would start a second time.
"""

from __future__ import annotations

import fcntl
import os
import pkgutil
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO

from treasury.node.files import read_json, write_whole

KILLED = "killed"
_POLL_S = 0.01
# Copied from wherever we were loaded from, a zip as well.
_WRAPPER = "treasury.node.wrapper"


class Program:
    """One start of a program; its files are in `folder`."""

    def __init__(self, folder: Path, log_bytes: int) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder, self._log_bytes = folder, log_bytes
        self._child: subprocess.Popen[bytes] | None = None
        self.log = folder / "output.log"

    def alive(self) -> bool:
        """Whether the program or its wrapper lives, whoever started it."""
        if self._child is not None:
            self._child.poll()
        with self._lock_file() as file:
            try:
                # Shared: two who ask at once must not take each other for the program.
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return True
        return False

    def start(self, argv: Sequence[str], env: Mapping[str, str], cwd: Path) -> bool:
        """Start a program unless it lives; whether it was started. argv is never a shell line."""
        with self._lock_file() as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return False
            for name in ("exit", "pid"):
                (self._folder / name).unlink(missing_ok=True)
            wrapper = self._folder / "wrapper.py"
            package, _, name = _WRAPPER.rpartition(".")
            write_whole(wrapper, pkgutil.get_data(package, f"{name}.py") or b"", 0o700)
            places = [str(self._folder / name) for name in ("exit", "pid", "output.log")]
            command = [sys.executable, "-I", "-S", str(wrapper), *places, str(self._log_bytes)]
            self._child = subprocess.Popen(  # noqa: S603 - the job's own command
                [*command, "--", *argv],
                env=dict(env),
                cwd=cwd,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
                pass_fds=(file.fileno(),),
            )
        pause = threading.Event()
        # From here on it can be signalled, and its group found.
        while self.pid() is None and self.alive():
            pause.wait(_POLL_S)
        return True

    def signal(self, number: signal.Signals) -> None:
        """Signal the whole group, if it lives."""
        pid = self.pid()
        if pid is None or not self.alive():
            return
        try:
            os.killpg(pid, number)
        except ProcessLookupError:
            return

    def pid(self) -> int | None:
        """The leader of the group; None before it has said so."""
        known = read_json(self._folder / "pid")
        return known["pid"] if isinstance(known, dict) else None

    def ended(self) -> str | None:
        """How the program ended: empty for well, else in words; None while it lives.

        Code 0 is well. Without an exit file the whole group was killed from outside.
        """
        if self.alive():
            return None
        known = read_json(self._folder / "exit")
        if not isinstance(known, dict):
            return KILLED
        if known.get("error"):
            return str(known["error"])
        code = int(known["code"])
        if code < 0:
            return f"ended by signal {-code}"
        return f"exit code {code}" if code else ""

    def told(self) -> bool:
        """Whether somebody signalled the group to end before it did, be it the machine's own
        shutdown: then a good exit code does not mean that the work is done."""
        known = read_json(self._folder / "exit")
        return isinstance(known, dict) and bool(known.get("told"))

    def environment(self) -> dict[str, str]:
        """The environment of the running program; empty where it cannot be read."""
        pid = self.pid()
        if pid is None:
            return {}
        try:
            raw = Path(f"/proc/{pid}/environ").read_bytes()
        except OSError:
            return {}
        pairs = (item.partition("=") for item in os.fsdecode(raw).split("\0") if item)
        return {name: value for name, _, value in pairs}

    def _lock_file(self) -> IO[bytes]:
        return (self._folder / "lock").open("ab")
