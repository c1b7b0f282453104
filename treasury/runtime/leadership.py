"""Who acts: the process that holds the lease in the database, for as long as it is sure of it.

The database refuses the writes of any other by itself. What it cannot refuse are calls to
providers; so a leader that could not renew its lease in time makes none, by its own clock, counted
from before the request to renew was sent.
"""

from collections.abc import Callable
from typing import Final

from treasury.domain.errors import Deposed, StoreError
from treasury.domain.time import SECOND
from treasury.ports import Clock, Offload
from treasury.runtime.observer import Observer

# How long a lease lasts [ns]: so long nobody acts after a leader has died.
TTL: Final = 15 * SECOND


class Leadership:
    """lead: takes or renews the lease and says whether we hold it, blocking; None where there is
    nobody to share with. leader: who leads when we do not."""

    def __init__(
        self,
        lead: Callable[[], bool] | None,
        leader: Callable[[], str],
        clock: Clock,
        storage: Offload,
        observer: Observer,
        ttl: int = TTL,
    ) -> None:
        self._lead, self._leader = lead, leader
        self._clock, self._storage, self._observer, self._ttl = clock, storage, observer, ttl
        self._sure_until = 0

    def holds(self) -> bool:
        """Whether we lead at this moment, beyond doubt."""
        return self._lead is None or self._clock.now() < self._sure_until

    async def stand_by(self, waiting: Callable[[], None]) -> None:
        """Return as leader. waiting: called once when another one leads. Raises StoreError when
        the database cannot be used."""
        told = None
        while not await self._renew():
            if told is None:
                waiting()
            leader = self._leader()
            if leader != told:
                self._observer.led(False, leader)
                told = leader
            await self._clock.sleep_until(self._clock.now() + self._ttl // 3)
        self._observer.led(True, "")

    async def keep(self) -> None:
        """Renew until cancelled. Raises Deposed when another process has taken over."""
        while self._lead is not None:
            await self._clock.sleep_until(self._clock.now() + self._ttl // 3)
            try:
                leads = await self._renew()
            except Deposed:
                raise
            except StoreError as error:
                self._observer.broke("renewing the lease", error)
                continue
            if not leads:
                raise Deposed(f"{self._leader()!r} leads now: this process stops")

    async def _renew(self) -> bool:
        if self._lead is None:
            return True
        began = self._clock.now()
        leads = await self._storage.run(self._lead)
        # A quarter of the lease is kept back for calls that are under way.
        self._sure_until = began + self._ttl * 3 // 4 if leads else 0
        return leads
