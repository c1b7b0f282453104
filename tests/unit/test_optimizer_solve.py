"""The integer problem and its solution: as good as trying everything, never worse than greedy,
reproducible."""

import os
import subprocess
import sys
from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.ticks import (
    ON_DEMAND,
    RATE,
    SPOT,
    budget,
    job,
    offer,
    queued,
    running,
    snapshot,
    sold,
)
from treasury.domain.ids import CostCentre
from treasury.domain.job import JobSpec, Requirement
from treasury.domain.market import Tenure
from treasury.domain.plan import BudgetView, JobView, OfferView, Why
from treasury.domain.time import HOUR, MINUTE
from treasury.optimizer import cpsat
from treasury.optimizer.cpsat import Effort, solve
from treasury.optimizer.explain import Explainer
from treasury.optimizer.greedy import (
    Solution,
    best_conceivable,
    complete,
    greedy,
    is_feasible,
    value,
)
from treasury.optimizer.market import Arc, Market, price_of
from treasury.optimizer.problem import Candidate, Problem, Terms, build, unit_price, worth

SPOT_B = offer(Tenure.SPOT, zone="b")
SPOT_C = offer(Tenure.SPOT, zone="c")
SPOTS = (SPOT, SPOT_B, SPOT_C)
# An hour makes figures easy to follow.
TERMS = Terms(horizon=HOUR, payback=HOUR, spot_payback=HOUR)


def problem_of(
    views: list[JobView],
    offers: list[OfferView],
    budgets: list[BudgetView] | None = None,
    *,
    now: int = 0,
    terms: Terms = TERMS,
) -> Problem:
    """Jobs in the given order, each free to take every open spot offer; placed ones may also be
    stopped."""
    seen = snapshot(views, offers, now=now, budgets=budgets or ())
    market = Market()
    market.refresh(seen)
    candidates = []
    for view in views:
        fit = market.fit(view.spec, 0)
        fit.refresh(market)
        arcs = tuple(reversed(fit.spot))
        held: Arc | None = None
        if view.placement is not None:
            index = market.place_of(view.placement.offer)
            assert index is not None
            there, speed = market.offers[index], view.placement.speed
            price = price_of(there.rate, speed)
            bid = view.placement.bid
            held = Arc(price, index, there.offer, there.rate, bid, speed, 0)
            arcs = tuple(arc for arc in arcs if arc.index != index)
        candidates.append(Candidate(view, fit, arcs, held))
    return build(market, candidates, seen.budgets, {}, terms)


def names(problem: Problem, solution: Solution) -> dict[str, str]:
    """Job -> zone of what it has in a solution."""
    return {
        problem.candidates[job].view.spec.id: problem.choices[at].arc.offer.zone
        for job, at in enumerate(solution)
        if at is not None
    }


@st.composite
def problems(draw: st.DrawFn) -> Problem:
    """Up to five jobs on three small pools, some placed already, with money that may not reach."""
    views, used = [], dict.fromkeys([spot.id for spot in SPOTS], 0)
    for number in range(draw(st.integers(1, 5))):
        nodes = draw(st.integers(1, 3))
        spec = job(
            f"job{number}",
            hours=draw(st.integers(1, 8)) / 4,
            overhead=draw(st.sampled_from([0, 6])) * MINUTE,
            requirement=Requirement({"V100": 1_000}, nodes=nodes),
            priority=draw(st.integers(-1, 2)),
        )
        on = draw(st.sampled_from([None, *SPOTS]))
        if on is None:
            views.append(queued(spec, queued_at=-draw(st.integers(0, 30)) * HOUR))
        else:
            used[on.id] += nodes
            views.append(running(spec, on))
    offers = [
        sold(
            spot,
            draw(st.integers(2, 30)) / 10,
            depth=used[spot.id] + draw(st.integers(0, 3)),
            in_use=used[spot.id],
        )
        for spot in SPOTS
    ]
    money = draw(st.integers(0, 12)) * 1_000_000
    return problem_of(views, [*offers, sold(ON_DEMAND, 3.0)], [budget(money)])


@given(problem=problems())
@settings(max_examples=60)
def test_the_solution_is_as_good_as_trying_everything(problem: Problem) -> None:
    """On small problems CP-SAT finds what enumeration finds, and greedy and the bound lie on either
    side."""
    every = product(*[[None, *mine] for mine in problem.by_job])
    best = max(value(problem, one) for one in every if is_feasible(problem, one))
    start = greedy(problem)
    assert is_feasible(problem, start)
    assert value(problem, start) <= best <= best_conceivable(problem)
    answer = solve(problem, Effort(limit=2_000, gap=0))
    assert answer.solved
    assert is_feasible(problem, answer.solution)
    assert value(problem, answer.solution) == best


def crowd() -> Problem:
    """Twenty gangs on three pools for which greedy is not best."""
    views = [
        queued(
            job(
                f"job{number:02}",
                requirement=Requirement({"V100": 1_000}, nodes=1 + number % 4),
                priority=number % 3,
            ),
            queued_at=-number * HOUR,
        )
        for number in range(20)
    ]
    offers = [sold(spot, 0.5 + place / 4, depth=7 + place) for place, spot in enumerate(SPOTS)]
    return problem_of(views, [*offers, sold(ON_DEMAND, 3.0)])


