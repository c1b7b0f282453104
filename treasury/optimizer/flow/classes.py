"""The problem: classes of identical jobs, arcs to the offers that may serve them, and rows.

A class is a set of jobs alike in everything that counts, its present offer included. An arc says
what one job of a class is worth on an offer, net of every expected cost. Rows are what is scarce:
pools, quotas, cost centres, spread, churn. Arcs lie class by class, in order of offers.
"""

from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from treasury.optimizer.flow.arrays import (
    AMPLE,
    HOUR_S,
    SPEED_UNIT,
    Bools,
    Instance,
    Ints,
    Small,
    check,
)

# Classes whose arcs are made at a time: bounds the temporary memory, not the result.
_CHUNK: Final = 128
_PPM: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class Classes:
    """Jobs that are alike. Shapes [classes], except of_job [jobs]."""

    copies: Ints
    kind: Ints
    value: Ints
    restart: Ints
    interval: Ints
    home: Ints
    transfer: Ints
    centre: Ints
    group: Ints
    incumbent: Ints
    of_job: Ints

    def __len__(self) -> int:
        return len(self.copies)


@dataclass(frozen=True, slots=True)
class Rows:
    """What is scarce. Limits are per pool [machines], quota, cost centre [micro-USD/h], spread row
    [jobs]; spread_name tells group and zone. above: each cost centre, its parent, and so on up
    [centres, depth], -1 past the root.
    """

    pool: Ints
    quota: Ints
    quota_of: Ints
    weight: Ints
    limit: Ints
    above: Ints
    committed: Ints
    spread: Ints
    spread_name: Ints
    churn_limit: int
    churn_price: int


@dataclass(frozen=True, slots=True)
class Flow:
    """The problem in integers.

    start: where each class's arcs begin [classes + 1]. offer, net, units: the arcs: offer, worth
    of one job [micro-USD/h], machines of one job. owner: the class of each arc. stay: the arc on
    which a class runs now, -1. spread_arc, spread_of: the arcs under a spread row, and which.
    spend: what one job counts against budgets, where that is not the offer's commitment.
    """

    instance: Instance
    classes: Classes
    rows: Rows
    start: Ints
    offer: Small
    owner: Small
    net: Ints
    units: Small
    stay: Ints
    spread_arc: Ints
    spread_of: Ints
    spend: Ints | None = None

    @property
    def running(self) -> int:
        """Jobs that run now."""
        return int(self.classes.copies[self.classes.incumbent >= 0].sum())

    def burn(self, arcs: Ints | slice) -> Ints:
        """What one job on each arc counts against budgets [micro-USD/h]."""
        if self.spend is not None:
            return self.spend[arcs]
        return self.rows.committed[self.offer[arcs]] * self.units[arcs]


def build(instance: Instance, few: int | None = None) -> Flow:
    """The problem of an instance. few: only so many arcs of each class beside the present one,
    those that cost least for the work. Raises BadValue for an instance that cannot be meant."""
    check(instance)
    classes = _classes(instance)
    rows = _rows(instance)
    offers = np.arange(len(instance.offers))
    among = None if few is None else _cheapest(instance, few)
    owner, offer, net, units = arcs_on(instance, classes, rows, offers, among)
    ends = np.arange(len(classes) + 1, dtype=owner.dtype)
    start = np.searchsorted(owner, ends).astype(np.int64)
    pool = divisible(rows.pool, offer, units)
    stay = np.full(len(classes), -1, dtype=np.int64)
    here = np.flatnonzero(classes.incumbent[owner] == offer)
    stay[owner[here]] = here
    none = np.zeros(0, dtype=np.int64)
    flow = Flow(
        instance, classes, replace(rows, pool=pool), start, offer, owner, net, units, stay,
        none, none,
    )  # fmt: skip
    return with_spread(flow)


