"""Planning: propose from a snapshot, admit against the present.

A plan is advice about a past instant. Each action is judged again against the book as it is now: is
the job still in a state for it, does the offer still fit, do all budgets above it agree.
"""

import msgspec

from treasury.budget.guard import admit, clamp_bid
from treasury.budget.levels import SpendRequest
from treasury.domain.budget import Mode
from treasury.domain.commands import Acquire, ChangeBid
from treasury.domain.events import (
    ActionRecommended,
    ActionRefused,
    BidChanged,
    JobWaits,
    PlacementOpened,
    PlanRequested,
    PlanTaken,
    RefusalTolerated,
    SwitchPlanned,
    WorkStopping,
)
from treasury.domain.ids import JobId, LeaseId, OfferId, PlacementId, request_token
from treasury.domain.job import REFERENCE_THROUGHPUT, JobState
from treasury.domain.lease import LeaseState
from treasury.domain.money import charge
from treasury.domain.plan import (
    Action,
    BudgetView,
    LeftOut,
    Migrate,
    Place,
    Plan,
    Preempt,
    Rebid,
    Refused,
    Snapshot,
    Why,
)
from treasury.engine.book import Book, JobRecord
from treasury.engine.draft import Draft
from treasury.engine.funding import cover, notice_soft_caps
from treasury.engine.metering import hold_amount, open_holds, reopen_holds


def snapshot(book: Book, now: int) -> Snapshot:
    """What a strategy may see: immutable, and nothing but the present."""
    budgets = {}
    for centre in book.budgets:
        levels = book.levels(centre)
        own = levels[0]
        ceilings = [level.budget.ceiling for level in levels if level.budget.ceiling]
        budgets[centre] = BudgetView(
            cost_centre=centre,
            limit=own.limit,
            available=min(level.available + level.lendable for level in levels),
            held=own.held,
            spent=own.spent,
            ceiling=min(ceilings, default=0),
            parent=own.budget.parent,
        )
    return Snapshot(
        version=book.plan_version,
        now=now,
        jobs=tuple([book.job_view(JobId(key[2])) for key in book.order]),
        offers=tuple([book.offer_view(offer) for offer in book.offers]),
        budgets=budgets,
        tick=book.settings.tick,
        origin=book.settings.origin,
    )


def request_plan(draft: Draft) -> None:
    """Ask the strategy, once at a time, when a plan is due and there is anything to plan."""
    book = draft.book
    if book.plan_at > draft.now or book.plan_pending or not book.jobs:
        return
    if book.conduct is Mode.OBSERVE:
        return
    version = book.plan_version + 1
    draft.emit(PlanRequested(version))
    draft.propose = version


def take_plan(draft: Draft, plan: Plan) -> None:
    """Judge every action of a plan against the present; say why jobs wait."""
    book = draft.book
    if not book.plan_pending or plan.version != book.plan_version:
        return
    approved = refused = 0
    carried_out = book.conduct is Mode.ENFORCE
    for action in plan.actions:
        if not carried_out:
            _recommend(draft, action)
            continue
        refusal = _act(draft, action)
        if refusal is None:
            approved += 1
        else:
            refused += 1
            refuse(draft, refusal)
    for left_out in plan.left_out:
        _waits(draft, left_out)
    draft.emit(PlanTaken(plan.version, approved, refused, plan.review_at))


def _recommend(draft: Draft, action: Action) -> None:
    """Write down what would be done, unless that stands already."""
    job = draft.book.jobs.get(action.job)
    if job is None:
        return
    text = type(action).__name__.lower()
    offer = action.offer if isinstance(action, Place | Migrate) else None
    bid = 0 if isinstance(action, Preempt) else action.bid
    if job.recommended != (text, offer):
        draft.emit(ActionRecommended(action.job, text, offer, bid))


