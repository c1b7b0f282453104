"""The pretend world: markets that grant, refuse and take back, machines that work, and a meter.

It has its own truth and shares no rule with the engine. Commands go in, inputs come out; both
happen at integer instants, and the same trace, models and seed give the same world. At one instant
work ends before prices move, prices move before machines are taken, and machines are taken before
requests are decided.
"""

from collections.abc import Callable, Iterable, Mapping
from heapq import heappop, heappush
from random import Random
from typing import Any, Final

from treasury.domain.commands import Acquire, ChangeBid, Command, Release, StartWork, StopWork
from treasury.domain.errors import InvariantBroken
from treasury.domain.events import (
    AcquireDeclined,
    AcquireGranted,
    Input,
    ListOffers,
    MachineLost,
    MachineNoticed,
    MachineReady,
    MachineReleased,
    SeeLeases,
    WorkBegan,
    WorkEnded,
    WorkStopped,
)
from treasury.domain.ids import JobId, LeaseId, OfferId, PlacementId, Token
from treasury.domain.job import JobSpec
from treasury.domain.time import NEVER
from treasury_simulations.listing import Listing
from treasury_simulations.machines import Gang, Machine, Work
from treasury_simulations.market import Market, MarketTrace, Pool, quotes
from treasury_simulations.openings import Openings
from treasury_simulations.scenario import MarketModel

# Order of what is due at one instant; prices move after _WORK.
_WORK: Final = 0
_TAKE: Final = 1
_DECIDE: Final = 2
_BOOT: Final = 3
# Answers to request tokens are remembered for this many requests, as real markets forget them too.
_ANSWERS_KEPT: Final = 4_096

Answer = AcquireGranted | AcquireDeclined


