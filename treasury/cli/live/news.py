"""Facts of the journal as lines for people; what happens too often to be read is left out."""

from collections.abc import Callable, Iterable
from typing import Any, Final

import msgspec

from treasury.domain import events as e
from treasury.domain.events import Fact
from treasury.domain.money import format_money, format_rate


class Turn(msgspec.Struct, frozen=True):
    """A turn as the API tells it."""

    seq: int
    at: int
    facts: tuple[Fact, ...]


class News:
    """What was told so far: whose machine a lease is. counts: how often each thing happened that
    the demonstration is about."""

    def __init__(self) -> None:
        self.counts: dict[str, int] = {}
        self._jobs: dict[int, str] = {}
        self._noticed_of: set[int] = set()
        self._offers: dict[int, str] = {}

    def read(self, turns: Iterable[Turn]) -> list[tuple[int, str]]:
        """(instant [ns], line) of each fact worth a line."""
        lines = []
        for turn in turns:
            for fact in turn.facts:
                line = self._line(fact)
                if line:
                    lines.append((turn.at, line))
        return lines

    def summary(self) -> str:
        """How often each thing happened, on one line."""
        return ", ".join(f"{what} {count}" for what, count in sorted(self.counts.items()))

    def _line(self, fact: Fact) -> str:
        if isinstance(fact, e.PlacementOpened):
            for lease in fact.leases:
                self._jobs[lease] = fact.job
                self._offers[lease] = short(fact.offer)
        if isinstance(fact, e.LeaseNoticed):
            # The market and the machine say the same.
            if fact.lease in self._noticed_of:
                return ""
            self._noticed_of.add(fact.lease)
        what = _what(fact)
        if what:
            self.counts[what] = self.counts.get(what, 0) + 1
        tell = _LINES.get(type(fact))
        return tell(self, fact) if tell is not None else ""

    def _noticed(self, fact: e.LeaseNoticed) -> str:
        return f"{self._who(fact.lease)}: notice, {self._offers.get(fact.lease, '')} takes it back"

    def _ended(self, fact: e.LeaseEnded) -> str:
        where = self._offers.pop(fact.lease, "")
        who = self._jobs.pop(fact.lease, "nobody")
        return f"{who}: lost its machine at {where} ({fact.cause})" if fact.lost else ""

    def _who(self, lease: int) -> str:
        return self._jobs.get(lease, "nobody")


def short(offer: str) -> str:
    """An offer without what all offers of the demonstration have in common."""
    _, _, rest = offer.partition("/host/")
    return rest.replace("slot/", "") or offer


def _what(fact: Fact) -> str:
    """What the demonstration is about, in a word; empty for all else."""
    if isinstance(fact, e.Quoted):
        return "price moves"
    if isinstance(fact, e.LeaseNoticed):
        return "interruptions"
    if isinstance(fact, e.LeaseEnded) and fact.lost:
        return "machines lost"
    if isinstance(fact, e.MigrationFinished):
        return "migrations"
    if isinstance(fact, e.WorkStopping) and fact.cause in {"preempted", "budget"}:
        return "preemptions" if fact.cause == "preempted" else "budgets exhausted"
    return ""


_STOPS: Final = {
    "preempted": "preempted at a checkpoint",
    "migration": "checkpoint, to go on elsewhere",
    "budget": "checkpoint, its budget pays no further",
    "interrupted": "checkpoint before the machine goes",
    "ceiling": "checkpoint, the price left its limit",
}


def _opened(_news: News, fact: e.PlacementOpened) -> str:
    doing = "migrates to" if fact.migration else "takes a machine at"
    return f"{fact.job}: {doing} {short(fact.offer)}, bid {format_rate(fact.bid)}"


def _stopping(_news: News, fact: e.WorkStopping) -> str:
    return f"{fact.job}: {_STOPS.get(fact.cause, f'stops ({fact.cause})')}"


def _requeued(_news: News, fact: e.JobRequeued) -> str:
    return f"{fact.job}: queued again ({fact.cause})"


_LINES: Final[dict[type, Callable[[News, Any], str]]] = {
    e.JobQueued: lambda _n, f: f"{f.spec.id}: submitted, priority {f.spec.priority}",
    e.PlacementOpened: _opened,
    e.LeaseNoticed: News._noticed,  # noqa: SLF001 - a table of this class's own
    e.LeaseEnded: News._ended,  # noqa: SLF001 - as above
    e.WorkStopping: _stopping,
    e.JobRequeued: _requeued,
    e.MigrationFinished: lambda _n, f: f"{f.job}: has moved, the old machine goes back",
    e.ActionRefused: lambda _n, f: f"{f.job}: refused, {f.message}",
    e.BudgetChanged: lambda _n, f: f"{f.cost_centre}: {format_money(f.amount)} more, by {f.by}",
    e.JobEnded: lambda _n, f: f"{f.job}: {f.state} {f.detail}".rstrip(),
}

__all__ = ["News", "Turn", "short"]
