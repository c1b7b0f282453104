"""What the pretend Google says about its market: machine types, quotas, prices, advice."""

from collections.abc import Iterator, Sequence
from decimal import Decimal
from typing import Any

import msgspec
from aiohttp import web

from tests.counterparts.cloud import Cloud
from treasury.domain.hardware import Shape
from treasury.domain.ids import ProviderName
from treasury.domain.market import Capabilities, Offer, Tenure, offer_id
from treasury.domain.money import NANO
from treasury.domain.time import to_datetime

PROJECT = "treasury-test"
_LINK = "https://www.googleapis.com/compute/v1"


class Type(msgspec.Struct, frozen=True):
    """A machine type on sale. attached: added accelerators, as the adapter's setting spells them.
    core, ram, gpu_rate: nano-USD/h of a core, a GiB and an accelerator on demand; spot asks three
    tenths."""

    name: str
    zones: tuple[str, ...]
    cores: int
    memory_gib: int
    accelerator: str
    count: int
    gpu: str
    core: int
    ram: int
    gpu_rate: int
    words: str
    attached: str = ""

    @property
    def instance(self) -> str:
        """As offers say it."""
        return self.attached or self.name

    def asks(self, tenure: Tenure) -> int:
        """nano-USD/h of the machine."""
        parts = ((self.core, self.cores), (self.ram, self.memory_gib), (self.gpu_rate, self.count))
        return sum(part_rate(rate, tenure) * count for rate, count in parts)


def part_rate(rate: int, tenure: Tenure) -> int:
    """What a part asks on these terms."""
    return rate * 3 // 10 if tenure is Tenure.SPOT else rate


TYPES = (
    Type("a2-highgpu-1g", ("us-central1-a", "us-central1-b"), 12, 85, "nvidia-tesla-a100", 1,
         "A100-40GB", 31_611_000, 4_237_000, 2_933_908_000, "Nvidia Tesla A100 GPU"),
    Type("g2-standard-4", ("us-central1-a", "europe-west4-b"), 4, 16, "nvidia-l4", 1, "L4",
         24_988_000, 2_927_000, 560_040_000, "Nvidia L4 GPU"),
    Type("n1-standard-8", ("europe-west4-b",), 8, 30, "nvidia-tesla-t4", 1, "T4", 31_611_000,
         4_237_000, 350_000_000, "Nvidia Tesla T4 GPU",
         attached="n1-standard-8+1xnvidia-tesla-t4"),
)  # fmt: skip


