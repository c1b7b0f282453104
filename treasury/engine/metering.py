"""Metering: charges recomputed from the grant, only the difference posted, the next hold opened.

A charge is the exact integral of the rate over time, rounded once; posting differences of
cumulative totals cannot drift. A hold is resolved once: each metering posts hold k and opens
hold k+1 at every level, or neither. What a lease turns out to cost beyond its hold is drawn
from the wallet, and from `equity:shortfall` when the wallet is empty: the market is owed either
way.
"""

from treasury.budget.guard import renew
from treasury.budget.levels import SpendRequest
from treasury.domain.events import LeaseMetered
from treasury.domain.ids import CostCentre, LeaseId
from treasury.domain.market import Offer
from treasury.domain.money import RATE_NS_PER_MICRO, charge
from treasury.engine.book import Book, LeaseRecord
from treasury.engine.draft import Draft
from treasury.engine.funding import cover, notice_soft_caps
from treasury.ledger.chart import SHORTFALL, expense


def hold_amount(book: Book, offer: Offer, bid: int) -> int:
    """What is held for one machine [micro-USD]: the bid over the horizon, rounded up to what the
    market would bill, and one step more for the time a release takes."""
    capabilities = offer.capabilities
    step = max(1, capabilities.billing_step_ns)
    span = max(book.settings.horizon, capabilities.billing_minimum_ns)
    span += capabilities.grant_delay_ns + capabilities.boot_ns
    return charge(bid, -(-span // step) * step + step)


def billed_tail(offer: Offer, held_ns: int) -> int:
    """Time [ns] a market bills beyond the time held: its step and its minimum, rounded up."""
    capabilities = offer.capabilities
    step = max(1, capabilities.billing_step_ns)
    billed = max(held_ns, capabilities.billing_minimum_ns)
    return -(-billed // step) * step - held_ns


def open_holds(
    draft: Draft, lease: LeaseId, cost_centre: CostCentre, offer: Offer, amount: int
) -> tuple[int, ...]:
    """Hold money for one machine at every level; the caller has made sure that it fits."""
    ledger = draft.book.ledger
    holds = []
    for credit, debit in draft.book.routes(cost_centre):
        transfer = ledger.hold(
            debit or expense(cost_centre, offer.provider),
            credit,
            amount,
            event_at=draft.now,
            reason="hold",
            lease=lease,
        )
        draft.transfers.append(transfer)
        holds.append(transfer.id)
    return tuple(holds)


def reopen_holds(draft: Draft, lease: LeaseRecord, bid: int) -> None:
    """Replace what is held for a machine by what another bid [nano-USD/h] asks for."""
    book = draft.book
    offer = book.offers[lease.offer].offer
    cost_centre = book.placements[lease.placement].cost_centre
    _void(draft, lease, "rebid")
    holds = open_holds(draft, lease.id, cost_centre, offer, hold_amount(book, offer, bid))
    draft.emit(
        LeaseMetered(lease.id, lease.rated_until, lease.accrued, lease.charge, lease.rate, holds)
    )


def void_holds(draft: Draft, lease: LeaseRecord) -> None:
    """Free what is held for a machine that was never granted."""
    _void(draft, lease, "void")
    draft.emit(LeaseMetered(lease.id, lease.rated_until, 0, lease.charge, lease.rate, ()))


def _void(draft: Draft, lease: LeaseRecord, reason: str) -> None:
    for hold in lease.holds:
        draft.transfers.append(draft.book.ledger.void(hold, event_at=draft.now, reason=reason))


def _post(draft: Draft, lease: LeaseRecord, difference: int) -> None:
    """Post a difference against the open holds of a lease, level by level."""
    book, ledger = draft.book, draft.book.ledger
    offer = book.offers[lease.offer].offer
    cost_centre = book.placements[lease.placement].cost_centre
    for hold, (credit, debit) in zip(lease.holds, book.routes(cost_centre), strict=True):
        covered = min(difference, ledger.holds[hold].amount)
        draft.transfers.append(ledger.post(hold, covered, event_at=draft.now, reason="charge"))
        excess = difference - covered
        if excess <= 0:
            continue
        target = debit or expense(cost_centre, offer.provider)
        own = min(excess, max(0, ledger.available(credit)))
        for source, amount in ((credit, own), (SHORTFALL, excess - own)):
            if amount:
                draft.transfers.append(
                    ledger.direct(
                        target,
                        source,
                        amount,
                        event_at=draft.now,
                        reason="overrun",
                        lease=lease.id,
                    )
                )


def settle(draft: Draft, lease: LeaseRecord, ended_at: int) -> None:
    """The last charge of a machine that is gone: rounded as the market bills, holds resolved."""
    offer = draft.book.offers[lease.offer].offer
    until = max(ended_at, lease.held_from)
    accrued = lease.accrued + lease.rate * (until - lease.rated_until)
    accrued += lease.rate * billed_tail(offer, until - lease.held_from)
    total = -(-accrued // RATE_NS_PER_MICRO)
    _post(draft, lease, max(0, total - lease.charge))
    if total < lease.charge:
        _give_back(draft, lease, lease.charge - total)
    draft.emit(LeaseMetered(lease.id, until, accrued, total, lease.rate, ()))


def _give_back(draft: Draft, lease: LeaseRecord, amount: int) -> None:
    """Return what was charged for time after the machine was gone, because its end was learned
    late: to the same accounts, level by level. What a level counts as spent meanwhile stays."""
    book = draft.book
    offer = book.offers[lease.offer].offer
    cost_centre = book.placements[lease.placement].cost_centre
    for credit, debit in book.routes(cost_centre):
        target = debit or expense(cost_centre, offer.provider)
        draft.transfers.append(
            book.ledger.direct(
                credit, target, amount, event_at=draft.now, reason="refund", lease=lease.id
            )
        )


def meter(draft: Draft, lease: LeaseRecord) -> bool:
    """Charge a running machine up to now and hold for its next stretch.

    Returns False, having posted nothing, when a level refuses the next hold: the machine has to
    go while the present hold still covers it.
    """
    book, now = draft.book, draft.now
    placement = book.placements[lease.placement]
    offer = book.offers[lease.offer].offer
    accrued = lease.accrued + lease.rate * max(0, now - lease.rated_until)
    total = -(-accrued // RATE_NS_PER_MICRO)
    amount = hold_amount(book, offer, max(lease.bid, lease.rate))
    job = book.jobs.get(lease.job)
    if job is not None:
        freed = book.ledger.holds[lease.holds[0]].amount - (total - lease.charge)
        request = SpendRequest(
            spec=job.spec,
            offer=offer,
            machines=1,
            rate=lease.rate,
            bid=lease.bid,
            amount=amount - freed,
            job_spent=job.cost + book.held_for(job),
            now=now,
        )
        if renew(request, book.levels(placement.cost_centre)) is not None:
            return False
        if not cover(draft, placement.cost_centre, amount - freed):
            return False
    _post(draft, lease, total - lease.charge)
    holds = open_holds(draft, lease.id, placement.cost_centre, offer, amount)
    until = max(now, lease.rated_until)
    draft.emit(LeaseMetered(lease.id, until, accrued, total, lease.rate, holds))
    notice_soft_caps(draft, placement.cost_centre)
    return True
