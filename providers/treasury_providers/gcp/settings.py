"""`[provider.NAME]` of kind "gcp": what a person has to say about a Google Cloud project."""

import re
from typing import Final
from urllib.parse import urlsplit

import msgspec

from treasury.domain.errors import BadValue
from treasury.domain.time import DAY, HOUR, MINUTE, SECOND
from treasury.ports import Site
from treasury_providers.common.settings import bad_setting

_PROJECT: Final = re.compile(r"[a-z][a-z0-9:.-]{4,62}", re.ASCII)
_REGION: Final = re.compile(r"[a-z]+-[a-z]+\d+", re.ASCII)
_ATTACHED: Final = re.compile(r"([a-z0-9-]+)\+(\d+)x([a-z0-9-]+)", re.ASCII)
_LOOPBACK: Final = ("127.0.0.1", "localhost", "::1")
_KEYS: Final = ("startup-script", "user-data")
RUN_MAX: Final = 120 * DAY


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """Where machines are made and what they are made from. Durations in ns.

    image: `projects/P/global/images/family/F`, or a whole image. networks: region -> subnetwork,
    `*` for the rest; without one the default network. address: give machines an external address.
    service_account: the machines' own, empty for none. machine_types: which to offer, empty for
    every type with accelerators. attached: accelerators added to a type that has none, such as
    `n1-standard-8+1xnvidia-tesla-t4`. on_demand: also offer regular machines. max_run: Google
    itself deletes a machine after this long, whatever becomes of the agent. boot_key: the metadata
    key of the boot script, `startup-script`, or `user-data` for images with cloud-init. token_file:
    a file with an access token that somebody else renews; empty for application default
    credentials. prices_every, capacity_every, notices_every: how often these are asked for.
    launch_wait: how long a launch is followed before the listing takes over; poll_every: how often
    it is asked after. endpoint, prices_endpoint: counterparts on this host, or private endpoints.
    """

    project: str
    regions: tuple[str, ...]
    image: str
    networks: dict[str, str] = {}
    address: bool = True
    service_account: str = ""
    disk_gib: int = 100
    machine_types: tuple[str, ...] = ()
    attached: tuple[str, ...] = ()
    on_demand: bool = True
    max_run: int = 3 * DAY
    boot_key: str = "startup-script"
    token_file: str = ""
    prices_every: int = 6 * HOUR
    capacity_every: int = 15 * MINUTE
    notices_every: int = 30 * SECOND
    launch_wait: int = 75 * SECOND
    poll_every: int = 2 * SECOND
    endpoint: str = "https://compute.googleapis.com"
    prices_endpoint: str = "https://cloudbilling.googleapis.com"


class Attached(msgspec.Struct, frozen=True):
    """A machine type with `count` accelerators of a type added to it."""

    machine_type: str
    count: int
    accelerator: str


def read_instance(instance: str) -> Attached:
    """What an offer's instance is made of; count 0 where nothing is added."""
    match = _ATTACHED.fullmatch(instance)
    if match is None:
        return Attached(instance, 0, "")
    return Attached(match[1], int(match[2]), match[3])


def check_settings(settings: Settings, site: Site) -> None:
    """Raise BadValue, with the setting's path, for what cannot work."""

    def bad(field: str, value: object, right: str) -> BadValue:
        return bad_setting(site, field, value, right)

    if not _PROJECT.fullmatch(settings.project):
        raise bad("project", settings.project, "a project's id")
    if not settings.regions:
        raise bad("regions", [], 'at least one region, such as "us-central1"')
    for index, region in enumerate(settings.regions):
        if not _REGION.fullmatch(region):
            raise bad(f"regions[{index}]", region, 'a region such as "us-central1"')
    for region in settings.networks:
        if region != "*" and region not in settings.regions:
            raise bad(f"networks.{region}", settings.networks[region], "one of the regions, or *")
    if "/images/" not in f"/{settings.image}":
        right = '"projects/PROJECT/global/images/family/FAMILY", or a whole image'
        raise bad("image", settings.image, right)
    for index, text in enumerate(settings.attached):
        if not read_instance(text).count:
            raise bad(f"attached[{index}]", text, 'such as "n1-standard-8+1xnvidia-tesla-t4"')
    if settings.boot_key not in _KEYS:
        raise bad("boot_key", settings.boot_key, " or ".join(_KEYS))
    if settings.disk_gib < 10:
        raise bad("disk_gib", settings.disk_gib, "at least 10 (GiB)")
    if not 30 * SECOND <= settings.max_run <= RUN_MAX:
        raise bad("max_run", settings.max_run, "from 30 seconds to 120 days")
    for field in ("prices_every", "capacity_every", "notices_every", "launch_wait"):
        if getattr(settings, field) < SECOND:
            raise bad(field, getattr(settings, field), "at least a second")
    for field in ("endpoint", "prices_endpoint"):
        parts = urlsplit(getattr(settings, field))
        plain = parts.scheme == "http" and parts.hostname in _LOOPBACK
        if parts.scheme != "https" and not plain:
            right = "an https address; plain http only on this host"
            raise bad(field, getattr(settings, field), right)
