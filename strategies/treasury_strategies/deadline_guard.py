"""What a job with a deadline may still do at a tick without risking to be late, exact to the tick.

Whatever is chosen now, at the next tick the market may have taken it away; from there a start on
the fallback must still end in time. Where the market moves between ticks, too, it may take a
machine at once, and nobody is asked before the next tick. All instants and durations are in
integer ns.
"""

from collections.abc import Iterable
from typing import NamedTuple

from treasury.domain.job import REFERENCE_THROUGHPUT
from treasury.domain.plan import JobView, OfferView, Snapshot
from treasury.optimizer.deadline import Fallback, in_time, next_tick, time_on
from treasury.optimizer.market import Arc


class Guard(NamedTuple):
    """One job's safety at one instant. after: the next tick. left: work left now [reference ns].
    between: whether machines may be lost between ticks."""

    view: JobView
    now: int
    after: int
    tick: int
    deadline: int
    left: int
    fallback: Fallback
    between: bool = False

    def fallback_in_time(self) -> bool:
        """Whether the fallback, taken now, ends in time."""
        return in_time(self.now, self.left, self.deadline, self.fallback, self.tick)

    def may_wait(self) -> bool:
        """Whether there is time for a tick of nothing."""
        return self._in_time_after(self.left)

    def may_start(self, arc: Arc) -> bool:
        """Whether there is time to try a machine for a tick and lose it then."""
        start = self.view.spec.start_overhead + arc.lead
        return self._in_time_after(
            self.left - self._durable(self.after - self.now - start, arc.speed)
        )

    def may_stay(self) -> bool:
        """Whether the machine the job holds may be lost at the next tick."""
        return self.view.placement is not None and self._in_time_after(self._at_risk())

    def ask_again(self) -> int:
        """When to judge again a job that waits or stays [ns]: until then its slack lasts, even if
        it does nothing."""
        left = self.left if self.view.placement is None else self._at_risk()
        need = time_on(left, self.fallback.speed) + self.fallback.start
        spare = (self.deadline - self.after) // self.tick - -(-need // self.tick)
        return self.after + max(0, spare) * self.tick

    def _at_risk(self) -> int:
        """Work left if the machine the job holds is lost at the next tick [reference ns]."""
        view, spec, placement = self.view, self.view.spec, self.view.placement
        left = self.left if self.between else view.work_left(self.after)
        if left and spec.checkpoint_interval and placement is not None:
            # The last checkpoint may be a whole interval old, or there may be none of this run.
            lost = spec.checkpoint_interval * placement.speed // REFERENCE_THROUGHPUT
            left = min(left + lost, spec.work - view.work_done)
        return left

    def _durable(self, useful: int, speed: int) -> int:
        if useful <= 0 or self.between:
            return 0
        every = self.view.spec.checkpoint_interval
        if every:
            useful -= useful % every
        return useful * speed // REFERENCE_THROUGHPUT

    def _in_time_after(self, left: int) -> bool:
        return left <= 0 or in_time(self.after, left, self.deadline, self.fallback, self.tick)


def guard(
    view: JobView, snapshot: Snapshot, deadline: int, fallback: Fallback, *, between: bool = False
) -> Guard:
    """The guard of a job that has a deadline [ns]."""
    now = snapshot.now
    after = next_tick(now, snapshot.tick, snapshot.origin)
    return Guard(view, now, after, snapshot.tick, deadline, view.work_left(now), fallback, between)


def moves_between(views: Iterable[OfferView], tick: int, origin: int) -> bool:
    """Whether any offer was quoted off the grid: such a market does not wait for our ticks."""
    return any(view.rate >= 0 and (view.observed_at - origin) % tick for view in views)
