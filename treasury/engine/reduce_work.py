"""How facts about jobs, placements, leases and work change the book."""

from collections.abc import Callable
from typing import Any

from treasury.domain import events as e
from treasury.domain.job import JobState
from treasury.domain.lease import LeaseState
from treasury.engine.book import Book, JobRecord, LeaseRecord, PlacementRecord
from treasury.engine.moves import burn, move_job, move_lease, plan_by


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
    burn(book, placement, fact.bid * len(fact.leases))
    job.switch = None
    job.waits = None
    job.refusal = None
    job.recommended = None
    if fact.migration:
        job.successor = fact.placement
        book.job_views.pop(fact.job, None)
    else:
        job.placement = fact.placement
        move_job(book, job, JobState.ACQUIRING)


def _leases_granted(book: Book, fact: e.LeasesGranted) -> None:
    placement = book.placements[fact.placement]
    meter_at = book.now + book.settings.accrual
    boot_ns = book.offers[placement.offer].offer.capabilities.boot_ns
    boot_by = book.now + max(book.settings.boot_limit, 2 * boot_ns)
    for lease_id, machine in zip(placement.leases, fact.machines, strict=True):
        lease = book.leases[lease_id]
        move_lease(lease, LeaseState.GRANTED)
        lease.machine = machine
        lease.granted_at, lease.ahead = fact.at, max(0, fact.at - book.now)
        lease.rated_until = lease.held_from
        lease.rate = fact.rate
        lease.meter_at = meter_at
        book.timer(meter_at, "meter", lease_id)
        book.timer(boot_by, "boot", lease_id)


def forget_lease(book: Book, lease: LeaseRecord) -> None:
    """Take a lease that is over out of the book, and its placement with the last of them."""
    placement = book.placements[lease.placement]
    placement.alive -= 1
    burn(book, placement, -lease.bid)
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


def _lease_missing(book: Book, fact: e.LeaseMissing) -> None:
    lease = book.leases[fact.lease]
    lease.missing_since = fact.since
    if not fact.since:
        lease.unsure_from = 0


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
    grace = 0 if job.spec.task is None else job.spec.task.grace
    job.stop_by = book.now + book.settings.stop_limit + grace
    book.timer(job.stop_by, "stop", fact.job)
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
    elif fact.cause == "failed":
        job.failures += 1
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


def _provider_drained(book: Book, fact: e.ProviderDrained) -> None:
    if fact.drained:
        book.drained[fact.provider] = None
    else:
        book.drained.pop(fact.provider, None)
    for offer, record in book.offers.items():
        if record.offer.provider == fact.provider:
            book.offer_views.pop(offer, None)
    plan_by(book, book.now)


def _counters_raised(book: Book, fact: e.CountersRaised) -> None:
    book.last_placement, book.last_lease = fact.placement, fact.lease


def _conduct_changed(book: Book, fact: e.ConductChanged) -> None:
    book.conduct = fact.conduct
    for job in book.jobs.values():
        job.recommended = None
    plan_by(book, book.now)


def _action_recommended(book: Book, fact: e.ActionRecommended) -> None:
    book.jobs[fact.job].recommended = (fact.action, fact.offer)


def _deadline_missed(book: Book, fact: e.DeadlineMissed) -> None:
    book.jobs[fact.job].missed = True


REDUCERS: dict[type, Callable[[Book, Any], None]] = {
    e.JobQueued: _job_queued,
    e.JobWaits: _job_waits,
    e.PlacementOpened: _placement_opened,
    e.LeasesGranted: _leases_granted,
    e.LeasesDeclined: _leases_declined,
    e.LeasesUnresolved: _leases_unresolved,
    e.LeaseReady: _lease_ready,
    e.LeaseMissing: _lease_missing,
    e.LeaseReleasing: _lease_releasing,
    e.LeaseEnded: _lease_ended,
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
    e.ProviderDrained: _provider_drained,
    e.CountersRaised: _counters_raised,
    e.ConductChanged: _conduct_changed,
    e.ActionRecommended: _action_recommended,
}
