"""The door of the API: tokens, hosts, origins, sizes, load; and what a stranger learns."""

import asyncio
import hmac
import json
from pathlib import Path
from typing import Any

import pytest
from aiohttp.test_utils import TestServer

from tests.support.api import ADMIN, CANARY, JOB, START, VIEWER, Rig, open_rig
from tests.support.table import Table
from treasury.domain.errors import UserError
from treasury.web import guard
from treasury.web.guard import GATE, Gate
from treasury.web.listen import Doorway
from treasury.web.routes import Route
from treasury.web.serve import ADDRESS_FILE, ApiServer
from treasury.web.table import ROUTES
from treasury.web.tokens import FILE, open_tokens

OPEN = ("/healthz", "/readyz", "/", "/v1/node.pyz", "/openapi.json")


def filled(route: Route) -> str:
    """A route's path with names in it."""
    return route.path.format(job="j", centre="team", provider="aws")


@pytest.mark.parametrize(
    "route",
    [pytest.param(r, id=r.handler.__name__) for r in ROUTES if r.role != "open"],
)
async def test_nothing_is_told_or_done_without_a_token(tmp_path: Path, route: Route) -> None:
    """Each operation that is not open answers 401 to nobody and to a wrong token, and the orders
    403 to those who may only look."""
    async with open_rig(tmp_path) as rig:
        told = sum(len(entry.facts) for entry in rig.store.entries())
        for header in ({}, {"Authorization": ""}, {"Authorization": f"Bearer {ADMIN[:-1]}x"}):
            answer = await rig.client.request(route.method, filled(route), headers=header)
            assert answer.status == 401
            assert answer.headers["WWW-Authenticate"] == "Bearer"
            assert set(await answer.json()) <= {"error", "field", "right"}
        if route.role == "admin":
            refusal = await rig.ask(route.method, filled(route), 403, VIEWER, json={})
            assert refusal["error"] == "viewer may look, not order"
        assert sum(len(entry.facts) for entry in rig.store.entries()) == told


