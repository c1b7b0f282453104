"""What programs wrote, kept for a while: the newest lines of each job, and whoever follows them."""

import asyncio
from collections import OrderedDict, deque
from collections.abc import AsyncIterator
from typing import Final

from treasury.bus.messages import Log
from treasury.domain.ids import JobId

# Of each job, and how many jobs: some hundred MB at the worst, a few in practice.
LINES_MAX: Final = 5_000
JOBS_MAX: Final = 1_000


class LogBook:
    """Bounded logs by job. Lines are text without control characters."""

    def __init__(self) -> None:
        self._jobs: OrderedDict[JobId, _Lines] = OrderedDict()

    def take(self, job: JobId, nodes: int, log: Log) -> None:
        """Keep what a machine of a job sent; of gangs each line says its rank."""
        lines = self._of(job)
        mark = f"[{log.rank}] " if nodes > 1 else ""
        if log.dropped > lines.dropped.get((log.lease, log.rank), 0):
            more = log.dropped - lines.dropped.get((log.lease, log.rank), 0)
            lines.add(f"{mark}... {more} lines left out: more than the machine may send")
        lines.dropped[(log.lease, log.rank)] = log.dropped
        for line in log.lines:
            lines.add(mark + line)

    def end(self, job: JobId) -> None:
        """Nothing more will come: those who follow are done."""
        if job in self._jobs:
            self._jobs[job].ended = True
            self._jobs[job].changed.set()

    async def read(self, job: JobId, *, follow: bool = False) -> AsyncIterator[str]:
        """A job's lines, oldest first; with `follow` also those to come, until it ends."""
        lines = self._of(job) if follow else self._jobs.get(job)
        place = 0
        while lines is not None:
            place = max(place, lines.first)
            while place < lines.first + len(lines.kept):
                yield lines.kept[place - lines.first]
                place = max(place + 1, lines.first)
            if not follow or lines.ended:
                return
            await lines.changed.wait()
            # Waiters that were woken look again before the next line can come.
            lines.changed.clear()

    def _of(self, job: JobId) -> "_Lines":
        lines = self._jobs.get(job)
        if lines is None:
            lines = self._jobs[job] = _Lines()
            while len(self._jobs) > JOBS_MAX:
                _, old = self._jobs.popitem(last=False)
                old.ended = True
                old.changed.set()
        return lines


class _Lines:
    """One job's newest lines; `first` is the number of the oldest kept."""

    def __init__(self) -> None:
        self.kept: deque[str] = deque()
        self.first = 0
        self.ended = False
        self.changed = asyncio.Event()
        self.dropped: dict[tuple[int, int], int] = {}

    def add(self, line: str) -> None:
        self.kept.append(line)
        if len(self.kept) > LINES_MAX:
            self.kept.popleft()
            self.first += 1
        # A restarted job writes on.
        self.ended = False
        self.changed.set()
