"""The deadline strategy: a stochastic dynamic programme over hazards learned as they show.

Each job with a deadline weighs, at every tick, spot in each pool, on-demand, and waiting, by the
expected cost to its end (`deadline_table`); what could make it late is no choice
(`deadline_guard`). Jobs without a deadline are treated as `Patient` treats them.
"""

import msgspec

from treasury.domain.ids import JobId, OfferId
from treasury.domain.market import Tenure
from treasury.domain.money import charge
from treasury.domain.plan import JobView, PlacementView, Plan, Snapshot
from treasury.domain.time import HOUR, NEVER
from treasury.forecast.forecaster import Forecaster
from treasury.forecast.hazards import Prior
from treasury.forecast.prior import POOLED
from treasury.optimizer.deadline import calm_until, time_on
from treasury.optimizer.market import Arc, lead_of
from treasury_strategies.deadline_contention import by_value, is_short
from treasury_strategies.deadline_guard import Guard, guard
from treasury_strategies.deadline_policy import Costs, PoolTerms, Position, step_of, weigh
from treasury_strategies.deadline_tables import Demand, Tables
from treasury_strategies.patient import Patient, PatientSettings
from treasury_strategies.queue import Entry, Walk

# nano-USD in a USD: costs inside the programme are floats of USD, which nothing is paid by.
_NANO = 1e9
# A job that would be late by less than this share of its time [thousandths] still hurries.
_GRACE = 100
# A job whose deadline is lost leaves on-demand for spot if that pays for so many starts.
_STARTS = 3


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


