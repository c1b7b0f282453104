"""What one job should do next, and what an hour of a pool is worth to it.

This is the programme's use, free of the market's and the engine's ways: a job's position and its
pools in, the expected cost of each choice out.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final, NamedTuple

from treasury.domain.ids import OfferId
from treasury.forecast.forecaster import Forecaster
from treasury.forecast.hazards import AGES, STEP, Regime, age_class, curves

if TYPE_CHECKING:
    from treasury_strategies.deadline_table import Table

# More pools than this only crowd the chain: the best by price and lifetime stand for all.
POOLS: Final = 9
# Room for slack to grow above what it is now: on machines faster than the fallback, or rounding.
_HEADROOM: Final = 0.5


class PoolTerms(NamedTuple):
    """A pool as a job sees it. cost: of a step, now. level: of a step, as far as can be foreseen.
    speed: relative to on demand."""

    offer: OfferId
    cost: float
    level: float
    speed: float


class Position(NamedTuple):
    """Where a job stands. left: steps to the deadline. free: slack [steps] without a machine. kept:
    slack with the machine it holds, its start's overhead aside. held: the spot pool it is on.
    bought: whether it is on demand."""

    left: float
    free: float
    kept: float
    held: OfferId | None = None
    bought: bool = False


class Costs(NamedTuple):
    """Expected cost to the end by first choice; infinite where the choice is not to be had."""

    wait: float
    demand: float
    spot: dict[OfferId, float]


class Solved(NamedTuple):
    """A table with what it was solved for. rank: pools in the chain's order. step: ns. demand: cost
    of a step. left: steps to the deadline at the time. levels, regimes: of the pools in
    `rank`, at most `most` of them."""

    table: "Table"
    rank: tuple[OfferId, ...]
    step: int
    start: float
    demand: float
    left: float
    levels: tuple[float, ...]
    regimes: tuple[Regime, ...]
    most: int = POOLS


def step_of(tick: int) -> int:
    """The programme's step [ns]: as many ticks as come nearest to the hazards' own."""
    return tick * max(1, round(STEP / tick))


def solve_for(
    forecaster: Forecaster,
    pools: Sequence[PoolTerms],
    *,
    step: int,
    left: float,
    slack: float,
    start: float,
    demand: float,
    reversion: float,
    points: int,
    present: float | None = None,
    most: int = POOLS,
) -> Solved:
    """Solve a job's table. Durations in steps of `step` ns, costs per step, `demand` on demand;
    present: see `Terms`. most: pools the table is to know of, the best by price and lifetime."""
    from treasury_strategies.deadline_chain import build_chain, mean_run, steady_chain
    from treasury_strategies.deadline_table import Terms, order, solve

    prior = forecaster.prior
    regimes = [prior.clip(forecaster.regime(pool.offer)) for pool in pools]
    known = [curves(prior, regime) for regime in regimes]
    runs = [mean_run(curves.loss) for curves in known]
    rank = order([pool.level for pool in pools], runs, start, demand)[:most]
    long_run = forecaster.long_run()
    steps = max(1, -int(-left // 1))
    terms = Terms(
        steps=steps,
        slack=max(slack, 2.5 * start, _HEADROOM) + _HEADROOM,
        start=start,
        spot=tuple(pools[at].level for at in rank),
        demand=demand,
        speed=tuple(pools[at].speed for at in rank),
        reversion=reversion,
        points=points,
        present=present,
    )
    table = solve(terms, build_chain([known[at] for at in rank]), steady_chain(long_run, len(rank)))
    chosen = tuple(pools[at].offer for at in rank)
    levels = tuple(pools[at].level for at in rank)
    seen = tuple(regimes[at] for at in rank)
    return Solved(table, chosen, step, start, demand, left, levels, seen, most)


def weigh(
    solved: Solved,
    forecaster: Forecaster,
    now: int,
    position: Position,
    pools: Sequence[PoolTerms],
    open_pools: Sequence[OfferId],
) -> Costs:
    """The expected cost of each choice, for the step that begins now.

    open_pools: where a machine could be had, the one held included. What is safe is not judged
    here: see `deadline`.
    """
    table, start = solved.table, solved.start
    rank = solved.rank
    there = [at for at, offer in enumerate(rank) if offer in open_pools]
    count = len(rank)
    classes = {at: age_class(forecaster.age(rank[at], now)) for at in there}
    width = len(AGES)
    if there:
        market = there[0] * width + classes[there[0]]
    else:
        gone = min(forecaster.age(offer, now) for offer in rank)
        market = count * width + age_class(gone)
    left = position.left - 1.0
    wait = table.cost(table.waiting, market, left, position.free - 1.0)
    slack = position.kept if position.bought else position.free - start
    demand = solved.demand + table.cost(table.on_demand, market, left, slack)
    terms = {pool.offer: pool for pool in pools}
    other = int(len(there) > 1)
    spot = {}
    for at in there:
        pool = terms[rank[at]]
        slack = position.kept if pool.offer == position.held else position.free - start
        state = (at * width + classes[at]) * 2 + other
        slack -= 1.0 - pool.speed
        spot[pool.offer] = pool.cost + table.cost(table.on_spot, state, left, slack)
    return Costs(wait, demand, spot)
