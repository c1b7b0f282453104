"""Reports that must arrive: numbered without gaps, on disk until acknowledged, then forgotten.

One identity (`boot`) and one sequence for the life of the state directory, so that a restarted
agent goes on where the last one was killed.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

from treasury.bus.fields import MessageError, decode, encode
from treasury.bus.messages import Report
from treasury.node.files import read_json, sync_folder, write_json, write_whole

_NAME = re.compile(r"([0-9]{19})\.json")


class Spool:
    """A folder of reports. seq: the newest number given; base: the first not acknowledged."""

    def __init__(self, folder: Path, draw: Callable[[], str]) -> None:
        """draw: makes the identity of a new folder."""
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        known = read_json(folder / "spool") or {}
        self.boot = str(known.get("boot") or draw())
        self._waiting: dict[int, Report] = {}
        for path in sorted(folder.iterdir()):
            match = _NAME.fullmatch(path.name)
            if match:
                try:
                    self._waiting[int(match[1])] = decode(Report, path.read_bytes())
                except MessageError:
                    # Written whole or not at all, so this is the disk's own fault.
                    path.unlink()
        self.seq = max(int(known.get("acked") or 0), *self._waiting, 0)
        self.base = min(self._waiting, default=self.seq + 1)
        if len(self._waiting) != self.seq + 1 - self.base:
            self._renumber(draw())
        self._note()

    def _renumber(self, boot: str) -> None:
        """Begin a new sequence with what is left: a gap would be waited for without end."""
        left = self.waiting()
        for report in left:
            self._path(report.seq).unlink()
        self.boot, self.seq, self.base, self._waiting = boot, 0, 1, {}
        for report in left:
            self.add(partial(_renamed, report, boot))

    def _note(self) -> None:
        write_json(
            self._folder / "spool",
            {"boot": self.boot, "acked": self.base - 1},
        )

    def add(self, make: Callable[[int, int], Report]) -> Report:
        """Number a report and keep it; `make(seq, base)` writes it. Durable on return."""
        report = make(self.seq + 1, self.base)
        write_whole(self._path(report.seq), encode(report))
        self.seq = report.seq
        self._waiting[report.seq] = report
        return report

    def waiting(self) -> list[Report]:
        """Reports not acknowledged, oldest first."""
        return [self._waiting[seq] for seq in sorted(self._waiting)]

    def acked(self, boot: str, seq: int) -> None:
        """Forget the reports up to a number that the control has committed."""
        if boot != self.boot:
            return
        done = [number for number in self._waiting if number <= seq]
        if not done:
            return
        self.base = min((n for n in self._waiting if n > seq), default=self.seq + 1)
        # The note first: a report that is forgotten must not be waited for.
        self._note()
        for number in done:
            del self._waiting[number]
            self._path(number).unlink(missing_ok=True)
        sync_folder(self._folder)

    def _path(self, seq: int) -> Path:
        return self._folder / f"{seq:019d}.json"


def _renamed(report: Report, boot: str, seq: int, base: int) -> Report:
    return replace(report, boot=boot, seq=seq, base=base)
