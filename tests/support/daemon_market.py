"""A market, hands and a strategy in memory, for the daemon on a virtual loop."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable
from typing import Any

import msgspec

from tests.support.table import CAPABILITIES, offer
from treasury.domain.errors import OutcomeUnknown
from treasury.domain.events import LeaseSeen, MachineNoticed, WorkBegan, WorkEnded, WorkStopped
from treasury.domain.job import JobState
from treasury.domain.market import Quote
from treasury.domain.money import NANO
from treasury.domain.plan import Place, Plan
from treasury.domain.time import HOUR, MINUTE, SECOND
from treasury.runtime.agent import Agent
from treasury.runtime.observer import Observer
from treasury.store import MemoryStore
from treasury_simulations.storm.loop import VirtualLoop

START = 1_000 * HOUR
A, B = offer("a"), offer("b")


class LoopClock:
    """The virtual loop's time, from `START` on. step: how far somebody has set the clock."""

    def __init__(self, loop: VirtualLoop) -> None:
        self._loop = loop
        self.step = 0

    def now(self) -> int:
        return START + self._loop.now_ns + self.step

    async def sleep_until(self, instant: int) -> None:
        while (left := instant - self.now()) > 0:
            woken = self._loop.create_future()
            self._loop.call_at_ns(self._loop.now_ns + left, woken.set_result, None)
            await woken


class Disk(MemoryStore):
    """A store that outlives its process."""

    def close(self) -> None:
        pass


class Hang(Exception):
    """A fault: the call never returns, whether it `acts` or not."""

    def __init__(self, *, acts: bool) -> None:
        self.acts = acts
        super().__init__(acts)


class Market:
    """A provider in memory. grant, boot [ns]: delays. calls: what was asked, in order. faults: what
    the next calls of a kind raise, None for success; one whose outcome is unknown has acted."""

    def __init__(self, clock: LoopClock, *, grant: int = 0, boot: int = 0, **able: Any) -> None:
        self.name = "aws"
        self.capabilities = msgspec.structs.replace(CAPABILITIES, **able)
        self.clock, self.grant, self.boot = clock, grant, boot
        self.catalogue = [
            msgspec.structs.replace(what, capabilities=self.capabilities) for what in (A, B)
        ]
        self.calls: list[Any] = []
        self.faults: dict[str, deque[BaseException | None]] = {}
        self.held: dict[int, list[Any]] = {}
        self.listed = 0
        self.opened = 0
        self.reborn()

    def reborn(self) -> None:
        """A new process connects: what waited for the old one is gone with it."""
        self.said: asyncio.Queue[Quote | BaseException] = asyncio.Queue()
        self.warned: asyncio.Queue[MachineNoticed] = asyncio.Queue()
        self.closed = False

    def fail(self, what: str, *errors: BaseException | None) -> None:
        self.faults.setdefault(what, deque()).extend(errors)

    async def _call(self, what: str, act: Callable[[], None]) -> None:
        faults = self.faults.get(what)
        error = faults.popleft() if faults else None
        if isinstance(error, Hang):
            if error.acts:
                act()
            await asyncio.Event().wait()
        if error is None or isinstance(error, OutcomeUnknown):
            act()
        if error is not None:
            raise error

    async def offers(self):
        await self._call("offers", lambda: None)
        return self.catalogue

    async def quotes(self) -> AsyncIterator[Quote]:
        self.opened += 1
        now = self.clock.now()
        yield Quote(A.id, 1 * NANO, 5, now, now)
        yield Quote(B.id, 2 * NANO, 5, now, now)
        while True:
            said = await self.said.get()
            if isinstance(said, BaseException):
                raise said
            yield said

    async def notices(self) -> AsyncIterator[MachineNoticed]:
        while True:
            yield await self.warned.get()

    async def acquire(self, request) -> None:
        self.calls.append(request)

        def act() -> None:
            if self.capabilities.honours_tokens and request.leases[0] in self.held:
                return
            for lease in request.leases:
                self.held[lease] = [request, f"i-{lease}", self.clock.now() + self.grant, None, ""]

        await self._call("acquire", act)

    async def release(self, request) -> None:
        self.calls.append(request)

        def act() -> None:
            if request.lease in self.held and self.held[request.lease][3] is None:
                self.held[request.lease][3] = self.clock.now()

        await self._call("release", act)

    async def leases(self):
        await self._call("leases", lambda: None)
        self.listed += 1
        now = self.clock.now()
        return [
            LeaseSeen(
                lease,
                request.placement,
                machine,
                at,
                NANO,
                request.token,
                ready=at + self.boot <= now,
                ended_at=ended,
                cause=cause,
            )
            for lease, (request, machine, at, ended, cause) in self.held.items()
            if at <= now
        ]

    async def rebid(self, request) -> None:
        self.calls.append(request)
        await self._call("rebid", lambda: None)

    async def close(self) -> None:
        self.closed = True

    # --- what the market does by itself ---

    def quote(self, rate: int, what=A) -> None:
        now = self.clock.now()
        self.said.put_nowait(Quote(what.id, rate, 5, now, now))

    def take(self, lease: int) -> None:
        self.held[lease][3:] = [self.clock.now(), "interrupted"]

    def alive(self) -> list[int]:
        return [lease for lease, held in self.held.items() if held[3] is None]

    def asked(self, kind: type) -> list[Any]:
        return [call for call in self.calls if isinstance(call, kind)]


