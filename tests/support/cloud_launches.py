"""Launches by the thousand: the real daemon and an adapter against a counterpart that misbehaves.

Time is the loop's, and the loop hurries, so that timeouts, back-offs and notices keep their
proportions. Nodes are pretended by looking at the book, and survive the daemon's crashes as real
ones do.
"""

import asyncio
import selectors
import time
from collections import Counter
from collections.abc import Callable
from random import Random
from typing import Any

from tests.counterparts.cloud import Cloud, Machine
from tests.support.daemon import Cheapest, Log
from treasury.domain.budget import Budget
from treasury.domain.errors import InvariantBroken
from treasury.domain.events import (
    LeaseMetered,
    MachineReady,
    SubmitJob,
    WorkBegan,
    WorkEnded,
    WorkStopped,
)
from treasury.domain.job import JobSpec, JobState, Requirement
from treasury.domain.lease import LeaseState
from treasury.domain.money import MICRO
from treasury.domain.plan import Place, Plan
from treasury.domain.settings import EngineSettings
from treasury.domain.time import MINUTE, SECOND
from treasury.ports import Clock, Provider
from treasury.runtime.agent import Agent
from treasury.runtime.clocks import Host, InlineOffload, SystemDice
from treasury.runtime.daemon import Daemon, Options
from treasury.runtime.reload import Wanted
from treasury.store import MemoryStore

START = 1_900_000_000 * SECOND
# A machine that runs on when all jobs are over is an orphan nobody has found.
SETTLE = 20 * MINUTE


class HastyLoop(asyncio.SelectorEventLoop):
    """A loop on which time passes `speed` times faster; sockets and threads are as ever."""

    def __init__(self, speed: int) -> None:
        self._speed, self._began = speed, time.monotonic()  # noqa: TID251 - this is a clock
        super().__init__(_Patient(selectors.DefaultSelector(), speed))

    def time(self) -> float:
        """Seconds since the loop was made, hurried."""
        return (time.monotonic() - self._began) * self._speed  # noqa: TID251 - as above


class _Patient:
    """A selector that waits the hurried way."""

    def __init__(self, selector: selectors.BaseSelector, speed: int) -> None:
        self._selector, self._speed = selector, speed

    def select(self, timeout: float | None = None) -> Any:
        return self._selector.select(None if timeout is None else timeout / self._speed)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._selector, name)


class LoopClock:
    """The hurried loop's time as instants."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop

    def now(self) -> int:
        """The present instant [ns]."""
        return START + int(self._loop.time() * SECOND)

    async def sleep_until(self, instant: int) -> None:
        """Return at an instant or after."""
        while (left := instant - self.now()) > 0:  # noqa: ASYNC110 - it is a clock
            await asyncio.sleep(left / SECOND)


class Spread(Cheapest):
    """Places every queued job on an offer that can take it, a different one each time."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        self._dice = Random(seed)

    def propose(self, snapshot: Any) -> Plan:
        """See the port."""
        free = [view for view in snapshot.offers if view.rate > 0 and view.free(snapshot.now)]
        jobs = [job for job in snapshot.jobs if job.state is JobState.QUEUED]
        if not free or not jobs:
            return Plan(snapshot.version, (), review_at=snapshot.now + 5 * SECOND)
        places = []
        for job in jobs:
            view = self._dice.choice(free)
            if view.offer.shape.gpu in job.spec.requirement.throughput:
                places.append(Place(job.spec.id, view.offer.id, 2 * view.rate))
        return Plan(snapshot.version, tuple(places), review_at=snapshot.now + 5 * SECOND)


class Survivor(MemoryStore):
    """A journal that outlives the daemon."""

    def close(self) -> None:
        """Nothing is forgotten."""


class Hands:
    """A runner whose work is done by `Launches.nodes`."""

    async def start(self, request: Any) -> None:
        """Nodes look for themselves."""

    async def stop(self, request: Any) -> None:
        """As above."""


