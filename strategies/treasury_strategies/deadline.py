"""The deadline strategy: a stochastic dynamic programme over hazards learned as they show.

Each job with a deadline weighs, at every tick, spot in each pool, on-demand, and waiting, by the
expected cost to its end (`deadline_table`); what could make it late is no choice
(`deadline_guard`). Jobs without a deadline are treated as `Patient` treats them.
"""

from typing import NamedTuple

import msgspec

from treasury.domain.ids import JobId, OfferId
from treasury.domain.market import Tenure
from treasury.domain.plan import JobView, PlacementView, Plan, Snapshot
from treasury.domain.time import HOUR
from treasury.forecast.forecaster import Forecaster
from treasury.forecast.hazards import Prior
from treasury.forecast.prior import POOLED
from treasury.optimizer.deadline import calm_until, next_tick, time_on
from treasury.optimizer.market import Arc, Fit, lead_of
from treasury_strategies.deadline_contention import by_value, is_short
from treasury_strategies.deadline_guard import Guard, guard
from treasury_strategies.deadline_policy import (
    POOLS,
    Costs,
    PoolTerms,
    Position,
    Solved,
    solve_for,
    step_of,
    weigh,
)
from treasury_strategies.patient import Patient, PatientSettings
from treasury_strategies.queue import Entry, Walk

# nano-USD in a USD: costs inside the programme are floats of USD, which nothing is paid by.
_NANO = 1e9
# Longer jobs and more slack than this are cut [steps]: ten days ahead nothing is known anyway.
_WORK_CAP, _SLACK_CAP = 1_000.0, 500.0
# Up to this many jobs each have a table of their own; above, jobs alike share one.
_FEW = 16
# Jobs share a table when times left and slacks fall between the same powers of these.
_LEFT_RATIO, _SLACK_RATIO = 1.1, 1.3
# A price level that moved by more than this makes a table stale.
_MOVED = 0.1


