"""The fleet bound: no way to run these jobs in time on this market costs less.

A linear programme in which jobs are divisible: in every step of time a job may spread itself over
all machines that serve it, as long as it does not run for longer than the step lasts, a gang uses
only pools that had room for it as a whole, and all jobs together use no more machine time than the
pools could hold; it pays each machine's own price.
Restarts, lost work, billing steps, budgets and not knowing the future are left out; each job pays
for one start. Every real schedule is a solution of this programme, so its optimum is a bound.

A solver's optimum is only as good as its tolerances. So the solver's answer is taken for advice:
from its dual prices the bound is computed anew here, and weak duality makes *any* prices give a
valid bound (Bertsimas & Tsitsiklis, "Introduction to Linear Optimization", 4.3).
"""

from collections.abc import Mapping
from typing import Any, Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from treasury.domain.errors import BadValue, UserError
from treasury.domain.ids import JobId
from treasury.domain.job import JobSpec
from treasury.domain.money import MICRO, NANO
from treasury.domain.time import HOUR, NEVER
from treasury_simulations.bound_market import Kinds, Tier, kinds_of, market_offers, tiers
from treasury_simulations.record import RunRecord
from treasury_simulations.scenario import Scenario
from treasury_simulations.simulate import market_of

# Above this many columns a simplex method takes minutes and a first-order one seconds; what that
# one lacks in precision costs the bound less than a millionth.
_COLUMNS_EXACT: Final = 30_000
# Sums of a million doubles are good to far better than this part of themselves.
_ROUNDING: Final = 1e-9
_HALVINGS: Final = 60

_Floats = NDArray[np.float64]
_Ints = NDArray[np.int64]


class FleetBound(msgspec.Struct, frozen=True, kw_only=True):
    """A bound [micro-USD] on the cost of all jobs. solver_micros: what the solver took for the
    optimum; a gap between the two is the solver's inaccuracy. columns: the programme's size."""

    cost_micros: int
    solver_micros: int
    jobs: int
    steps: int
    columns: int


class _Columns(msgspec.Struct):
    """What a job may use, one entry for each (job, step, kind), in that order.

    job, slot: which job, and which of the (job, step)s; cell: which of the (kind, step, level)s;
    speed: reference hours of work an hour; nodes: machines. slot_hours: length of each (job, step);
    slot_job: its job.
    """

    job: _Ints
    slot: _Ints
    cell: _Ints
    speed: _Floats
    nodes: _Floats
    slot_hours: _Floats
    slot_job: _Ints


class _Supply(msgspec.Struct):
    """Tiers of machine time. cell: which of the (kind, step, level)s; hours: of machines; rate:
    USD/h. above: for each cell whether the next one is the same with room for larger gangs: what
    that one has, smaller gangs may use."""

    cell: _Ints
    hours: _Floats
    rate: _Floats
    above: NDArray[np.bool_]


def delivered(scenario: Scenario, record: RunRecord) -> dict[JobId, int]:
    """Until when hindsight may take for what a run delivered: each job that it finished, with the
    job's deadline or, where the run was later, the run's own end. Instants in ns."""
    end = _end(scenario)
    finished = {job.id: job.ended_at for job in record.jobs if job.state == "finished"}
    return {
        spec.id: max(finished[spec.id] or 0, end if spec.deadline is None else spec.deadline)
        for spec in scenario.jobs
        if spec.id in finished
    }


