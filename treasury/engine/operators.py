"""What people order: they pass the same guard as plans, and leave the same facts."""

from treasury.domain import events as e
from treasury.domain.ids import LeaseId, PlacementId
from treasury.domain.job import JobState
from treasury.engine.draft import Draft
from treasury.engine.planning import place, refuse, stop_job


def preempt(draft: Draft, event: e.PreemptJob) -> None:
    """Stop a job at a checkpoint and queue it again."""
    job = draft.book.jobs.get(event.job)
    if job is not None and job.state in (JobState.STARTING, JobState.RUNNING):
        stop_job(draft, job, "preempted")


def move(draft: Draft, event: e.MoveJob) -> None:
    """Place a queued job on an offer, or migrate a running one there."""
    job = draft.book.jobs.get(event.job)
    if job is None:
        return
    if job.state is JobState.QUEUED:
        refusal = place(draft, job, event.offer, event.bid, migration=False)
    elif job.state is JobState.RUNNING and job.successor is None:
        refusal = place(draft, job, event.offer, event.bid, migration=True)
    else:
        return
    if refusal is not None:
        # Asked for by a person, so answered each time, even if the answer is the old one.
        job.refusal = None
        refuse(draft, refusal)


def drain(draft: Draft, event: e.DrainProvider) -> None:
    """Leave a provider: no new machines there, and every job on one leaves at a checkpoint."""
    book = draft.book
    if event.drained == (event.provider in book.drained):
        return
    draft.emit(e.ProviderDrained(event.provider, event.drained, event.by))
    if not event.drained:
        return
    for job in list(book.jobs.values()):
        if job.placement is None:
            continue
        offer = book.offers[book.placements[job.placement].offer].offer
        if offer.provider != event.provider:
            continue
        if job.state in (JobState.STARTING, JobState.RUNNING):
            stop_job(draft, job, "drained")


def raise_counters(draft: Draft, event: e.RaiseCounters) -> None:
    """Skip numbers that are in use out there."""
    book = draft.book
    placement = max(event.placement, book.last_placement)
    lease = max(event.lease, book.last_lease)
    if (placement, lease) != (book.last_placement, book.last_lease):
        draft.emit(e.CountersRaised(PlacementId(placement), LeaseId(lease), event.by))


def set_conduct(draft: Draft, event: e.SetConduct) -> None:
    """Carry plans out, only write them down, or make none."""
    if event.conduct is not draft.book.conduct:
        draft.emit(e.ConductChanged(event.conduct, event.by))
