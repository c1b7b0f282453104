"""What a job with a deadline can fall back to, and when its deadline is no longer paid for."""

from treasury.domain.job import JobSpec
from treasury.domain.money import charge
from treasury.domain.plan import JobView
from treasury.optimizer.deadline import time_on
from treasury.optimizer.market import Arc
from treasury_strategies.deadline_guard import Guard, guard
from treasury_strategies.patient import Patient
from treasury_strategies.queue import Entry, Walk

# A job that would be late by less than this share of its time [thousandths] still hurries.
_GRACE = 100
# A job whose deadline is lost leaves on-demand for spot if that pays for so many starts.
_STARTS = 3

# A fallback, and what is safe as long as it is counted on.
Back = tuple[Arc, Guard]


class Backed(Patient):
    """Patience with a guard that is exact to the tick, and with an eye on the budget. between:
    whether the market was ever seen to move between ticks."""

    between = False

    def backs(self, walk: Walk, view: JobView, entry: Entry, deadline: int) -> list[Back]:
        """The fallbacks that end in time if taken now and that the budget pays to the end, the
        cheapest first."""
        found: list[Back] = []
        for arc in self.open(entry, entry.fit.fallback):
            back = self.fallback(view.spec, arc.speed, arc.lead)
            safe = guard(view, walk.snapshot, deadline, back, between=self.between)
            if safe.fallback_in_time() and self.payable(walk, view, arc):
                found.append((arc, safe))
        return found

    def payable(self, walk: Walk, view: JobView, arc: Arc) -> bool:
        """Whether a cost centre's whole budget would pay for the rest of a job on demand. Where it
        would not, buying saves no deadline: it spends what others of the cost centre need."""
        spec = view.spec
        budget = walk.snapshot.budgets.get(spec.cost_centre)
        if budget is None:
            return True
        time = time_on(view.work_left(walk.now), arc.speed) + spec.start_overhead
        return charge(arc.rate * spec.requirement.nodes, time) <= budget.limit

    def lost(self, walk: Walk, view: JobView, entry: Entry) -> bool:
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

    def cheaper(self, walk: Walk, view: JobView, held: Arc, spot: Arc) -> Arc | None:
        """Spot for a job on demand that is late anyhow, if the work left pays for some starts."""
        left = view.work_left(walk.now)
        starts = _STARTS * _start(view.spec, spot)
        dear = held.rate * time_on(left, held.speed)
        return spot if spot.rate * (time_on(left, spot.speed) + starts) < dear else None


def _start(spec: JobSpec, arc: Arc) -> int:
    return spec.start_overhead + arc.lead
