"""The instants at which budgets begin anew.

Calendar periods follow the clocks of the budget's time zone: a day that loses or gains an hour is
23 or 25 hours long, and its bounds are still local midnights.
"""

from datetime import UTC, date, datetime, time, timedelta, tzinfo
from zoneinfo import ZoneInfo

from treasury.domain.budget import Budget, Period
from treasury.domain.time import NEVER, SECOND, to_datetime

# A rolling window moves in this many steps: money comes back one step after it left the window.
ROLLING_STEPS = 24


def period_bounds(budget: Budget, at: int) -> tuple[int, int]:
    """The period [start, end) in ns that holds an instant.

    ONCE begins at the instant and never ends; FIXED before its start is the empty time until then;
    a ROLLING period is one step of its window.
    """
    if budget.period is Period.ONCE:
        return at, NEVER
    if budget.period is Period.FIXED:
        if at < budget.starts_at:
            return at, budget.starts_at
        return (budget.starts_at, budget.ends_at) if at < budget.ends_at else (at, NEVER)
    if budget.period is Period.ROLLING:
        step = max(SECOND, budget.window // ROLLING_STEPS)
        return at - at % step, at - at % step + step
    zone: tzinfo = ZoneInfo(budget.zone) if budget.zone != "UTC" else UTC
    first = to_datetime(at).astimezone(zone).date()
    if budget.period is Period.WEEK:
        first -= timedelta(days=first.weekday())
        following = first + timedelta(days=7)
    elif budget.period is Period.MONTH:
        first = first.replace(day=1)
        # Day 28 + 4 days always falls into the next month, leap years included.
        following = (first.replace(day=28) + timedelta(days=4)).replace(day=1)
    else:
        following = first + timedelta(days=1)
    return _midnight(first, zone), _midnight(following, zone)


def day_bounds(budget: Budget, at: int) -> tuple[int, int]:
    """The local day [start, end) in ns that holds an instant."""
    zone: tzinfo = ZoneInfo(budget.zone) if budget.zone != "UTC" else UTC
    first = to_datetime(at).astimezone(zone).date()
    return _midnight(first, zone), _midnight(first + timedelta(days=1), zone)


def in_force(budget: Budget, at: int) -> bool:
    """Whether a budget has money at an instant: always, unless its dates are fixed."""
    return budget.period is not Period.FIXED or budget.starts_at <= at < budget.ends_at


def _midnight(day: date, zone: tzinfo) -> int:
    moment = datetime.combine(day, time(), zone)
    return int(moment.timestamp()) * SECOND
