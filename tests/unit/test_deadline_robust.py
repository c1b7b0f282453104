"""Markets that are not what was learned: still in time, and never much dearer than on-demand."""

from collections.abc import Callable
from random import Random

import pytest

from tests.support.ticks import ON_DEMAND, TICK, Game, Played, job, offer, sold
from treasury.domain.market import Tenure
from treasury.domain.money import charge
from treasury.domain.plan import OfferView
from treasury.domain.time import SECOND
from treasury.forecast.hazards import age_class, curves
from treasury.forecast.prior import POOLED
from treasury_strategies.deadline import Deadline

HOURS, TICKS = 24, 26 * 6 + 12
SPEC = job(hours=HOURS, deadline=26, overhead=720 * SECOND)
# What the whole job and one start cost on demand, in whole ticks.
BOUGHT = charge(3_000_000_000, (HOURS * 6 + 2) * TICK)

# One pool has a programme of its own; twelve are more than a chain holds.
POOLS = [offer(Tenure.SPOT, zone=f"z{at:02}") for at in range(12)]

Warp = Callable[[int], tuple[float, float]]


def drawn(seed: int, warp: Warp) -> list[bool]:
    """Capacity by the shipped prior's mean hazards, those of loss and return scaled at each
    tick."""
    known, dice = curves(POOLED, POOLED.mean), Random(seed)
    there, age, series = True, 1, []
    for tick in range(TICKS):
        series.append(there)
        loss, back = warp(tick)
        hazard = (known.loss if there else known.back)[age_class(age)] * (loss if there else back)
        there, age = (not there, 1) if dice.random() < hazard else (there, age + 1)
    return series


WARPS: dict[str, Warp] = {
    "as learned": lambda _: (1.0, 1.0),
    "all twice as often": lambda _: (2.0, 2.0),
    "all half as often": lambda _: (0.5, 0.5),
    "lost twice as often": lambda _: (2.0, 1.0),
    "lost half as often": lambda _: (0.5, 1.0),
    "back half as often": lambda _: (1.0, 0.5),
    "back twice as often": lambda _: (1.0, 2.0),
    "shifts in the middle": lambda tick: (0.3, 2.0) if tick < 80 else (4.0, 0.3),
    "vanishes": lambda tick: (1.0, 1.0) if tick < 80 else (1_000.0, 0.0),
}


def play(series: list[list[bool]], price: Callable[[int], float] = lambda _: 1.0) -> Played:
    """The job on pools that are there by the series, all at one price [USD/h] a tick; in time, and
    at no more than 2 % above what it costs on demand alone."""

    def market(now: int) -> list[OfferView]:
        tick = now // TICK
        spot = [
            sold(pool, price(tick), depth=int(there[tick]))
            for pool, there in zip(POOLS, series, strict=False)
        ]
        return [*spot, sold(ON_DEMAND, 3.0)]

    played = Game(Deadline(), [SPEC]).play(market, ticks=TICKS)
    assert SPEC.deadline is not None
    assert played.ended[SPEC.id] <= SPEC.deadline
    assert played.cost <= 1.02 * BOUGHT
    return played


@pytest.mark.parametrize("pools", [1, 12])
@pytest.mark.parametrize("name", WARPS)
def test_hazards_other_than_learned_cost_no_deadline_and_no_fortune(name: str, pools: int) -> None:
    """Hazards twice and half the learned ones, a shift in the middle and pools that vanish: in time
    each time, never above on-demand plus 2 %, and on average below it."""
    costs = []
    for seed in range(4 if pools == 1 else 2):
        series = [drawn(seed * 100 + pool, WARPS[name]) for pool in range(pools)]
        costs.append(play(series).cost)
    assert sum(costs) < len(costs) * BOUGHT


@pytest.mark.parametrize("pools", [1, 12])
def test_a_price_spike_of_ten_times_is_sat_out(pools: int) -> None:
    """While spot costs ten times its price the job is elsewhere; it ends in time and saves all the
    same."""
    series = [drawn(3 + pool, WARPS["lost half as often"]) for pool in range(pools)]
    played = play(series, lambda tick: 10.0 if 40 <= tick < 60 else 1.0)
    assert played.cost < BOUGHT
