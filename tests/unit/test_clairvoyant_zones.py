"""The clairvoyant bound over several zones."""

from functools import lru_cache

import pytest
from hypothesis import given
from hypothesis import strategies as st

from treasury.domain.errors import BadValue
from treasury_simulations.clairvoyant_zones import ZoneProblem, clairvoyant_cost, micro_prices


def by_trying_everything(problem: ZoneProblem) -> float:
    """The least cost by recursion over every choice at every tick, straight from the rules."""
    zones, ticks = len(problem.spot), len(problem.spot[0])

    @lru_cache(None)
    def best(tick: int, on: int, pending: int, left: int) -> float:
        if left <= 0:
            return 0.0
        if tick == ticks:
            return float("inf")
        costs = [best(tick + 1, -1, 0, left)]
        for zone in range(zones + 1):
            price = problem.demand if zone == zones else problem.spot[zone][tick]
            if price < 0:
                continue
            burn = pending if zone == on else problem.start
            useful = max(problem.tick - burn, 0)
            rest = max(burn - problem.tick, 0)
            costs.append(price + best(tick + 1, zone, rest, left - useful))
        return min(costs)

    return best(0, -1, 0, problem.work)


@given(
    spot=st.lists(st.tuples(*[st.sampled_from((-1, 2, 3, 7))] * 7), min_size=1, max_size=3).map(
        tuple
    ),
    start=st.integers(0, 9),
    work=st.integers(4, 20),
)
def test_the_bound_is_the_least_of_all_runs(
    spot: tuple[tuple[int, ...], ...], start: int, work: int
) -> None:
    """On small problems the programme finds what trying every run finds, or says there is none."""
    problem = ZoneProblem(tick=4, work=work, start=start, spot=spot, demand=10)
    expected = by_trying_everything(problem)
    if expected == float("inf"):
        with pytest.raises(BadValue, match="at most"):
            clairvoyant_cost(problem)
    else:
        assert clairvoyant_cost(problem) == expected


def test_a_migration_pays_its_start() -> None:
    """Two zones take turns: changing over is worth it only while a start is short."""
    spot = ((1, 1, 1, -1, -1, -1), (-1, -1, -1, 1, 1, 1))
    cheap = ZoneProblem(tick=10, work=50, start=5, spot=spot, demand=10)
    assert clairvoyant_cost(cheap) == 6.0
    dear = ZoneProblem(tick=10, work=50, start=10, spot=spot, demand=10)
    assert clairvoyant_cost(dear) > 6.0


def test_problems_that_make_no_sense_are_refused() -> None:
    """No zones, uneven zones and empty durations are named."""
    good = {"tick": 10, "work": 10, "start": 0, "demand": 1}
    for spot in ((), ((1, 1), (1,)), ((),)):
        with pytest.raises(BadValue, match="zone"):
            clairvoyant_cost(ZoneProblem(**good, spot=spot))
    with pytest.raises(BadValue, match="positive"):
        clairvoyant_cost(ZoneProblem(**good | {"work": 0}, spot=((1,),)))
    assert micro_prices([-1, 3.6], 1) == (-1, 1_000)
