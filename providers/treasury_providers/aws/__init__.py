"""Amazon EC2: spot and on-demand machines, through boto3 in threads of its own.

Lives here: EC2's calls, formats and codes. May not live here: what would serve another market, too
(`common`), or a decision.

settings   what the configuration says         capacity   shapes, zones, quotas, scores
calls      clients, threads, time limits       prices     spot history, on-demand price list
errors     AWS's codes to what next            launch     acquire, release, list
frozen     requests as they were sent          notices    interruption warnings from queues
userdata   one user data for a gang            check      what is allowed and what is missing
policy     the least-privilege policy           rows       spot prices out of XML, quickly
"""

from collections.abc import AsyncIterator, Sequence
from functools import partial

from treasury.domain.commands import Acquire, ChangeBid, Release
from treasury.domain.errors import Declined
from treasury.domain.events import LeaseSeen, MachineNoticed
from treasury.domain.findings import Finding, Score
from treasury.domain.market import Offer, Quote, Tenure
from treasury.ports import Site
from treasury_providers.aws.calls import Calls
from treasury_providers.aws.capacity import Capacity
from treasury_providers.aws.check import Check
from treasury_providers.aws.launch import Launch
from treasury_providers.aws.notices import Notices
from treasury_providers.aws.policy import policy
from treasury_providers.aws.prices import Prices
from treasury_providers.aws.settings import Settings as AwsSettings
from treasury_providers.aws.settings import check_settings
from treasury_providers.common.polling import Feed, Source
from treasury_providers.common.sdk import need_sdk


class Aws:
    """One account. Raises BadValue for settings that cannot be right, PluginError without boto3."""

    Settings = AwsSettings

    def __init__(self, settings: AwsSettings, site: Site) -> None:
        need_sdk("boto3", "aws")
        check_settings(settings, site)
        self.name = site.name
        self._settings, self._site = settings, site
        self._calls = Calls(settings, site)
        self._capacity = Capacity(settings, site, self._calls)
        self._prices = Prices(settings, site, self._calls, self._capacity)
        self._launch = Launch(
            settings, site, self._calls, self._capacity, self._prices.on_demand_now
        )
        self._notices = Notices(settings, site, self._calls, self._launch)
        self._feed = Feed(
            site,
            "quotes",
            {
                region: Source(settings.prices, partial(self._prices.quotes, region))
                for region in settings.regions
            },
        )
        tenures = [Tenure(tenure) for tenure in settings.tenures] or [Tenure.SPOT]
        self.capabilities = self._capacity.capabilities(
            Tenure.SPOT if Tenure.SPOT in tenures else tenures[0]
        )

    async def offers(self) -> Sequence[Offer]:
        """See the port."""
        return await self._capacity.offers()

    def quotes(self) -> AsyncIterator[Quote]:
        """See the port."""
        return self._feed.stream()

    def notices(self) -> AsyncIterator[MachineNoticed]:
        """See the port."""
        return self._notices.stream()

    async def acquire(self, request: Acquire) -> None:
        """See the port."""
        await self._launch.acquire(request)

    async def release(self, request: Release) -> None:
        """See the port."""
        await self._launch.release(request)

    async def leases(self) -> Sequence[LeaseSeen]:
        """See the port."""
        return await self._launch.leases()

    async def rebid(self, request: ChangeBid) -> None:
        """Declined: a maximum price is fixed when the machine starts."""
        raise Declined(f"AWS fixes the maximum price of {request.machine} at its start")

    async def close(self) -> None:
        """See the port."""
        self._calls.close()

    async def scores(self) -> Sequence[Score]:
        """How readily AWS would give spot machines. Raises ProviderError."""
        return await self._capacity.scores()

    async def check(self) -> Sequence[Finding]:
        """Credentials, clock, permissions, prices, quotas, queues."""
        checks = Check(self._settings, self._site, self._calls, self._capacity, self._prices)
        return await checks.run()

    def policy(self) -> str:
        """The IAM policy that is needed, as JSON."""
        return policy(self._settings, self._site.installation)
