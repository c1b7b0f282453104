"""A strategy's problem solved by prices: as good as CP-SAT where both can, and the way of large
fleets."""

import pytest

from tests.support.ticks import budget, job, offer, queued, running, snapshot, sold
from tests.unit.test_optimizer_solve import problem_of
from treasury.domain.job import Requirement
from treasury.domain.market import Offer, Tenure
from treasury.domain.plan import JobView, OfferView, Place
from treasury.optimizer.cpsat import Effort, solve
from treasury.optimizer.flow.bridge import LargeSolver
from treasury.optimizer.greedy import is_feasible, value
from treasury.optimizer.problem import Problem, Terms
from treasury_simulations.demand import draw
from treasury_strategies.optimal import Optimal
from treasury_strategies.optimal_wishes import OptimalSettings

LAB, TEAM = "lab", "team"


def fleet(seed: int, jobs: int, offers: int) -> tuple[list[JobView], list[OfferView]]:
    """Jobs of one or two machines in two cost centres, some of them running, and few machines."""

    def pick(what: str, name: object, below: int) -> int:
        return draw(seed, what, str(name), below)

    pools: list[Offer] = [offer(Tenure.SPOT, zone=f"z{i}") for i in range(offers)]
    views = []
    held = [0] * offers
    for i in range(jobs):
        spec = job(
            f"j{i:03}",
            hours=1 + pick("hours", i, 9),
            requirement=Requirement({"V100": 1_000}, nodes=1 + pick("nodes", i, 3) // 2),
            cost_centre=(LAB, TEAM)[pick("centre", i, 2)],
            priority=pick("priority", i, 3),
            overhead=pick("overhead", i, 600) * 10**9,
        )
        at = pick("at", i, offers)
        if pick("runs", i, 3) == 0 and spec.requirement.nodes == 1:
            views.append(running(spec, pools[at]))
            held[at] += 1
        else:
            views.append(queued(spec))
    sales = [
        sold(
            pools[i],
            (20 + pick("rate", i, 80)) / 100,
            depth=held[i] + pick("depth", i, 4),
            in_use=held[i],
        )
        for i in range(offers)
    ]
    return views, sales


def problem(seed: int, jobs: int = 24, offers: int = 6) -> Problem:
    """A random problem with a budget that binds below one that does not."""
    views, sales = fleet(seed, jobs, offers)
    money = [budget(4_000_000, cost_centre=LAB, parent=TEAM), budget(9_000_000, cost_centre=TEAM)]
    return problem_of(views, sales, money, terms=Terms(columns=10_000))


@pytest.mark.parametrize("seed", range(12))
def test_prices_gain_what_cpsat_gains(seed: int) -> None:
    """On problems that CP-SAT proves, the other way is feasible and gains 99 % or more of it."""
    given = problem(seed)
    best = solve(given, Effort(limit=20_000, gap=0))
    found = LargeSolver().solve(given)
    assert is_feasible(given, found)
    assert value(given, found) >= 0.99 * value(given, best.solution)


def test_a_second_problem_starts_from_the_prices_of_the_first() -> None:
    """The same solver gives the same answer to the same problem, asked again."""
    solver = LargeSolver()
    given = problem(3)
    assert value(given, solver.solve(given)) == value(given, solver.solve(given))


def test_a_fleet_too_large_for_cpsat_is_planned_whole() -> None:
    """With more choices than CP-SAT is given, nobody is left to the greedy rest, and the plan is
    the same for every new strategy."""
    views, sales = fleet(5, 120, 15)
    money = [budget(cost_centre=LAB), budget(cost_centre=TEAM)]
    seen = snapshot([view for view in views if view.placement is None], sales, budgets=money)
    plans = [Optimal(OptimalSettings(columns=50)).propose(seen) for _ in range(2)]
    assert plans[0] == plans[1]
    assert sum(isinstance(action, Place) for action in plans[0].actions) > 10
    assert not any("choices to weigh" in left.detail for left in plans[0].left_out)
