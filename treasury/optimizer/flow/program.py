"""A few arcs as a linear or integer program for OR-Tools, built from arrays.

Variables are jobs on arcs, and one for the moves beyond the churn limit. Money is in USD so that
coefficients are of one size; what comes back is judged again in integers before it is believed.
"""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from treasury.optimizer.flow.arrays import AMPLE, Floats, Ints
from treasury.optimizer.flow.classes import Flow
from treasury.optimizer.flow.fill import spread_rows

_USD: Final = 1e6


@dataclass(frozen=True, slots=True)
class Program:
    """Arcs, least and most jobs on each, and the rows that touch them.

    limit: of each row. line, column, use: the matrix in row order. kind, name: what each row is
    (class, pool, quota, centre, spread, churn) and which.
    """

    flow: Flow
    arcs: Ints
    least: Floats
    most: Floats
    limit: Floats
    line: Ints
    column: Ints
    use: Floats
    kind: Ints
    name: Ints
    gain: Floats


CLASS, POOL, QUOTA, CENTRE, SPREAD, CHURN = range(6)


@dataclass(frozen=True, slots=True)
class Entries:
    """The matrix in integers, entry by entry: kind and number of the row, column, use of one job.
    limits: of all rows of each kind. The column after the last arc is the excess of churn."""

    kind: Ints
    name: Ints
    column: Ints
    use: Ints
    limits: tuple[Ints, ...]

    @property
    def row(self) -> Ints:
        """One number for each row, ascending by kind, then number."""
        return self.kind * AMPLE + self.name


def entries_of(flow: Flow, arcs: Ints) -> Entries:
    """What jobs on these arcs (ascending) use of every row."""
    rows, owner = flow.rows, flow.owner[arcs].astype(np.int64)
    offer, units = flow.offer[arcs].astype(np.int64), flow.units[arcs].astype(np.int64)
    at, ones = np.arange(len(arcs)), np.ones(len(arcs), dtype=np.int64)
    parts = [(CLASS, owner, at, ones), (POOL, offer, at, units)]
    parts.append((QUOTA, rows.quota_of[offer], at, units * rows.weight[offer]))
    if len(rows.limit):
        above = np.append(rows.above, np.full((1, rows.above.shape[1]), -1), axis=0)
        burn = flow.burn(arcs)
        parts += [(CENTRE, level, at, burn) for level in above[flow.classes.centre[owner]].T]
    spread = spread_rows(flow)
    if len(spread):
        parts.append((SPREAD, spread[arcs], at, ones))
    if rows.churn_limit < flow.running:
        column = np.append(np.flatnonzero(flow.stay[owner] == arcs), len(arcs))
        parts.append((CHURN, np.zeros_like(column), column, -np.ones_like(column)))
    kind = np.concatenate([np.full(len(part[1]), part[0]) for part in parts])
    name, column, use = (np.concatenate([part[i] for part in parts]) for i in (1, 2, 3))
    keep = (name >= 0) & (use != 0)
    limits = (
        flow.classes.copies, rows.pool, rows.quota, rows.limit, rows.spread,
        np.array([rows.churn_limit - flow.running]),
    )  # fmt: skip
    return Entries(kind[keep], name[keep], column[keep], use[keep], limits)


def program(flow: Flow, arcs: Ints, least: Ints | None = None, most: Ints | None = None) -> Program:
    """The program over these arcs (ascending); the last variable is the excess of churn."""
    entries = entries_of(flow, arcs)
    copies = flow.classes.copies[flow.owner[arcs]]
    low = np.append(np.zeros(len(arcs)) if least is None else least, 0).astype(np.float64)
    high = np.append(copies if most is None else most, flow.running).astype(np.float64)
    gain = np.append(flow.net[arcs], -flow.rows.churn_price) / _USD
    use = np.where(entries.kind == CENTRE, entries.use / _USD, entries.use)
    names, line = np.unique(entries.row, return_inverse=True)
    kind, name = names // AMPLE, names % AMPLE
    limit = np.empty(len(names))
    for number, limits in enumerate(entries.limits):
        limit[kind == number] = limits[name[kind == number]]
    # A hair below: a solver's tolerance must not become an overrun.
    limit[kind == CENTRE] *= (1 - 1e-9) / _USD
    # Rows that even all upper bounds together keep within their limit say nothing.
    column = entries.column
    reach = np.bincount(line, np.where(use > 0, use * high[column], use * low[column]), len(names))
    binds = reach > limit
    number_of = np.cumsum(binds) - 1
    keep = binds[line]
    order = np.lexsort((column[keep], line[keep]))
    return Program(
        flow, arcs, low, high, limit[binds], number_of[line[keep]][order], column[keep][order],
        use[keep][order], kind[binds], name[binds], gain,
    )  # fmt: skip


def model_of(made: Program, *, integer: bool) -> Any:
    """The program as a MathOpt model; variable i is the i-th arc, the last the excess of churn."""
    from ortools.math_opt import model_pb2  # type: ignore[import-untyped]
    from ortools.math_opt.python import mathopt  # type: ignore[import-untyped]

    proto = model_pb2.ModelProto(name="flow")
    columns, rows = len(made.gain), len(made.limit)
    proto.variables.ids.extend(range(columns))
    proto.variables.lower_bounds.extend(made.least.tolist())
    proto.variables.upper_bounds.extend(made.most.tolist())
    proto.variables.integers.extend([integer] * (columns - 1) + [False])
    proto.objective.maximize = True
    proto.objective.linear_coefficients.ids.extend(range(columns))
    proto.objective.linear_coefficients.values.extend(made.gain.tolist())
    proto.linear_constraints.ids.extend(range(rows))
    proto.linear_constraints.lower_bounds.extend([-np.inf] * rows)
    proto.linear_constraints.upper_bounds.extend(made.limit.tolist())
    matrix = proto.linear_constraint_matrix
    matrix.row_ids.extend(made.line.tolist())
    matrix.column_ids.extend(made.column.tolist())
    matrix.coefficients.extend(made.use.tolist())
    return mathopt.Model.from_model_proto(proto)
