"""When a listing is not to be believed: the circuit breaker between providers and the book.

An empty or restored database, or the wrong one, takes every machine for an orphan and would give
all of them back. So would a listing of another account. Neither may happen because a machine said
so: a person looks and starts the daemon with --adopt.
"""

from collections.abc import Sequence
from typing import Final

from treasury.domain.ids import LeaseId, PlacementId, ProviderName
from treasury.domain.inputs import LeaseSeen, RaiseCounters
from treasury.domain.lease import LeaseState
from treasury.engine import Book

# Fewer orphans than this at once are everyday life: a crash, a request that came late.
MANY: Final = 5


def doubt(book: Book, seen: Sequence[LeaseSeen]) -> str:
    """Why a listing must not reach the book; empty when it may."""
    alive = [item for item in seen if item.ended_at is None]
    unknown = [item for item in alive if item.lease not in book.leases]
    later = [item for item in unknown if item.lease > book.last_lease]
    if later:
        names = ", ".join(item.machine for item in later[:3])
        return (
            f"{len(later)} machines carry our tag with numbers the journal has not given out yet "
            f"({names}): the database is empty, restored from a backup, or not this installation's"
        )
    if len(unknown) >= MANY and 2 * len(unknown) > len(alive):
        return (
            f"{len(unknown)} of {len(alive)} machines with our tag are unknown to the journal and "
            "would be given back at once"
        )
    return ""


def adoption(book: Book, provider: ProviderName, seen: Sequence[LeaseSeen]) -> RaiseCounters | None:
    """What keeps the numbers of machines that an older journal gave out from being given out again;
    None where none is in danger."""
    lease = max((item.lease for item in seen), default=LeaseId(0))
    placement = max((item.placement for item in seen), default=PlacementId(0))
    if lease <= book.last_lease and placement <= book.last_placement:
        return None
    return RaiseCounters(placement, lease, str(provider))


def has_news(book: Book, provider: ProviderName, seen: Sequence[LeaseSeen]) -> bool:
    """Whether a listing says anything that the book does not say already."""
    listed = set()
    for item in seen:
        lease = book.leases.get(item.lease)
        listed.add(item.lease)
        if lease is None or (lease.machine and lease.machine != item.machine):
            if item.ended_at is None:
                return True
        elif (
            item.ended_at is not None
            or lease.missing_since
            or lease.unsure_from
            or lease.state in (LeaseState.REQUESTED, LeaseState.UNRESOLVED)
            or (item.ready and lease.state is LeaseState.GRANTED)
        ):
            return True
    return any(
        lease.provider == provider
        and lease.id not in listed
        and lease.state is not LeaseState.REQUESTED
        for lease in book.leases.values()
    )
