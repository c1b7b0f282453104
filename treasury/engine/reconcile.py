"""Reconciliation: what a provider lists against what the book holds, in both directions.

An orphan (they bill us, we do not know it) is released. A ghost (we think it lives, they do not
list it) counts as lost when it stays out of the listings long enough. A request without an outcome
is resolved. Listings are also how grants and boots are learned where nobody pushes them.
"""

from treasury.budget.guard import stop
from treasury.domain import events as e
from treasury.domain.commands import Release
from treasury.domain.ids import LeaseId
from treasury.domain.lease import BILLED, LeaseState
from treasury.domain.time import MINUTE
from treasury.engine import lifecycle
from treasury.engine.book import LeaseRecord
from treasury.engine.draft import Draft

_ASKED = (LeaseState.REQUESTED, LeaseState.UNRESOLVED)
_HELD = (LeaseState.GRANTED, LeaseState.READY)
# How long a machine must stay out of the listings before it counts as gone.
_PROOF = 2 * MINUTE


def see_leases(draft: Draft, event: e.SeeLeases) -> None:
    """Compare a complete listing with the book and act on what differs."""
    book = draft.book
    seen: dict[LeaseId, e.LeaseSeen] = {}
    placements: dict[int, list[e.LeaseSeen]] = {}
    for item in event.leases:
        lease = book.leases.get(item.lease)
        if lease is None or (lease.machine and lease.machine != item.machine):
            # Nobody's, or a second machine for a lease that has one.
            if item.ended_at is None:
                draft.emit(e.Discrepancy(f"orphan {item.machine}: released"))
                draft.commands.append(stop(Release(event.provider, item.lease, item.machine)))
            continue
        seen[item.lease] = item
        if lease.state in _ASKED:
            placements.setdefault(item.placement, []).append(item)
    for found in placements.values():
        _adopt(draft, found)
    for lease_id, lease in list(book.leases.items()):
        if lease.provider != event.provider or lease_id not in book.leases:
            continue
        item_seen = seen.get(lease_id)
        if item_seen is None:
            _missing(draft, lease, event.at)
        else:
            _follow(draft, lease, item_seen)


def _follow(draft: Draft, lease: LeaseRecord, item: e.LeaseSeen) -> None:
    """Take over what a listing says of a machine we hold: that it has booted, or has ended."""
    if lease.missing_since or lease.unsure_from:
        draft.emit(e.LeaseMissing(lease.id, 0))
    if item.ended_at is not None:
        if lease.state in _HELD:
            cause = item.cause or "interrupted"
            lifecycle.lost(draft, e.MachineLost(lease.id, item.ended_at - lease.ahead, cause))
        elif lease.state is LeaseState.RELEASING:
            lifecycle.released(draft, e.MachineReleased(lease.id, item.ended_at - lease.ahead))
    elif item.ready and lease.state is LeaseState.GRANTED:
        lifecycle.ready(draft, e.MachineReady(lease.id, draft.now))


def _missing(draft: Draft, lease: LeaseRecord, at: int) -> None:
    """Draw the conclusion from a machine that stays out of the listings: one alone proves little,
    they lag and flicker. What is gone is charged until it was first missed."""
    book = draft.book
    if lease.state is LeaseState.REQUESTED:
        return
    lag = book.offers[lease.offer].offer.capabilities.listing_lag_ns
    placement = book.placements[lease.placement]
    known_at = lease.held_from if lease.state in BILLED else placement.requested_at
    if at - known_at <= lag:
        return
    since = lease.missing_since
    # One that nobody paid ahead has ended by its fuse, whenever that is noticed.
    ended_at = min(since, lease.unsure_from or book.funded_until(lease))
    if not since:
        draft.emit(e.LeaseMissing(lease.id, at))
        return
    if at - since < max(2 * lag, _PROOF):
        return
    if lease.state is LeaseState.UNRESOLVED:
        lifecycle.declined(draft, e.AcquireDeclined(placement.id, "NoCapacity", at))
    elif lease.state in _HELD:
        draft.emit(e.Discrepancy(f"ghost {lease.machine}: counted as lost"))
        lifecycle.lost(draft, e.MachineLost(lease.id, ended_at, "ghost"))
    else:
        lifecycle.released(draft, e.MachineReleased(lease.id, ended_at))


def _adopt(draft: Draft, found: list[e.LeaseSeen]) -> None:
    """A request was granted: we were not told, or did not know."""
    first = found[0]
    placement = draft.book.placements[first.placement]
    if len(found) < len(placement.leases):
        return
    by_lease = {item.lease: item for item in found}
    machines = tuple(by_lease[lease].machine for lease in placement.leases)
    # A listing without prices leaves the last quote, and the bid where there is none.
    quoted = draft.book.offers[placement.offer].rate
    rate = first.rate or (quoted if 0 < quoted <= placement.bid else placement.bid)
    granted_at = max(item.granted_at for item in found)
    event = e.AcquireGranted(first.token, placement.id, machines, granted_at, rate)
    lifecycle.granted(draft, event)
