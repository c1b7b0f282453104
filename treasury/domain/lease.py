"""Leases: our right to one machine from grant to release, and the states it may go through."""

from enum import Enum

from treasury.domain.errors import InvariantBroken
from treasury.domain.ids import LeaseId


class LeaseState(Enum):
    """Where a lease stands. `MOVES` holds the legal moves."""

    REQUESTED = "requested"
    UNRESOLVED = "unresolved"
    GRANTED = "granted"
    READY = "ready"
    RELEASING = "releasing"
    RELEASED = "released"
    LOST = "lost"
    DECLINED = "declined"


MOVES: dict[LeaseState, frozenset[LeaseState]] = {
    LeaseState.REQUESTED: frozenset(
        {LeaseState.GRANTED, LeaseState.DECLINED, LeaseState.UNRESOLVED}
    ),
    LeaseState.UNRESOLVED: frozenset({LeaseState.GRANTED, LeaseState.DECLINED}),
    LeaseState.GRANTED: frozenset({LeaseState.READY, LeaseState.RELEASING, LeaseState.LOST}),
    LeaseState.READY: frozenset({LeaseState.RELEASING, LeaseState.LOST}),
    LeaseState.RELEASING: frozenset({LeaseState.RELEASED, LeaseState.LOST}),
    LeaseState.RELEASED: frozenset(),
    LeaseState.LOST: frozenset(),
    LeaseState.DECLINED: frozenset(),
}
# States in which the market bills us, or may.
BILLED = frozenset({LeaseState.GRANTED, LeaseState.READY, LeaseState.RELEASING})
CLOSED = frozenset({LeaseState.RELEASED, LeaseState.LOST, LeaseState.DECLINED})


def check_lease_move(lease: LeaseId, old: LeaseState, new: LeaseState) -> None:
    """Raise InvariantBroken unless the move is legal."""
    if new not in MOVES[old]:
        raise InvariantBroken(f"lease {lease}: {old.value} -> {new.value} is no legal move")
