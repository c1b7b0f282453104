"""Reduce: the only way facts change the book. No decisions here: a fact says all there is."""

from collections.abc import Callable, Iterable
from heapq import heappop, heappush
from typing import Any

from treasury.domain import events as e
from treasury.domain.job import JobState, check_job_move
from treasury.domain.lease import BILLED, LeaseState, check_lease_move
from treasury.domain.time import NEVER
from treasury.domain.turn import Entry
from treasury.engine.book import (
    Book,
    BudgetRecord,
    JobRecord,
    LeaseRecord,
    OfferRecord,
    PlacementRecord,
)


def move_job(book: Book, job: JobRecord, state: JobState) -> None:
    """Take a legal step of a job's life."""
    check_job_move(job.spec.id, job.state, state)
    if job.state is JobState.QUEUED:
        book.queued -= 1
    if state is JobState.QUEUED:
        book.queued += 1
    job.state = state
    book.job_views.pop(job.spec.id, None)


def move_lease(lease: LeaseRecord, state: LeaseState) -> None:
    """Take a legal step of a lease's life."""
    check_lease_move(lease.id, lease.state, state)
    lease.state = state


def plan_by(book: Book, instant: int) -> None:
    """Have a plan made at the grid point at or after an instant."""
    book.plan_at = min(book.plan_at, book.grid(instant))


def _configured(book: Book, fact: e.Configured) -> None:
    book.settings = fact.settings
    parents = {b.cost_centre: b.parent for b in fact.budgets}
    old = book.budgets
    book.budgets = {}
    for budget in fact.budgets:
        chain = [budget.cost_centre]
        while (above := parents.get(chain[-1])) is not None:
            chain.append(above)
        record = BudgetRecord(budget, tuple(chain), budget.cost_centre in parents.values())
        known = old.get(budget.cost_centre)
        if known is not None:
            record.start, record.end = known.start, known.end
            record.base, record.burn = known.base, known.burn
        book.budgets[budget.cost_centre] = record


def _period_opened(book: Book, fact: e.PeriodOpened) -> None:
    record = book.budgets[fact.cost_centre]
    record.start, record.end, record.base = fact.start, fact.end, fact.base
    book.timer(fact.end, "period", fact.cost_centre)
    plan_by(book, book.now)


def _offers_listed(book: Book, fact: e.OffersListed) -> None:
    for offer in fact.offers:
        record = book.offers.get(offer.id)
        if record is None:
            book.offers[offer.id] = OfferRecord(offer)
            book.by_offer[offer.id] = {}
        else:
            record.offer = offer
        book.offer_views.pop(offer.id, None)
    book.offers = dict(sorted(book.offers.items()))


def _quoted(book: Book, fact: e.Quoted) -> None:
    for quote in fact.quotes:
        record = book.offers[quote.offer]
        if record.offer.capabilities.floating and quote.rate != record.rate:
            for lease_id in book.by_offer[quote.offer]:
                lease = book.leases[lease_id]
                if lease.state in BILLED:
                    accrue(lease, quote.observed_at)
                    lease.rate = quote.rate
        record.rate = quote.rate
        record.depth = quote.depth
        record.observed_at = quote.observed_at
        book.offer_views.pop(quote.offer, None)
    if book.jobs:
        plan_by(book, book.now)


def accrue(lease: LeaseRecord, until: int) -> None:
    """Add rate x time up to an instant; instants before the last are ignored."""
    if until > lease.rated_until:
        lease.accrued += lease.rate * (until - lease.rated_until)
        lease.rated_until = until


def _offer_quarantined(book: Book, fact: e.OfferQuarantined) -> None:
    book.offers[fact.offer].quarantined_until = fact.until
    book.offer_views.pop(fact.offer, None)
    heappush(book.plan_timers, fact.until)


def _job_queued(book: Book, fact: e.JobQueued) -> None:
    spec = fact.spec
    book.jobs[spec.id] = JobRecord(spec, JobState.QUEUED, queued_at=book.now)
    book.queued += 1
    book.enqueue(spec)
    if spec.deadline is not None:
        book.timer(spec.deadline, "deadline", spec.id)
    plan_by(book, book.now)


def _job_waits(book: Book, fact: e.JobWaits) -> None:
    book.jobs[fact.job].waits = fact.why


def _plan_requested(book: Book, fact: e.PlanRequested) -> None:
    book.plan_version = fact.version
    book.plan_pending = True
    book.plan_at = NEVER


def _plan_taken(book: Book, fact: e.PlanTaken) -> None:
    book.plan_pending = False
    if fact.review_at is not None:
        plan_by(book, max(fact.review_at, book.now + 1))


def _burn(book: Book, placement: PlacementRecord, rate: int) -> None:
    for centre in book.budgets[placement.cost_centre].chain:
        book.budgets[centre].burn += rate


