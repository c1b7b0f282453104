"""Integers: what is left of every row, and filling it class by class in one vectorised sweep.

A sweep lets each class with jobs left take its best arc that still fits, then grants as much of
each wish as fits beside all wishes that rank before it, in every row at once. Whatever is granted
is feasible; what was not is asked for again. No job is looked at on its own.
"""

from typing import Final

import numpy as np

from treasury.optimizer.flow.arrays import Bools, Floats, Ints
from treasury.optimizer.flow.classes import Flow
from treasury.optimizer.flow.columns import Ranking, nothing_scarce, reduced

_WIDTH: Final = 24
# What an arc must earn on each dollar of scarcity it uses, step by step: what pays goes first.
_LEVELS: Final = (1.0, 0.98, 0.95, 0.9, 0.8, 0.6, 0.0)
# More than any fleet has of anything, and exact as a float with a half added.
_EXACT: Final = 2**51
# Sweeps end by themselves once nothing is granted; this bounds them all the same.
_SWEEPS: Final = 400


class Residual:
    """What a plan leaves of every row. counts: jobs on each arc [arcs]. All integers."""

    __slots__ = ("centre", "counts", "flow", "left", "pool", "quota", "spread", "spread_at")

    def __init__(self, flow: Flow) -> None:
        rows = flow.rows
        self.flow = flow
        self.counts = np.zeros(len(flow.net), dtype=np.int64)
        self.left = flow.classes.copies.copy()
        self.pool, self.quota = rows.pool.copy(), np.append(rows.quota, 2**62)
        # One place more in each table: the row "none", which index -1 finds.
        self.centre = np.append(rows.limit, 2**62)
        self.spread = np.append(rows.spread, 2**62)
        self.spread_at = spread_rows(flow)

    def copy(self) -> "Residual":
        """Another of the same content."""
        other = Residual.__new__(Residual)
        other.flow, other.spread_at = self.flow, self.spread_at
        for name in ("counts", "left", "pool", "quota", "centre", "spread"):
            setattr(other, name, getattr(self, name).copy())
        return other

    def take(self, arcs: Ints, counts: Ints) -> None:
        """Put so many jobs more (fewer, if negative) on these arcs, each at most once."""
        flow, rows = self.flow, self.flow.rows
        owner, offer = flow.owner[arcs], flow.offer[arcs]
        machines = counts * flow.units[arcs]
        self.counts[arcs] += counts
        np.subtract.at(self.left, owner, counts)
        np.subtract.at(self.pool, offer, machines)
        np.subtract.at(self.quota, rows.quota_of[offer], machines * rows.weight[offer])
        self.quota[-1] = 2**62
        burn = counts * flow.burn(arcs)
        if len(rows.limit):
            above = np.append(rows.above, np.full((1, rows.above.shape[1]), -1), axis=0)
            for level in above[flow.classes.centre[owner]].T:
                np.subtract.at(self.centre, level, burn)
            self.centre[-1] = 2**62
        if len(rows.spread):
            np.subtract.at(self.spread, self.spread_at[arcs], counts)
            self.spread[-1] = 2**62

    def purse(self) -> Ints:
        """What each cost centre may still burn, all levels above included [centres + 1]."""
        if len(self.centre) == 1:
            return self.centre
        return np.append(self.centre[self.flow.rows.above].min(axis=1), 2**62)

    def open(self) -> Bools:
        """The arcs on which one more job of their class fits, alone [arcs]."""
        flow, rows = self.flow, self.flow.rows
        room = self.pool.copy()
        limited = (rows.quota_of >= 0) & (rows.weight > 0)
        quota = self.quota[rows.quota_of[limited]] // rows.weight[limited]
        room[limited] = np.minimum(room[limited], quota)
        fits: Bools = flow.units <= room[flow.offer]
        fits &= self.left[flow.owner] > 0
        purse = self.purse()[flow.classes.centre]
        fits &= flow.burn(slice(None)) <= purse[flow.owner]
        if len(self.spread_at):
            fits &= self.spread[self.spread_at] > 0
        return fits

    def holds(self) -> bool:
        """Whether no row is overrun."""
        parts = (self.left, self.pool, self.quota, self.centre, self.spread, self.counts)
        return all(int(part.min(initial=0)) >= 0 for part in parts)

    def value(self) -> int:
        """Worth of the plan [micro-USD/h], less the price of churn beyond its limit."""
        flow = self.flow
        used = np.flatnonzero(self.counts)
        worth = int((flow.net[used] * self.counts[used]).sum())
        excess = self.moved() - flow.rows.churn_limit
        return worth - max(0, excess) * flow.rows.churn_price

    def moved(self) -> int:
        """Running jobs that are moved or stopped."""
        stays = self.flow.stay[self.flow.stay >= 0]
        return self.flow.running - int(self.counts[stays].sum())


