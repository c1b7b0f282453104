"""Bills: the difference between what was charged and what a provider asks for is booked apart.

A bill comes long after its machines are gone, so that its difference touches no wallet: the budget
it would belong to has ended, and money of this period did not pay for it. It is a cost of the cost
centre beside its charges, against `equity:variance`; `treasury budget top-up` with a negative
amount makes this period bear it where that is wanted.
"""

from typing import Final

from treasury.domain import events as e
from treasury.domain.errors import BadValue
from treasury.engine.draft import Draft

VARIANCE: Final = "equity:variance"
_ADJUST: Final = "expenses:adjust:"


def adjustment(cost_centre: str, provider: str) -> str:
    """The account of what a provider's bills asked a cost centre for beyond its charges. Raises
    BadValue for a name with a colon."""
    for what, name in (("cost centre", cost_centre), ("provider", provider)):
        if not name or ":" in name:
            raise BadValue(what, name, "a name that is not empty and has no ':' in it")
    return f"{_ADJUST}{cost_centre}:{provider}"


def book_bill(draft: Draft, event: e.BookBill) -> None:
    """Take a part of a bill: its difference becomes one transfer, none where there is none."""
    book, part = draft.book, event.part
    if event.number != book.bills + 1:
        draft.emit(
            e.Discrepancy(
                f"part {event.number} of a bill of {part.provider} was not booked: it was held "
                f"against other books, the next is {book.bills + 1}"
            )
        )
        return
    account = adjustment(part.cost_centre, part.provider)
    if part.difference:
        sides = (account, VARIANCE) if part.difference > 0 else (VARIANCE, account)
        # It belongs to the time it is for: the last instant the lines speak of.
        ended = max((end for _, end in part.covered), default=draft.now + 1) - 1
        draft.transfers.append(
            book.ledger.direct(
                *sides,
                abs(part.difference),
                event_at=max(0, min(draft.now, ended)),
                reason="variance",
                lease=part.lease,
            )
        )
    draft.emit(e.BillBooked(event.number, part, event.by))