def _classes(instance: Instance) -> Classes:
    jobs = instance.jobs
    keys: list[Ints] = [getattr(jobs, name) for name in jobs.__dataclass_fields__]
    order = np.lexsort(keys[::-1])
    change = np.zeros(len(jobs), dtype=np.bool_)
    if len(jobs):
        change[0] = True
    for key in keys:
        ranked = key[order]
        change[1:] |= ranked[1:] != ranked[:-1]
    label = np.cumsum(change) - 1
    of_job = np.empty(len(jobs), dtype=np.int64)
    of_job[order] = label
    first = order[change]
    copies = np.bincount(label, minlength=len(first)).astype(np.int64)
    columns = {name: getattr(jobs, name)[first] for name in jobs.__dataclass_fields__}
    return Classes(copies=copies, of_job=of_job, **columns)


def _rows(instance: Instance) -> Rows:
    offers, rules = instance.offers, instance.rules
    return Rows(
        pool=np.minimum(offers.capacity, AMPLE),
        quota=np.minimum(rules.quota, AMPLE),
        quota_of=offers.quota,
        weight=offers.weight,
        limit=rules.limit,
        above=_lineage(rules.parent),
        committed=offers.committed,
        spread=np.zeros(0, dtype=np.int64),
        spread_name=np.zeros(0, dtype=np.int64),
        churn_limit=rules.churn_limit,
        churn_price=rules.churn_price,
    )


def _lineage(parent: Ints) -> Ints:
    """Each cost centre, its parent, its grandparent, ... one column a level; -1 past the root."""
    columns = [np.arange(len(parent), dtype=np.int64)]
    while len(parent):
        above = np.where(columns[-1] >= 0, parent[columns[-1]], -1)
        if (above < 0).all():
            break
        columns.append(above)
    return np.stack(columns, axis=1)


