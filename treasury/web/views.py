"""What the API tells, as types: the book's records in plain units.

Instants and durations are ns, money is micro-USD, rates are nano-USD an hour.
"""

from collections.abc import Iterator
from typing import Any

import msgspec

from treasury.domain.job import JobSpec
from treasury.domain.lease import BILLED
from treasury.domain.market import Tenure
from treasury.domain.task import Task
from treasury.engine.book import Book, BudgetRecord, JobRecord, LeaseRecord, OfferRecord

HIDDEN = "(not shown)"


class JobRow(msgspec.Struct, frozen=True, kw_only=True):
    """An active job. rate: of all its machines; work_done: by our reckoning now; waits: why it is
    not placed, where it is known; moving: more machines are held for a migration."""

    id: str
    state: str
    cost_centre: str
    priority: int
    gpus: str
    nodes: int
    offer: str | None
    rate: int
    cost: int
    held: int
    work: int
    work_done: int
    submitted_at: int
    deadline: int | None
    missed: bool
    interruptions: int
    failures: int
    moving: bool
    waits: str | None
    approved: bool
    value: int


class EndedJob(msgspec.Struct, frozen=True, kw_only=True):
    """A job that is over: finished, failed or cancelled."""

    id: str
    state: str


class Machine(msgspec.Struct, frozen=True, kw_only=True):
    """A lease. funded_until: what is held pays for it until then, None before its grant."""

    id: int
    job: str
    placement: int
    offer: str
    provider: str
    state: str
    machine: str
    bid: int
    rate: int
    charge: int
    granted_at: int
    funded_until: int | None


class JobDetail(msgspec.Struct, frozen=True, kw_only=True):
    """A job with all that is known of it; spec is None once it is over."""

    job: JobRow | None
    ended: EndedJob | None
    spec: JobSpec | None
    machines: tuple[Machine, ...]


class BudgetRow(msgspec.Struct, frozen=True, kw_only=True):
    """A budget as it stands in its present period [start, end)."""

    cost_centre: str
    parent: str | None
    depth: int
    start: int
    end: int
    limit: int
    spent: int
    held: int
    available: int
    lendable: int
    burn: int
    frozen: bool
    mode: str


class OfferRow(msgspec.Struct, frozen=True, kw_only=True):
    """An offer. rate, rate_per_gpu: None before the first quote; depth: machines to be had, None
    where the market does not say; age: since the quote was observed; score: 100 for the cheapest
    of its accelerator that can be taken now, 50 for twice its price, 0 for what cannot be taken."""

    id: str
    provider: str
    region: str
    zone: str
    instance: str
    gpu: str
    gpus: int
    gpu_memory_gib: int
    tenure: Tenure
    rate: int | None
    rate_per_gpu: int | None
    depth: int | None
    in_use: int
    age: int | None
    quarantined_until: int
    drained: bool
    score: int


def job_row(book: Book, record: JobRecord, now: int) -> JobRow:
    """A job as it stands at an instant [ns]."""
    spec, need = record.spec, record.spec.requirement
    placement = None if record.placement is None else book.placements[record.placement]
    leases = [] if placement is None else [book.leases.get(lease) for lease in placement.leases]
    view = book.job_view(spec.id)
    return JobRow(
        id=spec.id,
        state=record.state.value,
        cost_centre=spec.cost_centre,
        priority=spec.priority,
        gpus=f"{need.gpus} x {' | '.join(need.throughput)}",
        nodes=need.nodes,
        offer=None if placement is None else placement.offer,
        rate=sum(lease.rate for lease in leases if lease is not None and lease.state in BILLED),
        cost=record.cost,
        held=book.held_for(record),
        work=spec.work,
        work_done=max(record.work_done, spec.work - view.work_left(now)),
        submitted_at=spec.submitted_at,
        deadline=spec.deadline,
        missed=record.missed,
        interruptions=record.interruptions,
        failures=record.failures,
        moving=record.successor is not None or record.previous is not None,
        waits=None if record.waits is None else record.waits.value,
        approved=record.approved,
        value=spec.value,
    )


