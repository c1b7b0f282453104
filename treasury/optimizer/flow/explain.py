"""Why: what each job's best offers are worth to it, what they cost in scarce rows, which row stands
in the way, and at which rate it would not matter.

Everything here follows from the shadow prices of a plan's bound. They are marginal: `whatif` solves
again where a change is not small.
"""

from dataclasses import dataclass, replace
from enum import Enum

import numpy as np

from treasury.optimizer.flow import polish
from treasury.optimizer.flow.arrays import SPEED_UNIT, Floats, Ints
from treasury.optimizer.flow.classes import Flow
from treasury.optimizer.flow.columns import best_of_class, bound_of, reduced
from treasury.optimizer.flow.engine import FlowPlan
from treasury.optimizer.flow.fill import Residual

# Less than this is no gain [micro-USD/h]: prices are sums of floats.
_NOTHING = 1.0
# So much more of a unit tells what one more would add.
_MORE = 1e-3
# Arcs up to which exact prices come from all of them; beyond, from those near the best of a class.
_ALL = 20_000


def sharpened(plan: FlowPlan) -> FlowPlan:
    """The same plan with the exact prices of the relaxation, where they bound it better: they tell
    scarce from plentiful, where those of the descent only come near."""
    flow = plan.flow
    score = reduced(flow, plan.prices)
    arcs = np.arange(len(score))
    if len(arcs) > _ALL:
        best = best_of_class(flow, score)[flow.owner]
        near = score >= best - polish.WIDE * np.abs(flow.net)
        near[plan.counts > 0] = True
        near[flow.stay[flow.stay >= 0]] = True
        arcs = np.flatnonzero(near)
    if not 0 < len(arcs) <= 2 * _ALL:
        return plan
    relaxed = polish.relax(flow, arcs, more=_MORE)
    if relaxed is None:
        return plan
    exact = bound_of(flow, relaxed.prices, reduced(flow, relaxed.prices))
    known = bound_of(flow, plan.prices, score)
    better = exact <= known + _MORE * abs(known)
    return replace(plan, prices=relaxed.prices) if better else plan


class Row(Enum):
    """What may be scarce."""

    POOL = "pool"
    QUOTA = "quota"
    CENTRE = "cost centre"
    SPREAD = "spread"
    CHURN = "churn"


@dataclass(frozen=True, slots=True)
class Cost:
    """What one job's use of a row costs at its shadow price [micro-USD/h].

    index: which pool, quota or cost centre; the group for spread. price: of one unit of the row,
    for a cost centre on top of the dollar itself.
    """

    row: Row
    index: int
    amount: int
    price: float


