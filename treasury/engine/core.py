"""`step`: the whole decision core in one function.

    periods that end -> inputs -> metering and deadlines that are due -> is a plan due? -> Turn

Pure in the sense that counts: no clock, socket, randomness, database or log. The book changes
through facts only; if the turn cannot be committed the book must be thrown away and rebuilt
from the journal.
"""

from collections.abc import Callable
from heapq import heappop
from typing import Any

from treasury.domain import events as e
from treasury.domain.budget import Mode
from treasury.domain.errors import InvariantBroken
from treasury.domain.ids import LeaseId
from treasury.domain.job import JobState
from treasury.domain.lease import LeaseState
from treasury.domain.time import NEVER
from treasury.domain.turn import Turn
from treasury.engine import billing, funding, jobs, lifecycle, market, operators, reconcile
from treasury.engine.book import Book
from treasury.engine.draft import Draft
from treasury.engine.metering import meter
from treasury.engine.planning import request_plan, stop_job, take_plan
from treasury.engine.reduce import begin


def step(book: Book, batch: tuple[e.Input, ...], now: int) -> Turn:
    """Take a batch of inputs at an instant [ns]: what is to be committed and when to call again."""
    if now < book.now:
        raise InvariantBroken(f"time went back from {book.now} to {now}")
    begin(book, now)
    draft = Draft(book)
    _turn_calendar(draft)
    for event in batch:
        _HANDLERS[type(event)](draft, event)
    _fire_timers(draft)
    request_plan(draft)
    return Turn(draft.entry(), _wake_at(book))


def _turn_calendar(draft: Draft) -> None:
    """Begin the periods and days that are due, before anything else of this instant: what comes
    at or after a period's end is the next one's, and a top-up must not be swept away."""
    book, calendar = draft.book, draft.book.calendar
    while calendar and calendar[0][0] <= draft.now:
        at, kind, centre = heappop(calendar)
        record = book.budgets.get(centre)
        if record is None:
            continue
        if kind == "period" and record.end == at:
            funding.open_period(draft, record)
        elif kind == "day" and record.day_end == at:
            funding.open_day(draft, record)


def _fire_timers(draft: Draft) -> None:
    book, timers = draft.book, draft.book.timers
    while timers and timers[0][0] <= draft.now:
        at, kind, key = heappop(timers)
        if not _still_due(book, at, kind, key):
            continue
        if kind == "meter":
            _meter(draft, key)
        elif kind == "boot":
            lifecycle.never_ready(draft, book.leases[key])
        elif kind == "stop":
            lifecycle.never_stopped(draft, book.jobs[key])
        else:
            draft.emit(e.DeadlineMissed(key, at))


def _meter(draft: Draft, lease_id: LeaseId) -> None:
    """Charge a machine and hold on; when the budget refuses, stop its job while the hold lasts."""
    book = draft.book
    lease = book.leases[lease_id]
    if lease.state not in (LeaseState.GRANTED, LeaseState.READY) or meter(draft, lease):
        return
    job = book.jobs.get(lease.job)
    if job is None or job.placement != lease.placement:
        draft.close(book.placements[lease.placement], "budget")
    elif job.state in (JobState.STARTING, JobState.RUNNING):
        stop_job(draft, job, "budget")
    elif job.state is JobState.ACQUIRING:
        draft.close(book.placements[lease.placement], "budget")
        lifecycle.requeue(draft, job, job.work_done, "budget")


def _wake_at(book: Book) -> int:
    """When to call again at the latest; timers whose reason is gone are dropped on the way."""
    timers = book.timers
    while timers and not _still_due(book, *timers[0]):
        heappop(timers)
    wake = timers[0][0] if timers else NEVER
    if book.calendar and book.calendar[0][0] < wake:
        wake = book.calendar[0][0]
    if book.plan_timers and book.plan_timers[0] < wake:
        wake = book.plan_timers[0]
    observing = book.conduct is Mode.OBSERVE
    if book.plan_at < wake and not book.plan_pending and book.jobs and not observing:
        wake = book.plan_at
    return wake


def _still_due(book: Book, at: int, kind: str, key: Any) -> bool:
    """Whether a timer would find what it was set for."""
    if kind == "meter":
        lease = book.leases.get(key)
        return lease is not None and lease.meter_at == at
    if kind == "boot":
        lease = book.leases.get(key)
        return lease is not None and lease.state is LeaseState.GRANTED
    job = book.jobs.get(key)
    if kind == "stop":
        return job is not None and job.state is JobState.STOPPING and job.stop_by == at
    return job is not None and not job.missed


def _wake(draft: Draft, event: e.Wake) -> None:
    """Nothing happened; due timers fire after every batch."""


_HANDLERS: dict[type, Callable[[Draft, Any], None]] = {
    e.Configure: funding.configure,
    e.ChangeBudget: funding.change,
    e.FreezeBudget: funding.freeze,
    e.ApproveJob: jobs.approve,
    e.BookBill: billing.book_bill,
    e.ListOffers: market.list_offers,
    e.SeeQuotes: market.see_quotes,
    e.SubmitJob: jobs.submit,
    e.CancelJob: jobs.cancel,
    e.AcquireGranted: lifecycle.granted,
    e.AcquireDeclined: lifecycle.declined,
    e.AcquireUnknown: lifecycle.unknown,
    e.MachineReady: lifecycle.ready,
    e.MachineNoticed: lifecycle.noticed,
    e.MachineLost: lifecycle.lost,
    e.MachineReleased: lifecycle.released,
    e.MachineSilent: lifecycle.silent,
    e.WorkBegan: lifecycle.began,
    e.WorkSaved: lifecycle.saved,
    e.WorkStopped: lifecycle.stopped,
    e.WorkEnded: lifecycle.ended,
    e.SeeLeases: reconcile.see_leases,
    e.PreemptJob: operators.preempt,
    e.MoveJob: operators.move,
    e.DrainProvider: operators.drain,
    e.RaiseCounters: operators.raise_counters,
    e.SetConduct: operators.set_conduct,
    e.Propose: lambda draft, event: take_plan(draft, event.plan),
    e.Wake: _wake,
}
