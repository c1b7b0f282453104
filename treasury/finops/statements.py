"""Statements: who spent what on which job and provider, read from the journal's transfers alone."""

from collections.abc import Callable, Iterable, Mapping
from enum import Enum
from typing import Final

import msgspec

from treasury.domain.events import (
    BillBooked,
    Fact,
    JobEnded,
    JobQueued,
    LeaseEnded,
    LeasesDeclined,
    LeasesGranted,
    PlacementOpened,
)
from treasury.domain.ids import LeaseId
from treasury.domain.job import JobSpec
from treasury.domain.transfer import Transfer, TransferKind
from treasury.domain.turn import Entry

GPU: Final = "expenses:gpu:"
ADJUST: Final = "expenses:adjust:"
_EXPENSES: Final = (GPU, ADJUST)
_SPENDS: Final = frozenset({TransferKind.DIRECT, TransferKind.POST})
_GIVES_BACK: Final = frozenset({TransferKind.DIRECT, TransferKind.REVERSAL})
# What a statement shows where a charge has no such thing.
NONE: Final = "(none)"


class Charge(msgspec.Struct, frozen=True, gc=False):
    """One amount [micro-units] that a cost centre paid, or got back where it is negative.

    account: the expense account. recorded_at: the turn's instant [ns]; job, offer, machine: what
    it was for, where known.
    """

    seq: int
    transfer: int
    recorded_at: int
    event_at: int
    account: str
    cost_centre: str
    provider: str
    amount: int
    currency: str
    lease: LeaseId | None
    job: str
    offer: str
    machine: str
    reason: str
    labels: Mapping[str, str] = {}

    @property
    def adjusts(self) -> bool:
        """Whether it comes from a provider's bill rather than from our own meter."""
        return self.account.startswith(ADJUST)


class Grouping(Enum):
    """What a statement's lines are totals of; LABEL needs the label's name."""

    COST_CENTRE = "cost_centre"
    PROVIDER = "provider"
    JOB = "job"
    OFFER = "offer"
    LABEL = "label"


class Line(msgspec.Struct, frozen=True):
    """One line of a statement: a total [micro-units] over `charges` charges."""

    key: tuple[str, ...]
    amount: int
    charges: int


class _Purpose(msgspec.Struct, gc=False):
    """What a lease is for."""

    job: str = ""
    offer: str = ""
    machine: str = ""
    labels: Mapping[str, str] = {}


_NOTHING: Final = _Purpose()


class Journal:
    """Walks entries in order and remembers what the leases that still run are for: memory grows
    with what runs at a time, not with the journal."""

    def __init__(self) -> None:
        self._jobs: dict[str, JobSpec] = {}
        self._leases: dict[LeaseId, _Purpose] = {}
        self._placements: dict[int, tuple[LeaseId, ...]] = {}
        # Over with this turn: its transfers may still speak of them.
        self._over: list[LeaseId] = []

    def charges(self, entries: Iterable[Entry]) -> Iterable[Charge]:
        """Every charge, in the order of the journal."""
        for entry in entries:
            yield from self.take(entry)

    def take(self, entry: Entry) -> list[Charge]:
        """The charges of the next turn."""
        for fact in entry.facts:
            self._learn(fact)
        found = []
        for transfer in entry.transfers:
            charge = self._charge(entry, transfer)
            if charge is not None:
                found.append(charge)
        for lease in self._over:
            self._leases.pop(lease, None)
        self._over.clear()
        return found

    def _learn(self, fact: Fact) -> None:
        if isinstance(fact, JobQueued):
            self._jobs[fact.spec.id] = fact.spec
        elif isinstance(fact, PlacementOpened):
            spec = self._jobs.get(fact.job)
            labels = {} if spec is None else spec.labels
            self._placements[fact.placement] = fact.leases
            for lease in fact.leases:
                self._leases[lease] = _Purpose(fact.job, fact.offer, "", labels)
        elif isinstance(fact, LeasesGranted):
            leases = self._placements.pop(fact.placement, ())
            for lease, machine in zip(leases, fact.machines, strict=False):
                self._leases[lease].machine = machine
        elif isinstance(fact, LeasesDeclined):
            self._over.extend(self._placements.pop(fact.placement, ()))
        elif isinstance(fact, LeaseEnded):
            self._over.append(fact.lease)
        elif isinstance(fact, JobEnded):
            self._jobs.pop(fact.job, None)
        elif isinstance(fact, BillBooked) and fact.part.lease is not None:
            # The bill of a machine that is long gone: the fact says what it was for.
            part, lease = fact.part, fact.part.lease
            if lease not in self._leases:
                labels = dict(part.labels)
                self._leases[lease] = _Purpose(part.job, part.offer, part.machine, labels)
                self._over.append(lease)

    def _charge(self, entry: Entry, transfer: Transfer) -> Charge | None:
        if transfer.kind in _SPENDS and transfer.debit.startswith(_EXPENSES):
            path, amount = transfer.debit, transfer.amount
        elif transfer.kind in _GIVES_BACK and transfer.credit.startswith(_EXPENSES):
            path, amount = transfer.credit, -transfer.amount
        else:
            return None
        if amount == 0:
            return None
        _, _, cost_centre, provider = path.split(":", 3)
        lease = transfer.lease
        purpose = _NOTHING if lease is None else self._leases.get(lease, _NOTHING)
        return Charge(
            seq=entry.seq,
            transfer=transfer.id,
            recorded_at=entry.at,
            event_at=transfer.event_at,
            account=path,
            cost_centre=cost_centre,
            provider=provider,
            amount=amount,
            currency=transfer.currency,
            lease=lease,
            job=purpose.job,
            offer=purpose.offer,
            machine=purpose.machine,
            reason=transfer.reason,
            labels=purpose.labels,
        )


def statement(
    entries: Iterable[Entry],
    by: tuple[Grouping, ...],
    *,
    start: int = 0,
    end: int | None = None,
    as_of: int | None = None,
    cost_centres: frozenset[str] | None = None,
    label: str = "",
) -> list[Line]:
    """Totals of the charges that happened in [start, end) [ns], largest first.

    as_of: only what was recorded by then. cost_centres: only these; None for all. label: the one
    that LABEL groups by.
    """
    keys = [_key(grouping, label) for grouping in by]
    totals: dict[tuple[str, ...], tuple[int, int]] = {}
    for charge in Journal().charges(until(entries, as_of)):
        if charge.event_at < start or (end is not None and charge.event_at >= end):
            continue
        if cost_centres is not None and charge.cost_centre not in cost_centres:
            continue
        key = tuple(of(charge) for of in keys)
        amount, count = totals.get(key, (0, 0))
        totals[key] = (amount + charge.amount, count + 1)
    lines = [Line(key, amount, count) for key, (amount, count) in totals.items()]
    return sorted(lines, key=lambda line: (-line.amount, line.key))


def until(entries: Iterable[Entry], as_of: int | None) -> Iterable[Entry]:
    """The turns recorded by an instant [ns]; all of them for None."""
    for entry in entries:
        if as_of is not None and entry.at > as_of:
            return
        yield entry


def _key(grouping: Grouping, label: str) -> Callable[[Charge], str]:
    if grouping is Grouping.LABEL:
        return lambda charge: charge.labels.get(label, NONE)
    name = grouping.value
    return lambda charge: str(getattr(charge, name)) or NONE
