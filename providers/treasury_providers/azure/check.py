"""`treasury check azure`: what works, what is missing, and the role that would be enough."""

import json
from collections.abc import Awaitable, Callable
from email.utils import parsedate_to_datetime
from typing import Any, Final

from treasury.domain.errors import ProviderError, TreasuryError
from treasury.domain.findings import Finding, Verdict
from treasury.domain.time import SECOND, format_duration
from treasury.ports import Site
from treasury_providers.azure.capacity import Capacity
from treasury_providers.azure.client import Door
from treasury_providers.azure.settings import Settings

# What the adapter calls, and nothing else.
ACTIONS: Final = (
    "Microsoft.Compute/virtualMachines/read",
    "Microsoft.Compute/virtualMachines/write",
    "Microsoft.Compute/virtualMachines/delete",
    "Microsoft.Compute/virtualMachines/instanceView/read",
    "Microsoft.Compute/disks/read",
    "Microsoft.Compute/disks/write",
    "Microsoft.Compute/disks/delete",
    "Microsoft.Compute/skus/read",
    "Microsoft.Compute/locations/usages/read",
    "Microsoft.Compute/locations/operations/read",
    "Microsoft.Compute/locations/placementScores/generate/action",
    "Microsoft.Network/networkInterfaces/read",
    "Microsoft.Network/networkInterfaces/write",
    "Microsoft.Network/networkInterfaces/delete",
    "Microsoft.Network/networkInterfaces/join/action",
    "Microsoft.Network/virtualNetworks/subnets/read",
    "Microsoft.Network/virtualNetworks/subnets/join/action",
    "Microsoft.ManagedIdentity/userAssignedIdentities/assign/action",
    "Microsoft.ResourceHealth/availabilityStatuses/read",
    "Microsoft.Resources/changes/read",
    "Microsoft.Authorization/permissions/read",
)
_PERMISSIONS: Final = "2022-04-01"
_SKEW_MAX: Final = 60 * SECOND


def policy_text(settings: Settings) -> str:
    """A custom role for `az role definition create`, limited to what the adapter calls."""
    scope = f"/subscriptions/{settings.subscription}"
    role = {
        "Name": "Treasury",
        "IsCustom": True,
        "Description": "Launches, lists and deletes machines for treasury.",
        "Actions": [
            action
            for action in ACTIONS
            if settings.identity or not action.startswith("Microsoft.ManagedIdentity")
        ],
        "NotActions": [],
        "AssignableScopes": [scope],
    }
    return json.dumps(role, indent=2)


async def examine(settings: Settings, site: Site, door: Door, capacity: Capacity) -> list[Finding]:
    """Each part tried, in the order in which a person would mend them."""
    findings = [await _try("sign-in", door.token, lambda _: "a token for Resource Manager")]
    if findings[0].verdict is Verdict.BAD:
        return findings
    findings.append(await _permissions(settings, door))
    findings.append(await _try("sizes", capacity.sizes, lambda sizes: f"{len(sizes)} to offer"))
    findings.append(await _listing(settings, door))
    findings.extend([await _quota(capacity, region) for region in settings.regions])
    findings.append(await _try("placement scores", capacity.scores, _scored))
    findings.append(await _prices(settings, door))
    findings.append(await _clock(settings, site, door))
    return findings


async def _try(
    what: str, call: Callable[[], Awaitable[Any]], told: Callable[[Any], str]
) -> Finding:
    try:
        return Finding(what, Verdict.FINE, told(await call()))
    except ProviderError as error:
        return Finding(what, Verdict.BAD, str(error), _REMEDIES.get(what, ""))


_REMEDIES: Final = {
    "sign-in": "set AZURE_TENANT_ID, AZURE_CLIENT_ID and a credential, or run `az login`",
    "sizes": "allow Microsoft.Compute/skus/read",
    "placement scores": "assign the role Compute Recommendations Role, or do without scores",
}


def _scored(scores: Any) -> str:
    return f"{len(scores)} offers scored" if scores else "none: not permitted, or no data"


async def _permissions(settings: Settings, door: Door) -> Finding:
    """What the signed-in identity may do in the resource group, held against what is needed."""
    path = (
        f"/subscriptions/{settings.subscription}/resourceGroups/{settings.resource_group}"
        "/providers/Microsoft.Authorization/permissions"
    )
    try:
        answer = await door.arm("GET", path, version=_PERMISSIONS)
    except ProviderError as error:
        remedy = "create the role that `treasury check azure --policy` prints and assign it"
        return Finding("permissions", Verdict.BAD, str(error), remedy)
    grants = [grant for grant in answer.get("value", []) if isinstance(grant, dict)]
    needed = json.loads(policy_text(settings))["Actions"]
    missing = [action for action in needed if not _allowed(action, grants)]
    if missing:
        remedy = "add these to a role of this identity on the resource group"
        return Finding("permissions", Verdict.BAD, "missing: " + ", ".join(missing), remedy)
    return Finding("permissions", Verdict.FINE, f"all {len(needed)} actions")


def _allowed(action: str, grants: list[dict[str, Any]]) -> bool:
    return any(
        _matches(action, grant.get("actions", []))
        and not _matches(action, grant.get("notActions", []))
        for grant in grants
    )


def _matches(action: str, patterns: list[str]) -> bool:
    from fnmatch import fnmatch

    return any(fnmatch(action.lower(), str(pattern).lower()) for pattern in patterns)


async def _listing(settings: Settings, door: Door) -> Finding:
    async def count() -> int:
        listing = door.compute.virtual_machines.list(settings.resource_group)
        return len([vm async for vm in door.pages(listing)])

    try:
        return Finding("resource group", Verdict.FINE, f"{await count()} machines")
    except ProviderError as error:
        missing = "ResourceGroupNotFound" in str(error)
        remedy = f"az group create --name {settings.resource_group}" if missing else ""
        return Finding("resource group", Verdict.BAD, str(error), remedy)


async def _quota(capacity: Capacity, region: str) -> Finding:
    what = f"quota in {region}"
    try:
        left = await capacity.quotas(region)
    except ProviderError as error:
        return Finding(what, Verdict.BAD, str(error), "allow usages/read")
    spot = left.get("lowprioritycores", 0)
    if not spot:
        remedy = "ask for more 'Total Regional Spot vCPUs' under Quotas in the portal"
        return Finding(what, Verdict.WARNING, "no spot cores left", remedy)
    return Finding(what, Verdict.FINE, f"{spot} spot cores, {left.get('cores', 0)} regular cores")


async def _prices(settings: Settings, door: Door) -> Finding:
    url = f"{settings.prices_endpoint}/api/retail/prices?$top=1"
    return await _try("prices", lambda: door.anonymous(url), lambda _: "the retail list answers")


async def _clock(settings: Settings, site: Site, door: Door) -> Finding:
    """How far our clock is from Azure's, by the date of an answer."""
    path = f"/subscriptions/{settings.subscription}"
    try:
        date = await door.date(path)
        theirs = int(parsedate_to_datetime(date).timestamp()) * SECOND
    except (TreasuryError, TypeError, ValueError) as error:
        return Finding("clock", Verdict.SKIPPED, f"Azure's time is not known: {error}")
    skew = abs(site.clock.now() - theirs)
    if skew > _SKEW_MAX:
        detail = f"{format_duration(skew)} apart"
        return Finding("clock", Verdict.WARNING, detail, "let this host keep time by NTP")
    return Finding("clock", Verdict.FINE, "agrees with Azure's")