class World:
    """All providers and machines. machines: those that are billed, in order of their grant.
    finished: machines that ended and were not collected yet. log: where it is a list, every command
    that reached the world is written to it."""

    def __init__(
        self,
        trace: MarketTrace,
        markets: Mapping[str, MarketModel],
        jobs: Iterable[JobSpec],
        seed: int = 0,
    ) -> None:
        self.market = Market(trace, markets)
        self.machines: dict[LeaseId, Machine] = {}
        self.finished: list[Machine] = []
        self.gangs: dict[PlacementId, Gang] = {}
        self.working: dict[JobId, Gang] = {}
        self.saved: dict[JobId, int] = {}
        self.log: list[Command] | None = None
        self._jobs = {spec.id: spec for spec in jobs}
        self._pools: dict[OfferId, Pool] = {pool.offer.id: pool for pool in self.market.pools}
        self._openings = Openings(self.market.pools)
        # One stream a purpose: drawing for one does not disturb the other.
        self._refusals = Random(f"{seed}/refusals")  # noqa: S311 - seeded: a run can be repeated
        self._takes = Random(f"{seed}/interruptions")  # noqa: S311 - as above
        self._heap: list[tuple[int, int, int, Callable[[Any, int], None], Any]] = []
        self._serial = 0
        self._replies: list[Input] = []
        self._answers: dict[Token, Answer | None] = {}
        self._pending = 0
        self._execute: dict[type, Callable[[Any, int], None]] = {
            Acquire: self._acquire,
            Release: self._release,
            ChangeBid: self._change_bid,
            StartWork: self._start_work,
            StopWork: self._stop_work,
        }
        self._listing = Listing(self.market.providers.values())

    # --- time ------------------------------------------------------------------------------------

    @property
    def next_at(self) -> int:
        """The next instant [ns] at which something happens, NEVER when nothing will."""
        own, market = self._heap[0][0] if self._heap else NEVER, self.market.next_at
        return own if own < market else market

    @property
    def busy(self) -> bool:
        """Whether we hold machines or wait for an answer to a request."""
        return bool(self.machines) or self._pending > 0

    def catalogue(self) -> list[ListOffers]:
        """What every provider sells."""
        return self.market.catalogue()

    def advance(self, now: int) -> list[Input]:
        """Let everything due at an instant [ns] happen; returns what we are told of it, together
        with the answers to commands since the last call. Instants may not be skipped."""
        heap, market = self._heap, self.market
        if (heap and heap[0][0] <= now) or market.next_at <= now:
            if min(heap[0][0] if heap else now, market.next_at) < now:
                raise InvariantBroken(f"the world was asked about {now} before what comes first")
            while heap and heap[0][0] <= now and heap[0][1] == _WORK:
                _, _, _, happen, subject = heappop(heap)
                happen(subject, now)
            if market.next_at <= now:
                self._move_market(now)
            while heap and heap[0][0] <= now:
                _, _, _, happen, subject = heappop(heap)
                happen(subject, now)
        replies, self._replies = self._replies, []
        return replies

    def _at(self, at: int, rank: int, happen: Callable[[Any, int], None], subject: object) -> None:
        self._serial += 1
        heappush(self._heap, (at, rank, self._serial, happen, subject))

    # --- commands --------------------------------------------------------------------------------

    def execute(self, command: Command, now: int) -> None:
        """Take a command at an instant [ns]; answers come with `advance`."""
        if self.log is not None:
            self.log.append(command)
        self._execute[type(command)](command, now)

    def _acquire(self, command: Acquire, now: int) -> None:
        token = command.token
        if token in self._answers:
            answer = self._answers[token]
            if answer is not None:
                self._replies.append(answer)
            return
        self._answers[token] = None
        if len(self._answers) > _ANSWERS_KEPT:
            del self._answers[next(iter(self._answers))]
        self._pending += 1
        pool = self._pools.get(command.offer)
        delay = 0 if pool is None else pool.offer.capabilities.grant_delay_ns
        if delay > 0:
            self._at(now + delay, _DECIDE, self._decide, command)
        else:
            self._decide(command, now)

    def _release(self, command: Release, now: int) -> None:
        machine = self.machines.get(command.lease)
        if machine is not None:
            work = machine.gang.work
            if work is not None:
                # Whatever ran there is gone with the machine, back to its last checkpoint.
                self._drop_work(machine.gang, work, now)
            self._end_machine(machine, now, "released")
        # Already gone is success.
        self._replies.append(MachineReleased(command.lease, now))

    def _change_bid(self, command: ChangeBid, now: int) -> None:
        machine = self.machines.get(command.lease)
        if machine is not None:
            machine.bid = command.bid
            if machine.pool.interruptible:
                self._outbid(machine.pool, now)

    def _start_work(self, command: StartWork, now: int) -> None:
        gang = self.gangs.get(command.placement)
        running = self.working.get(command.job)
        if running is not None:
            raise InvariantBroken(f"{command.job} is at work on placement {running.placement}")
        whole = gang is not None and len(gang.machines) == gang.size
        if gang is None or not whole or tuple(gang.machines) != command.leases:
            raise InvariantBroken(f"{command.job}: placement {command.placement} is not complete")
        if not all(machine.ready for machine in gang.machines.values()):
            raise InvariantBroken(f"{command.job}: placement {command.placement} is not ready")
        if command.work_done > self.saved.get(command.job, 0):
            raise InvariantBroken(f"{command.job}: no checkpoint holds {command.work_done} ns")
        spec = self._jobs[command.job]
        speed = spec.requirement.speed(gang.pool.offer)
        if speed <= 0:
            raise InvariantBroken(f"{command.job} does not fit {gang.pool.offer.id}")
        work = Work(spec, speed, command.work_done, now)
        work.follower = self._openings.follow(spec.requirement, now)
        gang.work = work
        self.working[command.job] = gang
        for machine in gang.machines.values():
            machine.works.append(work)
        if work.useful_from > now:
            self._at(work.useful_from, _WORK, self._begin_work, (gang, work))
        else:
            self._begin_work((gang, work), now)

    def _stop_work(self, command: StopWork, now: int) -> None:
        gang = self.gangs.get(command.placement)
        if gang is None or gang.work is None:
            # Already stopped is success, and was told when it happened.
            return
        work = gang.work
        done = self.saved[command.job] = work.done(now)
        self._end_work(gang, work, now, now)
        self._replies.append(WorkStopped(command.job, command.placement, now, done))

    # --- requests --------------------------------------------------------------------------------

    def _decide(self, command: Acquire, now: int) -> None:
        self._pending -= 1
        pool = self._pools.get(command.offer)
        error = "OfferGone" if pool is None else self._refusal(pool, command)
        if pool is None or error:
            answer: Answer = AcquireDeclined(command.placement, error, now)
            self._answers[command.token] = answer
            self._replies.append(answer)
            return
        count = len(command.leases)
        gang = Gang(command.placement, pool, command.token, count)
        self.gangs[command.placement] = gang
        for lease in command.leases:
            name = f"{pool.provider.name}-{lease}"
            machine = Machine(lease, name, gang, command.bid, now, pool.rate)
            gang.machines[lease] = pool.machines[lease] = self.machines[lease] = machine
        pool.staying += count
        pool.provider.held += count
        pool.note(now)
        names = tuple([machine.name for machine in gang.machines.values()])
        answer = AcquireGranted(command.token, command.placement, names, now, pool.rate)
        if command.token in self._answers:
            self._answers[command.token] = answer
        self._replies.append(answer)
        boot = pool.offer.capabilities.boot_ns
        for machine in gang.machines.values():
            if boot > 0:
                self._at(now + boot, _BOOT, self._boot, machine)
            else:
                self._boot(machine, now)

    def _refusal(self, pool: Pool, command: Acquire) -> str:
        """Why a request is refused, in the word for the error; empty when it is granted."""
        model, count = pool.provider.model, len(command.leases)
        if pool.offer.capabilities.bids and 0 <= command.bid < pool.rate:
            return "BidTooLow"
        if model.quota and pool.provider.held + count > model.quota:
            return "QuotaReached"
        if pool.rate < 0 or pool.free() < count or count > pool.offer.capabilities.gang_max:
            return "NoCapacity"
        if model.refusal_per_mille and self._refusals.randrange(1_000) < model.refusal_per_mille:
            return "NoCapacity"
        return ""

    def _boot(self, machine: Machine, now: int) -> None:
        if machine.ended_at is None:
            machine.ready = True
            self._replies.append(MachineReady(machine.lease, now))

    # --- work ------------------------------------------------------------------------------------

    def _begin_work(self, subject: tuple[Gang, Work], now: int) -> None:
        gang, work = subject
        if gang.work is not work:
            return
        self._replies.append(WorkBegan(work.spec.id, gang.placement, now))
        ends_at = work.ends_at()
        if ends_at < NEVER:
            self._at(ends_at, _WORK, self._finish_work, (gang, work))

    def _finish_work(self, subject: tuple[Gang, Work], now: int) -> None:
        gang, work = subject
        if gang.work is not work:
            return
        self.saved.pop(work.spec.id, None)
        self._end_work(gang, work, now, now)
        self._replies.append(WorkEnded(work.spec.id, gang.placement, now))

    def _drop_work(self, gang: Gang, work: Work, now: int) -> int:
        """Work loses its machine; returns what its last checkpoint holds [reference ns]."""
        kept_until = work.checkpoint_before(now)
        done = self.saved[work.spec.id] = work.done(kept_until)
        self._end_work(gang, work, now, kept_until)
        return done

    def _end_work(self, gang: Gang, work: Work, now: int, kept_until: int) -> None:
        """Work stops now; what was done after `kept_until` is lost."""
        work.stopped_at = now
        work.kept_until = kept_until
        rates = next(iter(gang.machines.values())).rates
        work.premium = self._openings.leave(
            work.follower, rates, work.speed, work.useful_from, kept_until
        )
        gang.work = None
        del self.working[work.spec.id]

    # --- what markets do -------------------------------------------------------------------------

    def _move_market(self, now: int) -> None:
        changed = self.market.advance(now)
        said = quotes(changed, now)
        if said is not None:
            self._replies.append(said)
        for pool in changed:
            pool.note(now)
            if not pool.machines:
                continue
            if pool.floating:
                _reprice(pool, now)
            if pool.interruptible:
                self._outbid(pool, now)
                self._reclaim(pool, now)

    def _outbid(self, pool: Pool, now: int) -> None:
        """Take the machines whose bid is below the market's price."""
        if not pool.offer.capabilities.bids:
            return
        for machine in list(pool.machines.values()):
            if machine.bid < pool.rate and machine.leaving_at is None:
                self._take(machine, now, "outbid")

    def _reclaim(self, pool: Pool, now: int) -> None:
        """Take what the pool no longer has room for; the dice say which."""
        excess = pool.staying - pool.capacity
        if excess <= 0:
            return
        staying = [m for m in pool.machines.values() if m.leaving_at is None]
        victims = staying if excess >= len(staying) else self._takes.sample(staying, excess)
        for machine in victims:
            self._take(machine, now, "capacity")

    def _take(self, machine: Machine, now: int, cause: str) -> None:
        """Take a machine back, after the notice where the market gives one."""
        machine.cause = cause
        notice = machine.pool.offer.capabilities.notice_ns
        if notice <= 0:
            self._lose(machine, now)
            return
        machine.leaving_at = now + notice
        machine.pool.staying -= 1
        self._replies.append(MachineNoticed(machine.lease, now, machine.leaving_at))
        self._at(machine.leaving_at, _TAKE, self._lose, machine)

    def _lose(self, machine: Machine, now: int) -> None:
        if machine.ended_at is not None:
            return
        gang, work_done = machine.gang, None
        work = gang.work
        if work is not None:
            work_done = self._drop_work(gang, work, now)
        self._end_machine(machine, now, machine.cause)
        self._replies.append(MachineLost(machine.lease, now, machine.cause, work_done))

    def _end_machine(self, machine: Machine, now: int, cause: str) -> None:
        machine.ended_at = now
        machine.cause = cause
        pool, gang = machine.pool, machine.gang
        del pool.machines[machine.lease], gang.machines[machine.lease]
        del self.machines[machine.lease]
        if machine.leaving_at is None:
            pool.staying -= 1
        pool.provider.held -= 1
        pool.note(now)
        if not gang.machines:
            del self.gangs[gang.placement]
            self._answers.pop(gang.token, None)
        self.finished.append(machine)
        self._listing.end(machine, now)

    def leases(self, provider: str, now: int) -> SeeLeases:
        """A provider's listing of what carries our tag, as late as its model says."""
        return self._listing.seen(self.market.providers[provider], self.machines.values(), now)


def _reprice(pool: Pool, now: int) -> None:
    """Machines of a floating market pay its new rate from now on."""
    for machine in pool.machines.values():
        rates = machine.rates
        if rates[-1][1] == pool.rate:
            continue
        if rates[-1][0] == now:
            rates[-1] = (now, pool.rate)
        else:
            rates.append((now, pool.rate))
