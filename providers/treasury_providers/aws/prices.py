"""Rates: spot prices by AZ id, polled; on-demand prices, asked for daily and kept on disk."""

import json
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec

from treasury.domain.errors import ProviderError
from treasury.domain.ids import OfferId
from treasury.domain.market import Quote, Tenure, offer_id
from treasury.domain.time import DAY, WEEK, to_datetime
from treasury.ports import Site
from treasury_providers.aws.calls import Calls, pages
from treasury_providers.aws.capacity import Capacity, Region
from treasury_providers.aws.settings import Settings
from treasury_providers.common.polling import Cached
from treasury_providers.common.rates import rate_from_text

PRODUCT: Final = "Linux/UNIX"
# The price list is served from few regions; any of them knows all prices.
_PRICING_REGION: Final = "us-east-1"
_FIELDS: Final = {
    "operatingSystem": "Linux",
    "tenancy": "Shared",
    "preInstalledSw": "NA",
    "capacitystatus": "Used",
}


class _Kept(msgspec.Struct):
    """On-demand prices as they are kept on disk."""

    fetched_at: int
    rates: dict[str, int]


class Prices:
    """Rates of every offer. Depth is what our quota allows: AWS does not tell how much it has."""

    def __init__(self, settings: Settings, site: Site, calls: Calls, capacity: Capacity) -> None:
        self._settings, self._site, self._calls, self._capacity = settings, site, calls, capacity
        self._fixed = settings.rates()
        self._on_demand = {}
        for region in settings.regions:
            cached = Cached(site.clock, DAY, partial(self._list_prices, region), keep=4 * WEEK)
            kept = _read_kept(self._path(region))
            if kept is not None:
                cached.put(kept.rates, kept.fetched_at)
            self._on_demand[region] = cached

    async def quotes(self, region_name: str) -> list[Quote]:
        """What every offer of a region costs now. Raises ProviderError."""
        region = await self._capacity.region(region_name)
        quotes: list[Quote] = []
        if Tenure.SPOT.value in self._settings.tenures:
            quotes += await self._spot(region)
        if Tenure.ON_DEMAND.value in self._settings.tenures:
            quotes += await self._on_demand_quotes(region)
        return quotes

    async def on_demand_rates(self, region: str) -> Mapping[str, int]:
        """Instance type -> nano-USD/h. Falls back on the settings' own; may be empty."""
        try:
            return {**self._fixed, **await self._on_demand[region].get()}
        except ProviderError:
            return self._fixed

    def on_demand_now(self, region: str, instance: str) -> int:
        """The on-demand rate [nano-USD/h] as far as it is known without asking; else 0."""
        cached = self._on_demand.get(region)
        latest = None if cached is None else cached.latest
        return (latest or {}).get(instance) or self._fixed.get(instance, 0)

    async def _spot(self, region: Region) -> list[Quote]:
        types = [machine.shape.instance for machine in region.machines.values() if machine.spot]
        if not types:
            return []
        asked_at = self._site.clock.now()

        def ask(ec2: Any) -> list[dict[str, Any]]:
            # From now: the price in force is what changed last before.
            return pages(
                ec2,
                "describe_spot_price_history",
                "SpotPriceHistory",
                InstanceTypes=types,
                ProductDescriptions=[PRODUCT],
                StartTime=to_datetime(asked_at),
            )

        rows = await self._calls.run("ec2", region.name, ask)
        depths = {
            name: await self._capacity.depth(region.name, machine, Tenure.SPOT)
            for name, machine in region.machines.items()
        }
        pools = spot_pools(self._site.name, region)
        return read_history(pools, rows, depths, asked_at, self._site.clock.now())

    async def _on_demand_quotes(self, region: Region) -> list[Quote]:
        rates = await self.on_demand_rates(region.name)
        now = self._site.clock.now()
        found = []
        for name, machine in region.machines.items():
            rate = rates.get(name)
            if rate is None:
                continue
            depth = await self._capacity.depth(region.name, machine, Tenure.ON_DEMAND)
            for zone in machine.zones:
                offer = offer_id(self._site.name, region.name, zone, name, Tenure.ON_DEMAND)
                found.append(Quote(offer, rate, depth, now, now))
        return found

    async def _list_prices(self, region_name: str) -> dict[str, int]:
        region = await self._capacity.region(region_name)

        def ask(pricing: Any) -> dict[str, int]:
            rates = {}
            for name in region.machines:
                fields = {**_FIELDS, "regionCode": region_name, "instanceType": name}
                filters = [
                    {"Type": "TERM_MATCH", "Field": field, "Value": value}
                    for field, value in fields.items()
                ]
                items = pages(
                    pricing, "get_products", "PriceList", ServiceCode="AmazonEC2", Filters=filters
                )
                rate = read_price_list(items)
                if rate is not None:
                    rates[name] = rate
            return rates

        rates: dict[str, int] = await self._calls.run(
            "pricing", _PRICING_REGION, ask, seconds=20.0 + 2 * len(region.machines)
        )
        kept = _Kept(self._site.clock.now(), rates)
        await self._site.offload.run(lambda: _write_kept(self._path(region_name), kept))
        return rates

    def _path(self, region: str) -> Path:
        return self._site.state / f"on-demand-{region}.json"


