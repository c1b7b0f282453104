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


def recall(entries: Iterable[Entry], strategy: Strategy, *, since: int = 0) -> Recalled:
    """Rebuild the book and teach a new strategy what an earlier one saw.

    Its answers are thrown away: what came of them is in the journal. An open question is not asked:
    that is the caller's to do. since [ns]: older questions are left out; for strategies that forget
    it saves time, and what they know then differs by what they would have forgotten.
    """
    book, asked = Book(), None
    for entry in entries:
        for fact in entry.facts:
            if asked is not None and type(fact) is PlanTaken and fact.version == asked.version:
                _ask(strategy, asked)
                asked = None
        take(book, entry)
        if entry.propose is not None:
            asked = snapshot(book, entry.at) if entry.at >= since else None
    return Recalled(book, asked)


def _ask(strategy: Strategy, asked: Snapshot) -> None:
    # Where it fails it failed then, too, and no money is at stake.
    with suppress(Exception):
        strategy.propose(asked)
