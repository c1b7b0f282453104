"""What callers of the shared ledger ask for, and what they are answered.

A request carries an id that its caller chose: asked twice it is done once, and the second answer is
the first one's. Requests that are submitted together are a linked chain: all of them or none.
"""

from collections.abc import Sequence
from enum import Enum
from typing import Final

import msgspec

from treasury.domain.errors import BadValue
from treasury.domain.money import MONEY_LIMIT
from treasury.domain.time import NEVER
from treasury.domain.transfer import TransferKind
from treasury.ledger.currency import CURRENCIES

# Long enough for a UUID with a prefix and a level; every index carries each of them.
ID_LENGTH: Final = 128
TEXT_LENGTH: Final = 512
# A gang on a deep tree needs dozens; a chain is decided and written as one.
CHAIN_LENGTH: Final = 256

_OPENING: Final = (TransferKind.DIRECT, TransferKind.HOLD)


class Rate(msgspec.Struct, frozen=True):
    """What an exchange was made at: `numerator` units of `quote` for `denominator` of `base`.

    source: who says so. at: when it was so [ns].
    """

    base: str
    quote: str
    numerator: int
    denominator: int
    source: str
    at: int


class TransferRequest(msgspec.Struct, frozen=True, gc=False):
    """One transfer to be made. The functions below make each kind with what it needs.

    id: chosen by the caller and never used for anything else. amount: micro-units; 0 where the hold
    or the transfer referred to says it. debit, credit: empty where it says them. event_at: when it
    happened in the world [ns]. subject: what it is for, such as a job or a request.
    """

    id: str
    kind: TransferKind
    debit: str = ""
    credit: str = ""
    amount: int = 0
    currency: str = ""
    refers: str = ""
    event_at: int = 0
    reason: str = ""
    subject: str = ""
    rate: Rate | None = None


class Receipt(msgspec.Struct, frozen=True, gc=False):
    """It is durable. seq: of the first transfer; a chain's follow it without a gap.

    recorded_at: the database's time [ns]. existed: it had been done by an earlier request.
    """

    seq: int
    count: int
    recorded_at: int
    existed: bool = False


class RefusalCode(Enum):
    """Why not. DIFFERS and LINKED are mistakes of the caller; the others may change with time."""

    OVERDRAFT = "overdraft"
    CURRENCY = "currency"
    UNKNOWN = "unknown"
    NOT_A_HOLD = "not_a_hold"
    RESOLVED = "resolved"
    EXCEEDS_HOLD = "exceeds_hold"
    NOT_REVERSIBLE = "not_reversible"
    REVERSED = "reversed"
    DIFFERS = "differs"
    LINKED = "linked"
    OVERFLOW = "overflow"
    CONSTRAINT = "constraint"


class Refusal(msgspec.Struct, frozen=True):
    """Nothing of it was done. id: the request of the chain that could not be.

    For OVERDRAFT in micro-units: `account` was given `limit`, has spent `spent` and holds `held`;
    `asked` is more than what is left.
    """

    id: str
    code: RefusalCode
    message: str
    account: str = ""
    limit: int = 0
    spent: int = 0
    held: int = 0
    asked: int = 0


Outcome = Receipt | Refusal


def direct(
    id: str,  # noqa: A002 - the field's name
    debit: str,
    credit: str,
    amount: int,
    *,
    event_at: int,
    reason: str,
    currency: str = "USD",
    subject: str = "",
    rate: Rate | None = None,
) -> TransferRequest:
    """Move `amount` [micro-units] from `credit` to `debit` at once."""
    return TransferRequest(
        id,
        TransferKind.DIRECT,
        debit,
        credit,
        amount,
        currency,
        event_at=event_at,
        reason=reason,
        subject=subject,
        rate=rate,
    )


def hold(
    id: str,  # noqa: A002 - the field's name
    debit: str,
    credit: str,
    amount: int,
    *,
    event_at: int,
    reason: str,
    currency: str = "USD",
    subject: str = "",
) -> TransferRequest:
    """Reserve `amount` [micro-units] of `credit` for `debit`."""
    return TransferRequest(
        id,
        TransferKind.HOLD,
        debit,
        credit,
        amount,
        currency,
        event_at=event_at,
        reason=reason,
        subject=subject,
    )


def post(
    id: str,  # noqa: A002 - the field's name
    hold_id: str,
    amount: int,
    *,
    event_at: int,
    reason: str,
) -> TransferRequest:
    """Spend `amount` [micro-units, 0 to all] of an open hold and free the rest."""
    return _referring(id, TransferKind.POST, hold_id, amount, event_at, reason)


