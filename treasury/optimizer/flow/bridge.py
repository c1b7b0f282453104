"""The integer problem of a strategy as a flow: for more jobs and choices than CP-SAT can weigh.

A strategy's problem says what each choice gains, how many machines it takes and what it spends.
Candidates whose choices are alike form a class. Rows keep their limits: those of offers become
pools, those of cost centres cost centres; the lineage of a class is the cost centres its choices
count in. A job that must keep a machine gains so much by it that nothing outbids it.
"""

from collections.abc import Sequence
from typing import Final

import numpy as np

from treasury.optimizer.flow.arrays import AMPLE, Instance, Ints, Jobs, Kinds, Offers, Rules
from treasury.optimizer.flow.classes import Classes, Flow, Rows
from treasury.optimizer.flow.columns import Prices
from treasury.optimizer.flow.engine import FlowEngine, Settings
from treasury.optimizer.problem import Problem

# Of a solution: for each candidate the index of its choice, or None for no machine.
Solution = tuple[int | None, ...]
# In replay no clock stops a stage: what HiGHS may do is counted, and prices and rounding do alone
# where it would take seconds.
REPLAY: Final = Settings(exact_columns=0, core_work=4_000)


class LargeSolver:
    """Solves a strategy's problems one after another, and starts from the prices of the last."""

    def __init__(self, settings: Settings = REPLAY) -> None:
        self._engine = FlowEngine(settings)
        self._prices: Prices | None = None

    def solve(self, problem: Problem) -> Solution:
        """For each candidate the index of its choice, or None. Feasible in the rows; a candidate
        that must keep a machine has one wherever the rows allow it."""
        flow, members, choice = _flow(problem)
        plan, self._prices, _ = self._engine.solve(flow, self._known(flow))
        chosen: list[int | None] = [None] * len(problem.candidates)
        used = np.flatnonzero(plan.counts)
        taken = [0] * len(members)
        for arc, count in zip(used.tolist(), plan.counts[used].tolist(), strict=True):
            owner = int(flow.owner[arc])
            for member in members[owner][taken[owner] : taken[owner] + count]:
                chosen[member] = problem.by_job[member][int(choice[arc])]
            taken[owner] += count
        return tuple(chosen)

    def _known(self, flow: Flow) -> Prices | None:
        """The last prices, if the rows are as many."""
        last, rows = self._prices, flow.rows
        if last is None or len(last.pool) != len(rows.pool) or len(last.centre) != len(rows.limit):
            return None
        return last


