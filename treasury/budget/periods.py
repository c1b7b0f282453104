"""The instants at which budgets begin anew, in UTC."""

from datetime import UTC, datetime, timedelta

from treasury.domain.budget import Period
from treasury.domain.time import DAY, NEVER, SECOND, WEEK, to_datetime

# 1970-01-01 was a Thursday: the first Monday came four days later.
_FIRST_MONDAY = 4 * DAY


def period_bounds(period: Period, at: int) -> tuple[int, int]:
    """The period [start, end) in ns that holds an instant; ONCE begins at the instant and never
    ends."""
    if period is Period.DAY:
        start = at - at % DAY
        return start, start + DAY
    if period is Period.WEEK:
        start = at - (at - _FIRST_MONDAY) % WEEK
        return start, start + WEEK
    if period is Period.MONTH:
        moment = to_datetime(at)
        first = datetime(moment.year, moment.month, 1, tzinfo=UTC)
        # Day 28 + 4 days always falls into the next month, leap years included.
        following = (first.replace(day=28) + timedelta(days=4)).replace(day=1)
        return _instant(first), _instant(following)
    return at, NEVER


def _instant(moment: datetime) -> int:
    return int(moment.timestamp()) * SECOND
