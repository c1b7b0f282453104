"""Checkers: what must hold after every turn, by the journal and the world's truth.

They share no rule with the engine: each keeps its own account of what was written and asks
the world what is true. Any breach raises InvariantBroken at the turn that made it.
"""

from collections.abc import Callable, Iterable
from typing import Any, Final

from treasury.domain import events as e
from treasury.domain.commands import Command
from treasury.domain.errors import InvariantBroken
from treasury.domain.ids import JobId, LeaseId, OfferId, PlacementId
from treasury.domain.job import ENDED, JobState
from treasury.domain.job import MOVES as JOB_MOVES
from treasury.domain.lease import CLOSED, LeaseState
from treasury.domain.lease import MOVES as LEASE_MOVES
from treasury.domain.plan import Approved
from treasury.domain.turn import Entry
from treasury.engine import Book, replay
from treasury.store.chain import decode, encode
from treasury_simulations.checked_books import BooksBalance
from treasury_simulations.driver import Check
from treasury_simulations.machines import Machine
from treasury_simulations.meter import bill, integral, micros
from treasury_simulations.world import World

Handlers = dict[type, Callable[[Any], None]]


def all_checks(every: int = 1) -> tuple[Check, ...]:
    """One of each. every: the ones that look at all machines or the whole book do so each that many
    turns; the last turn is always looked at."""
    return (
        BooksBalance(every),
        MeterAgrees(),
        PlacedOnce(),
        HeldWhileBilled(every),
        OnlyApproved(),
        LegalMoves(),
        ReplayAgrees(every),
    )


def _broken(seq: int, what: str) -> InvariantBroken:
    return InvariantBroken(f"turn {seq}: {what}")


class _Watching:
    """What checks have in common: the world, the book, and a method by type of fact."""

    def __init__(self) -> None:
        self.world: World
        self.book: Book
        self.seq = 0
        self.now = 0
        self.handlers: Handlers = {}

    def begin(self, world: World, book: Book) -> None:
        """Before the first turn."""
        self.world, self.book = world, book

    def see(self, entry: Entry) -> None:
        """After each turn's commit."""
        self.seq, self.now = entry.seq, entry.at
        for fact in entry.facts:
            handle = self.handlers.get(type(fact))
            if handle is not None:
                handle(fact)

    def finish(self) -> None:
        """After the last turn."""


class MeterAgrees(_Watching):
    """What was posted for a machine never runs ahead of the world's meter, and equals its bill when
    the machine has ended."""

    def __init__(self) -> None:
        super().__init__()
        self.posted: dict[LeaseId, int] = {}
        self.machines: dict[LeaseId, Machine] = {}
        self.leases: dict[PlacementId, tuple[LeaseId, ...]] = {}
        self.doubted: dict[OfferId, None] = {}
        self.handlers = {
            e.PlacementOpened: self._opened,
            e.LeasesGranted: self._granted,
            e.LeaseMetered: self._metered,
            e.LeaseEnded: self._ended,
            e.QuoteRejected: self._rejected,
        }

    def see(self, entry: Entry) -> None:
        """Count what was posted to expenses, then look at the facts."""
        for transfer in entry.transfers:
            lease = transfer.lease
            if lease is None:
                continue
            kind = transfer.kind.value
            if transfer.debit.startswith("expenses:") and kind in {"post", "direct"}:
                self.posted[lease] = self.posted.get(lease, 0) + transfer.amount
            elif transfer.credit.startswith("expenses:") and kind == "reversal":
                self.posted[lease] = self.posted.get(lease, 0) - transfer.amount
        super().see(entry)

    def finish(self) -> None:
        """Nothing was posted for a machine that nobody saw end."""
        if self.machines or any(self.posted.values()):
            raise _broken(
                self.seq, f"money was posted for machines that never ended: {self.posted}"
            )

    def _opened(self, fact: e.PlacementOpened) -> None:
        self.leases[fact.placement] = fact.leases

    def _granted(self, fact: e.LeasesGranted) -> None:
        for lease in self.leases.pop(fact.placement):
            self.machines[lease] = self.world.machines[lease]

    def _rejected(self, fact: e.QuoteRejected) -> None:
        # A price the engine does not believe is one it cannot meter by: the bill will differ.
        self.doubted[fact.offer] = None

    def _metered(self, fact: e.LeaseMetered) -> None:
        machine = self.machines.get(fact.lease)
        if machine is None or machine.ended_at is not None or self._excused(machine):
            return
        owed = micros(integral(machine.rates, machine.granted_at, self.now))
        if fact.charge > owed:
            raise _broken(self.seq, f"lease {fact.lease} was charged {fact.charge}, owed is {owed}")

    def _ended(self, fact: e.LeaseEnded) -> None:
        machine, posted = self.machines.pop(fact.lease), self.posted.pop(fact.lease, 0)
        if machine.ended_at is None:
            raise _broken(self.seq, f"lease {fact.lease} was settled while the market bills it")
        if self._excused(machine):
            return
        capabilities = machine.pool.offer.capabilities
        billed = bill(machine.rates, capabilities, machine.granted_at, machine.ended_at)
        if posted != billed:
            raise _broken(self.seq, f"lease {fact.lease}: posted {posted}, the bill is {billed}")

    def _excused(self, machine: Machine) -> bool:
        return machine.pool.floating and machine.pool.offer.id in self.doubted


