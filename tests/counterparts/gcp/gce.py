"""A pretend Google Cloud: the compute API and the billing catalogue on one loopback address."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from email.utils import formatdate
from typing import Any, Self

from aiohttp import web

from tests.counterparts.cloud import Cloud, Machine, Served, stamp
from tests.counterparts.gcp.contract import Method, contract
from tests.counterparts.gcp.facts import PROJECT, TYPES, Facts, Type
from treasury.domain.ids import OfferId
from treasury.domain.market import Capabilities, Tenure, offer_id
from treasury.domain.time import SECOND
from treasury.ports import Clock
from treasury_simulations.conformance import Fault, Operation

TOKEN = "canary-google-token-51bd"
_FAULTS = {
    Fault.THROTTLED: (403, "rateLimitExceeded", "Rate Limit Exceeded"),
    Fault.FORBIDDEN: (403, "forbidden", "Required permission is missing"),
    Fault.UNAVAILABLE: (503, "backendError", "Backend Error"),
}
# What is refused inside an operation that is answered with 200.
_REFUSALS = {
    Fault.NO_CAPACITY: ("ZONE_RESOURCE_POOL_EXHAUSTED_WITH_DETAILS", 503),
    Fault.QUOTA: ("QUOTA_EXCEEDED", 403),
}
_OPERATIONS = {
    "compute.instances.insert": Operation.ACQUIRE,
    "compute.instances.bulkInsert": Operation.ACQUIRE,
    "compute.instances.delete": Operation.RELEASE,
    "compute.instances.aggregatedList": Operation.LIST,
    "compute.machineTypes.aggregatedList": Operation.OFFERS,
    "compute.advice.capacityHistory": Operation.QUOTE,
}


class Gce(Served, Facts):
    """The counterpart of the Google adapter. launch: how long an insertion takes [ns]."""

    def __init__(
        self,
        clock: Clock,
        capabilities: Capabilities,
        name: str = "gcp",
        types: Sequence[Type] = TYPES,
    ) -> None:
        self.clock, self.name, self.types = clock, name, types
        self.secrets: Sequence[str] = (TOKEN,)
        self.can = frozenset(
            ("machines", "set_rate", "set_depth", "set_lag", "interrupt", "notices", "add_foreign")
        ) | frozenset(fault.value for fault in Fault)
        self.cloud = Cloud(clock, list(self._pools(capabilities)), grain=1_000_000)
        self.cloud.on_take = self._preempt
        self.notice = capabilities.notice_ns
        self.launch = 0
        self.page = 2
        self.operations: dict[str, dict[str, Any]] = {}
        self._requests: dict[str, str] = {}
        self._due: list[tuple[int, str, Callable[[], None]]] = []
        self._api, self._billing = contract("compute.v1"), contract("cloudbilling.v1")

    # --- the server ------------------------------------------------------------------------------

    async def __aenter__(self) -> Self:
        app = web.Application()
        app.router.add_route("*", "/{tail:.*}", self._answer)
        return await self._serve(app)

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        self.settle()
        api = self._billing if request.path.startswith("/v1/services") else self._api
        found = api.match(request.method, request.path)
        if found is None:
            return self._problem(404, "notFound", f"no method {request.method} {request.path}")
        method, parts = found
        operation = _OPERATIONS.get(method.id)
        fault = await self.cloud.meet(operation) if operation is not None else None
        if request.headers.get("Authorization") != f"Bearer {TOKEN}":
            return self._problem(401, "authError", "Invalid Credentials")
        if fault in _FAULTS:
            status, reason, text = _FAULTS[fault]
            # Echoed back as some services do: it must stop at the adapter.
            return self._problem(status, reason, f"{text} Authorization: Bearer {TOKEN}")
        if fault is Fault.GARBAGE:
            return self._dated(web.Response(body=b"<html>gateway</html>", status=200))
        body = await request.json() if request.can_read_body else None
        wrong = self._wrong(method, request, body)
        if wrong:
            self.cloud.violations.append(f"{method.id}: {wrong}")
            return self._problem(400, "invalid", "; ".join(wrong))
        answer = await self._handle(method, request, parts, body, fault)
        if fault is Fault.LOST_ANSWER and request.transport is not None:
            request.transport.abort()
        return self._dated(answer)

    def _wrong(self, method: Method, request: web.Request, body: Any) -> list[str]:
        unknown = sorted(set(request.query) - method.parameters - {"$alt"})
        wrong = [f"unknown parameter {name}" for name in unknown]
        if method.request and method.id.startswith("compute."):
            wrong.extend(self._api.problems(method.request, body))
        return wrong

    async def _handle(
        self,
        method: Method,
        request: web.Request,
        parts: dict[str, str],
        body: Any,
        fault: Fault | None,
    ) -> web.StreamResponse:
        name = method.id.replace(".", "_").removeprefix("compute_")
        handler: Callable[..., Awaitable[Any] | Any] | None = getattr(self, f"do_{name}", None)
        if handler is None:
            return self._problem(404, "notFound", f"{method.id} is not pretended")
        if parts.get("project", PROJECT) != PROJECT:
            return self._problem(404, "notFound", "no such project")
        answer = handler(parts, dict(request.query), body, fault)
        if asyncio.iscoroutine(answer):
            answer = await answer
        if isinstance(answer, web.StreamResponse):
            return answer
        api = self._api if method.id.startswith("compute.") else self._billing
        wrong = api.problems(method.response, answer)
        if wrong:
            # A mistake of the counterpart itself.
            self.cloud.violations.append(f"answer of {method.id}: {wrong}")
        return web.json_response(answer)

    def _dated(self, answer: web.StreamResponse) -> web.StreamResponse:
        answer.headers["Date"] = formatdate(self.cloud.now() / SECOND, usegmt=True)
        return answer

    def _problem(self, status: int, reason: str, text: str) -> web.StreamResponse:
        item = {"reason": reason, "domain": "global", "message": text}
        body = {"error": {"code": status, "message": text, "errors": [item]}}
        return self._dated(web.json_response(body, status=status))

    # --- operations ------------------------------------------------------------------------------

    def settle(self) -> None:
        """Let what is due take effect."""
        now = self.cloud.now()
        for due, name, effect in [entry for entry in self._due if entry[0] <= now]:
            self._due.remove((due, name, effect))
            self.operations[name]["status"] = "DONE"
            self.operations[name]["progress"] = 100
            self.operations[name]["endTime"] = _stamp(due)
            effect()

    def _operation(
        self,
        kind: str,
        zone: str,
        target: str,
        takes: int,
        effect: Callable[[], None],
        error: tuple[str, int] | None = None,
        at: int = 0,
    ) -> dict[str, Any]:
        """An operation that began `at` an instant [ns], 0 for now, and takes so long [ns]."""
        number = len(self.operations) + 1
        now = at or self.cloud.now()
        known = self.cloud.alive.get(f"{zone}/{target}")
        if kind == "insert" and known is not None:
            now = known.granted_at
        base = f"https://www.googleapis.com/compute/v1/projects/{PROJECT}/zones/{zone}"
        operation: dict[str, Any] = {
            "kind": "compute#operation",
            "id": str(7_000_000 + number),
            "name": f"operation-{number}",
            "zone": base,
            "operationType": kind,
            "status": "RUNNING",
            "progress": 0,
            "insertTime": _stamp(now),
            "startTime": _stamp(now),
            "targetLink": f"{base}/instances/{target}" if target else base,
        }
        if error is not None:
            code, status = error
            text = "The zone does not have enough resources available." if status == 503 else code
            operation["error"] = {"errors": [{"code": code, "message": text}]}
            operation["httpErrorStatusCode"] = status
            operation["httpErrorMessage"] = text.upper()
        self.operations[operation["name"]] = operation
        self._due.append((now + takes, operation["name"], effect))
        if not takes:
            self.settle()
        return operation

    def do_zoneOperations_get(self, parts: dict[str, str], *_: Any) -> Any:  # noqa: N802
        """An operation as it stands."""
        operation = self.operations.get(parts["operation"])
        if operation is None or not operation["zone"].endswith(f"/{parts['zone']}"):
            return self._problem(404, "notFound", "no such operation")
        return operation

    def do_globalOperations_aggregatedList(  # noqa: N802
        self, _parts: Any, query: dict[str, str], *_: Any
    ) -> Any:
        """Operations of some types, everywhere."""
        wanted = query.get("filter", "").replace("(", "").replace(")", "")
        types = {part.partition("=")[2].strip('" ') for part in wanted.split(" OR ")}
        found = [op for op in self.operations.values() if op["operationType"] in types]
        if query.get("orderBy") == "creationTimestamp desc":
            found.reverse()
        return self._paged(found, "operations", query, broken=False)

    # --- machines --------------------------------------------------------------------------------

    def do_instances_insert(
        self, parts: dict[str, str], query: dict[str, str], body: Any, fault: Fault | None
    ) -> Any:
        """One machine."""
        kind = body["machineType"].rpartition("/")[2]
        return self._insert(parts["zone"], query, [body["name"]], kind, body, fault)

    def do_instances_bulkInsert(  # noqa: N802
        self, parts: dict[str, str], query: dict[str, str], body: Any, fault: Fault | None
    ) -> Any:
        """As many as asked for, or none."""
        names = sorted(body["perInstanceProperties"])
        if int(body["count"]) != len(names) or int(body["minCount"]) != len(names):
            return self._problem(400, "invalid", "the counts differ")
        inner = body["instanceProperties"]
        return self._insert(parts["zone"], query, names, inner["machineType"], inner, fault)

    def _insert(
        self,
        zone: str,
        query: dict[str, str],
        names: list[str],
        machine_type: str,
        body: dict[str, Any],
        fault: Fault | None,
    ) -> Any:
        known = self._requests.get(query.get("requestId", ""))
        if known is not None:
            return self.operations[known]
        if any(f"{zone}/{name}" in self.cloud.alive for name in names):
            return self._problem(409, "alreadyExists", "The resource already exists")
        added = "".join(
            f"+{item['acceleratorCount']}x{item['acceleratorType'].rpartition('/')[2]}"
            for item in body.get("guestAccelerators", ())
        )
        spot = body["scheduling"]["provisioningModel"] == "SPOT"
        tenure = Tenure.SPOT if spot else Tenure.ON_DEMAND
        region = zone.rpartition("-")[0]
        offer = offer_id(self.name, region, zone, f"{machine_type}{added}", tenure)
        if offer not in self.cloud.pools:
            return self._problem(400, "invalid", f"{machine_type} is not sold in {zone}")
        refusal = _REFUSALS.get(fault) if fault is not None else None
        if refusal is None and self.cloud.short(offer, len(names)):
            refusal = _REFUSALS[Fault.NO_CAPACITY]
        made: list[Machine] = []
        if refusal is None:
            for name in names:
                machine = self.cloud.make(f"{zone}/{name}", offer, body["labels"])
                machine.body, machine.state = {}, "PROVISIONING"
                made.append(machine)

        def effect() -> None:
            for machine in made:
                if machine.state == "PROVISIONING":
                    machine.state = "RUNNING"

        kind = "insert" if len(names) == 1 else "bulkInsert"
        target = names[0] if len(names) == 1 else ""
        operation = self._operation(kind, zone, target, self.launch, effect, refusal)
        if kind == "bulkInsert" and refusal is None:
            for machine in made:
                # Google notes the insertion of each machine, too.
                inner = machine.name.rpartition("/")[2]
                self._operation("insert", zone, inner, self.launch, lambda: None)
        self._requests[query.get("requestId", "")] = operation["name"]
        return operation

    def do_instances_delete(self, parts: dict[str, str], query: dict[str, str], *_: Any) -> Any:
        """A machine goes; its operation tells when."""
        machine = self.cloud.alive.get(f"{parts['zone']}/{parts['instance']}")
        if machine is None:
            return self._problem(404, "notFound", "The resource was not found")
        self.cloud.end(machine, "deleted")
        return self._operation(
            "delete", parts["zone"], parts["instance"], 0, lambda: None, at=machine.ended_at or 0
        )

    def do_instances_get(self, parts: dict[str, str], *_: Any) -> Any:
        """A machine."""
        machine = self.cloud.alive.get(f"{parts['zone']}/{parts['instance']}")
        if machine is None:
            return self._problem(404, "notFound", "The resource was not found")
        return self._instance(machine)

    def do_instances_aggregatedList(  # noqa: N802
        self, _parts: Any, query: dict[str, str], _body: Any, fault: Fault | None
    ) -> Any:
        """Every machine with a label."""
        key, _, value = query.get("filter", "").removeprefix("labels.").partition("=")
        seen = [self._instance(m) for m in self.cloud.visible() if m.tags.get(key) == value]
        return self._paged(seen, "instances", query, broken=fault is Fault.HALF_PAGE)

    def _instance(self, machine: Machine) -> dict[str, Any]:
        zone, _, name = machine.name.rpartition("/")
        return {
            "id": str(9_000_000 + machine.number),
            "name": name,
            "zone": f"https://www.googleapis.com/compute/v1/projects/{PROJECT}/zones/{zone}",
            "status": machine.state if machine.ended_at is None else "STOPPING",
            "labels": machine.tags,
            "creationTimestamp": _stamp(machine.granted_at),
        }

    # --- the Counterpart's handles ---------------------------------------------------------------

    def __getattr__(self, name: str) -> Any:
        return getattr(self.cloud, name)

    async def interrupt(self, machine: str, *, notices: int = 1) -> int:
        """Operations say so (as often as `notices`); the machine goes when the notice is over."""
        return self.cloud.take(self.cloud.alive[machine], self.notice, notices)

    def _preempt(self, victim: Machine, at: int, times: int) -> None:
        zone, _, name = victim.name.rpartition("/")
        for _ in range(times):
            takes = at - self.cloud.now()
            self._operation("compute.instances.preempted", zone, name, takes, lambda: None)

    async def add_foreign(self, offer: OfferId) -> str:
        """Somebody else's machine in the same project."""
        zone = self.cloud.pools[offer].offer.zone
        name = f"{zone}/foreign-{len(self.cloud.all)}"
        tags = {"treasury-owner": "somebody-else", "treasury-lease": "1"}
        self.cloud.make(name, offer, tags).state = "RUNNING"
        return name


def _stamp(instant: int) -> str:
    return f"{stamp(instant, 3)}+00:00"
