"""Instants and durations as integer nanoseconds.

An instant counts nanoseconds since 1970-01-01 UTC, a duration plain nanoseconds. Integers add
without drift and compare the same on every machine.
"""

import re
from datetime import UTC, datetime, timedelta
from typing import Final

from treasury.domain.errors import BadValue

NS: Final = 1
SECOND: Final = 1_000_000_000
MINUTE: Final = 60 * SECOND
HOUR: Final = 60 * MINUTE
DAY: Final = 24 * HOUR
WEEK: Final = 7 * DAY
# An instant no real event reaches: "never" for timers.
NEVER: Final = 2**62

_UNITS: Final = {
    "ns": NS,
    "us": 1_000,
    "ms": 1_000_000,
    "s": SECOND,
    "m": MINUTE,
    "min": MINUTE,
    "h": HOUR,
    "d": DAY,
    "w": WEEK,
}
_PART = re.compile(r"\s*([0-9][0-9_]*(?:\.[0-9]+)?)\s*(ns|us|ms|min|s|m|h|d|w)", re.ASCII)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
# A century: longer durations are unit mistakes.
_DURATION_LIMIT: Final = 100 * 366 * DAY


def parse_duration(text: str) -> int:
    """Nanoseconds from text such as `"6h"`, `"1h 30m"`, `"0.2h"`. Raises BadValue."""
    hint = 'a duration with its unit, such as "90s", "6h" or "1d 12h"'
    if len(text) > 64:
        raise BadValue("duration", text, hint)
    position, total = 0, 0
    while position < len(text.rstrip()):
        part = _PART.match(text, position)
        if part is None:
            raise BadValue("duration", text, hint)
        whole, _, fraction = part[1].replace("_", "").partition(".")
        unit = _UNITS[part[2]]
        total += int(whole) * unit
        if fraction:
            total += int(fraction) * unit // 10 ** len(fraction)
        position = part.end()
    if position == 0:
        raise BadValue("duration", text, hint)
    if total > _DURATION_LIMIT:
        raise BadValue("duration", text, "at most 100 years")
    return total


def format_duration(ns: int) -> str:
    """Short text such as `"1d 12h"`, `"45m"`, `"3.2s"`: the two largest units."""
    sign, ns = ("-", -ns) if ns < 0 else ("", ns)
    if ns < MINUTE:
        seconds = f"{ns / SECOND:.3g}"
        return f"{sign}{seconds}s"
    parts = []
    for name, unit in (("d", DAY), ("h", HOUR), ("m", MINUTE), ("s", SECOND)):
        count, ns = divmod(ns, unit)
        if count:
            parts.append(f"{count}{name}")
        if len(parts) == 2:
            break
    return sign + " ".join(parts)


def parse_instant(text: str) -> int:
    """Nanoseconds since the epoch from ISO 8601 text; without an offset it is UTC. Raises
    BadValue."""
    hint = 'an ISO 8601 instant, such as "2026-03-01T00:00:00Z"'
    if len(text) > 64:
        raise BadValue("instant", text, hint)
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise BadValue("instant", text, hint) from error
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    delta = moment - _EPOCH
    return (delta.days * 86_400 + delta.seconds) * SECOND + delta.microseconds * 1_000


def to_datetime(ns: int) -> datetime:
    """The aware UTC datetime of an instant (microsecond precision)."""
    return _EPOCH + timedelta(microseconds=ns // 1_000)


def format_instant(ns: int) -> str:
    """ISO 8601 in UTC to the second, such as `"2026-03-01T00:00:00Z"`."""
    return to_datetime(ns).strftime("%Y-%m-%dT%H:%M:%SZ")
