"""Vendors' prices as integers, without a float on the way."""

from functools import lru_cache

from treasury.domain.errors import BadValue
from treasury.domain.money import NANO, RATE_LIMIT, rate_from_decimal

_PLACES = 9


@lru_cache(maxsize=65_536)
def rate_from_text(text: str) -> int | None:
    """nano-USD/h from decimal text in USD/h, rounded half up; None for what cannot be a price:
    not a number, negative, or above a million USD/h. Prices repeat, hence the cache."""
    whole, _, fraction = text.partition(".")
    if whole.isdecimal() and len(whole) <= 7 and (not fraction or fraction.isdecimal()):
        digits = fraction[: _PLACES + 1].ljust(_PLACES + 1, "0")
        rate = int(whole) * NANO + (int(digits) + 5) // 10
    else:
        try:
            rate = rate_from_decimal(text)
        except BadValue:
            return None
    return rate if 0 <= rate <= RATE_LIMIT else None


def text_from_rate(rate: int, places: int = _PLACES) -> str:
    """Decimal text in USD/h of a rate [nano-USD/h], rounded down to `places`: as a maximum price
    it never says more than was allowed."""
    unit = 10 ** (_PLACES - places)
    whole, rest = divmod(rate // unit, 10**places)
    return f"{whole}.{rest:0{places}d}" if places else str(whole)
