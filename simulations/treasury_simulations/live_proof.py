"""What must be true after a daemon has run real jobs on the local market, however it was treated.

Everything is read from what outlived the run: the journal, the market's own files, the trainers'
witness files and the table of processes. Nothing is asked of the daemon.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path

import msgspec

from treasury.domain.events import JobEnded, LeaseEnded, LeasesGranted
from treasury.domain.money import format_money
from treasury.domain.transfer import TransferKind
from treasury.domain.turn import Entry
from treasury.engine import Book, replay
from treasury.ledger.chart import SHORTFALL
from treasury_providers import local_meter
from treasury_providers.local_processes import belonging
from treasury_providers.local_state import State
from treasury_simulations.witness import verify

_EXPENSES = "expenses:"
_SPENDS = (TransferKind.DIRECT, TransferKind.POST, TransferKind.REVERSAL)


class Trained(msgspec.Struct, frozen=True, kw_only=True):
    """A job that ran the example trainer, and where its witness and result are."""

    job: str
    seed: str
    steps: int
    witness: Path
    result: Path


class Verdict(msgspec.Struct, frozen=True):
    """One law: what it says, what was found, and what broke it."""

    law: str
    found: str
    faults: tuple[str, ...] = ()


def charges(entries: Iterable[Entry]) -> dict[int, int]:
    """What each lease cost by the ledger [micro-USD]: what reached an expense account and stayed.
    A post says which hold it spends, and the hold which lease it is for."""
    spent: dict[int, int] = {}
    for entry in entries:
        for transfer in entry.transfers:
            if transfer.kind not in _SPENDS or transfer.lease is None:
                continue
            for account, sign in ((transfer.debit, 1), (transfer.credit, -1)):
                if account.startswith(_EXPENSES):
                    spent[transfer.lease] = spent.get(transfer.lease, 0) + sign * transfer.amount
    return spent


def prove(entries: Sequence[Entry], market: Path, jobs: Sequence[Trained]) -> tuple[Verdict, ...]:
    """Hold a finished run against every law."""
    book = replay(entries)
    return (
        _results(entries, jobs),
        _processes(market),
        _released(book),
        _meter(entries, market),
        _overspend(entries),
    )


def _results(entries: Sequence[Entry], jobs: Sequence[Trained]) -> Verdict:
    """A job the journal calls finished has the right result; no step was lost or done twice."""
    ended: dict[str, str] = {
        fact.job: fact.state
        for entry in entries
        for fact in entry.facts
        if isinstance(fact, JobEnded)
    }
    faults: list[str] = []
    starts = redone = finished = 0
    for job in jobs:
        said = verify(job.witness, job.result, job.seed, job.steps)
        state = ended.get(job.job, "queued")
        begun = said.starts > 0
        if begun:
            faults += [f"{job.job}: {fault}" for fault in said.faults]
        if (state == "finished") != said.finished:
            faults.append(f"{job.job} is {state} by the journal, its trainer says otherwise")
        starts, redone = starts + said.starts, redone + said.redone
        finished += state == "finished"
    found = f"{finished} of {len(jobs)} jobs finished in {starts} starts; {redone} steps done again"
    return Verdict("every result is right, no step is lost or done twice", found, tuple(faults))


def _processes(market: Path) -> Verdict:
    left = {m.name: belonging(m.folder) for m in State(market).machines()}
    faults = tuple(f"machine {name}: processes {pids}" for name, pids in left.items() if pids)
    return Verdict("no process is left", f"{len(left)} machines came and went", faults)


def _released(book: Book) -> Verdict:
    """The books hold no machine and no money for one."""
    faults = [f"lease {lease.id} is {lease.state.value}" for lease in book.leases.values()]
    faults += [f"hold {hold} is open" for hold in book.ledger.holds]
    return Verdict("nothing is held", f"{book.seq} turns in the journal", tuple(faults))


def _meter(entries: Sequence[Entry], market: Path) -> Verdict:
    """Lease by lease: the ledger's charge is the market's own, from grant to end."""
    booked = charges(entries)
    metered = local_meter.read(market)
    granted = {
        name
        for e in entries
        for f in e.facts
        if isinstance(f, LeasesGranted)
        for name in f.machines
    }
    ends = {f.lease: f.at for e in entries for f in e.facts if isinstance(f, LeaseEnded)}
    faults: list[str] = []
    for item in metered:
        if item.cost is None:
            faults.append(f"machine {item.machine} still runs")
        elif item.machine not in granted:
            # A machine that nobody in the books ever held: released as an orphan, and paid for.
            faults.append(f"machine {item.machine} cost {item.cost} and is in no book")
        elif booked.get(item.lease, 0) != item.cost:
            faults.append(
                f"lease {item.lease}: {booked.get(item.lease, 0)} booked, {item.cost} metered"
                f" until {item.ended_at}, booked until {ends.get(item.lease)}"
            )
    total = sum(booked.values())
    if not faults and total != sum(item.cost or 0 for item in metered):
        faults.append(f"{total} booked in all, {sum(i.cost or 0 for i in metered)} metered")
    found = f"{format_money(total, places=6)} for {len(metered)} machines by both"
    return Verdict(
        "the ledger is the market's own meter, to the micro-dollar", found, tuple(faults)
    )


def _overspend(entries: Sequence[Entry]) -> Verdict:
    """No budget paid what it did not have: nothing fell to the account for that."""
    short = sum(t.amount for e in entries for t in e.transfers if t.credit == SHORTFALL)
    faults = (f"{format_money(short, places=6)} were spent beyond a budget",) if short else ()
    return Verdict("no budget is overspent", "nothing fell to equity:shortfall", faults)


__all__ = ["Trained", "Verdict", "charges", "prove"]