def spread_rows(flow: Flow) -> Ints:
    """The spread row of each arc, -1 for none; empty where there are no spread rows."""
    if not len(flow.rows.spread):
        return np.zeros(0, dtype=np.int64)
    rows = np.full(len(flow.net), -1, dtype=np.int64)
    rows[flow.spread_arc] = flow.spread_of
    return rows


def fill(
    flow: Flow,
    residual: Residual,
    ranking: Ranking,
    score: Floats | None = None,
    *,
    columns: Ints | None = None,
    rankings: int = 12,
) -> None:
    """Add to a plan until nothing more that pays fits.

    score: reduced profits, by which arcs are ranked; without, by worth per dollar. columns: arcs to
    consider first [classes, width]. rankings: passes over all arcs at most; those after the first
    find little.
    """
    priced = score is not None
    if score is None:
        score = reduced(flow, nothing_scarce(flow))
    if columns is not None:
        _Filling(flow, residual, score, columns, priced=priced).run()
    if not rankings:
        return
    rank = score if priced else score / np.maximum(1, flow.burn(slice(None)))
    for _ in range(rankings):
        # The best arcs may be full while others are not: rank again among those that still fit.
        open_ = np.where(residual.open() & (score > 0), rank, -np.inf)
        best = ranking.best(open_, _WIDTH)
        best[np.append(open_, -np.inf)[best] == -np.inf] = -1
        if not _Filling(flow, residual, score, best, priced=priced).run():
            return


class _Filling:
    """One filling in progress: what the sweeps share."""

    def __init__(
        self,
        flow: Flow,
        residual: Residual,
        score: Floats,
        columns: Ints,
        *,
        priced: bool,
    ) -> None:
        self.flow, self.residual = flow, residual
        active = np.flatnonzero((residual.left > 0) & (columns >= 0).any(axis=1))
        table = columns[active]
        self.active, self.table = active, table
        self.real = table >= 0
        safe = np.where(self.real, table, 0)
        self.offer = flow.offer[safe].astype(np.int64)
        self.units = np.maximum(1.0, flow.units[safe])
        # What burns nothing fits whatever is left, be it nothing.
        self.burn = np.maximum(1e-9, flow.burn(safe))
        net = flow.net[safe]
        # The churn price is no worth of the arc, but a reason to take it.
        stay = self.table == flow.stay[active][:, None]
        gain = np.where(self.real, score[safe], -np.inf)
        # Unpriced: what a dollar earns. Priced: what is left after paying for what is scarce, and
        # among those that pay, most per dollar of scarcity.
        cost = (
            np.maximum(1.0, net - np.where(self.real, gain, 0.0))
            if priced
            else np.maximum(1.0, self.burn)
        )
        self.prefer = np.where(self.real, gain if priced else net / cost, -np.inf)
        self.key = np.where(self.real, (net + np.where(stay, gain - net, 0.0)) / cost, -np.inf)
        self.prefer[net <= 0] = np.where(stay[net <= 0], self.prefer[net <= 0], -np.inf)

    def run(self) -> bool:
        """Sweep until nothing is granted; whether anything was."""
        before = int(self.residual.left.sum())
        for level in _LEVELS:
            for _ in range(_SWEEPS):
                if not len(self.active) or not self._sweep(level):
                    break
        return int(self.residual.left.sum()) < before

    def _sweep(self, level: float) -> bool:
        flow, residual = self.flow, self.residual
        classes = self.active
        most = self._fits()
        value = np.where((most > 0) & (self.key >= level), self.prefer, -np.inf)
        at = value.argmax(axis=1)
        line = np.arange(len(classes))
        line = np.flatnonzero(value[line, at] > -np.inf)
        if not len(line):
            return False
        at = at[line]
        wish = np.minimum(most[line, at], residual.left[classes[line]])
        arcs = self.table[line, at]
        order = np.argsort(-self.key[line, at], kind="stable")
        arcs, wish = arcs[order], wish[order]
        granted = grant(flow, residual, arcs, wish)
        some = granted > 0
        residual.take(arcs[some], granted[some])
        self._keep(residual.left[self.active] > 0)
        return bool(some.any())

    def _fits(self) -> Ints:
        """Jobs of each class that fit on each of its arcs beside the plan, alone."""
        residual, rows = self.residual, self.flow.rows
        room = residual.pool.copy()
        limited = (rows.quota_of >= 0) & (rows.weight > 0)
        room[limited] = np.minimum(
            room[limited], residual.quota[rows.quota_of[limited]] // rows.weight[limited]
        )
        purse = residual.purse()[self.flow.classes.centre[self.active]]
        # Divided as floats: several times as fast, and below 2^52 rounded down as exactly.
        fits = np.take(np.minimum(room, _EXACT).astype(np.float64), self.offer) / self.units
        afford = (np.minimum(purse, _EXACT) + 0.5)[:, None] / self.burn
        fits = np.minimum(fits, afford).astype(np.int64)
        if len(residual.spread_at):
            fits = np.minimum(fits, residual.spread[residual.spread_at[self.table]])
        return np.where(self.real, fits, 0)

    def _keep(self, which: Bools) -> None:
        if which.all():
            return
        for name in ("active", "table", "real", "offer", "units", "burn", "prefer", "key"):
            setattr(self, name, getattr(self, name)[which])


