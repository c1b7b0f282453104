"""What a daemon answers that stands by, over real sockets."""

import asyncio
from contextlib import suppress
from pathlib import Path

import aiohttp

from tests.support.api import START, HandClock, Rig
from tests.support.table import Table
from treasury.web.serve import ApiServer
from treasury.web.standby import StandbyServer


class _Soon(HandClock):
    """Time is no matter: whoever sleeps is woken at once."""

    async def sleep_until(self, _instant: int) -> None:
        await asyncio.sleep(0)


async def _stop(task: asyncio.Task[None]) -> None:
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


async def _listening(server: StandbyServer | ApiServer) -> str:
    while not server.url:  # noqa: ASYNC110 - there is no event: the next turn of the loop
        await asyncio.sleep(0)
    return server.url


async def test_it_is_healthy_not_ready_and_says_who_leads() -> None:
    """200 and "standby" to the health check, 503 with the leader's name to all else; names that are
    not ours are refused as ever."""
    server = StandbyServer(lambda: "a process 7", _Soon(START), host="127.0.0.1", port=0)
    running = asyncio.create_task(server.run())
    url = await _listening(server)
    async with aiohttp.ClientSession() as client:
        async with client.get(f"{url}/healthz") as reply:
            assert reply.status == 200
            assert await reply.json() == {"ok": True, "standby": True, "leader": "a process 7"}
        for path in ("/readyz", "/v1/jobs", "/"):
            async with client.get(f"{url}{path}") as reply:
                assert reply.status == 503
                assert (await reply.json())["value"] == "a process 7"
                assert reply.headers["Retry-After"] == "1"
        async with client.post(f"{url}/v1/jobs", json={}) as reply:
            assert reply.status == 503
        async with client.get(f"{url}/healthz", headers={"Host": "evil.example"}) as reply:
            assert reply.status == 421
    await _stop(running)


async def test_it_waits_for_an_address_that_is_taken_and_leaves_it_at_once(tmp_path: Path) -> None:
    """The leader of the same host has the port: it is taken when the leader is gone, and free
    again as soon as this one leads itself."""
    rig = Rig(Table(now=START), tmp_path)
    leader = ApiServer(rig.house(), rig.tokens(), port=0)
    leading = asyncio.create_task(leader.run())
    port = int((await _listening(leader)).rpartition(":")[2])
    server = StandbyServer(lambda: "", _Soon(START), host="127.0.0.1", port=port)
    waiting = asyncio.create_task(server.run())
    for _ in range(20):
        await asyncio.sleep(0)
    assert server.url == "" and not waiting.done()
    await _stop(leading)
    await _listening(server)
    await _stop(waiting)
    successor = ApiServer(rig.house(), rig.tokens(), port=port)
    leading = asyncio.create_task(successor.run())
    await _listening(successor)
    await _stop(leading)
