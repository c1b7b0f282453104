"""A market without delays that a strategy plays tick by tick: what it proposes happens at once.

Small and slow on purpose: it knows nothing of the engine, so that strategies are judged alone.
"""

from collections.abc import Callable, Sequence

import msgspec

from treasury.domain.hardware import Shape
from treasury.domain.ids import CostCentre, JobId, OfferId, ProviderName
from treasury.domain.job import JobSpec, JobState, Requirement
from treasury.domain.market import Capabilities, Offer, Tenure, offer_id
from treasury.domain.money import charge
from treasury.domain.plan import (
    BudgetView,
    JobView,
    Migrate,
    OfferView,
    Place,
    PlacementView,
    Plan,
    Preempt,
    Snapshot,
)
from treasury.domain.time import HOUR, SECOND
from treasury.ports import Strategy

TICK = 600 * SECOND
RATE = 1_000_000_000
LAB = CostCentre("lab")
V100 = Requirement({"V100": 1_000})


def offer(
    tenure: Tenure,
    *,
    provider: str = "aws",
    zone: str = "a",
    gpu: str = "V100",
    gpus: int = 1,
    lead: int = 0,
    gang_max: int = 1_000,
) -> Offer:
    """A pool. lead: boot time [ns]."""
    name = offer_id(provider, "west", zone, f"{gpu.lower()}x{gpus}", tenure)
    capabilities = Capabilities(boot_ns=lead, gang_max=gang_max)
    shape = Shape(gpu, gpus, 16)
    return Offer(name, ProviderName(provider), "west", zone, shape, tenure, capabilities)


def sold(
    what: Offer, dollars: float, *, depth: int = -1, in_use: int = 0, quarantined_until: int = 0
) -> OfferView:
    """An offer at a price [USD/h]; negative for no price yet."""
    rate = int(dollars * RATE) if dollars >= 0 else -1
    return OfferView(what, rate, depth, in_use, 0, quarantined_until)


SPOT = offer(Tenure.SPOT)
ON_DEMAND = offer(Tenure.ON_DEMAND)


def job(
    name: str = "job",
    *,
    hours: float = 4,
    deadline: float | None = None,
    overhead: int = 0,
    requirement: Requirement = V100,
    submitted_at: int = 0,
    cost_centre: CostCentre = LAB,
    **rest: int | bool,
) -> JobSpec:
    """A job. hours of work, deadline in hours after submission, overhead in ns."""
    return JobSpec(
        id=JobId(name),
        cost_centre=cost_centre,
        requirement=requirement,
        work=round(hours * HOUR),
        submitted_at=submitted_at,
        start_overhead=overhead,
        deadline=None if deadline is None else submitted_at + round(deadline * HOUR),
        **rest,  # type: ignore[arg-type]
    )


def budget(
    available: int = 10**12,
    *,
    cost_centre: CostCentre = LAB,
    ceiling: int = 0,
    parent: CostCentre | None = None,
) -> BudgetView:
    """A budget with money to spend [micro-USD]."""
    return BudgetView(cost_centre, available, available, 0, 0, ceiling, parent)


def queued(spec: JobSpec, *, work_done: int = 0, queued_at: int = 0) -> JobView:
    """A job that waits."""
    return JobView(spec, JobState.QUEUED, work_done, queued_at)


def running(
    spec: JobSpec, on: Offer, *, useful_from: int = 0, work_done: int = 0, bid: int = 4 * RATE
) -> JobView:
    """A job on machines."""
    speed = spec.requirement.speed(on)
    placement = PlacementView(on.id, bid, useful_from, useful_from, speed)
    return JobView(spec, JobState.RUNNING, work_done, 0, placement)


def snapshot(
    jobs: Sequence[JobView],
    offers: Sequence[OfferView],
    *,
    now: int = 0,
    version: int = 1,
    tick: int = TICK,
    origin: int = 0,
    budgets: Sequence[BudgetView] = (),
) -> Snapshot:
    """What a strategy sees: jobs in queue order, offers by id."""
    order = sorted(jobs, key=lambda v: (-v.spec.priority, v.spec.submitted_at, v.spec.id))
    return Snapshot(
        version=version,
        now=now,
        jobs=tuple(order),
        offers=tuple(sorted(offers, key=lambda view: view.offer.id)),
        budgets={view.cost_centre: view for view in budgets or (budget(),)},
        tick=tick,
        origin=origin,
    )


class Played(msgspec.Struct):
    """What came of a game. cost in micro-USD; ended: job -> instant [ns]."""

    cost: int = 0
    ended: dict[JobId, int] = {}
    plans: int = 0
    actions: list[tuple[int, object]] = []
    peak: dict[OfferId, int] = {}


