"""What waiting for spot can be expected to cost a class of jobs, by what was seen of its market."""

from typing import Final

from treasury.domain.time import HOUR

# What a class is taken to have seen before its first look: spot half of the time, at the price
# listed now. A few hours of evidence outweigh it.
_PRIOR: Final = 6 * HOUR


class Prospect:
    """The share of time with room on spot, whoever held it, and its price.

    Time is counted when the market changed and when a job comes, not when somebody looks: so the
    answer does not depend on how often a strategy is asked.
    """

    __slots__ = ("_closed", "_open", "_paid", "_price", "_since", "listed")

    def __init__(self) -> None:
        # Durations [ns], and the integral of the price over the time with room.
        self._open = 0
        self._closed = 0
        self._paid = 0
        # The cheapest price with room since an instant, None without; and the cheapest listed now.
        self._price: int | None = None
        self._since = -1
        self.listed: int | None = None

    def see(self, now: int, price: int | None, listed: int | None) -> None:
        """Note the cheapest prices per unit of work [price_of] within the limits, with room for the
        class and at all; None where there is none."""
        self.listed = listed
        if self._since < 0:
            self._since = now
        elif price != self._price:
            self.count(now)
        self._price = price

    def count(self, now: int) -> None:
        """Count the time up to an instant [ns] as what was last seen, if anything was."""
        if self._since < 0:
            return
        span = now - self._since
        self._since = now
        if self._price is None:
            self._closed += span
        else:
            self._open += span
            self._paid += span * self._price

    def expected(self, dear: int) -> int:
        """Price per unit of work [price_of] of waiting: the mean over time of spot's, and of `dear`
        while there is no room. `dear` itself where no spot is listed within the limits."""
        if self.listed is None:
            return dear
        half = _PRIOR // 2
        paid = self._paid + half * self.listed + (self._closed + half) * dear
        return paid // (self._open + self._closed + _PRIOR)