def _flow(problem: Problem) -> tuple[Flow, list[list[int]], Ints]:
    """The flow; the candidates of each class in order; and for each arc which of its class's
    choices it is."""
    rows_of = _rows_of(problem)
    classes: dict[tuple[object, ...], int] = {}
    members: list[list[int]] = []
    for job, mine in enumerate(problem.by_job):
        key = tuple(
            (choice.arc.index, choice.gain, choice.nodes, choice.spend, choice.stays)
            for choice in (problem.choices[at] for at in mine)
        )
        lineage = tuple(sorted({row for at in mine for row in rows_of[at]}))
        at = classes.setdefault((problem.candidates[job].bound, lineage, key), len(classes))
        if at == len(members):
            members.append([])
        members[at].append(job)
    # Whatever takes the machines of a job that must keep some gains less than that.
    most = max((abs(choice.gain) // choice.nodes + 1 for choice in problem.choices), default=0)
    owner: list[int] = []
    order: list[int] = []
    columns: list[tuple[int, int, int, int]] = []
    stays: list[int] = []
    for number, jobs in enumerate(members):
        mine = problem.by_job[jobs[0]]
        first = problem.candidates[jobs[0]]
        extra = 2 * most * first.fit.nodes if first.bound else 0
        stays.append(-1)
        ranked = sorted(range(len(mine)), key=lambda i: problem.choices[mine[i]].arc.index)
        for place in ranked:
            choice = problem.choices[mine[place]]
            if choice.stays:
                stays[-1] = len(owner)
            owner.append(number)
            order.append(place)
            columns.append((choice.arc.index, choice.gain + extra, choice.nodes, choice.spend))
    table = np.array(columns, dtype=np.int64).reshape(-1, 4)
    lineages = [key[1] for key in classes]
    rows = _rows(problem, lineages, int(table[:, 0].max(initial=-1)) + 1)
    flow = _assembled(members, rows, np.array(owner, dtype=np.int64), table, stays)
    return flow, members, np.array(order, dtype=np.int64)


def _rows_of(problem: Problem) -> list[list[int]]:
    """The rows of cost centres that each choice counts in."""
    out: list[list[int]] = [[] for _ in problem.choices]
    for number, row in enumerate(problem.rows):
        if row.centre is not None:
            for choice in row.choices:
                out[choice].append(number)
    return out


def _rows(problem: Problem, lineages: Sequence[object], offers: int) -> Rows:
    """Pools and cost centres: each class has a centre of its own without a limit, below the rows of
    its lineage."""
    pool = np.full(offers, AMPLE, dtype=np.int64)
    centres = [number for number, row in enumerate(problem.rows) if row.centre is not None]
    for row in problem.rows:
        if row.centre is None and row.choices:
            pool[problem.choices[row.choices[0]].arc.index] = row.limit
    place = {number: at for at, number in enumerate(centres)}
    limit = [problem.rows[number].limit for number in centres]
    paths = [[place[row] for row in line] for line in lineages if isinstance(line, tuple)]
    depth = max((len(path) for path in paths), default=0)
    above = np.full((len(limit) + len(paths), depth + 1), -1, dtype=np.int64)
    above[:, 0] = np.arange(len(above))
    for at, path in enumerate(paths):
        above[len(limit) + at, 1 : 1 + len(path)] = path
    none = np.zeros(0, dtype=np.int64)
    return Rows(
        pool=pool,
        quota=none,
        quota_of=np.full(offers, -1, dtype=np.int64),
        weight=np.ones(offers, dtype=np.int64),
        limit=np.array(limit + [AMPLE] * len(paths), dtype=np.int64),
        above=above,
        committed=np.ones(offers, dtype=np.int64),
        spread=none,
        spread_name=none,
        churn_limit=AMPLE,
        churn_price=0,
    )


def _assembled(
    members: list[list[int]], rows: Rows, owner: Ints, table: Ints, stays: list[int]
) -> Flow:
    size, offers = len(members), len(rows.pool)
    zero, none = np.zeros(size, dtype=np.int64), np.zeros(0, dtype=np.int64)
    stay = np.array(stays, dtype=np.int64)
    held = np.append(table[:, 0], -1)[stay]
    of_job = np.zeros(sum(len(jobs) for jobs in members), dtype=np.int64)
    for number, jobs in enumerate(members):
        of_job[jobs] = number
    copies = np.array([len(jobs) for jobs in members], dtype=np.int64)
    centre = len(rows.limit) - size + np.arange(size)
    nobody = np.full(size, -1, dtype=np.int64)
    classes = Classes(copies, zero, zero, zero, zero, nobody, zero, centre, nobody, held, of_job)
    flat = np.zeros(offers, dtype=np.int64)
    empty = np.zeros((0, offers), dtype=np.int32)
    instance = Instance(
        Jobs(none, none, none, none, none, none, none, none, none),
        Kinds(empty, empty),
        Offers(flat, flat, rows.pool, flat, rows.quota_of, flat, flat, flat),
        Rules(none, none, none, none),
    )
    return Flow(
        instance,
        classes,
        rows,
        np.searchsorted(owner, np.arange(size + 1)).astype(np.int64),
        table[:, 0].astype(np.int32),
        owner.astype(np.int32),
        table[:, 1],
        table[:, 2].astype(np.int32),
        stay,
        none,
        none,
        table[:, 3],
    )
