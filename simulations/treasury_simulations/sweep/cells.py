"""One cell of a sweep: what it is, and how a worker turns it into a row.

Everything here is plain data that travels between processes and machines. A row depends on its
cell alone: not on the worker, the order, the clock, or what else is swept.
"""

import hashlib
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec

from treasury.config import Config
from treasury.domain.errors import UserError
from treasury.registry import load_strategy
from treasury_simulations.record import RunRecord
from treasury_simulations.scenario import Scenario

if TYPE_CHECKING:
    from treasury_simulations.cant_be_late import Published

# The label of what hindsight makes of a case: no strategy, and nobody can be cheaper.
HINDSIGHT: Final = "hindsight"
_DIGEST_BYTES: Final = 12


class Variant(msgspec.Struct, frozen=True):
    """A strategy with parameters. label: its name in tables; kind: as registered."""

    label: str
    kind: str
    parameters: dict[str, Any] = {}


class ScenarioWork(msgspec.Struct, frozen=True, tag="scenario"):
    """A configuration over a market; the seed is the configuration's. step: of the fleet bound
    [ns]."""

    config: Config
    trace: str
    jobs: str
    step: int


class WindowWork(msgspec.Struct, frozen=True, tag="window"):
    """A case of "Can't Be Late". folder: of the published data; durations in ns."""

    folder: str
    window: str
    zone: str
    deadline: int
    overhead: int


class Case(msgspec.Struct, frozen=True):
    """What variants are compared on. axes: what tells it from other cases, name -> text.

    block: cases of one block are not independent of each other; start: first instant [ns], for
    cases that overlap in time, else None.
    """

    key: str
    axes: dict[str, str]
    block: str
    start: int | None
    work: ScenarioWork | WindowWork


class Cell(msgspec.Struct, frozen=True):
    """A variant on a case. id: a hash of all that its row depends on."""

    id: str
    variant: Variant
    case: Case


class Chunk(msgspec.Struct, frozen=True):
    """Cells that one task runs, one after the other."""

    cells: tuple[Cell, ...]


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """What a cell came to. Money in micro-USD, durations in ns; see `record.RunRecord`.

    late: jobs that missed their deadline. The row of HINDSIGHT has a cost alone.
    """

    cell: str
    variant: str
    case: str
    axes: dict[str, str]
    block: str
    start: int | None
    cost: int
    jobs: int = 0
    finished: int = 0
    deadlines: int = 0
    met: int = 0
    late: int = 0
    waited: int = 0
    starts: int = 0
    interruptions: int = 0
    migrations: int = 0
    useful: int = 0
    restart: int = 0
    lost_work: int = 0
    idle: int = 0
    strategy_errors: int = 0
    journal_hash: str = ""


def identity(variant: Variant, parts: object) -> str:
    """A cell's id, from its variant and whatever else decides its row."""
    return digest([variant.kind, variant.parameters, parts])


def digest(value: object) -> str:
    """A hash of plain data, the same in every process."""
    plain = msgspec.to_builtins(value, str_keys=True, enc_hook=str)
    encoded = msgspec.json.encode(plain, order="deterministic")
    return hashlib.blake2b(encoded, digest_size=_DIGEST_BYTES).hexdigest()


def run_chunk(chunk: Chunk) -> list[Row]:
    """The rows of a chunk, in its order. What a worker calls; raises UserError with the cell."""
    return [_run(cell) for cell in chunk.cells]


def _run(cell: Cell) -> Row:
    try:
        work = cell.case.work
        if isinstance(work, WindowWork):
            return _run_window(cell, work)
        return _run_scenario(cell, work)
    except UserError as error:
        # A plain one: errors with fields of their own do not survive the way between processes.
        raise UserError(f"{cell.variant.label} on {cell.case.key}: {error}") from None


@lru_cache(maxsize=1)
def published(folder: str) -> "Published":
    """The data of a folder, read once by each worker."""
    from treasury_simulations.cant_be_late import Published

    return Published(Path(folder))


def _run_window(cell: Cell, work: WindowWork) -> Row:
    from treasury_simulations import cant_be_late

    data = published(work.folder)
    case = cant_be_late.Case(work.window, work.zone, work.deadline, work.overhead)
    if cell.variant.label == HINDSIGHT:
        return _row(cell, cant_be_late.optimum(data, case))
    return _measured(cell, cant_be_late.replay(data, case, _strategy(cell.variant)))


def _run_scenario(cell: Cell, work: ScenarioWork) -> Row:
    from treasury_simulations.simulate import simulate

    if cell.variant.label == HINDSIGHT:
        from treasury_simulations.bound import fleet_bound

        return _row(cell, fleet_bound(_scenario(cell.case, work), step=work.step).cost_micros)
    return _measured(cell, simulate(_scenario(cell.case, work), _strategy(cell.variant)))


# The scenario a worker built last: cells of one case follow each other.
_last: dict[str, Scenario] = {}


def _scenario(case: Case, work: ScenarioWork) -> Scenario:
    from treasury_simulations.scenario import build_scenario

    key = digest([case.key, work.trace, work.jobs, work.config])
    if key not in _last:
        _last.clear()
        _last[key] = build_scenario(work.config, work.trace, work.jobs)
    return _last[key]


def _strategy(variant: Variant) -> Any:
    return load_strategy(variant.kind, variant.parameters)


def _row(cell: Cell, cost: int, **more: Any) -> Row:
    case = cell.case
    return Row(
        cell=cell.id,
        variant=cell.variant.label,
        case=case.key,
        axes=case.axes,
        block=case.block,
        start=case.start,
        cost=cost,
        **more,
    )


def _measured(cell: Cell, record: RunRecord) -> Row:
    jobs = record.jobs

    def count(test: Callable[[Any], bool]) -> int:
        return sum(1 for job in jobs if test(job))

    return _row(
        cell,
        record.waste.paid,
        jobs=len(jobs),
        finished=count(lambda job: job.state == "finished"),
        deadlines=count(lambda job: job.deadline is not None),
        met=count(
            lambda job: job.deadline is not None and job.state == "finished" and not job.late
        ),
        late=count(lambda job: job.late),
        waited=sum(job.waited for job in jobs),
        starts=sum(job.starts for job in jobs),
        interruptions=sum(job.interruptions for job in jobs),
        migrations=sum(job.migrations for job in jobs),
        useful=record.waste.useful,
        restart=record.waste.restart,
        lost_work=record.waste.lost_work,
        idle=record.waste.idle,
        strategy_errors=record.refusals.get("strategy error", 0),
        journal_hash=record.journal_hash,
    )
