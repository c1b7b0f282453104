"""Integers by OR-Tools on the columns the prices select: the relaxation by GLOP, its core by HiGHS.

The relaxation of a few thousand columns is within a few tenths of a per cent of the bound and whole
for almost every class. Rounded down and filled up it is a plan; what is fractional in it, and what
is nearly as good, is the core on which HiGHS decides. Columns that the prices clearly refuse or
clearly want stay as they are.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

import numpy as np

from treasury.optimizer.flow.arrays import Bools, Floats, Ints
from treasury.optimizer.flow.classes import Flow
from treasury.optimizer.flow.columns import Prices, best_of_class, nothing_scarce
from treasury.optimizer.flow.fill import Residual
from treasury.optimizer.flow.prices import Priced
from treasury.optimizer.flow.program import (
    CENTRE,
    CHURN,
    CLASS,
    POOL,
    QUOTA,
    SPREAD,
    model_of,
    program,
)

# A column is offered to the relaxation if one job's reduced profit is within this share of its
# worth of the best of its class; and to the core, of 0.
WINDOW: Final = 0.005
# The same where there are few arcs, and how few that is.
WIDE: Final = 0.1
FEW: Final = 50_000
CORE: Final = 0.1
# Arcs up to which all of them are columns, and all of these core.
ALL: Final = 3_000
_WHOLE: Final = 1e-6
_USD: Final = 1e6


@dataclass(frozen=True, slots=True)
class Relaxed:
    """A relaxation solved: arcs, jobs on each, reduced costs [USD/h], its worth [micro-USD/h], and
    its shadow prices."""

    arcs: Ints
    jobs: Floats
    reduced: Floats
    value: float
    prices: Prices


def select(flow: Flow, priced: Priced, support: Bools, counts: Ints, window: float) -> Ints:
    """The arcs worth a solver's while: what best responses used lately, what is within the window
    of the best of its class, where classes are now and where the plan puts them."""
    arcs = np.unique(priced.columns[priced.columns >= 0])
    best = best_of_class(flow, priced.score)[flow.owner[arcs]]
    near = priced.score[arcs] >= best - window * np.abs(flow.net[arcs])
    chosen = support.copy()
    chosen[arcs[near]] = True
    chosen[flow.stay[flow.stay >= 0]] = True
    chosen[counts > 0] = True
    return np.flatnonzero(chosen)


def relax(
    flow: Flow, arcs: Ints, seconds: float | None = None, *, more: float = 0.0
) -> Relaxed | None:
    """The relaxation over these arcs by GLOP; None if it found no optimum in the time given.

    more: makes every scarce row larger by this share of a unit. Where a row is used up to the last
    unit, its price may be anything between what one more adds and what one less costs: with a
    little more of each, it is what one more adds.
    """
    from ortools.math_opt.python import mathopt  # type: ignore[import-untyped]

    made = program(flow, arcs)
    if more:
        scarce = (made.kind != CLASS) & (made.kind != CHURN)
        made.limit[scarce] += more * np.maximum(1.0, np.abs(made.limit[scarce]) / 100)
    limit = timedelta(seconds=seconds) if seconds is not None else None
    result = mathopt.solve(
        model_of(made, integer=False),
        mathopt.SolverType.GLOP,
        params=mathopt.SolveParameters(time_limit=limit, random_seed=0),
    )
    if result.termination.reason is not mathopt.TerminationReason.OPTIMAL:
        return None
    jobs = _column(result.variable_values())
    dual = np.maximum(0.0, _column(result.dual_values()))
    prices = nothing_scarce(flow)
    money = dual * _USD
    for kind, out, price in (
        (POOL, prices.pool, money),
        (QUOTA, prices.quota, money),
        # A dollar of budget is worth so many dollars: no unit to change.
        (CENTRE, prices.centre, dual),
        (SPREAD, prices.spread, money),
    ):
        of = made.kind == kind
        out[made.name[of]] = price[of]
    churn = float(money[made.kind == CHURN].sum())
    full = Prices(
        prices.pool, prices.quota, prices.centre, prices.spread, min(churn, flow.rows.churn_price)
    )
    return Relaxed(
        arcs,
        jobs[:-1],
        _column(result.reduced_costs())[:-1],
        float(result.objective_value()) * _USD,
        full,
    )


def whole(relaxed: Relaxed) -> Ints:
    """The relaxation rounded down to whole jobs."""
    return np.floor(relaxed.jobs + _WHOLE).astype(np.int64)


def core_of(flow: Flow, relaxed: Relaxed, counts: Ints, share: float) -> tuple[Ints, Ints, Ints]:
    """The arcs of the core with the least and most jobs on each; the rest keeps to what relaxation
    and plan agree on."""
    jobs = np.zeros(len(counts))
    jobs[relaxed.arcs] = relaxed.jobs
    open_ = np.zeros(len(counts), dtype=np.bool_)
    near = np.abs(relaxed.reduced) <= share * np.maximum(1.0, np.abs(flow.net[relaxed.arcs])) / _USD
    near |= np.abs(relaxed.jobs - np.round(relaxed.jobs)) > _WHOLE
    open_[relaxed.arcs[near]] = True
    arcs = np.flatnonzero(open_ | (jobs > _WHOLE) | (counts > 0))
    low = np.minimum(np.floor(jobs[arcs] + _WHOLE), counts[arcs]).astype(np.int64)
    high = np.maximum(np.ceil(jobs[arcs] - _WHOLE), counts[arcs]).astype(np.int64)
    free = open_[arcs]
    copies = flow.classes.copies[flow.owner[arcs]]
    return arcs, np.where(free, 0, low), np.where(free, copies, high)


@dataclass(frozen=True, slots=True)
class Limits:
    """When a solver stops. nodes: of its tree, the same on every machine. seconds: a safety net for
    live use; None in replay, where the same plan must come out whatever the machine is doing."""

    nodes: int = 20
    seconds: float | None = None


def decide(
    flow: Flow, plan: Residual, arcs: Ints, least: Ints, most: Ints, limits: Limits
) -> Residual | None:
    """A plan better than this one by HiGHS on the given arcs and bounds, or None.

    The plan is the start, and arcs outside keep what it has there. What the solver returns is taken
    in integers, and only if it is feasible and worth more.
    """
    from ortools.math_opt.python import mathopt

    made = program(flow, arcs, least, most)
    model = model_of(made, integer=True)
    excess = max(0, plan.moved() - flow.rows.churn_limit)
    start = np.append(plan.counts[arcs], excess).astype(np.float64).tolist()
    hint = mathopt.SolutionHint(variable_values=dict(zip(model.variables(), start, strict=True)))
    seconds = limits.seconds
    # HiGHS is left at its own thread count of one: setting it fails in this release.
    result = mathopt.solve(
        model,
        mathopt.SolverType.HIGHS,
        params=mathopt.SolveParameters(
            time_limit=timedelta(seconds=seconds) if seconds is not None else None,
            node_limit=limits.nodes,
            random_seed=0,
        ),
        model_params=mathopt.ModelSolveParameters(solution_hints=[hint]),
    )
    if not result.has_primal_feasible_solution():
        return None
    jobs = np.round(_column(result.variable_values())[:-1]).astype(np.int64)
    better = Residual(flow)
    better.take(arcs, jobs)
    return better if better.holds() and better.value() > plan.value() else None


def _column(values: dict[Any, float]) -> Floats:
    return np.fromiter(values.values(), dtype=np.float64, count=len(values))


Stop = Callable[[], bool]
