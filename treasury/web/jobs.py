"""Jobs: submitted, looked at, ordered about."""

from typing import Annotated, Any

import msgspec
from aiohttp import web

from treasury.domain import events as e
from treasury.domain.errors import ConfigError, NotFound, did_you_mean
from treasury.domain.ids import CostCentre, JobId, OfferId
from treasury.domain.job import JobSpec, JobState
from treasury.domain.money import RATE_LIMIT
from treasury.engine.book import Book, JobRecord
from treasury.jobfile import JobSection, inspect_job, job_spec, read_text
from treasury.jobfile.specs import value_at
from treasury.web.idempotency import Attempt
from treasury.web.problems import JSON, ApiError, Problem, refused
from treasury.web.routes import Call
from treasury.web.views import EndedJob, JobDetail, JobRow, job_detail, job_row

NAMELESS = "job"
# Of a bid that nobody named, in thousandths of the present rate: room for a price that rises while
# the order is carried out.
_BID_ROOM = 1_200


class JobsQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which jobs. ended: also those that are over."""

    state: str = ""
    cost_centre: str = ""
    ended: bool = False


class Jobs(msgspec.Struct, frozen=True):
    """Active jobs in queue order, and those that are over, the latest last."""

    jobs: tuple[JobRow, ...]
    ended: tuple[EndedJob, ...] = ()


class SubmitQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """dry_run: only say what would be submitted."""

    dry_run: bool = False


class Submitted(msgspec.Struct, frozen=True):
    """A job that was taken. notes: what stands in its way just now."""

    id: str
    notes: tuple[str, ...]
    spec: JobSpec


class Order(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """by: who is named in the journal, the token's owner where nobody is."""

    by: str = ""


