"""Asking the strategy, away from the loop, again and again until there is a plan to judge."""

import asyncio
from functools import partial
from typing import Final

from treasury.domain.events import Propose
from treasury.domain.plan import Plan, Snapshot, is_plan
from treasury.domain.time import MINUTE, SECOND
from treasury.domain.turn import Entry
from treasury.engine import Book, snapshot
from treasury.ports import Clock, Dice, Offload, Strategy
from treasury.runtime.agent import Agent
from treasury.runtime.observer import Observer
from treasury.runtime.pacing import Backoff

_FIRST: Final = SECOND
_MOST: Final = MINUTE


class Planner:
    """One question at a time. strategy may be replaced between two questions. limit [ns]: an answer
    that takes longer is about a market that is gone, and is thrown away. late: since when [ns] a
    strategy has not come back from a question, None while all is well."""

    def __init__(
        self,
        agent: Agent,
        strategy: Strategy,
        limit: int,
        clock: Clock,
        dice: Dice,
        planning: Offload,
        observer: Observer,
    ) -> None:
        self.strategy = strategy
        self.late: int | None = None
        self._agent, self._limit, self._clock = agent, limit, clock
        self._planning, self._observer = planning, observer
        self._backoff = Backoff(dice.stream("planner"), _FIRST, _MOST)
        self._asked = asyncio.Event()

    def see(self, entry: Entry, _book: Book) -> None:
        """Notice that a committed turn asks for a plan."""
        if entry.propose is not None:
            self._asked.set()

    async def run(self) -> None:
        """Answer questions until cancelled; one that an earlier process left is answered first."""
        if self._agent.book.plan_pending:
            self._asked.set()
        while True:
            await self._asked.wait()
            self._asked.clear()
            while self._agent.book.plan_pending:
                plan = await self._ask()
                if plan is not None:
                    self._backoff.reset()
                    self._agent.put(Propose(plan))
                    break
                await self._clock.sleep_until(self._clock.now() + self._backoff.next())

    async def _ask(self) -> Plan | None:
        """A plan for the market as it is now, or None when there is none to be had."""
        book, began = self._agent.book, self._clock.now()
        view = snapshot(book, max(began, book.now))
        call = asyncio.get_running_loop().create_task(self._propose(view), name="plan")
        try:
            async with asyncio.timeout(self._limit / SECOND):
                answer = await asyncio.shield(call)
        except TimeoutError:
            self._observer.plan_failed(view.version, f"no plan within {self._limit // SECOND} s")
            self.late = began
            # A thread cannot be stopped, and a strategy is not asked twice at once.
            await asyncio.wait([call])
            self.late = None
            return None
        except asyncio.CancelledError:
            call.cancel()
            raise
        if isinstance(answer, Plan):
            self._observer.planned(view.version, len(answer.actions), self._clock.now() - began)
            return answer
        self._observer.plan_failed(view.version, answer)
        return None

    async def _propose(self, view: Snapshot) -> Plan | str:
        """The strategy's plan, or why it is none."""
        try:
            answer = await self._planning.run(partial(self.strategy.propose, view))
            if is_plan(answer, view.version):
                return answer
        except Exception as error:  # noqa: BLE001 - advice may fail in any way; money goes on
            return f"{type(error).__name__}: {error}"
        return f"the answer is no plan for version {view.version}"
