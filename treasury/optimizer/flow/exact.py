"""Small problems by CP-SAT on every arc, proven optimal: below a few hundred columns nothing else
is as fast or as sure."""

from typing import Final

import numpy as np

from treasury.optimizer.flow.arrays import Ints
from treasury.optimizer.flow.classes import Flow
from treasury.optimizer.flow.fill import Residual
from treasury.optimizer.flow.program import entries_of

# Columns up to which CP-SAT proves generated fleets within a second on one core.
COLUMNS: Final = 1_500
# CP-SAT refuses linear expressions whose values may leave 63 bits.
_SAFE: Final = 2**61


def exact(
    flow: Flow, start: Residual, *, effort: float, seconds: float | None = None
) -> tuple[Residual, int | None] | None:
    """The best plan and a bound on all plans [micro-USD/h], equal when proven optimal.

    effort: CP-SAT's deterministic time. seconds: a safety net for live use. None where it found
    nothing better than nothing, or where the numbers are too large for it.
    """
    from ortools.sat.python import cp_model

    if _too_large(flow):
        return None
    model = cp_model.CpModel()
    copies = flow.classes.copies[flow.owner].tolist()
    jobs = [model.new_int_var(0, most, "") for most in copies]
    everything = np.arange(len(jobs))
    excess = model.new_int_var(0, flow.running, "")
    model.add_hint(excess, max(0, start.moved() - flow.rows.churn_limit))
    terms = [*jobs, excess]
    for limit, columns, use in _rows(flow, everything):
        row = cp_model.LinearExpr.weighted_sum([terms[i] for i in columns], use)
        model.add(row <= limit)
    weights = [*flow.net.tolist(), -flow.rows.churn_price]
    model.maximize(cp_model.LinearExpr.weighted_sum(terms, weights))
    for variable, count in zip(jobs, start.counts.tolist(), strict=True):
        model.add_hint(variable, count)
    solver = cp_model.CpSolver()
    solver.parameters.num_workers = 1
    solver.parameters.random_seed = 0
    solver.parameters.max_deterministic_time = effort
    if seconds is not None:
        solver.parameters.max_time_in_seconds = seconds
    status = solver.solve(model)
    if status not in {cp_model.OPTIMAL, cp_model.FEASIBLE}:
        return None
    counts = np.array([solver.value(variable) for variable in jobs], dtype=np.int64)
    plan = Residual(flow)
    plan.take(everything, counts)
    if not plan.holds():
        return None
    return plan, plan.value() if status == cp_model.OPTIMAL else None


def _rows(flow: Flow, arcs: Ints) -> list[tuple[int, list[int], list[int]]]:
    """Every row as (limit, columns, use of one job)."""
    entries = entries_of(flow, arcs)
    order = np.argsort(entries.row, kind="stable")
    cuts = np.flatnonzero(np.diff(entries.row[order])) + 1
    return [
        (
            int(entries.limits[entries.kind[part[0]]][entries.name[part[0]]]),
            entries.column[part].tolist(),
            entries.use[part].tolist(),
        )
        for part in np.split(order, cuts)
        if len(part)
    ]


def _too_large(flow: Flow) -> bool:
    copies = flow.classes.copies[flow.owner].astype(np.float64)
    worth = float((np.abs(flow.net) * copies).sum())
    worth += float(flow.rows.churn_price) * flow.running
    arcs = np.arange(len(flow.net))
    burn = float((flow.burn(arcs) * copies).sum())
    return max(worth, burn) >= _SAFE
