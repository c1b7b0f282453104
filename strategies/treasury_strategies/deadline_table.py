"""The dynamic programme: expected cost to the end of a job, by time left, slack and market state.

Slack is what makes the programme small. With T steps left and work for W steps, a job that runs
keeps its slack T - W, one that waits loses a step of it, and a start loses the start's overhead; so
one grid over slack, fine where little is left, serves all times. Between its points, costs are
interpolated. Backwards from the deadline, at each step, the cheapest of:

wait        costs nothing now, and a step of slack
on demand   certain; keeps the slack, a start's overhead aside
spot        cheap; may be lost, by the pool's hazard at the age of its capacity
hop         to another pool that is there, for another start's overhead

What would leave no time to finish on demand is no choice, so that every cost is one of a run that
ends in time.
"""

from bisect import bisect_right
from collections.abc import Sequence
from math import exp
from typing import NamedTuple

import numpy as np

from treasury_strategies.deadline_chain import CLASSES, Array, Chain

_NEVER = np.float32(1e12)
# The mixture of present and long-run regimes is renewed every so many steps.
_BLOCK = 8
# Rounding of float32 must not turn "just safe" into "unsafe".
_EDGE = 1e-6


class Terms(NamedTuple):
    """What a table is solved for.

    steps: to the deadline, at least one. slack: the most that can be met [steps]. start: overhead
    of a start [steps]. spot: cost of a step by pool, best first. demand: cost of a step on demand.
    speed: pace by pool, on demand being 1. reversion: rate a step at which regimes return to their
    long run. points: size of the grid.
    """

    steps: int
    slack: float
    start: float
    spot: tuple[float, ...]
    demand: float
    speed: tuple[float, ...]
    reversion: float
    points: int


class Table:
    """Expected cost to the end after a step, by choice, steps left after it, state and slack."""

    __slots__ = ("grid", "on_demand", "on_spot", "pools", "steps", "waiting")

    def __init__(self, grid: list[float], steps: int, pools: int) -> None:
        self.grid, self.steps, self.pools = grid, steps, pools
        states, points = (pools + 1) * CLASSES, len(grid)
        self.waiting: Array = np.empty((steps, states, points), np.float32)
        self.on_demand: Array = np.empty((steps, states, points), np.float32)
        self.on_spot: Array = np.empty((steps, pools * CLASSES * 2, points), np.float32)

    def cost(self, of: Array, state: int, left: float, slack: float) -> float:
        """One cost: of `waiting`, `on_demand` or `on_spot`, with `left` steps after this one."""
        grid = self.grid
        at = bisect_right(grid, slack) - 1
        at = min(max(at, 0), len(grid) - 2)
        share = (slack - grid[at]) / (grid[at + 1] - grid[at])
        share = min(max(share, 0.0), 1.0)
        row = max(int(left), 0)
        if row >= self.steps - 1:
            low = of[self.steps - 1, state]
            return float(low[at]) * (1.0 - share) + float(low[at + 1]) * share
        later = left - row if left > 0 else 0.0
        low = of[row, state]
        cost = float(low[at]) * (1.0 - share) + float(low[at + 1]) * share
        if later:
            high = of[row + 1, state]
            above = float(high[at]) * (1.0 - share) + float(high[at + 1]) * share
            cost += (above - cost) * later
        return cost


