"""Leaves of the configuration: text with units to integers, each with an error that says what to
write. Every reader takes what TOML holds and raises BadValue for anything it cannot use.
"""

import re
from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Annotated, Any, Final, NamedTuple

import msgspec

from treasury.domain.errors import BadValue, did_you_mean
from treasury.domain.hardware import known_gpus, normalise_gpu
from treasury.domain.money import format_money, parse_money, parse_rate
from treasury.domain.time import SECOND, parse_duration, parse_instant

DAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_NAME: Final = re.compile(r"\w[\w.@+-]{0,63}")
_HOURS: Final = re.compile(r"([0-9]{2})-([0-9]{2})", re.ASCII)
# A factor beyond this is a typing mistake, and thousandths of it still fit any integer we use.
_FACTOR_LIMIT: Final = 1_000_000


class Leaf(msgspec.Struct, frozen=True):
    """Marks a field that `read` turns from what TOML holds into its value."""

    read: Callable[[Any], Any]


class When(NamedTuple):
    """An instant [ns], or an offset [ns] from something that is known later."""

    ns: int
    relative: bool

    def after(self, base: int) -> int:
        """The instant, counted from `base` where relative."""
        return base + self.ns if self.relative else self.ns


def is_number(value: object) -> bool:
    """Whether TOML held a number; True and False are none."""
    return isinstance(value, int | float | Decimal) and not isinstance(value, bool)


def _text(what: str, value: Any, example: str) -> str:
    """Text, or an error that shows a bare number with a unit behind it."""
    if isinstance(value, str):
        return value
    shown = example if not is_number(value) else f"{plain(value)}{example.lstrip('0123456789')}"
    raise BadValue(what, plain(value), f'text with its unit, such as "{shown}"')


def read_duration(value: Any) -> int:
    """Nanoseconds from text with a unit."""
    return parse_duration(_text("duration", value, "90s"))


def read_span(value: Any) -> int:
    """A duration that is not nothing."""
    span = read_duration(value)
    if span <= 0:
        raise BadValue("duration", value, "more than nothing")
    return span


def read_money(value: Any) -> int:
    """Micro-USD from text with its currency, not negative."""
    amount = parse_money(_text("money", value, "250 USD"))
    if amount < 0:
        raise BadValue("money", value, f"no less than {format_money(0)}")
    return amount


def read_rate(value: Any) -> int:
    """Nano-USD per hour from text with its unit."""
    return parse_rate(_text("rate", value, "2 USD/h"))


def _thousandths(value: Any, what: str, right: str) -> int:
    """A bare factor, a number or its text, in thousandths; whole ones only, so nothing is lost."""
    try:
        factor = Decimal(str(value)) if is_number(value) or isinstance(value, str) else None
    except ArithmeticError:
        factor = None
    if factor is None or not factor.is_finite() or not -1 <= factor <= _FACTOR_LIMIT:
        raise BadValue(what, plain(value), right)
    scaled = factor * 1_000
    if scaled != scaled.to_integral_value():
        raise BadValue(what, plain(value), "at most 3 decimal places")
    return int(scaled)


def read_share(value: Any) -> int:
    """Thousandths from a share between 0 and 1."""
    share = _thousandths(value, "share", "a number from 0 to 1, such as 0.25")
    if not 0 <= share <= 1_000:
        raise BadValue("share", plain(value), "a number from 0 to 1, such as 0.25")
    return share


def read_factor(value: Any) -> int:
    """Thousandths from a factor above 0."""
    factor = _thousandths(value, "factor", "a number above 0, such as 1.5")
    if factor <= 0:
        raise BadValue("factor", plain(value), "a number above 0, such as 1.5")
    return factor


def read_count(value: Any) -> int:
    """A whole number from 0."""
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 2**31:
        raise BadValue("count", plain(value), "a whole number from 0")
    return value


def read_positive(value: Any) -> int:
    """A whole number from 1."""
    count = read_count(value)
    if count == 0:
        raise BadValue("count", value, "a whole number from 1")
    return count


def read_port(value: Any) -> int:
    """A TCP port; 0 for one that is free."""
    if type(value) is not int or not 0 <= value <= 65_535:
        raise BadValue("port", plain(value), "a whole number from 0 (any that is free) to 65535")
    return value


def read_per_mille(value: Any) -> int:
    """A whole number of thousandths, 0 to 1000."""
    count = read_count(value)
    if count > 1_000:
        raise BadValue("count", value, "a whole number of thousandths, 0 to 1000")
    return count


def read_name(value: Any) -> str:
    """A name that is safe in paths, accounts and tables."""
    if not isinstance(value, str) or not _NAME.fullmatch(value):
        raise BadValue("name", plain(value), "1 to 64 letters, digits or any of _ . @ + -")
    return value


def read_when(value: Any) -> When:
    """An instant, as ISO 8601 text or a TOML date, or an offset such as "+6h"."""
    if isinstance(value, datetime):
        moment = value if value.tzinfo else value.replace(tzinfo=UTC)
        micros = (moment - _EPOCH) // timedelta(microseconds=1)
        return When(ns=micros * 1_000, relative=False)
    if isinstance(value, date):
        return When(ns=(value - _EPOCH.date()).days * 86_400 * SECOND, relative=False)
    if isinstance(value, str) and value.startswith("+"):
        return When(ns=parse_duration(value[1:]), relative=True)
    if isinstance(value, str):
        try:
            return When(ns=parse_instant(value), relative=False)
        except BadValue:
            pass
    right = 'an instant such as "2026-03-01T00:00:00Z", or an offset such as "+6h"'
    raise BadValue("instant", plain(value), right)