class PlacedOnce(_Watching):
    """A job is bound to one placement, or to two while it migrates; and works in one place."""

    def __init__(self) -> None:
        super().__init__()
        self.open: dict[JobId, dict[PlacementId, bool]] = {}
        self.handlers = {e.PlacementOpened: self._opened, e.PlacementClosed: self._closed}

    def see(self, entry: Entry) -> None:
        """Look at the facts, then at where the world works."""
        super().see(entry)
        for job, gang in self.world.working.items():
            if gang.work is None or gang.work.spec.id != job:
                raise _broken(self.seq, f"{job} is at work where it was not started")

    def _opened(self, fact: e.PlacementOpened) -> None:
        placements = self.open.setdefault(fact.job, {})
        if len(placements) != int(fact.migration):
            raise _broken(
                self.seq, f"{fact.job} is placed on {fact.placement} besides {[*placements]}"
            )
        placements[fact.placement] = fact.migration

    def _closed(self, fact: e.PlacementClosed) -> None:
        del self.open[fact.job][fact.placement]
        if not self.open[fact.job]:
            del self.open[fact.job]

    def finish(self) -> None:
        """Nothing is bound any more."""
        if self.open:
            raise _broken(self.seq, f"placements are open at the end: {self.open}")


class HeldWhileBilled(_Watching):
    """Every machine the market bills us for has money held for it."""

    def __init__(self, every: int) -> None:
        super().__init__()
        self.every = every
        self.holds: dict[int, LeaseId] = {}
        self.by_lease: dict[LeaseId, int] = {}

    def see(self, entry: Entry) -> None:
        """Keep count of open holds by machine, then go through the machines."""
        super().see(entry)
        for transfer in entry.transfers:
            if transfer.lease is None:
                continue
            if transfer.kind.value == "hold":
                self.holds[transfer.id] = transfer.lease
                self.by_lease[transfer.lease] = self.by_lease.get(transfer.lease, 0) + 1
            elif transfer.refers in self.holds:
                lease = self.holds.pop(transfer.refers)
                self.by_lease[lease] -= 1
                if not self.by_lease[lease]:
                    del self.by_lease[lease]
        if self.seq % self.every:
            return
        for lease in self.world.machines:
            if lease not in self.by_lease:
                raise _broken(self.seq, f"lease {lease} is billed and nothing is held for it")

    def finish(self) -> None:
        """Nothing is held when nothing is billed."""
        if self.holds or self.world.machines:
            raise _broken(self.seq, f"held at the end: {self.holds} for {[*self.world.machines]}")


class OnlyApproved(_Watching):
    """What reached the world is what committed turns approved, in their order, and nothing else."""

    def __init__(self) -> None:
        super().__init__()
        self.due: list[Command] = []

    def begin(self, world: World, book: Book) -> None:
        """Have the world write down what reaches it."""
        super().begin(world, book)
        world.log = []

    def see(self, entry: Entry) -> None:
        """Hold the world's log against the turns before this one."""
        self._compare()
        self.seq = entry.seq
        for approved in entry.commands:
            if type(approved) is not Approved:
                raise _broken(self.seq, f"{approved!r} was not approved")
            self.due.append(approved.command)

    def finish(self) -> None:
        """The last turn's commands arrived as well."""
        self._compare()

    def _compare(self) -> None:
        log = self.world.log
        if log != self.due:
            raise _broken(self.seq, f"approved were {self.due}, the world received {log}")
        self.due.clear()
        log.clear()


