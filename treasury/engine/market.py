"""What markets say: catalogues and quotes, believed only when they make sense."""

from treasury.domain.events import ListOffers, OffersListed, Quoted, QuoteRejected, SeeQuotes
from treasury.domain.job import JobState
from treasury.domain.lease import LeaseState
from treasury.domain.market import Quote
from treasury.domain.money import RATE_LIMIT
from treasury.engine.book import Book, OfferRecord
from treasury.engine.draft import Draft
from treasury.engine.planning import stop_job


def list_offers(draft: Draft, event: ListOffers) -> None:
    """Take a catalogue into the book."""
    draft.emit(OffersListed(event.provider, event.offers))


def _doubt(book: Book, record: OfferRecord | None, quote: Quote, now: int) -> str:
    """Why a quote is not believed; empty when it is."""
    if record is None:
        return "no such offer"
    if not 0 < quote.rate <= RATE_LIMIT:
        return "a rate must be above zero and below the limit"
    if quote.observed_at > now:
        return "observed in the future"
    if quote.observed_at < record.observed_at:
        return "older than the last one"
    settings = book.settings
    if settings.quote_age_max and now - quote.observed_at > settings.quote_age_max:
        return "stale"
    jump = settings.quote_jump
    if jump and record.rate > 0 and not record.rate <= quote.rate * jump <= record.rate * jump**2:
        return f"moves by more than {jump} times at once"
    return ""


def _tells(book: Book, record: OfferRecord, quote: Quote) -> bool:
    """Whether a quote says anything new: another price or depth, or, where quotes grow too old to
    be traded on, that the old one still holds."""
    if (record.rate, record.depth) != (quote.rate, quote.depth):
        return True
    age_max = book.settings.quote_age_max
    return age_max > 0 and quote.observed_at - record.observed_at >= age_max // 4


def see_quotes(draft: Draft, event: SeeQuotes) -> None:
    """Believe what can be believed; leave machines whose price left what we would pay."""
    book, now = draft.book, draft.now
    believed = []
    for quote in event.quotes:
        record = book.offers.get(quote.offer)
        why = _doubt(book, record, quote, now)
        if why:
            draft.emit(QuoteRejected(quote.offer, quote.rate, why))
        elif record is not None and _tells(book, record, quote):
            believed.append(quote)
    if not believed:
        return
    draft.emit(Quoted(tuple(believed)))
    for quote in believed:
        _enforce_ceiling(draft, quote)


def _enforce_ceiling(draft: Draft, quote: Quote) -> None:
    """Where a floating market takes no bids, the ceiling is ours to keep: stop what became too
    dear."""
    book = draft.book
    capabilities = book.offers[quote.offer].offer.capabilities
    if not capabilities.floating or capabilities.bids:
        return
    for lease_id in list(book.by_offer[quote.offer]):
        lease = book.leases.get(lease_id)
        if lease is None or lease.rate <= lease.bid:
            continue
        if lease.state not in (LeaseState.GRANTED, LeaseState.READY):
            continue
        job = book.jobs.get(lease.job)
        if job is None or job.placement != lease.placement:
            draft.release(book.placements[lease.placement], "ceiling")
        elif job.state in (JobState.STARTING, JobState.RUNNING):
            stop_job(draft, job, "ceiling")
