"""What must hold, by the world's own truth: its machines, its bill and its jobs, held against the
rows of the database. Nothing of the engine is asked."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from treasury.domain.events import Quoted
from treasury.domain.job import JobSpec
from treasury.domain.lease import LeaseState
from treasury.domain.money import RATE_LIMIT
from treasury.domain.time import MINUTE, format_duration, format_instant
from treasury.domain.turn import Entry
from treasury.engine import Book, replay
from treasury.engine.reduce import take
from treasury.store.sql import SqlStore
from treasury.store.verify import verify
from treasury_simulations.meter import micros
from treasury_simulations.storm.cloud import Cloud, Machine
from treasury_simulations.storm.hosts import set_clock
from treasury_simulations.storm.nodes import JobsTruth

# A machine nobody knows may live for this long while a daemon is up and reaches its cloud: two
# rounds of listings and a release that is tried again.
UNKNOWN_MAX: Final = 10 * MINUTE
# An end that was told so often is known: a daemon may die before it has written down the first.
_TOLD: Final = 5
# A machine that is given back is gone by then, however often that fails at first.
LEAVING_MAX: Final = 30 * MINUTE
# A machine that is out of reach is given back while its job begins elsewhere: for so long both may
# be at work, and only the later one's checkpoints count.
TWICE_MAX: Final = 20 * MINUTE


class Violation(AssertionError):
    """Something that must never be. The message says what, where and when."""


class Money:
    """What the database says of money: read anew each time, row by row."""

    def __init__(self) -> None:
        self._last = 0
        self._holds: dict[int, tuple[int, int]] = {}
        self.charged: dict[int, int] = {}
        self.held: dict[int, int] = {}

    def read(self, store: SqlStore) -> None:
        """Take in the transfers that are new. Only real money counts: `assets:` and `equity:`."""
        for row in store.transfer_rows(self._last):
            self._last = row.id
            self._take(row)

    def _take(self, row: Any) -> None:
        kind, lease = row.kind, row.lease
        real = row.credit.startswith(("assets:", "equity:s", "equity:o"))
        if kind == "hold":
            if real and lease is not None:
                self._holds[row.id] = (lease, row.amount)
                self.held[lease] = self.held.get(lease, 0) + row.amount
        elif kind in {"post", "void", "expire"}:
            found = self._holds.pop(row.refers, None)
            if found is not None:
                lease, amount = found
                self.held[lease] -= amount
                if kind == "post":
                    self.charged[lease] = self.charged.get(lease, 0) + row.amount
        elif kind == "direct" and lease is not None:
            if row.debit.startswith("expenses:gpu:"):
                self.charged[lease] = self.charged.get(lease, 0) + row.amount
            elif row.credit.startswith("expenses:gpu:"):
                self.charged[lease] = self.charged.get(lease, 0) - row.amount


class Checks:
    """Looks at the world and the database now and then. Machines that somebody started
    by hand only have to go."""

    def __init__(
        self,
        clouds: Iterable[Cloud],
        jobs: JobsTruth,
        database: Path,
        clock: Callable[[], int],
        ahead: int,
    ) -> None:
        """ahead: how long machines are paid ahead [ns]."""
        self.clouds, self.jobs = list(clouds), jobs
        self.money = Money()
        self._database, self._clock, self._ahead = database, clock, ahead
        self._book = Book()
        self._reader: SqlStore | None = None
        self._seen: dict[str, int] = {}
        self._twice: dict[str, int] = {}
        self._leaving: dict[str, int] = {}
        # What clouds tell: granted twice; called by a daemon that does not lead.
        self.doubled: list[str] = []
        self.usurped: list[str] = []

    @property
    def turns(self) -> int:
        """Turns of the journal that were looked at."""
        return self._book.seq

    # --- at any instant --------------------------------------------------------------------------

    def look(self, now: int, healthy_since: int | None) -> None:
        """Everything that holds at any instant [ns]. healthy_since: since when a daemon leads that
        reaches its database and every cloud, None while none does. Raises Violation."""
        with self._store() as store:
            self.money.read(store)
            self._wallets(store, now)
            for entry in store.entries(self._book.seq):
                take(self._book, entry)
                self._from_the_past(entry)
        self._covered(now)
        for what in (*self.doubled, *self.usurped):
            raise Violation(f"{what}, by {format_instant(now)}")
        self._known(now, healthy_since)
        self._once(now, healthy_since)

    @contextmanager
    def _store(self) -> Iterator[SqlStore]:
        """The database, opened once to be read."""
        if self._reader is None:
            self._reader = SqlStore.open(self._database, read_only=True)
            set_clock(self._reader, self._clock)
        yield self._reader

    def close(self) -> None:
        """Release the database."""
        if self._reader is not None:
            self._reader.close()

    def _from_the_past(self, entry: Entry) -> None:
        for fact in entry.facts:
            if not isinstance(fact, Quoted):
                continue
            for quote in fact.quotes:
                if quote.observed_at > entry.at or not 0 < quote.rate <= RATE_LIMIT:
                    raise Violation(f"turn {entry.seq} believes {quote}")

    def leads(self, holder: str) -> bool:
        """Whether a daemon leads, by the row that says so."""
        with self._store() as store:
            return store.holder() == holder

    def _wallets(self, store: SqlStore, now: int) -> None:
        debited = credited = 0
        for row in store.account_rows():
            debited += row.debit_posted
            credited += row.credit_posted
            if not row.path.startswith(("assets:budget:", "limit:")):
                continue
            if row.debit_posted - row.credit_posted - row.credit_pending < 0:
                raise Violation(f"{row.path} is overdrawn at {format_instant(now)}")
        if debited != credited:
            raise Violation(f"debits {debited} and credits {credited} differ")

    def _covered(self, now: int) -> None:
        """What a machine has cost is charged or held: also while every daemon is dead."""
        for lease, machines in self._asked().items():
            paid = self.money.charged.get(lease, 0) + self.money.held.get(lease, 0)
            living = [m for m in machines if m.ended_at is None]
            if len(living) < len(machines) or any(m.cost(now) <= paid for m in living):
                continue
            machine = living[0]
            raise Violation(
                f"machine {machine.name} (lease {lease}) has cost {machine.cost(now)} micro-USD at "
                f"{format_instant(now)}, {machine.cost(now) - paid} more than is charged and held"
            )

    def _asked(self) -> dict[int, list[Machine]]:
        """Machines by the lease they were asked for. Where a market granted one twice, the daemon
        keeps one of them, and may not tell which."""
        asked: dict[int, list[Machine]] = {}
        for cloud in self.clouds:
            for machine in cloud.history:
                if not machine.by_hand:
                    asked.setdefault(machine.lease, []).append(machine)
        return asked

    def _known(self, now: int, healthy_since: int | None) -> None:
        """No machine is unknown for longer than its bound."""
        living = {m.name: m for cloud in self.clouds for m in cloud.machines.values()}
        if healthy_since is None or not living:
            self._seen.clear()
            self._leaving.clear()
            return
        unknown = {name for name, m in living.items() if not _belongs(self._book, m)}
        leaving = {name for name, m in living.items() if _leaves(self._book, m)}
        self._leaving = {name: self._leaving.get(name, now) for name in sorted(leaving)}
        for name, since in self._leaving.items():
            if now - max(since, healthy_since) > LEAVING_MAX:
                raise Violation(
                    f"machine {name} was to be given back {format_duration(now - since)} ago and "
                    f"is billed at {format_instant(now)}"
                )
        self._seen = {name: self._seen.get(name, now) for name in sorted(unknown)}
        for name, since in self._seen.items():
            lived = now - max(since, healthy_since)
            if lived > UNKNOWN_MAX + 2 * living[name].offer.capabilities.listing_lag_ns:
                raise Violation(
                    f"machine {name} has been nobody's for {format_duration(lived)} at "
                    f"{format_instant(now)}"
                )

    def _once(self, now: int, healthy_since: int | None) -> None:
        """No job does what it may not, and none is at work twice for long."""
        for job, truth in self.jobs.jobs.items():
            if truth.wrong:
                raise Violation(f"{job}: {truth.wrong[0]}")
            if len(truth.running) < 2 or healthy_since is None:
                self._twice.pop(job, None)
                continue
            since = max(self._twice.setdefault(job, now), healthy_since)
            if now - since > TWICE_MAX:
                raise Violation(
                    f"{job} has been at work on placements {sorted(truth.running)} for "
                    f"{format_duration(now - since)} at {format_instant(now)}"
                )

    # --- when all is calm ------------------------------------------------------------------------

    def finish(self, specs: Iterable[JobSpec], acknowledged: Iterable[str], now: int) -> None:
        """Everything that holds once the storm is over and all was given up. Raises Violation."""
        for cloud in self.clouds:
            if cloud.machines:
                raise Violation(f"{cloud.name} still bills {', '.join(cloud.machines)}")
        with self._store() as store:
            self.money.read(store)
            self._wallets(store, now)
            book = replay(store.entries())
            if book.digest() != self._followed(store).digest():
                raise Violation("the journal's book is not the one that was followed")
            for finding in verify(store).findings:
                raise Violation(f"the journal does not verify: {finding}")
        self._bills()
        if book.leases or book.ledger.holds:
            raise Violation(f"the book still holds {sorted(book.leases)}")
        for job in acknowledged:
            if job not in book.jobs and job not in book.ended:
                raise Violation(f"{job} was acknowledged and is not in the book")
        for spec in specs:
            self._outcome(book, spec)

    def _followed(self, store: SqlStore) -> Book:
        for entry in store.entries(self._book.seq):
            take(self._book, entry)
        return self._book

    def _bills(self) -> None:
        for lease, machines in self._asked().items():
            charged = self.money.charged.get(lease, 0)
            if all(not self._agrees(machine, charged) for machine in machines):
                machine = machines[0]
                raise Violation(
                    f"machine {machine.name} (lease {lease}, ended by {machine.cause}) is "
                    f"billed {machine.cost(0)} micro-USD and booked at {charged}"
                )

    def _agrees(self, machine: Machine, charged: int) -> bool:
        """Whether a bill and the books agree. Where everybody was away for so long that the market
        no longer tells when a machine ended, the books may be ahead by what was paid ahead."""
        bill = machine.cost(0)
        if machine.told >= _TOLD or charged <= bill or machine.ended_at is None:
            return charged == bill
        return charged <= bill + micros(max(rate for _, rate in machine.rates) * self._ahead)

    def _outcome(self, book: Book, spec: JobSpec) -> None:
        state = book.ended.get(spec.id)
        truth = self.jobs.jobs[spec.id]
        if state == "finished" and not truth.finished:
            raise Violation(f"{spec.id} is called finished and is not")


def _leaves(book: Book, machine: Machine) -> bool:
    lease = book.leases.get(machine.lease)
    if lease is None or lease.machine != machine.name:
        return False
    return lease.state is LeaseState.RELEASING


def _belongs(book: Book, machine: Machine) -> bool:
    lease = book.leases.get(machine.lease)
    if lease is None:
        return False
    asked = lease.state in {LeaseState.REQUESTED, LeaseState.UNRESOLVED}
    return asked or lease.machine == machine.name
