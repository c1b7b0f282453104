"""What `[provider.NAME]` with `kind = "aws"` may say."""

import re
from fnmatch import fnmatchcase
from typing import Final

import msgspec

from treasury.domain.errors import BadValue
from treasury.domain.market import Tenure
from treasury.domain.money import parse_rate
from treasury.domain.time import HOUR, MINUTE, SECOND
from treasury.ports import Site
from treasury_providers.common.settings import bad_setting

_REGION: Final = re.compile(r"[a-z]{2}(-[a-z]+)+-\d", re.ASCII)
_IMAGE: Final = re.compile(r"ami-[0-9a-f]{8,17}|resolve:ssm:/?[\w./-]+", re.ASCII)
_TENURES: Final = (Tenure.SPOT.value, Tenure.ON_DEMAND.value)


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """Durations in ns.

    regions: where to buy. instances: patterns of instance types such as `p5.*`; empty for all with
    a GPU. zones: AZ ids such as `use1-az4`; empty for all. tenures: `spot`, `on_demand`.

    images: region -> AMI, or `resolve:ssm:/parameter`; `*` for the rest. subnets: AZ id -> subnet;
    without one the default VPC's. security_groups: region -> groups. instance_profile: name or ARN
    of the machines' own role. key_name: an SSH key pair. disk_gib: the root volume, 0 for the
    image's own; root_device: its name in the image.

    queues: region -> URL of the SQS queue with its interruption notices.

    on_demand: instance type -> rate, such as `"12.2 USD/h"`, where the pricing API may not be
    asked. profile: a profile of the AWS configuration files. endpoint: another address for every
    call, for tests.

    prices, scores, quotas: how often each is asked for. boot: from a grant to a machine that can
    be used, as a first guess. gang: most machines of one request. timeout: of one launch call.
    poll_wait: how long a queue is listened to at a time. listing_lag: how late AWS may show a new
    machine, or hide one that is gone.
    """

    regions: tuple[str, ...]
    instances: tuple[str, ...] = ()
    zones: tuple[str, ...] = ()
    tenures: tuple[str, ...] = _TENURES
    images: dict[str, str] = {}
    subnets: dict[str, str] = {}
    security_groups: dict[str, tuple[str, ...]] = {}
    instance_profile: str = ""
    key_name: str = ""
    disk_gib: int = 100
    root_device: str = "/dev/sda1"
    queues: dict[str, str] = {}
    on_demand: dict[str, str] = {}
    profile: str = ""
    endpoint: str = ""
    prices: int = 2 * MINUTE
    scores: int = 15 * MINUTE
    quotas: int = HOUR
    boot: int = 90 * SECOND
    gang: int = 16
    timeout: int = 25 * SECOND
    poll_wait: int = 5 * SECOND
    listing_lag: int = MINUTE
    calls_per_minute: int = 600

    def sells(self, instance: str) -> bool:
        """Whether an instance type is among the patterns."""
        return not self.instances or any(fnmatchcase(instance, p) for p in self.instances)

    def image(self, region: str) -> str:
        """The image for a region; empty where none is set."""
        return self.images.get(region, self.images.get("*", ""))

    def rates(self) -> dict[str, int]:
        """`on_demand` in nano-USD/h."""
        return {instance: parse_rate(text) for instance, text in self.on_demand.items()}


def check_settings(settings: Settings, site: Site) -> None:
    """Raise BadValue with the setting's place for what cannot be right."""
    if not settings.regions:
        raise bad_setting(site, "regions", [], 'at least one region, such as ["us-east-1"]')
    for index, region in enumerate(settings.regions):
        if not _REGION.fullmatch(region):
            raise bad_setting(site, f"regions[{index}]", region, 'a region such as "us-east-1"')
    for index, tenure in enumerate(settings.tenures):
        if tenure not in _TENURES:
            raise bad_setting(site, f"tenures[{index}]", tenure, f"one of {', '.join(_TENURES)}")
    for region, image in settings.images.items():
        if not _IMAGE.fullmatch(image):
            right = '"ami-..." or "resolve:ssm:/parameter"'
            raise bad_setting(site, f"images.{region}", image, right)
    for field in ("images", "security_groups", "queues"):
        _check_regions(settings, site, field)
    for instance, text in settings.on_demand.items():
        try:
            parse_rate(text)
        except BadValue as error:
            raise bad_setting(site, f"on_demand.{instance}", text, error.right) from error
    least = {"prices": SECOND, "scores": MINUTE, "quotas": MINUTE, "gang": 1, "timeout": SECOND}
    for field, smallest in least.items():
        value = getattr(settings, field)
        if value < smallest:
            raise bad_setting(site, field, value, f"at least {smallest}")


def _check_regions(settings: Settings, site: Site, field: str) -> None:
    for region in getattr(settings, field):
        if region != "*" and region not in settings.regions:
            known = ", ".join(settings.regions)
            raise bad_setting(site, f"{field}.{region}", region, f"a region of `regions`: {known}")
