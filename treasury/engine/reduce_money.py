"""How facts about budgets, markets, plans and money change the book."""

from collections.abc import Callable
from heapq import heappush
from typing import Any

import msgspec

from treasury.domain import events as e
from treasury.domain.lease import BILLED, LeaseState
from treasury.domain.time import NEVER
from treasury.engine.book import Book, BudgetRecord, OfferRecord
from treasury.engine.moves import accrue, burn, plan_by
from treasury.ledger.chart import limit, wallet


def _configured(book: Book, fact: e.Configured) -> None:
    book.settings = fact.settings
    parents = {b.cost_centre: b.parent for b in fact.budgets}
    old = book.budgets
    book.budgets = {}
    for budget in fact.budgets:
        chain = [budget.cost_centre]
        while (above := parents.get(chain[-1])) is not None:
            chain.append(above)
        children = tuple(c for c, above in parents.items() if above == budget.cost_centre)
        centre = budget.cost_centre
        account = limit(centre) if children else wallet(centre)
        record = BudgetRecord(budget, tuple(chain), children, account)
        known = old.get(centre)
        if known is not None:
            record = msgspec.structs.replace(
                known, budget=budget, chain=record.chain, children=children, account=account
            )
        book.budgets[budget.cost_centre] = record
    book.routes_of.clear()
    book.lending = any(budget.borrow for budget in fact.budgets)


def _period_opened(book: Book, fact: e.PeriodOpened) -> None:
    record = book.budgets[fact.cost_centre]
    record.start, record.end, record.base = fact.start, fact.end, fact.base
    record.granted, record.steps, record.noticed = fact.carried, fact.steps, False
    # Both sides of a loan begin anew with either period: what was lent was funded again.
    record.debts = {}
    for other in book.budgets.values():
        other.debts.pop(fact.cost_centre, None)
    heappush(book.calendar, (fact.end, "period", fact.cost_centre))
    if book.jobs:
        plan_by(book, book.now)


def _day_opened(book: Book, fact: e.DayOpened) -> None:
    record = book.budgets[fact.cost_centre]
    record.day_end, record.day_base = fact.end, fact.base
    heappush(book.calendar, (fact.end, "day", fact.cost_centre))
    if book.jobs:
        plan_by(book, book.now)


def moved_out(record: BudgetRecord, amount: int) -> None:
    """Money [micro-USD] left an account for another centre: it is no spending."""
    record.base += amount
    record.day_base += amount


def _budget_changed(book: Book, fact: e.BudgetChanged) -> None:
    book.budgets[fact.cost_centre].granted += fact.amount
    if fact.amount < 0:
        moved_out(book.budgets[fact.cost_centre], -fact.amount)
    if fact.source is not None:
        source = book.budgets[fact.source]
        source.granted -= fact.amount
        moved_out(source, fact.amount)
    plan_by(book, book.now)


def _budget_resized(book: Book, fact: e.BudgetResized) -> None:
    moved_out(book.budgets[fact.cost_centre], fact.returned)
    plan_by(book, book.now)


def _budget_frozen(book: Book, fact: e.BudgetFrozen) -> None:
    book.budgets[fact.cost_centre].frozen = fact.frozen
    plan_by(book, book.now)


def _budget_lent(book: Book, fact: e.BudgetLent) -> None:
    lender, borrower = book.budgets[fact.lender], book.budgets[fact.borrower]
    owed = borrower.debts.pop(fact.lender, 0) + fact.amount
    if owed:
        borrower.debts[fact.lender] = owed
    borrower.granted += fact.amount
    lender.granted -= fact.amount
    moved_out(lender if fact.amount > 0 else borrower, abs(fact.amount))


def _soft_cap_reached(book: Book, fact: e.SoftCapReached) -> None:
    book.budgets[fact.cost_centre].noticed = True


def _job_approved(book: Book, fact: e.JobApproved) -> None:
    book.jobs[fact.job].approved = True
    plan_by(book, book.now)


def _refusal_tolerated(book: Book, fact: e.RefusalTolerated) -> None:
    job = book.jobs[fact.job]
    job.tolerated = (*job.tolerated, fact.why)


