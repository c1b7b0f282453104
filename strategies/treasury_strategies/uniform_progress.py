"""Uniform Progress (Wu et al., "Can't Be Late", NSDI'24): progress should keep up with the clock.

A job that has a deadline has a line: from nothing done at submission to all done at the deadline.
Behind the line and without spot it takes on-demand; once there it stays until spot is back *and* it
is ahead of the line by two starts, so that it does not flap. The safety rules are greedy's.
"""

import msgspec

from treasury.domain.job import JobSpec
from treasury.domain.plan import JobView, OfferView, PlacementView
from treasury.domain.time import NEVER
from treasury.optimizer.deadline import (
    Fallback,
    ahead_tick,
    calm_until,
    line_crossing,
    spot_loss,
    time_on,
)
from treasury.optimizer.market import Arc, lead_of
from treasury_strategies.patient import Patient, PatientSettings
from treasury_strategies.queue import Entry, Walk


class UniformProgress(Patient):
    """Greedy with a progress line: on-demand as soon as a job falls behind, back to spot once it is
    ahead."""

    name = "uniform_progress"
    Settings = PatientSettings

    def line(self, spec: JobSpec, deadline: int, work_done: int, back: Fallback) -> int:
        """Where the job falls behind its progress line if nothing is done."""
        del back
        return line_crossing(spec.submitted_at, deadline, spec.work, work_done)

    def returns(
        self,
        walk: Walk,
        view: JobView,
        deadline: int,
        entry: Entry,
        placement: PlacementView,
        held: OfferView,
    ) -> Arc | None:
        """Spot, once the job is two starts ahead of its line and there is time for a try."""
        spot = self.best(entry, entry.fit.spot)
        if spot is None:
            walk.review(entry.fit.wakes)
            return None
        key = (spot.index, spot.rate, held.rate, walk.tick)
        at = entry.turn(view, key)
        if at is None:
            at = self._return_tick(walk, view, deadline, placement, spot, held)
            entry.remember(view, key, at)
        if at > walk.now:
            walk.review(at)
            return None
        if not self.refusals.bears_grudge(view.spec.id, spot.id, walk.now):
            back = self.fallback(view.spec, placement.speed, lead_of(held.offer))
            stopped = msgspec.structs.replace(
                view, work_done=view.spec.work - view.work_left(walk.now), placement=None
            )
            self.foresee(walk, stopped, deadline, spot, back, entry)
        return spot

    def _return_tick(
        self,
        walk: Walk,
        view: JobView,
        deadline: int,
        placement: PlacementView,
        spot: Arc,
        held: OfferView,
    ) -> int:
        """The first tick, now included, at which spot is worth a return; NEVER if none is."""
        spec, lead = view.spec, lead_of(held.offer)
        margin = 2 * spec.start_overhead + lead + spot.lead
        at = ahead_tick(view, walk.now, deadline, margin, walk.tick, walk.origin)
        # What holds at that tick holds later, too: on-demand keeps the slack as it is.
        left = view.work_left(at)
        if not _pays(spot, held.rate, placement.speed, left, spec):
            return NEVER
        back = self.fallback(spec, placement.speed, lead)
        loss = spot.lead + spot_loss(spec, spot.speed, placement.speed, walk.tick)
        calm = calm_until(spec, spec.work - left, deadline, back, loss, walk.tick)
        return at if at <= calm else NEVER


def _pays(spot: Arc, rate: int, speed: int, left: int, spec: JobSpec) -> bool:
    """Whether the work left, and a start, cost less on spot than the work left where the job is:
    near its end a job is better left alone."""
    start = spec.start_overhead + spot.lead
    return spot.rate * (time_on(left, spot.speed) + start) < rate * time_on(left, speed)
