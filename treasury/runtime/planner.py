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
from treasury.runtime.teaching import Teacher

_FIRST: Final = SECOND
_MOST: Final = MINUTE


class Planner:
    """One question at a time: the snapshot of the turn that asked, and no other, so that what a
    strategy has seen follows from the journal. A question without an answer is closed by an empty
    plan, and the next turn asks anew.

    limit [ns]: an answer that takes longer is about a market that is gone, and is thrown away.
    late: since when [ns] a strategy has not come back from a question, None while all is well.
    learning: whether the strategy is being taught what an earlier one saw.
    """

    def __init__(
        self,
        agent: Agent,
        strategy: Strategy,
        teacher: Teacher,
        limit: int,
        clock: Clock,
        dice: Dice,
        planning: Offload,
        observer: Observer,
    ) -> None:
        self.late: int | None = None
        self.learning = False
        self._agent, self._teacher, self._limit, self._clock = agent, teacher, limit, clock
        self._planning, self._observer = planning, observer
        self._strategy, self._next = strategy, strategy
        self._backoff = Backoff(dice.stream("planner"), _FIRST, _MOST)
        self._asked = asyncio.Event()
        self._view: Snapshot | None = None
        self._taught = False

    def see(self, entry: Entry, book: Book) -> None:
        """Keep the question of a committed turn, as the book is now."""
        if entry.propose is not None:
            self._view = snapshot(book, entry.at)
            self._asked.set()

    def exchange(self, strategy: Strategy) -> None:
        """Have another strategy answer from the next question on, once it has been taught."""
        self._next, self._taught = strategy, False

    async def run(self) -> None:
        """Answer questions until cancelled; one that an earlier process left is answered first."""
        await self._learn()
        if self._agent.book.plan_pending:
            self._asked.set()
        while True:
            await self._asked.wait()
            self._asked.clear()
            while not self._taught:
                await self._learn()
            book = self._agent.book
            if not book.plan_pending:
                continue
            view = self._view
            if view is None or view.version != book.plan_version:
                # Asked longer ago than strategies remember.
                view = snapshot(book, max(self._clock.now(), book.now))
            plan = await self._ask(view)
            if plan is None:
                await self._clock.sleep_until(self._clock.now() + self._backoff.next())
                plan = Plan(view.version, (), review_at=self._clock.now())
            else:
                self._backoff.reset()
            self._agent.put(Propose(plan))

    async def _learn(self) -> None:
        """Teach the strategy that is to answer from now on."""
        strategy, self._taught = self._next, True
        self.learning = True
        open_question = await self._teacher.teach(strategy, self._agent.book.seq)
        self.learning = False
        self._strategy = strategy
        if self._view is None:
            self._view = open_question

    async def _ask(self, view: Snapshot) -> Plan | None:
        """The strategy's plan, or None when there is none to be had."""
        began = self._clock.now()
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
            answer = await self._planning.run(partial(self._strategy.propose, view))
            if is_plan(answer, view.version):
                return answer
        except Exception as error:  # noqa: BLE001 - advice may fail in any way; money goes on
            return f"{type(error).__name__}: {error}"
        return f"the answer is no plan for version {view.version}"
