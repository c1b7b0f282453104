"""The journal as other accounting programs understand it: dated transactions that add up to zero.

What appears: every transfer between real accounts (`assets:`, `expenses:`, `equity:`). What does
not: the memorandum pairs `limit:` and `used:` with `equity:limit`, which say what may be spent and
hold no money; the CSV and Parquet tables have them.

A hold sets money aside: it moves from `assets:budget:<centre>` to `assets:held:<centre>`, so that a
wallet's balance is what is available. A post spends its part and gives the rest back; a void or an
expiry gives all of it back. Without holds a post alone moves money, and a wallet's balance is what
was not spent.
"""

from collections.abc import Iterable, Iterator
from typing import Final

import msgspec

from treasury.domain.transfer import Transfer, TransferKind
from treasury.domain.turn import Entry

_WALLET: Final = "assets:budget:"
_HELD: Final = "assets:held:"
_MEMORANDUM: Final = ("limit:", "used:", "equity:limit")


class Posting(msgspec.Struct, frozen=True, gc=False):
    """One account's part of a transaction [micro-units]; positive is a debit."""

    account: str
    amount: int


class Transaction(msgspec.Struct, frozen=True, gc=False):
    """One transfer as a transaction; its postings add up to zero. Instants in ns."""

    seq: int
    recorded_at: int
    transfer: Transfer
    postings: tuple[Posting, ...]


def memorandum(transfer: Transfer) -> bool:
    """Whether a transfer is only about what may be spent."""
    return transfer.debit.startswith(_MEMORANDUM) or transfer.credit.startswith(_MEMORANDUM)


def transactions(entries: Iterable[Entry], *, holds: bool = True) -> Iterator[Transaction]:
    """Every transfer that moves real money, in the journal's order. Memory holds what is held."""
    held: dict[int, int] = {}
    for entry in entries:
        for transfer in entry.transfers:
            if memorandum(transfer):
                continue
            found = _postings(transfer, held, holds)
            if found:
                yield Transaction(entry.seq, entry.at, transfer, found)


def _postings(transfer: Transfer, held: dict[int, int], holds: bool) -> tuple[Posting, ...]:
    kind, amount, credit = transfer.kind, transfer.amount, transfer.credit
    parts: tuple[tuple[str, int], ...]
    if kind is TransferKind.HOLD:
        held[transfer.id] = amount
        parts = ((set_aside(credit), amount), (credit, -amount)) if holds else ()
    elif kind in (TransferKind.POST, TransferKind.VOID, TransferKind.EXPIRE):
        whole = held.pop(transfer.refers or 0)
        spent = amount if kind is TransferKind.POST else 0
        parts = ((transfer.debit, spent), (credit, -spent))
        if holds:
            parts = ((transfer.debit, spent), (credit, whole - spent), (set_aside(credit), -whole))
    else:
        parts = ((transfer.debit, amount), (credit, -amount))
    return tuple(Posting(account, part) for account, part in parts if part)


def set_aside(account: str) -> str:
    """Where what is held of an account waits."""
    if account.startswith(_WALLET):
        return _HELD + account.removeprefix(_WALLET)
    return f"{account}:held"


def decimal(micros: int) -> str:
    """Plain decimal text with every micro-unit, such as `-0.612345`."""
    whole, rest = divmod(abs(micros), 1_000_000)
    return f"{'-' if micros < 0 else ''}{whole}.{rest:06d}"
