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
from numpy.typing import NDArray

from treasury_strategies.deadline_chain import CLASSES, Array, Chain

_NEVER = np.float32(1e12)
# The mixture of present and long-run regimes is renewed every so many steps.
_BLOCK = 8
# Rounding of float32 must not turn "just safe" into "unsafe".
_EDGE = 1e-6
# Least distance of two points of the grid [steps]: a twentieth of a second.
_APART = 1e-4


class Terms(NamedTuple):
    """What a table is solved for.

    steps: to the deadline, at least one. slack: the most that can be met [steps]. start: overhead
    of a start [steps]. spot: cost of a step by pool, best first. demand: cost of a step on demand.
    speed: pace by pool, on demand being 1. reversion: rate a step at which regimes return to their
    long run. points: size of the grid. present: steps left at which the present regime begins to
    fade; where it is None, the first.
    """

    steps: int
    slack: float
    start: float
    spot: tuple[float, ...]
    demand: float
    speed: tuple[float, ...]
    reversion: float
    points: int
    present: float | None = None


class Table:
    """Expected cost to the end after a step, by choice, steps left after it, state and slack."""

    __slots__ = ("grid", "idle", "on_demand", "on_spot", "pools", "steps", "waiting")

    def __init__(self, grid: list[float], steps: int, pools: int) -> None:
        self.grid, self.steps, self.pools = grid, steps, pools
        states, points = (pools + 1) * CLASSES, len(grid)
        # Both choices without spot side by side: they share the market's transitions.
        self.idle: Array = np.empty((steps, states, 2 * points), np.float32)
        self.waiting: Array = self.idle[:, :, :points]
        self.on_demand: Array = self.idle[:, :, points:]
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
    """Amounts of slack [steps]: even where a start more or less decides, ever wider above. No two
    are closer than float32 can tell apart with ease."""
    near = min(4.0 + 2.0 * start, slack)
    low = max(12, points // 3)
    fine = {0.0, round(start, 4), round(2.0 * start, 4)}
    fine.update(round(near * at / (low - 1), 4) for at in range(low))
    wanted = sorted(fine)
    top, rest = wanted[-1], points - points // 3
    if slack > top:
        wanted += [top + (slack - top) * ((at + 1) / rest) ** 1.4 for at in range(rest)]
    grid = [0.0]
    for point in wanted:
        if point - grid[-1] >= _APART:
            grid.append(point)
    # The last one must not be lost: it is the most slack that can be met.
    if wanted[-1] > grid[-1]:
        grid[-1 if len(grid) > 2 else len(grid) :] = [wanted[-1]]
    return grid


def _shift(grid: Array, less: float) -> Array:
    """The matrix by which costs are interpolated at slack less some amount [steps]: a product is
    several times as fast as picking columns."""
    points = len(grid)
    target = grid - np.float32(less)
    at = np.clip(np.searchsorted(grid, target, side="right") - 1, 0, points - 2)
    high = np.clip((target - grid[at]) / (grid[at + 1] - grid[at]), 0.0, 1.0)
    matrix = np.zeros((points, points), np.float32)
    matrix[at, np.arange(points)] = 1.0 - high
    matrix[at + 1, np.arange(points)] += high
    return matrix


def solve(terms: Terms, now: Chain, later: Chain) -> Table:
    """The table of a job. now, later: how pools behave in their present and long-run regimes."""
    points = slack_grid(terms.slack, terms.start, terms.points)
    table = Table(points, terms.steps, len(terms.spot))
    step = _Step(terms, np.array(points, np.float32))
    chain = now
    present = terms.steps if terms.present is None else round(terms.present)
    for left in range(terms.steps):
        if left % _BLOCK == 0:
            lead = max(present - 1 - left - _BLOCK // 2, 0)
            chain = now.towards(later, exp(-terms.reversion * lead))
        step.back(chain, table.idle[left], table.on_spot[left])
        step.best(chain, left + 1, table.idle[left], table.on_spot[left])
    return table


class _Step:
    """One step backwards. Costs are per state (rows) and slack (columns)."""

    def __init__(self, terms: Terms, grid: Array) -> None:
        self.grid = grid
        pools, points = len(terms.spot), len(grid)
        self.pools, self.points, self.states = pools, points, pools * CLASSES
        self.demand = np.float32(terms.demand)
        self.cheapest = np.float32(min(terms.spot))
        self.start = np.float32(terms.start)
        price = np.array(terms.spot, np.float32)
        self.price = np.repeat(price, CLASSES)[:, None]
        self.price_twice = np.repeat(price, CLASSES * 2)[:, None]
        self.after_wait = _shift(grid, 1.0)
        self.after_start = _shift(grid, terms.start)
        # What adds to the cost of a choice that slack does not allow.
        self.wait_bar = _bar(grid - 1.0 >= terms.start - _EDGE)
        self.stay_bar = _bar(grid >= terms.start - _EDGE)
        self.start_bar = _bar(grid - 2.0 * terms.start >= -_EDGE)
        self.slower = None
        if any(speed != 1.0 for speed in terms.speed):
            self.slower = np.stack([_shift(grid, 1.0 - speed) for speed in terms.speed])
        self.idle: Array = np.empty((self.states + CLASSES, 2 * points), np.float32)
        self.spot: Array = np.empty((self.states * 2, points), np.float32)
        self._end(0, 0.0)

    def _end(self, first: int, left: float) -> None:
        """Costs where no work is left, from a point of the grid on: the last step was paid in full,
        and its unused part is given back, so that interpolation near the end is exact."""
        rest = np.float32(left) - self.grid[first:]
        points = self.points
        self.idle[:, first:points] = self.cheapest * (rest + self.start)
        self.idle[:, points + first :] = self.demand * rest
        self.spot[:, first:] = self.price_twice * rest

    def back(self, chain: Chain, idle: Array, ride: Array) -> None:
        """Costs after each choice, from those a step later: `idle` without spot, `ride` on it."""
        np.matmul(chain.market, self.idle, out=idle)
        waiting = self.idle[:, : self.points]
        # What a job meets that loses its machine: another pool, or none for one step.
        meets = np.empty((self.pools, 2, self.points), np.float32)
        np.matmul(chain.hop, waiting[: self.states], out=meets[:, 0])
        meets[:, 1] = waiting[self.states]
        shape = (self.pools, CLASSES * 2, self.points)
        np.matmul(chain.stays, self.spot.reshape(shape), out=ride.reshape(shape))
        ride += np.matmul(chain.met, meets).reshape(ride.shape)

    def best(self, chain: Chain, left: int, idle: Array, ride: Array) -> None:
        """The cheapest choice with `left` steps to go, from the costs after each choice."""
        points, states = self.points, self.states
        wait, buy = idle[:, :points], idle[:, points:]
        if self.slower is not None:
            shape = (self.pools, CLASSES * 2, points)
            ride = np.matmul(ride.reshape(shape), self.slower).reshape(ride.shape)
        waiting, demand, spot = self.idle[:, :points], self.idle[:, points:], self.spot
        waited = wait @ self.after_wait
        waited += self.wait_bar
        bought = buy @ self.after_start
        bought += self.demand
        np.minimum(waited, bought, out=waiting)
        np.add(buy, self.demand, out=demand)
        np.minimum(demand, waited, out=demand)
        other = np.repeat(chain.other, CLASSES)[:, None]
        alone = ride[0::2]
        started = (alone + other * (ride[1::2] - alone)) @ self.after_start
        started += self.price
        started += self.start_bar
        np.add(ride, self.price_twice, out=spot)
        spot += self.stay_bar
        leave = waiting[:states, None]
        pairs = spot.reshape(states, 2, points)
        np.minimum(pairs, leave, out=pairs)
        np.minimum(waiting[:states], started, out=waiting[:states])
        np.minimum(demand[:states], started, out=demand[:states])
        if self.pools > 1:
            hopped = (chain.hop @ started)[:, None]
            other_there = spot.reshape(self.pools, CLASSES, 2, points)[:, :, 1]
            np.minimum(other_there, hopped, out=other_there)
        if left <= self.grid[-1]:
            self._end(int(np.searchsorted(self.grid, np.float32(left))), left)


def _bar(allowed: NDArray[np.bool_]) -> Array:
    return np.where(allowed, np.float32(0.0), _NEVER)


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