class Game:
    """Jobs from their submission to their end; each tick is billed whole."""

    def __init__(self, strategy: Strategy, jobs: Sequence[JobSpec], *, tick: int = TICK) -> None:
        self.strategy = strategy
        self.views = {spec.id: queued(spec, queued_at=spec.submitted_at) for spec in jobs}
        self.tick = tick
        self.played = Played()

    def play(
        self,
        market: Callable[[int], Sequence[OfferView]],
        *,
        ticks: int,
        each_tick: bool = True,
        budgets: Sequence[BudgetView] = (),
    ) -> Played:
        """market: the offers at an instant [ns], with all that could be held as depth. each_tick:
        ask at every tick; otherwise only when something changed or the last plan wanted a
        review."""
        review: int | None = 0
        before: object = None
        for step in range(ticks):
            now = step * self.tick
            offers = {view.offer.id: view for view in market(now)}
            changed = before != list(offers.values())
            before = list(offers.values())
            changed = self._advance(now, offers) or changed
            if not self.views:
                break
            if each_tick or changed or (review is not None and now >= review):
                plan = self._ask(now, offers, budgets, step + 1)
                review = plan.review_at
            self._bill(now, offers)
        return self.played

    def _advance(self, now: int, offers: dict[OfferId, OfferView]) -> bool:
        """End what is done, take back what the market no longer has; whether anything happened."""
        changed = False
        for name, view in list(self.views.items()):
            if view.work_left(now) == 0:
                self.played.ended[name] = now
                del self.views[name]
                changed = True
        for at, offer_view in offers.items():
            while offer_view.depth >= 0 and self._in_use(at) > offer_view.depth:
                loser = [v for v in self.views.values() if v.placement and v.placement.offer == at]
                self._stop(loser[-1], now, lost=_unsaved(loser[-1], now))
                changed = True
        return changed or any(v.spec.submitted_at == now for v in self.views.values())

    def _in_use(self, at: OfferId) -> int:
        return sum(
            view.spec.requirement.nodes
            for view in self.views.values()
            if view.placement is not None and view.placement.offer == at
        )

    def _stop(self, view: JobView, now: int, *, lost: int = 0) -> None:
        done = view.spec.work - view.work_left(now) - lost
        self.views[view.spec.id] = queued(view.spec, work_done=done, queued_at=now)

    def _ask(
        self,
        now: int,
        offers: dict[OfferId, OfferView],
        budgets: Sequence[BudgetView],
        version: int,
    ) -> Plan:
        seen = [
            msgspec.structs.replace(view, in_use=self._in_use(at)) for at, view in offers.items()
        ]
        present = [view for view in self.views.values() if view.spec.submitted_at <= now]
        plan = self.strategy.propose(
            snapshot(present, seen, now=now, version=version, tick=self.tick, budgets=budgets)
        )
        self.played.plans += 1
        told = {action.job for action in plan.actions} | {left.job for left in plan.left_out}
        silent = [v.spec.id for v in present if v.placement is None and v.spec.id not in told]
        assert not silent, f"nothing is said of {silent}"
        for action in plan.actions:
            self.played.actions.append((now, action))
            self._act(action, now, offers)
        for at, view in offers.items():
            used = self._in_use(at)
            assert view.depth < 0 or used <= view.depth, f"{at} holds {used} of {view.depth}"
            self.played.peak[at] = max(used, self.played.peak.get(at, 0))
        return plan

    def _act(self, action: object, now: int, offers: dict[OfferId, OfferView]) -> None:
        assert isinstance(action, Place | Preempt | Migrate)
        view = self.views[action.job]
        if isinstance(action, Preempt):
            assert view.placement is not None, "only a placed job can be stopped"
            self._stop(view, now)
            return
        if isinstance(action, Migrate):
            assert view.placement is not None, "only a placed job can be moved"
            self._stop(view, now)
            view = self.views[action.job]
        assert view.placement is None, "a placed job cannot be placed"
        what = offers[action.offer]
        assert what.rate <= action.bid, "a bid below the rate would be refused"
        speed = view.spec.requirement.speed(what.offer)
        assert speed > 0, "the offer does not fit"
        ready = now + what.offer.capabilities.boot_ns + view.spec.start_overhead
        placement = PlacementView(what.offer.id, action.bid, now, ready, speed)
        self.views[action.job] = msgspec.structs.replace(
            view, state=JobState.RUNNING, placement=placement
        )

    def _bill(self, now: int, offers: dict[OfferId, OfferView]) -> None:
        del now
        for view in self.views.values():
            if view.placement is not None:
                rate = offers[view.placement.offer].rate
                self.played.cost += charge(rate * view.spec.requirement.nodes, self.tick)


def _unsaved(view: JobView, now: int) -> int:
    """Reference ns since the last checkpoint."""
    interval, placement = view.spec.checkpoint_interval, view.placement
    assert placement is not None
    if not interval or placement.useful_from is None or now <= placement.useful_from:
        return 0
    return (now - placement.useful_from) % interval * placement.speed // 1_000