class DeadlineSettings(PatientSettings, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """prior: what pools do on average, as `treasury_simulations.calibration` prints it; the shipped
    one without. refresh: how old a table may get [ns]. reversion: rate per step of ten minutes at
    which pools return to their long run. points: of the grid over slack.
    """

    prior: Prior | None = None
    refresh: int = 2 * HOUR
    reversion: float = 0.005
    points: int = 32

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.refresh <= 0:
            raise ValueError(f"refresh must be more than 0, not {self.refresh}")
        if not 0.0 <= self.reversion <= 1.0:
            raise ValueError(f"reversion must be from 0 to 1, not {self.reversion}")
        if not 16 <= self.points <= 256:
            raise ValueError(f"points must be from 16 to 256, not {self.points}")


class _Market(NamedTuple):
    """A job's market in the programme's units. arcs: spot that is free, by offer."""

    step: int
    start: float
    demand: float
    position: Position
    pools: list[PoolTerms]
    open: list[OfferId]


class _Memo:
    """What is remembered of a job. at: when its table was solved [ns]."""

    __slots__ = ("at", "fit", "interruptions", "offer", "solved")

    def __init__(self) -> None:
        self.at = 0
        self.fit: Fit | None = None
        self.solved: Solved | None = None
        self.offer: OfferId | None = None
        self.interruptions = 0


class Deadline(Patient):
    """Spot, on-demand or waiting, whichever costs least to the end and still ends in time."""

    name = "deadline"
    Settings = DeadlineSettings

    def __init__(self, settings: DeadlineSettings | None = None) -> None:
        super().__init__(settings)
        self.options = settings if settings is not None else DeadlineSettings()
        self.forecaster = Forecaster(self.options.prior or POOLED, {})
        self._memos: dict[JobId, _Memo] = {}
        self._shared: dict[tuple[object, ...], Solved] = {}
        self._epoch = -1
        self._dated = 0
        self._few = True

    # --- state -----------------------------------------------------------------------------------

    def remember(self) -> bytes:
        """What was learned about the market, to be written down. Tables follow from it."""
        return self.forecaster.encode()

    def recall(self, state: bytes) -> None:
        """Take up what `remember` wrote. Raises msgspec.DecodeError."""
        self.forecaster = Forecaster.decode(state)
        self._memos.clear()
        self._shared.clear()

    # --- the plan --------------------------------------------------------------------------------

    def propose(self, snapshot: Snapshot) -> Plan:
        """A plan for a snapshot, after learning from it."""
        spot = [view for view in snapshot.offers if view.offer.tenure is Tenure.SPOT]
        self.forecaster.see(snapshot.now, spot)
        self._follow(snapshot)
        jobs = snapshot.jobs
        if self._dated > 1 and is_short(jobs, spot, snapshot.now):
            self.market.refresh(snapshot)
            walk = Walk(snapshot)
            ordered = by_value(jobs, lambda view: self._value(walk, view))
            snapshot = msgspec.structs.replace(snapshot, jobs=ordered)
        return super().propose(snapshot)

    def _value(self, walk: Walk, view: JobView) -> float:
        """What the next step on the best spot offer saves a queued job [USD a machine]."""
        entry = self.enter(walk, view)
        spot = [arc for arc in self.open(entry, entry.fit.spot) if arc.spot]
        base = self._base(walk, view, entry)
        if base is None or not spot:
            return 0.0
        costs = self.costs(walk, view, entry, base[0], [arc.id for arc in spot])
        known = [arc for arc in spot if arc.id in costs.spot]
        without = min(costs.wait, costs.demand)
        return max((without - costs.spot[arc.id] for arc in known), default=0.0) / entry.fit.nodes

    def _follow(self, snapshot: Snapshot) -> None:
        """Learn from interruptions, and forget jobs that are gone."""
        epoch = snapshot.now // self.options.refresh
        if epoch != self._epoch:
            self._epoch = epoch
            self._shared.clear()
        dated = [view for view in snapshot.jobs if view.spec.deadline is not None]
        self._dated = len(dated)
        self._few = self._dated <= _FEW
        memos = {}
        for view in dated:
            memo = self._memos.get(view.spec.id) or _Memo()
            memos[view.spec.id] = memo
            if view.interruptions > memo.interruptions and memo.offer is not None:
                if self.forecaster.there(memo.offer):
                    self.forecaster.interrupted(memo.offer)
                if self._few:
                    memo.solved = None
            memo.interruptions = view.interruptions
            memo.offer = None if view.placement is None else view.placement.offer
        self._memos = memos

    def queued(self, walk: Walk, view: JobView, entry: Entry) -> Arc | None:
        """The cheapest choice that is safe; None for waiting."""
        deadline = view.spec.deadline
        spot = [arc for arc in self.open(entry, entry.fit.spot) if arc.spot]
        base = self._base(walk, view, entry)
        owned = self.best(entry, entry.fit.spot)
        if deadline is None or base is None or (owned is not None and not owned.spot):
            return super().queued(walk, view, entry)
        back, safe = base
        costs = self.costs(walk, view, entry, back, [arc.id for arc in spot])
        best, cheapest = back, costs.demand
        for arc in spot:
            cost = costs.spot.get(arc.id)
            if cost is not None and cost < cheapest and safe.may_start(arc):
                best, cheapest = arc, cost
        if costs.wait < cheapest and safe.may_wait():
            walk.review(safe.after)
            calm = calm_until(view.spec, view.work_done, deadline, safe.fallback, 0, walk.tick)
            entry.calm_until = max(calm, walk.now)
            return None
        return self._bidding(walk, entry, best, costs)

    def placed(
        self, walk: Walk, view: JobView, entry: Entry, placement: PlacementView
    ) -> Arc | None:
        """Where a job is to be switched to, if anywhere."""
        held = self.market.view(placement.offer)
        deadline = view.spec.deadline
        if deadline is None or held is None or placement.useful_from is None:
            return super().placed(walk, view, entry, placement)
        tenure = held.offer.tenure
        if tenure not in (Tenure.SPOT, Tenure.ON_DEMAND):
            return None
        walk.review(next_tick(walk.now, walk.tick, walk.origin))
        spot = [arc for arc in self.open(entry, entry.fit.spot) if arc.spot]
        if tenure is Tenure.ON_DEMAND:
            if not spot:
                return None
            lead = lead_of(held.offer)
            fallback = self.fallback(view.spec, placement.speed, lead)
            safe = guard(view, walk.snapshot, deadline, fallback)
            limit = held.rate
            back = Arc(0, 0, held.offer, limit, placement.bid, placement.speed, lead)
        else:
            base = self._base(walk, view, entry)
            if base is None:
                return None
            back, safe = base
        there = [arc.id for arc in spot]
        if tenure is Tenure.SPOT and placement.offer not in there:
            there.append(placement.offer)
        costs = self.costs(walk, view, entry, back, there)
        best: Arc | None = None
        cheapest = costs.demand
        if tenure is Tenure.SPOT:
            stay = costs.spot.get(placement.offer)
            if stay is not None and safe.may_stay():
                cheapest = stay
            if costs.demand < cheapest or not safe.may_stay():
                best, cheapest = back, costs.demand
        for arc in spot:
            cost = costs.spot.get(arc.id)
            if arc.id == placement.offer or cost is None or cost >= cheapest:
                continue
            if safe.may_start(arc):
                best, cheapest = arc, cost
        return None if best is None else self._bidding(walk, entry, best, costs)

    # --- weighing --------------------------------------------------------------------------------

    def _base(self, walk: Walk, view: JobView, entry: Entry) -> tuple[Arc, Guard] | None:
        """The cheapest fallback that ends in time if it is taken now."""
        deadline = view.spec.deadline
        if deadline is None:
            return None
        for arc in self.open(entry, entry.fit.fallback):
            back = self.fallback(view.spec, arc.speed, arc.lead)
            safe = guard(view, walk.snapshot, deadline, back)
            if safe.fallback_in_time():
                return arc, safe
        return None

    def costs(
        self, walk: Walk, view: JobView, entry: Entry, back: Arc, there: list[OfferId]
    ) -> Costs:
        """Expected cost to the end [USD] of each first choice, safe or not. back: what on-demand
        means for this job. there: the spot offers with capacity for it, the one it holds
        included."""
        market = self._market(walk, view, entry, back, there)
        if not market.pools:
            return Costs(float("inf"), 0.0, {})
        solved = self._solved(walk, view, entry, market)
        return weigh(solved, self.forecaster, walk.now, market.position, market.pools, market.open)

    def _market(
        self, walk: Walk, view: JobView, entry: Entry, back: Arc, there: list[OfferId]
    ) -> _Market:
        spec, placement = view.spec, view.placement
        step = step_of(walk.tick)
        scale = step / HOUR / _NANO * entry.fit.nodes
        pools = []
        for member in entry.fit.members:
            rate = self.market.offers[member.index].rate
            if member.offer.tenure is Tenure.SPOT and 0 <= rate <= member.limit:
                level = self.forecaster.level(member.offer.id, rate)
                speed = member.speed / back.speed
                pools.append(PoolTerms(member.offer.id, rate * scale, level * scale, speed))
        deadline = spec.deadline if spec.deadline is not None else walk.now
        work = time_on(view.work_left(walk.now), back.speed) / step
        free = (deadline - walk.now) / step - work
        if work > _WORK_CAP:
            free *= _WORK_CAP / work
            work = _WORK_CAP
        free = min(free, _SLACK_CAP)
        kept = free - view.overhead_left(walk.now) / step
        held = self._spot_held(placement)
        bought = placement is not None and held is None
        start = (spec.start_overhead + back.lead + self.settings.margin) / step
        position = Position(work + free, free, kept, held, bought)
        return _Market(step, start, back.rate * scale, position, pools, there)

    def _spot_held(self, placement: PlacementView | None) -> OfferId | None:
        if placement is None:
            return None
        held = self.market.view(placement.offer)
        spot = held is not None and held.offer.tenure is Tenure.SPOT
        return placement.offer if spot else None

    def _solved(self, walk: Walk, view: JobView, entry: Entry, market: _Market) -> Solved:
        memo = self._memos.setdefault(view.spec.id, _Memo())
        solved = memo.solved
        if (
            solved is not None
            and memo.fit is entry.fit
            and walk.now - memo.at < self.options.refresh
            and _serves(solved, market)
        ):
            return solved
        left, slack = market.position.left, max(market.position.free, 0.0)
        if self._few:
            solved = self._solve(market, left, slack)
        else:
            left = _rounded(left, _LEFT_RATIO)
            slack = _rounded(slack, _SLACK_RATIO)
            key = (id(entry.fit), market.start, market.demand, left, slack)
            solved = self._shared.get(key)
            if solved is None or not _serves(solved, market):
                solved = self._shared[key] = self._solve(market, left, slack)
        memo.solved, memo.at, memo.fit = solved, walk.now, entry.fit
        return solved

    def _solve(self, market: _Market, left: float, slack: float) -> Solved:
        return solve_for(
            self.forecaster,
            market.pools,
            step=market.step,
            left=left,
            slack=slack,
            start=market.start,
            demand=market.demand,
            reversion=self.options.reversion,
            points=self.options.points,
        )

    # --- what an hour is worth -------------------------------------------------------------------

    def _bidding(self, walk: Walk, entry: Entry, arc: Arc, costs: Costs) -> Arc:
        """The arc with the price of indifference as its bid: what the first step on it may cost
        until the next best choice is as good, within what the job's limits let us bid."""
        if not arc.spot:
            return arc
        worth = self.hour_value(walk.tick, entry.fit.nodes, arc, costs)
        return msgspec.structs.replace(arc, bid=max(arc.rate, min(arc.bid, worth)))

    def hour_value(self, tick: int, nodes: int, arc: Arc, costs: Costs) -> int:
        """What a machine-hour of a spot offer is worth to a job [nano-USD/h]: its rate and what the
        best choice without it would cost more. Below the rate, the job is better off elsewhere."""
        own = costs.spot[arc.id]
        others = [cost for offer, cost in costs.spot.items() if offer != arc.id]
        spared = min([costs.wait, costs.demand, *others]) - own
        return arc.rate + int(spared * _NANO * HOUR / step_of(tick)) // nodes


def _rounded(steps: float, ratio: float) -> float:
    """The next power of a ratio."""
    size = 1.0
    while size < steps:
        size *= ratio
    return size


def _serves(solved: Solved, market: _Market) -> bool:
    """Whether a table still answers for a market: same pools, overhead and about the same
    prices."""
    position = market.position
    if solved.step != market.step or abs(solved.start - market.start) > 1e-9:
        return False
    if position.left > solved.table.steps + 1e-9 or position.free > solved.table.grid[-1] + 1e-9:
        return False
    if abs(market.demand - solved.demand) > _MOVED * solved.demand:
        return False
    levels = {pool.offer: pool.level for pool in market.pools}
    for offer, level in zip(solved.rank, solved.levels, strict=True):
        now = levels.get(offer)
        if now is None or abs(now - level) > _MOVED * level:
            return False
    return len(levels) == len(solved.rank) or len(solved.rank) == POOLS
