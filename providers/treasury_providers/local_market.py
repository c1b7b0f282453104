"""The pretend market of this host: prices that anybody can compute again from a seed.

The price of a pool at an instant depends on nothing but the seed, the pool's name and the tick, so
that it goes on while the daemon is down and is the same for whoever asks.
"""

import math
from hashlib import blake2b
from typing import Final

import msgspec

from treasury.domain.time import NEVER

# Swings of several lengths [ticks] lie over each other; the longer, the stronger.
_SWINGS: Final = ((4, 1), (16, 2), (64, 3))
_WEIGHT: Final = sum(weight for _, weight in _SWINGS)
# A squeeze lasts so many ticks, and lifts the spot price so far above on demand [thousandths]:
# nobody's bid reaches it.
_SQUEEZE_TICKS: Final = 8
_SQUEEZE: Final = 1_250
_SCALE: Final = 1_000


class PricePath(msgspec.Struct, frozen=True, kw_only=True):
    """What the prices follow. on_demand: nano-USD/h. spot: the mean spot price, volatility: how far
    it swings around that, squeezes: share of the time above on demand; all in thousandths.
    tick: how long a price stands [ns]. origin: the instant [ns] at which the path begins."""

    seed: int
    on_demand: int
    spot: int
    volatility: int
    squeezes: int
    tick: int
    origin: int = 0

    def spot_rate(self, zone: str, at: int) -> int:
        """The spot price of a zone at an instant [ns], in nano-USD/h for a machine."""
        tick = (at - self.origin) // self.tick
        block = tick // _SQUEEZE_TICKS
        if _draw(self.seed, zone, "squeeze", block) % _SCALE < self.squeezes:
            return self.on_demand * _SQUEEZE // _SCALE
        swing = (
            sum(weight * self._swing(zone, period, tick) for period, weight in _SWINGS) // _WEIGHT
        )
        share = self.spot * (_SCALE * _SCALE + self.volatility * swing)
        return max(1, self.on_demand * share // _SCALE**3)

    def _swing(self, zone: str, period: int, tick: int) -> int:
        """Between two drawn points of a swing, -1000 to 1000."""
        index, rest = divmod(tick, period)
        here, there = (
            _draw(self.seed, zone, f"swing{period}", point) % (2 * _SCALE + 1) - _SCALE
            for point in (index, index + 1)
        )
        return here + (there - here) * rest // period

    def next_change(self, at: int) -> int:
        """The instant [ns] after `at` from which another price stands."""
        return self.origin + ((at - self.origin) // self.tick + 1) * self.tick


def life(seed: int, token: str, index: int, mean: int) -> int:
    """How long [ns] the market leaves machine `index` of a request alone: exponential with this
    mean, NEVER where that is 0."""
    if mean <= 0:
        return NEVER
    drawn = (_draw(seed, token, "life", index) + 1) / 2**64
    return int(-math.log(drawn) * mean)


def _draw(seed: int, name: str, purpose: str, index: int) -> int:
    """64 bits that these four alone decide."""
    text = f"{seed}/{name}/{purpose}/{index}".encode()
    return int.from_bytes(blake2b(text, digest_size=8).digest(), "big")


__all__ = ["PricePath", "life"]
