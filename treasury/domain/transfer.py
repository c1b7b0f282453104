"""Transfers: immutable amounts from one account to another, and the accounts' kinds."""

from enum import Enum

import msgspec

from treasury.domain.ids import HoldId, LeaseId


class TransferKind(Enum):
    """DIRECT moves money; HOLD reserves it; POST takes part or all of a hold and frees the rest;
    VOID and EXPIRE free a hold; REVERSAL undoes a DIRECT or POST by its opposite."""

    DIRECT = "direct"
    HOLD = "hold"
    POST = "post"
    VOID = "void"
    EXPIRE = "expire"
    REVERSAL = "reversal"


class AccountPolicy(Enum):
    """LIMITED: credits, held ones included, may never exceed debits (a wallet)."""

    FREE = "free"
    LIMITED = "limited"


class Transfer(msgspec.Struct, frozen=True, gc=False):
    """One immutable amount [micro-units] from `credit` to `debit`.

    refers: the hold a POST, VOID or EXPIRE resolves, or the transfer a REVERSAL undoes.
    event_at: when it happened in the world [ns]; when it was recorded is the turn's instant.
    reason: a word of the accounting rules.
    """

    id: HoldId
    kind: TransferKind
    debit: str
    credit: str
    amount: int
    event_at: int
    reason: str
    currency: str = "USD"
    refers: HoldId | None = None
    lease: LeaseId | None = None
