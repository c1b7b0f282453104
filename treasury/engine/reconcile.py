"""Reconciliation: what a provider lists against what the book holds, in both directions.

An orphan (they bill us, we do not know it) is released. A ghost (we think it lives, they do not
list it) counts as lost once the listing is late enough to know. A request without an outcome is
resolved.
"""

from treasury.budget.guard import stop
from treasury.domain import events as e
from treasury.domain.commands import Release
from treasury.domain.lease import LeaseState
from treasury.engine import lifecycle
from treasury.engine.draft import Draft


def see_leases(draft: Draft, event: e.SeeLeases) -> None:
    """Compare a complete listing with the book and act on what differs."""
    book = draft.book
    seen = {item.lease: item for item in event.leases}
    placements: dict[int, list[e.LeaseSeen]] = {}
    for item in event.leases:
        lease = book.leases.get(item.lease)
        if lease is None:
            draft.emit(e.Discrepancy(f"orphan {item.machine}: released"))
            draft.commands.append(stop(Release(event.provider, item.lease)))
        elif lease.state in (LeaseState.REQUESTED, LeaseState.UNRESOLVED):
            placements.setdefault(item.placement, []).append(item)
    for found in placements.values():
        _adopt(draft, found)
    for lease_id, lease in list(book.leases.items()):
        if lease.provider != event.provider or lease_id in seen or lease_id not in book.leases:
            continue
        lag = book.offers[lease.offer].offer.capabilities.listing_lag_ns
        placement = book.placements[lease.placement]
        if lease.state is LeaseState.UNRESOLVED:
            if event.at - placement.requested_at > 2 * lag:
                gone = e.AcquireDeclined(placement.id, "NoCapacity", event.at)
                lifecycle.declined(draft, gone)
        elif lease.state in (LeaseState.GRANTED, LeaseState.READY):
            if event.at - lease.granted_at > lag:
                draft.emit(e.Discrepancy(f"ghost {lease.machine}: counted as lost"))
                lifecycle.lost(draft, e.MachineLost(lease_id, event.at, "ghost"))
        elif lease.state is LeaseState.RELEASING:
            lifecycle.released(draft, e.MachineReleased(lease_id, event.at))


def _adopt(draft: Draft, found: list[e.LeaseSeen]) -> None:
    """A request whose outcome we did not know was granted after all."""
    first = found[0]
    placement = draft.book.placements[first.placement]
    if len(found) < len(placement.leases):
        return
    by_lease = {item.lease: item for item in found}
    machines = tuple(by_lease[lease].machine for lease in placement.leases)
    event = e.AcquireGranted(
        first.token, placement.id, machines, max(i.granted_at for i in found), first.rate
    )
    lifecycle.granted(draft, event)
    for lease in placement.leases:
        lifecycle.ready(draft, e.MachineReady(lease, draft.now))
