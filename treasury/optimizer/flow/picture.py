"""A snapshot as an instance: the fleet as it stands, so that prices can explain it.

The same words as the strategy `optimal` weighs: what an hour of work is worth, which offers a job
may take, what a start costs. Every gain is by the hour of work, since all work is to be done and
only its price is open. What cannot be moved (not interruptible, on its way, just placed) is no part
of the instance: its machines and its money are simply not there.

Hourly budgets stand for money: whatever is taken has to be held for a while at the bid, so a cost
centre can take on as much an hour as it has left over that while.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import msgspec
import numpy as np

from treasury.domain.ids import CostCentre, JobId, OfferId
from treasury.domain.job import JobSpec, JobState
from treasury.domain.market import Tenure
from treasury.domain.money import charge
from treasury.domain.plan import BudgetView, JobView, OfferView, PlacementView, Snapshot
from treasury.domain.time import HOUR, MINUTE, SECOND
from treasury.optimizer.deadline import Fallback, calm_until, time_on
from treasury.optimizer.flow.arrays import (
    AMPLE,
    Bools,
    Instance,
    Ints,
    Jobs,
    Kinds,
    Offers,
    Rules,
    Small,
)
from treasury.optimizer.market import Arc, Fit, Market, lead_of
from treasury.optimizer.problem import Candidate, unit_price, worth

_MICRO: Final = 1_000
_GRACE: Final = 100


class Lens(msgspec.Struct, frozen=True, kw_only=True):
    """How a snapshot is looked at; as `optimal` does. Durations in ns.

    hold: for how long money is held for what is taken. slack: a job may take on-demand for want of
    spot once its slack is less than this share of the work left [thousandths]. settle: how long a
    job is left where it was placed. residence: over which a move's one-off cost is spread. hazard:
    of spot where nothing is known [interruptions per million machine-hours].
    """

    hold: int = 2 * HOUR
    slack: int = 200
    settle: int = 10 * MINUTE
    residence: int = 30 * MINUTE
    hazard: int = 40_000


@dataclass(frozen=True, slots=True)
class Picture:
    """An instance, and who is who in it.

    jobs: in the order of the instance. offers, centres: likewise. fixed: jobs that hold machines
    and are no part of the instance, and why. fits: of each job of the instance.
    """

    instance: Instance
    snapshot: Snapshot
    lens: Lens
    jobs: tuple[JobView, ...]
    fits: tuple[Fit, ...]
    market: Market
    centres: tuple[CostCentre, ...]
    fixed: Mapping[JobId, str]

    @property
    def offers(self) -> tuple[OfferView, ...]:
        """The offers of the instance."""
        return self.snapshot.offers

    def per_hour(self, money: int) -> int:
        """How much more an hour money [micro-USD] lets a cost centre take on."""
        return money * HOUR // self.lens.hold

    def room(self, centre: CostCentre) -> int:
        """What a cost centre has left [micro-USD], whatever those above it lack."""
        return _room(self.snapshot.budgets[centre], self.snapshot.budgets)

    def money(self, per_hour: int) -> int:
        """Money [micro-USD] that has to be there for so much more an hour."""
        return -(-per_hour * self.lens.hold // HOUR)


def picture(
    snapshot: Snapshot, lens: Lens | None = None, hazards: Mapping[OfferId, int] | None = None
) -> Picture:
    """The instance of a snapshot. hazards: what is known of spot offers [interruptions per
    million machine-hours]."""
    lens = lens if lens is not None else Lens()
    market = Market()
    market.refresh(snapshot)
    centres = tuple(snapshot.budgets)
    sketch = _Sketch(snapshot, lens, market, {name: at for at, name in enumerate(centres)})
    for view in snapshot.jobs:
        sketch.add(view)
    offers = _offers(sketch, hazards or {})
    instance = Instance(
        sketch.columns(), sketch.kinds(), offers, _rules(sketch, centres, offers.committed)
    )
    return Picture(
        instance, snapshot, lens, tuple(sketch.jobs), tuple(sketch.fits), market, centres,
        sketch.fixed,
    )  # fmt: skip


class _Open:
    """What a class of jobs may take, as columns over all offers."""

    def __init__(self, fit: Fit, market: Market) -> None:
        size = len(market.offers)
        self.speed = np.zeros(size, dtype=np.int32)
        self.always = np.zeros(size, dtype=np.bool_)
        self.bid = np.zeros(size, dtype=np.int64)
        self.cheapest = 0
        prices = []
        chances = {member.index for member in fit.opportunities}
        for member in fit.members:
            view = market.offers[member.index]
            bid = fit.bid(member, view.rate, fit.reference)
            if 0 <= view.rate <= bid and market.now >= view.quarantined_until:
                self.speed[member.index] = member.speed
                self.always[member.index] = member.index in chances
                self.bid[member.index] = bid
                prices.append(unit_price(view.rate, member.speed))
        self.cheapest = min(prices, default=0)


class _Sketch:
    """The columns of an instance in the making."""

    def __init__(
        self, snapshot: Snapshot, lens: Lens, market: Market, centre: dict[CostCentre, int]
    ) -> None:
        self.snapshot, self.lens, self.market, self.centre = snapshot, lens, market, centre
        self.jobs: list[JobView] = []
        self.fits: list[Fit] = []
        self.fixed: dict[JobId, str] = {}
        self.held = np.zeros(len(market.offers), dtype=np.int64)
        self.bid = np.zeros(len(market.offers), dtype=np.int64)
        self._open: dict[int, _Open] = {}
        self._kind_of: dict[tuple[int, bool, int, int], int] = {}
        self._kinds: list[tuple[Small, int]] = []
        self._rows: list[tuple[int, ...]] = []

    def add(self, view: JobView) -> None:
        """Take a job in, or note why it stays as it is."""
        why = _fixed(view, self.snapshot.now, self.lens)
        placement = view.placement
        at = None if placement is None else self.market.place_of(placement.offer)
        if why is None and placement is not None and at is None:
            why = f"{placement.offer} is not listed any more"
        if why is not None:
            self.fixed[view.spec.id] = why
            return
        spec = view.spec
        budget = self.snapshot.budgets.get(spec.cost_centre)
        fit = self.market.fit(spec, 0 if budget is None else budget.ceiling)
        fit.refresh(self.market)
        open_ = self._open.get(id(fit))
        if open_ is None:
            open_ = self._open[id(fit)] = _Open(fit, self.market)
        held = None
        if placement is not None and at is not None:
            held = self._arc(placement, at)
            self.held[at] += fit.nodes
            self.bid[at] = max(self.bid[at], held.bid)
        urgent = _urgent(view, fit, self.snapshot, self.lens)
        kind = self._kind(fit, open_, urgent, held)
        self._rows.append(self._row(view, fit, open_, urgent, held, kind))
        self.jobs.append(view)
        self.fits.append(fit)

    def _arc(self, placement: PlacementView, at: int) -> Arc:
        view = self.market.offers[at]
        rate = view.rate if view.rate >= 0 else placement.bid
        lead = lead_of(view.offer)
        return Arc(0, at, view.offer, rate, placement.bid, max(1, placement.speed), lead)

    def _kind(self, fit: Fit, open_: _Open, urgent: bool, held: Arc | None) -> int:
        key = (
            (id(fit), urgent, -1, 0) if held is None else (id(fit), urgent, held.index, held.speed)
        )
        known = self._kind_of.get(key)
        if known is None:
            known = self._kind_of[key] = len(self._kinds)
            speed = np.where(open_.always | urgent, open_.speed, 0).astype(np.int32)
            self.bid = np.maximum(self.bid, np.where(speed > 0, open_.bid, 0))
            if held is not None:
                speed[held.index] = held.speed
            self._kinds.append((speed, fit.nodes))
        return known

    def _row(
        self, view: JobView, fit: Fit, open_: _Open, urgent: bool, held: Arc | None, kind: int
    ) -> tuple[int, ...]:
        spec, nodes = view.spec, fit.nodes
        cheapest = open_.cheapest
        if held is not None:
            price = unit_price(held.rate, held.speed)
            cheapest = min(cheapest, price) if cheapest else price
        candidate = Candidate(view, fit, (), held, urgent=urgent)
        value = worth(candidate, cheapest, self.snapshot.now) * nodes // _MICRO
        restart, interval = spec.start_overhead // SECOND, spec.checkpoint_interval // SECOND
        incumbent = -1
        if held is None:
            # Its start is paid sooner or later: no reason to wait. Only a start lost counts.
            restart, interval = 0, interval + 2 * restart
        else:
            incumbent = held.index
            # A deadline makes it twice as dear to stop, and who stops pays to start again.
            value *= 2 if spec.deadline is not None else 1
            value += charge(held.rate * nodes, spec.start_overhead + held.lead)
        centre = self.centre.get(spec.cost_centre, -1)
        return (kind, value, restart, interval, -1, 0, centre, -1, incumbent)

    def columns(self) -> Jobs:
        """The jobs."""
        table = np.array(self._rows, dtype=np.int64).reshape(-1, 9)
        return Jobs(*(np.ascontiguousarray(column) for column in table.T))

    def kinds(self) -> Kinds:
        """The kinds."""
        size = len(self.market.offers)
        speed = np.zeros((len(self._kinds), size), dtype=np.int32)
        for number, (row, _) in enumerate(self._kinds):
            speed[number] = row
        nodes = np.array([count for _, count in self._kinds], dtype=np.int32)
        machines = np.where(speed > 0, nodes[:, None], 0).astype(np.int32)
        return Kinds(speed, machines)


def _fixed(view: JobView, now: int, lens: Lens) -> str | None:
    """Why a job stays as it is; None for one that could be placed, moved or stopped."""
    placement = view.placement
    if placement is None:
        return None if view.state is JobState.QUEUED else f"it is {view.state.value}"
    if view.migrating:
        return "it is being moved"
    if view.state not in (JobState.RUNNING, JobState.STARTING):
        return f"it is {view.state.value}"
    if not view.spec.interruptible:
        return "it must not be interrupted"
    if now < placement.requested_at + lens.settle:
        return "it was placed a moment ago"
    return None


def _urgent(view: JobView, fit: Fit, snapshot: Snapshot, lens: Lens) -> bool:
    """Whether a job has so little slack left that on-demand is a choice; not when its deadline is
    lost by more than a little."""
    spec, reference = view.spec, fit.reference
    if spec.deadline is None or reference is None:
        return False
    start = spec.start_overhead + reference.lead
    left = view.work_left(snapshot.now)
    need = time_on(left, max(reference.speed, fit.top_speed))
    if snapshot.now + need + start > spec.deadline + _grace(spec):
        return False
    back, done = Fallback(reference.speed, start), spec.work - left
    calm = calm_until(spec, done, spec.deadline, back, 0, max(1, snapshot.tick))
    alone = time_on(left, reference.speed)
    calm = min(calm, spec.deadline - start - alone - alone * lens.slack // 1_000 - 1)
    return calm < snapshot.now


def _grace(spec: JobSpec) -> int:
    return ((spec.deadline or 0) - spec.submitted_at) * _GRACE // 1_000


def _offers(sketch: _Sketch, hazards: Mapping[OfferId, int]) -> Offers:
    views, lens = sketch.market.offers, sketch.lens
    rate = np.array([max(0, view.rate) for view in views], dtype=np.int64)
    # What is held and has no price any more costs what was bid.
    rate = np.where(np.array([view.rate < 0 for view in views], dtype=np.bool_), sketch.bid, rate)
    free = np.array(sketch.market.free, dtype=np.int64)
    spot: Bools = np.array([view.offer.tenure is Tenure.SPOT for view in views], dtype=np.bool_)
    known = [hazards.get(view.offer.id, -1) for view in views]
    hazard = np.array(known, dtype=np.int64)
    hazard = np.where(spot, np.where(hazard >= 0, hazard, lens.hazard), 0)
    none = np.full(len(views), -1, dtype=np.int64)
    return Offers(
        rate // _MICRO,
        -(-np.maximum(sketch.bid, rate) // _MICRO),
        np.minimum(free + sketch.held, AMPLE),
        hazard,
        none,
        np.array([view.offer.shape.gpus for view in views], dtype=np.int64),
        _numbered([view.offer.zone for view in views]),
        _numbered([view.offer.region for view in views]),
    )


def _numbered(names: list[str]) -> Ints:
    numbers: dict[str, int] = {}
    return np.array([numbers.setdefault(name, len(numbers)) for name in names], dtype=np.int64)


def _rules(sketch: _Sketch, centres: tuple[CostCentre, ...], committed: Ints) -> Rules:
    """Each cost centre may take on what it has, beside what its jobs hold already."""
    budgets, lens = sketch.snapshot.budgets, sketch.lens
    above = [budgets[name].parent for name in centres]
    parent = np.array(
        [-1 if name is None else sketch.centre.get(name, -1) for name in above], dtype=np.int64
    )
    limit = np.array(
        [min(AMPLE // 2, _room(budgets[name], budgets) * HOUR // lens.hold) for name in centres],
        dtype=np.int64,
    )
    jobs, kinds = sketch.columns(), sketch.kinds()
    on = np.flatnonzero(jobs.incumbent >= 0)
    burn = committed[jobs.incumbent[on]] * kinds.machines[jobs.kind[on], jobs.incumbent[on]]
    at = jobs.centre[on]
    while len(at):
        known = at >= 0
        at, burn = at[known], burn[known]
        np.add.at(limit, at, burn)
        at = parent[at]
    none = np.zeros(0, dtype=np.int64)
    return Rules(none, parent, limit, none, residence=lens.residence // SECOND, by_work=True)


def _room(budget: BudgetView, budgets: Mapping[CostCentre, BudgetView]) -> int:
    """What a cost centre has left [micro-USD], without what only those above it lack."""
    room = budget.available
    above = budgets.get(budget.parent) if budget.parent is not None else None
    if above is not None and above.available == room:
        room = max(room, budget.limit - budget.held - budget.spent)
    return max(0, room)
