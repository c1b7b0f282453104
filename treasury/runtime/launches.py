"""How many machines may be launched an hour, whoever asks for them and however often we restart.

A process that dies after each launch, or a strategy that has gone mad, is stopped by nothing else
before the money is: each launch by itself is within its budget. What was launched follows from the
journal, so that a restart does not begin to count anew.
"""

from collections.abc import Iterable, Iterator
from typing import Final

from treasury.domain.events import LeasesDeclined, PlacementOpened
from treasury.domain.ids import PlacementId
from treasury.domain.time import HOUR
from treasury.domain.turn import Entry
from treasury.engine import Book

_SPAN: Final = HOUR


class Launches:
    """most: machines an hour; 0 for any number. What was declined was no launch."""

    def __init__(self, most: int) -> None:
        self.most = most
        # By placement in the order of their numbers: (instant asked for [ns], machines).
        self._asked: dict[PlacementId, tuple[int, int]] = {}

    def read(self, entries: Iterable[Entry]) -> Iterator[Entry]:
        """The same entries, counted on the way."""
        for entry in entries:
            self._count(entry)
            yield entry

    def see(self, entry: Entry, _book: Book) -> None:
        """Count a committed turn."""
        self._count(entry)

    def _count(self, entry: Entry) -> None:
        for fact in entry.facts:
            if isinstance(fact, PlacementOpened):
                self._asked[fact.placement] = fact.at, len(fact.leases)
            elif isinstance(fact, LeasesDeclined):
                self._asked.pop(fact.placement, None)
        while self._asked:
            oldest = next(iter(self._asked))
            if self._asked[oldest][0] + _SPAN > entry.at:
                break
            del self._asked[oldest]

    def fits_at(self, placement: PlacementId, now: int) -> int:
        """When [ns] a placement's machines may be asked for: `now`, or when enough of those asked
        for before it are an hour old. One that is larger than the limit goes alone."""
        if not self.most or placement not in self._asked:
            return now
        before = [
            (at + _SPAN, machines)
            for other, (at, machines) in self._asked.items()
            if other < placement and at + _SPAN > now
        ]
        excess = sum(machines for _, machines in before)
        excess += self._asked[placement][1] - self.most
        for ends, machines in before:
            if excess <= 0:
                break
            excess -= machines
            now = ends
        return now
