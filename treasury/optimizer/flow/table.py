"""The working set as padded tables, the best response of every class on it, and what that uses."""

from typing import Final

import numpy as np

from treasury.optimizer.flow.arrays import Bools, Floats, Ints
from treasury.optimizer.flow.classes import Flow
from treasury.optimizer.flow.columns import Prices

# Arcs of which the typical worth of a job is taken.
_SAMPLE: Final = 20_000


class Table:
    """A few arcs of each class; classes without any are left out."""

    def __init__(self, flow: Flow, columns: Ints) -> None:
        live = np.flatnonzero((columns >= 0).any(axis=1))
        table = columns[live]
        real = table >= 0
        safe = np.where(real, table, 0)
        self.flow, self.live = flow, live
        self.arcs = table.reshape(-1)
        self.first = np.arange(len(live)) * columns.shape[1]
        # Half words: iterations need no more, and the bound comes from the full pass.
        self.offer = flow.offer[safe]
        self.units = flow.units[safe].astype(np.float32)
        self.burn = flow.burn(safe).astype(np.float32)
        self.net = np.where(real, flow.net[safe], -np.inf).astype(np.float32)
        self.centre = flow.classes.centre[live]
        self.copies = flow.classes.copies[live].astype(np.float64)
        stays = real & (table == flow.stay[live][:, None])
        self.stay_at = np.flatnonzero(stays)
        self.stays = stays.reshape(-1)
        self.spread_row = _spread_rows(flow, safe.reshape(-1), real.reshape(-1))
        self.spread_at = np.flatnonzero(self.spread_row >= 0)
        self.spread_of = self.spread_row[self.spread_at]
        self._score = np.empty_like(self.net)
        self._cost = np.empty_like(self.net)

    def respond(self, prices: Prices) -> tuple[Floats, Ints, Floats]:
        """For each class: the gain of one job, the flat place of its best arc, the jobs on it."""
        flow, score, cost = self.flow, self._score, self._cost
        machine = prices.machine(flow).astype(np.float32)
        np.take(machine, self.offer, out=score, mode="clip")
        score *= self.units
        np.subtract(self.net, score, out=score)
        dollar = prices.dollar(flow)[self.centre].astype(np.float32)
        np.multiply(self.burn, dollar[:, None], out=cost)
        score -= cost
        flat = score.reshape(-1)
        flat[self.spread_at] -= prices.spread.astype(np.float32)[self.spread_of]
        flat[self.stay_at] += np.float32(prices.churn)
        at = score.argmax(axis=1) + self.first
        gain = flat[at].astype(np.float64)
        return gain, at, np.where(gain > 0, self.copies, 0.0)


def _spread_rows(flow: Flow, arcs: Ints, real: Bools) -> Ints:
    """The spread row of each arc, -1 for none."""
    rows = np.full(len(arcs), -1, dtype=np.int64)
    if len(flow.spread_arc):
        at = np.minimum(np.searchsorted(flow.spread_arc, arcs), len(flow.spread_arc) - 1)
        hit = (flow.spread_arc[at] == arcs) & real
        rows[hit] = flow.spread_of[at[hit]]
    return rows


class RowVector:
    """All rows as one vector: pools, quotas, cost centres, spread, churn.

    limit: what there is. unit: what one unit of each row is roughly worth, so that prices can be
    moved alike. most: upper limits of prices: churn costs no more than its penalty.
    """

    def __init__(self, flow: Flow) -> None:
        rows = flow.rows
        self.flow = flow
        sizes = (len(rows.pool), len(rows.quota), len(rows.limit), len(rows.spread), 1)
        self.cut = np.cumsum(sizes)[:-1]
        self.limit = np.concatenate(
            (rows.pool, rows.quota, rows.limit, rows.spread, [rows.churn_limit - flow.running])
        ).astype(np.float64)
        self.unit = _units(flow)
        self.most = np.full(len(self.limit), np.inf)
        self.most[-1] = float(rows.churn_price) if flow.running else 0.0
        # One place more: the row "none", which index -1 finds.
        self.paths = np.append(rows.above, np.full((1, rows.above.shape[1]), -1), axis=0)
        self.paths %= len(rows.limit) + 1

    def prices(self, vector: Floats) -> Prices:
        """A vector as prices; the parts are views."""
        pool, quota, centre, spread, churn = np.split(vector, self.cut)
        return Prices(pool, quota, centre, spread, float(churn[0]))

    def vector(self, prices: Prices) -> Floats:
        """Prices as a vector."""
        return np.concatenate(
            (prices.pool, prices.quota, prices.centre, prices.spread, [prices.churn])
        )

    def use(self, table: Table, at: Ints, jobs: Floats) -> Floats:
        """What jobs on these places of a table use of every row."""
        rows = self.flow.rows
        centres = len(rows.limit) + 1
        offer = table.offer.reshape(-1)[at]
        pool = np.bincount(offer, jobs * table.units.reshape(-1)[at], len(rows.pool))
        quota = np.bincount(rows.quota_of + 1, pool * rows.weight, len(rows.quota) + 1)[1:]
        burn = np.bincount(table.centre % centres, jobs * table.burn.reshape(-1)[at], centres)
        centre = np.zeros(centres)
        for level in self.paths.T:
            centre += np.bincount(level, burn, centres)
        spread = np.bincount(table.spread_row[at] + 1, jobs, len(rows.spread) + 1)[1:]
        stays = jobs[table.stays[at]].sum()
        return np.concatenate((pool, quota, centre[:-1], spread, [-stays]))


def _units(flow: Flow) -> Floats:
    rows = flow.rows
    pool = np.maximum(1.0, rows.committed.astype(np.float64))
    has = (rows.quota_of >= 0) & (rows.weight > 0)
    weighed = np.bincount(rows.quota_of[has], pool[has] / rows.weight[has], len(rows.quota))
    quota = weighed / np.maximum(1, np.bincount(rows.quota_of[has], minlength=len(rows.quota)))
    # A sample will do: this is only a scale.
    gains = flow.net[:: max(1, len(flow.net) // _SAMPLE)]
    gains = gains[gains > 0]
    typical = max(1.0, float(np.median(gains))) if len(gains) else 1.0
    return np.concatenate((
        pool,
        np.maximum(1.0, quota),
        np.ones(len(rows.limit)),
        np.full(len(rows.spread) + 1, typical),
    ))  # fmt: skip