def _placement_opened(book: Book, fact: e.PlacementOpened) -> None:
    job = book.jobs[fact.job]
    offer = book.offers[fact.offer]
    placement = PlacementRecord(
        id=fact.placement,
        job=fact.job,
        offer=fact.offer,
        cost_centre=job.spec.cost_centre,
        leases=fact.leases,
        bid=fact.bid,
        token=fact.token,
        requested_at=fact.at,
        speed=job.spec.requirement.speed(offer.offer),
        alive=len(fact.leases),
    )
    book.placements[fact.placement] = placement
    book.last_placement = fact.placement
    for lease_id, holds in zip(fact.leases, fact.holds, strict=True):
        book.leases[lease_id] = LeaseRecord(
            id=lease_id,
            placement=fact.placement,
            job=fact.job,
            offer=fact.offer,
            provider=offer.offer.provider,
            state=LeaseState.REQUESTED,
            bid=fact.bid,
            holds=holds,
        )
        book.by_offer[fact.offer][lease_id] = None
        book.last_lease = lease_id
    offer.in_use += len(fact.leases)
    book.offer_views.pop(fact.offer, None)
    _burn(book, placement, fact.bid * len(fact.leases))
    job.switch = None
    job.waits = None
    job.refusal = None
    if fact.migration:
        job.successor = fact.placement
        book.job_views.pop(fact.job, None)
    else:
        job.placement = fact.placement
        move_job(book, job, JobState.ACQUIRING)


def _leases_granted(book: Book, fact: e.LeasesGranted) -> None:
    placement = book.placements[fact.placement]
    meter_at = book.now + book.settings.accrual
    for lease_id, machine in zip(placement.leases, fact.machines, strict=True):
        lease = book.leases[lease_id]
        move_lease(lease, LeaseState.GRANTED)
        lease.machine = machine
        lease.granted_at = lease.rated_until = fact.at
        lease.rate = fact.rate
        lease.meter_at = meter_at
        book.timer(meter_at, "meter", lease_id)


def forget_lease(book: Book, lease: LeaseRecord) -> None:
    """Take a lease that is over out of the book, and its placement with the last of them."""
    placement = book.placements[lease.placement]
    placement.alive -= 1
    _burn(book, placement, -lease.bid)
    offer = book.offers[lease.offer]
    offer.in_use -= 1
    book.offer_views.pop(lease.offer, None)
    del book.by_offer[lease.offer][lease.id]
    del book.leases[lease.id]
    if placement.alive == 0 and not placement.open:
        del book.placements[placement.id]


def _leases_declined(book: Book, fact: e.LeasesDeclined) -> None:
    for lease_id in book.placements[fact.placement].leases:
        lease = book.leases[lease_id]
        move_lease(lease, LeaseState.DECLINED)
        forget_lease(book, lease)


def _leases_unresolved(book: Book, fact: e.LeasesUnresolved) -> None:
    for lease_id in book.placements[fact.placement].leases:
        move_lease(book.leases[lease_id], LeaseState.UNRESOLVED)


def _lease_ready(book: Book, fact: e.LeaseReady) -> None:
    lease = book.leases[fact.lease]
    move_lease(lease, LeaseState.READY)
    book.placements[lease.placement].ready += 1


def _lease_releasing(book: Book, fact: e.LeaseReleasing) -> None:
    lease = book.leases[fact.lease]
    move_lease(lease, LeaseState.RELEASING)
    lease.cause = fact.cause


def _lease_ended(book: Book, fact: e.LeaseEnded) -> None:
    lease = book.leases[fact.lease]
    move_lease(lease, LeaseState.LOST if fact.lost else LeaseState.RELEASED)
    forget_lease(book, lease)
    if book.queued:
        plan_by(book, book.now)


def _lease_metered(book: Book, fact: e.LeaseMetered) -> None:
    lease = book.leases[fact.lease]
    job = book.jobs.get(lease.job)
    if job is not None:
        job.cost += fact.charge - lease.charge
    lease.rated_until = fact.until
    lease.accrued = fact.accrued
    lease.charge = fact.charge
    lease.holds = fact.holds
    if lease.state is not LeaseState.RELEASING:
        lease.meter_at = book.now + book.settings.accrual
        book.timer(lease.meter_at, "meter", fact.lease)


def _bid_changed(book: Book, fact: e.BidChanged) -> None:
    placement = book.placements[fact.placement]
    _burn(book, placement, (fact.bid - placement.bid) * placement.alive)
    placement.bid = fact.bid
    for lease_id in placement.leases:
        lease = book.leases.get(lease_id)
        if lease is not None:
            lease.bid = fact.bid
    book.job_views.pop(placement.job, None)


def _work_starting(book: Book, fact: e.WorkStarting) -> None:
    job = book.jobs[fact.job]
    if job.successor == fact.placement:
        job.previous, job.placement, job.successor = job.placement, fact.placement, None
    elif job.previous == fact.placement:
        job.placement, job.previous = fact.placement, None
    book.placements[fact.placement].useful_from = fact.useful_from
    move_job(book, job, JobState.STARTING)


def _work_running(book: Book, fact: e.WorkRunning) -> None:
    job = book.jobs[fact.job]
    book.placements[fact.placement].useful_from = fact.at
    move_job(book, job, JobState.RUNNING)


