"""Between the domain's values and the tables' rows: what a turn adds to each table."""

from collections.abc import Callable, Iterable
from typing import Any, Final

import msgspec

from treasury.domain.plan import Approved
from treasury.domain.transfer import Transfer, TransferKind
from treasury.domain.turn import Entry
from treasury.ledger.ledger import Account

Values = dict[str, Any]

_RESOLVING: Final = (TransferKind.POST, TransferKind.VOID, TransferKind.EXPIRE)
_APPROVED: Final = msgspec.json.Decoder(Approved)


def turn_values(entry: Entry, body: bytes, prev: bytes, digest: bytes) -> Values:
    """The row of `journal`."""
    return {
        "seq": entry.seq,
        "at": entry.at,
        "body": body.decode(),
        "prev_hash": prev,
        "hash": digest,
    }


def transfer_values(seq: int, transfer: Transfer) -> Values:
    """The row of `transfers`."""
    return {
        "id": transfer.id,
        "seq": seq,
        "kind": transfer.kind.value,
        "debit": transfer.debit,
        "credit": transfer.credit,
        "amount": transfer.amount,
        "currency": transfer.currency,
        "refers": transfer.refers,
        "lease": transfer.lease,
        "event_at": transfer.event_at,
        "reason": transfer.reason,
    }


def outbox_values(entry: Entry) -> list[Values]:
    """The rows of `outbox`: every command of a turn, none delivered yet."""
    return [
        {
            "seq": entry.seq,
            "idx": index,
            "kind": str(approved.command.__struct_config__.tag),
            "body": msgspec.json.encode(approved).decode(),
            "delivered": 0,
        }
        for index, approved in enumerate(entry.commands)
    ]


def approved_of(body: str) -> Approved:
    """The command of an outbox row. Raises ValueError."""
    return _APPROVED.decode(body)


def account_values(account: Account) -> Values:
    """The row of `accounts`."""
    return {**msgspec.structs.asdict(account), "policy": account.policy.value}


def account_of(row: Any) -> Account:
    """The account of a row of `accounts`. Raises ValueError where a column holds no such value."""
    return msgspec.convert(
        {name: getattr(row, name) for name in Account.__struct_fields__}, Account
    )


def changes(
    transfers: Iterable[Transfer], held: dict[int, int], find: Callable[[int], int]
) -> dict[str, list[int]]:
    """What a turn's transfers add to each account's counters: debits pending and posted, credits
    pending and posted [micro-units].

    held: the amounts of open holds by id, which is kept up to date. find: the amount of a hold that
    is not in it.
    """
    totals: dict[str, list[int]] = {}
    for transfer in transfers:
        debit = totals.get(transfer.debit)
        if debit is None:
            debit = totals[transfer.debit] = [0, 0, 0, 0]
        credit = totals.get(transfer.credit)
        if credit is None:
            credit = totals[transfer.credit] = [0, 0, 0, 0]
        kind, amount = transfer.kind, transfer.amount
        if kind is TransferKind.HOLD:
            held[transfer.id] = amount
            debit[0] += amount
            credit[2] += amount
            continue
        if kind in _RESOLVING:
            hold_id = transfer.refers or 0
            freed = held.pop(hold_id) if hold_id in held else find(hold_id)
            debit[0] -= freed
            credit[2] -= freed
            if kind is not TransferKind.POST:
                continue
        debit[1] += amount
        credit[3] += amount
    return totals
