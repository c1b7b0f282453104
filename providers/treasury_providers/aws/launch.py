"""Machines: ask once, list all, give back.

A request is written to disk before it is sent, and a repetition sends the same bytes: AWS takes a
token again only with the parameters it came with. Which lease a machine of a gang is, its launch
index says. A machine is ours when its owner tag says so *and* AWS made it for our token: a copy
that somebody started from it in the console carries the same tags.
"""

import asyncio
import hashlib
import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Final

import msgspec

from treasury.domain.commands import Acquire, Release
from treasury.domain.errors import BidTooLow, Declined, LeaseUnknown, OfferGone, Unreachable
from treasury.domain.events import LeaseSeen
from treasury.domain.ids import LeaseId
from treasury.domain.market import Tenure
from treasury.domain.time import DAY, MINUTE, SECOND, parse_instant
from treasury.ports import Site
from treasury_providers.aws.calls import Calls, pages
from treasury_providers.aws.capacity import Capacity
from treasury_providers.aws.frozen import Frozen
from treasury_providers.aws.settings import Settings
from treasury_providers.aws.userdata import user_data
from treasury_providers.common.offers import Pool, read_offer
from treasury_providers.common.rates import text_from_rate
from treasury_providers.common.tags import (
    OFFER,
    OWNER,
    TOKEN,
    owner_value,
    read_tags,
    request_tags,
)

# A new machine may be unknown to other calls for so long.
_YOUNG: Final = MINUTE
# AWS takes no lower maximum price [nano-USD/h].
_BID_LEAST: Final = 1_000_000
_SPOT_REQUEST: Final = "spot-instances-request"
_TAGGED: Final = ("instance", "volume", "network-interface")
_ENDED: Final = ("shutting-down", "terminated")
_WHEN: Final = re.compile(r"\((\d{4}-\d\d-\d\d \d\d:\d\d:\d\d) (?:GMT|UTC)\)", re.ASCII)
# The states' reasons in our words.
_CAUSES: Final = {
    "Server.SpotInstanceTermination": "interrupted",
    "Server.SpotInstanceShutdown": "interrupted",
    "Client.UserInitiatedShutdown": "terminated",
    "Client.InstanceInitiatedShutdown": "shut down",
    "Server.InsufficientInstanceCapacity": "no capacity",
    "Server.InternalError": "failed to start",
    "Client.InternalError": "failed to start",
    "Client.VolumeLimitExceeded": "volume quota",
}


class Known(msgspec.Struct, frozen=True):
    """Where a machine of ours is, and whose. seen_at: when [ns] it was last heard of."""

    lease: LeaseId
    region: str
    seen_at: int


