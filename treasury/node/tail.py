"""A program's output, followed line by line: bounded, rate-limited, with what was left out counted.

The wrapper writes and rotates the file; this follows it over rotations and over the agent's own
restarts, by an offset kept beside it.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import IO

from treasury.node.files import read_json

SECOND = 1_000_000_000
LINE_MAX = 4_096
_READ = 65_536
# Of one message: well below what a broker takes.
_LINES, _CHARACTERS = 200, 16_384


class Tail:
    """Lines of one growing file. rate: lines a second that are passed on, in bursts of ten."""

    def __init__(self, path: Path, rate: int, now: int) -> None:
        self.dropped = 0
        self._path, self._note = path, path.with_name("offset")
        self._rate, self._credit, self._at = rate, rate * 10 * SECOND, now
        self._file: IO[bytes] | None = None
        self._rest = b""
        self._skipping = False

    def close(self) -> None:
        """Let the file go."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def lines(self, now: int) -> list[str]:
        """What is new, as much as fits a message: call again when it is not empty."""
        self._credit = min(
            self._rate * 10 * SECOND, self._credit + max(0, now - self._at) * self._rate
        )
        self._at = now
        found: list[str] = []
        size = 0
        while len(found) < _LINES and size < _CHARACTERS:
            line = self._line()
            if line is None:
                break
            if self._credit < SECOND:
                self.dropped += 1
                continue
            self._credit -= SECOND
            found.append(line)
            size += len(line)
        if found:
            self._remember()
        return found

    def _line(self) -> str | None:
        """The next whole line; of one that is too long, its beginning."""
        while True:
            line, newline, rest = self._rest.partition(b"\n")
            if newline:
                self._rest = rest
                if self._skipping:
                    self._skipping = False
                    continue
                return _clean(line)
            if len(line) > LINE_MAX:
                self._rest = b""
                if self._skipping:
                    continue
                self._skipping = True
                return _clean(line)
            chunk = self._read()
            if not chunk:
                return None
            self._rest += chunk

    def _read(self) -> bytes:
        if self._file is None and not self._open():
            return b""
        if self._file is None:
            return b""
        chunk = self._file.read(_READ)
        if not chunk and self._rotated():
            self.close()
            return self._read() if self._open() else b""
        return chunk

    def _open(self) -> bool:
        try:
            self._file = self._path.open("rb")
        except OSError:
            return False
        note = read_json(self._note)
        status = os.fstat(self._file.fileno())
        if isinstance(note, list) and note[0] == status.st_ino and note[1] <= status.st_size:
            self._file.seek(note[1])
        return True

    def _rotated(self) -> bool:
        if self._file is None:
            return False
        try:
            return os.fstat(self._file.fileno()).st_ino != self._path.stat().st_ino
        except OSError:
            return False

    def _remember(self) -> None:
        if self._file is not None:
            inode = os.fstat(self._file.fileno()).st_ino
            offset = self._file.tell() - len(self._rest)
            # A hint for a later agent: not worth a wait for the disk.
            self._note.write_text(f"[{inode}, {offset}]")


def _clean(line: bytes) -> str:
    """Text that can be sent; control characters stay visible, a terminal is not driven by it."""
    text = line[:LINE_MAX].decode("utf-8", "replace").rstrip("\r")
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c == "\t" else "\ufffd" for c in text)
