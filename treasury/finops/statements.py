"""Statements: who spent what on which job and provider, read from the journal's transfers alone."""

from collections.abc import Callable, Iterable, Mapping
from enum import Enum

import msgspec

from treasury.domain.events import JobQueued, LeasesGranted, PlacementOpened
from treasury.domain.ids import LeaseId
from treasury.domain.job import JobSpec
from treasury.domain.transfer import Transfer, TransferKind
from treasury.domain.turn import Entry

_EXPENSE = "expenses:gpu:"
_SPENDS = frozenset({TransferKind.DIRECT, TransferKind.POST})


class Charge(msgspec.Struct, frozen=True, gc=False):
    """One amount [micro-USD] that a cost centre paid, or got back where it is negative.

    recorded_at: the turn's instant [ns]; job, offer, machine: what it was for, where known.
    """

    seq: int
    transfer: int
    recorded_at: int
    event_at: int
    cost_centre: str
    provider: str
    amount: int
    lease: LeaseId | None
    job: str
    offer: str
    machine: str
    reason: str
    labels: Mapping[str, str] = {}


class Grouping(Enum):
    """What a statement's lines are totals of; LABEL needs the label's name."""

    COST_CENTRE = "cost_centre"
    PROVIDER = "provider"
    JOB = "job"
    OFFER = "offer"
    LABEL = "label"


class Line(msgspec.Struct, frozen=True):
    """One line of a statement: a total [micro-USD] over `charges` charges."""

    key: tuple[str, ...]
    amount: int
    charges: int


class Journal:
    """Walks entries in order and remembers what leases and jobs their transfers speak of."""

    def __init__(self) -> None:
        self._jobs: dict[str, JobSpec] = {}
        self._leases: dict[LeaseId, tuple[str, str]] = {}
        self._machines: dict[LeaseId, str] = {}
        self._placements: dict[int, tuple[LeaseId, ...]] = {}

    def charges(self, entries: Iterable[Entry]) -> Iterable[Charge]:
        """Every charge, in the order of the journal."""
        for entry in entries:
            for fact in entry.facts:
                if isinstance(fact, JobQueued):
                    self._jobs[fact.spec.id] = fact.spec
                elif isinstance(fact, PlacementOpened):
                    self._placements[fact.placement] = fact.leases
                    for lease in fact.leases:
                        self._leases[lease] = (fact.job, fact.offer)
                elif isinstance(fact, LeasesGranted):
                    leases = self._placements.get(fact.placement, ())
                    self._machines.update(zip(leases, fact.machines, strict=False))
            for transfer in entry.transfers:
                charge = self._charge(entry, transfer)
                if charge is not None:
                    yield charge

    def _charge(self, entry: Entry, transfer: Transfer) -> Charge | None:
        if transfer.kind in _SPENDS and transfer.debit.startswith(_EXPENSE):
            path, amount = transfer.debit, transfer.amount
        elif transfer.kind is TransferKind.REVERSAL and transfer.credit.startswith(_EXPENSE):
            path, amount = transfer.credit, -transfer.amount
        else:
            return None
        if amount == 0:
            return None
        cost_centre, provider = path.removeprefix(_EXPENSE).split(":")
        lease = transfer.lease
        job, offer = ("", "") if lease is None else self._leases.get(lease, ("", ""))
        spec = self._jobs.get(job)
        return Charge(
            seq=entry.seq,
            transfer=transfer.id,
            recorded_at=entry.at,
            event_at=transfer.event_at,
            cost_centre=cost_centre,
            provider=provider,
            amount=amount,
            lease=lease,
            job=job,
            offer=offer,
            machine="" if lease is None else self._machines.get(lease, ""),
            reason=transfer.reason,
            labels={} if spec is None else spec.labels,
        )


def statement(
    entries: Iterable[Entry],
    by: tuple[Grouping, ...],
    *,
    start: int = 0,
    end: int | None = None,
    cost_centres: frozenset[str] | None = None,
    label: str = "",
) -> list[Line]:
    """Totals of the charges that happened in [start, end) [ns], largest first.

    cost_centres: only these; None for all. label: the one that LABEL groups by.
    """
    keys = [_key(grouping, label) for grouping in by]
    totals: dict[tuple[str, ...], tuple[int, int]] = {}
    for charge in Journal().charges(entries):
        if charge.event_at < start or (end is not None and charge.event_at >= end):
            continue
        if cost_centres is not None and charge.cost_centre not in cost_centres:
            continue
        key = tuple(of(charge) for of in keys)
        amount, count = totals.get(key, (0, 0))
        totals[key] = (amount + charge.amount, count + 1)
    lines = [Line(key, amount, count) for key, (amount, count) in totals.items()]
    return sorted(lines, key=lambda line: (-line.amount, line.key))


def _key(grouping: Grouping, label: str) -> Callable[[Charge], str]:
    if grouping is Grouping.LABEL:
        return lambda charge: charge.labels.get(label, "")
    name = grouping.value
    return lambda charge: str(getattr(charge, name)) or "(none)"
