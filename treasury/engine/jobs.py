"""Submitting and cancelling jobs."""

from difflib import get_close_matches

from treasury.domain.events import (
    ApproveJob,
    CancelJob,
    JobApproved,
    JobEnded,
    JobQueued,
    JobRejected,
    SubmitJob,
)
from treasury.domain.job import JobSpec
from treasury.engine.book import Book
from treasury.engine.draft import Draft


def _fault(book: Book, spec: JobSpec, now: int) -> str:
    """Why a job cannot be taken; empty when it can."""
    if spec.id in book.jobs or spec.id in book.ended:
        return "a job with this id exists already"
    if spec.cost_centre not in book.budgets:
        near = get_close_matches(spec.cost_centre, list(book.budgets), 1)
        hint = f"; did you mean {near[0]}?" if near else ""
        return f"no budget for cost centre {spec.cost_centre}{hint}"
    if spec.work <= 0:
        return "work must be above zero"
    requirement = spec.requirement
    if requirement.nodes < 1 or requirement.gpus < 1:
        return "nodes and gpus must be at least 1"
    if not any(speed > 0 for speed in requirement.throughput.values()):
        return "no accelerator is acceptable"
    if spec.deadline is not None and spec.deadline <= now:
        return "the deadline is in the past"
    return ""


def submit(draft: Draft, event: SubmitJob) -> None:
    """Queue a job, or reject it with the reason."""
    why = _fault(draft.book, event.spec, draft.now)
    if why:
        draft.emit(JobRejected(event.spec.id, why))
    else:
        draft.emit(JobQueued(event.spec))


def approve(draft: Draft, event: ApproveJob) -> None:
    """Remember that a person said yes to a dear job."""
    job = draft.book.jobs.get(event.job)
    if job is not None and not job.approved:
        draft.emit(JobApproved(event.job, event.by))


def cancel(draft: Draft, event: CancelJob) -> None:
    """End a job wherever it stands: granted machines go back now, requested ones on their grant."""
    book = draft.book
    job = book.jobs.get(event.job)
    if job is None:
        return
    for placement_id in (job.successor, job.previous, job.placement):
        if placement_id is None:
            continue
        placement = book.placements[placement_id]
        if placement.useful_from is not None and placement_id == job.placement:
            draft.stop_work(job, placement)
        draft.close(placement, "cancelled")
    draft.emit(JobEnded(event.job, draft.now, "cancelled"))
