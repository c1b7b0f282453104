"""What jobs may take, before all are weighed at once: what is safe, what is urgent, who may yield.

Deadlines are not the solver's to weigh: a job without slack takes on-demand here, by the safety
rules of `treasury.optimizer.deadline`, and what could make a job late is no choice.
"""

import msgspec

from treasury.domain.job import JobSpec, JobState
from treasury.domain.market import Tenure
from treasury.domain.plan import JobView, PlacementView
from treasury.domain.time import HOUR, MINUTE, NEVER
from treasury.optimizer.deadline import Fallback, calm_until, spot_loss, time_on
from treasury.optimizer.market import Arc, lead_of, price_of
from treasury.optimizer.problem import Candidate
from treasury_strategies.patient import Patient, PatientSettings, fastest
from treasury_strategies.queue import Entry, Walk

_RUNNING, _STARTING = JobState.RUNNING, JobState.STARTING
# A job that would be late by less than this share of its time [thousandths] still hurries.
_GRACE = 100

# Offer (by its place in the snapshot) -> (priority, machines) of the jobs that could be stopped
# there.
Yielding = dict[int, list[tuple[int, int]]]


class OptimalSettings(PatientSettings, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Durations in ns, shares in thousandths; `patience` and `margin` as for greedy.

    slack: a job takes on-demand for want of spot once its slack is less than this share of the work
    left. horizon: over which gains are counted, and budgets spend. payback: within what time a move
    must gain its cost; spot_payback: one from spot to spot. move_margin: how much more than its
    cost a move must gain. min_stay: how long a job is left where it is. yield_after: how
    long a job waits before one of lower priority is stopped for it. columns: choices up to which
    CP-SAT decides; beyond, prices do (`treasury.optimizer.flow`). most, per_job: choices that are
    weighed at all, of all jobs and of one. seed, effort: of CP-SAT, in deterministic milliseconds.
    """

    slack: int = 200
    horizon: int = 4 * HOUR
    payback: int = HOUR
    spot_payback: int = 30 * MINUTE
    move_margin: int = 500
    min_stay: int = 10 * MINUTE
    yield_after: int = 15 * MINUTE
    columns: int = 2_000
    most: int = 100_000
    per_job: int = 8
    seed: int = 1
    effort: int = 200

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("slack", "move_margin", "min_stay", "yield_after", "seed"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must be 0 or more, not {getattr(self, name)}")
        for name in ("horizon", "payback", "spot_payback", "columns", "most", "per_job", "effort"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be 1 or more, not {getattr(self, name)}")


class Wishes(Patient):
    """Finds for each job the offers that are worth weighing, and sees to those that cannot wait."""

    Settings = OptimalSettings

    def __init__(self, settings: OptimalSettings | None = None) -> None:
        super().__init__(settings)
        self.own = settings if settings is not None else OptimalSettings()

    def line(self, spec: JobSpec, deadline: int, work_done: int, back: Fallback) -> int:
        """Where a job's slack is down to its share of the work left."""
        left = time_on(spec.work - work_done, back.speed)
        return deadline - back.start - left - left * self.own.slack // 1_000 - 1

    def placed(
        self, walk: Walk, view: JobView, entry: Entry, placement: PlacementView
    ) -> Arc | None:
        """Where a job on spot that has no slack must go: to spot that is safe, else to
        on-demand."""
        arc = super().placed(walk, view, entry, placement)
        deadline = view.spec.deadline
        if arc is None or deadline is None:
            return arc
        others = [
            other for other in self.open(entry, entry.fit.spot) if other.id != placement.offer
        ]
        covers = self._backs(walk, view, deadline, entry)
        safe = self._safe(walk, stopped(view, walk.now), deadline, covers, others)
        if others and not safe:
            walk.review(walk.now + self.own.min_stay)
        return safe[0] if safe and safe[0].price < arc.price else arc

    # --- jobs that hold machines -----------------------------------------------------------------

    def seats(self, walk: Walk) -> list[Candidate]:
        """Placed jobs that may be moved or stopped; those without slack are seen to at once."""
        seats = []
        for view in walk.snapshot.jobs:
            placement = view.placement
            if placement is None or view.migrating:
                continue
            before = len(walk.actions)
            self.look_after(walk, view, placement)
            if len(walk.actions) > before or view.state not in (_RUNNING, _STARTING):
                continue
            seat = self._seat(walk, view, placement)
            if seat is None:
                continue
            settled = placement.requested_at + self.own.min_stay
            if view.state is _STARTING and not given_up_first(seat):
                # A move keeps the old machine, and for that it must be at work.
                settled = max(settled, placement.useful_from or walk.now + 1)
            if walk.now >= settled:
                seats.append(seat)
            elif seat.arcs:
                walk.review(settled)
        return seats

    def _seat(self, walk: Walk, view: JobView, placement: PlacementView) -> Candidate | None:
        entry, spec = self.entry(walk, view.spec), view.spec
        entry.refused = None
        index = self.market.place_of(placement.offer)
        if index is None or not spec.interruptible:
            return None
        there = self.market.offers[index]
        rate = there.rate if there.rate >= 0 else placement.bid
        price, lead = price_of(rate, placement.speed), lead_of(there.offer)
        held = Arc(price, index, there.offer, rate, placement.bid, placement.speed, lead)
        cheaper = [
            arc
            for arc in self.open(entry, entry.fit.spot)
            if arc.price < price
            and arc.index != index
            and not self.refusals.bears_grudge(spec.id, arc.id, walk.now)
        ]
        bound = spec.deadline is not None
        covers = self._backs(walk, view, spec.deadline, entry, None if held.spot else held)
        if spec.deadline is not None and covers:
            halted = stopped(view, walk.now)
            if all(self._lost(walk, halted, spec.deadline, arc) for arc in covers):
                return Candidate(view, entry.fit, tuple(cheaper), held)
            cheaper = self._safe(walk, halted, spec.deadline, covers, cheaper)
            bound = True
        return Candidate(view, entry.fit, tuple(cheaper), held, bound)

    def _backs(
        self,
        walk: Walk,
        view: JobView,
        deadline: int | None,
        entry: Entry,
        held: Arc | None = None,
    ) -> list[Arc]:
        """What a job may count on, what it holds on demand included; the fastest fallback if none
        is fast enough. Nothing without a deadline."""
        if deadline is None:
            return []
        arcs = self.open(entry, entry.fit.fallback)
        if held is not None:
            arcs = [held, *(arc for arc in arcs if arc.index != held.index)]
            arcs.sort(key=lambda arc: (arc.price, arc.index))
        found = self.covers(walk, view, deadline, entry, arcs)
        last = fastest(arcs)
        return found or ([] if last is None else [last])

    # --- jobs that wait --------------------------------------------------------------------------

    def wishes(self, walk: Walk, view: JobView, yielding: Yielding) -> Candidate | None:
        """What a queued job may take. None when that is decided already: it has no slack and takes
        on-demand, or there is nothing for it."""
        entry, spec = self.enter(walk, view), view.spec
        fit, deadline = entry.fit, spec.deadline
        entry.calm_until = NEVER
        spots = self.open(entry, fit.spot)
        backs = self.open(entry, fit.fallback)
        urgent = False
        if deadline is None:
            patience = self.own.patience
            if patience is not None and backs:
                entry.calm_until = view.queued_at + patience - 1
                urgent = entry.calm_until < walk.now
        elif backs:
            covers = self.covers(walk, view, deadline, entry, backs)
            if covers:
                backs = covers
                entry.calm_until, entry.cover = self.calm(walk, view, deadline, covers)
                urgent = entry.calm_until < walk.now
                spots = self._safe(walk, view, deadline, covers, spots)
            else:
                # Late whatever is done. A little late is hurried; a lost deadline is not paid for.
                urgent = True
                backs = [arc for arc in backs if not self._lost(walk, view, deadline, arc)]
                backs = [arc for arc in (fastest(backs),) if arc is not None]
                spots = spots if not backs else []
                entry.calm_until = walk.now - 1 if backs else NEVER
            if urgent and backs and not any(arc.spot for arc in spots):
                self.place(walk, view, entry, backs[0])
                if fit.spot:
                    walk.review(walk.now + self.own.min_stay)
                return None
        arcs = [*spots, *(arc for arc in backs[:1] if urgent and arc not in spots)]
        if yielding:
            waited_until = view.queued_at + self.own.yield_after
            if walk.now >= waited_until:
                arcs += self._crowded(walk, view, entry, yielding, urgent=urgent)
            else:
                walk.review(waited_until)
        if not arcs:
            self._wait(walk, entry, entry.calm_until, entry.cover)
            self.leave_out(walk, entry)
            return None
        return Candidate(view, fit, tuple(arcs), urgent=urgent)

    def _crowded(
        self,
        walk: Walk,
        view: JobView,
        entry: Entry,
        yielding: Yielding,
        *,
        urgent: bool,
    ) -> list[Arc]:
        """Full offers that jobs of lower priority would have to leave."""
        spec, fit = view.spec, entry.fit
        backs: list[Arc] = []
        if spec.deadline is not None and fit.reference is not None:
            backs = self._backs(walk, view, spec.deadline, entry) or [fit.reference]
            urgent = urgent or walk.now > self.calm(walk, view, spec.deadline, backs)[0]
        refused = entry.refused or ()
        found = []
        for arc in fit.full(self.market, firm=urgent):
            seats = yielding.get(arc.index, ())
            room = sum(nodes for priority, nodes in seats if priority < spec.priority)
            if self.market.free[arc.index] + room >= fit.nodes and arc.id not in refused:
                found.append(arc)
        if spec.deadline is None or not backs:
            return found
        return self._safe(walk, view, spec.deadline, backs, found)

    def _lost(self, walk: Walk, view: JobView, deadline: int, arc: Arc) -> bool:
        """Whether a job would miss its deadline by more than a little if it took a fallback now."""
        spec = view.spec
        need = time_on(spec.work - view.work_done, arc.speed) + spec.start_overhead + arc.lead
        grace = (deadline - spec.submitted_at) * _GRACE // 1_000
        return walk.now + need > deadline + grace

    def _safe(
        self, walk: Walk, view: JobView, deadline: int, backs: list[Arc], arcs: list[Arc]
    ) -> list[Arc]:
        """Those of some offers from which a job without a machine could still fall back in time, to
        one fallback or another, after a while on spot that makes the start worth its cost."""
        spec = view.spec
        stay = max(walk.tick, self.own.payback)

        def safe(arc: Arc, onto: Arc) -> bool:
            back = self.fallback(spec, onto.speed, onto.lead)
            loss = arc.lead + spot_loss(spec, arc.speed, onto.speed, stay)
            return walk.now <= calm_until(spec, view.work_done, deadline, back, loss, walk.tick)

        return [arc for arc in arcs if not arc.spot or any(safe(arc, onto) for onto in backs)]


def stopped(view: JobView, now: int) -> JobView:
    """A job as it would be if it stopped at a checkpoint now."""
    return msgspec.structs.replace(
        view, work_done=view.spec.work - view.work_left(now), placement=None
    )


def given_up_first(seat: Candidate) -> bool:
    """Whether a job gives up what it holds before it has the next: on-demand can be had again."""
    return seat.held is not None and seat.held.offer.tenure is Tenure.ON_DEMAND


def who_may_yield(seats: list[Candidate]) -> Yielding:
    """Offer -> (priority, machines) of the jobs that could be stopped there."""
    found: Yielding = {}
    for seat in seats:
        if seat.held is not None and not seat.bound:
            seen = found.setdefault(seat.held.index, [])
            seen.append((seat.view.spec.priority, seat.fit.nodes))
    return found


def may_yield(seat: Candidate, wanted: dict[int, int]) -> bool:
    """Whether a running job could be stopped with profit: its owner said what it is worth, or one
    of higher priority wants its machines. wanted: offer -> the highest priority that asks for
    it."""
    if seat.bound or seat.held is None:
        return False
    priority = seat.view.spec.priority
    return wanted.get(seat.held.index, priority) > priority or bool(seat.view.spec.value)
