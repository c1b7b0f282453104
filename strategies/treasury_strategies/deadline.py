"""The deadline strategy: a stochastic dynamic programme over hazards learned as they show.

Each job with a deadline weighs, at every tick, spot in each pool, on-demand, and waiting, by the
expected cost to its end (`deadline_table`); what could make it late is no choice
(`deadline_guard`). Jobs without a deadline are treated as `Patient` treats them.
"""

import msgspec

from treasury.domain.ids import JobId, OfferId
from treasury.domain.market import Tenure
from treasury.domain.plan import JobView, PlacementView, Plan, Snapshot
from treasury.domain.time import HOUR, NEVER
from treasury.forecast.forecaster import Forecaster
from treasury.forecast.hazards import Prior
from treasury.forecast.prior import POOLED
from treasury.forecast.rooms import Rooms
from treasury.optimizer.deadline import calm_until, time_on
from treasury.optimizer.market import Arc, lead_of
from treasury_strategies.deadline_base import Back
from treasury_strategies.deadline_contention import by_value, is_short
from treasury_strategies.deadline_guard import Guard, guard, moves_between
from treasury_strategies.deadline_policy import Costs, PoolTerms, Position, step_of, weigh
from treasury_strategies.deadline_tables import FEW, Demand, Tables
from treasury_strategies.deadline_wide import Wide
from treasury_strategies.patient import PatientSettings
from treasury_strategies.queue import Entry, Walk

# nano-USD in a USD: costs inside the programme are floats of USD, which nothing is paid by.
_NANO = 1e9
_NOTHING = Costs(float("inf"), float("inf"), {})


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


class _Memo:
    """What was last seen of a job: where it was, and how often it was interrupted."""

    __slots__ = ("interruptions", "offer")

    def __init__(self) -> None:
        self.offer: OfferId | None = None
        self.interruptions = 0


