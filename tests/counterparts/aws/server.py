"""The pretend AWS: a moto server behind a proxy that adds what moto lacks.

moto judges requests, knows the instance types, and carries EventBridge to SQS. The proxy adds
client tokens, scripted prices with real pages, placement scores, price lists, quotas, listings
that lag and break off, faults, and a clock and a meter of its own. What boto3 asks for goes over
HTTP to here; `alone` answers launches without moto, for runs of many thousands.
"""

import asyncio
import base64
import json
import re
from collections import deque
from collections.abc import Mapping, Sequence
from email.utils import formatdate
from typing import Any

from aiohttp import web

from tests.counterparts.aws import answers, wire
from tests.counterparts.aws.moto import Moto
from tests.counterparts.cloud import Cloud, Machine
from treasury.domain.ids import OfferId
from treasury.domain.market import Offer, Tenure
from treasury.domain.money import parse_rate
from treasury.domain.time import HOUR, SECOND
from treasury.ports import Clock
from treasury_simulations.conformance import Fault, Operation

# What must never leave the adapter: the SDK's key, and what a policy's message might carry.
ACCESS_KEY = "AKIACANARYCANARY0001"
SECRET_KEY = "canary/secret+access+key/0123456789abcdef"
ENCODED = "canaryEncodedAuthorisationMessage" * 4
_SCOPE = re.compile(r"Credential=[^/]+/\d+/([\w-]+)/([\w-]+)/")
_INSTANCE = re.compile(rb"<instanceId>(i-[0-9a-f]+)</instanceId>")
_CATALOGUE = ("DescribeInstanceTypes", "DescribeInstanceTypeOfferings", "DescribeAvailabilityZones")
_KINDS = ("instance", "volume", "network-interface")