class Launch:
    """Acquire, release and list. `known`: machine -> what the last answers said of it."""

    def __init__(
        self,
        settings: Settings,
        site: Site,
        calls: Calls,
        capacity: Capacity,
        on_demand: Callable[[str, str], int],
    ) -> None:
        """on_demand: region, instance type -> nano-USD/h, 0 where it is not known yet."""
        self._settings, self._site, self._calls, self._capacity = settings, site, calls, capacity
        self._on_demand = on_demand
        self._frozen = Frozen(site)
        self.known: dict[str, Known] = {}
        self._born: dict[str, int] = {}

    async def acquire(self, request: Acquire) -> None:
        """See the port."""
        pool = read_offer(self._site.name, request.offer)
        if pool.region not in self._settings.regions:
            raise OfferGone(f"{request.offer}: {pool.region} is not among the regions in use")
        parameters = await self._frozen.get(request.token)
        if parameters is None:
            parameters = await self._parameters(request, pool)
            await self._frozen.put(request.token, parameters)
        answer = await self._calls.run(
            "ec2", pool.region, lambda ec2: ec2.run_instances(**parameters), pool="launch"
        )
        now = self._site.clock.now()
        for item in answer.get("Instances", ()):
            index = int(item.get("AmiLaunchIndex", 0))
            if index < len(request.leases):
                machine = item["InstanceId"]
                self.known[machine] = Known(request.leases[index], pool.region, now)
                self._born[machine] = now

    async def release(self, request: Release) -> None:
        """See the port."""
        machine = request.machine
        if not machine:
            listing = await self.leases()
            found = [i for i in listing if i.lease == request.lease and i.ended_at is None]
            if not found:
                return
            machine = found[0].machine
        known = self.known.get(machine)
        regions = [known.region] if known is not None else list(self._settings.regions)
        for region in regions:
            if await self._terminate(region, machine):
                return
        if self._site.clock.now() - self._born.get(machine, 0) < _YOUNG:
            raise Unreachable(f"{machine} is so new that AWS does not know it everywhere yet")

    async def _terminate(self, region: str, machine: str) -> bool:
        """Whether a region knew the machine, which is ended or ending then."""
        try:
            await self._calls.run(
                "ec2",
                region,
                lambda ec2: ec2.terminate_instances(InstanceIds=[machine]),
                pool="launch",
            )
        except LeaseUnknown:
            return False
        return True

    async def leases(self) -> list[LeaseSeen]:
        """See the port. Gone machines stay listed for as long as AWS shows them, about an hour."""
        asked_at = self._site.clock.now()
        found = await asyncio.gather(*(self._list(name) for name in self._settings.regions))
        listing = [item for items in found for item in items]
        listed = {
            item.machine: Known(item.lease, region, asked_at)
            for region, items in zip(self._settings.regions, found, strict=True)
            for item in items
        }
        young = {m: k for m, k in self.known.items() if k.seen_at > asked_at - 10 * MINUTE}
        self.known = {**young, **listed}
        self._born = {m: at for m, at in self._born.items() if at > asked_at - 10 * MINUTE}
        await self._frozen.prune(older_than=asked_at - DAY)
        return listing

    async def find(self, region: str, machine: str) -> Known | None:
        """Whose a machine is, asked by its name; None when it is not ours or not there."""
        try:
            items = await self._describe(region, InstanceIds=[machine])
        except LeaseUnknown:
            return None
        seen = [self._seen(region, item) for item in items]
        if not seen or seen[0] is None:
            return None
        known = self.known[machine] = Known(seen[0].lease, region, self._site.clock.now())
        return known

    async def _list(self, region: str) -> list[LeaseSeen]:
        owner = {"Name": f"tag:{OWNER}", "Values": [owner_value(self._site.installation)]}
        items = await self._describe(region, Filters=[owner], MaxResults=1_000)
        seen = (self._seen(region, item) for item in items)
        return [item for item in seen if item is not None]

    async def _describe(self, region: str, **parameters: Any) -> list[dict[str, Any]]:
        reservations = await self._calls.run(
            "ec2",
            region,
            lambda ec2: pages(ec2, "describe_instances", "Reservations", **parameters),
        )
        return [item for reservation in reservations for item in reservation["Instances"]]

    def _seen(self, region: str, item: dict[str, Any]) -> LeaseSeen | None:
        """A described instance as the port wants it; None for what is not ours."""
        tags = {tag["Key"]: tag["Value"] for tag in item.get("Tags", ())}
        marked = read_tags(self._site.installation, tags)
        index = int(item.get("AmiLaunchIndex", 0))
        if marked is None or index >= len(marked.leases):
            return None
        if item.get("ClientToken") != client_token(marked.token, tags.get(OFFER, "")):
            return None
        state = item.get("State", {}).get("Name", "")
        spot = item.get("InstanceLifecycle") == "spot"
        return LeaseSeen(
            lease=marked.leases[index],
            placement=marked.placement,
            machine=item["InstanceId"],
            granted_at=_instant(item["LaunchTime"]),
            # What spot costs now the quotes say; the listing does not.
            rate=0 if spot else self._on_demand(region, item.get("InstanceType", "")),
            token=marked.token,
            ended_at=self._ended_at(item) if state in _ENDED else None,
            cause=_cause(item) if state in _ENDED else "",
        )

    def _ended_at(self, item: dict[str, Any]) -> int:
        match = _WHEN.search(item.get("StateTransitionReason", ""))
        return parse_instant(match[1]) if match else self._site.clock.now()

    async def _parameters(self, request: Acquire, pool: Pool) -> dict[str, Any]:
        """The request as AWS gets it. Raises Declined for what cannot be asked at all."""
        settings = self._settings
        region = await self._capacity.region(pool.region)
        machine = region.machines.get(pool.instance)
        if machine is None or pool.zone not in machine.zones:
            raise OfferGone(f"{request.offer} is not sold any more")
        image = settings.image(pool.region)
        if not image:
            raise Declined(f"provider.{self._site.name}.images has no image for {pool.region}")
        tags = request_tags(self._site.installation, request)
        count = len(request.leases)
        parameters: dict[str, Any] = {
            "MinCount": count,
            "MaxCount": count,
            "ClientToken": client_token(tags[TOKEN], tags[OFFER]),
            "ImageId": image,
            "InstanceType": pool.instance,
            "UserData": user_data(self._site.boot, request),
            "MetadataOptions": {"HttpTokens": "required", "HttpEndpoint": "enabled"},
            # What the machine's own dead man does ends the bill, too.
            "InstanceInitiatedShutdownBehavior": "terminate",
            "TagSpecifications": [
                {"ResourceType": kind, "Tags": [{"Key": k, "Value": v} for k, v in tags.items()]}
                for kind in (*_TAGGED, *((_SPOT_REQUEST,) if pool.tenure is Tenure.SPOT else ()))
            ],
        }
        subnet = settings.subnets.get(pool.zone)
        if subnet:
            parameters["SubnetId"] = subnet
        else:
            parameters["Placement"] = {"AvailabilityZone": region.zones[pool.zone]}
        if pool.tenure is Tenure.SPOT:
            parameters["InstanceMarketOptions"] = _spot_options(request.bid)
        return parameters | _machine_options(settings, pool.region)