async def test_every_token_is_compared_in_constant_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A right, a wrong and a missing token each cost one comparison of digests a known token."""
    tokens = open_tokens(tmp_path, lambda count: b"x" * count)
    compared: list[tuple[int, int]] = []

    def counting(left: bytes, right: bytes) -> bool:
        compared.append((len(left), len(right)))
        return left == right

    monkeypatch.setattr(hmac, "compare_digest", counting)
    right = f"Bearer {b'x'.hex() * 32}"
    for header in (right, "Bearer wrong", "", "Basic x", "Bearer", "Bearer \udcff\udcfe"):
        compared.clear()
        found = tokens.principal(header)
        assert (found is not None) == (header == right)
        assert compared == [(32, 32), (32, 32)]


def test_the_file_of_tokens_is_its_owners_alone(tmp_path: Path) -> None:
    """It is made with mode 0600, not made again, and refused when others can read it."""
    state = tmp_path / "state"
    open_tokens(state, lambda count: b"a" * count)
    path = state / FILE
    assert path.stat().st_mode & 0o777 == 0o600
    before = path.read_text()
    open_tokens(state, lambda count: b"b" * count)
    assert path.read_text() == before
    path.chmod(0o644)
    with pytest.raises(UserError, match="chmod 600"):
        open_tokens(state, lambda count: b"c" * count)
    path.chmod(0o600)
    path.write_text("admin\n")
    with pytest.raises(UserError, match="ROLE NAME TOKEN") as caught:
        open_tokens(state, lambda count: b"c" * count)
    assert f"{path}:1" in str(caught.value)


async def test_tokens_can_be_changed_while_it_runs(tmp_path: Path) -> None:
    """A line taken out is refused at once, a new one let in; a file that is spoilt lets nobody
    in."""
    async with open_rig(tmp_path) as rig:
        await rig.get("/v1/status")
        path = tmp_path / FILE
        path.write_text(f"admin ann {'n' * 40}\n")
        await rig.get("/v1/status", 401)
        told = await rig.get("/v1/status", token="n" * 40)
        assert told["you"] == {"name": "ann", "role": "admin"}
        path.write_text("garbage\n")
        await rig.get("/v1/status", 401, token="n" * 40)


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ({"Host": "evil.example"}, 421),
        ({"Host": "evil.example:8750"}, 421),
        ({"Host": "127.0.0.1.evil.example"}, 421),
        ({"Host": "user@127.0.0.1"}, 421),
        ({"Host": "127.0.0.1/x"}, 421),
        ({"Host": "127.0.0.1:x"}, 421),
        ({"Host": ""}, 421),
        ({"Origin": "https://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "http://127.0.0.1:1"}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "same-site"}, 403),
        ({"Host": "localhost"}, 200),
        ({"Host": "[::1]:8750"}, 200),
        ({"Sec-Fetch-Site": "same-origin"}, 200),
    ],
)
async def test_other_hosts_and_other_pages_are_refused(
    tmp_path: Path, headers: dict[str, str], code: int
) -> None:
    """A name that was rebound to the loopback and a foreign page are refused, token or not, for
    open pages too."""
    async with open_rig(tmp_path) as rig:
        await rig.get("/v1/status", code, headers=headers)
        await rig.get("/healthz", code, headers=headers)


async def test_no_other_origin_is_ever_allowed(tmp_path: Path) -> None:
    """There are no CORS headers, and what there is keeps the page closed."""
    async with open_rig(tmp_path) as rig:
        answer = await rig.client.get("/")
        assert not [name for name in answer.headers if name.startswith("Access-Control")]
        policy = answer.headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy and "unsafe" not in policy
        assert answer.headers["X-Frame-Options"] == "DENY"
        page = await answer.text()
        assert "innerHTML" not in page and "http://" not in page.replace("http://www.w3.org", "")
        assert (await rig.client.options("/v1/jobs")).status == 405


async def test_too_much_is_refused(tmp_path: Path) -> None:
    """Large bodies, compressed ones, strange types, unknown and doubled parameters."""
    async with open_rig(tmp_path) as rig:
        post = rig.client.post
        right = {"Authorization": f"Bearer {ADMIN}", "Content-Type": "application/json"}
        assert (await post("/v1/jobs", data=b" " * 300_000, headers=right)).status == 413
        packed = {**right, "Content-Encoding": "deflate"}
        assert (await post("/v1/jobs", data=b"x", headers=packed)).status == 415
        text = {**right, "Content-Type": "text/plain"}
        assert (await post("/v1/jobs", data=b"{}", headers=text)).status == 415
        assert (await post("/v1/conduct", data=b"{}", headers=text)).status == 415
        assert (await post("/v1/conduct", data=b"{", headers=right)).status == 400
        assert (await post("/v1/conduct", data=b"\xff", headers=right)).status == 400
        assert (await post("/v1/jobs", data=b"{", headers=right)).status == 400
        assert (await post("/v1/jobs", data=b'{"gpu": NaN}', headers=right)).status == 400
        deep = b'{"conduct": ' + b"[" * 100_000
        assert (await post("/v1/conduct", data=deep, headers=right)).status in {400, 422}
        assert "unknown field" in (await rig.get("/v1/jobs?x=1", 422))["error"]
        assert (await rig.get("/v1/jobs?state=a&state=b", 422))["field"] == "state"
        assert (await rig.get("/v1/events?after=-1", 422))["field"] == "after"
        assert (await rig.get("/v1/nope", 404))["error"] == "not found"
        assert (await rig.client.put("/v1/jobs")).status == 405


async def test_ten_thousand_requests_at_once_are_shed(tmp_path: Path) -> None:
    """While the agent is busy, as many wait as there is room for; the rest is told to come back,
    and all of those who waited are served."""
    async with open_rig(tmp_path, gate=Gate(active_max=32)) as rig:
        commit, release = rig.store.append, asyncio.Event()
        entered = asyncio.Event()

        class Slow:
            async def run(self, function: Any) -> Any:
                entered.set()
                await release.wait()
                return function()

        rig.agent._storage = Slow()
        body = json.dumps(JOB).encode()
        head = (
            f"POST /v1/jobs HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {ADMIN}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        ).encode()
        probe = b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
        port = rig.client.port

        async def send(messages: bytes, count: int) -> list[int]:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(messages)
            codes = []
            for _ in range(count):
                answer = await reader.readuntil(b"\r\n\r\n")
                codes.append(int(answer.split()[1]))
                lines = answer.lower().split(b"\r\n")
                length = next(x for x in lines if x.startswith(b"content-length"))
                await reader.readexactly(int(length.split(b":")[1]))
            writer.close()
            return codes

        waiting = [asyncio.create_task(send(head + body, 1)) for _ in range(32)]
        await entered.wait()
        while rig.client.server.app[GATE].active < 32:  # noqa: ASYNC110 - nothing tells of it
            await asyncio.sleep(0)
        floods = await asyncio.gather(*[send(probe * 100, 100) for _ in range(100)])
        assert [code for codes in floods for code in codes] == [503] * 10_000
        release.set()
        assert [await task for task in waiting] == [[201]] * 32
        assert len(rig.book.jobs) == 32 and commit is not None
        assert (await rig.get("/healthz"))["ok"]


async def test_a_body_that_does_not_come_is_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever sends a byte and then nothing is sent away, and takes nobody's place any more."""
    monkeypatch.setattr(guard, "TIME_MAX", 0.05)
    async with open_rig(tmp_path) as rig:
        reader, writer = await asyncio.open_connection("127.0.0.1", rig.client.port)
        writer.write(
            f"POST /v1/jobs HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {ADMIN}\r\n"
            "Content-Type: application/json\r\nContent-Length: 9\r\n\r\n{".encode()
        )
        assert b" 503 " in await reader.readline()
        assert rig.client.server.app[GATE].active == 0
        writer.close()