def fleet_bound(
    scenario: Scenario, *, step: int = HOUR, until: Mapping[JobId, int] | None = None
) -> FleetBound:
    """The bound for a scenario's jobs, or for those in `until` with the instant [ns] by which each
    must be done (default: all, by their deadline or the trace's end; a job whose deadline not even
    the fastest machine could keep, by the trace's end).

    step [ns]: of the aggregation; a finer one gives a higher bound and takes longer. Raises
    BadValue for a step that is not positive or a job without any end, UserError where not even a
    divisible fleet could be done in time.
    """
    if step <= 0:
        raise BadValue("step", f"{step} ns", "a positive duration")
    ends = _ends(scenario) if until is None else dict(until)
    jobs = [spec for spec in scenario.jobs if spec.id in ends]
    if not jobs:
        return FleetBound(cost_micros=0, solver_micros=0, jobs=0, steps=0, columns=0)
    start = min(spec.submitted_at for spec in jobs)
    last = max(ends[spec.id] for spec in jobs)
    offers = market_offers(scenario)
    kinds = kinds_of(offers, jobs)
    most = sum(spec.requirement.nodes for spec in jobs)
    sold = tiers(scenario, kinds, start, last, step, most)
    boot = min((offer.capabilities.boot_ns for offer in offers if offer.id in kinds.of), default=0)
    work = _work(jobs, kinds, boot)
    columns, supply = _programme(jobs, kinds, sold, start, step, ends)
    dual, value = _solve(columns, supply, work)
    cost = _dual_value(columns, supply, work, dual)
    return FleetBound(
        cost_micros=max(0, int(cost * (1 - _ROUNDING) * MICRO)),
        solver_micros=round(value * MICRO),
        jobs=len(jobs),
        steps=-(-(last - start) // step),
        columns=len(columns.job) + len(supply.cell),
    )


def _end(scenario: Scenario) -> int:
    trace = market_of(scenario)[0]
    header = getattr(trace, "header", None)
    end: int = getattr(trace, "end", NEVER) if header is None else header.end
    return end


def _ends(scenario: Scenario) -> dict[JobId, int]:
    offers, end = market_offers(scenario), _end(scenario)
    ends: dict[JobId, int] = {}
    for spec in scenario.jobs:
        fastest = max((spec.requirement.speed(offer) for offer in offers), default=0)
        if not fastest:
            raise UserError(f"job {spec.id}: no offer of the market serves it: there is no bound")
        least = spec.start_overhead + -(-spec.work * 1_000 // fastest)
        keeps = spec.deadline is not None and spec.deadline - spec.submitted_at >= least
        ends[spec.id] = spec.deadline if keeps and spec.deadline is not None else end
        if ends[spec.id] >= NEVER:
            raise BadValue(f"job {spec.id}: deadline", spec.deadline, "one, or a market that ends")
    return ends


def _work(jobs: list[JobSpec], kinds: Kinds, boot: int) -> _Floats:
    """Reference hours of each job, one start included as if it were work at the least speed."""
    hours = []
    for spec, place in zip(jobs, kinds.requirement, strict=True):
        slowest = min((speed for speed in kinds.speeds[place] if speed), default=0)
        hours.append((spec.work + (spec.start_overhead + boot) * slowest / 1_000) / HOUR)
    return np.array(hours)


def _programme(
    jobs: list[JobSpec],
    kinds: Kinds,
    sold: list[Tier],
    start: int,
    step: int,
    ends: Mapping[JobId, int],
) -> tuple[_Columns, _Supply]:
    kept, wanted = _needed(jobs, sold, start, step, ends)
    tops: dict[tuple[int, int], int] = {}
    for tier in kept:
        place = tier.kind, tier.step
        tops[place] = max(tops.get(place, 0), tier.level)
    cells: dict[tuple[int, int, int], int] = {}
    above: list[bool] = []
    for (kind, at), top in tops.items():
        for level in range(top + 1):
            cells[kind, at, level] = len(above)
            above.append(level < top)
    rows: list[tuple[int, int, int, float, float]] = []
    slots: list[tuple[float, int]] = []
    for number, (spec, wants) in enumerate(zip(jobs, kinds.requirement, strict=True)):
        speeds = [(kind, speed) for kind, speed in enumerate(kinds.speeds[wants]) if speed]
        level = kinds.sizes.index(spec.requirement.nodes)
        for at, hours in wanted[number]:
            usable = [
                (cells[kind, at, level], speed)
                for kind, speed in speeds
                if (kind, at, level) in cells
            ]
            for cell, speed in usable:
                rows.append(
                    (number, len(slots), cell, speed / 1_000, float(spec.requirement.nodes))
                )
            if usable:
                slots.append((hours, number))
    served = {row[0] for row in rows}
    if len(served) < len(jobs):
        missing = next(spec.id for number, spec in enumerate(jobs) if number not in served)
        raise UserError(f"job {missing}: no machine for it could be had in time: there is no bound")
    of_job, of_slot, of_cell, speed_of, nodes_of = zip(*rows, strict=True)
    columns = _Columns(
        np.array(of_job),
        np.array(of_slot),
        np.array(of_cell),
        np.array(speed_of),
        np.array(nodes_of),
        np.array([hours for hours, _ in slots]),
        np.array([number for _, number in slots]),
    )
    supply = _Supply(
        np.array([cells[tier.kind, tier.step, tier.level] for tier in kept]),
        np.array([tier.amount / HOUR for tier in kept]),
        np.array([tier.rate / NANO for tier in kept]),
        np.array(above),
    )
    return columns, supply


def _needed(
    jobs: list[JobSpec], sold: list[Tier], start: int, step: int, ends: Mapping[JobId, int]
) -> tuple[list[Tier], list[list[tuple[int, float]]]]:
    """Of each kind, step and level the cheapest tiers that serve everybody who is there: nobody
    needs more. And for each job the steps of its time with their hours."""
    there: dict[int, int] = {}
    wanted: list[list[tuple[int, float]]] = []
    for spec in jobs:
        of_job = []
        at = spec.submitted_at
        while at < ends[spec.id]:
            place = (at - start) // step
            upto = min(ends[spec.id], start + (place + 1) * step)
            there[place] = there.get(place, 0) + (upto - at) * spec.requirement.nodes
            of_job.append((place, (upto - at) / HOUR))
            at = upto
        wanted.append(of_job)
    kept: list[Tier] = []
    reached: dict[tuple[int, int, int], int] = {}
    for tier in sorted(sold, key=lambda tier: tier.rate):
        key = tier.kind, tier.step, tier.level
        have = reached.get(key, 0)
        if have < there.get(tier.step, 0):
            reached[key] = have + tier.amount
            kept.append(tier)
    return kept, wanted


def _solve(columns: _Columns, supply: _Supply, work: _Floats) -> tuple[_Floats, float]:
    """The solver's price [USD/h] of a machine-hour in each cell, and its optimum [USD]."""
    from datetime import timedelta

    from ortools.math_opt.python import mathopt  # type: ignore[import-untyped]

    size = len(columns.job) + len(supply.cell)
    solver = mathopt.SolverType.HIGHS if size <= _COLUMNS_EXACT else mathopt.SolverType.PDLP
    model = mathopt.Model.from_model_proto(_proto(columns, supply, work))
    parameters = mathopt.SolveParameters(time_limit=timedelta(minutes=10))
    result = mathopt.solve(model, solver, params=parameters)
    if result.termination.reason != mathopt.TerminationReason.OPTIMAL:
        raise UserError(
            "the fleet bound cannot be had: not even divisible jobs could all be done in time on "
            f"this market, or the solver gave up ({result.termination.reason.name})"
        )
    first = len(work) + len(columns.slot_hours)
    rows = list(model.linear_constraints())[first:]
    prices = np.maximum(-np.array(result.dual_values(rows)), 0.0)
    # What serves larger gangs serves smaller ones: it cannot be worth less.
    for cell in np.flatnonzero(supply.above):
        prices[cell + 1] = max(prices[cell], prices[cell + 1])
    return prices, float(result.objective_value())


def _proto(columns: _Columns, supply: _Supply, work: _Floats) -> Any:
    """The programme. Variables: hours of each column, machine-hours of each tier, machine-hours
    that a cell takes from the next above. Rows: the work of each job (at least), hours of each
    (job, step) (at most), balance of each cell (at most)."""
    from ortools.math_opt import model_pb2  # type: ignore[import-untyped]

    jobs, slots, entries = len(work), len(columns.slot_hours), len(columns.job)
    lower = np.flatnonzero(supply.above)
    sold, cells, passed = len(supply.cell), len(supply.above), len(lower)
    size, infinite = entries + sold + passed, float("inf")
    model = model_pb2.ModelProto()
    variables, rows = model.variables, model.linear_constraints
    variables.ids.extend(range(size))
    variables.lower_bounds.extend([0.0] * size)
    upper = [infinite] * entries + supply.hours.tolist() + [infinite] * passed
    variables.upper_bounds.extend(upper)
    variables.integers.extend([False] * size)
    variables.names.extend([""] * size)
    rows.ids.extend(range(jobs + slots + cells))
    rows.lower_bounds.extend(work.tolist() + [-infinite] * (slots + cells))
    rows.upper_bounds.extend([infinite] * jobs + columns.slot_hours.tolist() + [0.0] * cells)
    rows.names.extend([""] * (jobs + slots + cells))
    model.objective.linear_coefficients.ids.extend(range(entries, entries + sold))
    model.objective.linear_coefficients.values.extend(supply.rate.tolist())
    own, tier = np.arange(entries), entries + np.arange(sold)
    flow, balance = entries + sold + np.arange(passed), jobs + slots
    parts = (
        (columns.job, own, columns.speed),
        (jobs + columns.slot, own, np.ones(entries)),
        (balance + columns.cell, own, columns.nodes),
        (balance + supply.cell, tier, -np.ones(sold)),
        (balance + lower, flow, -np.ones(passed)),
        (balance + lower + 1, flow, np.ones(passed)),
    )
    row, column, value = (np.concatenate(part) for part in zip(*parts, strict=True))
    order = np.lexsort((column, row))
    matrix = model.linear_constraint_matrix
    matrix.row_ids.extend(row[order].tolist())
    matrix.column_ids.extend(column[order].tolist())
    matrix.coefficients.extend(value[order].tolist())
    return model


def _dual_value(columns: _Columns, supply: _Supply, work: _Floats, prices: _Floats) -> float:
    """The bound [USD] that prices of machine time give.

    At such prices each job buys its hours for itself, and what the pools earn above their rates is
    taken off. A job's own problem has one number to choose, the worth of an hour of its work, and
    any choice is valid; the best is where the work it would buy is just its work.
    """
    paid = columns.nodes * prices[columns.cell]
    firsts = np.flatnonzero(np.r_[True, np.diff(columns.slot) != 0])
    of_job = np.flatnonzero(np.r_[True, np.diff(columns.slot_job) != 0])
    low = np.zeros(len(work))
    high = np.full(len(work), 2.0 * float((paid / columns.speed).max(initial=0.0)) + 1.0)

    def surplus(worth: _Floats) -> _Floats:
        return np.maximum(worth[columns.job] * columns.speed - paid, 0.0)

    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        gain = surplus(middle)
        most = np.maximum.reduceat(gain, firsts)
        # Of the best kinds the first: at a kink either side will do.
        chosen = np.where((gain == most[columns.slot]) & (gain > 0), columns.speed, 0.0)
        bought = np.add.reduceat(np.maximum.reduceat(chosen, firsts) * columns.slot_hours, of_job)
        enough = bought >= work
        high = np.where(enough, middle, high)
        low = np.where(enough, low, middle)
    worth = (low + high) / 2
    kept = np.maximum.reduceat(surplus(worth), firsts) * columns.slot_hours
    earned = supply.hours * np.maximum(prices[supply.cell] - supply.rate, 0.0)
    return float((worth * work).sum() - kept.sum() - earned.sum())
