"""What the cases stand on: requests with numbers of their own, waiting, cleaning up."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Sequence
from typing import Final, NoReturn, TypeVar

from treasury.domain.commands import Acquire, Release
from treasury.domain.errors import ProviderError
from treasury.domain.events import LeaseSeen, MachineNoticed
from treasury.domain.ids import (
    LeaseId,
    OfferId,
    PlacementId,
    ProviderName,
    request_token,
)
from treasury.domain.market import Offer, Quote, Tenure
from treasury.domain.money import NANO
from treasury.domain.time import SECOND
from treasury.ports import Clock, Provider
from treasury_simulations.conformance.counterpart import Counterpart, Made

T = TypeVar("T")

# The longest that one call may take, and how often a listing is asked for [ns].
CALL_SECONDS: Final = 60.0
_STEP: Final = SECOND // 5
# A bid [nano-USD/h] above every market.
HIGH_BID: Final = 1_000 * NANO
# What an adapter writes the placement's number to, whatever the market calls tags.
PLACEMENT_TAG: Final = "treasury-placement"


class CaseFailedError(Exception):
    """The adapter broke a promise."""


class CaseSkippedError(Exception):
    """The case does not apply."""


def fail(text: str) -> NoReturn:
    """End the case: the adapter broke a promise."""
    raise CaseFailedError(text)


def skip(why: str) -> NoReturn:
    """End the case: it does not apply."""
    raise CaseSkippedError(why)


class Bench:
    """An adapter, its counterpart if there is one, and the numbers of its requests."""

    def __init__(
        self,
        provider: Provider,
        counterpart: Counterpart | None,
        clock: Clock,
        buy: OfferId | None,
        run_name: str,
    ) -> None:
        self.provider, self.clock = provider, clock
        self._counterpart, self._buy, self._run_name = counterpart, buy, run_name
        self._offers: list[Offer] = []
        self._number = 0
        self._asked: dict[LeaseId, Acquire] = {}
        self.heard: list[str] = []

    # --- what there is ---------------------------------------------------------------------------

    @property
    def provider_name(self) -> ProviderName:
        """The adapter's name."""
        return ProviderName(self.provider.name)

    @property
    def has_counterpart(self) -> bool:
        """Whether the market is a pretend one."""
        return self._counterpart is not None

    @property
    def counterpart(self) -> Counterpart:
        """The counterpart; without one the case is left out."""
        if self._counterpart is None:
            skip("needs a counterpart that does as it is told")
        return self._counterpart

    def needs(self, *abilities: str) -> Counterpart:
        """The counterpart, if it can do all of this."""
        counterpart = self.counterpart
        missing = [ability for ability in abilities if ability not in counterpart.can]
        if missing:
            skip(f"the counterpart cannot: {', '.join(missing)}")
        return counterpart

    async def offers(self) -> list[Offer]:
        """The catalogue, fetched once."""
        if not self._offers:
            self._offers = list(await self.call(self.provider.offers()))
        return self._offers

    async def offer(self, *, bids: bool = False) -> Offer:
        """An offer to buy: spot before others; one that takes bids where that is asked for."""
        offers = await self.offers()
        if self._counterpart is None and self._buy is None:
            skip("would buy a machine: name an offer to allow it")
        if self._buy is not None:
            offers = [offer for offer in offers if offer.id == self._buy]
        if bids:
            offers = [offer for offer in offers if offer.capabilities.bids]
        if not offers:
            skip("no offer takes bids" if bids else "there is no offer to buy")
        return min(offers, key=lambda offer: (offer.tenure is not Tenure.SPOT, offer.id))

    def machines(self) -> dict[str, Made]:
        """The counterpart's machines by name."""
        return {made.machine: made for made in self.counterpart.machines()}

    def running(self) -> dict[str, Made]:
        """Those that run."""
        return {name: made for name, made in self.machines().items() if made.ended_at is None}

    def running_of(self, request: Acquire) -> list[str]:
        """Machines of a request that run, by the counterpart's word."""
        value = str(request.placement)
        return [
            name for name, made in self.running().items() if made.tags.get(PLACEMENT_TAG) == value
        ]

    async def settled(self) -> None:
        """Return when the number of machines at the counterpart has stopped changing."""
        before = -1
        while before != len(self.machines()):
            before = len(self.machines())
            await asyncio.sleep(0.3)

    # --- calls -----------------------------------------------------------------------------------

    async def call(self, awaitable: Awaitable[T]) -> T:
        """The result, within the time a call may take."""
        try:
            return await asyncio.wait_for(awaitable, CALL_SECONDS)
        except TimeoutError:
            fail(f"no answer in {CALL_SECONDS:g} s: calls need a time limit of their own")

    def request(self, offer: Offer, machines: int = 1, bid: int = HIGH_BID) -> Acquire:
        """A new request with lease numbers nobody else has."""
        self._number += 1
        first = self._number * 1_000 + 1
        leases = tuple(LeaseId(first + index) for index in range(machines))
        placement = PlacementId(self._number)
        token = request_token(self._run_name, placement, 1)
        request = Acquire(offer.provider, offer.id, placement, leases, bid, token)
        self._asked.update(dict.fromkeys(leases, request))
        return request

    async def acquired(self, machines: int = 1) -> tuple[Acquire, list[LeaseSeen]]:
        """Buy and wait until it is listed."""
        request = self.request(await self.offer(), machines)
        await self.call(self.provider.acquire(request))
        return request, await self.listed(request)

    async def expect(
        self, awaitable: Awaitable[object], *kinds: type[ProviderError]
    ) -> ProviderError:
        """The error that a call must raise, of one of these kinds."""
        names = " or ".join(kind.__name__ for kind in kinds)
        try:
            await self.call(awaitable)
        except kinds as error:
            return error
        except ProviderError as error:
            fail(f"raised {type(error).__name__} ({error}), expected {names}")
        fail(f"raised nothing, expected {names}")

    async def live(self) -> list[LeaseSeen]:
        """What is listed of this run's own leases and has not ended."""
        listing = await self.call(self.provider.leases())
        return [item for item in listing if item.lease in self._asked and item.ended_at is None]

    async def listed(self, request: Acquire) -> list[LeaseSeen]:
        """Wait until every machine of a request is listed, as late as the capabilities allow."""
        found: list[LeaseSeen] = []
        async for items in self._listings():
            found = [item for item in items if item.lease in request.leases]
            if len(found) >= len(request.leases):
                return found
        fail(f"{len(found)} of {len(request.leases)} machines are listed in time")

    async def gone(self, leases: Sequence[LeaseId]) -> None:
        """Wait until none of these is listed as alive."""
        left: list[LeaseId] = []
        async for items in self._listings():
            left = [item.lease for item in items if item.lease in leases]
            if not left:
                return
        fail(f"still listed after their release: {left}")

    async def _listings(self) -> AsyncIterator[list[LeaseSeen]]:
        """Listings until the lag that the capabilities admit is over, one more after it."""
        until = self.clock.now() + self.provider.capabilities.listing_lag_ns + 10 * SECOND
        while True:
            late = self.clock.now() > until
            yield await self.live()
            if late:
                return
            await self.clock.sleep_until(self.clock.now() + _STEP)

    async def some_quotes(self, wanted: int, seconds: float = CALL_SECONDS) -> list[Quote]:
        """The first quotes of a new stream."""
        return await self._some(self.provider.quotes(), wanted, seconds)

    async def all_quotes(self) -> list[Quote]:
        """A quote for each offer, as far as they come soon."""
        return await self.some_quotes(len(await self.offers()), 3)

    async def some_notices(self, wanted: int, seconds: float) -> list[MachineNoticed]:
        """The notices that come within a time, at most `wanted`."""
        return await self._some(self.provider.notices(), wanted, seconds)

    async def _some(self, stream: AsyncIterator[T], wanted: int, seconds: float) -> list[T]:
        found: list[T] = []
        try:
            async with asyncio.timeout(seconds):
                async for item in stream:
                    found.append(item)
                    if len(found) >= wanted:
                        break
        except TimeoutError:
            pass
        finally:
            close = getattr(stream, "aclose", None)
            if close is not None:
                await close()
        return found

    async def clean(self) -> None:
        """Release everything this run asked for and is still there; heal the counterpart."""
        if self._counterpart is not None:
            self._counterpart.heal()
        if not self._asked:
            return
        for item in await self.live():
            request = self._asked[item.lease]
            await self.call(
                self.provider.release(Release(request.provider, item.lease, item.machine))
            )
