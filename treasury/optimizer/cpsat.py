"""The integer problem solved with OR-Tools CP-SAT, reproducibly.

One worker, a seed, a limit in deterministic time and light presolve: the same problem gives the
same answer on every machine, and a limit that strikes during presolve cannot lose the hint. The
status is read before any value is. OR-Tools takes a while to load, so that importing this module
does it on the first solve.
"""

from collections.abc import Callable
from typing import Any

import msgspec

from treasury.optimizer.greedy import (
    Solution,
    best_conceivable,
    complete,
    greedy,
    is_feasible,
    value,
)
from treasury.optimizer.problem import Problem


class Effort(msgspec.Struct, frozen=True, kw_only=True):
    """How hard to try. limit: thousandths of CP-SAT's deterministic second. gap: thousandths of the
    value that may be left unfound."""

    seed: int = 1
    limit: int = 200
    gap: int = 1


class Answer(msgspec.Struct, frozen=True):
    """A feasible solution. solved: whether it is the solver's, or proven best without it; False
    when the solver found nothing in its limit and this is the greedy start."""

    solution: Solution
    solved: bool
    status: str


def solve(problem: Problem, effort: Effort) -> Answer:
    """The best solution that can be found with some effort; never worse than the greedy start."""
    start = greedy(problem)
    if value(problem, start) >= best_conceivable(problem):
        return Answer(start, True, "UNCONTESTED")
    status, found = _search(problem, start, effort)
    if found is None or not is_feasible(problem, found):
        return Answer(start, False, status)
    if value(problem, found) <= value(problem, start):
        return Answer(start, True, status)
    return Answer(complete(problem, found), True, status)


def solve_large(problem: Problem, solver: Callable[[Problem], Solution]) -> Answer:
    """The answer of another solver, judged and completed as CP-SAT's is: never worse than the
    greedy start."""
    start = greedy(problem)
    if value(problem, start) >= best_conceivable(problem):
        return Answer(start, True, "UNCONTESTED")
    found = solver(problem)
    if is_feasible(problem, found):
        found = complete(problem, found)
        if value(problem, found) > value(problem, start):
            return Answer(found, True, "PRICED")
    return Answer(start, True, "GREEDY")


def _search(problem: Problem, hint: Solution, effort: Effort) -> tuple[str, Solution | None]:
    from ortools.sat.python import cp_model

    model = cp_model.CpModel()
    taken: list[Any] = [model.new_bool_var("") for _ in problem.choices]
    for candidate, mine in zip(problem.candidates, problem.by_job, strict=True):
        if candidate.bound and mine:
            model.add_exactly_one([taken[index] for index in mine])
        elif len(mine) > 1:
            model.add_at_most_one([taken[index] for index in mine])
    for row in problem.rows:
        used = cp_model.LinearExpr.weighted_sum([taken[i] for i in row.choices], row.weights)
        model.add(used <= row.limit)
    gains = [choice.gain for choice in problem.choices]
    model.maximize(cp_model.LinearExpr.weighted_sum(taken, gains))
    chosen = set(hint)
    for index, variable in enumerate(taken):
        model.add_hint(variable, index in chosen)
    solver = cp_model.CpSolver()
    parameters = solver.parameters
    parameters.num_workers = 1
    parameters.random_seed = effort.seed
    parameters.max_deterministic_time = effort.limit / 1_000
    parameters.relative_gap_limit = effort.gap / 1_000
    # Full presolve may use up the limit before the hint is looked at.
    parameters.max_presolve_iterations = 1
    parameters.cp_model_probing_level = 0
    parameters.symmetry_level = 0
    status = solver.solve(model)
    name = str(solver.status_name(status))
    if status not in (cp_model.OPTIMAL, cp_model.FEASIBLE):
        return name, None
    return name, tuple(
        next((index for index in mine if solver.boolean_value(taken[index])), None)
        for mine in problem.by_job
    )
