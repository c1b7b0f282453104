"""`step`: the whole decision core in one function.

    inputs -> facts (and with them the book) -> timers that are due -> is a plan due? -> Turn

Pure in the sense that counts: no clock, socket, randomness, database or log. The book changes
through facts only; if the turn cannot be committed the book must be thrown away and rebuilt
from the journal.
"""

from collections.abc import Callable
from heapq import heappop, heappush
from typing import Any

from treasury.domain import events as e
from treasury.domain.errors import InvariantBroken
from treasury.domain.job import JobState
from treasury.domain.lease import LeaseState
from treasury.domain.time import NEVER
from treasury.domain.turn import Turn
from treasury.engine import billing, funding, jobs, lifecycle, market, reconcile
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
    if _period_due(draft):
        # What comes at or after a period's end is the next one's: a top-up must not be swept away
        # with what the last one left.
        _fire_timers(draft)
    for event in batch:
        _HANDLERS[type(event)](draft, event)
    _fire_timers(draft)
    request_plan(draft)
    return Turn(draft.entry(), _wake_at(book))


def _period_due(draft: Draft) -> bool:
    """Whether a budget's period or day has come to its end."""
    timers, due = draft.book.timers, []
    while timers and timers[0][0] <= draft.now:
        due.append(heappop(timers))
    for timer in due:
        heappush(timers, timer)
    return any(kind in {"period", "day"} for _, kind, _ in due)


def _fire_timers(draft: Draft) -> None:
    book, timers = draft.book, draft.book.timers
    while timers and timers[0][0] <= draft.now:
        at, kind, key = heappop(timers)
        if kind == "meter":
            _meter(draft, key, at)
        elif kind == "period":
            if key in book.budgets and book.budgets[key].end == at:
                funding.open_period(draft, book.budgets[key])
        elif kind == "day":
            if key in book.budgets and book.budgets[key].day_end == at:
                funding.open_day(draft, book.budgets[key])
        else:
            job = book.jobs.get(key)
            if job is not None and not job.missed:
                draft.emit(e.DeadlineMissed(key, at))


def _meter(draft: Draft, lease_id: Any, at: int) -> None:
    """Charge a machine and hold on; when the budget refuses, stop its job while the hold lasts."""
    book = draft.book
    lease = book.leases.get(lease_id)
    if lease is None or lease.meter_at != at:
        return
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
    wake = book.timers[0][0] if book.timers else NEVER
    if book.plan_timers and book.plan_timers[0] < wake:
        wake = book.plan_timers[0]
    if book.plan_at < wake and not book.plan_pending and book.jobs:
        wake = book.plan_at
    return wake


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
    e.WorkBegan: lifecycle.began,
    e.WorkSaved: lifecycle.saved,
    e.WorkStopped: lifecycle.stopped,
    e.WorkEnded: lifecycle.ended,
    e.SeeLeases: reconcile.see_leases,
    e.Propose: lambda draft, event: take_plan(draft, event.plan),
    e.Wake: _wake,
}
