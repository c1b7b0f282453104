"""What Azure asks: the public Retail Prices list, USD per machine-hour, by region.

Azure publishes no price by zone: an offer in a zone has its region's price.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final
from urllib.parse import quote, urlsplit

from treasury.domain.errors import BadValue, Unreachable
from treasury.domain.market import Quote, Tenure, offer_id
from treasury.domain.time import parse_instant
from treasury.ports import Site
from treasury_providers.azure.capacity import Capacity, Size
from treasury_providers.azure.client import Door
from treasury_providers.azure.settings import Settings
from treasury_providers.common.rates import rate_from_text

# Sizes in one question: its address must stay short.
_SIZES_AT_ONCE: Final = 12
# A region's list is a few pages; more is a loop.
_PAGES_MAX: Final = 200
_OTHER_PRODUCTS: Final = ("windows", "dedicated host", "cloud services")
_VERSION: Final = "2023-01-01-preview"

# (size, tenure) -> nano-USD/h
Prices = Mapping[tuple[str, Tenure], int]


class PriceList:
    """Retail prices of the sizes we offer, as quotes."""

    def __init__(self, settings: Settings, site: Site, door: Door, capacity: Capacity) -> None:
        self._settings, self._site = settings, site
        self._door, self._capacity = door, capacity

    async def quotes(self, region: str) -> list[Quote]:
        """A quote for each offer of a region that has a price. Raises ProviderError."""
        sizes = [size for size in await self._capacity.sizes() if size.region == region]
        observed_at = self._site.clock.now()
        prices = await self._prices(region, sorted({size.name for size in sizes}))
        quotes = []
        for size in sizes:
            for tenure in (Tenure.SPOT, Tenure.ON_DEMAND):
                rate = prices.get((size.name.lower(), tenure))
                if rate is not None and self._offered(size, tenure):
                    quotes.extend(await self._of(size, tenure, rate, observed_at))
        return quotes

    def _offered(self, size: Size, tenure: Tenure) -> bool:
        return size.spot if tenure is Tenure.SPOT else self._settings.on_demand

    async def _of(self, size: Size, tenure: Tenure, rate: int, observed_at: int) -> list[Quote]:
        depth = await self._capacity.depth(size, tenure)
        received_at = self._site.clock.now()
        return [
            Quote(
                offer_id(self._site.name, size.region, zone, size.name, tenure),
                rate,
                depth,
                observed_at,
                received_at,
            )
            for zone in size.zones or ("",)
        ]

    async def _prices(self, region: str, names: Sequence[str]) -> Prices:
        """The price in force of each size; where the list has several, the newest."""
        found: dict[tuple[str, Tenure], tuple[int, int]] = {}
        for start in range(0, len(names), _SIZES_AT_ONCE):
            for item in await self._items(region, names[start : start + _SIZES_AT_ONCE]):
                read = _read(item, region, self._site.clock.now())
                if read is not None:
                    name, tenure, since, rate = read
                    key = (name, tenure)
                    if key not in found or found[key][0] < since:
                        found[key] = (since, rate)
        return {key: rate for key, (_, rate) in found.items()}

    async def _items(self, region: str, names: Sequence[str]) -> list[Mapping[str, Any]]:
        sizes = " or ".join(f"armSkuName eq '{name}'" for name in names)
        wanted = (
            "serviceName eq 'Virtual Machines' and priceType eq 'Consumption' "
            f"and armRegionName eq '{region}' and ({sizes})"
        )
        base = self._settings.prices_endpoint
        url = f"{base}/api/retail/prices?api-version={_VERSION}&$filter={quote(wanted)}"
        items: list[Mapping[str, Any]] = []
        for _ in range(_PAGES_MAX):
            page = await self._door.anonymous(url)
            if not isinstance(page, dict) or not isinstance(page.get("Items"), list):
                raise Unreachable("the price list has no items: its format has changed")
            items.extend(item for item in page["Items"] if isinstance(item, dict))
            url = str(page.get("NextPageLink") or "")
            if not url:
                return items
            if urlsplit(url).hostname != urlsplit(base).hostname:
                raise Unreachable("the price list continues on another host")
            # The limit is not published; one page at a time, slowly, is never refused.
            clock = self._site.clock
            await clock.sleep_until(clock.now() + self._settings.prices_pause)
        raise Unreachable(f"the price list of {region} does not end")


def _read(item: Mapping[str, Any], region: str, now: int) -> tuple[str, Tenure, int, int] | None:
    """(size in lower case, tenure, in force since [ns], nano-USD/h) of one row; None for rows
    about something else: Windows, dedicated hosts, the older low-priority meters."""
    texts = {key: str(item.get(key, "")) for key in ("meterName", "skuName", "productName")}
    label = f"{texts['meterName']} {texts['skuName']}".lower()
    if "low priority" in label:
        return None
    if any(word in texts["productName"].lower() for word in _OTHER_PRODUCTS):
        return None
    if item.get("armRegionName") != region or item.get("unitOfMeasure") != "1 Hour":
        return None
    if item.get("currencyCode") != "USD" or item.get("type", "Consumption") != "Consumption":
        return None
    rate = rate_from_text(str(item.get("retailPrice", "")))
    try:
        since = parse_instant(str(item.get("effectiveStartDate", "")))
    except BadValue:
        since = 0
    if not rate or since > now:
        return None
    tenure = Tenure.SPOT if "spot" in label else Tenure.ON_DEMAND
    return str(item.get("armSkuName", "")).lower(), tenure, since, rate
