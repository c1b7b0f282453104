"""From request to release: what the market and the machines report, and what follows.

A migration is make before break: a successor is acquired while the job runs on; only when it is
ready is the job stopped on the old machines and started on the new ones; the old ones are kept
until the first useful step. Any failure before that closes the new machines and the job goes on
where it was.
"""

from treasury.domain import events as e
from treasury.domain.job import JobState
from treasury.domain.lease import LeaseState
from treasury.domain.time import DAY
from treasury.engine.book import JobRecord, LeaseRecord, PlacementRecord
from treasury.engine.draft import Draft
from treasury.engine.metering import settle, void_holds
from treasury.engine.planning import place, refuse, stop_job

# How long an offer that is gone or forbidden is left alone: such answers do not change soon.
_LONG_QUARANTINE = DAY


def granted(draft: Draft, event: e.AcquireGranted) -> None:
    """Machines are ours; if nobody wants them any more they go straight back."""
    placement = draft.book.placements.get(event.placement)
    if placement is None or placement.token != event.token:
        draft.emit(e.Discrepancy(f"granted machines nobody asked for: {event.machines}"))
        return
    if _state(draft, placement) not in (LeaseState.REQUESTED, LeaseState.UNRESOLVED):
        return
    draft.emit(e.LeasesGranted(placement.id, event.machines, event.at, event.rate))
    if not placement.open:
        draft.release(placement, "unwanted")


def declined(draft: Draft, event: e.AcquireDeclined) -> None:
    """Nothing was granted: free the holds, leave the offer alone, queue the job again."""
    book = draft.book
    placement = book.placements.get(event.placement)
    if placement is None:
        return
    if _state(draft, placement) not in (LeaseState.REQUESTED, LeaseState.UNRESOLVED):
        return
    for lease_id in placement.leases:
        void_holds(draft, book.leases[lease_id])
    wait = book.settings.quarantine
    if event.error in ("OfferGone", "NotPermitted"):
        wait = _LONG_QUARANTINE
    # Never at this very instant: a market that refuses for ever would be asked for ever.
    until = max(draft.now + wait if event.until is None else event.until, draft.now + 1)
    draft.emit(e.OfferQuarantined(placement.offer, until, event.error))
    was_open, job = placement.open, book.jobs.get(placement.job)
    draft.emit(e.LeasesDeclined(placement.id, event.error, event.at))
    if not was_open or job is None:
        return
    migration = job.successor == placement.id
    draft.emit(e.PlacementClosed(placement.id, job.spec.id, draft.now, event.error))
    if not migration:
        requeue(draft, job, job.work_done, "declined")


def unknown(draft: Draft, event: e.AcquireUnknown) -> None:
    """It may have happened: the holds stay, reconciliation finds out."""
    placement = draft.book.placements.get(event.placement)
    if placement is None:
        return
    if _state(draft, placement) is LeaseState.REQUESTED:
        draft.emit(e.LeasesUnresolved(placement.id, event.at))


def _state(draft: Draft, placement: PlacementRecord) -> LeaseState | None:
    """Where a request stands: its leases are granted or declined together, so the first tells. None
    when that one has ended already: the word about the request comes late."""
    first = draft.book.leases.get(placement.leases[0])
    return None if first is None else first.state


def ready(draft: Draft, event: e.MachineReady) -> None:
    """A machine has booted; with the last of a gang the work starts."""
    book = draft.book
    lease = book.leases.get(event.lease)
    if lease is None or lease.state is not LeaseState.GRANTED:
        return
    draft.emit(e.LeaseReady(event.lease, event.at))
    placement = book.placements[lease.placement]
    if placement.ready < len(placement.leases) or not placement.open:
        return
    job = book.jobs[placement.job]
    if job.successor == placement.id:
        if job.state is JobState.RUNNING:
            stop_job(draft, job, "migration")
    elif job.state is JobState.ACQUIRING:
        draft.start_work(job, placement)


def began(draft: Draft, event: e.WorkBegan) -> None:
    """First useful step: a migration is complete and the machines it came from go back."""
    job = draft.book.jobs.get(event.job)
    if job is None or job.placement != event.placement or job.state is not JobState.STARTING:
        return
    draft.emit(e.WorkRunning(event.job, event.placement, event.at))
    if job.previous is not None:
        previous = draft.book.placements[job.previous]
        draft.emit(e.MigrationFinished(event.job, event.placement, event.at, job.work_done))
        draft.close(previous, "migrated")


def saved(draft: Draft, event: e.WorkSaved) -> None:
    """A checkpoint without stopping."""
    job = draft.book.jobs.get(event.job)
    if job is not None and job.placement == event.placement and job.state is JobState.RUNNING:
        draft.emit(e.WorkCheckpointed(event.job, event.at, event.work_done))


def stopped(draft: Draft, event: e.WorkStopped) -> None:
    """The job stands at a checkpoint: on to the successor, or back to the queue."""
    book = draft.book
    job = book.jobs.get(event.job)
    if job is None or job.placement != event.placement or job.state is not JobState.STOPPING:
        return
    draft.emit(e.WorkCheckpointed(event.job, event.at, event.work_done))
    cause = job.stop_cause
    if cause == "migration" and job.successor is not None:
        draft.start_work(job, book.placements[job.successor])
        return
    if cause == "migration":
        draft.start_work(job, book.placements[event.placement])
        return
    _abandon(draft, job, cause)
    switch = job.switch
    requeue(draft, job, event.work_done, cause)
    if switch is not None:
        refusal = place(draft, job, switch[0], switch[1], migration=False)
        if refusal is not None:
            refuse(draft, refusal)


