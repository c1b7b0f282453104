"""What Azure sells us and how readily: sizes and zones, quotas, scores, eviction bands."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final

import msgspec

from treasury.domain.errors import NotPermitted, ProviderError
from treasury.domain.findings import Score
from treasury.domain.hardware import Shape, gpu_memory_gib
from treasury.domain.ids import OfferId
from treasury.domain.market import Capabilities, Offer, Tenure, offer_id
from treasury.domain.time import HOUR, MINUTE
from treasury.ports import Site
from treasury_providers.azure.client import Door
from treasury_providers.azure.settings import Settings
from treasury_providers.common.gpus import Normaliser
from treasury_providers.common.offers import Pool, sold_as
from treasury_providers.common.polling import Cached

# Sizes' names tell the model; Azure's own data only says how many. Order matters.
_MODELS: Final = Normaliser(
    (r"Standard_NC\d+ads_A100_v4", "A100-80GB"),
    (r"Standard_ND\d+amsr_A100_v4", "A100-80GB"),
    (r"Standard_ND\d+asr_v4", "A100-40GB"),
    (r"Standard_NCC?\d+ad?i?s_H100_v5|Standard_NCC\d+ads_H100_v5", "H100-NVL"),
    (r"Standard_ND\d+isr_H100_v5", "H100"),
    (r"Standard_ND\d+isr_H200_v5", "H200"),
    (r"Standard_ND\d+isr_MI300X_v5", "MI300X"),
    (r"Standard_ND\d+isr_GB200_v6", "GB200"),
    (r"Standard_NC\d+as_T4_v3", "T4"),
    (r"Standard_NV\d+ad[ms]+_A10_v5", "A10"),
    (r"Standard_NC\d+r?s_v3", "V100"),
    (r"Standard_ND\d+rs_v2", "V100-32GB"),
    (r"Standard_NC\d+r?s_v2", "P100"),
    (r"Standard_NC\d+r?", "K80"),
    (r"Standard_NV\d+s?(_v3)?", "M60"),
)
# How long a catalogue, a quota and a score are good for.
_CATALOGUE_TTL: Final = 6 * HOUR
_QUOTA_TTL: Final = 2 * MINUTE
_RECOMMENDER: Final = "2025-06-05"
_GRAPH: Final = "2024-04-01"
# A placement score is asked for at most this many sizes at once.
_SIZES_AT_ONCE: Final = 5
_SCORES: Final = {"high": 0.9, "medium": 0.5, "low": 0.1}
# % of machines evicted in an hour, the upper end of Azure's bands.
_BANDS: Final = ("0-5", "5-10", "10-15", "15-20", "20+")


class Size(msgspec.Struct, frozen=True):
    """A size in a region. zones: where it can be had, empty where it is sold by region.
    family: the quota it counts against."""

    name: str
    region: str
    zones: tuple[str, ...]
    cores: int
    shape: Shape
    spot: bool
    family: str


class Capacity:
    """The slow facts about a subscription's market."""

    def __init__(
        self,
        settings: Settings,
        site: Site,
        door: Door,
        capabilities: Capabilities,
    ) -> None:
        self._settings, self._site, self._door = settings, site, door
        self._capabilities = capabilities
        clock = site.clock
        self._sizes = Cached(clock, _CATALOGUE_TTL, self._fetch_sizes, keep=4 * _CATALOGUE_TTL)
        self._quotas = {
            region: Cached(clock, _QUOTA_TTL, self._fetcher(region), keep=HOUR)
            for region in settings.regions
        }
        self._scores = Cached(clock, settings.capacity_every, self._fetch_scores, keep=HOUR)

    # --- the catalogue ---------------------------------------------------------------------------

    async def sizes(self) -> Sequence[Size]:
        """Every size with accelerators that this subscription may have. Raises ProviderError."""
        return await self._sizes.get()

    async def offers(self) -> list[Offer]:
        """The sizes as offers: one a zone where a size is sold by zone."""
        offers: list[Offer] = []
        for size in await self.sizes():
            tenures = [Tenure.SPOT] if size.spot else []
            if self._settings.on_demand:
                tenures.append(Tenure.ON_DEMAND)
            for zone in size.zones or ("",):
                offers.extend(self._offer(size, zone, tenure) for tenure in tenures)
        return offers

    def _offer(self, size: Size, zone: str, tenure: Tenure) -> Offer:
        pool = Pool(size.region, zone, size.name, tenure)
        return sold_as(self._site.name, pool, size.shape, self._capabilities)

    async def _fetch_sizes(self) -> Sequence[Size]:
        found = []
        for region in self._settings.regions:
            listing = self._door.compute.resource_skus.list(filter=f"location eq '{region}'")
            async for sku in self._door.pages(listing):
                size = self._size(sku, region)
                if size is not None:
                    found.append(size)
        return sorted(found, key=lambda size: (size.region, size.name))

    def _size(self, sku: Any, region: str) -> Size | None:
        if sku.resource_type != "virtualMachines":
            return None
        wanted = self._settings.sizes
        if wanted and sku.name not in wanted:
            return None
        able = {item.name: item.value for item in sku.capabilities or ()}
        accelerators, cores = able.get("GPUs", "0"), able.get("vCPUs", "0")
        # Parts of an accelerator are listed as 0 or as a fraction: no whole one, no offer.
        if not (accelerators.isdecimal() and cores.isdecimal() and int(accelerators)):
            return None
        zones: set[str] = set()
        for place in sku.location_info or ():
            if (place.location or "").lower() == region:
                zones.update(place.zones or ())
        sold_by_zone = bool(zones)
        for restriction in sku.restrictions or ():
            if restriction.type == "Location":
                return None
            if restriction.type == "Zone" and restriction.restriction_info is not None:
                zones.difference_update(restriction.restriction_info.zones or ())
        if sold_by_zone and not zones:
            return None
        gpu = _MODELS(sku.name)
        shape = Shape(gpu, int(accelerators), gpu_memory_gib(gpu), sku.name)
        return Size(
            sku.name,
            region,
            tuple(sorted(zones)),
            int(cores),
            shape,
            able.get("LowPriorityCapable", "False").lower() == "true",
            sku.family or "",
        )

    # --- quotas ----------------------------------------------------------------------------------

    async def depth(self, size: Size, tenure: Tenure) -> int:
        """How many machines our own quotas still allow; -1 where that is not known."""
        try:
            left = await self._quotas[size.region].get()
        except NotPermitted:
            return -1
        names = ("lowPriorityCores",) if tenure is Tenure.SPOT else ("cores", size.family)
        free = [left[name.lower()] for name in names if name.lower() in left]
        return min(free) // max(1, size.cores) if free else -1

    def _fetcher(self, region: str) -> Callable[[], Awaitable[Mapping[str, int]]]:
        async def fetch() -> Mapping[str, int]:
            left: dict[str, int] = {}
            async for usage in self._door.pages(self._door.compute.usage.list(region)):
                if usage.name is not None and usage.name.value:
                    free = int(usage.limit) - int(usage.current_value)
                    left[usage.name.value.lower()] = max(0, free)
            return left

        return fetch

    async def quotas(self, region: str) -> Mapping[str, int]:
        """Cores left by quota, names in lower case. Raises ProviderError."""
        return await self._quotas[region].get()

    # --- scores ----------------------------------------------------------------------------------

    async def scores(self) -> Sequence[Score]:
        """Placement scores of the spot offers; empty where we may not ask."""
        try:
            return await self._scores.get()
        except NotPermitted:
            return ()

    async def _fetch_scores(self) -> Sequence[Score]:
        bands = await self._bands()
        scores = []
        sizes = [size for size in await self.sizes() if size.spot]
        for region in self._settings.regions:
            names = sorted({size.name for size in sizes if size.region == region})
            zonal = {size.name: size.zones for size in sizes if size.region == region}
            for start in range(0, len(names), _SIZES_AT_ONCE):
                for row in await self._ask(region, names[start : start + _SIZES_AT_ONCE]):
                    score = self._score(region, row, zonal, bands)
                    if score is not None:
                        scores.append(score)
        return scores

    async def _ask(self, region: str, names: Sequence[str]) -> Sequence[Mapping[str, Any]]:
        path = (
            f"/subscriptions/{self._settings.subscription}/providers/Microsoft.Compute"
            f"/locations/{region}/placementScores/spot/generate"
        )
        body = {
            "desiredLocations": [region],
            "desiredSizes": [{"sku": name} for name in names],
            "desiredCount": 1,
            "availabilityZones": True,
        }
        answer = await self._door.arm("POST", path, version=_RECOMMENDER, body=body)
        rows = answer.get("placementScores", [])
        return [row for row in rows if isinstance(row, dict)]

    def _score(
        self,
        region: str,
        row: Mapping[str, Any],
        zonal: Mapping[str, tuple[str, ...]],
        bands: Mapping[tuple[str, str], str],
    ) -> Score | None:
        name, zone = str(row.get("sku", "")), str(row.get("availabilityZone") or "")
        value = _SCORES.get(str(row.get("score", "")).lower())
        zones = zonal.get(name)
        if value is None or zones is None or (zone not in zones if zones else zone):
            return None
        band = bands.get((region, name.lower()), "")
        raw = f"{row['score']}, evicted {band} %/h" if band else str(row["score"])
        if row.get("isQuotaAvailable") is False:
            value, raw = 0.0, f"{raw}, no quota"
        offer: OfferId = offer_id(self._site.name, region, zone, name, Tenure.SPOT)
        return Score(offer, value, raw, self._site.clock.now())

    async def _bands(self) -> Mapping[tuple[str, str], str]:
        """(region, size in lower case) -> % of machines evicted in an hour, as a band."""
        places = ", ".join(f"'{region}'" for region in self._settings.regions)
        query = (
            "SpotResources | where type =~ 'microsoft.compute/skuspotevictionrate/location' "
            f"| where location in~ ({places}) "
            "| project sku = tostring(sku.name), location, "
            "rate = tostring(properties.evictionRate)"
        )
        try:
            rows = await graph(self._door, query)
        except ProviderError:
            # Decoration of a score: without it the score is still worth something.
            return {}
        found = {}
        for row in rows:
            if row.get("rate") in _BANDS:
                key = (str(row.get("location", "")).lower(), str(row.get("sku", "")).lower())
                found[key] = str(row["rate"])
        return found


async def graph(door: Door, query: str, subscriptions: Sequence[str] = ()) -> list[dict[str, Any]]:
    """All rows of a Resource Graph query; without subscriptions it asks the whole tenant."""
    rows: list[dict[str, Any]] = []
    token = ""
    while True:
        options: dict[str, Any] = {"resultFormat": "objectArray", "$top": 1000}
        if token:
            options["$skipToken"] = token
        body: dict[str, Any] = {"query": query, "options": options}
        if subscriptions:
            body["subscriptions"] = list(subscriptions)
        path = "/providers/Microsoft.ResourceGraph/resources"
        answer = await door.arm("POST", path, version=_GRAPH, body=body)
        rows.extend(row for row in answer.get("data", []) if isinstance(row, dict))
        token = str(answer.get("$skipToken") or "")
        if not token:
            return rows