class Move(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where to. bid: most per machine [nano-USD/h]; 0 for the job's own limit, or a fifth above the
    present price where it has none."""

    offer: str
    bid: Annotated[int, msgspec.Meta(ge=0, le=RATE_LIMIT)] = 0
    by: str = ""


class Done(msgspec.Struct, frozen=True):
    """A job after an order, and the turn it was taken in."""

    id: str
    state: str
    seq: int


async def list_jobs(call: Call) -> Jobs:
    """Active jobs in queue order."""
    book, query, now = call.book, call.query, call.now
    records = (book.jobs[JobId(key[2])] for key in book.order)
    rows = tuple(
        job_row(book, record, now)
        for record in records
        if query.state in {"", record.state.value}
        and query.cost_centre in {"", record.spec.cost_centre}
    )
    if not query.ended:
        return Jobs(rows)
    over = [EndedJob(id=job, state=state) for job, state in book.ended.items()]
    return Jobs(rows, tuple(job for job in over if query.state in {"", job.state}))


async def show_job(call: Call) -> JobDetail:
    """One job."""
    job = call.name("job")
    detail = job_detail(call.book, job, call.now, secretive=call.principal.role != "admin")
    if detail is None:
        raise _unknown(call.book, job)
    return detail


async def submit(call: Call) -> Any:
    """Take a job's document."""
    section, spec = _read(call)
    notes = _notes(call.book, spec)
    if call.query.dry_run:
        return web.Response(
            body=msgspec.json.encode(Submitted(spec.id, notes, spec)), content_type=JSON
        )

    async def act(attempt: Attempt) -> Submitted:
        return await _queue(call, section, attempt)

    return await call.once(act)


def _read(call: Call) -> tuple[JobSection, JobSpec]:
    """The document and the job it makes. Raises ApiError with every problem."""
    if call.request.content_type != JSON:
        raise refused(415, "the body has to be JSON", field="Content-Type", right=JSON)
    try:
        source = read_text(call.raw, "job", ".json")
    except ConfigError as error:
        raise refused(400, str(error)) from error
    findings = inspect_job(source)
    section = findings.section
    if section is None:
        raise _problem(findings.errors, source.table)
    budgets = call.book.budgets
    if CostCentre(section.cost_centre) not in budgets:
        hint = did_you_mean(section.cost_centre, budgets)
        raise refused(
            422,
            f"job: cost_centre: {section.cost_centre!r} has no budget; {hint}",
            field="cost_centre",
            value=section.cost_centre,
            right=hint,
        )
    job = section.id or _free(call, section.name or NAMELESS)
    return section, job_spec(section, job, call.now, "job")


def _problem(errors: tuple[ConfigError, ...], table: dict[str, Any]) -> ApiError:
    first, *rest = errors
    problem = Problem(
        str(first),
        first.path,
        value_at(table, first.path),
        first.problem.partition("expected ")[2],
        tuple(map(str, rest)),
    )
    return ApiError(422, problem)


async def _queue(call: Call, section: JobSection, attempt: Attempt) -> Submitted:
    book, reserved = call.book, call.reserved
    job = attempt.pinned or section.id or _free(call, section.name or NAMELESS)
    spec = job_spec(section, job, call.now, "job")
    known = book.jobs.get(job)
    if attempt.retried and attempt.pinned and (known or job in book.ended):
        # The attempt before this one was committed and its answer lost.
        return Submitted(job, (), spec if known is None else known.spec)
    reserved[job] = reserved.get(job, 0) + 1
    try:
        await attempt.pin(job)
        entry = await call.house.agent.submit(e.SubmitJob(spec))
    finally:
        reserved[job] -= 1
        if not reserved[job]:
            del reserved[job]
    for fact in entry.facts:
        if isinstance(fact, e.JobRejected) and fact.job == job:
            field = "id" if "exists already" in fact.why else ""
            raise refused(409, f"job {job}: {fact.why}", field=field, value=section.id or None)
    return Submitted(job, _notes(book, spec), spec)


def _free(call: Call, name: str) -> str:
    """The name, or the first of name-2, name-3, ... that nobody has or is about to have."""
    book, reserved = call.book, call.reserved

    def taken(job: str) -> bool:
        return JobId(job) in book.jobs or JobId(job) in book.ended or job in reserved

    if not taken(name):
        return name
    # Numbers are given out in order: a free one is found by halving.
    low, high = 1, 2
    while taken(f"{name}-{high}"):
        low, high = high, high * 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if taken(f"{name}-{middle}") else (low, middle)
    return f"{name}-{high}"


def _notes(book: Book, spec: JobSpec) -> tuple[str, ...]:
    """What a person would want to know about a job that was taken all the same."""
    need = spec.requirement
    offers = [record.offer for record in book.offers.values()]
    sold = {offer.shape.gpu: None for offer in offers}
    notes = [f"no market at hand sells {gpu}" for gpu in need.throughput if gpu not in sold]
    providers = {offer.provider: None for offer in offers}
    notes += [
        f"no provider is called {name!r}; {did_you_mean(name, providers)}"
        for name in need.providers
        if name not in providers
    ]
    if not notes and not any(need.speed(offer) for offer in offers):
        notes.append("no machine at hand fits: too few accelerators, or too narrow a choice")
    return tuple(notes)


async def cancel(call: Call) -> Any:
    """End a job wherever it stands."""
    order, job = call.body(), JobId(call.name("job"))
    call.by(order.by)

    async def act(_attempt: Attempt) -> Done:
        if call.book.ended.get(job) == "cancelled":
            return Done(job, "cancelled", call.book.seq)
        _active(call.book, job)
        entry = await call.house.agent.submit(e.CancelJob(job))
        return _done(call.book, job, entry.seq)

    return await call.once(act)


async def preempt(call: Call) -> Any:
    """Stop a job at a checkpoint and queue it again."""
    order, job = call.body(), JobId(call.name("job"))
    by = call.by(order.by)

    async def act(attempt: Attempt) -> Done:
        record = _active(call.book, job)
        if record.state not in {JobState.STARTING, JobState.RUNNING}:
            if attempt.retried:
                return _done(call.book, job, call.book.seq)
            raise refused(409, f"job {job} is {record.state.value}: only one that runs can stop")
        entry = await call.house.agent.submit(e.PreemptJob(job, by))
        return _done(call.book, job, entry.seq)

    return await call.once(act)


async def approve(call: Call) -> Any:
    """Say yes to a job that is expected to cost much."""
    order, job = call.body(), JobId(call.name("job"))
    by = call.by(order.by)

    async def act(_attempt: Attempt) -> Done:
        if _active(call.book, job).approved:
            return _done(call.book, job, call.book.seq)
        entry = await call.house.agent.submit(e.ApproveJob(job, by))
        return _done(call.book, job, entry.seq)

    return await call.once(act)


async def move(call: Call) -> Any:
    """Place a queued job on an offer, or migrate a running one there."""
    order, job = call.body(), JobId(call.name("job"))
    by = call.by(order.by)

    async def act(attempt: Attempt) -> Done:
        book = call.book
        record = _active(book, job)
        offer = book.offers.get(OfferId(order.offer))
        if offer is None:
            hint = did_you_mean(order.offer, book.offers)
            raise refused(
                404, f"no offer is called {order.offer!r}; {hint}", field="offer", right=hint
            )
        busy = record.successor is not None or record.previous is not None
        if record.state not in {JobState.QUEUED, JobState.RUNNING} or busy:
            if attempt.retried:
                return _done(book, job, book.seq)
            state = "moving already" if busy else record.state.value
            raise refused(409, f"job {job} is {state}: only a queued or running one can move")
        bid = order.bid or record.spec.max_rate or max(1, offer.rate * _BID_ROOM // 1_000)
        entry = await call.house.agent.submit(e.MoveJob(job, offer.offer.id, bid, by))
        for fact in entry.facts:
            if isinstance(fact, e.ActionRefused) and fact.job == job:
                raise refused(409, f"refused ({fact.why.value}): {fact.message}")
        return _done(book, job, entry.seq)

    return await call.once(act)


def _active(book: Book, job: JobId) -> JobRecord:
    """A job that is not over. Raises ApiError."""
    record = book.jobs.get(job)
    if record is None:
        raise _unknown(book, job)
    return record


def _unknown(book: Book, job: JobId) -> Exception:
    state = book.ended.get(job)
    if state:
        return refused(409, f"job {job} is {state} already")
    return NotFound(f"no job is called {job!r}; {did_you_mean(job, list(book.jobs)[:1_000])}")


def _done(book: Book, job: JobId, seq: int) -> Done:
    record = book.jobs.get(job)
    return Done(job, book.ended.get(job, "") if record is None else record.state.value, seq)