class Hands:
    """A runner in memory: work begins at once, and ends when it has been done."""

    def __init__(self, agent: Agent, clock: LoopClock) -> None:
        self.agent, self.clock = agent, clock
        self.calls: list[Any] = []
        self.faults: deque[BaseException | None] = deque()
        self.running: dict[int, tuple[int, int]] = {}

    async def start(self, request) -> None:
        self.calls.append(request)
        if self.faults and (error := self.faults.popleft()) is not None:
            raise error
        if request.placement in self.running:
            return
        now, book = self.clock.now(), self.agent.book
        self.running[request.placement] = (now, request.work_done)
        self.agent.put(WorkBegan(request.job, request.placement, now))
        left = book.jobs[request.job].spec.work - request.work_done
        loop = asyncio.get_running_loop()
        loop.call_later(left / SECOND, self._end, request, now)

    def _end(self, request, began) -> None:
        if self.running.get(request.placement, (0, 0))[0] == began:
            del self.running[request.placement]
            self.agent.put(WorkEnded(request.job, request.placement, self.clock.now()))

    async def stop(self, request) -> None:
        self.calls.append(request)
        began, done = self.running.pop(request.placement, (self.clock.now(), 0))
        now = self.clock.now()
        self.agent.put(WorkStopped(request.job, request.placement, now, done + now - began))


class Cheapest:
    """Places every queued job on the cheapest offer. answers: what to return or raise instead."""

    name = "cheapest"

    def __init__(self) -> None:
        self.answers: deque[Any] = deque()
        self.asked = 0

    def propose(self, snapshot):
        self.asked += 1
        if self.answers:
            answer = self.answers.popleft()
            if isinstance(answer, BaseException):
                raise answer
            if answer is not None:
                return answer
        free = [view for view in snapshot.offers if view.free(snapshot.now)]
        if not free:
            return Plan(snapshot.version, (), review_at=snapshot.now + MINUTE)
        best = min(free, key=lambda view: view.rate)
        actions = tuple(
            Place(job.spec.id, best.offer.id, 2 * best.rate)
            for job in snapshot.jobs
            if job.state is JobState.QUEUED
        )
        return Plan(snapshot.version, actions)


class Log(Observer):
    """Remembers what was told, as (what, details)."""

    def __init__(self) -> None:
        self.said: list[tuple[Any, ...]] = []

    def failed(self, provider, what, error) -> None:
        self.said.append(("failed", what, type(error).__name__))

    def quiet(self, provider, feed, for_ns) -> None:
        self.said.append(("quiet", feed))

    def halted(self, provider, why) -> None:
        self.said.append(("halted", why))

    def plan_failed(self, version, why) -> None:
        self.said.append(("plan", why))

    def store_failed(self, error, retry_ns) -> None:
        self.said.append(("store", str(error)))

    def reloaded(self, changes) -> None:
        self.said.append(("reloaded", *changes))

    def reload_failed(self, error) -> None:
        self.said.append(("not reloaded", str(error)))

    def broke(self, what, error) -> None:
        self.said.append(("broke", what))

    def led(self, leads, leader) -> None:
        self.said.append(("led", leads, leader))

    def kinds(self, kind: str) -> list[tuple[Any, ...]]:
        return [item[1:] for item in self.said if item[0] == kind]
