"""Budgets as data: who pays, how much in which period, and under which conditions."""

from enum import Enum

import msgspec

from treasury.domain.ids import CostCentre


class Period(Enum):
    """What a budget's amount is for. MONTH is a calendar month in UTC."""

    ONCE = "once"
    DAY = "day"
    WEEK = "week"
    MONTH = "month"


class Window(msgspec.Struct, frozen=True):
    """Hours of the week in which new machines may be taken: days 0 (Monday) to 6, hours [start,
    end) UTC."""

    days: tuple[int, ...]
    start_hour: int
    end_hour: int


class Budget(msgspec.Struct, frozen=True, kw_only=True):
    """What one cost centre may spend. Money in micro-USD, rates in nano-USD/h, 0 for "no limit".

    parent: the cost centre above, whose limits hold as well. job_cap: most one job may cost.
    burn_cap: most per hour over all running machines. front_load: pacing, in thousandths: at
    any instant spent + held may not exceed amount x (elapsed share of the period + front_load);
    0 for none. reserve: kept free for jobs of at least reserve_priority. ceiling: most per
    GPU-hour.
    """

    cost_centre: CostCentre
    amount: int
    period: Period = Period.ONCE
    parent: CostCentre | None = None
    job_cap: int = 0
    burn_cap: int = 0
    front_load: int = 0
    reserve: int = 0
    reserve_priority: int = 0
    ceiling: int = 0
    providers: tuple[str, ...] = ()
    tenures: tuple[str, ...] = ()
    windows: tuple[Window, ...] = ()
