"""Wait or buy: a day ahead in steps, so that waiting has a price.

A fluid linear program over classes, offers and steps, with forecast prices, depths and hazards,
money for the whole horizon at every level of the cost-centre tree, and deadlines. Its worth lies in
one column of duals: the water value of a class, what an hour of its work is still worth if it is
left for later. Running now gains only what it earns beyond that. Solved by PDLP, by GLOP where it
is small.
"""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from treasury.domain.errors import BadValue
from treasury.optimizer.flow.arrays import HOUR_S, SPEED_UNIT, Bools, Floats, Ints, Small

_USD: Final = 1e6
# Variables up to which GLOP is as fast as PDLP, and exact.
_EXACT: Final = 20_000
# Missing a hard deadline costs this many times what the work could be worth at most: no price
# justifies it, and yet there is always a plan, which says what is missed.
_HARD: Final = 100.0
# Only prices are used of a plan: a thousandth is what they are good for.
_TOLERANCE: Final = 1e-3
_ITERATIONS: Final = 20_000


@dataclass(frozen=True, slots=True)
class Forecast:
    """What is expected. Shapes [offers, steps]: rate [micro-USD/h per machine], depth [machines];
    [offers]: hazard [interruptions per million machine-hours]. step: its length [s]."""

    rate: Ints
    depth: Ints
    hazard: Ints
    step: int


@dataclass(frozen=True, slots=True)
class Demand:
    """Classes that may wait. Shapes [classes] unless said otherwise.

    copies: jobs. work: left for each job [s at the reference throughput]. value: what an hour of
    work at the reference throughput is worth. due: step by which it must be done, the number of
    steps for none. late: what each hour of work not done by then costs; hard: whether no price
    justifies it. pause: time lost to an interruption [s]. speed, machines: [classes, offers].
    centre, parent, money: cost centres, and what each may spend over the horizon [micro-USD].
    """

    copies: Ints
    work: Ints
    value: Ints
    due: Ints
    late: Ints
    hard: Bools
    pause: Ints
    speed: Small
    machines: Small
    centre: Ints
    parent: Ints
    money: Ints


@dataclass(frozen=True, slots=True)
class Outlook:
    """A plan ahead. water: what an hour of a class's work is worth when left for later
    [micro-USD per reference hour, classes]. now: jobs of each class to run in the first step
    [classes]. missed: hours of work of each class not done by its deadline. value: of the whole
    horizon [micro-USD]. money: what one more micro-USD is worth to each cost centre, itself not
    counted."""

    water: Floats
    now: Floats
    missed: Floats
    value: float
    money: Floats


@dataclass(frozen=True, slots=True)
class _Columns:
    """Variables: class, offer, step; and what a job on each earns and costs in one step [USD]."""

    owner: Ints
    offer: Ints
    step: Ints
    work: Floats
    cost: Floats
    gain: Floats


def look_ahead(demand: Demand, forecast: Forecast) -> Outlook | None:
    """The outlook, or None where the solver did not come near enough to an optimum.

    Raises BadValue for shapes that disagree.
    """
    _check(demand, forecast)
    columns = _columns(demand, forecast)
    classes = len(demand.copies)
    if not classes:
        nothing: Floats = np.zeros(0)
        return Outlook(nothing, nothing, nothing, 0.0, np.zeros(len(demand.money)))
    worth = np.maximum(demand.value, 1) / _USD
    penalty = np.where(demand.hard, _HARD * worth + demand.late / _USD, demand.late / _USD)
    dated = demand.due < forecast.rate.shape[1]
    gain = np.concatenate((columns.gain, np.where(dated, -penalty, 0.0)))
    rows = _rows(demand, forecast, columns, dated)
    solved = _solve(gain, rows)
    if solved is None:
        return None
    value, dual, objective = solved
    water = np.maximum(0.0, dual[:classes]) * _USD
    # Work that is due is worth its value and what missing it would cost.
    water[dated] += np.maximum(0.0, -dual[classes : 2 * classes][dated]) * _USD
    first = columns.step == 0
    now = np.zeros(classes)
    np.add.at(now, columns.owner[first], value[: len(first)][first])
    money = np.maximum(0.0, dual[len(dual) - len(demand.money) :])
    missed = np.where(dated, value[len(first) :], 0.0)
    return Outlook(water, now, missed, objective * _USD, money)


def _check(demand: Demand, forecast: Forecast) -> None:
    offers, steps = forecast.rate.shape
    classes = len(demand.copies)
    if forecast.step <= 0:
        raise BadValue("forecast.step", forecast.step, "a length of at least 1 second")
    for name, shape, right in (
        ("forecast.depth", forecast.depth.shape, (offers, steps)),
        ("forecast.hazard", forecast.hazard.shape, (offers,)),
        ("demand.speed", demand.speed.shape, (classes, offers)),
        ("demand.machines", demand.machines.shape, (classes, offers)),
        ("demand.due", demand.due.shape, (classes,)),
        ("demand.parent", demand.parent.shape, demand.money.shape),
    ):
        if shape != right:
            raise BadValue(name, shape, f"the shape {right}")


