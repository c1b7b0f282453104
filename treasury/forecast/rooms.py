"""Room for gangs: where so many machines of one offer are free, how long that lasts, how often it
is so.

A pool that is deep enough for one machine need not be for eight, and what our own jobs hold is
there for nobody else. So each size of gang has a memory of its own in each pool, of the machines
that were free; hazards are the forecaster's.
"""

from collections.abc import Iterable
from typing import Final, NamedTuple

from treasury.domain.ids import OfferId
from treasury.domain.plan import OfferView
from treasury.domain.time import HOUR
from treasury.forecast.forecaster import Forecaster
from treasury.forecast.hazards import STEP, Prior, age_class, occupancy, remaining

_STEP_HOURS: Final = STEP / HOUR


class Outlook(NamedTuple):
    """there: whether there is room now. rest: hours for which that is expected to stay so. share:
    of the time, in the long run, in which there is room. run: hours that room lasts from when one
    comes upon it."""

    there: bool
    rest: float
    share: float
    run: float


class _Lives(NamedTuple):
    """Expected steps that remain, by class of age, with room and without. Instants in ns."""

    at: int
    since: int
    room: tuple[float, ...]
    none: tuple[float, ...]
    share: float
    run: float


class Rooms:
    """Learns from snapshots; the same ones in the same order give the same answers."""

    def __init__(self, prior: Prior) -> None:
        self._memory = Forecaster(prior, {})
        # Sizes of gangs that were met, in that order, since what is looked at is then the same
        # live and replayed.
        self._sizes: dict[int, None] = {}
        self._seen: dict[OfferId, tuple[int, int, int]] = {}
        self._had: set[OfferId] = set()
        self._lives: dict[OfferId, _Lives] = {}

    def see(self, now: int, views: Iterable[OfferView], sizes: Iterable[int]) -> None:
        """Take in spot offers at an instant [ns], for gangs of some sizes and those met before."""
        for size in sizes:
            self._sizes.setdefault(size)
        count, cell = len(self._sizes), now // STEP
        for view in views:
            offer, free = view.offer.id, view.free(now)
            seen = free, cell, count
            if self._seen.get(offer) == seen:
                continue
            self._seen[offer] = seen
            for size in self._sizes:
                room = _room(offer, size)
                self._memory.see_pool(room, now, free >= size, -1)
                if free >= size:
                    self._had.add(room)

    def ever(self, offer: OfferId, size: int) -> bool:
        """Whether there was ever room for a gang of a size."""
        return _room(offer, size) in self._had

    def outlook(self, offer: OfferId, size: int, now: int) -> Outlook:
        """What to expect of a pool that was seen."""
        room = _room(offer, size)
        lives, memory = self._known(room, now), self._memory.pools[room].memory
        rest = lives.room if memory.available else lives.none
        at = age_class(memory.age(now))
        return Outlook(
            memory.available, rest[at] * _STEP_HOURS, lives.share, lives.run * _STEP_HOURS
        )

    def kept(self, offer: OfferId, size: int, now: int, since: int) -> float:
        """Hours for which machines held since an instant [ns] are expected to be left to us."""
        held = 1.0 + (now - since) / STEP
        return self._known(_room(offer, size), now).room[age_class(held)] * _STEP_HOURS

    def _known(self, room: OfferId, now: int) -> _Lives:
        """Lives are worked out again when the state changed or a step has passed."""
        lives, since = self._lives.get(room), self._memory.pools[room].memory.since
        if lives is None or now - lives.at > STEP or lives.since != since:
            hazards = self._memory.curves(room)
            ages, left = occupancy(hazards.loss), remaining(hazards.loss)
            there, gone = sum(ages), sum(occupancy(hazards.back))
            run = sum(part * rest for part, rest in zip(ages, left, strict=True)) / there
            lives = self._lives[room] = _Lives(
                now, since, left, remaining(hazards.back), there / (there + gone), run
            )
        return lives


def _room(offer: OfferId, size: int) -> OfferId:
    return OfferId(f"{offer} x{size}")
