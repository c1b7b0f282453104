"""What greedy and uniform_progress share: spot when it is there, on-demand when the deadline says
so."""

import msgspec

from treasury.domain.job import JobSpec
from treasury.domain.market import Tenure
from treasury.domain.plan import JobView, OfferView, PlacementView
from treasury.domain.time import NEVER
from treasury.optimizer.deadline import (
    Fallback,
    calm_until,
    in_time,
    rescue_tick,
    spot_loss,
)
from treasury.optimizer.market import Arc
from treasury_strategies.queue import Entry, QueueStrategy, Walk


class PatientSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Durations in ns.

    patience: how long a job without a deadline waits for spot before it takes on-demand; None for
    ever. margin: time kept in hand before every deadline, for starts that take longer than
    promised.
    """

    patience: int | None = None
    margin: int = 0

    def __post_init__(self) -> None:
        for name, value in (("patience", self.patience), ("margin", self.margin)):
            if value is not None and value < 0:
                raise ValueError(f"{name} must be 0 or more, not {value}")


class Patient(QueueStrategy):
    """Waits for spot while the deadline allows it. The safety rules of
    `treasury.optimizer.deadline` make sure that on-demand is taken in time; a policy adds when to
    take it earlier and when to leave it again."""

    Settings = PatientSettings

    def __init__(self, settings: PatientSettings | None = None) -> None:
        super().__init__()
        self.settings = settings if settings is not None else self.Settings()

    # --- what policies add -----------------------------------------------------------------------

    def line(self, spec: JobSpec, deadline: int, work_done: int, back: Fallback) -> int:
        """The last instant at which a job without a machine need not take on-demand for want of
        spot."""
        del spec, deadline, work_done, back
        return NEVER

    def returns(
        self,
        walk: Walk,
        view: JobView,
        deadline: int,
        entry: Entry,
        placement: PlacementView,
        held: OfferView,
    ) -> Arc | None:
        """The spot offer that a job on on-demand is to return to now, if any."""
        del walk, view, deadline, entry, placement, held
        return None

    # --- queued ----------------------------------------------------------------------------------

    def queued(self, walk: Walk, view: JobView, entry: Entry) -> Arc | None:
        """Spot while that is safe, on-demand once it is not, else nothing."""
        fit, spec = entry.fit, view.spec
        spot = self.best(entry, fit.spot)
        fallback = self.best(entry, fit.fallback)
        entry.calm_until = NEVER
        if fallback is None or (spot is not None and not spot.spot):
            # Nothing to fall back to, or nothing that could be taken back: no reason to wait.
            return spot
        deadline = spec.deadline
        if deadline is None:
            if spot is not None:
                return spot
            patience = self.settings.patience
            calm = NEVER if patience is None else view.queued_at + patience - 1
            if calm < walk.now:
                return fallback
            self._wait(walk, entry, calm)
            return None
        open_ = self.open(entry, fit.fallback)
        covers = self.covers(walk, view, deadline, entry, open_)
        if not covers:
            # Late whatever is done: as soon as possible.
            return fastest(open_)
        if spot is None:
            calm, cover = self.calm(walk, view, deadline, covers)
            if calm < walk.now:
                return covers[0]
            self._wait(walk, entry, calm, cover)
            return None
        for arc in covers:
            back = self.fallback(spec, arc.speed, arc.lead)
            loss = spot.lead + spot_loss(spec, spot.speed, arc.speed, walk.tick)
            if calm_until(spec, view.work_done, deadline, back, loss, walk.tick) >= walk.now:
                self.foresee(walk, view, deadline, spot, back, entry)
                return spot
        return covers[0]

    def covers(
        self, walk: Walk, view: JobView, deadline: int, entry: Entry, arcs: list[Arc]
    ) -> list[Arc]:
        """Those of some fallbacks, the cheapest first, that a job may count on: the cheapest that
        ends in time if taken now, and dearer ones as far as waiting for spot with nothing but them
        to fall back to is expected to cost less than that one."""
        found: list[Arc] = []
        left, expected = view.work_left(walk.now), entry.fit.prospect.expected
        for arc in arcs:
            if found and expected(arc.price) >= found[0].price:
                break
            back = self.fallback(view.spec, arc.speed, arc.lead)
            if in_time(walk.now, left, deadline, back, walk.tick):
                found.append(arc)
        return found

    def calm(self, walk: Walk, view: JobView, deadline: int, covers: list[Arc]) -> tuple[int, Arc]:
        """The last instant at which a job without a machine may wait, and the fallback that lets
        it."""
        spec, done = view.spec, view.work_done
        until, cover = -1, covers[0]
        for arc in covers:
            back = self.fallback(spec, arc.speed, arc.lead)
            calm = min(
                calm_until(spec, done, deadline, back, 0, walk.tick),
                self.line(spec, deadline, done, back),
            )
            if calm > until:
                until, cover = calm, arc
        return until, cover

    def fallback(self, spec: JobSpec, speed: int, lead: int) -> Fallback:
        """What a start on a fallback of some speed and lead takes."""
        return Fallback(speed, spec.start_overhead + lead + self.settings.margin)

    def _wait(self, walk: Walk, entry: Entry, calm: int, cover: Arc | None = None) -> None:
        entry.calm_until, entry.cover = calm, cover
        walk.calm_until = min(walk.calm_until, calm)

    def foresee(
        self, walk: Walk, view: JobView, deadline: int, spot: Arc, back: Fallback, entry: Entry
    ) -> None:
        """Ask again when a job that is to start on spot now must leave it. Nobody asks when it has
        started, since nothing is unexpected then."""
        if spot.speed >= entry.fit.top_speed and not view.spec.checkpoint_interval:
            return
        useful_from = walk.now + spot.lead + view.spec.start_overhead
        placement = PlacementView(spot.id, spot.bid, walk.now, useful_from, spot.speed)
        started = msgspec.structs.replace(view, placement=placement)
        walk.review(rescue_tick(started, walk.now, deadline, back, walk.tick, walk.origin))

    # --- placed ----------------------------------------------------------------------------------

    def placed(
        self, walk: Walk, view: JobView, entry: Entry, placement: PlacementView
    ) -> Arc | None:
        """On-demand for a job on spot whose next interruption would come too late to bear."""
        deadline = view.spec.deadline
        held = self.market.view(placement.offer)
        if deadline is None or held is None:
            return None
        tenure = held.offer.tenure
        if tenure is Tenure.ON_DEMAND:
            return self.returns(walk, view, deadline, entry, placement, held)
        if tenure is not Tenure.SPOT:
            return None
        if (
            placement.useful_from is not None
            and placement.useful_from <= walk.now
            and placement.speed >= entry.fit.top_speed
            and not view.spec.checkpoint_interval
        ):
            # It gains on the deadline as fast as any fallback would: no interruption can hurt.
            return None
        return self._rescue(walk, view, deadline, entry)

    def _rescue(self, walk: Walk, view: JobView, deadline: int, entry: Entry) -> Arc | None:
        arcs = self.open(entry, entry.fit.fallback)
        if not arcs:
            return None
        covers = arcs[:1]
        at = entry.turn(view, _key(arcs[0], walk))
        if at is None or at <= walk.now:
            covers = self.covers(walk, view, deadline, entry, arcs)
        for arc in covers:
            at = entry.turn(view, _key(arc, walk))
            if at is None:
                back = self.fallback(view.spec, arc.speed, arc.lead)
                at = rescue_tick(view, walk.now, deadline, back, walk.tick, walk.origin)
            if at > walk.now:
                entry.remember(view, _key(arc, walk), at)
                walk.review(at)
                return None
        return covers[0] if covers else None


def _key(arc: Arc, walk: Walk) -> tuple[int, ...]:
    return arc.speed, arc.lead, walk.tick


def fastest(arcs: list[Arc]) -> Arc | None:
    """The quickest of some offers in order of price; among equals the cheapest."""
    return max(arcs, key=lambda arc: arc.speed, default=None)
