"""Leases: our right to one machine from grant to release, and the states it may go through."""

from enum import Enum

from treasury.domain.errors import InvariantBroken
from treasury.domain.ids import LeaseId


class LeaseState(Enum):
    """Where a lease stands. `MOVES` holds the legal moves."""

    # The state's row of MOVES, kept on the member: hashing one costs more than the comparison.
    moves: tuple["LeaseState", ...]

    REQUESTED = "requested"
    UNRESOLVED = "unresolved"
    GRANTED = "granted"
    READY = "ready"
    RELEASING = "releasing"
    RELEASED = "released"
    LOST = "lost"
    DECLINED = "declined"


MOVES: dict[LeaseState, tuple[LeaseState, ...]] = {
    LeaseState.REQUESTED: (
        LeaseState.GRANTED,
        LeaseState.DECLINED,
        LeaseState.UNRESOLVED,
    ),
    LeaseState.UNRESOLVED: (
        LeaseState.GRANTED,
        LeaseState.DECLINED,
    ),
    LeaseState.GRANTED: (
        LeaseState.READY,
        LeaseState.RELEASING,
        LeaseState.LOST,
    ),
    LeaseState.READY: (
        LeaseState.RELEASING,
        LeaseState.LOST,
    ),
    LeaseState.RELEASING: (
        LeaseState.RELEASED,
        LeaseState.LOST,
    ),
    LeaseState.RELEASED: (),
    LeaseState.LOST: (),
    LeaseState.DECLINED: (),
}
for _state, _moves in MOVES.items():
    _state.moves = _moves
# States in which the market bills us, or may.
BILLED = (LeaseState.GRANTED, LeaseState.READY, LeaseState.RELEASING)
CLOSED = (LeaseState.RELEASED, LeaseState.LOST, LeaseState.DECLINED)


def check_lease_move(lease: LeaseId, old: LeaseState, new: LeaseState) -> None:
    """Raise InvariantBroken unless the move is legal."""
    if new not in old.moves:
        raise InvariantBroken(f"lease {lease}: {old.value} -> {new.value} is no legal move")