def test_the_solver_beats_greedy_where_gangs_must_be_fitted() -> None:
    """A crowd of gangs: the solver gains more, leaves nothing that fits, and repeats itself."""
    problem = crowd()
    answer = solve(problem, Effort())
    assert answer.solved
    assert value(problem, answer.solution) > value(problem, greedy(problem))
    assert complete(problem, answer.solution) == answer.solution
    assert solve(problem, Effort()) == answer


def test_what_the_solver_cannot_answer_is_greedy() -> None:
    """Without a status that allows values to be read the greedy start is the answer, and says
    so."""
    problem = crowd()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cpsat, "_search", lambda *_: ("UNKNOWN", None))
        answer = solve(problem, Effort())
    assert (answer.solved, answer.status) == (False, "UNKNOWN")
    assert answer.solution == greedy(problem)


def test_an_answer_that_breaks_a_row_is_not_taken() -> None:
    """The solver is checked by code of its own: everybody on the cheapest pool is too many."""
    problem = crowd()
    wrong = tuple(mine[0] for mine in problem.by_job)
    assert not is_feasible(problem, wrong)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cpsat, "_search", lambda *_: ("OPTIMAL", wrong))
        assert not solve(problem, Effort()).solved


def test_where_nothing_is_contested_no_solver_is_loaded() -> None:
    """OR-Tools is imported by the first problem that needs it, not with the strategies."""
    code = (
        "import sys\n"
        "import treasury.optimizer.cpsat, treasury_strategies.optimal\n"
        "from tests.unit.test_optimizer_solve import crowd, problem_of, queued, job, sold, SPOT\n"
        "from treasury.optimizer.cpsat import Effort, solve\n"
        "problem = problem_of([queued(job())], [sold(SPOT, 0.9)])\n"
        "assert solve(problem, Effort()).status == 'UNCONTESTED'\n"
        "assert not [name for name in sys.modules if name.startswith('ortools')]\n"
        "solve(crowd(), Effort())\n"
        "assert 'ortools.sat.python.cp_model' in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, env=environment("0"))


def environment(hash_seed: str) -> dict[str, str]:
    """This process's environment with another hash seed and the same import path."""
    path = os.pathsep.join(part for part in sys.path if part)
    return os.environ | {"PYTHONHASHSEED": hash_seed, "PYTHONPATH": path}


@pytest.mark.slow
def test_hash_seeds_change_nothing() -> None:
    """Two processes with different hash seeds find the same solution."""
    code = (
        "from tests.unit.test_optimizer_solve import crowd\n"
        "from treasury.optimizer.cpsat import Effort, solve\n"
        "print(solve(crowd(), Effort()).solution)\n"
    )
    answers = {
        subprocess.run(
            [sys.executable, "-c", code],
            check=True,
            env=environment(seed),
            capture_output=True,
            text=True,
        ).stdout
        for seed in ("1", "2718")
    }
    assert answers == {f"{solve(crowd(), Effort()).solution}\n"}


def test_a_move_must_pay_for_itself() -> None:
    """A tenth cheaper does not pay for a restart of half an hour, a third does; near its end a job
    stays."""

    def zone(cheaper: float, hours: float = 4) -> str:
        placed = running(job("job", hours=hours, overhead=30 * MINUTE), SPOT)
        offers = [
            sold(SPOT, 1.0, depth=1, in_use=1),
            sold(SPOT_B, cheaper, depth=1),
            sold(ON_DEMAND, 3.0),
        ]
        problem = problem_of([placed], offers)
        return names(problem, solve(problem, Effort()).solution)["job"]

    assert zone(0.9) == "a"
    assert zone(0.2) == "a", "both machines are paid while it starts: 0.9 for half an hour"
    assert zone(0.01, hours=0.5) == "a"
    short = running(job("job", overhead=6 * MINUTE), SPOT)
    offers = [sold(SPOT, 1.0, depth=1, in_use=1), sold(SPOT_B, 0.6, depth=1), sold(ON_DEMAND, 3.0)]
    problem = problem_of([short], offers)
    assert names(problem, solve(problem, Effort()).solution) == {"job": "b"}


def test_a_move_from_spot_to_spot_must_pay_sooner() -> None:
    """Half the price pays for a start of twelve minutes within the hour from on-demand, which costs
    the same tomorrow; from a spot pool, whose price will not last, not within half an hour."""
    terms = Terms(payback=HOUR, spot_payback=30 * MINUTE)
    for held, moves in ((SPOT, "a"), (ON_DEMAND, "b")):
        placed = running(job("job", overhead=12 * MINUTE), held)
        offers = [sold(held, 1.0, depth=1, in_use=1), sold(SPOT_B, 0.5, depth=1)]
        offers += [] if held is ON_DEMAND else [sold(ON_DEMAND, 3.0)]
        problem = problem_of([placed], offers, terms=terms)
        assert names(problem, solve(problem, Effort()).solution)["job"] == moves


def test_money_is_shared_by_all_below_a_budget() -> None:
    """Two teams have money of their own, but the organisation above pays one machine only; the job
    of higher priority gets it, and the other is told why."""
    red, blue, top = CostCentre("red"), CostCentre("blue"), CostCentre("top")
    budgets = [
        budget(cost_centre=red, parent=top),
        budget(cost_centre=blue, parent=top),
        budget(1_500_000, cost_centre=top),
    ]
    jobs = [
        queued(job("a", cost_centre=red)),
        queued(job("b", cost_centre=blue, priority=1)),
    ]
    problem = problem_of(jobs, [sold(SPOT, 1.0), sold(ON_DEMAND, 3.0)], budgets)
    answer = solve(problem, Effort())
    assert names(problem, answer.solution) == {"b": "a"}
    left_out = Explainer(problem, answer.solution, TERMS, 0).left_out(0)
    assert (left_out.job, left_out.why) == ("a", Why.BUDGET)
    assert "needs 1.00 USD and top has 1.50 USD, which gains more with b" in left_out.detail


def test_who_is_outranked_is_told_by_whom() -> None:
    """The one machine goes to the higher priority; the other hears its price and whose it is."""
    jobs = [queued(job("a")), queued(job("b", priority=1))]
    problem = problem_of(jobs, [sold(SPOT, 1.0, depth=1), sold(ON_DEMAND, 3.0)])
    answer = solve(problem, Effort())
    assert names(problem, answer.solution) == {"b": "a"}
    left_out = Explainer(problem, answer.solution, TERMS, 0).left_out(0)
    assert (left_out.why, left_out.offer) == (Why.OUTRANKED, SPOT.id)
    assert "would gain 2.75 USD in 1h, but all 1 of its machines gain more with b" in (
        left_out.detail
    )


def test_what_costs_more_than_it_is_worth_is_left_out() -> None:
    """A job worth 2 USD with four hours of work does not pay at 1 USD an hour."""
    problem = problem_of([queued(job(value=2_000_000))], [sold(SPOT, 1.0), sold(ON_DEMAND, 3.0)])
    answer = solve(problem, Effort())
    assert answer.solution == (None,)
    left_out = Explainer(problem, answer.solution, TERMS, 0).left_out(0)
    assert left_out.why is Why.NOT_PAYING
    assert (
        left_out.detail == f"an hour of its work costs 1.00 USD at {SPOT.id} and is worth 0.50 USD"
    )


def test_what_an_hour_is_worth() -> None:
    """A quarter above on-demand, twice on-demand when urgent, doubled by priority, half more after
    a day."""

    def hour(spec: JobSpec, *, urgent: bool = False, queued_at: int = 0, now: int = 0) -> int:
        market = Market()
        market.refresh(snapshot([], [sold(SPOT, 1.0), sold(ON_DEMAND, 4.0)]))
        fit = market.fit(spec, 0)
        fit.refresh(market)
        candidate = Candidate(queued(spec, queued_at=queued_at), fit, (), urgent=urgent)
        return worth(candidate, unit_price(RATE, 1_000), now)

    assert hour(job()) == 5 * RATE
    assert hour(job(), urgent=True) == 8 * RATE
    assert hour(job(priority=2)) == 20 * RATE
    assert hour(job(priority=-1)) == 5 * RATE // 2
    assert hour(job(priority=50)) == hour(job(priority=10))
    assert hour(job(), now=12 * HOUR) == 25 * RATE // 4
    assert hour(job(), now=500 * HOUR) == 15 * RATE // 2
    assert hour(job(hours=4, value=8_000_000)) == 2 * RATE
    only_spot = job(requirement=Requirement({"V100": 1_000}, tenures=("spot",)))
    assert hour(only_spot) == 5 * RATE // 2


def test_a_job_about_to_end_keeps_figures_small() -> None:
    """With a nanosecond of work left a move costs a bounded amount, and the job stays."""
    view = running(job("job", hours=1, overhead=6 * MINUTE), SPOT)
    offers = [sold(SPOT, 1.0, depth=1, in_use=1), sold(SPOT_B, 0.1), sold(ON_DEMAND, 3.0)]
    problem = problem_of([view], offers, now=HOUR - 1)
    assert all(abs(choice.gain) < 100_000_000 for choice in problem.choices)
    assert names(problem, solve(problem, Effort()).solution) == {"job": "a"}


def test_too_many_choices_are_cut() -> None:
    """The solver is given no more than asked for: the best of each job, and the first jobs."""
    views = [queued(job(f"job{number}")) for number in range(5)]
    offers = [sold(spot, 1.0 + place) for place, spot in enumerate(SPOTS)]
    terms = Terms(columns=6, per_job=2)
    problem = problem_of(views, [*offers, sold(ON_DEMAND, 9.0)], terms=terms)
    assert [len(mine) for mine in problem.by_job] == [2, 2, 2]
    assert [candidate.view.spec.id for candidate in problem.left_over] == ["job3", "job4"]
    assert {choice.arc.offer.zone for choice in problem.choices} == {"a", "b"}
