"""What an hour of work is worth where there are many pools: the price at which the market is
expected to do a job's work in the time it has.

Let a job work wherever that is worth its price, and nowhere else. At a price of work `m` [per
reference hour], a pool of rate `r` and speed `s` gains it `m s - r` an hour, less the start that
each run costs. It takes the pool that gains most of those that are there, and waits where none
gains anything. Pools are taken to be independent, each there for its expected share of the time; so
each price has an expected amount of work that is done an hour. The price of a job is the least at
which that is what it needs.

With hindsight this would be the dual of the job's exact schedule, whose price is the same at all
times. Here it is worked out again as time passes: a job that gets less than was expected finds its
price rising, one that gets more finds it falling.
"""

from bisect import bisect_left
from collections.abc import Sequence
from math import exp
from typing import Final, NamedTuple

import numpy as np

# Prices at which work is known; between them it is interpolated, in proportion.
_PRICES: Final = 40
# Above the dearest pool's price no more work is to be had.
_ABOVE: Final = 1.3


class Choice(NamedTuple):
    """A pool as a class of jobs sees it. share: of the time ahead in which there is room. run:
    hours that a run lasts. rate: nano-USD/h of a machine. speed: reference hours an hour."""

    share: float
    run: float
    rate: float
    speed: float


class Curve(NamedTuple):
    """Work done an hour by price of work [nano-USD a reference hour], both rising."""

    prices: tuple[float, ...]
    work: tuple[float, ...]

    def price(self, pace: float) -> float:
        """The least price at which so much work is done an hour; the highest where none is enough.
        pace: reference hours an hour."""
        at = bisect_left(self.work, pace)
        if at == 0:
            return self.prices[0]
        if at == len(self.work):
            return self.prices[-1]
        low, high = self.work[at - 1], self.work[at]
        share = (pace - low) / (high - low)
        return float(self.prices[at - 1] * (self.prices[at] / self.prices[at - 1]) ** share)


def share_ahead(there: bool, rest: float, share: float, hours: float) -> float:
    """Share of the coming hours in which there is room, for a pool that is in its state for `rest`
    hours more and has room for `share` of the time in the long run."""
    now = float(there) - share
    return share + now * (1.0 - exp(-hours / rest)) * rest / hours


def curve(choices: Sequence[Choice], start: float, hours: float) -> Curve:
    """The curve of some pools, at least one, for a time ahead [hours] and a start's overhead
    [hours]."""
    share, run, rate, speed = (np.array(column) for column in zip(*choices, strict=True))
    cost = rate / speed
    low = max(float(cost.min()), 1.0)
    high = max(float(cost.max()), low) * _ABOVE
    prices = low * (high / low) ** (np.arange(_PRICES) / (_PRICES - 1))
    lasts = np.minimum(run, hours)
    gain = ((prices[:, None] - cost) * speed * lasts - start * rate) / (lasts + start)
    order = np.argsort(-gain, axis=1, kind="stable")
    taken = np.where(np.take_along_axis(gain, order, 1) > 0.0, share[order], 0.0)
    none = np.cumprod(1.0 - taken, axis=1)
    better = np.concatenate([np.ones((_PRICES, 1)), none[:, :-1]], axis=1)
    pace = (speed * lasts / (lasts + start))[order]
    work = np.maximum.accumulate((better * taken * pace).sum(axis=1))
    return Curve(tuple(prices.tolist()), tuple(work.tolist()))
