"""What is asked of Google for one machine or a gang, and what its listing says about one.

A machine's name is `zone/name`: the name alone does not tell where to delete it.
"""

import hashlib
from typing import Any, Final
from uuid import UUID

from treasury.domain.commands import Acquire
from treasury.domain.errors import InvariantBroken
from treasury.domain.events import LeaseSeen
from treasury.domain.market import Tenure
from treasury.domain.time import SECOND, parse_instant
from treasury.ports import Site
from treasury_providers.common.names import machine_name, read_name
from treasury_providers.common.offers import Pool
from treasury_providers.common.tags import LEASE, read_tags, request_tags, write_leases
from treasury_providers.gcp.settings import Settings, read_instance

# One value of the metadata; all of it together is at most 512 KiB.
_SCRIPT_MAX: Final = 256 * 1024
_GANG_SCRIPTS_MAX: Final = 480 * 1024
# A gang's machines share their metadata: each takes its own script out of it by its name. Nothing
# of a job is in here.
_CHOOSER: Final = """\
#!/bin/sh
set -eu
md=http://metadata.google.internal/computeMetadata/v1/instance
get() { curl -sfS --retry 5 -H 'Metadata-Flavor: Google' "$md/$1"; }
umask 077
d=$(mktemp -d)
get "attributes/treasury-boot-$(get name)" > "$d/boot"
chmod 700 "$d/boot"
exec "$d/boot"
"""


def names(site: Site, request: Acquire) -> list[str]:
    """The names of a request's machines, in lease order."""
    return [machine_name(site.installation, request, i) for i in range(len(request.leases))]


def request_id(request: Acquire, what: str) -> str:
    """The UUID that makes a call idempotent for as long as Google remembers it."""
    digest = hashlib.blake2b(f"{request.token}/{what}".encode(), digest_size=16).digest()
    return str(UUID(bytes=digest, version=4))


def single(settings: Settings, site: Site, request: Acquire, pool: Pool) -> dict[str, Any]:
    """The instance to insert for a request of one machine."""
    name = names(site, request)[0]
    script = site.boot(request, 0)
    body = _properties(settings, site, request, pool, [(settings.boot_key, script)])
    body["labels"][LEASE] = write_leases(request.leases)
    zonal = f"zones/{pool.zone}"
    body["machine_type"] = f"{zonal}/machineTypes/{body['machine_type']}"
    for accelerator in body.get("guest_accelerators", ()):
        kind = accelerator["accelerator_type"]
        accelerator["accelerator_type"] = f"{zonal}/acceleratorTypes/{kind}"
    return {**body, "name": name}


def gang(settings: Settings, site: Site, request: Acquire, pool: Pool) -> dict[str, Any]:
    """The bulk insertion of a gang: all of it or nothing, by Google's own doing."""
    known = names(site, request)
    scripts = [(f"treasury-boot-{name}", site.boot(request, i)) for i, name in enumerate(known)]
    size = sum(len(script.encode()) for _, script in scripts)
    if size > _GANG_SCRIPTS_MAX:
        raise InvariantBroken(f"boot scripts of {size} bytes: more than the metadata takes")
    items = [(settings.boot_key, _CHOOSER), *scripts]
    count = len(known)
    return {
        "count": count,
        "min_count": count,
        "per_instance_properties": {name: {"name": name} for name in known},
        "instance_properties": _properties(settings, site, request, pool, items),
    }


def _properties(
    settings: Settings, site: Site, request: Acquire, pool: Pool, items: list[tuple[str, str]]
) -> dict[str, Any]:
    for key, value in items:
        if len(value.encode()) > _SCRIPT_MAX:
            raise InvariantBroken(f"{key}: {len(value.encode())} bytes, Google takes 256 KiB")
    made_of = read_instance(pool.instance)
    body: dict[str, Any] = {
        "machine_type": made_of.machine_type,
        "labels": request_tags(site.installation, request),
        "disks": [_disk(settings)],
        "network_interfaces": [_interface(settings, pool.region)],
        "metadata": {"items": [{"key": key, "value": value} for key, value in items]},
        "scheduling": _scheduling(settings, pool.tenure),
    }
    if made_of.count:
        kind = {"accelerator_count": made_of.count, "accelerator_type": made_of.accelerator}
        body["guest_accelerators"] = [kind]
    if settings.service_account:
        scopes = ["https://www.googleapis.com/auth/cloud-platform"]
        body["service_accounts"] = [{"email": settings.service_account, "scopes": scopes}]
    return body


def _scheduling(settings: Settings, tenure: Tenure) -> dict[str, Any]:
    terms: dict[str, Any] = {
        # Machines with accelerators cannot be moved while they run.
        "on_host_maintenance": "TERMINATE",
        "automatic_restart": False,
        "instance_termination_action": "DELETE",
        # Google deletes the machine by itself if nobody is left to do it.
        "max_run_duration": {"seconds": settings.max_run // SECOND},
    }
    terms["provisioning_model"] = "SPOT" if tenure is Tenure.SPOT else "STANDARD"
    return terms


def _disk(settings: Settings) -> dict[str, Any]:
    made_from = {"source_image": settings.image, "disk_size_gb": settings.disk_gib}
    return {"boot": True, "auto_delete": True, "initialize_params": made_from}


def _interface(settings: Settings, region: str) -> dict[str, Any]:
    subnetwork = settings.networks.get(region, settings.networks.get("*", ""))
    interface: dict[str, Any] = (
        {"subnetwork": subnetwork} if subnetwork else {"network": "global/networks/default"}
    )
    if settings.address:
        interface["access_configs"] = [{"name": "External NAT", "type_": "ONE_TO_ONE_NAT"}]
    return interface


def lease_of(installation: str, instance: Any) -> LeaseSeen | None:
    """An instance of the SDK's listing in our words; None for what is not ours."""
    labelled = read_tags(installation, dict(instance.labels))
    named = read_name(installation, instance.name)
    if labelled is None or named is None or named.leases[0] not in labelled.leases:
        return None
    zone = instance.zone.rpartition("/")[2]
    return LeaseSeen(
        lease=named.leases[0],
        placement=labelled.placement,
        machine=f"{zone}/{instance.name}",
        granted_at=instant_of(instance.creation_timestamp),
        rate=0,
        token=labelled.token,
    )


def lease_from_link(installation: str, link: str, granted_at: int) -> LeaseSeen | None:
    """A machine that is gone, by the link to it that an operation kept; granted_at [ns]."""
    parts = link.split("/")
    if len(parts) < 4 or parts[-2] != "instances" or parts[-4] != "zones":
        return None
    marked = read_name(installation, parts[-1])
    if marked is None:
        return None
    machine = f"{parts[-3]}/{parts[-1]}"
    return LeaseSeen(marked.leases[0], marked.placement, machine, granted_at, 0, marked.token)


def instant_of(text: str) -> int:
    """Nanoseconds of Google's timestamps; 0 for none."""
    return parse_instant(text) if text else 0
