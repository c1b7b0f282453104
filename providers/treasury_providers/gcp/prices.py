"""What Google asks: the history of spot prices a machine type at a time, the catalogue's list
prices for regular machines, and for spot where the history is silent.

Spot prices change once a day at most; what moves faster is whether there are machines at all.
"""

from typing import Final

from treasury.domain.errors import NotPermitted
from treasury.domain.ids import OfferId
from treasury.domain.market import Quote, Tenure, offer_id
from treasury.domain.money import NANO
from treasury.domain.time import HOUR
from treasury.ports import Site
from treasury_providers.common.polling import Cached
from treasury_providers.gcp.capacity import Capacity, Kind
from treasury_providers.gcp.catalogue import Parts, fetch_parts, price
from treasury_providers.gcp.client import Door
from treasury_providers.gcp.settings import Settings

# The catalogue is many megabytes and itself half a day old.
_CATALOGUE_TTL: Final = 12 * HOUR


class PriceList:
    """Prices of the machine types we offer, as quotes."""

    def __init__(self, settings: Settings, site: Site, door: Door, capacity: Capacity) -> None:
        self._settings, self._site = settings, site
        self._door, self._capacity = door, capacity
        self._parts: Cached[Parts] = Cached(
            site.clock, _CATALOGUE_TTL, self._fetch_parts, keep=4 * _CATALOGUE_TTL
        )
        self._known: dict[OfferId, int] = {}
        # The history is a recent service: without it the catalogue does.
        self._history = True

    def last(self, offer: OfferId) -> int:
        """What an offer asked last [nano-USD/h]; 0 where it was never quoted."""
        return self._known.get(offer, 0)

    async def quotes(self, region: str) -> list[Quote]:
        """A quote for each offer of a region that has a price. Raises ProviderError."""
        quotes = []
        for kind in await self._capacity.kinds():
            if kind.region != region:
                continue
            for tenure in self._capacity.tenures():
                depth = await self._capacity.depth(kind, tenure)
                for zone in kind.zones:
                    observed_at = self._site.clock.now()
                    rate = await self._rate(kind, zone, tenure)
                    if not rate:
                        continue
                    offer = offer_id(self._site.name, region, zone, kind.instance, tenure)
                    self._known[offer] = rate
                    now = self._site.clock.now()
                    quotes.append(Quote(offer, rate, depth, observed_at, now))
        return quotes

    async def _rate(self, kind: Kind, zone: str, tenure: Tenure) -> int:
        attached = kind.instance != kind.machine_type
        if tenure is Tenure.SPOT and self._history and not attached:
            try:
                rate = await self._from_history(kind, zone)
            except NotPermitted:
                self._history, rate = False, 0
            if rate:
                return rate
        return price(await self._parts.get(), kind, tenure)

    async def _from_history(self, kind: Kind, zone: str) -> int:
        """The price in force; 0 where the history does not know the type."""
        sdk = self._door.sdk
        question = {
            "types": ["PRICE"],
            "instance_properties": {
                "machine_type": kind.machine_type,
                "scheduling": {"provisioning_model": "SPOT"},
            },
            "location_policy": {"location": f"zones/{zone}"},
        }
        call = sdk.CapacityHistoryAdviceRequest(
            project=self._settings.project,
            region=kind.region,
            capacity_history_request_resource=question,
        )
        try:
            answer = await self._door.ask("AdviceClient", "capacity_history", call)
        except NotPermitted as error:
            if "invalid" in str(error):
                # This type only has no history.
                return 0
            raise
        newest = max(answer.price_history, key=lambda row: row.interval.start_time, default=None)
        if newest is None or newest.list_price.currency_code not in ("", "USD"):
            return 0
        return int(newest.list_price.units) * NANO + int(newest.list_price.nanos)

    async def _fetch_parts(self) -> Parts:
        try:
            return await fetch_parts(self._settings, self._door)
        except NotPermitted:
            # Without the catalogue there are still spot prices from the history.
            return {}