_JOB_FACTS: Final[dict[type, JobState]] = {
    e.WorkStarting: JobState.STARTING,
    e.WorkRunning: JobState.RUNNING,
    e.WorkStopping: JobState.STOPPING,
    e.JobRequeued: JobState.QUEUED,
}


class LegalMoves(_Watching):
    """Jobs and leases go from state to state by the published moves, and all come to an end."""

    def __init__(self) -> None:
        super().__init__()
        self.jobs: dict[JobId, JobState] = {}
        self.leases: dict[LeaseId, LeaseState] = {}
        self.placements: dict[PlacementId, tuple[LeaseId, ...]] = {}
        self.handlers = {
            e.JobQueued: self._queued,
            e.JobEnded: lambda fact: self._job(fact.job, JobState(fact.state)),
            **dict.fromkeys(_JOB_FACTS, self._moved),
            e.PlacementOpened: self._opened,
            e.LeasesGranted: lambda fact: self._gang(fact, LeaseState.GRANTED),
            e.LeasesDeclined: lambda fact: self._gang(fact, LeaseState.DECLINED),
            e.LeasesUnresolved: lambda fact: self._gang(fact, LeaseState.UNRESOLVED),
            e.LeaseReady: lambda fact: self._lease(fact.lease, LeaseState.READY),
            e.LeaseReleasing: lambda fact: self._lease(fact.lease, LeaseState.RELEASING),
            e.LeaseEnded: self._ended,
        }

    def finish(self) -> None:
        """Every job and every lease is over."""
        if self.jobs or self.leases:
            raise _broken(self.seq, f"not over at the end: {self.jobs} {self.leases}")

    def _queued(self, fact: e.JobQueued) -> None:
        if fact.spec.id in self.jobs:
            raise _broken(self.seq, f"{fact.spec.id} was queued twice")
        self.jobs[fact.spec.id] = JobState.QUEUED

    def _moved(self, fact: Any) -> None:
        self._job(fact.job, _JOB_FACTS[type(fact)])

    def _job(self, job: JobId, state: JobState) -> None:
        old = self.jobs[job]
        if state not in JOB_MOVES[old]:
            raise _broken(self.seq, f"{job} went from {old.value} to {state.value}")
        self.jobs[job] = state
        if state in ENDED:
            del self.jobs[job]

    def _opened(self, fact: e.PlacementOpened) -> None:
        if not fact.migration:
            self._job(fact.job, JobState.ACQUIRING)
        self.placements[fact.placement] = fact.leases
        for lease in fact.leases:
            self.leases[lease] = LeaseState.REQUESTED

    def _gang(self, fact: Any, state: LeaseState) -> None:
        leases = self.placements[fact.placement]
        if state is not LeaseState.UNRESOLVED:
            del self.placements[fact.placement]
        for lease in leases:
            self._lease(lease, state)

    def _lease(self, lease: LeaseId, state: LeaseState) -> None:
        old = self.leases[lease]
        if state not in LEASE_MOVES[old]:
            raise _broken(self.seq, f"lease {lease} went from {old.value} to {state.value}")
        self.leases[lease] = state
        if state in CLOSED:
            del self.leases[lease]

    def _ended(self, fact: e.LeaseEnded) -> None:
        self._lease(fact.lease, LeaseState.LOST if fact.lost else LeaseState.RELEASED)


class ReplayAgrees(_Watching):
    """The journal, as bytes, rebuilds the book bit for bit. Keeps the whole journal in memory."""

    def __init__(self, every: int) -> None:
        super().__init__()
        self.every = every
        self.bodies: list[bytes] = []
        self.due = every

    def see(self, entry: Entry) -> None:
        """Keep the turn; rebuild at turn 1, 2, 4, 8 ... times `every`."""
        self.seq = entry.seq
        self.bodies.append(encode(entry))
        if entry.seq == self.due:
            self.due *= 2
            self._compare()

    def finish(self) -> None:
        """Rebuild from the whole journal."""
        self._compare()

    def _compare(self) -> None:
        entries: Iterable[Entry] = (decode(body) for body in self.bodies)
        if replay(entries).digest() != self.book.digest():
            raise _broken(self.seq, "the journal rebuilds another book")
