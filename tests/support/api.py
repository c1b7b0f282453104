"""The API before a real agent, over real sockets: a table's book, a journal in memory."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Any

from aiohttp.test_utils import TestClient, TestServer

from tests.support.table import Table
from treasury.domain.time import HOUR
from treasury.engine import replay
from treasury.runtime.agent import Agent
from treasury.runtime.clocks import InlineOffload
from treasury.store import MemoryStore
from treasury.web.app import make_app
from treasury.web.guard import Gate
from treasury.web.house import House
from treasury.web.serve import ApiServer
from treasury.web.tokens import Tokens, open_tokens

START = 1_000 * HOUR
ADMIN, VIEWER = "ad" * 32, "ee" * 32
CANARY = "hunter2-canary"
JOB = {"cost_centre": "team", "gpu": "V100", "duration": "6h", "command": ["python", "train.py"]}


class HandClock:
    """A clock that stands where it is put."""

    def __init__(self, now: int) -> None:
        self.instant = now

    def now(self) -> int:
        return self.instant

    async def sleep_until(self, _instant: int) -> None:
        await asyncio.Event().wait()


def drawn() -> Callable[[int], bytes]:
    """Known bytes for the tokens: the admin's first."""
    draws: Iterator[str] = iter((ADMIN, VIEWER))
    return lambda _count: bytes.fromhex(next(draws))


class Rig:
    """A house with a running agent, and a client that is let in."""

    def __init__(self, table: Table, state: Path, store: Any = None) -> None:
        self.state, self.clock = state, HandClock(table.now)
        self.store = store or MemoryStore()
        if not self.store.last()[0]:
            for entry in table.entries:
                self.store.append(entry)
        book = replay(self.store.entries())
        self.agent = Agent(book, self.store, self.clock, InlineOffload())
        self.lines = ["first", "second"]
        self.ready, self.changes = True, ("engine.tick: 1m -> 2m",)
        self.client: TestClient = None  # type: ignore[assignment]

    @property
    def book(self) -> Any:
        return self.agent.book

    def house(self, **parts: Any) -> House:
        """The house; parts replace its own."""

        async def logs(_job: str, _follow: bool) -> AsyncIterator[str]:
            for line in self.lines:
                yield line

        async def reload() -> tuple[str, ...]:
            return self.changes

        return House(
            **{
                "agent": self.agent,
                "clock": self.clock,
                "history": self.store,
                "offload": InlineOffload(),
                "state": self.state,
                "status": lambda: {"ready": self.ready},
                "reload": reload,
                "logs": logs,
                "metrics": lambda: b"treasury_turns 1\n",
                "bundle": lambda: b"PK",
                **parts,
            }
        )

    def tokens(self) -> Tokens:
        return open_tokens(self.state, drawn())

    async def get(self, path: str, code: int = 200, token: str = ADMIN, **more: Any) -> Any:
        return await self.ask("GET", path, code, token, **more)

    async def post(
        self, path: str, body: Any = None, code: int = 200, token: str = ADMIN, key: str = ""
    ) -> Any:
        headers = {"Idempotency-Key": key} if key else {}
        return await self.ask("POST", path, code, token, json=body or {}, headers=headers)

    async def ask(self, method: str, path: str, code: int, token: str, **more: Any) -> Any:
        """The answer's JSON, or its text; it has to have this status."""
        headers = {"Authorization": f"Bearer {token}", **more.pop("headers", {})}
        async with self.client.request(method, path, headers=headers, **more) as answer:
            text = await answer.text()
            assert answer.status == code, text
            return await answer.json() if answer.content_type == "application/json" else text


@asynccontextmanager
async def open_rig(
    state: Path,
    table: Table | None = None,
    gate: Gate | None = None,
    store: Any = None,
    **parts: Any,
) -> AsyncIterator[Rig]:
    """A rig whose agent runs, on the table's journal or on one that is there; parts replace those
    of the house."""
    rig = Rig(table or Table(now=START), state, store)
    loop = asyncio.create_task(rig.agent.run())
    app = make_app(rig.house(**parts), rig.tokens(), gate=gate)
    server = TestServer(app, host="127.0.0.1")
    await server.start_server(auto_decompress=False)
    try:
        async with TestClient(server) as client:
            rig.client = client
            yield rig
    finally:
        loop.cancel()
        with suppress(asyncio.CancelledError):
            await loop


@contextmanager
def served(
    state: Path, table: Table | None = None, store: Any = None, **parts: Any
) -> Iterator[tuple[Rig, str]]:
    """A rig behind its own server, on a loop of its own thread, for clients that block; its book
    may be looked at, not touched."""
    started = threading.Event()
    held: dict[str, Any] = {}

    async def live() -> None:
        rig = Rig(table or Table(now=START), state, store)
        server = ApiServer(rig.house(**parts), rig.tokens(), port=0)
        held.update(rig=rig, task=asyncio.current_task(), loop=asyncio.get_running_loop())
        async with asyncio.TaskGroup() as group:
            group.create_task(rig.agent.run())
            group.create_task(server.run())
            while not server.url:  # noqa: ASYNC110 - the thread outside waits for it
                await asyncio.sleep(0.01)
            held["url"] = server.url
            started.set()

    def run() -> None:
        with suppress(asyncio.CancelledError):
            asyncio.run(live())

    thread = threading.Thread(target=run)
    thread.start()
    assert started.wait(10)
    try:
        yield held["rig"], held["url"]
    finally:
        held["loop"].call_soon_threadsafe(held["task"].cancel)
        thread.join(10)