def ended(draft: Draft, event: e.WorkEnded) -> None:
    """The job came to its own end: everything it holds goes back."""
    job = draft.book.jobs.get(event.job)
    if job is None or job.placement != event.placement:
        return
    if job.state not in (JobState.RUNNING, JobState.STARTING, JobState.STOPPING):
        return
    if job.state is JobState.STARTING:
        draft.emit(e.WorkRunning(event.job, event.placement, event.at))
    cause = "failed" if event.error else "finished"
    _abandon(draft, job, cause)
    task = job.spec.task
    if event.error and task is not None and job.failures < task.retries:
        requeue(draft, job, job.work_done, cause)
        return
    draft.emit(e.JobEnded(event.job, event.at, cause, event.error))


def noticed(draft: Draft, event: e.MachineNoticed) -> None:
    """The market will take a machine: checkpoint now."""
    lease = draft.book.leases.get(event.lease)
    if lease is None or lease.state not in (LeaseState.GRANTED, LeaseState.READY):
        return
    draft.emit(e.LeaseNoticed(event.lease, event.at, event.ends_at))
    job = draft.book.jobs.get(lease.job)
    if job is None:
        return
    if job.placement == lease.placement and job.state in (JobState.STARTING, JobState.RUNNING):
        stop_job(draft, job, "interrupted")


def lost(draft: Draft, event: e.MachineLost) -> None:
    """The market took a machine: settle it, and save what its job can still do."""
    book = draft.book
    lease = book.leases.get(event.lease)
    if lease is None:
        return
    placement = book.placements[lease.placement]
    finish_lease(draft, lease, event.at, lost=True, cause=event.cause)
    job = book.jobs.get(placement.job)
    if job is not None and placement.open:
        _leave(draft, job, placement, "interrupted", event.at, event.work_done)


def _leave(
    draft: Draft,
    job: JobRecord,
    placement: PlacementRecord,
    cause: str,
    at: int,
    work_done: int | None = None,
) -> None:
    """A job's machines cannot be counted on any more: give back what is left of them, go on where
    it can, or queue again. work_done: what a checkpoint holds [reference ns], where it is told."""
    if placement.id in (job.successor, job.previous):
        draft.close(placement, cause)
        return
    lost_work = 0
    if work_done is not None:
        lost_work = _lost_work(job, placement, work_done, draft.now)
        draft.emit(e.WorkCheckpointed(job.spec.id, at, work_done))
    draft.emit(e.PlacementClosed(placement.id, job.spec.id, draft.now, cause))
    draft.release(placement, cause)
    if job.previous is not None and job.state is JobState.STARTING:
        # The new machines failed before their first useful step: go on with the old ones.
        draft.start_work(job, draft.book.placements[job.previous])
        return
    _abandon(draft, job, cause)
    requeue(draft, job, job.work_done, cause, lost_work)


def _give_up(draft: Draft, placement: PlacementRecord, cause: str) -> None:
    """Machines that live and do not do what they should go back; their offer is left alone."""
    until = draft.now + draft.book.settings.quarantine
    draft.emit(e.OfferQuarantined(placement.offer, until, cause))
    job = draft.book.jobs.get(placement.job)
    if job is not None and placement.open:
        _leave(draft, job, placement, cause, draft.now)
    else:
        draft.release(placement, cause)


def never_ready(draft: Draft, lease: LeaseRecord) -> None:
    """A machine did not report in time; it is paid for and of no use."""
    _give_up(draft, draft.book.placements[lease.placement], "never_ready")


def silent(draft: Draft, event: e.MachineSilent) -> None:
    """A machine is not heard of any more: whatever runs there is out of reach."""
    lease = draft.book.leases.get(event.lease)
    if lease is not None and lease.state in (LeaseState.GRANTED, LeaseState.READY):
        _give_up(draft, draft.book.placements[lease.placement], "silent")


def never_stopped(draft: Draft, job: JobRecord) -> None:
    """A job did not stop in time: it goes with its machines, back to its last checkpoint."""
    if job.placement is not None:
        _give_up(draft, draft.book.placements[job.placement], "never_stopped")


def _lost_work(job: JobRecord, placement: PlacementRecord, work_done: int, now: int) -> int:
    """Reference ns of work done since the checkpoint, by our own reckoning."""
    if placement.useful_from is None or now <= placement.useful_from:
        return 0
    done = job.work_done + (now - placement.useful_from) * placement.speed // 1_000
    return max(0, min(done, job.spec.work) - work_done)


def _abandon(draft: Draft, job: JobRecord, cause: str) -> None:
    """Close everything a job holds or asked for."""
    for placement_id in (job.placement, job.successor, job.previous):
        if placement_id is not None:
            draft.close(draft.book.placements[placement_id], cause)


def requeue(draft: Draft, job: JobRecord, work_done: int, cause: str, lost: int = 0) -> None:
    """Put a job back into the queue."""
    draft.emit(e.JobRequeued(job.spec.id, draft.now, work_done, lost, cause))


def released(draft: Draft, event: e.MachineReleased) -> None:
    """A machine is gone, as we asked."""
    lease = draft.book.leases.get(event.lease)
    if lease is None or (event.machine and lease.machine != event.machine):
        return
    if lease.state is LeaseState.RELEASING:
        finish_lease(draft, lease, event.at, lost=False, cause=lease.cause)


def finish_lease(draft: Draft, lease: LeaseRecord, at: int, *, lost: bool, cause: str) -> None:
    """Settle a machine that is gone and take it out of the book."""
    settle(draft, lease, at)
    draft.emit(e.LeaseEnded(lease.id, at, lost, cause))
