"""What a strategy knows, from the journal: the questions it was asked are asked again.

A strategy is a function of the snapshots it has seen. Each of them follows from the journal: it is
the book as the turn left it that asked for the plan. So nothing a strategy learned has to be
written down, and after a crash it knows what it knew, to the last bit.
"""

from collections.abc import Iterable
from contextlib import suppress
from typing import NamedTuple

from treasury.domain.events import PlanTaken
from treasury.domain.plan import Snapshot
from treasury.domain.turn import Entry
from treasury.engine.book import Book
from treasury.engine.planning import snapshot
from treasury.engine.reduce import take
from treasury.ports import Strategy


class Recalled(NamedTuple):
    """book: what the journal describes. asked: the question that is still open, if any."""

    book: Book
    asked: Snapshot | None


class Recollection:
    """A journal read bit by bit, and what a new strategy is taught by it.

    Its answers are thrown away: what came of them is in the journal. An open question (`asked`) is
    not put to it: that is the caller's to do. since [ns]: older questions are left out; for
    strategies that forget it saves time, and what they know then differs by what they would have
    forgotten.
    """

    def __init__(self, strategy: Strategy, *, since: int = 0) -> None:
        self.book = Book()
        self.asked: Snapshot | None = None
        self._strategy, self._since = strategy, since

    def read(self, entries: Iterable[Entry]) -> None:
        """Take the next entries of the journal."""
        for entry in entries:
            for fact in entry.facts:
                asked = self.asked
                if asked is not None and type(fact) is PlanTaken and fact.version == asked.version:
                    self._ask(asked)
                    self.asked = None
            take(self.book, entry)
            if entry.propose is not None:
                young = entry.at >= self._since
                self.asked = snapshot(self.book, entry.at) if young else None

    def _ask(self, asked: Snapshot) -> None:
        # Where it fails it failed then, too, and no money is at stake.
        with suppress(Exception):
            self._strategy.propose(asked)


def recall(entries: Iterable[Entry], strategy: Strategy, *, since: int = 0) -> Recalled:
    """Rebuild the book and teach a new strategy what an earlier one saw: see `Recollection`."""
    whole = Recollection(strategy, since=since)
    whole.read(entries)
    return Recalled(whole.book, whole.asked)
