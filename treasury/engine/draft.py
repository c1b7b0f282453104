"""A turn being written: facts change the book as they are emitted, so that each input of a batch
sees what the ones before it did."""

from treasury.budget.guard import start, stop
from treasury.domain.commands import Release, StartWork, StopWork
from treasury.domain.events import Fact, LeaseReleasing, PlacementClosed, WorkStarting
from treasury.domain.lease import LeaseState
from treasury.domain.plan import Approved
from treasury.domain.transfer import Transfer
from treasury.domain.turn import Entry
from treasury.engine.book import Book, JobRecord, PlacementRecord
from treasury.engine.reduce import REDUCERS


class Draft:
    """Facts, transfers and approved commands of one turn, in order."""

    __slots__ = ("book", "commands", "facts", "now", "propose", "transfers")

    def __init__(self, book: Book) -> None:
        self.book = book
        self.now = book.now
        self.facts: list[Fact] = []
        self.transfers: list[Transfer] = []
        self.commands: list[Approved] = []
        self.propose: int | None = None

    def emit(self, fact: Fact) -> None:
        """Write a fact and take it into the book."""
        self.facts.append(fact)
        REDUCERS[type(fact)](self.book, fact)

    def entry(self) -> Entry:
        """The finished turn."""
        return Entry(
            self.book.seq,
            self.now,
            tuple(self.facts),
            tuple(self.transfers),
            tuple(self.commands),
            self.propose,
        )

    # --- moves that several rooms of the engine make ----------------------------------------------

    def release(self, placement: PlacementRecord, cause: str) -> None:
        """Give back every machine of a placement that was granted."""
        for lease_id in placement.leases:
            lease = self.book.leases.get(lease_id)
            if lease is not None and lease.state in (LeaseState.GRANTED, LeaseState.READY):
                self.emit(LeaseReleasing(lease_id, cause))
                self.commands.append(stop(Release(lease.provider, lease_id, lease.machine)))

    def close(self, placement: PlacementRecord, cause: str) -> None:
        """End a job's binding to a placement and give its machines back."""
        self.release(placement, cause)
        self.emit(PlacementClosed(placement.id, placement.job, self.now, cause))

    def start_work(self, job: JobRecord, placement: PlacementRecord) -> None:
        """Start a job on the ready machines of a placement."""
        useful_from = self.now + job.spec.start_overhead
        self.emit(WorkStarting(job.spec.id, placement.id, self.now, useful_from))
        provider = self.book.offers[placement.offer].offer.provider
        spec = job.spec
        order = StartWork(
            provider, spec.id, placement.id, placement.leases, job.work_done, spec.task
        )
        self.commands.append(start(order))

    def stop_work(self, job: JobRecord, placement: PlacementRecord) -> None:
        """Have a job checkpointed and stopped on a placement's machines."""
        provider = self.book.offers[placement.offer].offer.provider
        order = StopWork(provider, job.spec.id, placement.id, placement.leases)
        self.commands.append(stop(order))