class Facts:
    """Handlers that change nothing."""

    cloud: Cloud
    name: str
    types: Sequence[Type]
    page: int
    scored = 0.7

    def _problem(self, status: int, reason: str, text: str) -> web.StreamResponse:
        raise NotImplementedError

    def _pools(self, able: Capabilities) -> Iterator[tuple[Offer, int]]:
        for kind in self.types:
            for zone in kind.zones:
                for tenure in (Tenure.SPOT, Tenure.ON_DEMAND):
                    region = zone.rpartition("-")[0]
                    terms = msgspec.structs.replace(able, floating=tenure is Tenure.SPOT)
                    shape = Shape(kind.gpu, kind.count, 0, kind.instance)
                    name = ProviderName(self.name)
                    offer = offer_id(name, region, zone, kind.instance, tenure)
                    yield (
                        Offer(offer, name, region, zone, shape, tenure, terms),
                        kind.asks(tenure),
                    )

    def _paged(
        self, rows: list[dict[str, Any]], key: str, query: dict[str, str], *, broken: bool
    ) -> Any:
        """One page of an aggregated list: rows by zone, and zones without any."""
        start = int(query.get("pageToken") or 0)
        size = min(self.page, int(query.get("maxResults") or 500))
        items: dict[str, Any] = {}
        for row in rows[start : start + size]:
            scope = "zones/" + row["zone"].rpartition("/")[2]
            items.setdefault(scope, {}).setdefault(key, []).append(row)
        none = {"code": "NO_RESULTS_ON_PAGE", "message": "There are no results for this scope."}
        items["zones/asia-east1-a"] = {"warning": none}
        if broken:
            gone = {"code": "UNREACHABLE", "message": "The zone cannot be reached."}
            items["zones/us-central1-b"] = {"warning": gone}
        answer: dict[str, Any] = {"id": "projects/x/aggregated", "items": items}
        if start + size < len(rows):
            answer["nextPageToken"] = str(start + size)
        return answer

    def do_machineTypes_aggregatedList(  # noqa: N802
        self, _parts: Any, query: dict[str, str], *_: Any
    ) -> Any:
        """Machine types; those without accelerators among them."""
        rows = []
        for kind in self.types:
            for zone in kind.zones:
                row: dict[str, Any] = {
                    "name": kind.name,
                    "zone": zone,
                    "guestCpus": kind.cores,
                    "memoryMb": kind.memory_gib * 1024,
                }
                if not kind.attached:
                    own = {
                        "guestAcceleratorType": kind.accelerator,
                        "guestAcceleratorCount": kind.count,
                    }
                    row["accelerators"] = [own]
                rows.append(row)
        plain = {"name": "e2-medium", "zone": "us-central1-a", "guestCpus": 2, "memoryMb": 4096}
        return self._paged([*rows, plain], "machineTypes", query, broken=False)

    def do_acceleratorTypes_aggregatedList(  # noqa: N802
        self, _parts: Any, query: dict[str, str], *_: Any
    ) -> Any:
        """Accelerators by zone."""
        rows = [{"name": k.accelerator, "zone": zone} for k in self.types for zone in k.zones]
        return self._paged(rows, "acceleratorTypes", query, broken=False)

    def do_regions_get(self, parts: dict[str, str], *_: Any) -> Any:
        """A region's quotas."""
        models = ("A100", "L4", "T4")
        quotas = [
            {"metric": f"PREEMPTIBLE_NVIDIA_{model}_GPUS", "limit": 100_000.0, "usage": 0.0}
            for model in models
        ]
        quotas.extend(
            {"metric": f"NVIDIA_{model}_GPUS", "limit": 8.0, "usage": 0.0} for model in models
        )
        return {"name": parts["region"], "quotas": quotas}

    def do_projects_get(self, *_: Any) -> Any:
        """The project's quotas."""
        quota = {"metric": "GPUS_ALL_REGIONS", "limit": 100_000.0, "usage": 1.0}
        return {"name": PROJECT, "quotas": [quota]}

    def do_instances_testIamPermissions(  # noqa: N802
        self, _parts: Any, _query: Any, body: Any, *_: Any
    ) -> Any:
        """All but one."""
        return {"permissions": [name for name in body["permissions"] if "setLabels" not in name]}

    def do_advice_capacityHistory(  # noqa: N802
        self, parts: dict[str, str], _query: Any, body: Any, *_: Any
    ) -> Any:
        """A week's spot prices by the day, the newest in force."""
        wanted = body["instanceProperties"]["machineType"]
        zone = body["locationPolicy"]["location"].removeprefix("zones/")
        offer = offer_id(self.name, parts["region"], zone, wanted, Tenure.SPOT)
        if offer not in self.cloud.pools:
            return self._problem(400, "invalid", "not available for this machine type")
        rows = []
        now = to_datetime(self.cloud.now())
        for days, rate in ((7, 1 * NANO), (1, self.cloud.pools[offer].rate)):
            start = now.replace(microsecond=0).timestamp() - days * 86_400
            since = to_datetime(int(start) * 1_000_000_000).strftime("%Y-%m-%dT%H:%M:%SZ")
            rows.append(
                {
                    "interval": {"startTime": since},
                    "listPrice": {
                        "currencyCode": "USD",
                        "units": str(rate // NANO),
                        "nanos": rate % NANO,
                    },
                }
            )
        return {"machineType": wanted, "priceHistory": rows}

    def do_advice_capacity(self, *_: Any) -> Any:
        """Readily."""
        scores = {"obtainability": self.scored, "estimatedUptime": "3600s"}
        return {"recommendations": [{"scores": scores}]}

    def do_cloudbilling_services_skus_list(
        self, _parts: Any, query: dict[str, str], *_: Any
    ) -> Any:
        """The catalogue, with rows about other things."""
        skus = [
            _sku("Network Internet Egress from Americas", "OnDemand", ["us-central1"], 1, "GiBy"),
            _sku("A2 Instance Core running in Americas", "Commit1Yr", ["us-central1"], 1, "h"),
        ]
        for kind in self.types:
            regions = sorted({zone.rpartition("-")[0] for zone in kind.zones})
            family = kind.name.partition("-")[0].upper()
            middle = " Predefined" if family == "N1" else ""
            for tenure in (Tenure.SPOT, Tenure.ON_DEMAND):
                spot = tenure is Tenure.SPOT
                usage = "Preemptible" if spot else "OnDemand"
                head = "Spot Preemptible " if spot else ""
                tail = " attached to Spot Preemptible VMs" if spot else ""
                for words, rate, unit in (
                    (f"{head}{family}{middle} Instance Core", kind.core, "h"),
                    (f"{head}{family}{middle} Instance Ram", kind.ram, "GiBy.h"),
                    (f"{kind.words}{tail}", kind.gpu_rate, "h"),
                ):
                    for region in regions:
                        name = f"{words} running in {region}"
                        skus.append(_sku(name, usage, [region], part_rate(rate, tenure), unit))
        start = int(query.get("pageToken") or 0)
        more = str(start + 7) if start + 7 < len(skus) else ""
        return {"skus": skus[start : start + 7], "nextPageToken": more}


def _sku(description: str, usage: str, regions: list[str], rate: int, unit: str) -> dict[str, Any]:
    price = Decimal(rate)
    tier = {
        "startUsageAmount": 0,
        "unitPrice": {
            "currencyCode": "USD",
            "units": str(int(price // NANO)),
            "nanos": int(price % NANO),
        },
    }
    return {
        "description": description,
        "category": {"usageType": usage, "resourceFamily": "Compute"},
        "serviceRegions": regions,
        "pricingInfo": [{"pricingExpression": {"usageUnit": unit, "tieredRates": [tier]}}],
    }