class Aws(Cloud):
    """One account. zones: region -> AZ id -> its name there.

    page_size: of every listing. shown: how long [ns] gone machines stay listed.
    """

    def __init__(
        self,
        clock: Clock,
        pools: Sequence[tuple[Offer, int]],
        zones: Mapping[str, Mapping[str, str]],
        *,
        alone: bool = False,
    ) -> None:
        super().__init__(clock, pools, SECOND)
        self.zones = zones
        self.alone = alone
        self.page_size = 100
        self.shown = HOUR
        self.scores: dict[str, int] = {}
        self.vcpus: dict[str, int] = {}
        self.url = ""
        self.moto = Moto()
        self._answers: dict[tuple[str, str], tuple[dict[str, str], list[Machine]]] = {}
        self._shelf: dict[tuple[str, bytes], bytes] = {}
        self._launching = asyncio.Lock()
        self._departed: deque[Machine] = deque()
        self._runner: web.AppRunner | None = None

    # --- coming and going ------------------------------------------------------------------------

    async def start(self) -> None:
        """Listen on a free port of this host."""
        await self.moto.start(self.zones)
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._handle)
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"

    async def close(self) -> None:
        """Stop listening."""
        await super().close()
        if self._runner is not None:
            await self._runner.cleanup()
        await self.moto.close()

    # --- the Counterpart's handles ---------------------------------------------------------------

    secrets = (ACCESS_KEY, SECRET_KEY, ENCODED)
    can = frozenset({
        "set_rate", "set_depth", "set_lag", "interrupt", "notices", "add_foreign",
        *(fault.value for fault in Fault),
    })  # fmt: skip

    async def interrupt(self, machine: str, *, notices: int = 1) -> int:
        """EventBridge says it, `notices` times; the machine is taken two minutes later."""
        found = self.alive[machine]
        ends_at = self.take(found, 120 * SECOND)
        await self.notify(found, notices)
        return ends_at

    async def notify(self, machine: Machine, times: int = 1) -> None:
        """The warning alone."""
        detail = {"instance-id": machine.name, "instance-action": "terminate"}
        await self.moto.put_event(machine.offer.region, detail, self.now(), times)

    async def add_foreign(self, offer: OfferId) -> str:
        """Somebody copies one of our machines in the console, tags and all, or starts their own."""
        ours = next(iter(self.alive.values()), None)
        tags = {"Name": "somebody's"} if ours is None else dict(ours.tags)
        machine = self.make(f"i-{len(self.all):017x}", offer, tags)
        machine.body = {"token": "somebody-elses", "index": 0, "group": "r-0"}
        return machine.name

    # --- HTTP ------------------------------------------------------------------------------------

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        scope = _SCOPE.search(request.headers.get("Authorization", ""))
        region, service = (scope[1], scope[2]) if scope else ("us-east-1", "")
        if service == "ec2":
            parameters = wire.parse_form(body)
            handle = getattr(self, f"_{parameters.get('Action', '').lower()}", None)
            if handle is not None:
                return await handle(request, region, parameters, body)
            if parameters.get("Action") in _CATALOGUE:
                return await self._shelved(request, region, body)
        if service == "pricing":
            return await self._json(request, answers.products(self, json.loads(body)))
        if service == "servicequotas":
            return await self._json(request, answers.quotas(self.vcpus))
        return self._date(await self._forward(request, body))

    async def _shelved(self, request: web.Request, region: str, body: bytes) -> web.Response:
        """Moto's answer to a question about the catalogue, asked once: it thinks for seconds."""
        key = (region, body)
        if key not in self._shelf:
            answer = await self._forward(request, body)
            assert isinstance(answer.body, bytes)
            self._shelf[key] = answer.body
        return self._xml(self._shelf[key])

    async def _forward(self, request: web.Request, body: bytes) -> web.Response:
        return await self.moto.forward(request, body)

    def _date(self, response: web.Response) -> web.Response:
        response.headers["Date"] = formatdate(self.now() // SECOND, usegmt=True)
        return response

    def _xml(self, body: bytes, status: int = 200) -> web.Response:
        return self._date(web.Response(status=status, body=body, content_type="text/xml"))

    async def _json(self, request: web.Request, body: Mapping[str, Any]) -> web.StreamResponse:
        fault = await self.meet(Operation.QUOTE)
        if fault is not None:
            return self._fault(request, fault, Tenure.SPOT)
        text = json.dumps(body)
        return self._date(web.Response(text=text, content_type="application/x-amz-json-1.1"))

    def _fault(self, request: web.Request, fault: Fault, tenure: Tenure) -> web.Response:
        spot = tenure is Tenure.SPOT
        if fault is Fault.GARBAGE:
            return self._xml(b"<html>it works</html", 200)
        if fault is Fault.LOST_ANSWER:
            assert request.transport is not None
            request.transport.abort()
            return web.Response()
        secret = f"key {ACCESS_KEY}, secret={SECRET_KEY}; encoded: {ENCODED}"
        status, code, message = {
            Fault.NO_CAPACITY: (500, "InsufficientInstanceCapacity", "no capacity, come again"),
            Fault.QUOTA: (
                400,
                "MaxSpotInstanceCountExceeded" if spot else "VcpuLimitExceeded",
                "Max spot instance count exceeded",
            ),
            Fault.THROTTLED: (503, "RequestLimitExceeded", "Request limit exceeded."),
            Fault.FORBIDDEN: (403, "UnauthorizedOperation", f"not authorised: {secret}"),
            Fault.UNAVAILABLE: (
                (500, "InternalError", f"an error has occurred: {secret}")
                if self.dice.random() < 0.5
                else (503, "Unavailable", "The server is overloaded")
            ),
            Fault.HALF_PAGE: (500, "InternalError", "page lost"),
        }[fault]
        return self._xml(wire.error(code, message), status)

    # --- EC2 actions -----------------------------------------------------------------------------

    async def _runinstances(
        self, request: web.Request, region: str, asked: dict[str, str], body: bytes
    ) -> web.StreamResponse:
        if asked.get("DryRun") == "true":
            return self._xml(wire.error("DryRunOperation", "Request would have succeeded"), 412)
        spot = asked.get("InstanceMarketOptions.MarketType") == "spot"
        tenure = Tenure.SPOT if spot else Tenure.ON_DEMAND
        fault = await self.meet(Operation.ACQUIRE)
        if fault is not None and fault is not Fault.LOST_ANSWER:
            return self._fault(request, fault, tenure)
        # One at a time: a repetition of a request that is still under way waits for its answer.
        async with self._launching:
            made = await self._launch(request, region, tenure, asked, body)
        if isinstance(made, web.Response):
            return made
        if fault is Fault.LOST_ANSWER:
            return self._fault(request, fault, tenure)
        zone_names = self.zones[region]
        inner = [wire.instance(m, "running", zone_names[m.offer.zone]) for m in made]
        return self._xml(wire.wrap("RunInstances", wire.instances(inner)))

    async def _launch(
        self,
        request: web.Request,
        region: str,
        tenure: Tenure,
        asked: dict[str, str],
        body: bytes,
    ) -> list[Machine] | web.Response:
        """The machines of a request: those of its first time where it is a repetition."""
        token = asked.get("ClientToken", "")
        known = self._answers.get((region, token))
        if known is not None and token:
            if known[0] == asked:
                return known[1]
            text = "Arguments on this idempotent request are inconsistent"
            return self._xml(wire.error("IdempotentParameterMismatch", text), 400)
        refusal = self._refusal(region, tenure, asked)
        if refusal is not None:
            return self._xml(wire.error(*refusal[1:]), refusal[0])
        names = [] if self.alone else await self._judged(request, body)
        if names is None:
            return self._xml(wire.error("InvalidParameterValue", "moto refuses it"), 400)
        made = self._make(region, tenure, asked, names)
        self._answers[region, token] = (asked, made)
        return made

    def _refusal(
        self, region: str, tenure: Tenure, asked: Mapping[str, str]
    ) -> tuple[int, str, str] | None:
        offer = self._offer(region, tenure, asked)
        if offer is None:
            return (400, "Unsupported", "not offered in this zone")
        base64.b64decode(asked["UserData"], validate=True)
        if asked["MinCount"] != asked["MaxCount"]:
            self.violations.append("a gang that is not all or nothing")
        for kind in _KINDS:
            if wire.tags(asked, kind) != wire.tags(asked, "instance"):
                self.violations.append(f"no tags on the {kind}")
        if asked.get("MetadataOptions.HttpTokens") != "required":
            self.violations.append("IMDSv1 is allowed")
        if self.short(offer.id, int(asked["MinCount"])):
            return (500, "InsufficientInstanceCapacity", "no such capacity")
        limit = asked.get("InstanceMarketOptions.SpotOptions.MaxPrice")
        if limit is not None and parse_rate(f"{limit} USD/h") < self.pools[offer.id].rate:
            return (400, "SpotMaxPriceTooLow", "Your Spot request price is too low")
        return None

    def _offer(self, region: str, tenure: Tenure, asked: Mapping[str, str]) -> Offer | None:
        zone_name = asked.get("Placement.AvailabilityZone", "")
        for pool in self.pools.values():
            offer = pool.offer
            if (offer.region, offer.tenure) == (region, tenure):
                same_zone = self.zones[region][offer.zone] == zone_name
                if same_zone and offer.shape.instance == asked["InstanceType"]:
                    return offer
        return None

    async def _judged(self, request: web.Request, body: bytes) -> list[str] | None:
        """Moto's own machines for a request, None when it refuses."""
        answer = await self._forward(request, body)
        assert isinstance(answer.body, bytes)
        if answer.status != 200:
            self.violations.append(answer.body.decode())
            return None
        return [name.decode() for name in _INSTANCE.findall(answer.body)]

    def _make(
        self, region: str, tenure: Tenure, asked: Mapping[str, str], names: Sequence[str]
    ) -> list[Machine]:
        offer = self._offer(region, tenure, asked)
        assert offer is not None
        given, made = wire.tags(asked, "instance"), []
        group = f"r-{len(self.all):017x}"
        for index in range(int(asked["MinCount"])):
            name = names[index] if names else f"i-{len(self.all):017x}"
            machine = self.make(name, offer.id, given)
            machine.body = {"token": asked["ClientToken"], "index": index, "group": group}
            made.append(machine)
        return made

    async def _terminateinstances(
        self, request: web.Request, region: str, asked: dict[str, str], body: bytes
    ) -> web.StreamResponse:
        fault = await self.meet(Operation.RELEASE)
        if fault is not None and fault is not Fault.LOST_ANSWER:
            return self._fault(request, fault, Tenure.SPOT)
        names = wire.items(asked, "InstanceId")
        known = {m.name: m for m in (*self._departed, *self.alive.values())}
        for name in names:
            if name not in known or known[name].offer.region != region:
                text = f"The instance ID '{name}' does not exist"
                return self._xml(wire.error("InvalidInstanceID.NotFound", text), 400)
        for name in names:
            self.end(known[name], "user")
        if not self.alone:
            await self._forward(request, body)
        if fault is Fault.LOST_ANSWER:
            return self._fault(request, fault, Tenure.SPOT)
        return self._xml(wire.wrap("TerminateInstances", "<instancesSet/>"))

    async def _describeinstances(
        self, request: web.Request, region: str, asked: dict[str, str], body: bytes
    ) -> web.StreamResponse:
        del body
        first = int(asked.get("NextToken") or 0)
        fault = await self.meet(Operation.LIST)
        if fault is Fault.HALF_PAGE and first == 0:
            # The first page arrives; the rest of the order is kept for the second.
            self.fail(Operation.LIST, Fault.UNAVAILABLE)
            fault = None
        if fault is not None:
            return self._fault(request, fault, Tenure.SPOT)
        rows = self._rows(region, asked)
        if rows is None:
            return self._xml(wire.error("InvalidInstanceID.NotFound", "does not exist"), 400)
        zones = self.zones[region]
        shown = [
            (str(machine.body["group"]), [wire.instance(machine, state, zones[machine.offer.zone])])
            for machine, state in rows[first : first + self.page_size]
        ]
        more = first + self.page_size if first + self.page_size < len(rows) else ""
        inner = wire.reservations(shown) + wire.element("nextToken", more)
        return self._xml(wire.wrap("DescribeInstances", inner))

    def _rows(self, region: str, asked: Mapping[str, str]) -> list[tuple[Machine, str]] | None:
        """Machines and the states a listing shows: late, and gone ones for an hour."""
        now, wanted = self.now(), wire.items(asked, "InstanceId")
        while self._departed and (self._departed[0].ended_at or 0) < now - self.shown:
            self._departed.popleft()
        rows = []
        for machine in (*self._departed, *self.alive.values()):
            if machine.offer.region != region or now < machine.granted_at + self.lag:
                continue
            if wanted and machine.name not in wanted:
                continue
            if any(machine.tags.get(key[4:]) not in v for key, v in wire.filters(asked).items()):
                continue
            gone = machine.ended_at is not None and now >= machine.ended_at + self.lag
            rows.append((machine, "terminated" if gone else "running"))
        return None if len(rows) < len(wanted) else rows

    def end(self, machine: Machine, cause: str) -> None:
        """A machine is gone; it stays listed for a while."""
        if machine.ended_at is None:
            self._departed.append(machine)
        super().end(machine, cause)

    async def _describespotpricehistory(
        self, request: web.Request, region: str, asked: dict[str, str], body: bytes
    ) -> web.StreamResponse:
        del body
        fault = await self.meet(Operation.QUOTE)
        if fault is not None:
            return self._fault(request, fault, Tenure.SPOT)
        return self._xml(
            answers.spot_history(self, region, self.zones[region], asked, self.page_size)
        )

    async def _getspotplacementscores(
        self, request: web.Request, region: str, asked: dict[str, str], body: bytes
    ) -> web.StreamResponse:
        del request, asked, body
        return self._xml(answers.placement_scores(self.scores, region))