def slack_grid(slack: float, start: float, points: int) -> list[float]:
    """Amounts of slack [steps]: even where a start more or less decides, ever wider above."""
    near = min(4.0 + 2.0 * start, slack)
    low = max(12, points // 3)
    fine = {0.0, round(start, 4), round(2.0 * start, 4)}
    fine.update(round(near * at / (low - 1), 4) for at in range(low))
    grid = sorted(fine)
    top, rest = grid[-1], points - points // 3
    if slack > top:
        grid += [top + (slack - top) * ((at + 1) / rest) ** 1.4 for at in range(rest)]
    return grid


class _Shift:
    """Interpolation of costs at slack less some amount [steps]."""

    __slots__ = ("at", "low", "high")

    def __init__(self, grid: Array, less: float) -> None:
        target = grid - np.float32(less)
        self.at = np.clip(np.searchsorted(grid, target, side="right") - 1, 0, len(grid) - 2)
        span = grid[self.at + 1] - grid[self.at]
        self.high = np.clip((target - grid[self.at]) / span, 0.0, 1.0).astype(np.float32)
        self.low = np.float32(1.0) - self.high

    def __call__(self, costs: Array) -> Array:
        shifted: Array = costs[:, self.at] * self.low + costs[:, self.at + 1] * self.high
        return shifted


def solve(terms: Terms, now: Chain, later: Chain) -> Table:
    """The table of a job. now, later: how pools behave in their present and long-run regimes."""
    points = slack_grid(terms.slack, terms.start, terms.points)
    grid = np.array(points, np.float32)
    table = Table(points, terms.steps, len(terms.spot))
    step = _Step(terms, grid, now)
    waiting, demand, spot = step.ended(-grid)
    chain = now
    for left in range(terms.steps):
        if left % _BLOCK == 0:
            lead = max(terms.steps - 1 - left - _BLOCK // 2, 0)
            chain = now.towards(later, exp(-terms.reversion * lead))
        both = chain.market @ np.concatenate((waiting, demand), axis=1)
        wait, buy = both[:, : len(points)], both[:, len(points) :]
        ride = chain.spot @ spot + chain.lost @ waiting
        table.waiting[left], table.on_demand[left], table.on_spot[left] = wait, buy, ride
        waiting, demand, spot = step.best(left + 1, wait, buy, ride)
    return table


class _Step:
    """One step backwards. Costs are per state (rows) and slack (columns)."""

    def __init__(self, terms: Terms, grid: Array, chain: Chain) -> None:
        self.grid = grid
        self.demand = np.float32(terms.demand)
        self.cheapest = np.float32(min(terms.spot))
        self.start = np.float32(terms.start)
        pools = len(terms.spot)
        self.states = pools * CLASSES
        price = np.array(terms.spot, np.float32)
        self.price = np.repeat(price, CLASSES)[:, None]
        self.price_twice = np.repeat(price, CLASSES * 2)[:, None]
        self.other = np.repeat(chain.other, CLASSES)[:, None]
        self.hop = chain.hop if pools > 1 else None
        self.after_wait = _Shift(grid, 1.0)
        self.after_start = _Shift(grid, terms.start)
        self.may_wait = grid - 1.0 >= terms.start - _EDGE
        self.may_stay = grid >= terms.start - _EDGE
        self.may_start = grid - 2.0 * terms.start >= -_EDGE
        self.slower = [
            (slice(pool * CLASSES * 2, (pool + 1) * CLASSES * 2), _Shift(grid, 1.0 - speed))
            for pool, speed in enumerate(terms.speed)
            if speed != 1.0
        ]

    def ended(self, rest: Array) -> tuple[Array, Array, Array]:
        """Costs where no work is left: the last step was paid in full, and its unused part is given
        back, so that interpolation near the end is exact. rest: work left, not positive."""
        waiting = np.tile(self.cheapest * (rest + self.start), (self.states + CLASSES, 1))
        demand = np.tile(self.demand * rest, (self.states + CLASSES, 1))
        return waiting, demand, self.price_twice * rest

    def best(self, left: int, wait: Array, buy: Array, ride: Array) -> tuple[Array, Array, Array]:
        """The cheapest choice with `left` steps to go, from the costs after each choice."""
        for rows, shift in self.slower:
            ride[rows] = shift(ride[rows])
        idle = np.where(self.may_wait, self.after_wait(wait), _NEVER)
        bought = self.demand + self.after_start(buy)
        met = (1.0 - self.other) * ride[0::2] + self.other * ride[1::2]
        started = np.where(self.may_start, self.price + self.after_start(met), _NEVER)
        waiting = np.minimum(idle, bought)
        demand = np.minimum(idle, self.demand + buy)
        leave = waiting[: self.states]
        spot = np.where(self.may_stay, self.price_twice + ride, _NEVER)
        spot = np.minimum(spot, np.repeat(leave, 2, axis=0))
        waiting[: self.states] = np.minimum(leave, started)
        demand[: self.states] = np.minimum(demand[: self.states], started)
        if self.hop is not None:
            spot[1::2] = np.minimum(spot[1::2], np.repeat(self.hop @ started, CLASSES, axis=0))
        rest = np.float32(left) - self.grid
        done = rest <= 0.0
        ended = self.ended(rest)
        return (
            np.where(done, ended[0], waiting),
            np.where(done, ended[1], demand),
            np.where(done, ended[2], spot),
        )


def states_of(pool: int, age: int, other: bool) -> tuple[int, int]:
    """(market state, spot state) of a pool that is there, for the class of its age."""
    at = pool * CLASSES + age
    return at, at * 2 + int(other)


def none_state(pools: int, age: int) -> int:
    """The market state in which no pool is there, for the class of that time."""
    return pools * CLASSES + age


def order(costs: Sequence[float], runs: Sequence[float], start: float, demand: float) -> list[int]:
    """Pools by price and expected lifetime: a step's cost with the restarts it will take, at most
    of an on-demand step's price each (0.6: partly spot's, partly on demand's)."""
    keys = [
        (cost + 0.6 * start * demand / max(run, 1.0), at)
        for at, (cost, run) in enumerate(zip(costs, runs, strict=True))
    ]
    return [at for _, at in sorted(keys)]