class Deadline(Patient):
    """Spot, on-demand or waiting, whichever costs least to the end and still ends in time."""

    name = "deadline"
    Settings = DeadlineSettings

    def __init__(self, settings: DeadlineSettings | None = None) -> None:
        super().__init__(settings)
        self.options = settings if settings is not None else DeadlineSettings()
        self.forecaster = Forecaster(self.options.prior or POOLED, {})
        options = self.options
        self.tables = Tables(options.refresh, options.reversion, options.points)
        self._memos: dict[JobId, _Memo] = {}

    # --- state -----------------------------------------------------------------------------------

    def remember(self) -> bytes:
        """What was learned about the market, to be written down. Tables follow from it."""
        return self.forecaster.encode()

    def recall(self, state: bytes) -> None:
        """Take up what `remember` wrote. Raises msgspec.DecodeError."""
        self.forecaster = Forecaster.decode(state)
        self._memos.clear()
        self.tables.clear()

    # --- the plan --------------------------------------------------------------------------------

    def propose(self, snapshot: Snapshot) -> Plan:
        """A plan for a snapshot, after learning from it."""
        spot = [view for view in snapshot.offers if view.offer.tenure is Tenure.SPOT]
        self.forecaster.see(snapshot.now, spot)
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
        entry = self.enter(walk, view)
        spot = [arc for arc in self.open(entry, entry.fit.spot) if arc.spot]
        base = self._base(walk, view, entry)
        if base is None or not spot:
            return 0.0
        costs = self.costs(walk, view, entry, base[0], [arc.id for arc in spot])
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
        self.tables.begin(list(memos))

    def queued(self, walk: Walk, view: JobView, entry: Entry) -> Arc | None:
        """The cheapest choice that is safe; None for waiting."""
        spec, deadline = view.spec, view.spec.deadline
        owned = self.best(entry, entry.fit.spot)
        if deadline is None or (owned is not None and not owned.spot):
            return super().queued(walk, view, entry)
        spot = [arc for arc in self.open(entry, entry.fit.spot) if arc.spot]
        base = self._base(walk, view, entry)
        if base is None:
            fallback = self.open(entry, entry.fit.fallback)
            payable = not fallback or any(self._payable(walk, view, arc) for arc in fallback)
            if payable and not self._lost(walk, view, entry):
                return super().queued(walk, view, entry)
            # On-demand helps no more, or not on this budget: the sooner on spot, the better.
            self._wait(walk, entry, NEVER)
            return spot[0] if spot else None
        back, safe = base
        costs = self.costs(walk, view, entry, back, [arc.id for arc in spot])
        best, cheapest = back, costs.demand
        for arc in spot:
            cost = costs.spot.get(arc.id)
            if cost is not None and cost < cheapest and safe.may_start(arc):
                best, cheapest = arc, cost
        if costs.wait < cheapest and safe.may_wait():
            walk.review(min(safe.ask_again(), walk.now + step_of(walk.tick)))
            calm = calm_until(spec, view.work_done, deadline, safe.fallback, 0, walk.tick)
            self._wait(walk, entry, max(calm, walk.now))
            return None
        return self._bidding(walk, best, costs)

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
            if self._lost(walk, view, entry):
                return self._cheaper(walk, view, back, spot[0])
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
        if best is None:
            self._review_placed(walk, safe, bool(spot))
            return None
        return self._bidding(walk, best, costs)

    def _review_placed(self, walk: Walk, safe: Guard, choice: bool) -> None:
        """Ask again when the guard may have changed its mind, and where there is another choice
        also when ages have changed. Whatever else changes is news, and news is planned for."""
        if choice:
            walk.review(walk.now + step_of(walk.tick))
        if self._spot_held(safe.view.placement) is not None:
            walk.review(safe.ask_again())

    # --- deadlines that are lost -----------------------------------------------------------------

    def _lost(self, walk: Walk, view: JobView, entry: Entry) -> bool:
        """Whether a job will be late by more than a little even on the fastest machines there are.
        Its lateness is no longer paid for: money that others of its cost centre may need in time.
        """
        spec, speed = view.spec, entry.fit.top_speed
        if spec.deadline is None or speed == 0:
            return False
        start = 0 if view.placement is not None else spec.start_overhead
        need = time_on(view.work_left(walk.now), speed) + start
        grace = (spec.deadline - spec.submitted_at) * _GRACE // 1_000
        return walk.now + need > spec.deadline + grace

    def _cheaper(self, walk: Walk, view: JobView, held: Arc, spot: Arc) -> Arc | None:
        """Spot for a job on demand that is late anyhow, if the work left pays for some starts."""
        left = view.work_left(walk.now)
        starts = _STARTS * (view.spec.start_overhead + spot.lead)
        dear = held.rate * time_on(left, held.speed)
        return spot if spot.rate * (time_on(left, spot.speed) + starts) < dear else None

    # --- weighing --------------------------------------------------------------------------------

    def _base(self, walk: Walk, view: JobView, entry: Entry) -> tuple[Arc, Guard] | None:
        """The cheapest fallback that ends in time if it is taken now."""
        deadline = view.spec.deadline
        if deadline is None:
            return None
        for arc in self.open(entry, entry.fit.fallback):
            back = self.fallback(view.spec, arc.speed, arc.lead)
            safe = guard(view, walk.snapshot, deadline, back)
            if safe.fallback_in_time() and self._payable(walk, view, arc):
                return arc, safe
        return None

    def _payable(self, walk: Walk, view: JobView, arc: Arc) -> bool:
        """Whether a cost centre's whole budget would pay for the rest of a job on demand. Where it
        would not, buying saves no deadline: it spends what others of the cost centre need."""
        spec = view.spec
        budget = walk.snapshot.budgets.get(spec.cost_centre)
        if budget is None:
            return True
        time = time_on(view.work_left(walk.now), arc.speed) + spec.start_overhead
        return charge(arc.rate * spec.requirement.nodes, time) <= budget.limit

    def costs(
        self, walk: Walk, view: JobView, entry: Entry, back: Arc, there: list[OfferId]
    ) -> Costs:
        """Expected cost to the end [USD a machine] of each first choice, safe or not. back: what
        on-demand means for this job. there: the spot offers with capacity for it, the one it holds
        included."""
        demand = self._demand(walk, view, entry, back, there)
        if not demand.pools:
            return Costs(float("inf"), 0.0, {})
        solved = self.tables.of(view.spec.id, demand, self.forecaster, walk.now)
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
