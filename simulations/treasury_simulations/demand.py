"""Demand: rows of a jobs trace to jobs, with what the trace does not say drawn by the model.

Every draw is a hash of (seed, purpose, job), so that adding a job, a purpose or a row disturbs no
other draw, and the same seed gives the same jobs everywhere. Integers only.
"""

import hashlib
from collections.abc import Iterable, Iterator
from typing import Final

from treasury.config import DemandModel
from treasury.domain.errors import BadValue
from treasury.domain.ids import CostCentre, JobId
from treasury.domain.job import JobSpec, Requirement
from treasury.domain.money import charge
from treasury_simulations.traces.model import JobRow

# Of `cost_centres`: every group that is not named.
ANY_GROUP: Final = "*"
_BITS: Final = 64


def draw_jobs(rows: Iterable[JobRow], model: DemandModel, seed: int) -> tuple[JobSpec, ...]:
    """The jobs of a trace in order of submission, then id.

    A row's own deadline and non-zero priority are kept. A drawn deadline lies a factor of the slack
    range times (start overhead + work on the reference accelerator) after the submission.
    Raises BadValue for a group without a cost centre.
    """
    jobs = (_job(row, model, seed) for row in _limited(rows, model.limit))
    return tuple(sorted(jobs, key=lambda job: (job.submitted_at, job.id)))


def shift(rows: Iterable[JobRow], start: int) -> Iterator[JobRow]:
    """The rows moved in time so that the first is submitted at `start` [ns]."""
    by: int | None = None
    for row in rows:
        if by is None:
            by = start - row.at
        deadline = None if row.deadline is None else row.deadline + by
        yield row._replace(at=row.at + by, deadline=deadline)


def draw(seed: int, purpose: str, job: str, below: int) -> int:
    """A whole number from 0 to below - 1, the same for the same arguments everywhere."""
    text = f"{seed}/{purpose}/{job}".encode()
    word = int.from_bytes(hashlib.blake2b(text, digest_size=_BITS // 8).digest(), "big")
    return word * below >> _BITS


def _limited(rows: Iterable[JobRow], limit: int) -> Iterator[JobRow]:
    for number, row in enumerate(rows):
        if limit and number >= limit:
            return
        yield row


def _job(row: JobRow, model: DemandModel, seed: int) -> JobSpec:
    gpus, nodes = _machines(row, model.gpus_per_node)
    return JobSpec(
        id=JobId(row.id),
        cost_centre=_cost_centre(row, model),
        requirement=Requirement(throughput=model.throughput, gpus=gpus, nodes=nodes),
        work=row.duration_ns,
        submitted_at=row.at,
        start_overhead=model.start_overhead,
        checkpoint_interval=model.checkpoint_interval,
        deadline=_deadline(row, model, seed),
        priority=row.priority or _priority(row, model, seed),
        value=charge(model.value, row.duration_ns * gpus * nodes),
        interruptible=model.interruptible,
    )


def _machines(row: JobRow, gpus_per_node: int) -> tuple[int, int]:
    """Accelerators a machine, and machines: the row's, or its total spread over machines of a size
    the market sells."""
    if not gpus_per_node:
        return row.gpus, row.nodes
    total = row.gpus * row.nodes
    gpus = min(total, gpus_per_node)
    return gpus, -(-total // gpus)


def _cost_centre(row: JobRow, model: DemandModel) -> CostCentre:
    name = model.cost_centres.get(row.group) or model.cost_centres.get(ANY_GROUP)
    if name is None:
        right = f'a group that "cost_centres" names, or "{ANY_GROUP}" there for all others'
        raise BadValue(f"job {row.id}: group", row.group, right)
    return CostCentre(name)


def _deadline(row: JobRow, model: DemandModel, seed: int) -> int | None:
    if row.deadline is not None or model.deadlines is None:
        return row.deadline
    if draw(seed, "deadline", row.id, 1_000) >= model.deadlines.share:
        return None
    low, high = model.deadlines.slack
    slack = low + draw(seed, "slack", row.id, high - low + 1)
    return row.at + (model.start_overhead + row.duration_ns) * slack // 1_000


def _priority(row: JobRow, model: DemandModel, seed: int) -> int:
    ticket = draw(seed, "priority", row.id, sum(model.priorities.values()))
    for priority, weight in sorted(model.priorities.items()):
        if ticket < weight:
            return priority
        ticket -= weight
    raise AssertionError("tickets are drawn below the sum of the weights")
