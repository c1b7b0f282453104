"""The few moves that facts of several kinds have in common."""

from treasury.domain.job import JobState, check_job_move
from treasury.domain.lease import LeaseState, check_lease_move
from treasury.engine.book import Book, JobRecord, LeaseRecord, PlacementRecord


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


def accrue(lease: LeaseRecord, until: int) -> None:
    """Add rate x time up to an instant; instants before the last are ignored."""
    if until > lease.rated_until:
        lease.accrued += lease.rate * (until - lease.rated_until)
        lease.rated_until = until


def burn(book: Book, placement: PlacementRecord, rate: int) -> None:
    """Add to what the machines of a cost centre may cost an hour, at every level above it."""
    for centre in book.budgets[placement.cost_centre].chain:
        book.budgets[centre].burn += rate
