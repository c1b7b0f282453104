"""The daemon on a virtual loop with a market in memory: no thread, no socket, no waiting."""

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any

from tests.support.daemon_market import (
    START,
    A,
    B,
    Cheapest,
    Disk,
    Hands,
    Hang,
    Log,
    LoopClock,
    Market,
)
from treasury.domain.budget import Budget
from treasury.domain.events import SubmitJob
from treasury.domain.job import JobSpec, Requirement
from treasury.domain.money import MICRO
from treasury.domain.settings import EngineSettings
from treasury.domain.time import HOUR, MINUTE, SECOND
from treasury.runtime.agent import Agent
from treasury.runtime.clocks import Host, InlineOffload, SystemDice
from treasury.runtime.daemon import Daemon, Options
from treasury.runtime.reload import Wanted
from treasury_simulations.storm.loop import VirtualLoop


class Rig:
    """A daemon and all it needs. What survives a crash - store, market - may be handed to the next
    one; the loop is shared."""

    count = 0

    def __init__(
        self,
        loop: VirtualLoop,
        *,
        store: Any = None,
        market: Market | None = None,
        amount: int = 100 * MICRO,
        engine: dict[str, int] | None = None,
        options: Options | None = None,
        **daemon: Any,
    ) -> None:
        self.loop = loop
        self.clock = market.clock if market is not None else LoopClock(loop)
        self.store = store if store is not None else Disk()
        self.market = market if market is not None else Market(self.clock)
        self.log = Log()
        self.strategy = Cheapest()
        settings = EngineSettings(**{"tick": SECOND, **(engine or {})})
        self.wanted = Wanted(
            "lab.toml",
            settings,
            (Budget(cost_centre="team", amount=amount),),
            "cheapest",
            lambda: self.strategy,
        )
        self._options, self._rest = options or Options(), daemon
        self.hands: Hands | None = None
        self.daemon: Daemon | None = None
        self.task: asyncio.Task[None] | None = None

    def _runner(self, agent: Agent) -> Hands:
        self.hands = Hands(agent, self.clock)
        return self.hands

    async def start(self) -> "Rig":
        """Start the daemon and wait until it is ready."""
        self.launch()
        await self.daemon.ready.wait()
        return self

    def launch(self) -> None:
        """Start the daemon."""
        self.market.reborn()
        inline = InlineOffload()
        host = Host(self.clock, SystemDice(1), inline, inline, inline)
        self.daemon = Daemon(
            host,
            self.store,
            self.wanted,
            {"aws": self.market},
            self._runner,
            options=self._options,
            observer=self.log,
            **self._rest,
        )
        Rig.count += 1
        self.host = ("daemon", Rig.count)
        self.task = self.loop.spawn(self.host, self.daemon.run())

    def crash(self) -> None:
        """As kill -9: nothing of this process runs again, no `finally`, no farewell."""
        self.loop.kill(self.host)

    @property
    def agent(self) -> Agent:
        return self.daemon.agent

    @property
    def book(self):
        return self.daemon.agent.book

    async def stop(self) -> None:
        """End it in peace."""
        self.daemon.stop()
        await self.task

    def job(self, name: str = "j", work: int = 10 * MINUTE, **fields: Any) -> SubmitJob:
        spec = JobSpec(
            id=name,
            cost_centre="team",
            requirement=Requirement({"V100": 1000}),
            work=work,
            submitted_at=self.clock.now(),
            **fields,
        )
        return SubmitJob(spec)

    async def until(self, true: Callable[[], Any], limit: int = HOUR) -> None:
        """Go on until something holds; fails when it does not within a virtual time."""
        end = self.clock.now() + limit
        while not true():
            assert self.clock.now() < end, "it did not happen"
            if self.task.done():
                self.task.result()
            await asyncio.sleep(0.1)

    def facts(self, kind: type) -> list[Any]:
        entries = self.store.entries()
        return [fact for entry in entries for fact in entry.facts if isinstance(fact, kind)]


def play(work: Callable[[VirtualLoop], Coroutine[Any, Any, None]], seed: int | None = None) -> None:
    """Run a test's coroutine on a virtual loop; what it left running is killed."""
    loop = VirtualLoop(seed)
    try:
        loop.run_until_complete(work(loop))
    finally:
        _clear(loop)
        loop.close()


def _clear(loop: VirtualLoop) -> None:
    """Take what is left of a loop apart while it is still open, the living and the killed."""
    loop._dead.clear()
    tasks = sorted(asyncio.all_tasks(loop), key=lambda task: task.get_name())
    for task in tasks:
        task.cancel()
    if tasks:
        loop.run_until_complete(asyncio.wait(tasks, timeout=60))
    for task in tasks:
        if task.done():
            task.cancelled() or task.exception()
            continue
        # Killed in the middle of a step: nothing would ever wake it.
        task._log_destroy_pending = False
        with suppress(RuntimeError):
            task.get_coro().close()
    loop.bury()


__all__ = [
    "START",
    "A",
    "B",
    "Cheapest",
    "Disk",
    "Hands",
    "Hang",
    "Log",
    "LoopClock",
    "Market",
    "Rig",
    "play",
]
