"""Jobs: what has to run, and the states it may go through."""

from enum import Enum

import msgspec

from treasury.domain.errors import InvariantBroken
from treasury.domain.ids import CostCentre, JobId
from treasury.domain.market import Offer
from treasury.domain.task import Task

# Throughput relative to the reference accelerator, in thousandths: integers replay exactly.
REFERENCE_THROUGHPUT = 1_000


class JobState(Enum):
    """Where a job stands. `MOVES` holds the legal moves."""

    # The state's row of MOVES, kept on the member: hashing one costs more than the comparison.
    moves: tuple["JobState", ...]

    QUEUED = "queued"
    ACQUIRING = "acquiring"
    STARTING = "starting"
    RUNNING = "running"
    STOPPING = "stopping"
    FINISHED = "finished"
    FAILED = "failed"
    CANCELLED = "cancelled"


MOVES: dict[JobState, tuple[JobState, ...]] = {
    JobState.QUEUED: (
        JobState.ACQUIRING,
        JobState.CANCELLED,
        JobState.FAILED,
    ),
    JobState.ACQUIRING: (
        JobState.STARTING,
        JobState.QUEUED,
        JobState.CANCELLED,
    ),
    # STARTING again: a migration whose new machines failed goes back to the old ones.
    JobState.STARTING: (
        JobState.STARTING,
        JobState.RUNNING,
        JobState.STOPPING,
        JobState.QUEUED,
        JobState.FAILED,
        JobState.CANCELLED,
    ),
    JobState.RUNNING: (
        JobState.STOPPING,
        JobState.QUEUED,
        JobState.FINISHED,
        JobState.FAILED,
        JobState.CANCELLED,
    ),
    # STOPPING to STARTING: a migration stops on the old machines to start on the new ones.
    JobState.STOPPING: (
        JobState.STARTING,
        JobState.QUEUED,
        JobState.FINISHED,
        JobState.FAILED,
        JobState.CANCELLED,
    ),
    JobState.FINISHED: (),
    JobState.FAILED: (),
    JobState.CANCELLED: (),
}
for _state, _moves in MOVES.items():
    _state.moves = _moves
ENDED = (JobState.FINISHED, JobState.FAILED, JobState.CANCELLED)


def check_job_move(job: JobId, old: JobState, new: JobState) -> None:
    """Raise InvariantBroken unless the move is legal."""
    if new not in old.moves:
        raise InvariantBroken(f"job {job}: {old.value} -> {new.value} is no legal move")


class Requirement(msgspec.Struct, frozen=True):
    """What a job accepts.

    throughput: accelerator model -> speed relative to the reference in thousandths; a model
    that is missing is not accepted. gpus: accelerators on each machine. nodes: machines, all or
    nothing (the gang). Empty tuples mean "any". `exact` refuses machines with more accelerators
    than asked for.
    """

    throughput: dict[str, int]
    gpus: int = 1
    nodes: int = 1
    gpu_memory_gib: int = 0
    providers: tuple[str, ...] = ()
    regions: tuple[str, ...] = ()
    tenures: tuple[str, ...] = ()
    exact: bool = False

    def speed(self, offer: Offer) -> int:
        """Throughput on an offer in thousandths; 0 where the offer does not fit."""
        shape = offer.shape
        if shape.gpus < self.gpus or (self.exact and shape.gpus != self.gpus):
            return 0
        if self.gpu_memory_gib and shape.gpu_memory_gib < self.gpu_memory_gib:
            return 0
        if self.providers and offer.provider not in self.providers:
            return 0
        if self.regions and offer.region not in self.regions:
            return 0
        if self.tenures and offer.tenure.value not in self.tenures:
            return 0
        if self.nodes > offer.capabilities.gang_max:
            return 0
        return self.throughput.get(shape.gpu, 0)


class JobSpec(msgspec.Struct, frozen=True):
    """A job as submitted. Instants and durations in ns, money in micro-USD.

    work: time the whole gang needs on the reference accelerator. start_overhead: machine ready
    to first useful step, paid on every start. checkpoint_interval: useful time between durable
    points, 0 for continuous (nothing is ever lost). deadline: None where there is none. value:
    what finishing is worth, 0 where unstated. max_rate: most per machine-hour [nano-USD/h], 0
    for no own limit.
    """

    id: JobId
    cost_centre: CostCentre
    requirement: Requirement
    work: int
    submitted_at: int
    start_overhead: int = 0
    checkpoint_interval: int = 0
    deadline: int | None = None
    priority: int = 0
    value: int = 0
    max_rate: int = 0
    interruptible: bool = True
    labels: dict[str, str] = {}
    task: Task | None = None
