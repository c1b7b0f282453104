"""The dynamic programme: its chain, its table, and what it says where the answer is known."""

from itertools import pairwise
from random import Random

import numpy as np
import pytest

from treasury.forecast.hazards import AGES, Curves, Regime, age_class, curves
from treasury.forecast.prior import POOLED
from treasury_strategies.deadline_chain import CLASSES, build_chain, mean_run
from treasury_strategies.deadline_table import (
    Table,
    Terms,
    none_state,
    order,
    slack_grid,
    solve,
    states_of,
)

FLAT = Curves((0.05,) * CLASSES, (0.2,) * CLASSES)
SAFE = Curves((1e-6,) * CLASSES, (0.2,) * CLASSES)


def terms(**changed: object) -> Terms:
    """Two days of work at a tenth of on-demand's price, with four hours of slack."""
    base = Terms(120, 24.0, 1.2, (0.1,), 1.0, (1.0,), 0.0, 48)
    return base._replace(**changed)  # type: ignore[arg-type]


def start_cost(table: Table, work: float, slack: float, state: int) -> float:
    """Expected cost of waiting one step and going on from there."""
    return table.cost(table.waiting, state, work + slack, slack)


@pytest.mark.parametrize("pools", [1, 2, 5, 9])
def test_transitions_are_probabilities(pools: int) -> None:
    """From every state of the chain something happens with probability one, however many pools."""
    regimes = [Regime(-2.0 - pool / 3, -1.5 - pool / 5) for pool in range(pools)]
    chain = build_chain([curves(POOLED, regime) for regime in regimes])
    assert all(part.min() >= 0.0 for part in chain)
    assert np.allclose(chain.market.sum(1), 1.0, atol=1e-5)
    assert np.allclose(chain.stays.sum(2) + chain.met.sum(2), 1.0, atol=1e-5)
    assert np.allclose(chain.hop.sum(1), float(pools > 1), atol=1e-5)


def test_spot_that_never_goes_costs_spot() -> None:
    """Without hazard the job's cost is its work and one start at spot's price."""
    chain = build_chain([SAFE])
    table = solve(terms(), chain, chain)
    on_spot = table.cost(table.on_spot, states_of(0, 0, False)[1], 119.0, 24.0)
    assert on_spot == pytest.approx(0.1 * 95.0, rel=2e-3)
    bought = table.cost(table.on_demand, none_state(1, 0), 119.0, 0.0)
    assert bought == pytest.approx(119.0, rel=1e-3)


def test_slack_is_worth_something_and_less_the_more_there_is() -> None:
    """Costs fall with slack, by less and less."""
    chain = build_chain([FLAT])
    table = solve(terms(), chain, chain)
    costs = [start_cost(table, 60.0, slack, none_state(1, 0)) for slack in (2.0, 6.0, 12.0, 20.0)]
    falls = [a - b for a, b in pairwise(costs)]
    assert all(fall > 0.0 for fall in falls)
    assert falls[0] / 4.0 > falls[1] / 6.0 > falls[2] / 8.0


def test_expected_costs_are_what_following_the_table_costs() -> None:
    """Playing the table's own choices against drawn capacity costs what the table said, within
    sampling error: neither the grid nor the interpolation flatters it."""
    pool = Curves(
        (0.3, 0.2, 0.15, 0.1, 0.06, 0.04, 0.03, 0.02, 0.02),
        (0.3, 0.25, 0.2, 0.15, 0.1, 0.08, 0.05, 0.05, 0.05),
    )
    chain = build_chain([pool])
    table = solve(terms(points=64), chain, chain)
    dice = Random(5)
    played = [played_cost(table, pool, dice) for _ in range(600)]
    said = start_cost(table, 96.0, 24.0, none_state(1, 0))
    mean = sum(played) / len(played)
    spread = (sum((cost - mean) ** 2 for cost in played) / len(played) ** 2) ** 0.5
    assert abs(mean - said) < 3.0 * spread + 0.01 * said


def played_cost(table: Table, pool: Curves, dice: Random) -> float:
    """One run of 120 steps that begins without capacity, by the table's choices; time in steps."""
    there, age, on, slack, work, cost = False, 1, "", 24.0, 96.0, 0.0
    for step in range(120):
        left = 119 - step
        at = age_class(age)
        market, spot = states_of(0, at, False) if there else (none_state(1, at), 0)
        choices = [
            (1.0 + table.cost(table.on_demand, market, left, slack - 1.2 * (on != "d")), "d")
        ]
        if slack - 1.0 >= 1.2:
            choices.append((table.cost(table.waiting, market, left, slack - 1.0), ""))
        if there and slack >= (1.2 if on == "s" else 2.4):
            after = slack if on == "s" else slack - 1.2
            choices.append((0.1 + table.cost(table.on_spot, spot, left, after), "s"))
        chosen = min(choices)[1]
        if chosen and chosen != on:
            slack -= 1.2
        if chosen:
            cost += 1.0 if chosen == "d" else 0.1
        else:
            slack -= 1.0
        on = chosen
        work = left - slack
        if work <= 0.0:
            return cost + work * (1.0 if chosen == "d" else 0.1)
        ends = dice.random() < (pool.loss if there else pool.back)[at]
        there, age = (not there, 1) if ends else (there, age + 1)
        if on == "s" and not there:
            on = ""
    return cost


def test_a_second_pool_saves_and_a_slow_one_saves_less() -> None:
    """Another pool to hop to lowers the cost; a pool at half speed is worth less than one at
    full."""
    one = build_chain([FLAT])
    two = build_chain([FLAT, FLAT])
    alone = solve(terms(), one, one)
    pair = solve(terms(spot=(0.1, 0.1), speed=(1.0, 1.0)), two, two)
    slow = solve(terms(speed=(0.5,)), one, one)
    at_start = start_cost(alone, 90.0, 20.0, none_state(1, 0))
    assert start_cost(pair, 90.0, 20.0, none_state(2, 0)) < at_start
    assert start_cost(slow, 90.0, 20.0, none_state(1, 0)) > at_start


def test_the_grid_is_sorted_and_reaches_the_slack() -> None:
    """For any slack and overhead the grid rises strictly from none to all."""
    for slack in (0.5, 3.0, 24.0, 500.0):
        for start in (0.0, 0.12, 1.2, 8.0):
            grid = slack_grid(slack, start, 32)
            assert grid[0] == 0.0
            assert all(a < b for a, b in pairwise(grid))
            assert grid[-1] >= slack - 1e-4


def test_points_that_nearly_meet_are_one() -> None:
    """Where slack is just what is even about a start, points a rounding apart would divide by
    nothing: each table is solved without a floating-point warning."""
    chain = build_chain([FLAT])
    with np.errstate(all="raise"):
        for slack in (0.94, 1.44, 4.0, 4.00001, 4.2, 6.4):
            for start in (0.0, 0.00004, 0.01, 0.1, 1.2):
                grid = np.array(slack_grid(slack, start, 32), np.float32)
                assert (np.diff(grid) > 0).all() and grid[-1] >= slack - 1e-4
                solve(terms(steps=20, slack=slack, start=start), chain, chain)


def test_pools_rank_by_price_and_by_lifetime() -> None:
    """Equal prices: the longer-lived first. Little difference in life: the cheaper first."""
    runs = [mean_run(FLAT.loss), mean_run(SAFE.loss)]
    assert order([0.3, 0.3], runs, 1.2, 1.0) == [1, 0]
    assert order([0.1, 0.3], runs, 1.2, 1.0) == [0, 1]
    assert len(AGES) == CLASSES
