"""A replay by the daemon's own turn loop: the same world and strategy as the fast driver's, but the
agent, its inbox and the SQL store of the daemon on the virtual loop.

Without faults both must write the same journal, turn for turn: what a fast replay proves of a
policy holds for the daemon, too.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import TypeVar

from treasury.domain.events import Configure, Propose, SubmitJob
from treasury.domain.time import NEVER
from treasury.domain.turn import Entry
from treasury.engine import Book, snapshot
from treasury.ports import Store, Strategy
from treasury.runtime.agent import Agent
from treasury_simulations.scenario import Scenario
from treasury_simulations.simulate import market_of
from treasury_simulations.storm.loop import VirtualLoop
from treasury_simulations.world import World

T = TypeVar("T")


class _Clock:
    """The virtual loop's time, counted from the scenario's first instant [ns]."""

    def __init__(self, loop: VirtualLoop, start: int) -> None:
        self._loop, self._start = loop, start

    def now(self) -> int:
        """The present instant [ns]."""
        return self._start + self._loop.now_ns

    async def sleep_until(self, instant: int) -> None:
        """Return at an instant [ns]."""
        future = self._loop.create_future()
        self._loop.call_at_ns(instant - self._start, future.set_result, None)
        await future


class _Inline:
    """Runs a function at once."""

    async def run(self, function: Callable[[], T]) -> T:
        """The function's result or its exception."""
        return function()


class QuietShell:
    """One replay. journal: where it goes."""

    def __init__(self, scenario: Scenario, strategy: Strategy, journal: Store) -> None:
        self._scenario, self._strategy = scenario, strategy
        self._journal = journal
        trace, _ = market_of(scenario)
        self._world = World(trace, scenario.markets, scenario.jobs, scenario.seed)
        header = getattr(trace, "header", None)
        first = min(self._world.next_at, *(spec.submitted_at for spec in scenario.jobs[:1]), NEVER)
        self._start = first if header is None else header.start
        self._end = getattr(trace, "end", NEVER) if header is None else header.end
        jobs = sorted(scenario.jobs, key=lambda spec: (spec.submitted_at, spec.id))
        self._due = deque(jobs)
        self._over = asyncio.Event()
        self._loop = VirtualLoop()
        self._alarm: asyncio.Handle = self._loop.call_soon(lambda: None)

    def run(self) -> bytes:
        """Replay until every job is over, or until the trace ends; the journal's hash after the
        last turn."""
        loop = self._loop
        try:
            loop.run_until_complete(self._run())
        finally:
            loop.bury()
            loop.close()
        return self._journal.last()[1]

    async def _run(self) -> None:
        loop = self._loop
        clock = _Clock(loop, self._start)
        agent = Agent(Book(), self._journal, clock, _Inline())
        agent.follow(lambda entry, book: self._carry_out(agent, entry, book))
        settings, budgets = self._scenario.settings, self._scenario.budgets
        turns = loop.create_task(agent.run())
        await agent.submit(Configure(settings, budgets), *self._world.catalogue())
        if self._end < NEVER:
            loop.call_at_ns(self._end - self._start, self._over.set)
        turns.add_done_callback(lambda _: self._over.set())
        await self._over.wait()
        if turns.done():
            turns.result()
        turns.cancel()

    def _carry_out(self, agent: Agent, entry: Entry, book: Book) -> None:
        """What follows from a turn, before the next one: commands, answers, the strategy's plan."""
        for index, approved in enumerate(entry.commands):
            self._world.execute(approved.command, entry.at)
            self._journal.delivered(entry.seq, index)
        self._tell(agent, entry.at)
        if entry.propose is not None:
            agent.put(Propose(self._strategy.propose(snapshot(book, entry.at))))
        self._set_alarm(agent)
        if not book.jobs and not self._due and not self._world.busy:
            self._over.set()

    def _tell(self, agent: Agent, now: int) -> None:
        for event in self._world.advance(now):
            agent.put(event)
        while self._due and self._due[0].submitted_at <= now:
            agent.put(SubmitJob(self._due.popleft()))

    def _set_alarm(self, agent: Agent) -> None:
        """Look again when the world or a submission is due."""
        due = self._due[0].submitted_at if self._due else NEVER
        following = min(self._world.next_at, due)
        self._alarm.cancel()
        if following < NEVER:
            self._alarm = self._loop.call_at_ns(following - self._start, self._ring, agent)

    def _ring(self, agent: Agent) -> None:
        self._tell(agent, self._start + self._loop.now_ns)
        self._set_alarm(agent)
