"""Where a pool's rate stands, apart from what it happens to be at the moment."""

from math import exp, log
from typing import Final

import msgspec

from treasury.forecast.hazards import STEP

# Half-life [steps] of a rate's level: a spike of an hour moves it little, a new level of a day
# does.
HALF_LIFE: Final = 36.0


class PriceLevel(msgspec.Struct):
    """A rate's discounted geometric mean and variability. seen_at: ns; log_rate: of the last rate.

    level: discounted mean of the logarithm of the rate [nano-USD/h]. variance: discounted mean of
    its squared change, per step.
    """

    seen_at: int
    log_rate: float
    level: float
    variance: float = 0.0

    def see(self, now: int, rate: int) -> None:
        """Take in a rate [nano-USD/h]; the former one is held to have lasted until now."""
        steps = (now - self.seen_at) / STEP
        if steps <= 0.0:
            return
        keep = 0.5 ** (steps / HALF_LIFE)
        self.level = self.level * keep + self.log_rate * (1.0 - keep)
        logged = log(max(rate, 1))
        change = (logged - self.log_rate) ** 2 / steps
        self.variance = self.variance * keep + change * (1.0 - keep)
        self.log_rate, self.seen_at = logged, now

    def rate(self) -> float:
        """The level as a rate [nano-USD/h]."""
        return exp(self.level)


def first_price(now: int, rate: int) -> PriceLevel:
    """The level of a pool whose rate is seen for the first time."""
    logged = log(max(rate, 1))
    return PriceLevel(now, logged, logged)