def _bill_booked(book: Book, fact: e.BillBooked) -> None:
    book.bills = fact.number


def _offers_listed(book: Book, fact: e.OffersListed) -> None:
    for offer in fact.offers:
        record = book.offers.get(offer.id)
        if record is None:
            book.offers[offer.id] = OfferRecord(offer)
            book.by_offer[offer.id] = {}
        else:
            record.offer = offer
        book.offer_views.pop(offer.id, None)
    book.offers = dict(sorted(book.offers.items()))


def _quoted(book: Book, fact: e.Quoted) -> None:
    for quote in fact.quotes:
        record = book.offers[quote.offer]
        if record.offer.capabilities.floating and quote.rate != record.rate:
            for lease_id in book.by_offer[quote.offer]:
                lease = book.leases[lease_id]
                if lease.state in BILLED:
                    accrue(lease, quote.observed_at)
                    lease.rate = quote.rate
        record.rate = quote.rate
        record.depth = quote.depth
        record.observed_at = quote.observed_at
        book.offer_views.pop(quote.offer, None)
    if book.jobs:
        plan_by(book, book.now)


def _offer_quarantined(book: Book, fact: e.OfferQuarantined) -> None:
    book.offers[fact.offer].quarantined_until = fact.until
    book.offer_views.pop(fact.offer, None)
    heappush(book.plan_timers, fact.until)


def _plan_requested(book: Book, fact: e.PlanRequested) -> None:
    book.plan_version = fact.version
    book.plan_pending = True
    book.plan_at = NEVER


def _plan_taken(book: Book, fact: e.PlanTaken) -> None:
    book.plan_pending = False
    if fact.review_at is not None:
        plan_by(book, max(fact.review_at, book.now + 1))


def _action_refused(book: Book, fact: e.ActionRefused) -> None:
    job = book.jobs.get(fact.job)
    if job is not None:
        job.refusal = (fact.why, fact.cost_centre)
        if fact.fits_at is not None:
            heappush(book.plan_timers, fact.fits_at)


def _lease_metered(book: Book, fact: e.LeaseMetered) -> None:
    lease = book.leases[fact.lease]
    job = book.jobs.get(lease.job)
    if job is not None:
        job.cost += fact.charge - lease.charge
    if fact.until > book.funded_until(lease) and not lease.unsure_from:
        # Nobody kept its fuse from burning down: it may have ended by then.
        lease.unsure_from = book.funded_until(lease)
    lease.rated_until = fact.until
    lease.accrued = fact.accrued
    lease.charge = fact.charge
    lease.holds = fact.holds
    if lease.state is not LeaseState.RELEASING:
        lease.meter_at = book.now + book.settings.accrual
        book.timer(lease.meter_at, "meter", fact.lease)


def _bid_changed(book: Book, fact: e.BidChanged) -> None:
    placement = book.placements[fact.placement]
    burn(book, placement, (fact.bid - placement.bid) * placement.alive)
    placement.bid = fact.bid
    for lease_id in placement.leases:
        lease = book.leases.get(lease_id)
        if lease is not None:
            lease.bid = fact.bid
    book.job_views.pop(placement.job, None)


REDUCERS: dict[type, Callable[[Book, Any], None]] = {
    e.Configured: _configured,
    e.PeriodOpened: _period_opened,
    e.DayOpened: _day_opened,
    e.BudgetChanged: _budget_changed,
    e.BudgetResized: _budget_resized,
    e.BudgetFrozen: _budget_frozen,
    e.BudgetLent: _budget_lent,
    e.SoftCapReached: _soft_cap_reached,
    e.JobApproved: _job_approved,
    e.RefusalTolerated: _refusal_tolerated,
    e.BillBooked: _bill_booked,
    e.OffersListed: _offers_listed,
    e.Quoted: _quoted,
    e.OfferQuarantined: _offer_quarantined,
    e.PlanRequested: _plan_requested,
    e.PlanTaken: _plan_taken,
    e.ActionRefused: _action_refused,
    e.LeaseMetered: _lease_metered,
    e.BidChanged: _bid_changed,
}
