"""What the journal knows about leases that a bill may speak of: who they were for, when they ran,
what was charged up to any instant, and what earlier bills said."""

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Final

import msgspec

from treasury.domain.bill import BillPart
from treasury.domain.events import (
    BillBooked,
    Configured,
    Fact,
    JobEnded,
    JobQueued,
    LeaseEnded,
    LeaseMetered,
    LeasesDeclined,
    LeasesGranted,
    OffersListed,
    PlacementOpened,
)
from treasury.domain.ids import CostCentre, JobId, LeaseId, OfferId, ProviderName
from treasury.domain.job import JobSpec
from treasury.domain.money import RATE_NS_PER_MICRO
from treasury.domain.time import DAY, MINUTE, NEVER
from treasury.domain.turn import Entry
from treasury.finops.bills import LEASE_TAG, OWNER_TAG, TOKEN_TAG, BillRow

Span = tuple[int, int]
# How far a market's clock and ours may be apart.
_SKEW: Final = 5 * MINUTE
# A part's group: its lease, or the cost centre and provider of lines without one.
Group = LeaseId | tuple[str, str]


class LeaseLife(msgspec.Struct, kw_only=True):
    """A lease from its grant to its end [ns]; ended_at NEVER while it runs. points: (until, exact
    sum of rate x time) after each metering; charge: what was posted in all [micro-USD]."""

    lease: LeaseId
    provider: ProviderName
    cost_centre: CostCentre
    job: JobId
    offer: OfferId
    labels: tuple[tuple[str, str], ...]
    token: str
    machine: str = ""
    granted_at: int = NEVER
    ended_at: int = NEVER
    points: list[tuple[int, int]] = []
    charge: int = 0

    def charged(self, at: int) -> int:
        """What was charged for the time up to an instant [micro-USD], rounded up once."""
        if at <= self.granted_at or not self.points:
            return 0
        if at >= self.points[-1][0]:
            return self.charge
        index = bisect_left(self.points, (at, 0))
        until, accrued = self.points[index]
        since, before = self.points[index - 1] if index else (self.granted_at, 0)
        part = before + (accrued - before) * (at - since) // max(1, until - since)
        return -(-part // RATE_NS_PER_MICRO)

    def booked(self, spans: Sequence[Span]) -> int:
        """What was charged for stretches of time, sorted and apart [micro-USD]. A bill that starts
        or ends minutes beside the lease means all of it: clocks differ."""
        total = 0
        for index, (start, end) in enumerate(spans):
            if index == 0 and 0 < start - self.granted_at <= _SKEW:
                start = self.granted_at  # noqa: PLW2901
            if index == len(spans) - 1 and 0 < self.ended_at - end <= _SKEW:
                end = self.ended_at  # noqa: PLW2901
            total += self.charged(end) - self.charged(start)
        return total

    def overlap(self, start: int, end: int) -> int:
        """How long a stretch and the lease have in common [ns]; below 0 for none."""
        return min(end, self.ended_at) - max(start, self.granted_at)


class Known(msgspec.Struct, kw_only=True):
    """What earlier parts of bills said about a group: exact total, stretches, what was booked."""

    total: Decimal = Decimal(0)
    covered: tuple[Span, ...] = ()
    settled: int = 0


class Leases:
    """An index over a journal, of the leases that ran between two instants [ns]."""

    def __init__(self, entries: Iterable[Entry], start: int, end: int) -> None:
        self.installation = "treasury"
        self.centres: dict[str, None] = {}
        self.by_lease: dict[LeaseId, LeaseLife] = {}
        self.known: dict[Group, Known] = {}
        # A line's key to its group and amount, as booked last.
        self.lines: dict[str, tuple[Group, Decimal]] = {}
        self._start, self._end = start - DAY, end + DAY
        self._jobs: dict[str, JobSpec] = {}
        self._providers: dict[str, ProviderName] = {}
        self._placements: dict[int, tuple[LeaseId, ...]] = {}
        for entry in entries:
            for fact in entry.facts:
                self._learn(fact)
        self._by_token: dict[str, list[LeaseLife]] = {}
        self._by_machine: dict[str, list[LeaseLife]] = {}
        for life in self.by_lease.values():
            self._by_token.setdefault(life.token, []).append(life)
            self._by_machine.setdefault(life.machine, []).append(life)

    def _learn(self, fact: Fact) -> None:
        if isinstance(fact, LeaseMetered):
            life = self.by_lease.get(fact.lease)
            if life is not None:
                life.points.append((fact.until, fact.accrued))
                life.charge = fact.charge
        elif isinstance(fact, PlacementOpened):
            self._open(fact)
        elif isinstance(fact, LeasesGranted):
            leases = self._placements.pop(fact.placement, ())
            for lease, machine in zip(leases, fact.machines, strict=False):
                life = self.by_lease[lease]
                life.machine, life.granted_at = machine, fact.at
                if fact.at > self._end:
                    del self.by_lease[lease]
        elif isinstance(fact, LeasesDeclined):
            for lease in self._placements.pop(fact.placement, ()):
                del self.by_lease[lease]
        elif isinstance(fact, LeaseEnded):
            if fact.lease in self.by_lease:
                self.by_lease[fact.lease].ended_at = fact.at
                if fact.at < self._start:
                    del self.by_lease[fact.lease]
        elif isinstance(fact, JobQueued):
            self._jobs[fact.spec.id] = fact.spec
        elif isinstance(fact, JobEnded):
            self._jobs.pop(fact.job, None)
        elif isinstance(fact, OffersListed):
            self._providers.update({offer.id: offer.provider for offer in fact.offers})
        elif isinstance(fact, Configured):
            self.installation = fact.settings.installation
            self.centres.update({budget.cost_centre: None for budget in fact.budgets})
        elif isinstance(fact, BillBooked):
            self._book(fact.part)

    def _open(self, fact: PlacementOpened) -> None:
        spec = self._jobs[fact.job]
        self._placements[fact.placement] = fact.leases
        for lease in fact.leases:
            self.by_lease[lease] = LeaseLife(
                lease=lease,
                provider=self._providers[fact.offer],
                cost_centre=spec.cost_centre,
                job=fact.job,
                offer=fact.offer,
                labels=tuple(sorted(spec.labels.items())),
                token=fact.token,
                points=[],
            )

    def _book(self, part: BillPart) -> None:
        group: Group = (part.cost_centre, part.provider) if part.lease is None else part.lease
        total = Decimal(part.total)
        self.known[group] = Known(
            total=total, covered=part.covered, settled=part.billed - part.booked
        )
        if part.covered and part.covered[-1][1] < self._start:
            return
        for line in part.lines:
            self.lines[line.key] = (group, Decimal(line.amount))

    def ours(self, row: BillRow) -> bool:
        """Whether a line may be about a machine of this installation."""
        return row.tags.get(OWNER_TAG, self.installation) == self.installation

    def match(self, row: BillRow) -> LeaseLife | None:
        """The lease a line is about: by its tags, else by machine and time."""
        tagged = "".join(char for char in row.tags.get(LEASE_TAG, "") if char.isdigit())
        if tagged:
            life = self.by_lease.get(LeaseId(int(tagged)))
            if life is not None and life.provider == row.provider:
                return life
        if row.tags.get(TOKEN_TAG):
            gang = self._by_token.get(row.tags[TOKEN_TAG], [])
            found = gang if len(gang) == 1 else self._at(gang, row)
            if found:
                return found[0]
        for name in _spellings(row.resource):
            found = self._at(self._by_machine.get(name, []), row)
            if found:
                return max(found, key=lambda life: life.overlap(row.start, row.end))
        return None

    @staticmethod
    def _at(lives: list[LeaseLife], row: BillRow) -> list[LeaseLife]:
        names = _spellings(row.resource)
        return [
            life
            for life in lives
            if life.machine in names
            and life.provider == row.provider
            and life.overlap(row.start, row.end) >= 0
        ]


def _spellings(resource: str) -> tuple[str, ...]:
    """A machine's name alone and as the end of a path or ARN."""
    if not resource:
        return ()
    tail = resource.rsplit("/", 1)[-1]
    return tuple(dict.fromkeys((resource, tail, tail.rsplit(":", 1)[-1])))
