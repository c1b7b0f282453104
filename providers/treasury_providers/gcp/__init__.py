"""Google Cloud: spot and regular machines of one project, through google-cloud-compute in threads.

settings   what the configuration says          launch      acquire, release, list
client     credentials, threads, time limits    machine     what one is made of
errors     Google's codes to what next          notices     preemptions, seen from outside
capacity   machine types, quotas, scores        catalogue   list prices of parts
prices     what offers ask                      check       what is allowed and what is missing

Lives here: everything that knows Google's calls, codes and formats. May not live here: decisions
about money or placement. The SDK (extra `[gcp]`) is imported when the market is first used.
"""

from collections.abc import AsyncIterator, Sequence
from functools import partial
from typing import Final

from treasury.domain.commands import Acquire, ChangeBid, Release
from treasury.domain.errors import Declined
from treasury.domain.events import LeaseSeen, MachineNoticed
from treasury.domain.findings import Finding, Score
from treasury.domain.market import Capabilities, Offer, Quote
from treasury.domain.time import MINUTE, SECOND
from treasury.ports import Site
from treasury_providers.common.polling import Feed, Source
from treasury_providers.common.sdk import need_sdk
from treasury_providers.gcp.capacity import Capacity
from treasury_providers.gcp.check import Check, policy_text
from treasury_providers.gcp.client import Door
from treasury_providers.gcp.launch import Launcher
from treasury_providers.gcp.notices import NOTICE, Preemptions
from treasury_providers.gcp.prices import PriceList
from treasury_providers.gcp.settings import Settings as GcpSettings
from treasury_providers.gcp.settings import check_settings

CAPABILITIES: Final = Capabilities(
    # No maximum price: the adapter and the engine keep to the ceiling by themselves.
    bids=False,
    floating=True,
    honours_tokens=True,
    pushes_quotes=False,
    notice_ns=NOTICE,
    grant_delay_ns=30 * SECOND,
    boot_ns=90 * SECOND,
    billing_step_ns=SECOND,
    billing_minimum_ns=MINUTE,
    listing_lag_ns=30 * SECOND,
    gang_max=100,
    calls_per_minute=600,
)


class Gcp:
    """The `Provider` of kind "gcp". Raises BadValue for settings that cannot be right, PluginError
    without the SDK."""

    Settings = GcpSettings

    def __init__(self, settings: GcpSettings, site: Site) -> None:
        need_sdk("google", "gcp")
        check_settings(settings, site)
        self.name: str = site.name
        self.capabilities = CAPABILITIES
        self._settings, self._site = settings, site
        self._door = Door(settings, site)
        self._capacity = Capacity(settings, site, self._door, CAPABILITIES)
        self._prices = PriceList(settings, site, self._door, self._capacity)
        self._launcher = Launcher(settings, site, self._door, self._prices.last)
        self._preemptions = Preemptions(settings, site, self._door, NOTICE)
        self._alive: frozenset[str] | None = None

    async def offers(self) -> Sequence[Offer]:
        """Every machine type with accelerators, in each zone. Raises ProviderError."""
        return await self._capacity.offers()

    def quotes(self) -> AsyncIterator[Quote]:
        """Prices, region by region, with what our quotas allow as depth."""
        every = self._settings.prices_every
        sources = {
            region: Source(every, partial(self._prices.quotes, region))
            for region in self._settings.regions
        }
        return Feed(self._site, "quotes", sources).stream()

    def notices(self) -> AsyncIterator[MachineNoticed]:
        """Preemptions as the control plane tells them; the node agent tells them earlier."""
        source = Source(self._settings.notices_every, self._preemptions.fetch)
        return Feed(self._site, "notices", {"preemptions": source}).stream()

    async def acquire(self, request: Acquire) -> None:
        """Make the machines, all or nothing. Raises ProviderError."""
        await self._launcher.acquire(request)

    async def release(self, request: Release) -> None:
        """Delete a machine with its disk. Raises ProviderError."""
        await self._launcher.release(request)

    async def leases(self) -> Sequence[LeaseSeen]:
        """Our machines, and those that ended in the last half hour. Raises ProviderError."""
        listing = await self._launcher.leases()
        names = frozenset(item.machine for item in listing)
        # A machine that is gone leaves only operations behind: asked for only when one is missed.
        if self._alive is None or not self._alive <= names:
            for item, ended_at, cause in await self._preemptions.departed():
                if item.machine not in names:
                    self._launcher.departed.add(item, ended_at, cause)
            listing = await self._launcher.leases()
        self._alive = frozenset(item.machine for item in listing if item.ended_at is None)
        return listing

    async def rebid(self, request: ChangeBid) -> None:
        """There are no bids to change. Raises Declined."""
        raise Declined(f"{request.machine or request.lease}: this market takes no bids")

    async def scores(self) -> Sequence[Score]:
        """Obtainability of spot machines; empty where we may not ask."""
        return await self._capacity.scores()

    async def check(self) -> Sequence[Finding]:
        """Sign-in, permissions, machine types, quotas, prices, clock."""
        check = Check(
            self._settings,
            self._site,
            self._door,
            self._capacity,
            self._prices,
            self._launcher,
        )
        return await check.run()

    def policy(self) -> str:
        """The least-privilege custom role, as JSON."""
        return policy_text(self._settings)

    async def close(self) -> None:
        """Close connections and threads; machines go on."""
        await self._launcher.close()
        await self._door.close()


__all__ = ["CAPABILITIES", "Gcp", "GcpSettings"]
