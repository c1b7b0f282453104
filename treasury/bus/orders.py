"""What each machine is wanted to do, read from the book: the whole wish, for any moment.

Nothing is remembered between turns but what was last wanted, so that a daemon that starts anew
publishes what the one before it would have.
"""

from collections.abc import Callable

import msgspec

from treasury.bus.messages import PPM, TaskOrder, Work
from treasury.domain.ids import LeaseId
from treasury.domain.job import JobState
from treasury.domain.lease import LeaseState
from treasury.domain.task import Task
from treasury.engine.book import Book, JobRecord, LeaseRecord, PlacementRecord

_HELD = (LeaseState.GRANTED, LeaseState.READY)


class Wanted(msgspec.Struct, frozen=True):
    """One machine's wish. fuse_at: the instant [ns] by which it must have ended by itself.
    complete: False while something is missing that the machine cannot do without."""

    work: Work | None
    stop: bool
    release: bool
    fuse_at: int
    complete: bool = True


def task_order(task: Task, checkpoint_every: int = 0) -> TaskOrder:
    """A task as it is sent. checkpoint_every [ns]: 0 for the machine's own period."""
    return TaskOrder(
        command=task.command,
        image=task.image,
        env=dict(task.env),
        secrets=task.secrets,
        workdir=task.workdir,
        checkpoint_dir=task.checkpoint_dir,
        checkpoint_to=task.checkpoint_to,
        checkpoint_hook=task.checkpoint_hook,
        grace_ns=task.grace,
        max_duration_ns=task.max_duration,
        checkpoint_every_ns=checkpoint_every,
    )


def to_ppm(work_done: int, work: int) -> int:
    """Reference ns done, of `work` in all, as ppm."""
    return min(PPM, work_done * PPM // work)


def wanted(book: Book, lease: LeaseRecord, address: Callable[[LeaseId], str]) -> Wanted | None:
    """What a machine is to do; None for one that is not ours yet.

    address: of a lease's machine as its gang reaches it, empty while it is not known.
    """
    if lease.state is LeaseState.RELEASING:
        return Wanted(None, stop=True, release=True, fuse_at=book.funded_until(lease))
    if lease.state not in _HELD:
        return None
    fuse_at = book.funded_until(lease)
    placement, job = book.placements[lease.placement], book.jobs.get(lease.job)
    bound = job is not None and placement.id in (job.placement, job.previous)
    if job is None or not bound or job.spec.task is None or job.state is JobState.ACQUIRING:
        return Wanted(None, stop=False, release=False, fuse_at=fuse_at)
    if placement.useful_from is None:
        # Nothing was started there yet.
        return Wanted(None, stop=False, release=False, fuse_at=fuse_at)
    stop = placement.id == job.previous or job.state is JobState.STOPPING
    work, complete = _work(job, job.spec.task, placement, lease.id, address)
    return Wanted(work, stop, release=False, fuse_at=fuse_at, complete=complete)


def _work(
    job: JobRecord,
    task: Task,
    placement: PlacementRecord,
    lease: LeaseId,
    address: Callable[[LeaseId], str],
) -> tuple[Work, bool]:
    peers: tuple[str, ...] = ()
    if len(placement.leases) > 1:
        peers = tuple(map(address, placement.leases))
    work = Work(
        placement=placement.id,
        job=job.spec.id,
        task=task_order(task, job.spec.checkpoint_interval),
        rank=placement.leases.index(lease),
        nodes=len(placement.leases),
        peers=peers,
        work_done_ppm=to_ppm(job.work_done, job.spec.work),
    )
    return work, all(peers)