def grant(flow: Flow, residual: Residual, arcs: Ints, wish: Ints) -> Ints:
    """How much of each wish fits beside all wishes before it, in every row."""
    rows = flow.rows
    offer, owner = flow.offer[arcs].astype(np.int64), flow.owner[arcs]
    units = flow.units[arcs].astype(np.int64)
    granted = _share(offer, residual.pool, units, wish)
    quota = rows.quota_of[offer]
    granted = np.minimum(granted, _share(quota, residual.quota, units * rows.weight[offer], wish))
    if len(rows.limit):
        burn = flow.burn(arcs)
        above = np.append(rows.above, np.full((1, rows.above.shape[1]), -1), axis=0)
        levels = above[flow.classes.centre[owner]]
        # All levels at once: a centre pays for its own jobs and for those below it.
        depth = levels.shape[1]
        share = _share(
            levels.reshape(-1), residual.centre, np.repeat(burn, depth), np.repeat(wish, depth)
        )
        granted = np.minimum(granted, share.reshape(-1, depth).min(axis=1))
    if len(residual.spread_at):
        ones = np.ones(len(arcs), dtype=np.int64)
        at = residual.spread_at[arcs]
        granted = np.minimum(granted, _share(at, residual.spread, ones, wish))
    return granted


def _share(row: Ints, room: Ints, use: Ints, wish: Ints) -> Ints:
    """For one kind of row: how many of each wish fit after all before it took theirs whole."""
    order = np.argsort(row, kind="stable")
    ranked = row[order]
    taken = use[order] * wish[order]
    total = np.cumsum(taken)
    first = np.ones(len(ranked), dtype=np.bool_)
    first[1:] = ranked[1:] != ranked[:-1]
    before = total - taken
    base = before[np.flatnonzero(first)][np.cumsum(first) - 1]
    left = np.maximum(0, room[ranked] - (before - base))
    fits = np.where(use[order] > 0, left // np.maximum(1, use[order]), wish[order])
    out = np.empty(len(row), dtype=np.int64)
    out[order] = np.where(ranked < 0, wish[order], np.minimum(fits, wish[order]))
    return out


def place(flow: Flow, counts: Ints) -> Ints:
    """The offer of each job, -1 for none [jobs]. Within a class the first in queue order are
    placed, on its arcs in order."""
    used = np.flatnonzero(counts)
    offers = np.repeat(flow.offer[used].astype(np.int64), counts[used])
    owner = np.repeat(flow.owner[used], counts[used])
    out = np.full(len(flow.classes.of_job), -1, dtype=np.int64)
    order = np.argsort(flow.classes.of_job, kind="stable")
    first = np.concatenate(([0], np.cumsum(flow.classes.copies)))
    rank = np.arange(len(owner)) - np.searchsorted(owner, owner, side="left")
    out[order[first[owner] + rank]] = offers
    return out