def _columns(demand: Demand, forecast: Forecast) -> _Columns:
    offers, steps = forecast.rate.shape
    hours = forecast.step / HOUR_S
    owner, offer = np.nonzero(demand.speed > 0)
    speed = demand.speed[owner, offer] / SPEED_UNIT
    machines = demand.machines[owner, offer].astype(np.float64)
    loss = forecast.hazard[offer] / 1e6 * machines * demand.pause[owner] / HOUR_S
    speed = speed * (1 - np.minimum(loss, 0.9))
    pairs = len(owner)
    step = np.tile(np.arange(steps), pairs)
    owner, offer = np.repeat(owner, steps), np.repeat(offer, steps)
    speed, machines = np.repeat(speed, steps), np.repeat(machines, steps)
    cost = forecast.rate[offer, step] * machines * hours / _USD
    work = speed * hours
    gain = demand.value[owner] / _USD * work - cost
    stake = np.where(demand.hard, _HARD * demand.value + demand.late, demand.late)[owner] / _USD
    keep = (step < demand.due[owner]) & (machines <= forecast.depth[offer, step])
    keep &= gain + np.where(demand.due[owner] < steps, stake * work, 0.0) > 0
    del offers
    return _Columns(owner[keep], offer[keep], step[keep], work[keep], cost[keep], gain[keep])


def _rows(
    demand: Demand, forecast: Forecast, columns: _Columns, dated: Bools
) -> tuple[Ints, Ints, Floats, Floats, Floats]:
    """(row, column, use, lower, upper): work, work due, jobs at once, depth, money."""
    classes, (offers, steps) = len(demand.copies), forecast.rate.shape
    count = len(columns.owner)
    at, short = np.arange(count), count + np.arange(classes)
    total = demand.work * demand.copies / HOUR_S
    ones = np.ones(count)
    machines = demand.machines[columns.owner, columns.offer].astype(np.float64)
    due = dated[columns.owner]
    base = 2 * classes
    parts = [
        (columns.owner, at, columns.work),
        (classes + columns.owner[due], at[due], columns.work[due]),
        (classes + np.arange(classes), short, np.ones(classes)),
        (base + columns.owner * steps + columns.step, at, ones),
        (base + classes * steps + columns.offer * steps + columns.step, at, machines),
    ]
    first = base + classes * steps + offers * steps
    centre, held = demand.centre[columns.owner], at
    while len(held) and len(demand.money):
        some = centre >= 0
        centre, held = centre[some], held[some]
        parts.append((first + centre, held, columns.cost[held]))
        centre = demand.parent[centre]
    row, column, use = (np.concatenate([part[i] for part in parts]) for i in (0, 1, 2))
    size = first + len(demand.money)
    lower, upper = np.full(size, -np.inf), np.full(size, np.inf)
    upper[:classes] = total
    lower[classes:base] = np.where(dated, total, -np.inf)
    upper[base : base + classes * steps] = np.repeat(demand.copies, steps)
    upper[base + classes * steps : first] = forecast.depth.reshape(-1)
    upper[first:] = demand.money / _USD
    return row, column, use, lower, upper


def _solve(
    gain: Floats, rows: tuple[Ints, Ints, Floats, Floats, Floats]
) -> tuple[Floats, Floats, float] | None:
    from ortools.math_opt import model_pb2  # type: ignore[import-untyped]
    from ortools.math_opt.python import mathopt  # type: ignore[import-untyped]

    row, column, use, lower, upper = rows
    order = np.lexsort((column, row))
    proto = model_pb2.ModelProto(name="horizon")
    count = len(gain)
    proto.variables.ids.extend(range(count))
    proto.variables.lower_bounds.extend([0.0] * count)
    proto.variables.upper_bounds.extend([np.inf] * count)
    proto.variables.integers.extend([False] * count)
    proto.objective.maximize = True
    proto.objective.linear_coefficients.ids.extend(range(count))
    proto.objective.linear_coefficients.values.extend(gain.tolist())
    proto.linear_constraints.ids.extend(range(len(upper)))
    proto.linear_constraints.lower_bounds.extend(lower.tolist())
    proto.linear_constraints.upper_bounds.extend(upper.tolist())
    matrix = proto.linear_constraint_matrix
    matrix.row_ids.extend(row[order].tolist())
    matrix.column_ids.extend(column[order].tolist())
    matrix.coefficients.extend(use[order].tolist())
    small = count <= _EXACT
    result = mathopt.solve(
        mathopt.Model.from_model_proto(proto),
        mathopt.SolverType.GLOP if small else mathopt.SolverType.PDLP,
        params=mathopt.SolveParameters() if small else _pdlp(mathopt),
    )
    if result.termination.reason is not mathopt.TerminationReason.OPTIMAL:
        return None
    value = np.fromiter(result.variable_values().values(), dtype=np.float64, count=count)
    dual = np.fromiter(result.dual_values().values(), dtype=np.float64, count=len(upper))
    return np.maximum(0.0, value), dual, float(result.objective_value())


def _pdlp(mathopt: Any) -> Any:
    """One thread and a count of iterations: the same outlook on every machine of a kind."""
    from ortools.pdlp import solvers_pb2  # type: ignore[import-untyped]

    own = solvers_pb2.PrimalDualHybridGradientParams()
    own.num_threads = 1
    own.termination_criteria.iteration_limit = _ITERATIONS
    own.termination_criteria.simple_optimality_criteria.eps_optimal_relative = _TOLERANCE
    own.termination_criteria.simple_optimality_criteria.eps_optimal_absolute = _TOLERANCE
    return mathopt.SolveParameters(pdlp=own)
