"""Whether this machine's clock can be trusted: how far the wall clock is from the one followed.

A step of the wall clock is worked off as a drift, so that nothing jumps. Until it is, leases,
deadlines and bills are reckoned with a time that others do not have: what is held is looked after,
and nothing new is asked for.
"""

from typing import Final

from treasury.domain.time import SECOND
from treasury.ports import Clock
from treasury.runtime.observer import Observer

# Beyond this no machine is asked for.
SKEW_MAX: Final = 5 * SECOND
_LOOK: Final = 5 * SECOND


def skew_of(clock: Clock) -> int:
    """How far the wall clock is ahead of the one that is followed [ns]."""
    found: int = getattr(clock, "skew", 0)
    return found


class SkewWatch:
    """Tells observers of the difference, and whoever asks whether it is too large."""

    def __init__(self, clock: Clock, observer: Observer) -> None:
        self._clock, self._observer = clock, observer

    @property
    def degraded(self) -> bool:
        """Whether the difference is too large to launch machines."""
        return abs(skew_of(self._clock)) > SKEW_MAX

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            ahead = skew_of(self._clock)
            self._observer.skewed(ahead, degraded=abs(ahead) > SKEW_MAX)
            await self._clock.sleep_until(self._clock.now() + _LOOK)
