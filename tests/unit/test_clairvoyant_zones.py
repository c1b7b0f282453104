"""The clairvoyant bound over several zones."""

import csv
import gzip
import os
from functools import lru_cache
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.benchmarks.policy_runs import ON_DEMAND, load, windows
from tests.conftest import Require
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


def test_the_bound_is_the_published_optimum(require: Require) -> None:
    """On one window of each recorded set of zones the bound is the published optimum, which
    was rounded to a hundredth of a cent, within a ten-thousandth."""
    folder = os.environ.get("TREASURY_SHARED", "")
    require(folder, "TREASURY_SHARED must name the folder with traces/cant_be_late")
    path = Path(folder) / "traces" / "cant_be_late"
    series, starts = load(path, 2023), windows(path, 2023)
    with gzip.open(path / "reference_costs_dev_2023_multi.csv.gz", "rt") as file:
        rows = [row for row in csv.DictReader(file) if row["policy"] == "clairvoyant_optimum"]
    cases = {row["scenario"]: row for row in rows}
    assert len(cases) == 6
    for row in cases.values():
        first = starts[int(row["window"])] - series.first
        span = slice(first, first + 52 * 3_600 // series.seconds)
        spot = []
        for zone in row["zones"].split("|"):
            there, prices = series.there[zone][span], series.prices[zone][span]
            rates = [price if at else -1.0 for price, at in zip(prices, there, strict=True)]
            spot.append(micro_prices(rates, series.seconds))
        problem = ZoneProblem(
            tick=series.seconds,
            work=48 * 3_600,
            start=720,
            spot=tuple(spot),
            demand=micro_prices([ON_DEMAND], series.seconds)[0],
        )
        cost = clairvoyant_cost(problem) / 1_000_000
        assert cost == pytest.approx(float(row["cost_usd"]), rel=1e-4)
