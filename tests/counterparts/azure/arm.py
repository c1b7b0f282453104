"""A pretend Azure: Resource Manager and the retail price list on one loopback address."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Self

import msgspec
from aiohttp import web

from tests.counterparts.azure.contract import problems
from tests.counterparts.azure.facts import GROUP, SIZES, SUBSCRIPTION, Facts, Size, vm_path
from tests.counterparts.cloud import Cloud, Machine, Served, stamp
from treasury.domain.hardware import Shape
from treasury.domain.ids import OfferId, ProviderName
from treasury.domain.market import Capabilities, Offer, Tenure, offer_id
from treasury.domain.money import NANO
from treasury.domain.time import SECOND
from treasury.ports import Clock
from treasury_simulations.conformance import Fault, Operation

TOKEN = "canary-azure-token-7f3a"
_BROKEN = web.RequestKey("broken", bool)
_FAULTS = {
    Fault.NO_CAPACITY: (409, "SkuNotAvailable", "The requested size is not available."),
    Fault.QUOTA: (
        409,
        "OperationNotAllowed",
        "Operation results in exceeding approved LowPriorityCores Cores quota.",
    ),
    Fault.THROTTLED: (429, "TooManyRequests", "The request limit has been reached."),
    Fault.FORBIDDEN: (403, "AuthorizationFailed", "The client does not have authorization."),
    Fault.UNAVAILABLE: (503, "ServerTimeout", "The server is busy."),
}


class Arm(Served, Facts):
    """The counterpart of the Azure adapter. launch: how long a machine takes to be made [ns].
    late: launches that fail do so after they were accepted, every other one or as told."""

    def __init__(
        self,
        clock: Clock,
        capabilities: Capabilities,
        name: str = "azure",
        sizes: Sequence[Size] = SIZES,
    ) -> None:
        self.clock, self.name, self.sizes = clock, name, sizes
        self.secrets: Sequence[str] = (TOKEN,)
        self.can = frozenset(
            ("machines", "set_rate", "set_depth", "set_lag", "interrupt", "notices", "add_foreign")
        ) | frozenset(fault.value for fault in Fault)
        self.cloud = Cloud(clock, list(self._pools(capabilities)), grain=1_000)
        self.cloud.on_take = self._evict
        self.notice = capabilities.notice_ns
        self.launch = 0
        self.late: bool | None = None
        self.page = 2
        self.quota = 100_000
        self.evicted: list[tuple[Machine, int]] = []
        self._operations: dict[str, tuple[Machine, str, int]] = {}
        self._open: set[str] = set()
        self._refusals = 0

    def _pools(self, able: Capabilities) -> Any:
        for size in self.sizes:
            zones = [zone for zone in size.zones if zone not in size.restricted]
            for zone in zones or [""]:
                for tenure, rate in (
                    (Tenure.SPOT, size.spot),
                    (Tenure.ON_DEMAND, size.regular),
                ):
                    terms = msgspec.structs.replace(able, floating=tenure is Tenure.SPOT)
                    shape = Shape(size.gpu, int(size.gpus), 80, size.name)
                    name = ProviderName(self.name)
                    offer = offer_id(name, size.region, zone, size.name, tenure)
                    yield Offer(offer, name, size.region, zone, shape, tenure, terms), rate

    # --- the server ------------------------------------------------------------------------------

    async def __aenter__(self) -> Self:
        app = web.Application()
        base = f"/subscriptions/{SUBSCRIPTION}"
        group = f"{base}/resourceGroups/{{group}}"
        vms = f"{group}/providers/Microsoft.Compute/virtualMachines"
        there = f"{base}/providers/Microsoft.Compute/locations/{{region}}"
        routes: list[tuple[str, str, Operation | None, Any]] = [
            ("PUT", f"{vms}/{{name}}", Operation.ACQUIRE, self._put),
            ("DELETE", f"{vms}/{{name}}", Operation.RELEASE, self._delete),
            ("GET", f"{vms}/{{name}}", None, self._get),
            ("GET", f"{vms}/{{name}}/instanceView", None, self._view),
            ("POST", f"{vms}/{{name}}/simulateEviction", None, self._drill),
            ("GET", vms, Operation.LIST, self._list),
            ("GET", f"{there}/operations/{{id}}", None, self._operation),
            ("GET", f"{there}/usages", None, self._usages),
            ("POST", f"{there}/placementScores/spot/generate", None, self._scores),
            ("GET", f"{base}/providers/Microsoft.Compute/skus", Operation.OFFERS, self._skus),
            ("POST", "/providers/Microsoft.ResourceGraph/resources", None, self._graph),
            ("GET", f"{group}/providers/Microsoft.Authorization/permissions", None, self._rights),
            ("GET", base, None, self._subscription),
            ("GET", "/api/retail/prices", Operation.QUOTE, self._retail),
        ]
        for method, path, operation, handler in routes:
            app.router.add_route(method, path, self._guarded(operation, handler))
        return await self._serve(app)

    def _guarded(
        self, operation: Operation | None, handler: Callable[[web.Request], Awaitable[Any]]
    ) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
        """A handler behind the door: signed in, with an API version, unless it meets a fault."""

        async def guarded(request: web.Request) -> web.StreamResponse:
            fault = await self.cloud.meet(operation) if operation is not None else None
            public = request.path.startswith("/api/retail")
            if not public and request.headers.get("Authorization") != f"Bearer {TOKEN}":
                return self._problem(401, "InvalidAuthenticationToken", "The token is invalid.")
            if "api-version" not in request.query:
                return self._problem(400, "MissingApiVersionParameter", "api-version is missing.")
            if fault in _FAULTS:
                # Echoed back as some services do: it must stop at the adapter.
                status, code, text = _FAULTS[fault]
                return self._problem(status, code, f"{text} Authorization: Bearer {TOKEN}")
            if fault is Fault.GARBAGE:
                return self._dated(web.Response(body=b"<html>gateway</html>", status=200))
            if fault is Fault.HALF_PAGE:
                request[_BROKEN] = True
            answer: web.StreamResponse = await handler(request)
            if fault is Fault.LOST_ANSWER:
                return await _broken_off(request, answer.status)
            return self._dated(answer)

        return guarded

    def _dated(self, answer: web.StreamResponse) -> web.StreamResponse:
        from email.utils import formatdate

        answer.headers["Date"] = formatdate(self.cloud.now() / SECOND, usegmt=True)
        return answer

    def _problem(self, status: int, code: str, text: str) -> web.StreamResponse:
        headers = {"Retry-After": "7"} if status in (429, 503) else {}
        body = {"error": {"code": code, "message": text}}
        return self._dated(web.json_response(body, status=status, headers=headers))

    # --- machines --------------------------------------------------------------------------------

    async def _put(self, request: web.Request) -> web.StreamResponse:
        from azure.mgmt.compute.models import VirtualMachine

        name, body = request.match_info["name"], await request.json()
        wrong = problems(VirtualMachine, body)
        if len(name) > 64 or wrong:
            self.cloud.violations.append(f"{name}: {wrong}")
            return self._problem(400, "InvalidParameter", "; ".join(wrong))
        known = self.cloud.alive.get(name)
        if request.headers.get("If-None-Match") != "*":
            self.cloud.violations.append(f"{name}: would overwrite a machine")
        if known is not None:
            return self._problem(412, "PreconditionFailed", f"{name} exists.")
        properties = body["properties"]
        tenure = Tenure.SPOT if properties["priority"] == "Spot" else Tenure.ON_DEMAND
        zone = (body.get("zones") or [""])[0]
        size = properties["hardwareProfile"]["vmSize"]
        offer = offer_id(self.name, body["location"], zone, size, tenure)
        pool = self.cloud.pools.get(offer)
        if pool is None:
            return self._problem(409, "SkuNotAvailable", f"{size} is not sold there.")
        most = properties.get("billingProfile", {}).get("maxPrice", -1)
        if tenure is Tenure.SPOT and most != -1 and most * NANO < pool.rate:
            code = "SpotPriceGreaterThanProvidedMaxPrice"
            return self._problem(409, code, f"The price is {pool.rate / NANO}.")
        short = self.cloud.short(offer)
        if short and not self._fails_late():
            return self._problem(409, "SkuNotAvailable", f"{size} is sold out.")
        machine = self.cloud.make(name, offer, body["tags"])
        machine.state = "Creating"
        body["properties"].pop("osProfile", None)
        machine.body = body
        verdict = "AllocationFailed" if short else "Succeeded"
        return self._started(machine, verdict, self.launch, 201)

    def _fails_late(self) -> bool:
        self._refusals += 1
        return self._refusals % 2 == 0 if self.late is None else self.late

    def _started(
        self, machine: Machine, verdict: str, takes: int, status: int
    ) -> web.StreamResponse:
        key = f"op-{len(self._operations) + 1}"
        self._operations[key] = (machine, verdict, self.cloud.now() + takes)
        if verdict != "Deleted":
            self._open.add(key)
        url = (
            f"{self.url}/subscriptions/{SUBSCRIPTION}/providers/Microsoft.Compute/locations/"
            f"{machine.offer.region}/operations/{key}?api-version=2026-04-01"
        )
        body = self._vm(machine) if status == 201 else None
        return web.json_response(body, status=status, headers={"Azure-AsyncOperation": url})

    def _vm(self, machine: Machine) -> dict[str, Any]:
        properties = {
            **machine.body.get("properties", {}),  # type: ignore[dict-item]
            "provisioningState": machine.state,
            "timeCreated": f"{stamp(machine.granted_at, 7)}+00:00",
            "vmId": f"id-{machine.number}",
        }
        kind = "Microsoft.Compute/virtualMachines"
        body = {**machine.body, "id": vm_path(machine.name), "name": machine.name, "type": kind}
        return {**body, "tags": machine.tags, "properties": properties}

    async def _operation(self, request: web.Request) -> web.StreamResponse:
        machine, verdict, due = self._operations[request.match_info["id"]]
        if self.cloud.now() < due:
            return web.json_response({"status": "InProgress"})
        body: dict[str, Any] = {"startTime": stamp(due, 7) + "Z"}
        if verdict == "Deleted":
            body |= {"status": "Succeeded", "endTime": stamp(machine.ended_at or due, 7) + "Z"}
        elif verdict == "Succeeded":
            if machine.state == "Creating":
                machine.state = "Succeeded"
            body |= {"status": "Succeeded", "endTime": stamp(due, 7) + "Z"}
        else:
            self._fail(machine, verdict)
            error = {"code": verdict, "message": "Allocation failed. No capacity there."}
            body |= {"status": "Failed", "error": error}
        return web.json_response(body)

    def _fail(self, machine: Machine, verdict: str) -> None:
        if machine.state == "Creating":
            machine.state, machine.cause = "Failed", verdict
            self.cloud.unmake(machine)

    def settle(self) -> None:
        """Let every operation that is due take effect, asked for or not."""
        for key in list(self._open):
            machine, verdict, due = self._operations[key]
            if machine.state != "Creating":
                self._open.discard(key)
            elif self.cloud.now() >= due and verdict == "Succeeded":
                machine.state = "Succeeded"
            elif self.cloud.now() >= due:
                self._fail(machine, verdict)

    async def _delete(self, request: web.Request) -> web.StreamResponse:
        machine = self.cloud.alive.get(request.match_info["name"])
        if request.match_info["group"] != GROUP:
            return self._problem(404, "ResourceGroupNotFound", "There is no such group.")
        if machine is None:
            return web.Response(status=204)
        self.cloud.end(machine, "deleted")
        return self._started(machine, "Deleted", 0, 202)

    async def _get(self, request: web.Request) -> web.StreamResponse:
        self.settle()
        machine = self.cloud.alive.get(request.match_info["name"])
        if machine is None:
            return self._problem(404, "ResourceNotFound", "It was not found.")
        return web.json_response(self._vm(machine))

    async def _view(self, request: web.Request) -> web.StreamResponse:
        self.settle()
        machine = self.cloud.alive.get(request.match_info["name"])
        if machine is None:
            return self._problem(404, "ResourceNotFound", "It was not found.")
        code = f"ProvisioningState/{machine.state.lower()}"
        if machine.state == "Failed":
            code += f"/{machine.cause}"
        return web.json_response({"statuses": [{"code": code, "message": "No capacity."}]})

    async def _drill(self, request: web.Request) -> web.StreamResponse:
        await self.interrupt(request.match_info["name"])
        return web.Response(status=204)

    async def _list(self, request: web.Request) -> web.StreamResponse:
        self.settle()
        if request.match_info["group"] != GROUP:
            return self._problem(404, "ResourceGroupNotFound", "There is no such group.")
        start = int(request.query.get("$skiptoken", "0"))
        if start and request.query.get("broken"):
            return self._problem(500, "InternalError", "The page is gone.")
        seen = self.cloud.visible()
        page = [self._vm(machine) for machine in seen[start : start + self.page]]
        body: dict[str, Any] = {"value": page}
        if start + self.page < len(seen) or request.get(_BROKEN):
            query = f"api-version=2026-04-01&$skiptoken={start + self.page}"
            broken = "&broken=1" if request.get(_BROKEN) else ""
            body["nextLink"] = f"{self.url}{request.path}?{query}{broken}"
        return web.json_response(body)

    # --- the Counterpart's handles ---------------------------------------------------------------

    def __getattr__(self, name: str) -> Any:
        return getattr(self.cloud, name)

    def set_rate(self, offer: OfferId, rate: int) -> None:
        """Azure asks the same in every zone of a region."""
        place = self.cloud.pools[offer].offer
        for other, pool in self.cloud.pools.items():
            same = (pool.offer.region, pool.offer.shape, pool.offer.tenure)
            if same == (place.region, place.shape, place.tenure):
                self.cloud.set_rate(other, rate)

    async def interrupt(self, machine: str, *, notices: int = 1) -> int:
        """An annotation (as often as `notices`) now, and eviction when the notice is over."""
        return self.cloud.take(self.cloud.alive[machine], self.notice, notices)

    def _evict(self, victim: Machine, at: int, times: int) -> None:
        self.evicted.extend([(victim, at)] * times)

    async def add_foreign(self, offer: OfferId) -> str:
        """Somebody else's machine in the same resource group."""
        name = f"foreign-{len(self.cloud.all)}"
        tags = {"treasury-owner": "somebody-else", "treasury-lease": "1"}
        self.cloud.make(name, offer, tags).state = "Succeeded"
        return name


async def _broken_off(request: web.Request, status: int) -> web.StreamResponse:
    """An answer that breaks off. With nothing at all, aiohttp would ask an idempotent call again
    by itself; here it cannot know whether anything is missing."""
    answer = web.StreamResponse(status=status, headers={"Content-Length": "4096"})
    await answer.prepare(request)
    await answer.write(b"{")
    if request.transport is not None:
        request.transport.abort()
    return answer
