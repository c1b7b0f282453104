"""Money and rates as integers.

Money is a count of micro-units of its currency (1 USD = 1,000,000). A rate is money per hour
for one machine in *nano*-units (1 USD/h = 1,000,000,000), because markets quote fractions of a
cent and a charge must not depend on how often it is computed. Floats never enter: text is
parsed with `Decimal`, and NaN, infinity and huge exponents are refused.
"""

import re
from decimal import Decimal, InvalidOperation
from typing import Final

from treasury.domain.errors import BadValue

MICRO: Final = 1_000_000
NANO: Final = 1_000_000_000
NS_PER_HOUR: Final = 3_600 * 1_000_000_000
# rate [nano/h] x time [ns] / this = money [micro]
RATE_NS_PER_MICRO: Final = NS_PER_HOUR * 1_000
# 1e12 USD: far above any real account, far below int64 micro-units, so sums cannot overflow.
MONEY_LIMIT: Final = 10**12 * MICRO
# 1e6 USD/h for one machine is a unit mistake, not a market.
RATE_LIMIT: Final = 10**6 * NANO

_AMOUNT = re.compile(r"^\s*([+-]?[0-9][0-9_]*(?:\.[0-9]+)?)\s*([A-Z]{3})\s*$", re.ASCII)
_RATE = re.compile(
    r"^\s*([+-]?[0-9][0-9_]*(?:\.[0-9]+)?)\s*([A-Z]{3})\s*/\s*(?:h|hour)\s*$", re.ASCII
)


def _scaled(digits: str, scale: int, what: str, text: str) -> int:
    try:
        value = Decimal(digits.replace("_", "")) * scale
    except InvalidOperation as error:  # pragma: no cover - the pattern admits plain decimals only
        raise BadValue(what, text, "a decimal number") from error
    if value != value.to_integral_value():
        raise BadValue(what, text, f"at most {len(str(scale)) - 1} decimal places")
    return int(value)


def parse_money(text: str, *, currency: str = "USD") -> int:
    """Micro-units from text such as `"250 USD"`. Raises BadValue with what would be right."""
    match = _AMOUNT.match(text)
    if match is None:
        raise BadValue("money", text, f'an amount with its currency, such as "250 {currency}"')
    if match[2] != currency:
        raise BadValue("money", text, f"the currency {currency}")
    amount = _scaled(match[1], MICRO, "money", text)
    if abs(amount) > MONEY_LIMIT:
        raise BadValue("money", text, f"at most {format_money(MONEY_LIMIT)}")
    return amount


def parse_rate(text: str, *, currency: str = "USD") -> int:
    """Nano-units per hour from text such as `"2.10 USD/h"`. Raises BadValue."""
    match = _RATE.match(text)
    if match is None:
        raise BadValue("rate", text, f'money per hour, such as "2.10 {currency}/h"')
    if match[2] != currency:
        raise BadValue("rate", text, f"the currency {currency}")
    rate = _scaled(match[1], NANO, "rate", text)
    if not 0 <= rate <= RATE_LIMIT:
        raise BadValue("rate", text, f"between 0 and {RATE_LIMIT // NANO} {currency}/h")
    return rate


def rate_from_decimal(digits: str | float | Decimal, what: str = "price") -> int:
    """Nano-units per hour from a vendor's figure in whole units per hour, rounded half up.

    The door for floats of data files: the shortest decimal form is what the vendor wrote.
    Raises BadValue for anything that is not a finite number.
    """
    try:
        value = Decimal(str(digits))
    except InvalidOperation as error:
        raise BadValue(what, digits, "a decimal number of USD per hour") from error
    if not value.is_finite():
        raise BadValue(what, digits, "a finite number of USD per hour")
    return int((value * NANO).to_integral_value(rounding="ROUND_HALF_UP"))


def charge(rate_nano_h: int, duration_ns: int) -> int:
    """Micro-units for a rate [nano/h] held for a time [ns], rounded up to a whole micro-unit."""
    return -(-(rate_nano_h * duration_ns) // RATE_NS_PER_MICRO)


def format_money(micros: int, currency: str = "USD", *, places: int = 2) -> str:
    """Text such as `"1,234.50 USD"`; `places` 6 shows every micro-unit."""
    quantum = 10 ** (6 - places)
    rounded = (abs(micros) + quantum // 2) // quantum
    whole, rest = divmod(rounded, 10**places)
    sign = "-" if micros < 0 and rounded else ""
    fraction = f".{rest:0{places}d}" if places else ""
    return f"{sign}{whole:,}{fraction} {currency}"


def format_rate(rate_nano_h: int, currency: str = "USD") -> str:
    """Text such as `"2.1000 USD/h"`."""
    return f"{Decimal(rate_nano_h) / NANO:.4f} {currency}/h"
