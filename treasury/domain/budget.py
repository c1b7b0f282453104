"""Budgets as data: who pays, how much in which period, and under which conditions."""

from enum import Enum

import msgspec

from treasury.domain.ids import CostCentre


class Period(Enum):
    """What a budget's amount is for.

    DAY, WEEK (from Monday) and MONTH are the calendar's, in the budget's time zone. ROLLING is
    any stretch of `window` ns. FIXED is [starts_at, ends_at), with nothing before or after.
    """

    ONCE = "once"
    DAY = "day"
    WEEK = "week"
    MONTH = "month"
    ROLLING = "rolling"
    FIXED = "fixed"


class Mode(Enum):
    """How seriously a budget is meant.

    ENFORCE refuses. RECOMMEND lets through, and says to the job what enforcement would have
    refused. OBSERVE lets through and only keeps count.
    """

    OBSERVE = "observe"
    RECOMMEND = "recommend"
    ENFORCE = "enforce"


class Window(msgspec.Struct, frozen=True):
    """Hours of the week in which new machines may be taken: days 0 (Monday) to 6, hours
    [start, end) UTC."""

    days: tuple[int, ...]
    start_hour: int
    end_hour: int


class Budget(msgspec.Struct, frozen=True, kw_only=True):
    """What one cost centre may spend. Money in micro-USD, rates in nano-USD/h, 0 for "no limit".

    parent: the cost centre above, whose limits hold as well. zone: IANA time zone of calendar
    periods. window: length of a rolling period [ns]. starts_at, ends_at: of a fixed period [ns].
    carry: share of what a period leaves that the next one gets on top, in thousandths.

    job_cap: most one job may cost. day_cap: most a day. burn_cap: most per hour over all running
    machines. front_load: pacing, in thousandths: spent + held may not exceed amount x (elapsed
    share of the period + front_load). soft: share of the amount, in thousandths, at which a
    notice is written. reserve: kept free for jobs of at least reserve_priority. ceiling: most per
    GPU-hour. approve_above: a job that is expected to cost more waits for a person. borrow: most
    that may be borrowed from siblings at a time. mode: whether all this is enforced.
    """

    cost_centre: CostCentre
    amount: int
    period: Period = Period.ONCE
    parent: CostCentre | None = None
    zone: str = "UTC"
    window: int = 0
    starts_at: int = 0
    ends_at: int = 0
    carry: int = 0
    job_cap: int = 0
    day_cap: int = 0
    burn_cap: int = 0
    front_load: int = 0
    soft: int = 0
    reserve: int = 0
    reserve_priority: int = 0
    ceiling: int = 0
    approve_above: int = 0
    borrow: int = 0
    providers: tuple[str, ...] = ()
    regions: tuple[str, ...] = ()
    tenures: tuple[str, ...] = ()
    windows: tuple[Window, ...] = ()
    mode: Mode = Mode.ENFORCE
