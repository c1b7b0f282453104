"""A bill against the books: each line finds its lease, and what differs is explained.

Differences are cumulative like charges are: all lines known of a lease, less what the journal
charged for the time they cover, less what was booked as a difference before. A bill imported again
therefore adds nothing, a restated line adds what it changed, and a bill that came before the last
metering is set right by the next import.
"""

from collections.abc import Iterable
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Final

import msgspec

from treasury.domain.bill import BilledLine, BillPart
from treasury.domain.ids import CostCentre, ProviderName
from treasury.domain.money import NS_PER_HOUR
from treasury.domain.time import HOUR, MINUTE, NEVER, SECOND
from treasury.finops.bills import CENTRE_TAG, BillRow
from treasury.finops.leases import Group, Known, LeaseLife, Leases, Span

# A market's usual steps and minimum: hours that differ by rounding up to one are explained by it.
_STEPS: Final = (SECOND, MINUTE, HOUR)
_HOURS_SLACK: Final = Decimal("1e-6")


class Left(msgspec.Struct, frozen=True):
    """A line that no lease answers to and that was not booked. amount in micro-USD."""

    number: int
    resource: str
    category: str
    amount: int


class Findings(msgspec.Struct, kw_only=True):
    """What a bill came to. parts: what is to be booked, the empty ones left out. causes: what
    explains the differences: cause to (parts, amount in micro-USD). missing: leases that ran
    within the bill's time and that it does not name. Counts are of lines."""

    parts: list[BillPart] = []
    causes: dict[str, tuple[int, int]] = {}
    missing: list[LeaseLife] = []
    unmatched: list[Left] = []
    lines: int = 0
    matched: int = 0
    repeated: int = 0
    restated: int = 0
    foreign: int = 0
    billed: int = 0
    booked: int = 0

    @property
    def difference(self) -> int:
        """What is to be booked [micro-USD]."""
        return sum(part.difference for part in self.parts)


class _Gathered(msgspec.Struct):
    """A group's lines in this file."""

    life: LeaseLife | None
    cost_centre: str
    provider: str
    new: list[BilledLine] = []
    changed: Decimal = Decimal(0)
    spans: list[Span] = []
    usage: Decimal = Decimal(0)
    hours: Decimal | None = None
    other: dict[str, Decimal] = {}
    invoice: str = ""


def reconcile(
    rows: Iterable[BillRow], leases: Leases, *, unmatched: str = "", final: bool = False
) -> Findings:
    """Match every row and work out what is to be booked.

    unmatched: the cost centre that pays for lines without a lease, unless their tag names one;
    without it they are only listed. final: the bill is complete, so that leases it does not name
    cost nothing.
    """
    found = Findings(causes={}, parts=[], missing=[], unmatched=[])
    groups: dict[Group, _Gathered] = {}
    bounds: dict[str, Span] = {}
    for row in rows:
        found.lines += 1
        if not leases.ours(row):
            found.foreign += 1
            continue
        _gather(row, leases, groups, found, unmatched)
        low, high = bounds.get(row.provider, (row.start, row.end))
        bounds[row.provider] = (min(low, row.start), max(high, row.end))
    found.missing = [
        life
        for life in leases.by_lease.values()
        if life.charge
        and life.lease not in groups
        and life.lease not in leases.known
        and life.provider in bounds
        and life.ended_at < NEVER
        and life.granted_at >= bounds[life.provider][0]
        and life.ended_at <= bounds[life.provider][1]
    ]
    for group, gathered in groups.items():
        _settle(group, gathered, leases, found)
    if final:
        for life in found.missing:
            _cancel(life, found)
    return found


def _gather(
    row: BillRow,
    leases: Leases,
    groups: dict[Group, _Gathered],
    found: Findings,
    unmatched: str,
) -> None:
    tagged = row.tags.get(CENTRE_TAG, "")
    centre = tagged if tagged in leases.centres else unmatched
    # A line that was booked stays where it was booked.
    group, old = leases.lines.get(row.key, (None, None))
    if group is None:
        life = leases.match(row)
    else:
        life = None if isinstance(group, tuple) else leases.by_lease.get(group)
    if life is not None:
        group, centre = life.lease, life.cost_centre
    elif isinstance(group, tuple):
        centre = group[0]
    elif group is not None:
        # On a lease too old for this bill's time: nothing new can be said.
        found.repeated += 1
        return
    elif not centre:
        found.unmatched.append(Left(row.number, row.resource, row.category, _micros(row.amount)))
        return
    else:
        group = (centre, row.provider)
    if group not in groups:
        groups[group] = _Gathered(life, centre, row.provider, [], spans=[], other={})
    known = groups[group]
    if old is None or old != row.amount:
        known.new.append(BilledLine(row.key, f"{row.amount:f}"))
        known.changed += row.amount - (old or 0)
        found.restated += old is not None
    else:
        found.repeated += 1
    found.matched += life is not None
    known.invoice = row.invoice or known.invoice
    if row.category == "usage":
        known.usage += row.amount
        known.spans.append((row.start, row.end))
        if row.hours is not None:
            known.hours = (known.hours or Decimal(0)) + row.hours
    else:
        known.other[row.category] = known.other.get(row.category, Decimal(0)) + row.amount
        if life is None:
            known.spans.append((row.start, row.end))


