"""Where budgets stand and where they are going: burn, the instant they run out, a forecast."""

from collections.abc import Iterable
from math import sqrt
from statistics import fmean, pstdev

import msgspec

from treasury.domain.ids import CostCentre
from treasury.domain.lease import BILLED
from treasury.domain.money import RATE_NS_PER_MICRO
from treasury.domain.time import DAY, NEVER
from treasury.domain.turn import Entry
from treasury.engine import Book
from treasury.engine.reduce import take
from treasury.finops.statements import Journal

# Days of history a forecast looks back on: two working weeks, weekends weighing as they should.
HISTORY_DAYS = 14
# With fewer days a spread says nothing.
_DAYS_FOR_BAND = 3
# 80 % of a normal distribution lies within this many standard deviations.
_BAND = 1.2816


class Outlook(msgspec.Struct, frozen=True, kw_only=True):
    """One budget at an instant. Money in micro-USD, burn in nano-USD/h, instants in ns.

    burn: what the machines below it cost an hour now. runs_out_at: when the available part is used
    up at this burn, None at no burn. forecast, low, high: spent at the period's end, by the daily
    spending of the last two weeks, and its 80 % band; None without an end or a history.
    """

    cost_centre: CostCentre
    parent: CostCentre | None
    limit: int
    spent: int
    held: int
    available: int
    burn: int
    runs_out_at: int | None
    start: int
    end: int
    forecast: int | None
    low: int | None
    high: int | None
    frozen: bool


def book_at(entries: Iterable[Entry], as_of: int | None = None) -> tuple[Book, list[Entry]]:
    """The book as it stood at an instant [ns], and the entries up to then."""
    book, taken = Book(), []
    for entry in entries:
        if as_of is not None and entry.at > as_of:
            break
        take(book, entry)
        taken.append(entry)
    return book, taken


def outlook(book: Book, entries: Iterable[Entry], as_of: int | None = None) -> list[Outlook]:
    """Every budget, in the configuration's order."""
    now = book.now if as_of is None else max(as_of, book.now)
    burns = _burns(book)
    daily = _daily(book, entries, now)
    rows = []
    for centre, record in book.budgets.items():
        level = book.level(centre)
        burn = burns.get(centre, 0)
        forecast, low, high = _forecast(level.spent, daily.get(centre, []), now, record.end)
        rows.append(
            Outlook(
                cost_centre=centre,
                parent=record.budget.parent,
                limit=level.limit,
                spent=level.spent,
                held=level.held,
                available=level.available,
                burn=burn,
                runs_out_at=now + level.available * RATE_NS_PER_MICRO // burn if burn else None,
                start=record.start,
                end=record.end,
                forecast=forecast,
                low=low,
                high=high,
                frozen=record.frozen,
            )
        )
    return rows


def _burns(book: Book) -> dict[CostCentre, int]:
    burns: dict[CostCentre, int] = {}
    for lease in book.leases.values():
        if lease.state in BILLED:
            for centre in book.budgets[book.placements[lease.placement].cost_centre].chain:
                burns[centre] = burns.get(centre, 0) + lease.rate
    return burns


def _daily(book: Book, entries: Iterable[Entry], now: int) -> dict[CostCentre, list[int]]:
    """Spending [micro-USD] of each whole day before `now`, newest first, at every level."""
    first: int | None = None
    days: dict[CostCentre, dict[int, int]] = {}
    for charge in Journal().charges(entries):
        first = charge.event_at if first is None else first
        ago = (now - charge.event_at) // DAY
        if ago >= HISTORY_DAYS or CostCentre(charge.cost_centre) not in book.budgets:
            continue
        for centre in book.budgets[CostCentre(charge.cost_centre)].chain:
            of = days.setdefault(centre, {})
            of[ago] = of.get(ago, 0) + charge.amount
    known = 0 if first is None else min(HISTORY_DAYS, (now - first) // DAY)
    return {centre: [of.get(ago, 0) for ago in range(known)] for centre, of in days.items()}


def _forecast(
    spent: int, days: list[int], now: int, end: int
) -> tuple[int | None, int | None, int | None]:
    if end >= NEVER or not days:
        return None, None, None
    left = max(0, end - now) / DAY
    middle = spent + fmean(days) * left
    if len(days) < _DAYS_FOR_BAND:
        return round(middle), None, None
    # Days are taken as independent: the spread of a sum grows with the root of their number.
    spread = _BAND * pstdev(days) * sqrt(left)
    return round(middle), round(max(spent, middle - spread)), round(middle + spread)
