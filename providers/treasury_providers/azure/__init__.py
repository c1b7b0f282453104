"""Azure: spot and regular virtual machines of one subscription, through `azure.mgmt.compute.aio`.

Lives here: everything that knows Azure's calls, codes and formats. May not live here: decisions
about money or placement. The SDK (extra `[azure]`) is imported when the market is first used.
"""

from collections.abc import AsyncIterator, Sequence
from functools import partial
from typing import Final

from treasury.domain.commands import Acquire, ChangeBid, Release
from treasury.domain.errors import Declined, NotPermitted
from treasury.domain.events import LeaseSeen, MachineNoticed
from treasury.domain.findings import Finding, Score
from treasury.domain.market import Capabilities, Offer, Quote
from treasury.domain.time import MINUTE, SECOND
from treasury.ports import Site
from treasury_providers.azure.capacity import Capacity
from treasury_providers.azure.check import examine, policy_text
from treasury_providers.azure.client import Door
from treasury_providers.azure.launch import Launcher
from treasury_providers.azure.notices import Evictions
from treasury_providers.azure.prices import PriceList
from treasury_providers.azure.settings import Settings as AzureSettings
from treasury_providers.azure.settings import check_settings
from treasury_providers.common.polling import Feed, Source
from treasury_providers.common.sdk import need_sdk

CAPABILITIES: Final = Capabilities(
    bids=True,
    floating=True,
    honours_tokens=True,
    pushes_quotes=False,
    notice_ns=30 * SECOND,
    grant_delay_ns=30 * SECOND,
    boot_ns=2 * MINUTE,
    billing_step_ns=SECOND,
    billing_minimum_ns=0,
    listing_lag_ns=30 * SECOND,
    # A gang is as many PUTs; beyond this the writes of a subscription are throttled.
    gang_max=100,
    calls_per_minute=120,
)


class Azure:
    """The `Provider` of kind "azure"."""

    Settings = AzureSettings

    def __init__(self, settings: AzureSettings, site: Site) -> None:
        need_sdk("azure", "azure")
        check_settings(settings, site)
        self.name: str = site.name
        self.capabilities = CAPABILITIES
        self._settings, self._site = settings, site
        self._door = Door(settings, site)
        self._capacity = Capacity(settings, site, self._door, CAPABILITIES)
        self._prices = PriceList(settings, site, self._door, self._capacity)
        self._launcher = Launcher(settings, site, self._door)
        self._evictions = Evictions(
            settings, site, self._door, self._launcher, CAPABILITIES.notice_ns
        )
        self._alive: frozenset[str] | None = None

    async def offers(self) -> Sequence[Offer]:
        """Every size with accelerators, in each zone that has it. Raises ProviderError."""
        return await self._capacity.offers()

    def quotes(self) -> AsyncIterator[Quote]:
        """Retail prices, region by region, with what our quotas allow as depth."""
        every = self._settings.prices_every
        sources = {
            region: Source(every, partial(self._prices.quotes, region))
            for region in self._settings.regions
        }
        return Feed(self._site, "quotes", sources).stream()

    def notices(self) -> AsyncIterator[MachineNoticed]:
        """Evictions as the control plane tells them; the node agent tells them earlier."""
        source = Source(self._settings.notices_every, self._evictions.fetch)
        return Feed(self._site, "notices", {"evictions": source}).stream()

    async def acquire(self, request: Acquire) -> None:
        """Make the machines, all or nothing. Raises ProviderError."""
        await self._launcher.acquire(request)

    async def release(self, request: Release) -> None:
        """Delete a machine with its disk and its network interface. Raises ProviderError."""
        await self._launcher.release(request)

    async def leases(self) -> Sequence[LeaseSeen]:
        """Our machines, and those that ended in the last half hour. Raises ProviderError."""
        listing = await self._launcher.leases()
        names = frozenset(item.machine for item in listing)
        vanished = self._alive is None or not self._alive <= names
        # What is gone leaves only a trace in Resource Graph: asked for when something is missed.
        if vanished and await self._bury_gone(names):
            listing = await self._launcher.leases()
            names = frozenset(item.machine for item in listing)
        self._alive = frozenset(item.machine for item in listing if item.ended_at is None)
        return listing

    async def _bury_gone(self, listed: frozenset[str]) -> bool:
        try:
            gone = await self._evictions.departed()
        except NotPermitted:
            return False
        gone = [entry for entry in gone if entry[0].machine not in listed]
        for item, at, cause in gone:
            self._launcher.departed.add(item, at, cause)
        return bool(gone)

    async def rebid(self, request: ChangeBid) -> None:
        """Azure takes a new maximum price only while a machine is deallocated. Raises Declined."""
        raise Declined(f"{request.machine or request.lease}: the bid is fixed while it runs")

    async def scores(self) -> Sequence[Score]:
        """Spot placement scores with eviction bands; empty where we may not ask."""
        return await self._capacity.scores()

    async def check(self) -> Sequence[Finding]:
        """Sign-in, permissions, network, image, quotas, clock: what works and what is missing."""
        return await examine(self._settings, self._site, self._door, self._capacity)

    def policy(self) -> str:
        """The least-privilege custom role, as JSON."""
        return policy_text(self._settings)

    async def close(self) -> None:
        """Close connections; machines go on."""
        await self._launcher.close()
        await self._door.close()


__all__ = ["CAPABILITIES", "Azure", "AzureSettings"]