def _settle(group: Group, gathered: _Gathered, leases: Leases, found: Findings) -> None:
    """The part of one group: what all its lines come to beside what was charged and booked."""
    before = leases.known.get(group, Known())
    total = before.total + gathered.changed
    covered = _union((*before.covered, *gathered.spans))
    life = gathered.life
    booked = 0 if life is None else life.booked(covered)
    difference = _micros(total) - booked - before.settled
    causes = _explain(gathered, difference)
    found.billed += _micros(gathered.usage + sum(gathered.other.values()))
    found.booked += 0 if life is None else life.booked(_union(gathered.spans))
    if not difference and not gathered.new:
        return
    part = BillPart(
        provider=ProviderName(gathered.provider),
        cost_centre=CostCentre(gathered.cost_centre),
        lines=tuple(gathered.new),
        covered=covered,
        total=f"{total:f}",
        billed=_micros(total),
        booked=booked,
        difference=difference,
        causes=causes,
        invoice=gathered.invoice,
    )
    if life is not None:
        part = msgspec.structs.replace(
            part,
            lease=life.lease,
            job=life.job,
            offer=life.offer,
            machine=life.machine,
            labels=life.labels,
        )
    _add(part, found)


def _cancel(life: LeaseLife, found: Findings) -> None:
    """A lease that a complete bill does not name: what was charged for it is not owed."""
    part = BillPart(
        provider=life.provider,
        cost_centre=life.cost_centre,
        lines=(),
        covered=((life.granted_at, max(life.ended_at, life.granted_at + 1)),),
        total="0",
        billed=0,
        booked=life.charge,
        difference=-life.charge,
        causes=(("lease not on the bill", -life.charge),),
        lease=life.lease,
        job=life.job,
        offer=life.offer,
        machine=life.machine,
        labels=life.labels,
    )
    _add(part, found)


def _add(part: BillPart, found: Findings) -> None:
    found.parts.append(part)
    for cause, amount in part.causes:
        count, total = found.causes.get(cause, (0, 0))
        found.causes[cause] = (count + 1, total + amount)


def _explain(gathered: _Gathered, difference: int) -> tuple[tuple[str, int], ...]:
    """What makes up a difference; the amounts add up to it."""
    if not difference:
        return ()
    life = gathered.life
    if life is None:
        return (("unmatched line", difference),)
    causes = {_OTHERS[kind]: _micros(amount) for kind, amount in gathered.other.items()}
    spans = _union(gathered.spans)
    booked = life.booked(spans)
    usage = _micros(gathered.usage) - booked
    held = sum(max(0, life.overlap(start, end)) for start, end in spans)
    if abs(usage) <= len(gathered.spans):
        causes["rounding of amounts"] = usage
    elif gathered.hours is None or not booked or not held:
        causes["amount"] = usage
    else:
        ours = Decimal(held) / NS_PER_HOUR
        more = _micros((gathered.hours - ours) * booked / ours / 1_000_000)
        word = "rounding step" if _stepped(gathered.hours, held) else "hours"
        causes[word] = more
        causes["rate"] = usage - more
    explained = sum(causes.values())
    causes["earlier imports"] = difference - explained
    return tuple((cause, amount) for cause, amount in causes.items() if amount)


_OTHERS: Final = {"tax": "tax", "credit": "credit", "other": "other charges"}


def _stepped(hours: Decimal, held: int) -> bool:
    """Whether billed hours are the held ones rounded up to a second, a minute or an hour, or to a
    minute at least."""
    for step in _STEPS:
        rounded = Decimal(max(-(-held // step) * step, MINUTE)) / NS_PER_HOUR
        if abs(hours - rounded) <= _HOURS_SLACK:
            return True
    return False


def _union(spans: Iterable[Span]) -> tuple[Span, ...]:
    """The same stretches, sorted and without overlaps."""
    found: list[Span] = []
    for start, end in sorted(spans):
        if found and start <= found[-1][1]:
            found[-1] = (found[-1][0], max(end, found[-1][1]))
        else:
            found.append((start, end))
    return tuple(found)


def _micros(amount: Decimal) -> int:
    """Micro-USD, halves to even."""
    return int((amount * 1_000_000).to_integral_value(rounding=ROUND_HALF_EVEN))
