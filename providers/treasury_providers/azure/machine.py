"""What is asked of Azure for one machine, and what its listing says about one.

Everything that hangs on a machine (disk, network interface, address) is made with it and deleted
with it, so that nothing else can be left over.
"""

import base64
from typing import Any, Final

from treasury.domain.commands import Acquire
from treasury.domain.errors import BidTooLow, InvariantBroken
from treasury.domain.events import LeaseSeen
from treasury.domain.ids import LeaseId
from treasury.domain.market import Tenure
from treasury.domain.time import SECOND, parse_instant
from treasury.ports import Site
from treasury_providers.azure.settings import Settings
from treasury_providers.common.names import machine_name, read_name
from treasury_providers.common.offers import Pool
from treasury_providers.common.rates import text_from_rate
from treasury_providers.common.tags import (
    LEASE,
    read_tags,
    request_tags,
    write_leases,
)

# Network interfaces are declared inline; this is the network API whose shape they have.
_NETWORK_VERSION: Final = "2022-11-01"
_PRICE_PLACES: Final = 5
# custom data is at most 64 KiB before its encoding; the port promises less than 8.
USER_DATA_MAX: Final = 64 * 1024


def describe(
    settings: Settings, site: Site, request: Acquire, index: int, pool: Pool
) -> dict[str, Any]:
    """The body of the PUT that makes machine `index` of a request, byte for byte the same each
    time. Raises BidTooLow for a bid that cannot be said in Azure's prices."""
    name = machine_name(site.installation, request, index)
    script = site.boot(request, index)
    if len(script.encode()) > USER_DATA_MAX:
        raise InvariantBroken(f"user data of {len(script.encode())} bytes, Azure takes 64 KiB")
    tags = request_tags(site.installation, request)
    tags[LEASE] = write_leases([request.leases[index]])
    properties: dict[str, Any] = {
        "hardwareProfile": {"vmSize": pool.instance},
        "storageProfile": {
            "imageReference": _image(settings.image),
            "osDisk": _disk(settings, name),
        },
        "osProfile": _login(settings, name, script),
        "networkProfile": _network(settings.subnets.get(pool.region, ""), name),
        **_terms(pool.tenure, request.bid),
    }
    body: dict[str, Any] = {"location": pool.region, "tags": tags, "properties": properties}
    if pool.zone:
        body["zones"] = [pool.zone]
    if settings.identity:
        body["identity"] = {
            "type": "UserAssigned",
            "userAssignedIdentities": {settings.identity: {}},
        }
    return body


def _terms(tenure: Tenure, bid: int) -> dict[str, Any]:
    if tenure is not Tenure.SPOT:
        return {"priority": "Regular"}
    text = text_from_rate(bid, _PRICE_PLACES)
    price = float(text)
    if price <= 0:
        raise BidTooLow(f"a bid of {bid} nano-USD/h is less than Azure's prices can say")
    return {
        "priority": "Spot",
        "evictionPolicy": "Delete",
        "billingProfile": {"maxPrice": price},
    }


def _image(image: str) -> dict[str, str]:
    if image.startswith("/"):
        return {"id": image}
    publisher, offer, sku, version = image.split(":")
    return {"publisher": publisher, "offer": offer, "sku": sku, "version": version}


def _disk(settings: Settings, name: str) -> dict[str, Any]:
    disk: dict[str, Any] = {
        "name": f"{name}-os",
        "createOption": "FromImage",
        "deleteOption": "Delete",
        "managedDisk": {"storageAccountType": "StandardSSD_LRS"},
    }
    if settings.disk_gib:
        disk["diskSizeGB"] = settings.disk_gib
    return disk


def _login(settings: Settings, name: str, script: str) -> dict[str, Any]:
    key = {
        "path": f"/home/{settings.admin}/.ssh/authorized_keys",
        "keyData": settings.ssh_key,
    }
    return {
        "computerName": name,
        "adminUsername": settings.admin,
        "customData": base64.b64encode(script.encode()).decode(),
        "linuxConfiguration": {
            "disablePasswordAuthentication": True,
            "ssh": {"publicKeys": [key]},
        },
    }


def _network(subnet: str, name: str) -> dict[str, Any]:
    address = {"name": "ip", "properties": {"subnet": {"id": subnet}, "primary": True}}
    interface = {
        "name": f"{name}-nic",
        "properties": {"primary": True, "deleteOption": "Delete", "ipConfigurations": [address]},
    }
    return {
        "networkApiVersion": _NETWORK_VERSION,
        "networkInterfaceConfigurations": [interface],
    }


def lease_from_vm(installation: str, vm: Any) -> LeaseSeen | None:
    """A machine of the SDK's listing in our words; None for what is not ours."""
    marked = read_tags(installation, vm.tags or {})
    if marked is None:
        return None
    created = vm.properties.time_created if vm.properties is not None else None
    granted_at = parse_instant(created.isoformat()) if created is not None else 0
    return LeaseSeen(
        lease=marked.leases[0],
        placement=marked.placement,
        machine=vm.name,
        granted_at=granted_at,
        rate=0,
        token=marked.token,
    )


def lease_from_name(installation: str, name: str, granted_at: int) -> LeaseSeen | None:
    """A machine that is gone, by its name alone."""
    marked = read_name(installation, name)
    if marked is None:
        return None
    lease: LeaseId = marked.leases[0]
    return LeaseSeen(lease, marked.placement, name, granted_at, 0, marked.token)


def instant_of(text: str) -> int:
    """Nanoseconds of Azure's timestamps, which carry up to seven decimals of a second."""
    head, dot, rest = text.partition(".")
    if not dot:
        return parse_instant(text)
    digits = rest[: len(rest) - len(rest.lstrip("0123456789"))]
    zone = rest[len(digits) :]
    fraction = int(digits[:9].ljust(9, "0")) if digits else 0
    return parse_instant(head + zone) // SECOND * SECOND + fraction
