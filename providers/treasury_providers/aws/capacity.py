"""What AWS sells and how much of it we may have: shapes, zones, quotas, placement scores."""

import asyncio
import re
from collections.abc import Sequence
from functools import partial
from typing import Any, Final

import msgspec

from treasury.domain.errors import ProviderError
from treasury.domain.findings import Score
from treasury.domain.hardware import Shape, gpu_memory_gib
from treasury.domain.market import Capabilities, Offer, Tenure, offer_id
from treasury.domain.time import DAY, MINUTE, SECOND, WEEK
from treasury.ports import Site
from treasury_providers.aws.calls import Calls, pages
from treasury_providers.aws.settings import Settings
from treasury_providers.common.gpus import Normaliser
from treasury_providers.common.polling import Cached

# GPUs as DescribeInstanceTypes names them, with their memory in GiB behind.
GPUS: Final = Normaliser(
    (r"nvidia A100 (39|40)", "A100-40GB"),
    (r"nvidia A100 (79|80)", "A100-80GB"),
    (r"nvidia A10G \d+", "A10G"),
    (r"nvidia V100 (15|16)", "V100"),
    (r"nvidia V100 (31|32)", "V100-32GB"),
    (r"nvidia T4g \d+", "T4G"),
    (r"nvidia RTX PRO( Server)? 6000.*", "RTX-PRO-6000"),
    *((rf"nvidia {name} \d+", name) for name in ("H100", "H200", "B200", "B300", "GB200")),
    *((rf"nvidia {name} \d+", name) for name in ("K80", "L4", "L40S", "M60", "T4")),
)

# "All P4, P3 and P2 Spot Instance Requests", "Running On-Demand G and VT instances".
_QUOTA_NAMES: Final = (
    (Tenure.SPOT, re.compile(r"All (.+) Spot Instance Requests")),
    (Tenure.ON_DEMAND, re.compile(r"Running On-Demand (.+) instances")),
)
_FAMILY: Final = re.compile(r"([a-z]+)(\d*)", re.ASCII)


class Machine(msgspec.Struct, frozen=True):
    """An instance type with a GPU. zones: AZ ids that offer it."""

    shape: Shape
    vcpus: int
    spot: bool
    zones: tuple[str, ...]


class Region(msgspec.Struct, frozen=True):
    """What one region sells. zones: AZ id -> the account's own name for it."""

    name: str
    zones: dict[str, str]
    machines: dict[str, Machine]


class Capacity:
    """The slow questions, each with its own age limit. Quotas are vCPUs a family and tenure."""

    def __init__(self, settings: Settings, site: Site, calls: Calls) -> None:
        self._settings, self._site, self._calls = settings, site, calls
        clock = site.clock
        self._regions = {
            name: Cached(clock, DAY, partial(self._region, name), keep=WEEK)
            for name in settings.regions
        }
        self._quotas = {
            name: Cached(clock, settings.quotas, partial(self._quota, name), keep=DAY)
            for name in settings.regions
        }
        self._scores = {
            name: Cached(clock, settings.scores, partial(self._score, name))
            for name in settings.regions
        }

    def capabilities(self, tenure: Tenure) -> Capabilities:
        """What can be done with machines of a tenure."""
        spot = tenure is Tenure.SPOT
        return Capabilities(
            # MaxPrice is fixed at the start: AWS evicts above it, `rebid` declines.
            bids=spot,
            floating=spot,
            honours_tokens=True,
            pushes_quotes=True,
            notice_ns=2 * MINUTE if spot else 0,
            grant_delay_ns=5 * SECOND,
            boot_ns=self._settings.boot,
            billing_step_ns=SECOND,
            billing_minimum_ns=MINUTE,
            listing_lag_ns=self._settings.listing_lag,
            gang_max=self._settings.gang,
            calls_per_minute=self._settings.calls_per_minute,
        )

    async def region(self, name: str) -> Region:
        """One region's catalogue. Raises ProviderError."""
        return await self._regions[name].get()

    async def offers(self) -> list[Offer]:
        """Every pool in every region. Raises ProviderError when one region cannot be read."""
        regions = await asyncio.gather(*(self.region(name) for name in self._settings.regions))
        return [
            self._offer(region.name, zone, machine, Tenure(tenure))
            for region in regions
            for machine in region.machines.values()
            for zone in machine.zones
            for tenure in self._settings.tenures
            if machine.spot or tenure != Tenure.SPOT.value
        ]

    def _offer(self, region: str, zone: str, machine: Machine, tenure: Tenure) -> Offer:
        name = self._site.name
        return Offer(
            id=offer_id(name, region, zone, machine.shape.instance, tenure),
            provider=name,
            region=region,
            zone=zone,
            shape=machine.shape,
            tenure=tenure,
            capabilities=self.capabilities(tenure),
        )

    async def depth(self, region: str, machine: Machine, tenure: Tenure) -> int:
        """Machines our quota allows in a region, those we hold included; -1 where it is not known.

        A quota that cannot be read limits nothing: the launch says so itself.
        """
        try:
            quotas = await self._quotas[region].get()
        except ProviderError:
            return -1
        vcpus = quota_for(quotas, machine.shape.instance, tenure)
        return -1 if vcpus is None else vcpus // max(1, machine.vcpus)

    async def quotas(self, region: str) -> dict[str, int]:
        """Tenure and family, such as `spot/p5` -> vCPUs. Raises ProviderError."""
        return await self._quotas[region].get()

    async def scores(self) -> Sequence[Score]:
        """AWS's placement scores of the spot offers. Raises ProviderError."""
        found = await asyncio.gather(*(self._scores[name].get() for name in self._settings.regions))
        return [score for scores in found for score in scores]

    # --- fetching --------------------------------------------------------------------------------

    async def _region(self, name: str) -> Region:
        settings = self._settings

        def ask(ec2: Any) -> Region:
            zones = {
                zone["ZoneId"]: zone["ZoneName"]
                for zone in ec2.describe_availability_zones()["AvailabilityZones"]
                if not settings.zones or zone["ZoneId"] in settings.zones
            }
            wanted = [{"Name": "instance-type", "Values": list(settings.instances)}]
            # The server takes the same patterns, which saves most of the pages.
            filters = {"Filters": wanted} if settings.instances else {}
            types = pages(ec2, "describe_instance_types", "InstanceTypes", **filters)
            offerings = pages(
                ec2,
                "describe_instance_type_offerings",
                "InstanceTypeOfferings",
                LocationType="availability-zone-id",
                **filters,
            )
            return read_region(settings, name, zones, types, offerings)

        region: Region = await self._calls.run("ec2", name, ask)
        return region

    async def _quota(self, name: str) -> dict[str, int]:
        def ask(quotas: Any) -> dict[str, int]:
            items = pages(quotas, "list_service_quotas", "Quotas", ServiceCode="ec2")
            return read_quotas(items)

        quotas: dict[str, int] = await self._calls.run("service-quotas", name, ask)
        return quotas

    async def _score(self, name: str) -> list[Score]:
        """One question a region: AWS scores a mix of types, and counts different questions."""
        region = await self.region(name)
        machines = [machine for machine in region.machines.values() if machine.spot]
        if not machines:
            return []
        types = sorted(machine.shape.instance for machine in machines)

        def ask(ec2: Any) -> list[dict[str, Any]]:
            return pages(
                ec2,
                "get_spot_placement_scores",
                "SpotPlacementScores",
                InstanceTypes=types[:1_000],
                TargetCapacity=1,
                TargetCapacityUnitType="units",
                SingleAvailabilityZone=True,
                RegionNames=[name],
            )

        asked_at = self._site.clock.now()
        found = {
            item["AvailabilityZoneId"]: int(item["Score"])
            for item in await self._calls.run("ec2", name, ask)
        }
        mix = f" for {len(types)} types" + (", too few to say much" if len(types) < 3 else "")
        return [
            Score(
                offer_id(self._site.name, name, zone, machine.shape.instance, Tenure.SPOT),
                found[zone] / 10,
                f"{found[zone]}/10{mix}",
                asked_at,
            )
            for machine in machines
            for zone in machine.zones
            if zone in found
        ]