def _work_checkpointed(book: Book, fact: e.WorkCheckpointed) -> None:
    job = book.jobs[fact.job]
    job.work_done = fact.work_done
    if job.placement is not None:
        placement = book.placements[job.placement]
        if placement.useful_from is not None and placement.useful_from < fact.at:
            placement.useful_from = fact.at
    book.job_views.pop(fact.job, None)


def _work_stopping(book: Book, fact: e.WorkStopping) -> None:
    job = book.jobs[fact.job]
    job.stop_cause = fact.cause
    move_job(book, job, JobState.STOPPING)


def _switch_planned(book: Book, fact: e.SwitchPlanned) -> None:
    book.jobs[fact.job].switch = (fact.offer, fact.bid)


def _placement_closed(book: Book, fact: e.PlacementClosed) -> None:
    placement = book.placements[fact.placement]
    placement.open = False
    if placement.alive == 0:
        del book.placements[fact.placement]
    job = book.jobs.get(fact.job)
    if job is None:
        return
    if job.placement == fact.placement:
        job.placement = None
    if job.successor == fact.placement:
        job.successor = None
    if job.previous == fact.placement:
        job.previous = None
    book.job_views.pop(fact.job, None)


def _migration_finished(book: Book, fact: e.MigrationFinished) -> None:
    book.jobs[fact.job].work_done = fact.work_done
    book.job_views.pop(fact.job, None)


def _job_requeued(book: Book, fact: e.JobRequeued) -> None:
    job = book.jobs[fact.job]
    job.work_done = fact.work_done
    job.queued_at = fact.at
    job.stop_cause = ""
    job.switch = None
    if fact.cause == "interrupted":
        job.interruptions += 1
    move_job(book, job, JobState.QUEUED)
    plan_by(book, book.now)


def _job_ended(book: Book, fact: e.JobEnded) -> None:
    job = book.jobs[fact.job]
    move_job(book, job, JobState(fact.state))
    del book.jobs[fact.job]
    book.job_views.pop(fact.job, None)
    book.dequeue(job.spec)
    book.ended[fact.job] = fact.state
    if book.queued:
        plan_by(book, book.now)


def _deadline_missed(book: Book, fact: e.DeadlineMissed) -> None:
    book.jobs[fact.job].missed = True


def _action_refused(book: Book, fact: e.ActionRefused) -> None:
    job = book.jobs.get(fact.job)
    if job is not None:
        job.refusal = (fact.why, fact.cost_centre)
        if fact.fits_at is not None:
            heappush(book.plan_timers, fact.fits_at)


def _nothing(book: Book, fact: Any) -> None:
    """Facts kept for people: they change nothing the engine decides by."""


REDUCERS: dict[type, Callable[[Book, Any], None]] = {
    e.Configured: _configured,
    e.PeriodOpened: _period_opened,
    e.OffersListed: _offers_listed,
    e.Quoted: _quoted,
    e.QuoteRejected: _nothing,
    e.OfferQuarantined: _offer_quarantined,
    e.JobQueued: _job_queued,
    e.JobRejected: _nothing,
    e.JobWaits: _job_waits,
    e.PlanRequested: _plan_requested,
    e.PlanTaken: _plan_taken,
    e.PlacementOpened: _placement_opened,
    e.LeasesGranted: _leases_granted,
    e.LeasesDeclined: _leases_declined,
    e.LeasesUnresolved: _leases_unresolved,
    e.LeaseReady: _lease_ready,
    e.LeaseNoticed: _nothing,
    e.LeaseReleasing: _lease_releasing,
    e.LeaseEnded: _lease_ended,
    e.LeaseMetered: _lease_metered,
    e.BidChanged: _bid_changed,
    e.WorkStarting: _work_starting,
    e.WorkRunning: _work_running,
    e.WorkCheckpointed: _work_checkpointed,
    e.WorkStopping: _work_stopping,
    e.SwitchPlanned: _switch_planned,
    e.PlacementClosed: _placement_closed,
    e.MigrationFinished: _migration_finished,
    e.JobRequeued: _job_requeued,
    e.JobEnded: _job_ended,
    e.DeadlineMissed: _deadline_missed,
    e.ActionRefused: _action_refused,
    e.Discrepancy: _nothing,
}


def reduce(book: Book, fact: e.Fact) -> None:
    """Take one fact into the book."""
    REDUCERS[type(fact)](book, fact)


def begin(book: Book, now: int) -> None:
    """Open a turn: the next sequence number, the instant, and the plans that have become due."""
    book.seq += 1
    book.now = now
    timers = book.plan_timers
    while timers and timers[0] <= now:
        heappop(timers)
        if book.queued:
            plan_by(book, now)


def take(book: Book, entry: Entry) -> None:
    """Take one journalled turn into the book."""
    begin(book, entry.at)
    for transfer in entry.transfers:
        book.ledger.apply(transfer)
    for fact in entry.facts:
        reduce(book, fact)


def replay(entries: Iterable[Entry]) -> Book:
    """The book that a journal describes."""
    book = Book()
    for entry in entries:
        take(book, entry)
    return book