def job_detail(book: Book, job: Any, now: int, *, secretive: bool) -> JobDetail | None:
    """A job by its id, None where there is none. secretive: its environment is not shown."""
    record = book.jobs.get(job)
    machines = tuple(machine_row(book, lease) for lease in book.leases.values() if lease.job == job)
    if record is not None:
        spec = veiled(record.spec) if secretive else record.spec
        row = job_row(book, record, now)
        return JobDetail(job=row, ended=None, spec=spec, machines=machines)
    if job in book.ended:
        ended = EndedJob(id=job, state=book.ended[job])
        return JobDetail(job=None, ended=ended, spec=None, machines=machines)
    return None


def veiled(spec: JobSpec) -> JobSpec:
    """A job without the values of its environment: people put into it what should be a secret."""
    task = spec.task
    if task is None or not task.env:
        return spec
    hidden: Task = msgspec.structs.replace(task, env=dict.fromkeys(task.env, HIDDEN))
    return msgspec.structs.replace(spec, task=hidden)


def machine_row(book: Book, lease: LeaseRecord) -> Machine:
    """A lease as it stands."""
    return Machine(
        id=lease.id,
        job=lease.job,
        placement=lease.placement,
        offer=lease.offer,
        provider=lease.provider,
        state=lease.state.value,
        machine=lease.machine,
        bid=lease.bid,
        rate=lease.rate,
        charge=lease.charge,
        granted_at=lease.granted_at,
        funded_until=book.funded_until(lease) if lease.state in BILLED else None,
    )


def budget_rows(book: Book) -> Iterator[BudgetRow]:
    """Budgets, each above those below it."""

    def below(record: BudgetRecord, depth: int) -> Iterator[BudgetRow]:
        budget = record.budget
        level = book.level(budget.cost_centre)
        yield BudgetRow(
            cost_centre=budget.cost_centre,
            parent=budget.parent,
            depth=depth,
            start=level.start,
            end=level.end,
            limit=level.limit,
            spent=level.spent,
            held=level.held,
            available=level.available,
            lendable=level.lendable,
            burn=level.burn,
            frozen=level.frozen,
            mode=budget.mode.value,
        )
        for centre in record.children:
            yield from below(book.budgets[centre], depth + 1)

    for record in book.budgets.values():
        if record.budget.parent is None:
            yield from below(record, 0)


def offer_rows(book: Book, now: int) -> list[OfferRow]:
    """Offers, the best value of each accelerator first."""
    best: dict[str, int] = {}
    for record in book.offers.values():
        shape = record.offer.shape
        rate = record.rate // max(1, shape.gpus)
        if _takeable(book, record, now) and rate < best.get(shape.gpu, rate + 1):
            best[shape.gpu] = rate
    rows = [_offer_row(book, record, best, now) for record in book.offers.values()]
    rows.sort(key=lambda row: (row.gpu, -row.score, row.rate_per_gpu or 2**62, row.id))
    return rows


def _takeable(book: Book, record: OfferRecord, now: int) -> bool:
    return (
        record.rate >= 0
        and record.depth != 0
        and record.quarantined_until <= now
        and record.offer.provider not in book.drained
    )


def _offer_row(book: Book, record: OfferRecord, best: dict[str, int], now: int) -> OfferRow:
    offer, shape = record.offer, record.offer.shape
    each = record.rate // max(1, shape.gpus)
    free = _takeable(book, record, now)
    return OfferRow(
        id=offer.id,
        provider=offer.provider,
        region=offer.region,
        zone=offer.zone,
        instance=shape.instance,
        gpu=shape.gpu,
        gpus=shape.gpus,
        gpu_memory_gib=shape.gpu_memory_gib,
        tenure=offer.tenure,
        rate=None if record.rate < 0 else record.rate,
        rate_per_gpu=None if record.rate < 0 else each,
        depth=None if record.depth < 0 else record.depth,
        in_use=record.in_use,
        age=None if record.rate < 0 else max(0, now - record.observed_at),
        quarantined_until=record.quarantined_until,
        drained=offer.provider in book.drained,
        score=100 * (best[shape.gpu] + 1) // (each + 1) if free else 0,
    )