def _waits(draft: Draft, left_out: LeftOut) -> None:
    job = draft.book.jobs.get(left_out.job)
    if job is not None and job.state is JobState.QUEUED and job.waits is not left_out.why:
        draft.emit(JobWaits(left_out.job, left_out.why, left_out.detail, left_out.offer))


def refuse(draft: Draft, refusal: Refused) -> None:
    """Write a refusal down, unless the same one stands already."""
    job = draft.book.jobs.get(refusal.job)
    if job is None or job.refusal == (refusal.why, refusal.cost_centre):
        return
    draft.emit(
        ActionRefused(
            job=refusal.job,
            why=refusal.why,
            message=refusal.message,
            cost_centre=refusal.cost_centre,
            limit=refusal.limit,
            held=refusal.held,
            spent=refusal.spent,
            asked=refusal.asked,
            fits_at=refusal.fits_at,
        )
    )


def _stale(job: JobId, text: str) -> Refused:
    return Refused(job=job, why=Why.STALE, message=text)


def _act(draft: Draft, action: Action) -> Refused | None:
    job = draft.book.jobs.get(action.job)
    if job is None:
        return _stale(action.job, "the job is over")
    if isinstance(action, Place):
        return _place(draft, job, action)
    if isinstance(action, Preempt):
        return _preempt(draft, job, action)
    if isinstance(action, Migrate):
        if job.state is not JobState.RUNNING or job.successor is not None:
            return _stale(action.job, "only a running job can be migrated, once at a time")
        return place(draft, job, action.offer, action.bid, migration=True)
    return _rebid(draft, job, action)


def _place(draft: Draft, job: JobRecord, action: Place) -> Refused | None:
    if job.state is JobState.STOPPING and job.stop_cause == "preempted":
        draft.emit(SwitchPlanned(action.job, action.offer, action.bid))
        return None
    if job.state is not JobState.QUEUED:
        return _stale(action.job, f"the job is {job.state.value}, not queued")
    return place(draft, job, action.offer, action.bid, migration=False)


def _preempt(draft: Draft, job: JobRecord, action: Preempt) -> Refused | None:
    if job.state not in (JobState.STARTING, JobState.RUNNING) or job.placement is None:
        return _stale(action.job, f"the job is {job.state.value}, it holds nothing to give back")
    stop_job(draft, job, "preempted")
    return None


def stop_job(draft: Draft, job: JobRecord, cause: str) -> None:
    """Have a job checkpointed and stopped; its machines go back when it has."""
    if job.placement is None:
        return
    placement = draft.book.placements[job.placement]
    draft.emit(WorkStopping(job.spec.id, placement.id, cause))
    draft.stop_work(job, placement)


