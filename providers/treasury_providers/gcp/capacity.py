"""What Google sells us and how readily: machine types, quotas, obtainability."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from treasury.domain.errors import NotPermitted, ProviderError
from treasury.domain.findings import Score
from treasury.domain.hardware import Shape, gpu_memory_gib
from treasury.domain.market import Capabilities, Offer, Tenure, offer_id
from treasury.domain.time import HOUR, MINUTE
from treasury.ports import Site
from treasury_providers.common.gpus import Normaliser
from treasury_providers.common.offers import Pool, sold_as
from treasury_providers.common.polling import Cached
from treasury_providers.gcp.client import Door
from treasury_providers.gcp.settings import Settings, read_instance

_MODELS: Final = Normaliser(
    (r"nvidia-tesla-a100", "A100-40GB"),
    (r"nvidia-a100-80gb", "A100-80GB"),
    (r"nvidia-h100-(mega-)?80gb", "H100"),
    (r"nvidia-h200-141gb", "H200"),
    (r"nvidia-b200", "B200"),
    (r"nvidia-gb200", "GB200"),
    (r"nvidia-l4", "L4"),
    (r"nvidia-rtx-pro-6000", "RTX-PRO-6000"),
    (r"nvidia-tesla-t4", "T4"),
    (r"nvidia-tesla-v100", "V100"),
    (r"nvidia-tesla-p100", "P100"),
    (r"nvidia-tesla-p4", "P4"),
    (r"nvidia-tesla-k80", "K80"),
)
# Quotas are named after the model, not after the accelerator's type.
_QUOTAS: Final = {
    "nvidia-tesla-a100": "NVIDIA_A100_GPUS",
    "nvidia-a100-80gb": "NVIDIA_A100_80GB_GPUS",
    "nvidia-h100-80gb": "NVIDIA_H100_GPUS",
    "nvidia-h100-mega-80gb": "NVIDIA_H100_MEGA_GPUS",
    "nvidia-h200-141gb": "NVIDIA_H200_GPUS",
    "nvidia-b200": "NVIDIA_B200_GPUS",
    "nvidia-l4": "NVIDIA_L4_GPUS",
    "nvidia-tesla-t4": "NVIDIA_T4_GPUS",
    "nvidia-tesla-v100": "NVIDIA_V100_GPUS",
    "nvidia-tesla-p100": "NVIDIA_P100_GPUS",
    "nvidia-tesla-p4": "NVIDIA_P4_GPUS",
}
_ALL_REGIONS: Final = "GPUS_ALL_REGIONS"
_CATALOGUE_TTL: Final = 6 * HOUR
_QUOTA_TTL: Final = 2 * MINUTE
# Types in one question about capacity.
_TYPES_AT_ONCE: Final = 5


class Kind(msgspec.Struct, frozen=True):
    """A machine type in a region. instance: as offers say it. accelerator: Google's name of its
    type. memory_mib: of the machine itself."""

    instance: str
    machine_type: str
    region: str
    zones: tuple[str, ...]
    cores: int
    memory_mib: int
    accelerator: str
    shape: Shape


class Capacity:
    """The slow facts about a project's market."""

    def __init__(
        self, settings: Settings, site: Site, door: Door, capabilities: Capabilities
    ) -> None:
        self._settings, self._site, self._door = settings, site, door
        self._capabilities = capabilities
        clock = site.clock
        self._kinds = Cached(clock, _CATALOGUE_TTL, self._fetch_kinds, keep=4 * _CATALOGUE_TTL)
        self._quotas = Cached(clock, _QUOTA_TTL, self._fetch_quotas, keep=HOUR)
        self._scores = Cached(clock, settings.capacity_every, self._fetch_scores, keep=HOUR)

    # --- the catalogue ---------------------------------------------------------------------------

    async def kinds(self) -> Sequence[Kind]:
        """Every machine type with accelerators in our regions. Raises ProviderError."""
        return await self._kinds.get()

    async def offers(self) -> list[Offer]:
        """One a zone and tenure."""
        offers: list[Offer] = []
        for kind in await self.kinds():
            for zone in kind.zones:
                offers.extend(self._offer(kind, zone, tenure) for tenure in self.tenures())
        return offers

    def tenures(self) -> tuple[Tenure, ...]:
        """What is offered."""
        return (Tenure.SPOT, Tenure.ON_DEMAND) if self._settings.on_demand else (Tenure.SPOT,)

    def _offer(self, kind: Kind, zone: str, tenure: Tenure) -> Offer:
        pool = Pool(kind.region, zone, kind.instance, tenure)
        return sold_as(self._site.name, pool, kind.shape, self._capabilities)

    async def _fetch_kinds(self) -> Sequence[Kind]:
        sdk, project = self._door.sdk, self._settings.project
        call = sdk.AggregatedListMachineTypesRequest(project=project, max_results=500)
        pages = await self._door.pages("MachineTypesClient", "aggregated_list", call)
        places: dict[tuple[str, str], tuple[Kind, list[str]]] = {}
        attached = [read_instance(text) for text in self._settings.attached]
        sold = await self._accelerators() if attached else {}
        for page in pages:
            for scope, scoped in sorted(dict(page.items).items()):
                zone = scope.rpartition("/")[2]
                for machine in scoped.machine_types:
                    for kind in self._read(machine, zone, sold):
                        key = (kind.region, kind.instance)
                        places.setdefault(key, (kind, []))[1].append(zone)
        return [
            msgspec.structs.replace(kind, zones=tuple(sorted(zones)))
            for _, (kind, zones) in sorted(places.items())
        ]

    def _read(self, machine: Any, zone: str, sold: Mapping[str, frozenset[str]]) -> list[Kind]:
        region = zone.rpartition("-")[0]
        if region not in self._settings.regions:
            return []
        found = []
        for own in machine.accelerators:
            wanted = self._settings.machine_types
            if not wanted or machine.name in wanted:
                count = int(own.guest_accelerator_count)
                found.append((machine.name, own.guest_accelerator_type, count))
        for text in self._settings.attached:
            made_of = read_instance(text)
            if made_of.machine_type == machine.name and made_of.accelerator in sold.get(zone, ()):
                found.append((text, made_of.accelerator, made_of.count))
        return [
            Kind(
                instance,
                machine.name,
                region,
                (),
                int(machine.guest_cpus),
                int(machine.memory_mb),
                accelerator,
                _shape(instance, accelerator, count),
            )
            for instance, accelerator, count in found
        ]

    async def _accelerators(self) -> Mapping[str, frozenset[str]]:
        """Which types of accelerators can be attached where."""
        sdk = self._door.sdk
        call = sdk.AggregatedListAcceleratorTypesRequest(
            project=self._settings.project, max_results=500
        )
        found: dict[str, set[str]] = {}
        for page in await self._door.pages("AcceleratorTypesClient", "aggregated_list", call):
            for scope, scoped in dict(page.items).items():
                names = {item.name for item in scoped.accelerator_types}
                found.setdefault(scope.rpartition("/")[2], set()).update(names)
        return {zone: frozenset(names) for zone, names in found.items()}

    # --- quotas ----------------------------------------------------------------------------------

    async def quotas(self) -> Mapping[tuple[str, str], tuple[float, float]]:
        """(region, metric) -> limit and usage; the whole project's under region "". Raises
        ProviderError."""
        return await self._quotas.get()

    async def depth(self, kind: Kind, tenure: Tenure) -> int:
        """How many machines our own quotas still allow; -1 where that is not known."""
        metric = _QUOTAS.get(kind.accelerator, "")
        try:
            quotas = await self._quotas.get()
        except NotPermitted:
            return -1
        own = quotas.get((kind.region, metric))
        if tenure is Tenure.SPOT:
            # Once a preemptible quota was granted, spot machines use that and nothing else.
            preemptible = quotas.get((kind.region, f"PREEMPTIBLE_{metric}"))
            own = preemptible if preemptible is not None and preemptible[0] > 0 else own
        limits = [limit for limit in (own, quotas.get(("", _ALL_REGIONS))) if limit is not None]
        if own is None or not metric:
            return -1
        free = min(limit - usage for limit, usage in limits)
        return max(0, int(free) // max(1, kind.shape.gpus))

    async def _fetch_quotas(self) -> Mapping[tuple[str, str], tuple[float, float]]:
        sdk, project = self._door.sdk, self._settings.project
        found = {}
        for region in self._settings.regions:
            call = sdk.GetRegionRequest(project=project, region=region)
            answer = await self._door.ask("RegionsClient", "get", call)
            for quota in answer.quotas:
                found[region, str(quota.metric)] = (quota.limit, quota.usage)
        whole = await self._door.ask(
            "ProjectsClient", "get", sdk.GetProjectRequest(project=project)
        )
        for quota in whole.quotas:
            found["", str(quota.metric)] = (quota.limit, quota.usage)
        return found

    # --- scores ----------------------------------------------------------------------------------

    async def scores(self) -> Sequence[Score]:
        """Obtainability of the spot offers; empty where we may not ask."""
        try:
            return await self._scores.get()
        except NotPermitted:
            return ()

    async def _fetch_scores(self) -> Sequence[Score]:
        questions = [
            (kind, zone)
            for kind in await self.kinds()
            if kind.instance == kind.machine_type
            for zone in kind.zones
        ]
        answers = []
        for start in range(0, len(questions), _TYPES_AT_ONCE):
            some = questions[start : start + _TYPES_AT_ONCE]
            answers.extend(await asyncio.gather(*(self._obtainable(k, z) for k, z in some)))
        return [score for score in answers if score is not None]

    async def _obtainable(self, kind: Kind, zone: str) -> Score | None:
        sdk = self._door.sdk
        advice = {
            "size": 1,
            "instance_properties": {"scheduling": {"provisioning_model": "SPOT"}},
            "instance_flexibility_policy": {
                "instance_selections": {"one": {"machine_types": [kind.machine_type]}}
            },
            "distribution_policy": {
                "target_shape": "ANY_SINGLE_ZONE",
                "zones": [{"zone": f"zones/{zone}"}],
            },
        }
        call = sdk.CapacityAdviceRpcRequest(
            project=self._settings.project,
            region=kind.region,
            capacity_advice_request_resource=advice,
        )
        try:
            answer = await self._door.ask("AdviceClient", "capacity", call)
        except NotPermitted:
            raise
        except ProviderError:
            # One type without advice does not take the others' away.
            return None
        for recommendation in answer.recommendations:
            value = float(recommendation.scores.obtainability)
            uptime = str(recommendation.scores.estimated_uptime)
            raw = f"{value:.2f}, up {uptime}" if uptime else f"{value:.2f}"
            offer = offer_id(self._site.name, kind.region, zone, kind.instance, Tenure.SPOT)
            return Score(offer, min(1.0, max(0.0, value)), raw, self._site.clock.now())
        return None


def _shape(instance: str, accelerator: str, count: int) -> Shape:
    gpu = _MODELS(accelerator)
    return Shape(gpu, count, gpu_memory_gib(gpu), instance)
