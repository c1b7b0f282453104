"""`[provider.NAME]` of kind "azure": what a person has to say about an Azure subscription."""

import re
from typing import Final
from urllib.parse import urlsplit

import msgspec

from treasury.domain.errors import BadValue
from treasury.domain.time import MINUTE, SECOND
from treasury.ports import Site
from treasury_providers.common.settings import bad_setting

_UUID: Final = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_WORD: Final = re.compile(r"[A-Za-z0-9._()-]{1,90}")
_REGION: Final = re.compile(r"[a-z0-9]{3,40}")
_LOOPBACK: Final = ("127.0.0.1", "localhost", "::1")


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """Where machines are made and what they are made from. Durations in ns.

    subnets: region -> resource id of the subnet its machines get an address in. image: a resource
    id, or `publisher:offer:sku:version` of the marketplace. identity: resource id of a
    user-assigned managed identity for the machines, empty for none. ssh_key: a public key; Azure
    makes no Linux machine without one. sizes: which to offer, empty for every size with
    accelerators. on_demand: also offer regular machines. token_file: a file with an access token
    that somebody else renews; empty to sign in as azure-identity finds it. prices_every,
    capacity_every, notices_every: how often these are asked for. launch_wait: how long a launch is
    followed before the listing takes over; poll_every: how often it is asked after. prices_pause:
    between two pages of the price list. endpoint, prices_endpoint: another cloud, or a
    counterpart on this host.
    """

    subscription: str
    resource_group: str
    regions: tuple[str, ...]
    subnets: dict[str, str]
    image: str
    ssh_key: str
    identity: str = ""
    admin: str = "treasury"
    disk_gib: int = 0
    sizes: tuple[str, ...] = ()
    on_demand: bool = True
    token_file: str = ""
    prices_every: int = 30 * MINUTE
    capacity_every: int = 15 * MINUTE
    notices_every: int = 30 * SECOND
    launch_wait: int = 75 * SECOND
    poll_every: int = 2 * SECOND
    prices_pause: int = 3 * SECOND
    endpoint: str = "https://management.azure.com"
    prices_endpoint: str = "https://prices.azure.com"


def check_settings(settings: Settings, site: Site) -> None:
    """Raise BadValue, with the setting's path, for what cannot work."""

    def bad(field: str, value: object, right: str) -> BadValue:
        return bad_setting(site, field, value, right)

    if not _UUID.fullmatch(settings.subscription):
        raise bad("subscription", settings.subscription, "a subscription's id (a UUID)")
    for field in ("resource_group", "admin"):
        value = getattr(settings, field)
        if not _WORD.fullmatch(value):
            raise bad(field, value, "letters, digits, dots, dashes and underscores")
    if not settings.regions:
        raise bad("regions", [], 'at least one region, such as "eastus"')
    for index, region in enumerate(settings.regions):
        if not _REGION.fullmatch(region):
            raise bad(f"regions[{index}]", region, 'a region\'s short name, such as "eastus"')
        if not settings.subnets.get(region, "").startswith("/subscriptions/"):
            right = "the resource id of a subnet there, /subscriptions/..."
            raise bad(f"subnets.{region}", settings.subnets.get(region, ""), right)
    if not settings.image.startswith("/") and settings.image.count(":") != 3:
        raise bad("image", settings.image, "publisher:offer:sku:version, or a resource id")
    if not settings.ssh_key.startswith(("ssh-", "ecdsa-")):
        raise bad("ssh_key", settings.ssh_key[:20], "a public key, ssh-ed25519 AAAA...")
    if settings.disk_gib < 0:
        raise bad("disk_gib", settings.disk_gib, "a size in GiB, 0 for the image's own")
    for field in ("endpoint", "prices_endpoint"):
        url = getattr(settings, field)
        parts = urlsplit(url)
        if parts.scheme != "https" and not is_loopback(url):
            raise bad(field, url, "an https address; plain http only on this host")
    for field in ("prices_every", "capacity_every", "notices_every", "launch_wait"):
        if getattr(settings, field) < SECOND:
            raise bad(field, getattr(settings, field), "at least a second")


def is_loopback(url: str) -> bool:
    """Whether an address is plain http on this host: a counterpart."""
    parts = urlsplit(url)
    return parts.scheme == "http" and parts.hostname in _LOOPBACK


def seconds(duration: int) -> float:
    """What SDKs count in, of a duration [ns]."""
    return duration / SECOND
