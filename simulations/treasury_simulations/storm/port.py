"""The way from a daemon to a cloud: a `Provider` on which everything can go wrong.

A call has an instant before its effect and one after it; a fault may strike at either, and the
daemon may be killed at either.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Final, Protocol

import msgspec

from treasury.domain.commands import Acquire, ChangeBid, Release
from treasury.domain.errors import (
    LeaseUnknown,
    NoCapacity,
    NotPermitted,
    OutcomeUnknown,
    QuotaReached,
    Throttled,
    Unreachable,
)
from treasury.domain.events import LeaseSeen, MachineNoticed
from treasury.domain.market import Capabilities, Offer, Quote
from treasury.domain.time import HOUR, MINUTE
from treasury_simulations.storm.cloud import Cloud
from treasury_simulations.storm.weather import Weather

_QUIET: Final = HOUR


class Place(Protocol):
    """Where a call comes from: the host it may be killed on, and the world's time."""

    def now(self) -> int:
        """The world's true time [ns]."""
        ...

    async def sleep(self, span: int) -> None:
        """Let `span` ns pass."""
        ...

    async def maybe_die(self, fault: str) -> None:
        """Be killed here, if the fault strikes."""
        ...

    def claim(self, what: str) -> None:
        """Say that a call is about to be made, which only a leader may make."""
        ...

    def can_write(self) -> bool:
        """Whether the database is there."""
        ...

    def reachable(self) -> bool:
        """Whether the network carries anything from here."""
        ...


class CloudPort:
    """One daemon's connection to a cloud."""

    def __init__(self, cloud: Cloud, place: Place, weather: Weather, every: int) -> None:
        self.name = cloud.name
        first = next(iter(cloud.pools.values())).offer
        self.capabilities: Capabilities = first.capabilities
        self._cloud, self._place, self._weather = cloud, place, weather
        self._every = every
        self._notices: asyncio.Queue[MachineNoticed] = asyncio.Queue()

    # --- catalogue and prices --------------------------------------------------------------------

    async def offers(self) -> Sequence[Offer]:
        """Everything the cloud sells."""
        await self._reach()
        return [pool.offer for pool in self._cloud.pools.values()]

    async def quotes(self) -> AsyncIterator[Quote]:
        """Prices on a timer; the feed may end, fall silent or tell nonsense."""
        while True:
            await self._reach()
            if self._weather.strikes("feed_quiet"):
                await self._place.sleep(self._weather.span(_QUIET))
            for quote in self._cloud.quotes(self._place.now()):
                yield self._spoiled(quote)
            await self._place.sleep(self._every)

    def _spoiled(self, quote: Quote) -> Quote:
        if not self._weather.strikes("bad_quotes"):
            return quote
        bad = (0, -5, quote.rate * 1_000, 2**62, quote.rate)
        choice = self._weather.pick(len(bad))
        later = quote.observed_at + (HOUR if choice == len(bad) - 1 else 0)
        return msgspec.structs.replace(quote, rate=bad[choice], observed_at=later)

    async def notices(self) -> AsyncIterator[MachineNoticed]:
        """Warnings that reach this daemon."""
        while True:
            yield await self._notices.get()

    def warn(self, notice: MachineNoticed) -> None:
        """The cloud warns whoever listens."""
        self._notices.put_nowait(notice)

    # --- calls -----------------------------------------------------------------------------------

    async def acquire(self, request: Acquire) -> None:
        """Ask for machines."""
        weather = self._weather
        self._place.claim(f"{self.name} acquire")
        await self._reach()
        await self._place.maybe_die("killed_before_call")
        self._refuse("launch")
        if weather.strikes("lost_request"):
            await self._place.sleep(weather.span(2 * MINUTE))
            raise OutcomeUnknown("timed out")
        if weather.strikes("token_forgotten"):
            self._cloud.forget(request.token)
        if weather.strikes("no_capacity"):
            raise NoCapacity(request.offer, until=self._place.now() + 10 * MINUTE)
        if weather.strikes("quota"):
            raise QuotaReached(self.name)
        self._cloud.create(request, self._place.now())
        if weather.strikes("twin_machine"):
            self._cloud.twin(request, self._place.now())
        await self._place.maybe_die("killed_after_call")
        await self._after()

    async def release(self, request: Release) -> None:
        """Give a machine back."""
        weather = self._weather
        self._place.claim(f"{self.name} release")
        await self._reach()
        await self._place.maybe_die("killed_before_call")
        self._refuse("release")
        if weather.strikes("release_fails"):
            raise OutcomeUnknown("timed out")
        if weather.strikes("release_forbidden"):
            raise NotPermitted("protected")
        later = weather.span(5 * MINUTE) if weather.strikes("slow_shutdown") else 0
        self._cloud.stop(request.lease, request.machine, self._place.now(), later)
        await self._place.maybe_die("killed_after_call")
        await self._after()

    async def rebid(self, request: ChangeBid) -> None:
        """Change a bid."""
        await self._reach()
        self._refuse("rebid")
        if not self._cloud.rebid(request.lease, request.bid, self._place.now()):
            raise LeaseUnknown(str(request.lease))
        await self._after()

    async def leases(self) -> Sequence[LeaseSeen]:
        """What carries our tag: late, torn, or with what is not there."""
        weather = self._weather
        await self._reach()
        self._refuse("listing")
        if weather.strikes("listing_fails"):
            raise Unreachable("the second page did not come")
        now = self._place.now()
        lag = self.capabilities.listing_lag_ns
        as_of = now - weather.pick(lag + 1) if weather.strikes("listing_lags") else now
        seen = self._cloud.listing(now, as_of)
        if seen and weather.strikes("listing_flickers"):
            del seen[weather.pick(len(seen))]
        if weather.strikes("listing_zombie"):
            seen = [self._zombie(item) for item in seen]
        await self._after(harmless=True)
        if self._place.can_write():
            self._cloud.tell(seen)
        return seen

    def _zombie(self, item: LeaseSeen) -> LeaseSeen:
        """A machine that has ended and is said to run."""
        return msgspec.structs.replace(item, ended_at=None, cause="")

    async def close(self) -> None:
        """Nothing to close."""

    # --- faults every call has -------------------------------------------------------------------

    async def _reach(self) -> None:
        """Get there, or not."""
        await self._place.sleep(self._weather.latency())
        if not self._place.reachable() or self._weather.strikes("unreachable"):
            raise Unreachable("no route")

    def _refuse(self, _what: str) -> None:
        """Be turned away before anything happens."""
        if self._weather.strikes("throttled"):
            raise Throttled("too many", until=self._place.now() + self._weather.span(MINUTE))
        if self._weather.strikes("expired_credentials"):
            raise NotPermitted("expired")

    async def _after(self, *, harmless: bool = False) -> None:
        """It happened, and the answer may be lost."""
        weather = self._weather
        if harmless:
            return
        if weather.strikes("late_answer"):
            await self._place.sleep(weather.span(3 * MINUTE))
            raise OutcomeUnknown("timed out")
        for fault in ("reset_after_send", "server_error", "garbled_answer"):
            if weather.strikes(fault):
                raise OutcomeUnknown(fault)
        await self._place.sleep(weather.latency() // 2)
        if not self._place.reachable():
            raise OutcomeUnknown("no route back")