def read_zone(value: Any) -> str:
    """A time zone of the IANA database."""
    from zoneinfo import ZoneInfo, available_timezones

    right = 'a time zone, such as "Europe/Berlin"'
    if not isinstance(value, str):
        raise BadValue("zone", plain(value), right)
    try:
        return ZoneInfo(value).key
    except (KeyError, ValueError, OSError):
        near = did_you_mean(value, [*available_timezones(), "UTC"])
        right = right if near.startswith("known") else f"{right}; {near}"
        raise BadValue("zone", value, right) from None


def read_hours(value: Any) -> tuple[int, int]:
    """Hours [start, end) of a day from text such as "08-20"."""
    match = _HOURS.fullmatch(value) if isinstance(value, str) else None
    start, end = (int(match[1]), int(match[2])) if match else (0, 0)
    if not start < end <= 24:
        right = 'hours of one day, such as "08-20" (two windows for hours past midnight)'
        raise BadValue("hours", plain(value), right)
    return start, end


def read_day(value: Any) -> int:
    """A day of the week, 0 for Monday."""
    if not isinstance(value, str) or value not in DAYS:
        raise BadValue("day", plain(value), f"one of {', '.join(DAYS)}")
    return DAYS.index(value)


def read_gpu(value: Any) -> str:
    """Our name of an accelerator model."""
    if not isinstance(value, str):
        raise BadValue("accelerator", plain(value), 'a model\'s name, such as "A100-40GB"')
    model = normalise_gpu(value)
    if model.startswith("unknown:"):
        raise BadValue(
            "accelerator", value, f"a known model; {did_you_mean(value.upper(), known_gpus())}"
        )
    return model


def read_throughput(value: Any) -> dict[str, int]:
    """Accelerator model to speed in thousandths of the reference's, in order of the models."""
    right = "a table of speeds, such as { V100 = 1.0, A100-40GB = 2.2 }"
    if not isinstance(value, dict) or not value:
        raise BadValue("throughput", plain(value), right)
    speeds: dict[str, int] = {}
    for raw, factor in value.items():
        model = read_gpu(raw)
        if model in speeds:
            raise BadValue("throughput", raw, f"each model once ({model} is there already)")
        speeds[model] = read_factor(factor)
    return dict(sorted(speeds.items()))


def read_weights(value: Any) -> dict[int, int]:
    """Priority to its weight in thousandths, in order of the priorities."""
    right = 'a table of shares, such as { "0" = 0.7, "1" = 0.3 }'
    if not isinstance(value, dict) or not value:
        raise BadValue("priorities", plain(value), right)
    weights: dict[int, int] = {}
    for key, share in value.items():
        if not re.fullmatch(r"-?[0-9]{1,4}", key, re.ASCII):
            raise BadValue("priority", key, "a whole number in quotes")
        weights[int(key)] = read_share(share)
    if sum(weights.values()) != 1_000:
        raise BadValue("priorities", plain(value), "shares that sum to 1")
    return dict(sorted(weights.items()))


def read_slack(value: Any) -> tuple[int, int]:
    """The range of a deadline's distance in thousandths of the time the work needs."""
    right = "two factors from 1, the smaller first, such as [1.3, 3.0]"
    if not isinstance(value, list) or len(value) != 2:
        raise BadValue("slack", plain(value), right)
    low, high = read_factor(value[0]), read_factor(value[1])
    if not 1_000 <= low <= high:
        raise BadValue("slack", plain(value), right)
    return low, high


def plain(value: Any) -> Any:
    """A value as it should be shown in a message: Decimals as numbers, long things cut."""
    if isinstance(value, Decimal):
        return float(value) if value.is_finite() else str(value)
    if isinstance(value, list):
        return [plain(item) for item in value[:8]]
    if isinstance(value, dict):
        return {key: plain(item) for key, item in list(value.items())[:8]}
    if isinstance(value, datetime | date | time):
        return value.isoformat()
    return value[:80] + "..." if isinstance(value, str) and len(value) > 80 else value


Duration = Annotated[int, Leaf(read_duration)]
Span = Annotated[int, Leaf(read_span)]
Money = Annotated[int, Leaf(read_money)]
Rate = Annotated[int, Leaf(read_rate)]
Share = Annotated[int, Leaf(read_share)]
Count = Annotated[int, Leaf(read_count)]
Positive = Annotated[int, Leaf(read_positive)]
Port = Annotated[int, Leaf(read_port)]
PerMille = Annotated[int, Leaf(read_per_mille)]
Name = Annotated[str, Leaf(read_name)]
Instant = Annotated[When, Leaf(read_when)]
Zone = Annotated[str, Leaf(read_zone)]
Hours = Annotated[tuple[int, int], Leaf(read_hours)]
Day = Annotated[int, Leaf(read_day)]
Gpu = Annotated[str, Leaf(read_gpu)]
Throughput = Annotated[dict[str, int], Leaf(read_throughput)]
Weights = Annotated[dict[int, int], Leaf(read_weights)]
Slack = Annotated[tuple[int, int], Leaf(read_slack)]
