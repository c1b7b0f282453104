"""The price engine: shadow prices of every row by decomposition over classes.

Given prices, each class takes its best arc; what there is, less what all of them use, is a
subgradient of the bound. Prices follow it scaled row by row, with momentum and a Polyak step
towards a level below the best bound; the level comes closer when nothing is gained. A working set
of a few arcs of each class keeps an iteration small; full passes over all arcs add the arcs that
new prices make worthwhile, often at first and rarely later, and give the only bound that counts.
Everything is deterministic: no dice, no clock, one thread (sums are numpy's own, never BLAS's).
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from treasury.optimizer.flow.arrays import Bools, Floats, Ints
from treasury.optimizer.flow.classes import Flow
from treasury.optimizer.flow.columns import Prices, Ranking, bound_of, nothing_scarce, reduced
from treasury.optimizer.flow.table import RowVector, Table

# Arcs of each class that a full pass adds to the working set, and the most it may hold.
NEW_ARCS: Final = 24
WIDTH: Final = 48
# Measured on generated fleets of 1,000 to 100,000 jobs: the bound falls fastest with these.
_MOMENTUM: Final = 0.8
_MEMORY: Final = 0.95
_PATIENCE: Final = 20
# Iterations whose best responses count as recent.
_RECENT: Final = 200
# A price moves in proportion to itself, and as if it were at least this share of its unit.
_FLOOR: Final = 0.3


@dataclass(frozen=True, slots=True)
class Effort:
    """How much work prices are worth: iterations between full passes, how far below the best bound
    the first level lies (as its share), and the relative gain of a pass below which to stop."""

    schedule: tuple[int, ...] = (10, 20, 40, 80, 120, 120)
    level: float = 0.2
    enough: float = 2e-4


# From this many classes on, more passes: each class has so many arcs that working sets go stale.
MANY: Final = 8_000
MANY_EFFORT: Final = Effort((10, 15, 20, 30, 45, 70, 100, 100))
# When jobs came and went, and when nothing but prices changed.
AGAIN: Final = Effort((20, 40, 60), 0.01)
WARM: Final = Effort((20,), 0.003)


@dataclass(frozen=True, slots=True)
class Priced:
    """Prices with their bound [micro-USD/h], each arc's reduced profit, the working set: the best
    arcs of each class [classes, width], -1 pads, and which arcs were best responses lately."""

    prices: Prices
    bound: float
    score: Floats
    columns: Ints
    support: Bools
    average: Floats


class PriceEngine:
    """Prices for one flow, cold or from those of the last."""

    def __init__(self, flow: Flow) -> None:
        self.flow = flow
        self.rows = RowVector(flow)
        self.ranking = Ranking(flow)

    def assess(self, prices: Prices, known: Ints | None = None) -> Priced:
        """One full pass: the bound of these prices, and the working set they ask for. known:
        columns to keep as long as they are not hopeless."""
        flow = self.flow
        score = reduced(flow, prices)
        columns = self.ranking.best(score, NEW_ARCS)
        if known is not None:
            columns = _merged(columns, known, score)
        columns = with_stay(flow, columns)
        bound = bound_of(flow, prices, score)
        support = np.zeros(len(score), dtype=np.bool_)
        return Priced(prices, bound, score, columns, support, np.zeros(0))

    def resume(self, prices: Prices, columns: Ints, bound: float) -> Priced:
        """Prices and working set of a former problem, about as good here as there: a start without
        a full pass. `bound` only sets the scale of the first steps."""
        none = np.zeros(0)
        support = np.zeros(0, dtype=np.bool_)
        return Priced(prices, bound, none, columns, support, none)

    def solve(
        self,
        feasible: int,
        effort: Effort,
        start: Priced | None = None,
        stop: Callable[[], bool] | None = None,
    ) -> Priced:
        """Prices whose bound is as low as the effort allows.

        feasible: the worth of a plan that is known [micro-USD/h]; no bound is below it. start: full
        pass at the prices to start from. stop: asked between passes, for a deadline.
        """
        best = start if start is not None else self.assess(nothing_scarce(self.flow))
        # What was not priced in full here bounds nothing here.
        proven = len(best.score) == len(self.flow.net)
        descent = _Descent(self.rows, best, float(feasible), effort.level)
        columns, passes = best.columns, len(effort.schedule)
        for number, iterations in enumerate(effort.schedule):
            vector = descent.run(Table(self.flow, columns), iterations)
            priced = self.assess(self.rows.prices(vector), columns)
            columns = priced.columns
            gain = best.bound - priced.bound if proven else np.inf
            best, proven = (priced if gain > 0 else best), True
            # A bound that rose is no sign of the end: arcs were missing that now are there.
            settled = number > passes // 2 and 0 <= gain <= effort.enough * abs(best.bound)
            if settled or (stop and stop()):
                break
        return replace(best, columns=columns, support=descent.support(), average=descent.average())


class _Descent:
    """A run of iterations: prices, the memory of their gradients, and the level aimed at.

    Prices are kept in units of their rows, so that rows of machines, of dollars and of places move
    alike.
    """

    def __init__(self, rows: RowVector, start: Priced, feasible: float, level: float) -> None:
        self.rows, self.feasible = rows, feasible
        self.price = rows.vector(start.prices) / rows.unit
        self.limit = rows.limit * rows.unit
        self.most = rows.most / rows.unit
        self.square = np.zeros_like(self.price)
        self.momentum = np.zeros_like(self.price)
        self.below = level * abs(start.bound)
        self.iteration = 0
        self.used = np.zeros(len(rows.flow.net), dtype=np.int32)
        self.total = np.zeros(len(rows.flow.net))
        self.summed = 0

    def support(self) -> Bools:
        """The arcs that were best responses lately: what averages of responses, which approach the
        relaxation, are made of."""
        recent: Bools = self.used > max(0, self.iteration - _RECENT)
        return recent

    def average(self) -> Floats:
        """The average response of the last run [arcs]."""
        return self.total / max(1, self.summed)

    def run(self, table: Table, iterations: int) -> Floats:
        """So many iterations on a working set; the prices of the lowest bound seen on it."""
        rows, price = self.rows, self.price
        self.total[:] = 0.0
        self.summed = iterations
        lowest = reference = np.inf
        best, idle = price.copy(), 0
        slope, step = np.empty_like(price), np.empty_like(price)
        for _ in range(iterations):
            gain, at, jobs = table.respond(rows.prices(price * rows.unit))
            self.iteration += 1
            some = jobs > 0
            arcs = table.arcs[at[some]]
            self.used[arcs] = self.iteration
            self.total[arcs] += jobs[some]
            bound = float((gain * jobs).sum() + (price * self.limit).sum())
            if bound < lowest:
                lowest = bound
                best[:] = price
            idle += 1
            if bound < reference - 0.25 * self.below:
                reference, idle = bound, 0
            elif idle >= _PATIENCE:
                self.below *= 0.5
                reference, idle = lowest, 0
            np.subtract(rows.limit, rows.use(table, at, jobs), out=slope)
            slope *= rows.unit
            # A price of 0 cannot fall: its row takes no part in the step.
            slope[(price <= 0) & (slope > 0)] = 0.0
            self._remember(slope)
            np.sqrt(self.square, out=step)
            step += 1e-9
            np.divide(price + _FLOOR, step, out=step)
            power = float((step * slope * slope).sum())
            if power <= 0:
                break
            level = max(self.feasible, lowest - self.below)
            step *= self.momentum
            step *= (bound - level) / power
            price -= step
            np.clip(price, 0.0, self.most, out=price)
        return best * rows.unit

    def _remember(self, slope: Floats) -> None:
        if self.iteration == 1:
            self.square[:] = slope * slope
        else:
            self.square *= _MEMORY
            self.square += (1 - _MEMORY) * slope * slope
        self.momentum *= _MOMENTUM
        self.momentum += (1 - _MOMENTUM) * slope


def _merged(new: Ints, known: Ints, score: Floats) -> Ints:
    """New columns and known ones, each once; past the width the worst go."""
    # One place more: the padding, which index -1 finds.
    seen = np.zeros(len(score) + 1, dtype=np.bool_)
    seen[new] = True
    seen[-1] = True
    both = np.concatenate((new, np.where(seen[known], -1, known)), axis=1)
    if both.shape[1] <= WIDTH:
        return both
    value = np.where(both >= 0, np.append(score, 0.0)[both], -np.inf)
    pick = np.argpartition(value, both.shape[1] - WIDTH, axis=1)[:, -WIDTH:]
    pick.sort(axis=1)
    return np.take_along_axis(both, pick, axis=1)


def with_stay(flow: Flow, columns: Ints) -> Ints:
    """The columns with each running class's present arc among them, in place of the last."""
    held = np.flatnonzero(flow.stay >= 0)
    missing = held[~(columns[held] == flow.stay[held][:, None]).any(axis=1)]
    columns[missing, -1] = flow.stay[missing]
    return columns