async def test_readiness_is_the_daemons(tmp_path: Path) -> None:
    """It is ready when the daemon says so; it is alive before."""
    async with open_rig(tmp_path) as rig:
        rig.ready = False
        await rig.get("/readyz", 503)
        assert await rig.get("/healthz") == {"ok": True}
        rig.ready = True
        assert await rig.get("/readyz") == {"ok": True}
        assert "treasury_turns 1" in await rig.get("/metrics")


async def test_the_node_agent_comes_with_its_hash(tmp_path: Path) -> None:
    """It needs no token; where nothing is booted there is none."""
    async with open_rig(tmp_path) as rig:
        answer = await rig.client.get("/v1/node.pyz")
        assert await answer.read() == b"PK" and len(answer.headers["ETag"]) == 66
    async with open_rig(tmp_path / "b", bundle=bytes) as rig:
        await rig.get("/v1/node.pyz", 404)


async def test_a_mistake_of_ours_tells_a_stranger_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The answer to an unexpected error names no cause; the log has it, without the request's
    token, body or query."""

    def broken() -> Any:
        raise RuntimeError("inner")

    async with open_rig(tmp_path, status=broken) as rig:
        told = await rig.get("/v1/status", 500, json={"x": CANARY})
        assert told == {"error": "a mistake of treasury's own; the log says more"}
    assert "inner" in caplog.text
    assert ADMIN not in caplog.text and CANARY not in caplog.text


async def test_a_server_tells_where_it_is_and_goes(tmp_path: Path) -> None:
    """Its address is in the state directory while it runs; one port is one server's."""
    rig = Rig(Table(now=START), tmp_path)
    server = ApiServer(rig.house(), rig.tokens(), port=0)
    running = asyncio.create_task(server.run())
    while not (tmp_path / ADDRESS_FILE).exists():  # noqa: ASYNC110 - another process would look
        await asyncio.sleep(0)
    url = json.loads((tmp_path / ADDRESS_FILE).read_text())["url"]
    assert url == server.url and url.startswith("http://127.0.0.1:")
    port = int(url.rpartition(":")[2])
    with pytest.raises(UserError, match="choose another port"):
        await ApiServer(rig.house(), rig.tokens(), port=port).run()
    assert (tmp_path / ADDRESS_FILE).exists() is False or server.url == url
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert not (tmp_path / ADDRESS_FILE).exists()
    with pytest.raises(UserError, match="not encrypted"):
        ApiServer(rig.house(), rig.tokens(), host="0.0.0.0")  # noqa: S104 - that is what is refused


async def test_connections_are_counted_and_the_silent_ones_closed(tmp_path: Path) -> None:
    """One connection too many is told so at once; one that says nothing in its time is closed."""
    async with open_rig(tmp_path) as rig:
        test_server = rig.client.server
        assert isinstance(test_server, TestServer) and test_server.handler is not None
        silent: set[object] = set()
        doorway = Doorway(test_server.handler, silent, limit=1)
        loop = asyncio.get_running_loop()
        listener = await loop.create_server(doorway, "127.0.0.1", 0)
        port = listener.sockets[0].getsockname()[1]
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        while not silent:  # noqa: ASYNC110 - nothing tells of it
            await asyncio.sleep(0)
        other, other_writer = await asyncio.open_connection("127.0.0.1", port)
        assert b"503" in await other.readline()
        assert b"too many connections" in await other.read()
        (protocol,) = silent
        doorway._close_if_silent(protocol)
        assert await reader.read() == b"" and not silent
        for one in (writer, other_writer):
            one.close()
        listener.close()
