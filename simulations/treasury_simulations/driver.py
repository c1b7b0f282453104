"""The replay driver: integer time, one heap of events, the production engine, no shell.

At each instant: what the world has to tell, jobs that are due and the wake-up the engine asked for
make one batch; the engine takes a step; the turn is committed; then, and only then, its commands
reach the world and the strategy is asked. That repeats at the same instant until all is quiet.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Final, Protocol

from treasury.domain.budget import Budget
from treasury.domain.errors import InvariantBroken
from treasury.domain.events import CancelJob, Configure, Input, Propose, SubmitJob, Wake
from treasury.domain.job import JobSpec
from treasury.domain.plan import Plan, is_plan
from treasury.domain.settings import EngineSettings
from treasury.domain.time import NEVER
from treasury.domain.turn import Entry
from treasury.engine import Book, snapshot, step
from treasury.ports import Store, Strategy
from treasury_simulations.world import World

# Turns at one instant before it is taken for a livelock: a real instant needs a few a job.
TURNS_AT_ONE_INSTANT: Final = 10_000
_WAKE: Final = Wake()
# How often progress is reported over a whole run.
_REPORTS: Final = 1_000

Progress = Callable[[int, int], None]


class Check(Protocol):
    """Looks on during a replay and raises InvariantBroken. Sees each turn after its commit and
    before its commands reach the world."""

    def begin(self, world: World, book: Book) -> None:
        """Before the first turn."""
        ...

    def see(self, entry: Entry) -> None:
        """After each turn's commit."""
        ...

    def finish(self) -> None:
        """After the last turn, when nothing is held any more."""
        ...


class Driver:
    """One replay. `start` and `end` [ns]: of the trace; `end` NEVER for as long as there is work.
    watch: called with each committed turn."""

    def __init__(
        self,
        world: World,
        strategy: Strategy,
        store: Store,
        watch: Callable[[Entry], None],
        checks: Sequence[Check] = (),
        progress: Progress | None = None,
    ) -> None:
        self.world = world
        self.strategy = strategy
        self.store = store
        self.book = Book()
        self.journal_hash = b""
        self.strategy_errors = 0
        self._watch = watch
        self._checks = checks
        self._progress = progress
        self._plan: Plan | None = None
        self._wake_at = NEVER
        self._jobs: list[JobSpec] = []
        self._submitted = 0
        self._due_at = NEVER

    def run(
        self,
        settings: EngineSettings,
        budgets: tuple[Budget, ...],
        jobs: Iterable[JobSpec],
        start: int,
        end: int,
    ) -> int:
        """Replay from `start` until every job is over, or until `end`: what still runs then is
        cancelled. Returns the last instant [ns]."""
        self._jobs = sorted(jobs, key=lambda spec: (spec.submitted_at, spec.id))
        self._submitted = 0
        self._due_at = self._jobs[0].submitted_at if self._jobs else NEVER
        for check in self._checks:
            check.begin(self.world, self.book)
        now, ending = start, False
        self._turn((Configure(settings, budgets), *self.world.catalogue()), now)
        reports = max(1, (end - start) // _REPORTS)
        report_at = start if self._progress is not None and end < NEVER else NEVER
        while True:
            self._instant(now)
            if ending:
                if not self.world.busy:
                    break
            elif not self.book.jobs and self._due_at >= NEVER:
                ending = True
                continue
            following = min(self.world.next_at, self._due_at, self._wake_at)
            if not ending and (following >= end or following >= NEVER):
                now, ending = (end if end < NEVER else now), True
                self._due_at = NEVER
                self._cancel(now)
                continue
            if following >= NEVER:
                raise InvariantBroken("machines are held at the end, and nothing will end them")
            now = following
            if now >= report_at and self._progress is not None:
                self._progress(now - start, end - start)
                report_at = now + reports
        for check in self._checks:
            check.finish()
        if self._progress is not None:
            self._progress(1, 1)
        return now

    def _instant(self, now: int) -> None:
        """Turns at one instant until nobody has anything to say."""
        world, jobs = self.world, self._jobs
        for _ in range(TURNS_AT_ONE_INSTANT):
            batch: list[Input] = world.advance(now)
            while self._due_at <= now:
                batch.append(SubmitJob(jobs[self._submitted]))
                self._submitted += 1
                more = self._submitted < len(jobs)
                self._due_at = jobs[self._submitted].submitted_at if more else NEVER
            if self._plan is not None:
                batch.append(Propose(self._plan))
                self._plan = None
            if self._wake_at <= now:
                batch.append(_WAKE)
            if not batch:
                return
            self._turn(tuple(batch), now)
        raise InvariantBroken(f"{TURNS_AT_ONE_INSTANT} turns at {now} and no end: a livelock")

    def _cancel(self, now: int) -> None:
        """Cancel every job that is not over."""
        jobs = tuple([CancelJob(job) for job in self.book.jobs])
        if jobs:
            self._turn(jobs, now)

    def _turn(self, batch: tuple[Input, ...], now: int) -> None:
        """One step, its commit, and what follows from it."""
        turn = step(self.book, batch, now)
        entry = turn.entry
        self.journal_hash = self.store.append(entry)
        self._wake_at = turn.wake_at
        self._watch(entry)
        for check in self._checks:
            check.see(entry)
        if entry.commands:
            for index, approved in enumerate(entry.commands):
                self.world.execute(approved.command, now)
                self.store.delivered(entry.seq, index)
        if entry.propose is not None:
            self._plan = self._ask(entry.propose, now)

    def _ask(self, version: int, now: int) -> Plan:
        """The strategy's plan; an empty one, counted as an error, when it has none to give."""
        try:
            plan = self.strategy.propose(snapshot(self.book, now))
            if is_plan(plan, version):
                return plan
        # Advice may fail in any way; money and the replay go on, and the record tells how often.
        except Exception:  # noqa: BLE001, S110
            pass
        self.strategy_errors += 1
        return Plan(version, ())
