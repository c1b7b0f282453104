"""The clairvoyant bound: the least a job can cost when all prices and capacity are known ahead.

Several zones, a price for each tick, a billed start and its overhead for every launch, relaunch and
migration. Exact dynamic programming backwards over (tick, machine, overhead still pending, slack):
a tick is billed whole, and the job must end at a tick boundary by its deadline. With one zone it is
the classic single-zone bound. No policy can do better under the same rules, which makes regret
against it a fair measure.
"""

from collections.abc import Sequence
from math import gcd
from typing import TYPE_CHECKING, Any

import msgspec

from treasury.domain.errors import BadValue

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[Any]

_NEVER = 1e18


class ZoneProblem(msgspec.Struct, frozen=True, kw_only=True):
    """One job and its zones. tick, work, start: a tick's length, the job's work and a start's
    overhead, in one unit (say ns); start is paid in full on each launch.

    spot: price of one tick by zone and tick, negative where there is no capacity. demand: price of
    one tick on demand. Prices are in one unit (say micro-USD); the deadline is the number of ticks
    of `spot`.
    """

    tick: int
    work: int
    start: int
    spot: tuple[tuple[int, ...], ...]
    demand: int


def clairvoyant_cost(problem: ZoneProblem) -> float:
    """The least cost, in the unit of the prices. Raises BadValue where no run ends in time, or for
    a problem without zones or ticks."""
    _check(problem)
    program = _Program(problem)
    cost = program.solve()
    if cost >= _NEVER / 2:
        ticks = len(problem.spot[0])
        raise BadValue("work", problem.work, f"at most {ticks} ticks less one start on demand")
    return cost


def _check(problem: ZoneProblem) -> None:
    if problem.tick <= 0 or problem.work <= 0 or problem.start < 0:
        raise BadValue("tick, work, start", (problem.tick, problem.work), "positive durations")
    lengths = {len(prices) for prices in problem.spot}
    if len(lengths) != 1 or lengths == {0}:
        raise BadValue("spot", sorted(lengths), "at least one zone, and as many ticks in each")


class _Program:
    """Costs to the end over slack: time left less work and pending overhead. A launch takes its
    overhead from the slack at once; leaving before it is burnt gives the rest back. Running keeps
    the slack, a tick of nothing takes a tick of it, so a row of slacks serves every tick.

    The slack grid's unit divides tick, work and start: no rounding anywhere.
    """

    def __init__(self, problem: ZoneProblem) -> None:
        import numpy as np

        self.problem = problem
        self.ticks = len(problem.spot[0])
        unit = gcd(problem.tick, gcd(problem.work, problem.start or problem.tick))
        self.tick = problem.tick // unit
        self.work = problem.work // unit
        self.start = problem.start // unit
        self.top = self.ticks * self.tick - self.work
        self.slack = np.arange(max(self.top, 0) + 1)
        # Overhead still pending when a tick begins, by ticks since the launch; 0 last.
        pending = [max(self.start - self.tick * age, 0) for age in range(1, self.ages() + 1)]
        self.pending = pending

    def ages(self) -> int:
        """How many ticks after a launch differ in pending overhead."""
        return max(1, -(-self.start // self.tick))

    def solve(self) -> float:
        import numpy as np

        if self.top < 0:
            return _NEVER
        size, last = len(self.slack), len(self.pending) - 1
        zones = range(len(self.problem.spot))
        idle = np.where(self.slack >= 0, 0.0, _NEVER)
        demand = [idle.copy() for _ in self.pending]
        spot = [[idle.copy() for _ in self.pending] for _ in zones]
        for tick in range(self.ticks - 1, -1, -1):
            left = (self.ticks - tick) * self.tick
            done = self.slack >= left
            price = [self.problem.spot[zone][tick] for zone in zones]
            free = np.minimum(
                self._less(idle, self.tick), self.problem.demand + self._less(demand[0], self.start)
            )
            for zone in zones:
                if price[zone] >= 0:
                    started = price[zone] + self._less(spot[zone][0], self.start)
                    free = np.minimum(free, started)
            new_demand, new_spot = [], [[] for _ in zones]  # type: ignore[var-annotated]
            for age, pending in enumerate(self.pending):
                leave = self._more(free, pending)
                older = min(age + 1, last)
                stay = self.problem.demand + demand[older]
                new_demand.append(np.where(done, 0.0, np.minimum(leave, stay)))
                for zone in zones:
                    best = leave
                    if price[zone] >= 0:
                        best = np.minimum(leave, price[zone] + spot[zone][older])
                    new_spot[zone].append(np.where(done, 0.0, best))
            idle, demand, spot = np.where(done, 0.0, free), new_demand, new_spot
        return float(idle[size - 1])

    def _less(self, costs: "Array", amount: int) -> "Array":
        """Costs at slack less an amount; impossible where that is negative."""
        import numpy as np

        if amount == 0:
            return costs
        moved = np.full_like(costs, _NEVER)
        if amount < len(costs):
            moved[amount:] = costs[:-amount]
        return moved

    def _more(self, costs: "Array", amount: int) -> "Array":
        """Costs at slack plus an amount given back; slack above the grid is none that can be
        met."""
        import numpy as np

        if amount == 0:
            return costs
        moved = np.full_like(costs, costs[-1])
        moved[:-amount] = costs[amount:]
        return moved


def micro_prices(usd_per_hour: Sequence[float], tick_seconds: float) -> tuple[int, ...]:
    """Prices of a tick [micro-USD] from hourly prices [USD], negative ones kept as "none"."""
    return tuple(
        -1 if rate < 0 else round(rate * tick_seconds / 3600 * 1_000_000) for rate in usd_per_hour
    )