@dataclass(frozen=True, slots=True)
class Option:
    """An offer as one job sees it [micro-USD/h]: what it is worth alone, what that uses of scarce
    rows, and what is left: above 0 it pays, at 0 it is all the same. bid: see `bids`."""

    offer: int
    net: int
    costs: tuple[Cost, ...]
    left: int
    bid: int


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why a job is where it is.

    placed: its offer, -1 when it waits. options: its best offers, the best first: the winner (or
    the nearest) and the runner-up. blocker: the dearest row of the best option of a job that
    waits; None where nothing scarce is in the way. indivisible: the best option pays and still it
    waits: no whole place was left, which prices cannot say better. bid: the rate of one machine of
    its offer (or of the best option) at which the job would do as well elsewhere or not at all
    [micro-USD/h].
    """

    job: int
    placed: int
    options: tuple[Option, ...]
    blocker: Cost | None
    indivisible: bool
    bid: int


@dataclass(frozen=True, slots=True)
class Binding:
    """A row that is worth something: how much of what there is is used, and what one unit more
    would add [micro-USD/h per unit]."""

    row: Row
    index: int
    used: int
    limit: int
    price: float


class Reasons:
    """The reasons of one plan: what all of them need is worked out once."""

    def __init__(self, plan: FlowPlan) -> None:
        self.plan = plan
        self._score = reduced(plan.flow, plan.prices)

    def explain(self, job: int, options: int = 2) -> Explanation:
        """Why one job is where it is. Raises IndexError for a job that is not there."""
        plan, flow = self.plan, self.plan.flow
        placed = int(plan.placed[job])
        owner = int(flow.classes.of_job[job])
        arcs = np.arange(flow.start[owner], flow.start[owner + 1])
        ranked = self._ranked(arcs, placed)[:options]
        prices = self.bids(ranked).tolist()
        pairs = zip(ranked.tolist(), prices, strict=True)
        chosen = tuple(_option(plan, arc, bid) for arc, bid in pairs)
        waits = placed < 0
        first = chosen[0] if chosen else None
        blocker = None
        if waits and first is not None and first.costs:
            blocker = max(first.costs, key=lambda cost: (cost.amount, -cost.index))
        pays = first is not None and first.left > 0
        bid = first.bid if first is not None else 0
        return Explanation(job, placed, chosen, blocker, waits and pays, bid)

    def _ranked(self, arcs: Ints, placed: int) -> Ints:
        """Arcs of a class, the job's own first, then by what is left of their worth."""
        order = np.lexsort((arcs, -self._score[arcs]))
        own = self.plan.flow.offer[arcs[order]] == placed
        out: Ints = np.concatenate((arcs[order][own], arcs[order][~own]))
        return out

    def bids(self, arcs: Ints, waiting: Ints | None = None) -> Ints:
        """See `bids`."""
        plan, flow, score = self.plan, self.plan.flow, self._score
        prices, rules = plan.prices, flow.instance.rules
        owner, offer = flow.owner[arcs].astype(np.int64), flow.offer[arcs].astype(np.int64)
        other = _best_other(flow, score, arcs)
        other = np.maximum(other, 0.0 if waiting is None else waiting[owner].astype(np.float64))
        units = flow.units[arcs].astype(np.float64)
        rate = flow.instance.offers.rate[offer].astype(np.float64)
        restart = flow.classes.restart[owner] / rules.residence
        # How many machine-hours an hour of worth takes, starts included.
        hours = 1.0 + np.where(flow.stay[owner] == arcs, 0.0, restart)
        if rules.by_work:
            hours *= SPEED_UNIT / flow.instance.kinds.speed[flow.classes.kind[owner], offer]
        dollar = prices.dollar(flow)[flow.classes.centre[owner]]
        # The pool's own shadow price is left in: it is what the market may still ask for.
        pool = prices.pool[offer] * units
        worth = score[arcs] + pool + rate * units * hours
        worth += flow.burn(arcs) * dollar
        bid = np.floor((worth - other) / (units * (hours + dollar)))
        out: Ints = np.maximum(0.0, bid).astype(np.int64)
        return out

    def would_place(self, centre: int, most: int = 10) -> tuple[tuple[int, ...], int]:
        """See `would_place`."""
        plan, flow, left = self.plan, self.plan.flow, self._score
        rows, prices = flow.rows, plan.prices
        below = (rows.above == centre).any(axis=1)
        pays = np.append(below, False)[flow.classes.centre[flow.owner]]
        burn = flow.burn(np.arange(len(left)))
        free = np.where(pays, left + prices.centre[centre] * burn, -np.inf)
        free[~pays | (left > _NOTHING) | (burn <= 0)] = -np.inf
        open_ = _used(flow, plan.counts).left > 0
        free[~open_[flow.owner]] = -np.inf
        arcs = np.flatnonzero(free > 0)
        order = np.lexsort((arcs, -(free[arcs] / burn[arcs])))
        arcs = arcs[order]
        _, first = np.unique(flow.owner[arcs], return_index=True)
        arcs = arcs[np.sort(first)][:most]
        jobs: list[int] = []
        total = 0
        waiting = np.flatnonzero(plan.placed < 0)
        for arc in arcs.tolist():
            members = waiting[flow.classes.of_job[waiting] == flow.owner[arc]]
            take = members[: most - len(jobs)].tolist()
            jobs += take
            total += int(burn[arc]) * len(take)
        return tuple(jobs), total


def explain(plan: FlowPlan, job: int, options: int = 2) -> Explanation:
    """Why one job is where it is. Raises IndexError for a job that is not there."""
    return Reasons(plan).explain(job, options)


def bids(plan: FlowPlan, arcs: Ints, waiting: Ints | None = None) -> Ints:
    """The rate of one machine at which each arc is worth no more to one job of its class than its
    best other offer, or than waiting [micro-USD/h per machine, at least 0].

    A dollar of a budget that binds counts for more than itself, and so does the price of a start.
    waiting: what waiting is worth to one job of each class [classes]; 0 unless a horizon says
    otherwise.
    """
    return Reasons(plan).bids(arcs, waiting)