def client_token(token: str, offer_tag: str) -> str:
    """AWS's idempotency token, at most 64 characters. A token holds in one region and zone only,
    both of which are in the offer."""
    return hashlib.sha256(f"{token}|{offer_tag}".encode()).hexdigest()[:60]


def _spot_options(bid: int) -> dict[str, Any]:
    if bid <= _BID_LEAST:
        raise BidTooLow(f"AWS takes maximum prices above {text_from_rate(_BID_LEAST, 3)} USD/h")
    return {
        "MarketType": "spot",
        "SpotOptions": {
            "MaxPrice": text_from_rate(bid, 6),
            "SpotInstanceType": "one-time",
            "InstanceInterruptionBehavior": "terminate",
        },
    }


def _machine_options(settings: Settings, region: str) -> dict[str, Any]:
    options: dict[str, Any] = {}
    if settings.security_groups.get(region):
        options["SecurityGroupIds"] = list(settings.security_groups[region])
    if settings.instance_profile:
        key = "Arn" if settings.instance_profile.startswith("arn:") else "Name"
        options["IamInstanceProfile"] = {key: settings.instance_profile}
    if settings.key_name:
        options["KeyName"] = settings.key_name
    if settings.disk_gib:
        volume = {"VolumeSize": settings.disk_gib, "VolumeType": "gp3", "DeleteOnTermination": True}
        options["BlockDeviceMappings"] = [{"DeviceName": settings.root_device, "Ebs": volume}]
    return options


def _instant(moment: datetime) -> int:
    delta = moment.astimezone(UTC) - datetime(1970, 1, 1, tzinfo=UTC)
    return (delta.days * 86_400 + delta.seconds) * SECOND + delta.microseconds * 1_000


def _cause(item: dict[str, Any]) -> str:
    code = item.get("StateReason", {}).get("Code", "")
    return _CAUSES.get(code, code or "ended")
