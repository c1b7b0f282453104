"""Budgets: where they stand, and changes to them; bills that were held against the books."""

from typing import Annotated, Any, Final

import msgspec

from treasury.domain import events as e
from treasury.domain.bill import BillPart
from treasury.domain.errors import did_you_mean
from treasury.domain.ids import CostCentre
from treasury.domain.money import MICRO, format_money
from treasury.domain.turn import Entry
from treasury.engine.book import Book
from treasury.web.idempotency import Attempt
from treasury.web.problems import refused
from treasury.web.routes import Call
from treasury.web.views import BudgetRow, budget_rows

# A thousand million USD: what is more in one change is a mistake in the unit.
CHANGE_MAX: Final = 10**9 * MICRO
# Where a level would no longer fit the database's integers, however often it is topped up.
_LEVEL_MAX: Final = 10**12 * MICRO
PARTS_MAX: Final = 100

Change = Annotated[int, msgspec.Meta(ge=-CHANGE_MAX, le=CHANGE_MAX)]
CentreName = Annotated[str, msgspec.Meta(min_length=1, max_length=64)]


class Budgets(msgspec.Struct, frozen=True):
    """Budgets as a tree: each above those below it."""

    budgets: tuple[BudgetRow, ...]


class ChangeBudget(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """amount: more for this period [micro-USD], less where negative; source: the centre it is taken
    from, none for a top-up."""

    amount: Change
    source: CentreName | None = None
    by: str = ""


class FreezeBudget(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """frozen: whether the centre, and all below it, may take no new machines."""

    frozen: bool
    by: str = ""


class BookBills(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """first: the number of the first part, one more than parts were booked so far."""

    first: Annotated[int, msgspec.Meta(ge=1, le=2**53)]
    parts: Annotated[tuple[BillPart, ...], msgspec.Meta(min_length=1, max_length=PARTS_MAX)]
    by: str = ""


class BillsBooked(msgspec.Struct, frozen=True):
    """How many of the parts are in the books now."""

    booked: int


async def list_budgets(call: Call) -> Budgets:
    """Budgets."""
    return Budgets(tuple(budget_rows(call.book)))


async def change_budget(call: Call) -> Any:
    """Top up, take back, or move."""
    order, by = call.body(), ""
    by = call.by(order.by)
    centre = CostCentre(call.name("centre"))
    source = None if order.source is None else CostCentre(order.source)
    wish = e.ChangeBudget(centre, order.amount, by, source)

    async def act(attempt: Attempt) -> BudgetRow:
        book = call.book
        _check_change(book, wish)
        if attempt.retried and await _was_made(call, wish, attempt.seq):
            return _row(book, centre)
        entry = await call.house.agent.submit(wish)
        for fact in entry.facts:
            if isinstance(fact, e.BudgetChangeRefused) and _same(fact, wish):
                level = book.level(centre if source is None else source)
                raise refused(
                    409,
                    f"refused: {fact.why} (limit {format_money(level.limit)}, spent"
                    f" {format_money(level.spent)}, held {format_money(level.held)})",
                    field="amount",
                    value=order.amount,
                )
        return _row(book, centre)

    return await call.once(act)


def _check_change(book: Book, wish: e.ChangeBudget) -> None:
    for centre in (wish.cost_centre, wish.source):
        if centre is not None:
            _known(book, centre)
    if wish.amount == 0:
        raise refused(422, "nothing would change", field="amount", value=0, right="another amount")
    if book.level(wish.cost_centre).limit + wish.amount > _LEVEL_MAX:
        right = f"no more than {format_money(_LEVEL_MAX)} in all"
        raise refused(422, "the budget would be too large", field="amount", right=right)


async def _was_made(call: Call, wish: e.ChangeBudget, seq: int) -> bool:
    """Whether a turn after one made the very change: an earlier attempt whose answer was lost."""
    while entries := await call.journal.after(seq):
        if any(_holds(entry, wish) for entry in entries):
            return True
        seq = entries[-1].seq
    return False


def _holds(entry: Entry, wish: e.ChangeBudget) -> bool:
    return any(
        isinstance(fact, e.BudgetChanged) and _same(fact, wish) and fact.source == wish.source
        for fact in entry.facts
    )


def _same(fact: e.BudgetChanged | e.BudgetChangeRefused, wish: e.ChangeBudget) -> bool:
    return (fact.cost_centre, fact.amount, fact.by) == (wish.cost_centre, wish.amount, wish.by)


async def freeze_budget(call: Call) -> Any:
    """Let a centre take no new machines, or let it again."""
    order, centre = call.body(), CostCentre(call.name("centre"))
    by = call.by(order.by)

    async def act(_attempt: Attempt) -> BudgetRow:
        _known(call.book, centre)
        await call.house.agent.submit(e.FreezeBudget(centre, order.frozen, by))
        return _row(call.book, centre)

    return await call.once(act)


async def book_bills(call: Call) -> Any:
    """Take parts of a bill into the books, all or none of them."""
    order = call.body()
    by = call.by(order.by)
    for part in order.parts:
        _check_part(call.book, part)

    async def act(attempt: Attempt) -> BillsBooked:
        first, last = order.first, order.first + len(order.parts) - 1
        if attempt.retried and call.book.bills >= last:
            return BillsBooked(len(order.parts))
        if call.book.bills + 1 != first:
            raise refused(
                409,
                f"the next part is number {call.book.bills + 1}: the bill was held against other"
                " books",
                field="first",
                value=first,
                right=str(call.book.bills + 1),
            )
        numbered = enumerate(order.parts, start=first)
        await call.house.agent.submit(*(e.BookBill(number, part, by) for number, part in numbered))
        return BillsBooked(call.book.bills - first + 1)

    return await call.once(act)


def _check_part(book: Book, part: BillPart) -> None:
    """Raise ApiError for what the ledger could not take."""
    _known(book, part.cost_centre)
    figures = (part.billed, part.booked, part.difference, *(amount for _, amount in part.causes))
    if any(abs(figure) > CHANGE_MAX for figure in figures):
        raise refused(422, "an amount is too large", field="parts", right="micro-USD")
    spans = [instant for span in part.covered for instant in span]
    if any(not 0 <= instant < 2**62 for instant in spans) or not _named(part.provider):
        raise refused(422, "a part cannot be booked", field="parts", right="instants in ns")
    if part.lease is not None and not 0 < part.lease < 2**62:
        raise refused(422, "a part names no lease", field="parts", value=part.lease)


def _named(name: str) -> bool:
    return 0 < len(name) <= 64 and ":" not in name and name.isprintable()


def _known(book: Book, centre: str) -> None:
    if CostCentre(centre) not in book.budgets:
        hint = did_you_mean(centre, book.budgets)
        raise refused(404, f"no cost centre is called {centre!r}; {hint}", right=hint)


def _row(book: Book, centre: CostCentre) -> BudgetRow:
    return next(row for row in budget_rows(book) if row.cost_centre == centre)


__all__ = [
    "BillsBooked",
    "BookBills",
    "Budgets",
    "ChangeBudget",
    "FreezeBudget",
    "book_bills",
    "change_budget",
    "freeze_budget",
    "list_budgets",
]