def with_spread(flow: Flow) -> Flow:
    """The flow with a spread row for each group and zone that have arcs; none for groups that are
    within their limit even all in one zone."""
    spread, zone = flow.instance.rules.spread, flow.instance.offers.zone
    classes, zones = flow.classes, int(zone.max(initial=-1)) + 1
    grouped = classes.group >= 0
    members = np.bincount(
        classes.group[grouped], weights=classes.copies[grouped], minlength=len(spread)
    )
    # One place more: the group "none", which index -1 finds.
    binds = np.append(members > spread, False)[classes.group]
    arc = np.flatnonzero(np.repeat(binds, np.diff(flow.start)))
    key = classes.group[flow.owner[arc]] * zones + zone[flow.offer[arc]]
    number = np.zeros(max(1, len(spread) * zones), dtype=np.int64)
    number[key] = 1
    names = np.flatnonzero(number)
    number[names] = np.arange(len(names))
    rows = replace(flow.rows, spread=spread[names // max(1, zones)], spread_name=names)
    return replace(flow, rows=rows, spread_arc=arc, spread_of=number[key])


def _cheapest(instance: Instance, few: int) -> Bools:
    """The offers on which the work of each kind costs least [kinds, offers]."""
    kinds, offers = instance.kinds, instance.offers
    among = kinds.speed > 0
    if few < len(offers):
        burn = offers.committed * kinds.machines.astype(np.float64)
        price = np.where(among & (offers.capacity > 0), burn, np.inf)
        price /= np.maximum(1, kinds.speed)
        worst = np.argpartition(price, few, axis=1)[:, few:]
        np.put_along_axis(among, worst, False, axis=1)
    return among


def arcs_on(
    instance: Instance, classes: Classes, rows: Rows, offers: Ints, among: Bools | None = None
) -> tuple[Small, Small, Ints, Small]:
    """The arcs of all classes on these offers (ascending): owner, offer, net, units. among: only
    these [kinds, offers], and where classes run now; for all offers.

    An arc is worth something, or is where its class runs now. What one job alone overruns is no
    arc: rows then bind later, and the bound is tighter.
    """
    kinds = instance.kinds
    fits = kinds.speed[:, offers] > 0
    fits &= kinds.machines[:, offers] <= _room(rows)[offers]
    least = _least_limit(rows)
    empty = np.zeros(0, dtype=np.int32)
    parts: list[tuple[Small, Small, Ints, Small]] = [
        (empty, empty, np.zeros(0, dtype=np.int64), empty)
    ]
    for first in range(0, len(classes), _CHUNK):
        some = np.arange(first, min(first + _CHUNK, len(classes)))
        wanted = fits[classes.kind[some]]
        if among is not None:
            here = classes.incumbent[some]
            runs = np.flatnonzero(here >= 0)
            stays = wanted[runs, here[runs]]
            wanted &= among[classes.kind[some]]
            wanted[runs, here[runs]] = stays
        at, column = np.nonzero(wanted)
        owner, offer = some[at], offers[column]
        units = kinds.machines[classes.kind[owner], offer].astype(np.int64)
        net = score_arcs(instance, classes, owner, offer, units)
        keep = rows.committed[offer] * units <= least[classes.centre[owner]]
        keep &= (net > 0) | (classes.incumbent[owner] == offer)
        parts.append((
            owner[keep].astype(np.int32),
            offer[keep].astype(np.int32),
            net[keep],
            units[keep].astype(np.int32),
        ))  # fmt: skip
    owner_, offer_, net_, units_ = (np.concatenate(column) for column in zip(*parts, strict=True))
    return owner_, offer_, net_, units_


def score_arcs(instance: Instance, classes: Classes, owner: Ints, offer: Ints, units: Ints) -> Ints:
    """What one job of each class is worth an hour on each offer [micro-USD/h].

    Its value at the offer's speed, less what interruptions destroy of it, less the price, less the
    one-off cost of getting there spread over the residence time: the machines and the work of a
    start, the work since the last checkpoint when it runs elsewhere, and the transfer of the
    checkpoint. Costs are rounded up, value down. By work, that of an hour of work instead.
    """
    offers, rules = instance.offers, instance.rules
    speed = instance.kinds.speed[classes.kind[owner], offer].astype(np.int64)
    gross = classes.value[owner]
    gross *= speed
    gross //= SPEED_UNIT
    price = offers.rate[offer]
    price *= units
    pause = classes.restart + classes.interval // 2
    # One interruption of any machine stops the whole gang: a start, and half an interval again.
    lost = offers.hazard[offer]
    lost *= units
    lost *= pause[owner]
    lost //= HOUR_S
    np.minimum(lost, min(rules.loss_cap, _PPM), out=lost)
    # Split so that the product stays in a word: value x ppm alone would not.
    millions = gross // _PPM
    rest = gross - millions * _PPM
    rest *= -lost
    rest //= _PPM
    millions *= lost
    net: Ints = gross - millions
    net += rest
    net -= price
    # What a start costs, to those who are not there already.
    gross *= np.where(classes.incumbent >= 0, pause, classes.restart)[owner]
    price *= classes.restart[owner]
    gross += price
    switch = -(-gross // rules.residence)
    ship = -(-classes.transfer * HOUR_S // rules.residence)
    far = classes.home[owner] != offers.region[offer]
    switch += np.where(classes.home >= 0, ship, 0)[owner] * far
    switch *= classes.incumbent[owner] != offer
    net -= switch
    return net * SPEED_UNIT // speed if rules.by_work else net


def _room(rows: Rows) -> Ints:
    """Most machines of each offer by pool and quota."""
    room = rows.pool.copy()
    has = (rows.quota_of >= 0) & (rows.weight > 0)
    room[has] = np.minimum(room[has], rows.quota[rows.quota_of[has]] // rows.weight[has])
    return room


def _least_limit(rows: Rows) -> Ints:
    """The least limit from each cost centre up to its root; one place more for "none"."""
    unlimited = np.append(rows.limit, 2**62)
    least = unlimited[rows.above].min(axis=1) if len(rows.limit) else rows.limit
    return np.append(least, 2**62)


def divisible(pool: Ints, offer: Small, units: Small) -> Ints:
    """Pools rounded down to what gangs can fill: to a multiple of the greatest common divisor."""
    common = np.zeros(len(pool), dtype=np.int64)
    np.gcd.at(common, offer, units.astype(np.int64))
    return np.where(common > 0, pool // np.maximum(common, 1) * common, pool)
