"""What the pretend Azure says about its market: sizes, quotas, scores, evictions, prices."""

import json
from collections.abc import Sequence
from typing import Any

import msgspec
from aiohttp import web

from tests.counterparts.azure.retail import items_of
from tests.counterparts.cloud import Cloud, Machine, stamp
from treasury.domain.money import NANO
from treasury.domain.time import format_instant

SUBSCRIPTION = "11111111-2222-3333-4444-555555555555"
GROUP = "treasury"


class Size(msgspec.Struct, frozen=True):
    """A size on sale in a region. rates: nano-USD/h, spot and on demand."""

    name: str
    region: str
    zones: tuple[str, ...]
    cores: int
    gpus: str
    family: str
    spot: int
    regular: int
    gpu: str = "A100-80GB"
    restricted: tuple[str, ...] = ()


SIZES = (
    Size("Standard_NC24ads_A100_v4", "eastus", ("1", "2", "3"), 24, "1", "NCADSA100",
         680 * NANO // 1000, 3_673 * NANO // 1000, restricted=("3",)),
    Size("Standard_ND96isr_H100_v5", "westeurope", (), 96, "8", "NDSH100",
         29_500 * NANO // 1000, 98_320 * NANO // 1000, gpu="H100"),
)  # fmt: skip


def vm_path(name: str) -> str:
    """The resource id of a machine."""
    return (
        f"/subscriptions/{SUBSCRIPTION}/resourceGroups/{GROUP}"
        f"/providers/Microsoft.Compute/virtualMachines/{name}"
    )


class Facts:
    """Handlers that change nothing."""

    cloud: Cloud
    sizes: Sequence[Size]
    quota: int
    evicted: list[tuple[Machine, int]]

    async def _skus(self, request: web.Request) -> web.StreamResponse:
        region = request.query["$filter"].split("'")[1]
        value = [_sku(size) for size in self.sizes if size.region == region]
        value.append({"resourceType": "disks", "name": "Premium_LRS", "locations": [region]})
        return web.json_response({"value": value})

    async def _usages(self, request: web.Request) -> web.StreamResponse:
        names = ["lowPriorityCores", "cores", *(size.family for size in self.sizes)]
        used = sum(24 for _ in self.cloud.alive)
        value = [
            {"unit": "Count", "currentValue": used, "limit": self.quota, "name": {"value": name}}
            for name in names
        ]
        return web.json_response({"value": value})

    async def _scores(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        rows = []
        for size in self.sizes:
            if {"sku": size.name} in body["desiredSizes"]:
                for zone in size.zones or (None,):
                    row = {"sku": size.name, "region": size.region, "availabilityZone": zone}
                    rows.append({**row, "score": "High", "isQuotaAvailable": True})
        return web.json_response({"placementScores": rows})

    async def _graph(self, request: web.Request) -> web.StreamResponse:
        query = (await request.json())["query"]
        if query.startswith("SpotResources"):
            rows = [
                {"sku": size.name, "location": size.region, "rate": "5-10"} for size in self.sizes
            ]
        elif query.startswith("ResourceChanges"):
            rows = [
                {"id": vm_path(m.name).lower(), "change": what, "at": stamp(at, 7) + "Z"}
                for m in self.cloud.all[-1_000:]
                for what, at in (("Create", m.granted_at), ("Delete", m.ended_at))
                if at is not None and m.allocated
            ]
        else:
            rows = [
                {"id": vm_path(machine.name).lower(), "at": stamp(at, 7) + "Z"}
                for machine, at in self.evicted
            ]
        return web.json_response({"data": rows, "count": len(rows), "totalRecords": len(rows)})

    async def _rights(self, request: web.Request) -> web.StreamResponse:
        grants = [{"actions": ["*/read", "Microsoft.Compute/*", "Microsoft.Network/*"]}]
        return web.json_response({"value": grants})

    async def _subscription(self, request: web.Request) -> web.StreamResponse:
        return web.json_response({"subscriptionId": SUBSCRIPTION, "state": "Enabled"})

    async def _retail(self, request: web.Request) -> web.StreamResponse:
        items = items_of(self.cloud.pools.values(), format_instant(self.cloud.now()))
        wanted = request.query.get("$filter", "")
        if wanted:
            region = wanted.split("armRegionName eq '")[1].split("'")[0]
            items = [item for item in items if item["armRegionName"] == region]
        start = int(request.query.get("$skip", "0"))
        body: dict[str, Any] = {"Items": items[start : start + 3], "NextPageLink": None}
        if start + 3 < len(items):
            query = {**request.query, "$skip": str(start + 3)}
            body["NextPageLink"] = str(request.url.with_query(query))
        # Prices as the API writes them: bare decimal numbers.
        text = json.dumps(body, default=float)
        return web.Response(text=text, content_type="application/json")


def _sku(size: Size) -> dict[str, Any]:
    able = {"GPUs": size.gpus, "vCPUs": str(size.cores), "LowPriorityCapable": "True"}
    restrictions = []
    if size.restricted:
        info = {"locations": [size.region], "zones": list(size.restricted)}
        restrictions.append(
            {
                "type": "Zone",
                "values": [size.region],
                "restrictionInfo": info,
                "reasonCode": "NotAvailableForSubscription",
            }
        )
    return {
        "resourceType": "virtualMachines",
        "name": size.name,
        "family": size.family,
        "locations": [size.region],
        "locationInfo": [{"location": size.region, "zones": list(size.zones)}],
        "capabilities": [{"name": key, "value": value} for key, value in able.items()],
        "restrictions": restrictions,
    }
