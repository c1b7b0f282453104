"""Facts for those who look on: the newest turns from memory, older ones from the database.

A reader asks for what comes after a sequence number, so that nothing is missed or told twice
however often it is cut off, and a slow reader costs the loop nothing.
"""

import asyncio
from collections import deque
from itertools import islice
from typing import Any, Final

import msgspec

from treasury.domain.events import Fact, JobQueued, LeasesGranted, PlacementOpened
from treasury.domain.turn import Entry
from treasury.engine import Book
from treasury.web.house import House
from treasury.web.views import veiled

# Turns kept in memory, and turns read from the database at once.
_KEPT: Final = 2_000
PAGE: Final = 256


class Told(msgspec.Struct, frozen=True):
    """A turn as it is told: its place, its instant [ns] and its facts."""

    seq: int
    at: int
    facts: tuple[Fact, ...]


class Journal:
    """The committed turns of a running daemon."""

    def __init__(self, house: House) -> None:
        self._house = house
        self._recent: deque[Entry] = deque(maxlen=_KEPT)
        self._new = asyncio.Event()
        self._reading = asyncio.Lock()
        self.closed = False
        self._stop = house.agent.watch(self._see)

    def _see(self, entry: Entry, _book: Book) -> None:
        self._recent.append(entry)
        self._new.set()
        self._new = asyncio.Event()

    def close(self) -> None:
        """Look away, and let everyone who waits go."""
        self.closed = True
        self._stop()
        self._new.set()

    async def after(self, seq: int, limit: int = PAGE) -> list[Entry]:
        """The turns after one, in order, as many as `limit`; none when there are no newer ones."""
        recent = self._recent
        if recent and recent[0].seq <= seq + 1:
            return list(islice(recent, max(0, seq + 1 - recent[0].seq), None))[:limit]
        if seq >= self._house.agent.book.seq:
            return []
        # The database is read on one thread, one reader at a time.
        async with self._reading:
            history = self._house.history
            return await self._house.offload.run(lambda: list(islice(history.entries(seq), limit)))

    async def wait(self, seconds: float) -> None:
        """Return when there is a new turn, or after a time."""
        try:
            async with asyncio.timeout(seconds):
                await self._new.wait()
        except TimeoutError:
            return


class Filter:
    """Which facts somebody wants: of one job, of one kind, or all."""

    def __init__(self, job: str = "", kind: str = "") -> None:
        self._job, self._kind = job, kind
        self._placements: set[int] = set()
        self._leases: set[int] = set()

    def tell(self, entry: Entry) -> Told | None:
        """What is wanted of a turn, None for nothing."""
        facts = tuple(_veil(fact) for fact in entry.facts if self._wants(fact))
        return Told(entry.seq, entry.at, facts) if facts else None

    def _wants(self, fact: Any) -> bool:
        if self._kind and fact.__struct_config__.tag != self._kind:
            return False
        return not self._job or self._concerns(fact)

    def _concerns(self, fact: Any) -> bool:
        """Whether a fact is about the job, or about what was opened for it."""
        if isinstance(fact, PlacementOpened) and fact.job == self._job:
            self._placements.add(fact.placement)
            self._leases.update(fact.leases)
            return True
        if isinstance(fact, JobQueued):
            return fact.spec.id == self._job
        job = getattr(fact, "job", None)
        if job is not None:
            return bool(job == self._job)
        if isinstance(fact, LeasesGranted) or hasattr(fact, "placement"):
            return fact.placement in self._placements
        return getattr(fact, "lease", None) in self._leases


def _veil(fact: Fact) -> Fact:
    return JobQueued(veiled(fact.spec)) if isinstance(fact, JobQueued) else fact
