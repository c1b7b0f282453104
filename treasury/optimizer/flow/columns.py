"""Pricing: what each arc is worth once what it uses is paid for, over all arcs or a few of each
class.

The full pass gives the bound that certifies a plan, whatever the prices are: no plan can be worth
more than what the rows are worth at these prices and what each job gains on its best arc. The best
few arcs of each class are the columns that the price iterations and the solvers work on.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np

from treasury.optimizer.flow.arrays import Floats, Ints
from treasury.optimizer.flow.classes import Flow

# Arcs ranked at a time: bounds the temporary memory.
_CHUNK: Final = 1 << 20
# Arcs priced at a time: what is between stays in the processor's cache.
_BLOCK: Final = 1 << 17
# Classes of nearly the same number of arcs are ranked together, padded to the widest.
_STEP: Final = 1.25


@dataclass(frozen=True, slots=True)
class Prices:
    """Shadow prices [micro-USD/h per unit of each row]: a machine of a pool, one of a quota, a
    micro-USD of a cost centre, a place of a spread row, a job moved. All at least 0."""

    pool: Floats
    quota: Floats
    centre: Floats
    spread: Floats
    churn: float

    def machine(self, flow: Flow) -> Floats:
        """What a machine of each offer costs in pool and quota [offers]."""
        rows = flow.rows
        quota = np.append(self.quota, 0.0)[rows.quota_of]
        machine: Floats = self.pool + rows.weight * quota
        return machine

    def dollar(self, flow: Flow) -> Floats:
        """What a micro-USD of each cost centre costs at all levels up to its root, beside itself
        [centres + 1]; the last is "none", and costs nothing more."""
        if not len(self.centre):
            return np.zeros(1)
        levels = np.append(self.centre, 0.0)[flow.rows.above]
        return np.append(levels.sum(axis=1), 0.0)

    def worth_of_rows(self, flow: Flow) -> float:
        """What all rows together are worth: the constant of the bound [micro-USD/h]."""
        rows = flow.rows
        pairs = (
            (self.pool, rows.pool),
            (self.quota, rows.quota),
            (self.centre, rows.limit),
            (self.spread, rows.spread),
        )
        moves = self.churn * (rows.churn_limit - flow.running)
        return sum(float((price * limit).sum()) for price, limit in pairs) + moves


def nothing_scarce(flow: Flow) -> Prices:
    """Prices of 0."""
    rows = flow.rows
    return Prices(
        np.zeros(len(rows.pool)),
        np.zeros(len(rows.quota)),
        np.zeros(len(rows.limit)),
        np.zeros(len(rows.spread)),
        0.0,
    )


def reduced(flow: Flow, prices: Prices) -> Floats:
    """The reduced profit of one job on every arc [micro-USD/h], the price of churn credited to the
    arcs on which classes stay."""
    machine, committed = prices.machine(flow), flow.rows.committed.astype(np.float64)
    dollar = prices.dollar(flow)[flow.classes.centre]
    out = np.empty(len(flow.net))
    size = min(len(out), _BLOCK)
    costs, others = np.empty(size), np.empty(size)
    for first in range(0, len(out), _BLOCK):
        part = slice(first, first + _BLOCK)
        offer, units = flow.offer[part], flow.units[part]
        cost, other = costs[: len(offer)], others[: len(offer)]
        np.take(dollar, flow.owner[part], out=other, mode="clip")
        if flow.spend is None:
            # What flow.burn says, with one product less over all arcs.
            np.take(committed, offer, out=cost, mode="clip")
            cost *= other
            np.take(machine, offer, out=other, mode="clip")
            cost += other
            cost *= units
        else:
            other *= flow.spend[part]
            np.take(machine, offer, out=cost, mode="clip")
            cost *= units
            cost += other
        np.subtract(flow.net[part], cost, out=out[part])
    out[flow.spread_arc] -= prices.spread[flow.spread_of]
    stays = flow.stay[flow.stay >= 0]
    out[stays] += prices.churn
    return out


def best_of_class(flow: Flow, score: Floats) -> Floats:
    """The best score of each class, 0 where nothing is better than waiting [classes]."""
    best = np.zeros(len(flow.classes))
    live = np.flatnonzero(np.diff(flow.start))
    if len(live):
        best[live] = np.maximum(0.0, np.maximum.reduceat(score, flow.start[live]))
    return best


def bound_of(flow: Flow, prices: Prices, score: Floats) -> float:
    """The Lagrangian value of the prices: no plan is worth more [micro-USD/h]."""
    gain = float((best_of_class(flow, score) * flow.classes.copies).sum())
    return gain + prices.worth_of_rows(flow)


class Ranking:
    """Finds the best arcs of every class; made once for a flow.

    Classes are sorted into buckets of nearly the same number of arcs, so that each bucket is ranked
    as one padded table.
    """

    def __init__(self, flow: Flow) -> None:
        self.flow = flow
        counts = np.diff(flow.start)
        order = np.argsort(counts, kind="stable")
        order = order[counts[order] > 0]
        self._buckets: list[Ints] = []
        while len(order):
            most = max(32.0, counts[order[0]] * _STEP)
            size = int(np.searchsorted(counts[order], most, side="right"))
            self._buckets.append(order[:size])
            order = order[size:]

    def best(self, score: Floats, width: int) -> Ints:
        """The `width` arcs of each class with the highest scores, in order of arcs; -1 pads
        [classes, width]."""
        flow = self.flow
        out = np.full((len(flow.classes), width), -1, dtype=np.int64)
        for bucket in self._buckets:
            start, count = flow.start[bucket], flow.start[bucket + 1] - flow.start[bucket]
            most = int(count.max())
            at = np.arange(most)
            step = max(1, _CHUNK // most)
            for first in range(0, len(bucket), step):
                some = slice(first, first + step)
                arcs = start[some, None] + at
                inside = at < count[some, None]
                if most <= width:
                    out[bucket[some], :most] = np.where(inside, arcs, -1)
                    continue
                value = np.where(inside, score[np.where(inside, arcs, 0)], -np.inf)
                pick = np.argpartition(value, most - width, axis=1)[:, -width:]
                pick.sort(axis=1)
                chosen = np.take_along_axis(arcs, pick, axis=1)
                chosen[~np.take_along_axis(inside, pick, axis=1)] = -1
                out[bucket[some]] = chosen
        return out