def would_place(plan: FlowPlan, centre: int, most: int = 10) -> tuple[tuple[int, ...], int]:
    """Waiting jobs that one cost centre's budget alone keeps out, those that gain most per dollar
    first, and how much more an hour it would take to place them all [micro-USD/h]."""
    return Reasons(plan).would_place(centre, most)


def _option(plan: FlowPlan, arc: int, bid: int) -> Option:
    flow, prices, rows = plan.flow, plan.prices, plan.flow.rows
    owner, offer, units = int(flow.owner[arc]), int(flow.offer[arc]), int(flow.units[arc])
    costs = [Cost(Row.POOL, offer, round(prices.pool[offer] * units), float(prices.pool[offer]))]
    quota = int(rows.quota_of[offer])
    if quota >= 0:
        price = float(prices.quota[quota])
        costs.append(Cost(Row.QUOTA, quota, round(price * units * int(rows.weight[offer])), price))
    burn = int(flow.burn(np.array([arc]))[0])
    centre = int(flow.classes.centre[owner])
    for level in rows.above[centre].tolist() if centre >= 0 else ():
        if level >= 0:
            price = float(prices.centre[level])
            costs.append(Cost(Row.CENTRE, level, round(price * burn), price))
    at = int(np.searchsorted(flow.spread_arc, arc))
    if at < len(flow.spread_arc) and flow.spread_arc[at] == arc:
        price = float(prices.spread[flow.spread_of[at]])
        costs.append(Cost(Row.SPREAD, int(flow.classes.group[owner]), round(price), price))
    if flow.stay[owner] == arc:
        costs.append(Cost(Row.CHURN, 0, -round(prices.churn), prices.churn))
    net = int(flow.net[arc])
    paid = tuple(cost for cost in costs if cost.amount)
    return Option(offer, net, paid, net - sum(cost.amount for cost in paid), bid)


def _best_other(flow: Flow, score: Floats, arcs: Ints) -> Floats:
    """The best score of each arc's class on any other arc."""
    owner = flow.owner[arcs]
    live = np.flatnonzero(np.diff(flow.start))
    first = np.full(len(flow.classes), -np.inf)
    first[live] = np.maximum.reduceat(score, flow.start[live]) if len(live) else first[live]
    rest = score.copy()
    tops = np.flatnonzero(score == first[flow.owner])
    _, once = np.unique(flow.owner[tops], return_index=True)
    rest[tops[once]] = -np.inf
    second = np.full(len(flow.classes), -np.inf)
    second[live] = np.maximum.reduceat(rest, flow.start[live]) if len(live) else second[live]
    out: Floats = np.where(np.isin(arcs, tops[once]), second[owner], first[owner])
    return out


def bindings(plan: FlowPlan, least: float = 1e-3) -> tuple[Binding, ...]:
    """Every row whose shadow price is above `least` of its natural unit, the kinds in the order of
    `Row`, the dearest first."""
    flow, prices, rows = plan.flow, plan.prices, plan.flow.rows
    used = _used(flow, plan.counts)
    out: list[Binding] = []
    usd = 1e6
    for row, price, limit, use, unit in (
        (Row.POOL, prices.pool, rows.pool, used.pool, usd),
        (Row.QUOTA, prices.quota, rows.quota, used.quota[:-1], usd),
        (Row.CENTRE, prices.centre, rows.limit, used.centre[:-1], 1.0),
        (Row.SPREAD, prices.spread, rows.spread, used.spread[:-1], usd),
    ):
        at = np.flatnonzero(price > least * unit)
        at = at[np.argsort(-price[at], kind="stable")]
        out += [
            Binding(row, int(i), int(limit[i] - use[i]), int(limit[i]), float(price[i])) for i in at
        ]
    if prices.churn > least * usd:
        out.append(Binding(Row.CHURN, 0, used.moved(), rows.churn_limit, prices.churn))
    return tuple(out)


def _used(flow: Flow, counts: Ints) -> Residual:
    residual = Residual(flow)
    arcs = np.flatnonzero(counts)
    residual.take(arcs, counts[arcs])
    return residual