def read_region(
    settings: Settings,
    name: str,
    zones: dict[str, str],
    types: Sequence[dict[str, Any]],
    offerings: Sequence[dict[str, Any]],
) -> Region:
    """The instance types with whole GPUs that we may buy, and where; unknown GPUs included."""
    where: dict[str, list[str]] = {}
    for offering in offerings:
        if offering["Location"] in zones:
            where.setdefault(offering["InstanceType"], []).append(offering["Location"])
    machines = {}
    for item in types:
        instance = item["InstanceType"]
        shape = read_shape(item)
        if shape is None or instance not in where or not settings.sells(instance):
            continue
        machines[instance] = Machine(
            shape=shape,
            vcpus=int(item.get("VCpuInfo", {}).get("DefaultVCpus", 0)),
            spot="spot" in item.get("SupportedUsageClasses", ()),
            zones=tuple(sorted(where[instance])),
        )
    return Region(name, zones, dict(sorted(machines.items())))


def read_shape(item: dict[str, Any]) -> Shape | None:
    """The GPUs of an instance type; None without, and for those that share one GPU with others."""
    gpus = item.get("GpuInfo", {}).get("Gpus", ())
    if len(gpus) != 1 or gpus[0].get("GpuPartitionSize", 1) < 1 or gpus[0].get("Count", 0) < 1:
        return None
    gpu = gpus[0]
    memory = int(gpu.get("MemoryInfo", {}).get("SizeInMiB", 0)) / 1024
    name = GPUS(f"{gpu.get('Manufacturer', '')} {gpu.get('Name', '')} {memory:.0f}", memory)
    return Shape(
        gpu=name,
        gpus=int(gpu["Count"]),
        gpu_memory_gib=gpu_memory_gib(name) or round(memory),
        instance=item["InstanceType"],
    )


def read_quotas(items: Sequence[dict[str, Any]]) -> dict[str, int]:
    """`spot/p5` -> vCPUs, by the quotas' names: their codes differ from family to family."""
    found: dict[str, int] = {}
    for item in items:
        for tenure, pattern in _QUOTA_NAMES:
            match = pattern.fullmatch(str(item.get("QuotaName", "")))
            if match is None:
                continue
            families = re.sub(r"Standard \((.*)\)", r"\1", match[1])
            for family in re.split(r", | and ", families):
                found[f"{tenure.value}/{family.strip().lower()}"] = int(item.get("Value", 0))
    return found


def quota_for(quotas: dict[str, int], instance: str, tenure: Tenure) -> int | None:
    """VCPUs of the narrowest quota an instance type falls under: `p5` before `p`."""
    match = _FAMILY.match(instance)
    if match is None:
        return None
    letters, generation = match[1], match[2]
    # "gr6" and "g6e" are of the family "g": only the longest known beginning counts.
    names = [letters + generation, *(letters[:end] for end in range(len(letters), 0, -1))]
    return next(
        (quotas[f"{tenure.value}/{n}"] for n in names if f"{tenure.value}/{n}" in quotas), None
    )