def void(id: str, hold_id: str, *, event_at: int, reason: str) -> TransferRequest:  # noqa: A002
    """Free an open hold because it is not needed."""
    return _referring(id, TransferKind.VOID, hold_id, 0, event_at, reason)


def expire(id: str, hold_id: str, *, event_at: int, reason: str) -> TransferRequest:  # noqa: A002
    """Free an open hold because its time is over."""
    return _referring(id, TransferKind.EXPIRE, hold_id, 0, event_at, reason)


def reverse(id: str, of: str, *, event_at: int, reason: str) -> TransferRequest:  # noqa: A002
    """Undo a direct transfer or a post by its opposite, once."""
    return _referring(id, TransferKind.REVERSAL, of, 0, event_at, reason)


def _referring(
    request_id: str, kind: TransferKind, refers: str, amount: int, event_at: int, reason: str
) -> TransferRequest:
    return TransferRequest(
        request_id, kind, amount=amount, refers=refers, event_at=event_at, reason=reason
    )


def content(request: TransferRequest) -> bytes:
    """All that was asked for, but the id: what a repetition must have in common with the first."""
    return msgspec.json.encode(
        (
            request.kind,
            request.debit,
            request.credit,
            request.amount,
            request.currency,
            request.refers,
            request.event_at,
            request.reason,
            request.subject,
            request.rate,
        )
    )


def check(chain: Sequence[TransferRequest]) -> None:
    """Raises BadValue for a chain that could not be done in any books."""
    if not 0 < len(chain) <= CHAIN_LENGTH:
        raise BadValue("chain", f"of {len(chain)} requests", f"1 to {CHAIN_LENGTH}")
    for request in chain:
        _check(request)
    if len(chain) > 1 and len({request.id for request in chain}) < len(chain):
        raise BadValue(
            "chain", [request.id for request in chain], "a different id for each request"
        )


def _check(request: TransferRequest) -> None:
    kind, amount = request.kind, request.amount
    if type(kind) is not TransferKind:
        raise BadValue("kind", kind, "a TransferKind")
    _text("id", request.id, ID_LENGTH)
    _text("reason", request.reason, TEXT_LENGTH)
    if request.subject:
        _text("subject", request.subject, TEXT_LENGTH)
    # `True` is an int to isinstance, and 1e30 an amount to whoever only compares.
    if type(request.event_at) is not int or not 0 <= request.event_at < NEVER:
        raise BadValue("event_at", request.event_at, "an instant as whole nanoseconds since 1970")
    if type(amount) is not int:
        raise BadValue("amount", amount, "whole micro-units as an int")
    if kind in _OPENING:
        if not 0 < amount <= MONEY_LIMIT:
            raise BadValue("amount", amount, f"1 to {MONEY_LIMIT} micro-units")
        _text("debit", request.debit, TEXT_LENGTH)
        _text("credit", request.credit, TEXT_LENGTH)
        if request.debit == request.credit:
            raise BadValue("credit", request.credit, "another account than debit")
        if request.currency not in CURRENCIES:
            raise BadValue("currency", request.currency, 'a code of ISO 4217, such as "USD"')
        if request.refers:
            raise BadValue("refers", request.refers, f"nothing for a {kind.value}")
        if request.rate is not None:
            _check_rate(request.rate)
        return
    _text("refers", request.refers, ID_LENGTH)
    if request.debit or request.credit or request.currency or request.rate is not None:
        raise BadValue("sides", request.debit or request.currency, f"nothing for a {kind.value}")
    if not 0 <= amount <= MONEY_LIMIT or (amount and kind is not TransferKind.POST):
        raise BadValue("amount", amount, "0 to all of the hold for a post, 0 otherwise")


def _check_rate(rate: Rate) -> None:
    for name in ("numerator", "denominator"):
        value = getattr(rate, name)
        if type(value) is not int or not 0 < value < 2**63:
            raise BadValue(f"rate {name}", value, "a whole number above 0")
    if rate.base not in CURRENCIES or rate.quote not in CURRENCIES or rate.base == rate.quote:
        raise BadValue("rate", f"{rate.base}/{rate.quote}", "two currencies of ISO 4217")
    _text("rate source", rate.source, TEXT_LENGTH)


def _text(what: str, value: str, most: int) -> None:
    """One line that a person can read and every database can keep: no NUL, no half a character."""
    if type(value) is not str or not 0 < len(value) <= most or not value.isprintable():
        raise BadValue(what, value, f"1 to {most} printable characters")