class Deadline(Wide):
    """Spot, on-demand or waiting, whichever costs least to the end and still ends in time."""

    name = "deadline"
    Settings = DeadlineSettings

    def __init__(self, settings: DeadlineSettings | None = None) -> None:
        super().__init__(settings)
        self.options = settings if settings is not None else DeadlineSettings()
        self.forecaster = Forecaster(self.options.prior or POOLED, {})
        options = self.options
        self.tables = Tables(options.refresh, options.reversion, options.points)
        self.rooms = Rooms(self.forecaster.prior)
        self.curves = {}
        self._memos: dict[JobId, _Memo] = {}

    # --- the plan --------------------------------------------------------------------------------

    def propose(self, snapshot: Snapshot) -> Plan:
        """A plan for a snapshot, after learning from it."""
        spot = [view for view in snapshot.offers if view.offer.tenure is Tenure.SPOT]
        self.forecaster.see(snapshot.now, spot)
        self.look(snapshot, spot)
        self.between = self.between or moves_between(spot, snapshot.tick, snapshot.origin)
        self._follow(snapshot)
        jobs = snapshot.jobs
        if len(self._memos) > 1 and is_short(jobs, spot, snapshot.now):
            self.market.refresh(snapshot)
            walk = Walk(snapshot)
            ordered = by_value(jobs, lambda view: self._value(walk, view))
            snapshot = msgspec.structs.replace(snapshot, jobs=ordered)
        return super().propose(snapshot)

    def _value(self, walk: Walk, view: JobView) -> float:
        """What the next step on the best spot offer saves a queued job [USD a machine]."""
        entry, deadline = self.enter(walk, view), view.spec.deadline
        spot = [arc for arc in self.open(entry, entry.fit.spot) if arc.spot]
        backs = [] if deadline is None else self.backs(walk, view, entry, deadline)
        if deadline is None or not backs or not spot:
            return 0.0
        if self.is_wide(entry):
            worth = self.price(walk, view, entry, deadline)
            gain = max(worth.gain(arc.rate, arc.speed) for arc in spot)
            return max(gain, 0.0) * step_of(walk.tick) / HOUR / _NANO
        costs = self.costs(walk, view, entry, backs[0][0], [arc.id for arc in spot])
        known = [arc for arc in spot if arc.id in costs.spot]
        without = min(costs.wait, costs.demand)
        return max((without - costs.spot[arc.id] for arc in known), default=0.0)

    def _follow(self, snapshot: Snapshot) -> None:
        """Learn from interruptions, and forget jobs that are gone."""
        memos = {}
        for view in snapshot.jobs:
            if view.spec.deadline is None:
                continue
            memo = self._memos.get(view.spec.id) or _Memo()
            memos[view.spec.id] = memo
            if view.interruptions > memo.interruptions and memo.offer is not None:
                if self.forecaster.there(memo.offer):
                    self.forecaster.interrupted(memo.offer)
                self.tables.lost(view.spec.id)
            memo.interruptions = view.interruptions
            memo.offer = None if view.placement is None else view.placement.offer
        self._memos = memos
        self.fleet = len(memos) > FEW
        self.tables.begin(list(memos))

    def queued(self, walk: Walk, view: JobView, entry: Entry) -> Arc | None:
        """The cheapest choice that is safe; None for waiting."""
        spec, deadline = view.spec, view.spec.deadline
        owned = self.best(entry, entry.fit.spot)
        if deadline is None or (owned is not None and not owned.spot):
            return super().queued(walk, view, entry)
        spot = [arc for arc in self.open(entry, entry.fit.spot) if arc.spot]
        backs = self.backs(walk, view, entry, deadline)
        if not backs:
            fallback = self.open(entry, entry.fit.fallback)
            payable = not fallback or any(self.payable(walk, view, arc) for arc in fallback)
            if payable and not self.lost(walk, view, entry):
                return super().queued(walk, view, entry)
            # On-demand helps no more, or not on this budget: the sooner on spot, the better.
            self._wait(walk, entry, NEVER)
            return spot[0] if spot else None
        if self.is_wide(entry):
            return self.queued_wide(walk, view, entry, deadline, backs)
        there = [arc.id for arc in spot]
        best, cheapest, chosen = backs[0][0], float("inf"), _NOTHING
        waits: Guard | None = None
        for back, safe in self._bases(entry, backs):
            costs = self.costs(walk, view, entry, back, there)
            for arc in (back, *spot):
                cost = costs.spot.get(arc.id) if arc.spot else costs.demand
                if cost is not None and cost < cheapest and (arc is back or safe.may_start(arc)):
                    best, cheapest, chosen, waits = arc, cost, costs, None
            if costs.wait < cheapest and safe.may_wait():
                cheapest, waits = costs.wait, safe
        if waits is None:
            return self._bidding(walk, best, chosen)
        walk.review(min(waits.ask_again(), walk.now + step_of(walk.tick)))
        calm = calm_until(spec, view.work_done, deadline, waits.fallback, 0, walk.tick)
        self._wait(walk, entry, max(calm, walk.now))
        return None

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
        spot = [arc for arc in self.open(entry, entry.fit.spot) if arc.spot]
        if tenure is Tenure.ON_DEMAND:
            if not spot:
                return None
            lead = lead_of(held.offer)
            fallback = self.fallback(view.spec, placement.speed, lead)
            safe = guard(view, walk.snapshot, deadline, fallback)
            back = Arc(0, 0, held.offer, held.rate, placement.bid, placement.speed, lead)
            if self.lost(walk, view, entry):
                return self.cheaper(walk, view, back, spot[0])
            backs = [(back, safe)]
        else:
            backs = self.backs(walk, view, entry, deadline)
        if not backs:
            return None
        if self.is_wide(entry):
            return self.placed_wide(walk, view, entry, held, backs)
        return self._moves(walk, view, entry, placement, backs, spot)

    def _moves(
        self,
        walk: Walk,
        view: JobView,
        entry: Entry,
        placement: PlacementView,
        backs: list[Back],
        spot: list[Arc],
    ) -> Arc | None:
        """The cheapest safe choice of a placed job; None for staying."""
        there = [arc.id for arc in spot]
        on_spot = self._spot_held(placement) is not None
        if on_spot and placement.offer not in there:
            there.append(placement.offer)
        best: Arc | None = backs[0][0]
        cheapest, chosen, counts = float("inf"), _NOTHING, backs[0][1]
        for back, safe in self._bases(entry, backs) if on_spot else backs:
            costs = self.costs(walk, view, entry, back, there)
            if costs.demand < cheapest:
                best, cheapest = (back if on_spot else None), costs.demand
                chosen, counts = costs, safe
            stay = costs.spot.get(placement.offer)
            if on_spot and stay is not None and stay < cheapest and safe.may_stay():
                best, cheapest, chosen, counts = None, stay, costs, safe
            for arc in spot:
                cost = costs.spot.get(arc.id)
                if arc.id == placement.offer or cost is None or cost >= cheapest:
                    continue
                if safe.may_start(arc):
                    best, cheapest, chosen, counts = arc, cost, costs, safe
        if best is None:
            self._review_placed(walk, counts, bool(spot))
            return None
        return self._bidding(walk, best, chosen)

    def _review_placed(self, walk: Walk, safe: Guard, choice: bool) -> None:
        """Ask again when the guard may have changed its mind, and where there is another choice
        also when ages have changed. Whatever else changes is news, and news is planned for."""
        if choice:
            walk.review(walk.now + step_of(walk.tick))
        if self._spot_held(safe.view.placement) is not None:
            walk.review(safe.ask_again())

    # --- weighing --------------------------------------------------------------------------------

    def _bases(self, entry: Entry, backs: list[Back]) -> list[Back]:
        """The fallbacks to weigh choices by: the cheapest, and dearer ones as far as `covers` has
        them. A slow machine that is cheap for its work leaves no time to wait for spot."""
        expected = entry.fit.prospect.expected
        found = backs[:1]
        for arc, safe in backs[1:]:
            if expected(arc.price) >= found[0][0].price:
                break
            found.append((arc, safe))
        return found

    def costs(
        self, walk: Walk, view: JobView, entry: Entry, back: Arc, there: list[OfferId]
    ) -> Costs:
        """Expected cost to the end [USD a machine] of each first choice, safe or not. back: what
        on-demand means for this job. there: the spot offers with capacity for it, the one it holds
        included."""
        demand = self._demand(walk, view, entry, back, there)
        if not demand.pools:
            return Costs(float("inf"), 0.0, {})
        solved = self.tables.of(view.spec.id, back.id, demand, self.forecaster, walk.now)
        return weigh(solved, self.forecaster, walk.now, demand.position, demand.pools, there)

    def _demand(
        self, walk: Walk, view: JobView, entry: Entry, back: Arc, there: list[OfferId]
    ) -> Demand:
        spec, placement = view.spec, view.placement
        step = step_of(walk.tick)
        scale = step / HOUR / _NANO
        pools = []
        for member in entry.fit.members:
            offer, rate = member.offer, self.market.offers[member.index].rate
            if (
                offer.tenure is Tenure.SPOT
                and 0 <= rate <= member.limit
                and (offer.id in there or self.forecaster.holds(offer.id, entry.fit.nodes))
            ):
                level = self.forecaster.level(offer.id, rate)
                speed = member.speed / back.speed
                pools.append(PoolTerms(offer.id, rate * scale, level * scale, speed))
        deadline = spec.deadline if spec.deadline is not None else walk.now
        work = time_on(view.work_left(walk.now), back.speed) / step
        free = (deadline - walk.now) / step - work
        work, free = self.tables.cut(work, free)
        kept = free - view.overhead_left(walk.now) / step
        held = self._spot_held(placement)
        bought = placement is not None and held is None
        start = (spec.start_overhead + back.lead + self.settings.margin) / step
        position = Position(work + free, free, kept, held, bought)
        return Demand(step, start, back.rate * scale, position, pools)

    def _spot_held(self, placement: PlacementView | None) -> OfferId | None:
        if placement is None:
            return None
        held = self.market.view(placement.offer)
        spot = held is not None and held.offer.tenure is Tenure.SPOT
        return placement.offer if spot else None

    # --- what an hour is worth -------------------------------------------------------------------

    def _bidding(self, walk: Walk, arc: Arc, costs: Costs) -> Arc:
        """The arc with the price of indifference as its bid: what the first step on it may cost
        until the next best choice is as good, within what the job's limits let us bid."""
        if not arc.spot:
            return arc
        worth = self.hour_value(walk.tick, arc, costs)
        return msgspec.structs.replace(arc, bid=max(arc.rate, min(arc.bid, worth)))

    def hour_value(self, tick: int, arc: Arc, costs: Costs) -> int:
        """What a machine-hour of a spot offer is worth to a job [nano-USD/h]: its rate and what the
        best choice without it would cost more. Below the rate, the job is better off elsewhere."""
        own = costs.spot[arc.id]
        others = [cost for offer, cost in costs.spot.items() if offer != arc.id]
        spared = min([costs.wait, costs.demand, *others]) - own
        return arc.rate + int(spared * _NANO * HOUR / step_of(tick))
