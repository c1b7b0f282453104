"""What budgets refused, and what those that only watch would have refused."""

from collections.abc import Iterable

import msgspec

from treasury.domain.events import ActionRefused, BudgetChangeRefused, RefusalTolerated
from treasury.domain.plan import Why
from treasury.domain.turn import Entry

# Refusals that are no budget's: the market or the plan's age.
_NOT_MONEY = frozenset({Why.STALE, Why.NO_FIT, Why.QUARANTINED, Why.NO_CAPACITY, Why.TOO_DEAR})


class Refusals(msgspec.Struct):
    """Refusals of one kind by one cost centre.

    enforced: False for what a budget that observes or recommends let through. asked: money they
    asked for in all [micro-USD]. last: the newest one's message and instant [ns].
    """

    cost_centre: str
    why: str
    enforced: bool
    count: int = 0
    jobs: int = 0
    asked: int = 0
    last: str = ""
    last_at: int = 0


def refusals(entries: Iterable[Entry], *, start: int = 0) -> list[Refusals]:
    """Totals by cost centre, reason and whether it was enforced, from `start` [ns] on."""
    found: dict[tuple[str, str, bool], Refusals] = {}
    jobs: dict[tuple[str, str, bool], set[str]] = {}
    for entry in entries:
        if entry.at < start:
            continue
        for fact in entry.facts:
            if isinstance(fact, ActionRefused | RefusalTolerated):
                if fact.why in _NOT_MONEY:
                    continue
                key = (fact.cost_centre or "", fact.why.value, isinstance(fact, ActionRefused))
                jobs.setdefault(key, set()).add(fact.job)
                asked, text = fact.asked, fact.message
            elif isinstance(fact, BudgetChangeRefused):
                key = (fact.cost_centre, "change", True)
                asked, text = abs(fact.amount), fact.why
            else:
                continue
            row = found.setdefault(key, Refusals(*key))
            row.count += 1
            row.jobs = len(jobs.get(key, ()))
            row.asked += asked
            row.last, row.last_at = text, entry.at
    return [row for _, row in sorted(found.items())]