class Pools(NamedTuple):
    """The spot pools of a region as rows name them. zones: the account's names to AZ ids; ids:
    (instance type, AZ id) to offer."""

    zones: dict[str, str]
    ids: dict[tuple[str, str], OfferId]


def spot_pools(provider: str, region: Region) -> Pools:
    """The pools of a region's catalogue."""
    ids = {
        (name, zone): offer_id(provider, region.name, zone, name, Tenure.SPOT)
        for name, machine in region.machines.items()
        for zone in machine.zones
    }
    return Pools({name: zone for zone, name in region.zones.items()}, ids)


def read_history(
    pools: Pools,
    rows: Iterable[Mapping[str, Any]],
    depths: Mapping[str, int],
    asked_at: int,
    now: int,
) -> list[Quote]:
    """One quote a pool, from the newest of its rows; what cannot be a price is left out.

    A row says since when a price holds; that it still does was observed when we asked.
    """
    zones, ids = pools
    since: dict[OfferId, Any] = {}
    quotes: dict[OfferId, Quote] = {}
    for row in rows:
        instance = row.get("InstanceType", "")
        zone = row.get("AvailabilityZoneId") or zones.get(row.get("AvailabilityZone", ""), "")
        offer, at = ids.get((instance, zone)), row.get("Timestamp")
        if offer is None or at is None or (offer in since and since[offer] >= at):
            continue
        rate = rate_from_text(row.get("SpotPrice") or "")
        if rate:
            since[offer] = at
            quotes[offer] = Quote(offer, rate, depths.get(instance, -1), asked_at, now)
    return list(quotes.values())


def read_price_list(items: Sequence[str]) -> int | None:
    """The hourly rate [nano-USD/h] in a price list's answer; None where there is none.

    Several products may match: the dearest is taken, so that a comparison with spot never makes
    on-demand look cheaper than it is.
    """
    rates = []
    for item in items:
        terms = json.loads(item).get("terms", {}).get("OnDemand", {})
        for term in terms.values():
            for dimension in term.get("priceDimensions", {}).values():
                rate = rate_from_text(str(dimension.get("pricePerUnit", {}).get("USD", "")))
                if rate and dimension.get("unit") == "Hrs":
                    rates.append(rate)
    return max(rates, default=None)


def _read_kept(path: Path) -> _Kept | None:
    try:
        return msgspec.json.decode(path.read_bytes(), type=_Kept)
    except (OSError, msgspec.MsgspecError):
        # Not there yet, or of another version: it is asked for again.
        return None


def _write_kept(path: Path, kept: _Kept) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    part.write_bytes(msgspec.json.encode(kept))
    part.replace(path)
