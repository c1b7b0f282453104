"""What the machines say, held against the book: which inputs the difference asks for.

Reports are levels: each tells how the work stands now, so that what a crash of ours forgot is
learned again from the next heartbeat, and what is already in the book asks for nothing.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from treasury.bus.messages import PPM, Report
from treasury.domain.events import (
    Input,
    MachineReady,
    PreemptJob,
    WorkBegan,
    WorkEnded,
    WorkSaved,
    WorkStopped,
)
from treasury.domain.ids import LeaseId
from treasury.domain.job import JobState
from treasury.domain.lease import LeaseState
from treasury.domain.time import NEVER
from treasury.engine.book import Book, JobRecord, LeaseRecord, PlacementRecord

_STOPPED = ("stopped", "ended")
_BEGUN = ("running", "stopping", *_STOPPED)
_LIVE = (JobState.STARTING, JobState.RUNNING)
# Nobody ordered these: the machine stopped its work by itself.
BY_ITSELF = ("notice", "fuse", "shutdown")


@dataclass
class NodeView:
    """One machine as it was last heard. heard_at: our instant [ns] of receipt. handled: the newest
    numbered report of `boot` that was taken; pulse:
    the last one heard, at our `pulse_at`."""

    lease: LeaseId
    heard_at: int
    report: Report | None = None
    boot: str = ""
    handled: int = 0
    pulse: str | None = None
    pulse_at: int = 0
    # Since which order's number the machine is wanted in its present state.
    stated: int = NEVER
    state: tuple[int | None, bool] | None = None
    # Inputs of its words that are not committed yet.
    pending: int = 0

    def knows(self) -> bool:
        """Whether the last word was said in the knowledge of the present wish."""
        return self.report is not None and self.report.order >= self.stated

    def take(self, report: Report, now: int) -> bool:
        """Take a report; whether it is news. A numbered one is not when it was taken before, or
        when one before it is missing: then it will be sent again."""
        self.heard_at = self.pulse_at = now
        self.pulse = report.pulse
        if report.boot != self.boot:
            self.boot, self.handled = report.boot, report.base - 1
            self.report = None
        if report.kind == "heartbeat":
            # One that was overtaken by a later word is not believed.
            if self.handled < report.seq or self._older(report):
                return False
            self.report = report
            return True
        self.handled = max(self.handled, report.base - 1)
        if report.seq != self.handled + 1:
            return False
        self.handled = report.seq
        self.report = report
        return True

    def _older(self, report: Report) -> bool:
        """Whether a heartbeat was sent before the report we have, on the machine's own clock."""
        if self.report is None:
            return False
        boot, _, instant = report.pulse.partition("-")
        known_boot, _, known = self.report.pulse.partition("-")
        return boot == known_boot and int(instant) < int(known)


def differences(
    book: Book, lease: LeaseRecord, views: dict[LeaseId, NodeView], now: int
) -> Iterator[Input]:
    """What a machine's newest word, and its gang's, asks of the engine."""
    view = views.get(lease.id)
    if view is None or view.report is None:
        return
    if lease.state is LeaseState.GRANTED:
        yield MachineReady(lease.id, now)
    placement, job = book.placements[lease.placement], book.jobs.get(lease.job)
    if job is None or job.placement != placement.id or job.state not in _SEEN:
        return
    gang = [_report(views, rank, placement) for rank in placement.leases]
    informed = all(rank in views and views[rank].knows() for rank in placement.leases)
    yield from _of_gang(job, placement, gang, informed, now)


_SEEN = (*_LIVE, JobState.STOPPING)


def _report(
    views: dict[LeaseId, NodeView], lease: LeaseId, placement: PlacementRecord
) -> Report | None:
    view = views.get(lease)
    if view is None or view.report is None or view.report.placement != placement.id:
        return None
    return view.report


def _of_gang(
    job: JobRecord,
    placement: PlacementRecord,
    gang: list[Report | None],
    informed: bool,
    now: int,
) -> Iterator[Input]:
    known = [report for report in gang if report is not None]
    name, whole = job.spec.id, len(known) == len(gang)
    ended = _ended(gang)
    if ended is not None:
        if ended and whole and job.state is JobState.RUNNING:
            yield from _saved(job, placement, known, now)
        yield WorkEnded(name, placement.id, now, ended)
        return
    if job.state is JobState.STOPPING:
        if whole and all(_at_rest(report, informed) for report in known):
            done = min(work_done(job, placement, report) for report in known)
            yield WorkStopped(name, placement.id, now, done)
        return
    if (
        job.state is JobState.STARTING
        and whole
        and informed
        and all(_useful(job, r) for r in known)
    ):
        yield WorkBegan(name, placement.id, now)
    if job.state is JobState.RUNNING and whole:
        yield from _saved(job, placement, known, now)
    lost = [r for r in known if r.phase == "stopped" and r.reason in BY_ITSELF]
    if lost:
        yield PreemptJob(name, f"machine {lost[0].lease}: {lost[0].reason}")


def _ended(gang: list[Report | None]) -> str | None:
    """How the work ended: with the first rank that failed, or well with rank 0; None before."""
    for rank, report in enumerate(gang):
        if report is not None and report.phase == "ended" and report.error:
            return f"rank {rank}: {report.error}" if len(gang) > 1 else report.error
    first = gang[0]
    return "" if first is not None and first.phase == "ended" else None


def _at_rest(report: Report, informed: bool) -> bool:
    """Whether a rank has stopped, and not for an earlier wish."""
    return report.phase in _STOPPED and (informed or report.reason in BY_ITSELF)


def _useful(job: JobRecord, report: Report) -> bool:
    """Whether a rank is past its start: its program got on, or has run as long as that takes."""
    if report.phase not in _BEGUN:
        return False
    if report.phase == "stopped" and report.reason not in BY_ITSELF:
        # Stopped as ordered: a start that it has not heard of yet.
        return False
    got_on = report.progress_ppm is not None and report.progress_ppm > report.base_ppm
    return got_on or report.phase in _STOPPED or report.elapsed_ns >= job.spec.start_overhead


def _saved(
    job: JobRecord, placement: PlacementRecord, known: list[Report], now: int
) -> Iterator[Input]:
    done = min(work_done(job, placement, report) for report in known)
    if done > job.work_done:
        yield WorkSaved(job.spec.id, placement.id, now, done)


def work_done(job: JobRecord, placement: PlacementRecord, report: Report) -> int:
    """Reference ns at a rank's last durable point: by the progress it tells, else by the time its
    program has run since the point it resumed from."""
    work = job.spec.work
    base = _from_ppm(report.base_ppm, job)
    if report.progress_ppm is not None:
        return _from_ppm(report.progress_ppm, job)
    if report.saved_ns is None:
        return base
    useful = max(0, report.saved_ns - job.spec.start_overhead)
    return min(work, base + useful * placement.speed // 1_000)


def _from_ppm(ppm: int, job: JobRecord) -> int:
    """Reference ns of some ppm; what the book has already where ppm cannot tell the difference."""
    work = job.spec.work
    if job.work_done * PPM // work == ppm:
        return job.work_done
    return work * ppm // PPM