def place(
    draft: Draft, job: JobRecord, offer_id: OfferId, bid: int, *, migration: bool
) -> Refused | None:
    """Admit the acquisition of machines for a job: holds, facts and the request in this turn."""
    book, spec = draft.book, job.spec
    record = book.offers.get(offer_id)
    if record is None:
        return Refused(job=spec.id, why=Why.NO_FIT, message=f"no offer {offer_id}")
    offer = record.offer
    if spec.requirement.speed(offer) <= 0:
        return Refused(job=spec.id, why=Why.NO_FIT, message=f"{offer_id} does not fit the job")
    if record.rate < 0:
        return _stale(spec.id, f"{offer_id} has no price yet")
    if offer.provider in book.drained:
        return Refused(
            job=spec.id, why=Why.NOT_ALLOWED, message=f"{offer.provider} is being drained"
        )
    if draft.now < record.quarantined_until:
        return Refused(job=spec.id, why=Why.QUARANTINED, message=f"{offer_id} refused lately")
    age_max = book.settings.quote_age_max
    if age_max and draft.now - record.observed_at > age_max:
        return _stale(spec.id, f"the last quote of {offer_id} is too old")
    machines = spec.requirement.nodes
    levels = book.levels(spec.cost_centre)
    left = (spec.work - job.work_done) * REFERENCE_THROUGHPUT // spec.requirement.speed(offer)
    job_spent = job.cost + book.held_for(job)
    wish = SpendRequest(spec, offer, machines, record.rate, bid, 0, job_spent, draft.now)
    capped = clamp_bid(wish, levels)
    each = hold_amount(book, offer, capped)
    request = SpendRequest(
        spec,
        offer,
        machines,
        record.rate,
        capped,
        each * machines,
        job_spent,
        draft.now,
        job.cost + charge(record.rate, left) * machines,
        job.approved,
    )
    placement = PlacementId(book.last_placement + 1)
    leases = tuple(LeaseId(book.last_lease + 1 + i) for i in range(machines))
    token = request_token(book.settings.installation, placement, 1)
    command = Acquire(offer.provider, offer_id, placement, leases, capped, token)
    verdict, tolerated = admit(request, levels, command)
    _tolerate(draft, job, tolerated)
    if isinstance(verdict, Refused):
        return verdict
    if not cover(draft, spec.cost_centre, request.amount):
        return Refused(
            job=spec.id,
            why=Why.BUDGET,
            message=f"{spec.cost_centre}: its own wallet does not cover the hold",
            cost_centre=spec.cost_centre,
            asked=request.amount,
        )
    holds = tuple(open_holds(draft, lease, spec.cost_centre, offer, each) for lease in leases)
    draft.emit(
        PlacementOpened(
            placement, spec.id, offer_id, leases, capped, token, draft.now, migration, holds
        )
    )
    draft.commands.append(verdict)
    notice_soft_caps(draft, spec.cost_centre)
    return None


def _tolerate(draft: Draft, job: JobRecord, refusals: tuple[Refused, ...]) -> None:
    """Keep what enforcement would have refused, once a reason and job."""
    for refusal in refusals:
        if refusal.why not in job.tolerated:
            draft.emit(
                RefusalTolerated(
                    job.spec.id, refusal.why, refusal.message, refusal.cost_centre, refusal.asked
                )
            )


def _rebid(draft: Draft, job: JobRecord, action: Rebid) -> Refused | None:
    """Change the bid of every machine of a placed job, with its holds, in one turn."""
    book = draft.book
    if job.placement is None or job.state not in (JobState.STARTING, JobState.RUNNING):
        return _stale(action.job, "the job holds no machines to bid for")
    placement = book.placements[job.placement]
    record = book.offers[placement.offer]
    if not record.offer.capabilities.bids:
        return Refused(
            job=action.job, why=Why.NOT_ALLOWED, message=f"{placement.offer} takes no bids"
        )
    leases = [book.leases[i] for i in placement.leases if i in book.leases]
    levels = book.levels(job.spec.cost_centre)
    request = SpendRequest(
        spec=job.spec,
        offer=record.offer,
        machines=len(leases),
        rate=record.rate,
        bid=action.bid,
        amount=0,
        job_spent=job.cost + book.held_for(job),
        now=draft.now,
        replaces=placement.bid,
    )
    bid = clamp_bid(request, levels)
    held = hold_amount(book, record.offer, placement.bid)
    more = max(0, hold_amount(book, record.offer, bid) - held)
    request = msgspec.structs.replace(request, bid=bid, amount=more * len(leases))
    verdicts = []
    for lease in leases:
        command = ChangeBid(lease.provider, lease.id, bid, lease.machine)
        verdict, tolerated = admit(request, levels, command)
        _tolerate(draft, job, tolerated)
        if isinstance(verdict, Refused):
            return verdict
        verdicts.append(verdict)
    if not cover(draft, job.spec.cost_centre, more * len(leases)):
        return Refused(job=action.job, why=Why.BUDGET, message="the wallet does not cover the bid")
    for lease in leases:
        if lease.state in (LeaseState.GRANTED, LeaseState.READY):
            reopen_holds(draft, lease, bid)
    draft.emit(BidChanged(placement.id, bid))
    draft.commands.extend(verdicts)
    return None
