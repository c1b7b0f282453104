"""`treasury check gcp`: what works, what is missing, and the role that would be enough."""

import json
from collections.abc import Awaitable, Callable
from email.utils import parsedate_to_datetime
from typing import Any, Final

from treasury.domain.errors import ProviderError
from treasury.domain.findings import Finding, Verdict
from treasury.domain.time import SECOND, format_duration
from treasury.ports import Site
from treasury_providers.gcp.capacity import Capacity
from treasury_providers.gcp.client import Door
from treasury_providers.gcp.launch import Launcher
from treasury_providers.gcp.prices import PriceList
from treasury_providers.gcp.settings import Settings

# What the adapter calls, and nothing else.
PERMISSIONS: Final = (
    "compute.acceleratorTypes.list",
    "compute.advice.capacity",
    "compute.advice.capacityHistory",
    "compute.disks.create",
    "compute.globalOperations.list",
    "compute.images.useReadOnly",
    "compute.instances.create",
    "compute.instances.delete",
    "compute.instances.get",
    "compute.instances.list",
    "compute.instances.setLabels",
    "compute.instances.setMetadata",
    "compute.instances.setServiceAccount",
    "compute.machineTypes.list",
    "compute.projects.get",
    "compute.regions.get",
    "compute.subnetworks.use",
    "compute.subnetworks.useExternalIp",
    "compute.zoneOperations.get",
    "compute.zoneOperations.list",
)
# Instances can be asked which of these the caller has, even for a name that does not exist.
_ON_INSTANCES: Final = (
    "compute.instances.create",
    "compute.instances.delete",
    "compute.instances.get",
    "compute.instances.setLabels",
    "compute.instances.setMetadata",
)
_SKEW_MAX: Final = 60 * SECOND


def policy_text(settings: Settings) -> str:
    """A custom role for `gcloud iam roles create --file`, limited to what the adapter calls."""
    needed = [
        name
        for name in PERMISSIONS
        if (settings.service_account or not name.endswith("setServiceAccount"))
        and (settings.address or not name.endswith("useExternalIp"))
    ]
    role = {
        "title": "Treasury",
        "description": "Launches, lists and deletes machines for treasury.",
        "stage": "GA",
        "includedPermissions": needed,
    }
    return json.dumps(role, indent=2)


class Check:
    """Each part tried, in the order in which a person would mend them."""

    def __init__(
        self,
        settings: Settings,
        site: Site,
        door: Door,
        capacity: Capacity,
        prices: PriceList,
        launcher: Launcher,
    ) -> None:
        self._settings, self._site, self._door = settings, site, door
        self._capacity, self._prices, self._launcher = capacity, prices, launcher

    async def run(self) -> list[Finding]:
        """The findings."""
        first = await self._try(
            "sign-in",
            self._door.sign_in,
            lambda project: f"credentials of {project}" if project else "a token",
            "run `gcloud auth application-default login`, or set GOOGLE_APPLICATION_CREDENTIALS",
        )
        if first.verdict is Verdict.BAD:
            return [first]
        return [
            first,
            await self._permissions(),
            await self._try(
                "machines",
                self._launcher.leases,
                lambda found: f"{len(found)} of ours",
                "enable the Compute Engine API; allow compute.instances.list",
            ),
            await self._try(
                "machine types",
                self._capacity.kinds,
                lambda kinds: f"{len(kinds)} with accelerators",
                "allow compute.machineTypes.list",
            ),
            *[await self._quota(region) for region in self._settings.regions],
            await self._try("scores", self._capacity.scores, _scored, ""),
            *[await self._priced(region) for region in self._settings.regions],
            await self._clock(),
        ]

    async def _try(
        self,
        what: str,
        call: Callable[[], Awaitable[Any]],
        told: Callable[[Any], str],
        remedy: str,
    ) -> Finding:
        try:
            return Finding(what, Verdict.FINE, told(await call()))
        except ProviderError as error:
            return Finding(what, Verdict.BAD, str(error), remedy)

    async def _permissions(self) -> Finding:
        sdk = self._door.sdk
        zone = f"{self._settings.regions[0]}-a"
        call = sdk.TestIamPermissionsInstanceRequest(
            project=self._settings.project,
            zone=zone,
            resource="treasury-check",
            test_permissions_request_resource={"permissions": list(_ON_INSTANCES)},
        )
        try:
            answer = await self._door.ask("InstancesClient", "test_iam_permissions", call)
        except ProviderError as error:
            return Finding("permissions", Verdict.SKIPPED, f"cannot be asked: {error}")
        missing = sorted(set(_ON_INSTANCES) - set(answer.permissions))
        if missing:
            remedy = "create the role that `treasury check gcp --policy` prints and grant it"
            return Finding("permissions", Verdict.BAD, "missing: " + ", ".join(missing), remedy)
        return Finding("permissions", Verdict.FINE, "instances may be created and deleted")

    async def _quota(self, region: str) -> Finding:
        what = f"quota in {region}"
        try:
            quotas = await self._capacity.quotas()
        except ProviderError as error:
            return Finding(what, Verdict.BAD, str(error), "allow compute.regions.get")
        whole = quotas.get(("", "GPUS_ALL_REGIONS"))
        if whole is not None and whole[0] - whole[1] < 1:
            remedy = "ask for more GPUS_ALL_REGIONS under IAM & Admin, Quotas"
            return Finding(what, Verdict.WARNING, "no accelerator left in the project", remedy)
        some = sorted(
            f"{metric} {int(limit - usage)}"
            for (place, metric), (limit, usage) in quotas.items()
            if place == region and metric.endswith("_GPUS") and limit - usage >= 1
        )
        if not some:
            remedy = "ask for PREEMPTIBLE_NVIDIA_..._GPUS there under IAM & Admin, Quotas"
            return Finding(what, Verdict.WARNING, "no accelerators left", remedy)
        return Finding(what, Verdict.FINE, ", ".join(some))

    async def _priced(self, region: str) -> Finding:
        what = f"prices in {region}"
        try:
            found = len(await self._prices.quotes(region))
        except ProviderError as error:
            remedy = "allow compute.advice.capacityHistory, or enable the Cloud Billing API"
            return Finding(what, Verdict.BAD, str(error), remedy)
        if not found:
            return Finding(what, Verdict.WARNING, "no offer there has a price")
        return Finding(what, Verdict.FINE, f"{found} offers have one")

    async def _clock(self) -> Finding:
        """How far our clock is from Google's, by the date of an answer."""
        try:
            date = await self._door.date()
        except ProviderError as error:
            return Finding("clock", Verdict.SKIPPED, f"Google's time is not known: {error}")
        if not date:
            return Finding("clock", Verdict.SKIPPED, "Google's time is not known")
        theirs = int(parsedate_to_datetime(date).timestamp()) * SECOND
        skew = abs(self._site.clock.now() - theirs)
        if skew > _SKEW_MAX:
            detail = f"{format_duration(skew)} apart"
            return Finding("clock", Verdict.WARNING, detail, "let this host keep time by NTP")
        return Finding("clock", Verdict.FINE, "agrees with Google's")


def _scored(scores: Any) -> str:
    return f"{len(scores)} offers scored" if scores else "none: not permitted, or no data"
