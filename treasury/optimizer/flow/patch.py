"""From one problem to the next: new prices on some offers without making the rest again, and a plan
carried over."""

from dataclasses import fields, replace
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from treasury.optimizer.flow.arrays import AMPLE, Floats, Instance, Ints, Small, check
from treasury.optimizer.flow.classes import Flow, arcs_on, divisible, with_spread
from treasury.optimizer.flow.columns import Prices
from treasury.optimizer.flow.fill import Residual
from treasury.optimizer.flow.prices import Priced
from treasury.optimizer.flow.rounding import settle

T = TypeVar("T", np.int32, np.int64)


def only_prices_changed(old: Instance, new: Instance) -> Ints | None:
    """The offers whose rates, commitments or hazards differ, if nothing else does; else None."""
    same_tables = (
        (old.jobs, new.jobs),
        (old.kinds, new.kinds),
        (old.rules, new.rules),
    )
    for one, other in same_tables:
        if one is not other and not all(
            np.array_equal(getattr(one, field.name), getattr(other, field.name))
            for field in fields(one)
        ):
            return None
    if len(old.offers) != len(new.offers):
        return None
    changed = np.zeros(len(new.offers), dtype=np.bool_)
    for field in fields(new.offers):
        differs = getattr(old.offers, field.name) != getattr(new.offers, field.name)
        if field.name in {"rate", "committed", "hazard"}:
            changed |= differs
        elif differs.any():
            return None
    return np.flatnonzero(changed)


def repriced(flow: Flow, instance: Instance, changed: Ints) -> tuple[Flow, Ints]:
    """The flow of an instance that differs in the prices of these offers, and for each old arc its
    new number, -1 where it is gone [arcs]."""
    check(instance)
    whole = np.minimum(instance.offers.capacity, AMPLE)
    pool = flow.rows.pool.copy()
    pool[changed] = whole[changed]
    rows = replace(flow.rows, committed=instance.offers.committed, pool=pool)
    touched = np.zeros(len(instance.offers), dtype=np.bool_)
    touched[changed] = True
    hit = np.take(touched, flow.offer, mode="clip")
    kept, gone = np.flatnonzero(~hit), np.flatnonzero(hit)
    owner, offer, net, units = arcs_on(instance, flow.classes, rows, changed)
    # What gangs can fill may have changed with the arcs.
    pool[changed] = divisible(whole, offer, units)[changed]
    before = place_of(flow, owner, offer)
    at = before - np.searchsorted(gone, before) + np.arange(len(before))
    total = len(kept) + len(at)
    stays = np.ones(total, dtype=np.bool_)
    stays[at] = False
    number = np.full(len(flow.net), -1, dtype=np.int64)
    number[kept] = np.flatnonzero(stays)
    source = np.zeros(total, dtype=np.int64)
    source[number[kept]] = kept

    def merged(old: NDArray[T], new: NDArray[T]) -> NDArray[T]:
        if not len(old):
            return new
        out: NDArray[T] = np.take(old, source, mode="clip")
        out[at] = new
        return out

    # An arc that is there again keeps its identity.
    again = before < flow.start[owner + 1]
    again[again] = flow.offer[before[again]] == offer[again]
    number[before[again]] = at[again]
    owner_ = merged(flow.owner, owner)
    # In the type of what is searched, which would be copied otherwise.
    ends = np.arange(len(flow.classes) + 1, dtype=owner_.dtype)
    start = np.searchsorted(owner_, ends).astype(np.int64)
    stay = np.where(flow.stay >= 0, number[flow.stay], -1)
    made = replace(
        flow,
        instance=instance,
        rows=rows,
        start=start,
        owner=owner_,
        offer=merged(flow.offer, offer),
        net=merged(flow.net, net),
        units=merged(flow.units, units),
        stay=stay,
    )
    return with_spread(made), number


def place_of(flow: Flow, owner: Small, offer: Small) -> Ints:
    """Where arcs are or would be: all classes are searched at once, each by halving."""
    low, high = flow.start[owner], flow.start[owner + 1]
    open_ = low < high
    while open_.any():
        middle = (low + high) // 2
        less = open_ & (flow.offer[np.where(open_, middle, 0)] < offer)
        low = np.where(less, middle + 1, low)
        high = np.where(open_ & ~less, middle, high)
        open_ = low < high
    return low


def carried(flow: Flow, counts: Ints, priced: Priced) -> Residual:
    """A plan of the same arcs, as far as it still fits; what earns nothing any more goes."""
    plan = Residual(flow)
    arcs = np.flatnonzero(counts)
    arcs = arcs[flow.net[arcs] > 0]
    settle(flow, plan, priced, arcs, counts[arcs])
    return plan


def same_rows(old: Flow, flow: Flow, prices: Prices) -> Prices:
    """Prices of one flow for the rows of another: those of pools, quotas and cost centres where
    there are as many, those of spread rows by group and zone; others start from 0."""
    rows = flow.rows

    def fitted(price: Floats, size: int) -> Floats:
        return price if len(price) == size else np.zeros(size)

    spread = np.zeros(len(rows.spread))
    names = old.rows.spread_name
    if len(names) and len(spread):
        at = np.minimum(np.searchsorted(names, rows.spread_name), len(names) - 1)
        known = names[at] == rows.spread_name
        spread[known] = prices.spread[at[known]]
    return Prices(
        fitted(prices.pool, len(rows.pool)),
        fitted(prices.quota, len(rows.quota)),
        fitted(prices.centre, len(rows.limit)),
        spread,
        min(prices.churn, float(rows.churn_price)),
    )
