"""Rehearsal, real quotes and pretend machines: what would have been done, and what would it cost.

A pretend market grants what it is asked for after the real one's delays and takes it back when its
price rises above the bid. A pretend runner works as fast as the offer does. What they hold is read
from the book after a restart: there is no other truth about it.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Final

import msgspec

from treasury.domain.commands import Acquire, ChangeBid, Release, StartWork, StopWork
from treasury.domain.events import (
    LeaseSeen,
    MachineNoticed,
    WorkBegan,
    WorkEnded,
    WorkSaved,
    WorkStopped,
)
from treasury.domain.ids import JobId, LeaseId, OfferId, PlacementId
from treasury.domain.job import REFERENCE_THROUGHPUT, JobState
from treasury.domain.lease import LeaseState
from treasury.domain.market import Offer, Quote
from treasury.domain.time import MINUTE, SECOND
from treasury.engine import Book
from treasury.ports import Clock, Provider
from treasury.runtime.agent import Agent

# How long a machine that is gone stays listed.
_REMEMBER: Final = 10 * MINUTE
_LEAST: Final = SECOND // 1_000
# How often a job without a checkpoint interval tells its progress.
_SAVE_EVERY: Final = 10 * MINUTE


class _Machine(msgspec.Struct):
    """A pretend machine."""

    seen: LeaseSeen
    offer: OfferId
    bid: int
    ready_at: int
    ended_at: int | None = None


class PretendProvider:
    """A market whose catalogue and prices are another's, and whose machines are nobody's."""

    def __init__(self, real: Provider, clock: Clock) -> None:
        self.name, self.capabilities = real.name, real.capabilities
        self._real, self._clock = real, clock
        self._machines: dict[LeaseId, _Machine] = {}

    def remember(self, book: Book) -> None:
        """Hold what a book says is held here."""
        for lease in book.leases.values():
            if lease.provider != self.name or lease.state in (
                LeaseState.REQUESTED,
                LeaseState.UNRESOLVED,
            ):
                continue
            token = book.placements[lease.placement].token
            seen = LeaseSeen(
                lease.id, lease.placement, lease.machine, lease.granted_at, 0, token, ready=True
            )
            self._machines[lease.id] = _Machine(seen, lease.offer, lease.bid, lease.granted_at)

    async def offers(self) -> Sequence[Offer]:
        """The real catalogue."""
        return await self._real.offers()

    async def quotes(self) -> AsyncIterator[Quote]:
        """The real quotes; machines whose price left their bid are taken where that is the way."""
        async for quote in self._real.quotes():
            if self.capabilities.bids:
                for machine in self._machines.values():
                    if machine.offer == quote.offer and quote.rate > machine.bid:
                        machine.ended_at = machine.ended_at or self._clock.now()
            yield quote

    async def notices(self) -> AsyncIterator[MachineNoticed]:
        """Nothing: no real machine is ours."""
        await asyncio.Event().wait()
        # A generator needs a yield.
        yield MachineNoticed(LeaseId(0), 0, 0)

    async def acquire(self, request: Acquire) -> None:
        """Granted, always; a real market is not as kind."""
        granted_at = self._clock.now() + self.capabilities.grant_delay_ns
        for lease in request.leases:
            if lease not in self._machines:
                seen = LeaseSeen(
                    lease, request.placement, f"pretend-{lease}", granted_at, 0, request.token
                )
                ready_at = granted_at + self.capabilities.boot_ns
                self._machines[lease] = _Machine(seen, request.offer, request.bid, ready_at)

    async def release(self, request: Release) -> None:
        """Gone at once."""
        machine = self._machines.get(request.lease)
        if machine is not None and machine.ended_at is None:
            machine.ended_at = self._clock.now()

    async def leases(self) -> Sequence[LeaseSeen]:
        """What is held, and for a while what was."""
        now = self._clock.now()
        self._machines = {
            lease: machine
            for lease, machine in self._machines.items()
            if machine.ended_at is None or now - machine.ended_at < _REMEMBER
        }
        return [
            msgspec.structs.replace(
                machine.seen, ready=machine.ready_at <= now, ended_at=machine.ended_at
            )
            for machine in self._machines.values()
            if machine.seen.granted_at <= now
        ]

    async def rebid(self, request: ChangeBid) -> None:
        """Taken at once."""
        machine = self._machines.get(request.lease)
        if machine is not None:
            machine.bid = request.bid

    async def close(self) -> None:
        """Close the real one."""
        await self._real.close()


class PretendRunner:
    """Works by the clock: a job's progress is the time it had, times the speed of its machines.
    Make it on the agent's loop; `run` is a part of the daemon."""

    def __init__(self, agent: Agent, clock: Clock) -> None:
        self._agent, self._clock = agent, clock
        # Placement to (job, first useful instant, work done by then, speed).
        self._working: dict[PlacementId, tuple[JobId, int, int, int]] = {}
        self._changed = asyncio.Event()

    async def start(self, request: StartWork) -> None:
        """Begin, after the job's own overhead."""
        placement = self._agent.book.placements.get(request.placement)
        job = self._agent.book.jobs.get(request.job)
        if placement is None or job is None or request.placement in self._working:
            return
        useful_from = self._clock.now() + job.spec.start_overhead
        self._working[request.placement] = (
            request.job,
            useful_from,
            request.work_done,
            placement.speed,
        )
        self._changed.set()

    async def stop(self, request: StopWork) -> None:
        """Stop with all that is done: a pretend checkpoint costs nothing."""
        work = self._working.pop(request.placement, None)
        job = self._agent.book.jobs.get(request.job)
        if job is None:
            return
        now = self._clock.now()
        done = job.work_done if work is None else self._done(work, now)
        self._agent.put(WorkStopped(request.job, request.placement, now, done))

    def _done(self, work: tuple[JobId, int, int, int], now: int) -> int:
        _, useful_from, done, speed = work
        return done + max(0, now - useful_from) * speed // REFERENCE_THROUGHPUT

    def remember(self, book: Book) -> None:
        """Go on with what a book says is running."""
        for job in book.jobs.values():
            if job.state not in (JobState.STARTING, JobState.RUNNING, JobState.STOPPING):
                continue
            placement = None if job.placement is None else book.placements.get(job.placement)
            if placement is not None and placement.useful_from is not None:
                self._working[placement.id] = (
                    job.spec.id,
                    placement.useful_from,
                    job.work_done,
                    placement.speed,
                )

    async def run(self) -> None:
        """Tell what has happened, when it has, until cancelled."""
        told: dict[PlacementId, int] = {}
        while True:
            now = self._clock.now()
            self._changed.clear()
            following = now + MINUTE
            for placement, work in list(self._working.items()):
                following = min(following, self._tell(placement, work, told, now))
            told = {placement: at for placement, at in told.items() if placement in self._working}
            try:
                async with asyncio.timeout(max(_LEAST, following - now) / SECOND):
                    await self._changed.wait()
            except TimeoutError:
                continue

    def _tell(
        self,
        placement: PlacementId,
        work: tuple[JobId, int, int, int],
        told: dict[PlacementId, int],
        now: int,
    ) -> int:
        """Say what is new of one job; when [ns] there will be something new again."""
        job_id, useful_from, before, speed = work
        job = self._agent.book.jobs.get(job_id)
        if job is None or job.placement != placement:
            del self._working[placement]
            return now + MINUTE
        if now < useful_from:
            return useful_from
        if placement not in told:
            told[placement] = now
            self._agent.put(WorkBegan(job_id, placement, useful_from))
        done = self._done(work, now)
        ends_at = useful_from - (before - job.spec.work) * REFERENCE_THROUGHPUT // max(1, speed)
        if done >= job.spec.work:
            del self._working[placement]
            self._agent.put(WorkEnded(job_id, placement, now))
            return now + MINUTE
        every = job.spec.checkpoint_interval or _SAVE_EVERY
        if now - told[placement] >= every:
            told[placement] = now
            self._agent.put(WorkSaved(job_id, placement, now, done))
        return min(ends_at + 1, told[placement] + every)
