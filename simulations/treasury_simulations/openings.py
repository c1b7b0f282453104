"""The best price that could have been had for a kind of work, while such work ran.

Hindsight's yardstick for "rate paid above the best open price": the least rate per unit of work
among the pools that fit and have room for one more gang. Followed only while somebody needs it.
"""

from bisect import bisect_right
from typing import TYPE_CHECKING, Final

from treasury.domain.job import REFERENCE_THROUGHPUT, Requirement
from treasury.domain.time import NEVER
from treasury_simulations.meter import Rates

if TYPE_CHECKING:
    from treasury_simulations.market import Pool

# Prices per unit of work are rates scaled up before the division by a speed, so that the integer
# quotient keeps six digits more than a rate has.
_SCALE: Final = 1_000_000 * REFERENCE_THROUGHPUT
# No pool is open: nothing paid can be above the best price.
_NONE: Final = NEVER
# Jobs come in a few kinds; where each is its own, remembering them all would only take memory.
_FITS_KEPT: Final = 1_024
# A history shorter than this is not worth trimming.
_TRIM_ABOVE: Final = 512


class BestPrice:
    """The best open price per unit of work over time for one kind of requirement."""

    __slots__ = ("at", "best", "nodes", "price", "pools", "prices", "speeds", "trim_at", "users")

    def __init__(self, nodes: int, speeds: list[tuple["Pool", int]], now: int) -> None:
        self.nodes = nodes
        self.pools = [pool for pool, _ in speeds]
        self.speeds = {pool.index: speed for pool, speed in speeds}
        # Users by number, each with the instant from which it needs the history.
        self.users: dict[int, int] = {}
        self.prices = {pool.index: self._price_of(pool) for pool in self.pools}
        self.best = min(self.prices.values(), default=_NONE)
        self.at = [now]
        self.price = [self.best]
        self.trim_at = _TRIM_ABOVE
        for pool in self.pools:
            pool.watchers.append(self)

    def _price_of(self, pool: "Pool") -> int:
        if pool.rate < 0 or pool.free() < self.nodes:
            return _NONE
        return pool.rate * _SCALE // self.speeds[pool.index]

    def update(self, pool: "Pool", now: int) -> None:
        """Take a change of a pool's rate or room at an instant [ns]."""
        price, old = self._price_of(pool), self.prices[pool.index]
        if price == old:
            return
        self.prices[pool.index] = price
        if price < self.best:
            best = price
        elif old == self.best:
            best = min(self.prices.values())
        else:
            return
        if best == self.best:
            return
        self.best = best
        if self.at[-1] == now:
            self.price[-1] = best
            return
        self.at.append(now)
        self.price.append(best)
        if len(self.at) > self.trim_at:
            self._trim()

    def _trim(self) -> None:
        """Forget what lies before the oldest user."""
        oldest = next(iter(self.users.values()), self.at[-1])
        keep = max(0, bisect_right(self.at, oldest) - 1)
        del self.at[:keep], self.price[:keep]
        self.trim_at = max(_TRIM_ABOVE, 2 * len(self.at))

    def excess(self, rates: Rates, speed: int, start: int, end: int) -> int:
        """Sum over [start, end) of (rate paid - best open rate for the same work) x time where that
        is above zero [nano-USD/h x ns]. speed: of the machine paid for [thousandths]."""
        if end <= start:
            return 0
        ats, prices = self.at, self.price
        i = max(0, bisect_right(ats, start) - 1)
        j = max(0, bisect_right(rates, start, key=lambda point: point[0]) - 1)
        total, at = 0, start
        while at < end:
            price_until = ats[i + 1] if i + 1 < len(ats) else end
            rate_until = rates[j + 1][0] if j + 1 < len(rates) else end
            until = min(price_until, rate_until, end)
            over = rates[j][1] - prices[i] * speed // _SCALE
            if over > 0:
                total += over * (until - at)
            i += price_until == until and i + 1 < len(ats)
            j += rate_until == until and j + 1 < len(rates)
            at = until
        return total


# What decides which pools fit and at which speed.
_Kind = tuple[object, ...]


class Openings:
    """The best prices that are being followed, by kind of requirement."""

    __slots__ = ("_fits", "_followed", "_kinds", "_next", "_pools")

    def __init__(self, pools: list["Pool"]) -> None:
        self._pools = pools
        self._fits: dict[_Kind, list[tuple[Pool, int]]] = {}
        self._followed: dict[_Kind, BestPrice] = {}
        self._kinds: dict[int, tuple[_Kind, BestPrice]] = {}
        self._next = 0

    def follow(self, requirement: Requirement, now: int) -> int:
        """Begin to follow the best price for a requirement; returns the number of this user."""
        kind = _kind(requirement)
        best = self._followed.get(kind)
        if best is None:
            fits = self._fits.get(kind)
            if fits is None:
                if len(self._fits) >= _FITS_KEPT:
                    self._fits.clear()
                fitting = [(pool, requirement.speed(pool.offer)) for pool in self._pools]
                fits = self._fits[kind] = [(pool, speed) for pool, speed in fitting if speed > 0]
            best = self._followed[kind] = BestPrice(requirement.nodes, fits, now)
        self._next += 1
        best.users[self._next] = now
        self._kinds[self._next] = (kind, best)
        return self._next

    def leave(self, user: int, rates: Rates, speed: int, start: int, end: int) -> int:
        """End a following; returns `BestPrice.excess` for what was paid meanwhile."""
        kind, best = self._kinds.pop(user)
        total = best.excess(rates, speed, start, end)
        del best.users[user]
        if not best.users:
            del self._followed[kind]
            for pool in best.pools:
                pool.watchers.remove(best)
        return total


def _kind(requirement: Requirement) -> _Kind:
    return (
        tuple(requirement.throughput.items()),
        requirement.gpus,
        requirement.nodes,
        requirement.gpu_memory_gib,
        requirement.providers,
        requirement.regions,
        requirement.tenures,
        requirement.exact,
    )
