"""Where budgets stand and where they are going: burn, the instant they run out, a forecast."""

from collections import deque
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
from treasury.finops.statements import Journal, until

# Days of history a forecast looks back on: two working weeks, weekends weighing as they should.
HISTORY_DAYS = 14
# With fewer days a spread says nothing.
_DAYS_FOR_BAND = 3
# 80 % of a normal distribution lies within this many standard deviations.
_BAND = 1.2816


class Outlook(msgspec.Struct, frozen=True, kw_only=True):
    """One budget at an instant. Money in micro-USD, burn in nano-USD/h, instants in ns.

    depth: levels above it. burn: what the machines at and below it cost an hour now. runs_out_at:
    when the available part is used up at this burn, None at no burn. forecast, low, high: spent at
    the period's end, by the daily spending of the last two weeks, and its 80 % band; None without
    an end or a history.
    """

    cost_centre: CostCentre
    parent: CostCentre | None
    depth: int
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
    mode: str
    frozen: bool


def outlook(entries: Iterable[Entry], as_of: int | None = None) -> tuple[Book, list[Outlook]]:
    """The book as it stood at an instant [ns], the end for None, and every budget in it, each
    followed by those below it. Memory holds two weeks of charges, whatever the journal's length."""
    book, journal = Book(), Journal()
    first: int | None = None
    recent: deque[tuple[int, str, int]] = deque()
    for entry in until(entries, as_of):
        take(book, entry)
        for charge in journal.take(entry):
            # A bill that is settled today is no habit of today's.
            if not charge.adjusts:
                first = charge.event_at if first is None else first
                recent.append((charge.event_at, charge.cost_centre, charge.amount))
        while recent and book.now - recent[0][0] > (HISTORY_DAYS + 1) * DAY:
            recent.popleft()
    now = book.now if as_of is None else max(as_of, book.now)
    known = 0 if first is None else min(HISTORY_DAYS, (now - first) // DAY)
    daily = _daily(book, recent, now, known)
    burns = _burns(book)
    return book, [
        _row(book, centre, now, burns.get(centre, 0), daily.get(centre, [0] * known))
        for centre in tree_order(book)
    ]


def tree_order(book: Book) -> list[CostCentre]:
    """Cost centres in the configuration's order, each followed by those below it."""
    order: list[CostCentre] = []
    waiting = [centre for centre, record in book.budgets.items() if record.budget.parent is None]
    waiting.reverse()
    while waiting:
        centre = waiting.pop()
        order.append(centre)
        waiting.extend(reversed(book.budgets[centre].children))
    return order


def _row(book: Book, centre: CostCentre, now: int, burn: int, days: list[int]) -> Outlook:
    record, level = book.budgets[centre], book.level(centre)
    forecast, low, high = _forecast(level.spent, days, now, record.end)
    runs_out_at = None
    if burn:
        runs_out_at = now + max(0, level.available) * RATE_NS_PER_MICRO // burn
    return Outlook(
        cost_centre=centre,
        parent=record.budget.parent,
        depth=len(record.chain) - 1,
        limit=level.limit,
        spent=level.spent,
        held=level.held,
        available=level.available,
        burn=burn,
        runs_out_at=runs_out_at,
        start=record.start,
        end=record.end,
        forecast=forecast,
        low=low,
        high=high,
        mode=record.budget.mode.value,
        frozen=record.frozen,
    )


def _burns(book: Book) -> dict[CostCentre, int]:
    burns: dict[CostCentre, int] = {}
    for lease in book.leases.values():
        if lease.state in BILLED:
            for centre in book.budgets[book.placements[lease.placement].cost_centre].chain:
                burns[centre] = burns.get(centre, 0) + lease.rate
    return burns


def _daily(
    book: Book, charges: Iterable[tuple[int, str, int]], now: int, known: int
) -> dict[CostCentre, list[int]]:
    """Spending [micro-USD] of each of the `known` whole days before `now`, newest first, at every
    level."""
    days: dict[CostCentre, list[int]] = {}
    for event_at, name, amount in charges:
        ago = (now - event_at) // DAY
        record = book.budgets.get(CostCentre(name))
        if record is None or not 0 <= ago < known:
            continue
        for centre in record.chain:
            days.setdefault(centre, [0] * known)[ago] += amount
    return days


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
