"""The markets' metadata services, as their documents describe them, and what is made of them."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from typing import Any

import pytest
from aiohttp import web

from treasury.domain.time import SECOND, parse_instant
from treasury.node.metadata import Advice, Aws, Azure, Gcp, Notice

ENDS = "2026-03-01T12:02:00Z"
NOW = parse_instant("2026-03-01T12:00:00Z")
Serve = Callable[[web.Application], Any]


@pytest.fixture
async def serve() -> AsyncIterator[Serve]:
    """Serves an application on loopback; gives its address."""
    runners: list[web.AppRunner] = []

    async def start(app: web.Application) -> str:
        runner = web.AppRunner(app)
        await runner.setup()
        runners.append(runner)
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        return f"http://127.0.0.1:{runner.addresses[0][1]}"

    yield start
    for runner in runners:
        await runner.cleanup()


class Imds:
    """IMDSv2: a token of limited life, then the spot paths; 404 while there is nothing to tell."""

    def __init__(self) -> None:
        self.token, self.tokens = "", 0
        self.paths: dict[str, str] = {}

    def app(self) -> web.Application:
        app = web.Application()
        app.router.add_put("/latest/api/token", self.give)
        app.router.add_get("/latest/meta-data/{path:.+}", self.answer)
        return app

    async def give(self, request: web.Request) -> web.Response:
        assert 1 <= int(request.headers["X-aws-ec2-metadata-token-ttl-seconds"]) <= 21_600
        self.tokens += 1
        self.token = f"token-{self.tokens}"
        return web.Response(text=self.token)

    async def answer(self, request: web.Request) -> web.Response:
        if request.headers.get("X-aws-ec2-metadata-token") != self.token:
            return web.Response(status=401)
        path = request.match_info["path"]
        if path not in self.paths:
            return web.Response(status=404)
        return web.Response(text=self.paths[path])


async def test_ec2_advises_then_warns(serve: Serve) -> None:
    """Nothing, then the advice once, then the instant; a token that ran out is asked for anew."""
    imds = Imds()
    watcher = Aws(lambda: NOW, await serve(imds.app()))
    assert await asyncio.to_thread(watcher.poll) is None
    imds.paths["events/recommendations/rebalance"] = '{"noticeTime": "2026-03-01T12:00:00Z"}'
    assert await asyncio.to_thread(watcher.poll) == Advice()
    assert await asyncio.to_thread(watcher.poll) is None
    imds.token = "another"
    imds.paths["spot/instance-action"] = f'{{"action": "terminate", "time": "{ENDS}"}}'
    assert await asyncio.to_thread(watcher.poll) == Notice(parse_instant(ENDS))
    assert imds.tokens == 2


class Events:
    """Azure's scheduled events: a document, and a POST that starts an event early."""

    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []
        self.started: list[str] = []

    def app(self) -> web.Application:
        app = web.Application()
        app.router.add_get("/metadata/instance/compute/name", self.name)
        app.router.add_get("/metadata/scheduledevents", self.list)
        app.router.add_post("/metadata/scheduledevents", self.start)
        return app

    async def name(self, request: web.Request) -> web.Response:
        assert request.headers["Metadata"] == "true" and request.query["format"] == "text"
        return web.Response(text="vm-7")

    async def list(self, request: web.Request) -> web.Response:
        assert request.headers["Metadata"] == "true"
        assert request.query["api-version"] == "2020-07-01"
        return web.json_response({"DocumentIncarnation": 1, "Events": self.events})

    async def start(self, request: web.Request) -> web.Response:
        body = await request.json()
        self.started += [item["EventId"] for item in body["StartRequests"]]
        return web.Response()


async def test_azure_warns_of_this_machine_alone(serve: Serve) -> None:
    """Other machines' and other kinds of events are passed over; the right one is acknowledged."""
    service = Events()
    watcher = Azure(lambda: NOW, await serve(service.app()))
    event = {
        "EventId": "e-1",
        "EventType": "Preempt",
        "Resources": ["vm-8"],
        "EventStatus": "Scheduled",
        "NotBefore": "Sun, 01 Mar 2026 12:02:00 GMT",
    }
    service.events = [event, {**event, "EventType": "Freeze", "Resources": ["vm-7"]}]
    assert await asyncio.to_thread(watcher.poll) is None
    service.events.append({**event, "EventId": "e-2", "Resources": ["vm-7"]})
    assert await asyncio.to_thread(watcher.poll) == Notice(parse_instant(ENDS), "e-2")
    service.events[-1]["NotBefore"] = ""
    assert await asyncio.to_thread(watcher.poll) == Notice(NOW + 30 * SECOND, "e-2")
    await asyncio.to_thread(watcher.acknowledge, "e-2")
    assert service.started == ["e-2"]


class Preempted:
    """Compute Engine's `preempted`: a request that hangs until the answer changes."""

    def __init__(self) -> None:
        self.preempted = asyncio.Event()
        self.hanging = asyncio.Event()

    def app(self) -> web.Application:
        app = web.Application()
        app.router.add_get("/computeMetadata/v1/instance/preempted", self.answer)
        return app

    async def answer(self, request: web.Request) -> web.Response:
        if request.headers.get("Metadata-Flavor") != "Google":
            return web.Response(status=403)
        if request.query.get("wait_for_change") == "true":
            self.hanging.set()
            with suppress(TimeoutError):
                await asyncio.wait_for(self.preempted.wait(), int(request.query["timeout_sec"]))
        return web.Response(text="TRUE" if self.preempted.is_set() else "FALSE")


async def test_compute_engine_warns_at_once(serve: Serve) -> None:
    """The first answer is the present one, the second comes with the change, not with a poll."""
    service = Preempted()
    watcher = Gcp(lambda: NOW, await serve(service.app()))
    assert await asyncio.to_thread(watcher.poll) is None
    waiting = asyncio.create_task(asyncio.to_thread(watcher.poll))
    await asyncio.wait_for(service.hanging.wait(), 10)
    assert not waiting.done()
    service.preempted.set()
    assert await waiting == Notice(NOW + 30 * SECOND)


async def test_a_preemption_before_we_came_is_told(serve: Serve) -> None:
    """A machine that was preempted before the agent started hears of it with the first poll."""
    service = Preempted()
    service.preempted.set()
    watcher = Gcp(lambda: NOW, await serve(service.app()))
    assert await asyncio.to_thread(watcher.poll) == Notice(NOW + 30 * SECOND)


@pytest.mark.parametrize("make", [Aws, Azure, Gcp])
async def test_a_broken_service_raises_what_is_tried_again(serve: Serve, make: Any) -> None:
    """Errors and nonsense become OSError or ValueError, which the watching thread waits out."""

    async def answer(request: web.Request) -> web.Response:
        del request
        return answers.pop(0)

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    address = await serve(app)
    answers = [web.Response(status=500)]
    with pytest.raises((OSError, ValueError)):
        await asyncio.to_thread(make(lambda: NOW, address).poll)
    answers = [web.Response(status=302, headers={"Location": f"{address}/elsewhere"})]
    with pytest.raises((OSError, ValueError)):
        await asyncio.to_thread(make(lambda: NOW, address).poll)
    assert not answers
