"""What happened to each job, counted from the journal's facts."""

from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any, Final

from treasury.domain import events as e
from treasury.domain.ids import JobId, LeaseId, PlacementId
from treasury.domain.job import JobSpec, JobState
from treasury_simulations.record import JobOutcome

REJECTED: Final = "rejected"
UNSUBMITTED: Final = "unsubmitted"


class JobTally:
    """Running counts of one job. waiting_since: an instant [ns] while it holds no machines."""

    __slots__ = (
        "cost",
        "ended_at",
        "first_start",
        "interruptions",
        "last_reason",
        "lost_work",
        "migrations",
        "preemptions",
        "spec",
        "starts",
        "state",
        "switched_at",
        "waited",
        "waiting_since",
    )

    def __init__(self, spec: JobSpec, at: int) -> None:
        self.spec = spec
        self.state = JobState.QUEUED.value
        self.cost = 0
        self.ended_at: int | None = None
        self.first_start: int | None = None
        self.waiting_since: int | None = at
        self.waited = 0
        self.lost_work = 0
        self.starts = 0
        self.interruptions = 0
        self.preemptions = 0
        self.switched_at = -1
        self.migrations = 0
        self.last_reason = ""

    def held(self, at: int) -> None:
        """Machines were granted."""
        if self.waiting_since is not None:
            self.waited += at - self.waiting_since
            self.waiting_since = None

    def outcome(self, now: int) -> JobOutcome:
        """The record of this job when the replay ends at an instant [ns]."""
        spec = self.spec
        ended_at = self.ended_at
        finished = self.state == JobState.FINISHED.value
        over = ended_at if finished and ended_at is not None else now
        late = spec.deadline is not None and (
            over > spec.deadline or (not finished and over >= spec.deadline)
        )
        return JobOutcome(
            id=spec.id,
            cost_centre=spec.cost_centre,
            priority=spec.priority,
            gpus=spec.requirement.gpus,
            nodes=spec.requirement.nodes,
            work=spec.work,
            submitted_at=spec.submitted_at,
            deadline=spec.deadline,
            first_start=self.first_start,
            ended_at=ended_at,
            state=self.state,
            late=late,
            cost=self.cost,
            waited=self.waited,
            lost_work=self.lost_work,
            starts=self.starts,
            interruptions=self.interruptions,
            preemptions=self.preemptions,
            migrations=self.migrations,
            last_reason=self.last_reason,
        )


class Tallies:
    """All jobs and their placements. causes: why we gave a machine back, until it is collected."""

    def __init__(self, specs: Iterable[JobSpec]) -> None:
        self.specs = {spec.id: spec for spec in specs}
        self.jobs: dict[JobId, JobTally] = {}
        self.placements: dict[PlacementId, JobId] = {}
        self.causes: dict[LeaseId, str] = {}
        self.refusals: Counter[str] = Counter()
        self.handlers: dict[type, Callable[[Any, int], None]] = {
            e.JobQueued: self._queued,
            e.JobRejected: self._rejected,
            e.JobWaits: self._waits,
            e.PlacementOpened: self._opened,
            e.LeasesGranted: self._granted,
            e.LeasesDeclined: self._declined,
            e.LeaseReleasing: self._releasing,
            e.WorkStarting: self._starting,
            e.WorkRunning: self._running,
            e.MigrationFinished: self._migrated,
            e.SwitchPlanned: self._switched,
            e.JobRequeued: self._requeued,
            e.JobEnded: self._ended,
            e.ActionRefused: self._refused,
        }

    def outcomes(self, now: int) -> list[JobOutcome]:
        """One record a job of the scenario, in its order, when the replay ends at an instant."""
        outcomes = []
        for spec in self.specs.values():
            tally = self.jobs.get(spec.id)
            if tally is None:
                tally = JobTally(spec, now)
                tally.state = UNSUBMITTED
            outcomes.append(tally.outcome(now))
        return outcomes

    def _queued(self, fact: e.JobQueued, at: int) -> None:
        self.jobs[fact.spec.id] = JobTally(fact.spec, at)

    def _rejected(self, fact: e.JobRejected, at: int) -> None:
        if fact.job in self.jobs:
            return
        tally = self.jobs[fact.job] = JobTally(self.specs[fact.job], at)
        tally.state, tally.last_reason = REJECTED, fact.why
        tally.ended_at = at

    def _waits(self, fact: e.JobWaits, at: int) -> None:
        del at
        self.jobs[fact.job].last_reason = fact.detail or fact.why.value

    def _opened(self, fact: e.PlacementOpened, at: int) -> None:
        self.placements[fact.placement] = fact.job
        tally = self.jobs[fact.job]
        tally.state = JobState.ACQUIRING.value
        if fact.migration:
            tally.state = JobState.RUNNING.value
        elif tally.switched_at == at:
            # Stopped to go elsewhere at once, and it did: a move, not a preemption.
            tally.preemptions -= 1
            tally.migrations += 1
            tally.switched_at = -1

    def _granted(self, fact: e.LeasesGranted, at: int) -> None:
        self.jobs[self.placements[fact.placement]].held(at)

    def _declined(self, fact: e.LeasesDeclined, at: int) -> None:
        del at
        self.refusals[fact.error] += 1

    def _releasing(self, fact: e.LeaseReleasing, at: int) -> None:
        del at
        self.causes[fact.lease] = fact.cause

    def _starting(self, fact: e.WorkStarting, at: int) -> None:
        tally = self.jobs[fact.job]
        tally.starts += 1
        tally.state = JobState.STARTING.value
        if tally.first_start is None:
            tally.first_start = at

    def _running(self, fact: e.WorkRunning, at: int) -> None:
        del at
        self.jobs[fact.job].state = JobState.RUNNING.value

    def _migrated(self, fact: e.MigrationFinished, at: int) -> None:
        del at
        self.jobs[fact.job].migrations += 1

    def _switched(self, fact: e.SwitchPlanned, at: int) -> None:
        self.jobs[fact.job].switched_at = at

    def _requeued(self, fact: e.JobRequeued, at: int) -> None:
        tally = self.jobs[fact.job]
        tally.state = JobState.QUEUED.value
        tally.lost_work += fact.lost
        if tally.waiting_since is None:
            tally.waiting_since = at
        if fact.cause == "interrupted":
            tally.interruptions += 1
        elif fact.cause != "declined":
            tally.preemptions += 1

    def _ended(self, fact: e.JobEnded, at: int) -> None:
        tally = self.jobs[fact.job]
        tally.held(at)
        tally.state, tally.ended_at = fact.state, at

    def _refused(self, fact: e.ActionRefused, at: int) -> None:
        del at
        self.refusals[fact.why.value] += 1
