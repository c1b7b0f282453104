"""Deadline arithmetic: when waiting for spot stops being safe, exact to the tick.

Everything is in integer ns. Decisions are made on a grid of ticks; a job may wait as long as a
start on on-demand at a later tick still ends in time. Two amounts of time decide (after the
rules of the "Can't Be Late" study, NSDI'24, as its public evaluators apply them):

t1 what a start on on-demand now needs: work left + one start t2 what one more start on spot,
lost at once, and then a start on on-demand need: work left + two starts

Both are compared, in whole ticks, with the time left: t2 rounded up against the time left
rounded down decides for a job that has nothing to lose (unplaced), t1 for one that runs on
spot.
"""

import msgspec

from treasury.domain.job import REFERENCE_THROUGHPUT, JobSpec
from treasury.domain.plan import JobView
from treasury.domain.time import NEVER


class Fallback(msgspec.Struct, frozen=True, gc=False):
    """Machines the market cannot take back. speed: thousandths of the reference. start: request to
    first useful step, with whatever margin is wanted [ns]."""

    speed: int
    start: int


def time_on(work: int, speed: int) -> int:
    """Time [ns] that work [reference ns] takes at a speed [thousandths], rounded up."""
    if speed == REFERENCE_THROUGHPUT:
        return work
    return -(-work * REFERENCE_THROUGHPUT // speed)


def presses(now: int, deadline: int, need: int, tick: int) -> bool:
    """Whether `need` [ns], in whole ticks, fills the whole ticks left before the deadline."""
    return -(-need // tick) >= (deadline - now) // tick


def last_calm(deadline: int, need: int, tick: int) -> int:
    """The last instant at which `presses` is still false for a need that does not change."""
    return deadline - (-(-need // tick) + 1) * tick


def spot_loss(spec: JobSpec, spot_speed: int, fallback_speed: int, tick: int) -> int:
    """Slack [ns] that one tick on spot may cost even when it works: because spot is slower than the
    fallback, and because an interruption throws away what no checkpoint holds."""
    loss = 0
    if spot_speed < fallback_speed:
        loss = tick - tick * spot_speed // fallback_speed
    if spec.checkpoint_interval:
        # Up to a whole interval of work at spot's speed, to be done again at the fallback's.
        loss += -(-spec.checkpoint_interval * spot_speed // fallback_speed)
    return loss


def calm_until(
    spec: JobSpec, work_done: int, deadline: int, fallback: Fallback, extra: int, tick: int
) -> int:
    """The last instant at which a job without a machine may still start on spot or wait (t2): there
    is time for one start more than the fallback's, plus `extra` [ns]."""
    need = time_on(spec.work - work_done, fallback.speed) + fallback.start
    return last_calm(deadline, need + spec.start_overhead + extra, tick)


def in_time(now: int, left: int, deadline: int, fallback: Fallback, tick: int) -> bool:
    """Whether work left [reference ns] ends in time if the fallback is taken now (t1)."""
    need = time_on(left, fallback.speed) + fallback.start
    return -(-need // tick) <= (deadline - now) // tick


def rescue_tick(
    view: JobView, now: int, deadline: int, fallback: Fallback, tick: int, origin: int
) -> int:
    """The first tick, now included, at which a job on spot must leave for the fallback; NEVER if it
    may stay to its end. The job has a placement with a `useful_from`."""
    placement = view.placement
    if placement is None or placement.useful_from is None:
        return NEVER
    useful_from, speed = placement.useful_from, placement.speed
    loss = spot_loss(view.spec, speed, fallback.speed, tick)
    extra = fallback.start + loss

    def must_leave(at: int) -> bool:
        if loss == 0 and at >= useful_from:
            # Each tick on spot saves the fallback a whole tick: an interruption costs nothing but
            # its start.
            return False
        return presses(at, deadline, time_on(view.work_left(at), fallback.speed) + extra, tick)

    if must_leave(now):
        return now
    if now < useful_from:
        # Nothing is done before useful_from: the slack shrinks tick by tick.
        last = last_calm(deadline, time_on(view.work_left(now), fallback.speed) + extra, tick)
        at = next_tick(last, tick, origin)
        if at < useful_from:
            return at
    low = tick_at(max(now, useful_from), tick, origin)
    if low > now and must_leave(low):
        return low
    if loss == 0 or speed >= fallback.speed:
        return NEVER
    # From here the slack shrinks steadily: the first tick without it is found by halving.
    end = useful_from + time_on(view.spec.work - view.work_done, speed)
    high = tick_at(end, tick, origin) - tick
    if high <= low or not must_leave(high):
        return NEVER
    while high - low > tick:
        middle = low + (high - low) // (2 * tick) * tick
        if must_leave(middle):
            high = middle
        else:
            low = middle
    return high


def line_crossing(submitted_at: int, deadline: int, work: int, work_done: int) -> int:
    """The last instant at which a job that makes no progress is not behind the straight line from
    (submitted, nothing done) to (deadline, all done)."""
    return submitted_at + work_done * (deadline - submitted_at) // work


def ahead_by(
    now: int, submitted_at: int, deadline: int, work: int, work_done: int, margin: int
) -> bool:
    """Whether a job is ahead of its progress line by more than `margin` [ns]."""
    return (now - submitted_at + margin) * work - work_done * (deadline - submitted_at) < 0


def next_tick(instant: int, tick: int, origin: int) -> int:
    """The first instant of the grid that is strictly later than `instant`."""
    return origin + ((instant - origin) // tick + 1) * tick


def tick_at(instant: int, tick: int, origin: int) -> int:
    """The first instant of the grid at or after `instant`."""
    return origin - (origin - instant) // tick * tick


def ahead_tick(view: JobView, now: int, deadline: int, margin: int, tick: int, origin: int) -> int:
    """The first tick, now included, at which a placed job is ahead of its progress line by more
    than `margin` [ns] if it runs on undisturbed; NEVER if it ends before."""
    placement, spec = view.placement, view.spec
    if placement is None or placement.useful_from is None:
        return NEVER

    def ahead(at: int) -> bool:
        done = spec.work - view.work_left(at)
        return ahead_by(at, spec.submitted_at, deadline, spec.work, done, margin)

    if ahead(now):
        return now
    # Behind by `lag` (scaled) when useful work begins; each ns of work at speed/1,000 gains `gain`.
    start = max(now, placement.useful_from)
    span = deadline - spec.submitted_at
    gain = placement.speed * span - REFERENCE_THROUGHPUT * spec.work
    if gain <= 0:
        return NEVER
    done = spec.work - view.work_left(start)
    lag = (start - spec.submitted_at + margin) * spec.work - done * span
    at = tick_at(start + max(0, lag * REFERENCE_THROUGHPUT // gain), tick, origin)
    if at <= now:
        at = next_tick(now, tick, origin)
    while view.work_left(at):
        if ahead(at):
            return at
        at += tick
    return NEVER