class Launches:
    """So many jobs through daemons that crash, and the adapters that `make` makes.

    together: jobs that are under way at once; nodes: most machines of one. Once a second, of a
    thousand: crashes of the daemon, and interruptions of each machine.
    """

    def __init__(
        self,
        cloud: Cloud,
        clock: Clock,
        make: Callable[[], Provider | list[Provider]],
        *,
        jobs: int,
        gpus: tuple[str, ...],
        seed: int,
        together: int = 60,
        crashes: int = 10,
        interruptions: int = 2,
        nodes: int = 1,
    ) -> None:
        self.cloud, self.clock, self.make = cloud, clock, make
        self.jobs, self.gpus, self.seed, self.together = jobs, gpus, seed, together
        self.crash_chance, self.take_chance, self.gang = crashes, interruptions, nodes
        self.store, self.log, self.dice = Survivor(), Log(), Random(seed)
        self.charges: dict[int, int] = {}
        self.crashed = self.taken = 0
        self._submitted = 0
        self._daemon: Daemon | None = None

    async def run(self) -> None:
        """Until every job is over and nothing is held any more."""
        while not await self._life():
            self.crashed += 1

    async def _life(self) -> bool:
        """One daemon: True when all is done, False when it was killed."""
        inline = InlineOffload()
        host = Host(self.clock, SystemDice(self.dice.getrandbits(32)), inline, inline, inline)
        made = self.make()
        providers = made if isinstance(made, list) else [made]
        strategy = self.strategy()
        wanted = Wanted(
            "test.toml",
            EngineSettings(
                installation="test-house", tick=SECOND, accrual=10 * MINUTE, quarantine=10 * SECOND
            ),
            (Budget(cost_centre="team", amount=10_000_000 * MICRO),),
            "spread",
            lambda: strategy,
        )
        daemon = self._daemon = Daemon(
            host,
            self.store,
            wanted,
            {provider.name: provider for provider in providers},
            lambda _agent: Hands(),
            options=Options(quiet_after=60 * MINUTE),
            observer=self.log,
        )
        life = asyncio.ensure_future(daemon.run())
        try:
            ready = asyncio.ensure_future(daemon.ready.wait())
            await asyncio.wait([life, ready], return_when=asyncio.FIRST_COMPLETED)
            if not ready.done():
                raise life.exception() or InvariantBroken("the daemon ended before it was ready")
            daemon.agent.watch(self._see)
            return await self._work(daemon.agent, life)
        finally:
            life.cancel()
            await asyncio.wait([life])

    async def _work(self, agent: Agent, life: "asyncio.Future[None]") -> bool:
        over_since = 0
        while True:
            await self.clock.sleep_until(self.clock.now() + SECOND)
            if life.done():
                raise life.exception() or InvariantBroken("the daemon ended by itself")
            self._submit(agent)
            self._nodes(agent)
            if await self.disturb(agent):
                return False
            over = len(agent.book.ended) == self.jobs and not agent.book.leases
            over_since = (over_since or self.clock.now()) if over else 0
            if over and (not self.cloud.alive or self.clock.now() - over_since > SETTLE):
                return True

    def strategy(self) -> Any:
        """What decides in one life."""
        return Spread(self.dice.getrandbits(32))

    async def disturb(self, agent: Agent) -> bool:
        """What happens once a second; True when the daemon is to die."""
        half = not self.crashed and 2 * len(agent.book.ended) >= self.jobs
        if half or self.dice.random() * 1_000 < self.crash_chance:
            return True
        if self.dice.random() * 1_000 < self.take_chance * len(self.cloud.alive):
            self._take()
        return False

    def _submit(self, agent: Agent) -> None:
        known = len(agent.book.jobs) + len(agent.book.ended)
        # A submission that was lost with a daemon is made again.
        self._submitted = min(self._submitted, known)
        for number in range(self._submitted, self.jobs):
            if number - len(agent.book.ended) >= self.together:
                return
            agent.put(SubmitJob(self._job(number)))
            self._submitted = number + 1

    def _job(self, number: int) -> JobSpec:
        return JobSpec(
            id=f"job-{number}",
            cost_centre="team",
            requirement=Requirement(
                throughput=dict.fromkeys(self.gpus, 1_000), nodes=1 + number % self.gang
            ),
            work=self.work(number),
            submitted_at=self.clock.now(),
        )

    def work(self, number: int) -> int:
        """How long a job takes [ns]."""
        return (20 + number * 7 % 60) * SECOND

    def _nodes(self, agent: Agent) -> None:
        """What machines report, level by level: lost reports are made again."""
        book, now = agent.book, self.clock.now()
        for lease in list(book.leases.values()):
            if lease.state is LeaseState.GRANTED and lease.machine in self.cloud.alive:
                agent.put(MachineReady(lease.id, now))
        for job in list(book.jobs.values()):
            if job.placement is None:
                continue
            placement = book.placements[job.placement]
            machines = [book.leases[i].machine for i in placement.leases if i in book.leases]
            if any(machine not in self.cloud.alive for machine in machines):
                continue
            if job.state is JobState.STARTING:
                agent.put(WorkBegan(job.spec.id, placement.id, now))
            elif job.state is JobState.STOPPING:
                agent.put(WorkStopped(job.spec.id, placement.id, now, job.work_done))
            elif job.state is JobState.RUNNING and (
                now - (placement.useful_from or now) >= job.spec.work
            ):
                agent.put(WorkEnded(job.spec.id, placement.id, now))

    def _take(self) -> None:
        machines = [m for m in self.cloud.alive.values() if m.taken_at is None]
        if machines:
            self.taken += 1
            self.cloud.take(self.dice.choice(machines), 0)

    def _see(self, entry: Any, _book: Any) -> None:
        for fact in entry.facts:
            if isinstance(fact, LeaseMetered):
                self.charges[fact.lease] = fact.charge

    # --- what must hold --------------------------------------------------------------------------

    def verify(self) -> dict[str, object]:
        """Nothing doubled, nothing orphaned, the ledger is the meter; returns what happened."""
        from treasury_providers.common.tags import PLACEMENT, read_leases

        made: list[Machine] = [machine for machine in self.cloud.all if machine.allocated]
        assert not self.cloud.alive, f"orphans: {sorted(self.cloud.alive)}"
        per_placement = Counter(machine.tags[PLACEMENT] for machine in made)
        asked: dict[str, set[int]] = {}
        for machine in made:
            leases = read_leases(machine.tags["treasury-lease"])
            asked.setdefault(machine.tags[PLACEMENT], set()).update(leases)
        # A gang's tags name all its leases or each its own: either way, one machine a lease.
        doubled = {p: n for p, n in per_placement.items() if n != len(asked[p])}
        assert not doubled, f"placement -> machines: {doubled}"
        # The journal, read back, is the book that was: charges of lives that ended in a crash.
        for entry in self.store.entries():
            self._see(entry, None)
        booked = sum(self.charges.values())
        metered = sum(self.cloud.charge(machine) for machine in made)
        assert booked == metered, f"the ledger says {booked}, the meter {metered} micro-USD"
        return {
            "machines": len(made),
            "crashes": self.crashed,
            "interruptions": self.taken,
            "faults": {f"{op.value} {fault.value}": n for (op, fault), n in self.cloud.met.items()},
            "calls": {op.value: n for op, n in self.cloud.calls.items()},
            "micro_usd": booked,
        }


def run_hastily(main: Callable[[asyncio.AbstractEventLoop], Any], speed: int) -> Any:
    """Run a coroutine function on a hurried loop of its own."""
    with asyncio.Runner(loop_factory=lambda: HastyLoop(speed)) as runner:
        return runner.run(main(runner.get_loop()))
