"""Cases about the catalogue and the prices."""

from treasury.domain.market import Offer, offer_id
from treasury.domain.money import RATE_LIMIT
from treasury_simulations.conformance.bench import Bench, fail, skip

# No machine with an accelerator costs less an hour [nano-USD], or more: a mistake of units.
_RATE_LEAST = 1_000_000


async def offers(bench: Bench) -> None:
    """C01."""
    first = await bench.call(bench.provider.offers())
    again = await bench.call(bench.provider.offers())
    if not first:
        fail("the catalogue is empty")
    if sorted(first, key=_key) != sorted(again, key=_key):
        fail("two catalogues in a row differ")
    seen = set()
    for offer in first:
        if offer.id in seen:
            fail(f"{offer.id} is in the catalogue twice")
        seen.add(offer.id)
        problem = _problem(bench, offer)
        if problem:
            fail(f"{offer.id}: {problem}")


def _key(offer: Offer) -> str:
    return offer.id


def _problem(bench: Bench, offer: Offer) -> str:
    right = offer_id(offer.provider, offer.region, offer.zone, offer.shape.instance, offer.tenure)
    able = offer.capabilities
    if offer.provider != bench.provider.name:
        return f"its provider is {offer.provider}, not {bench.provider.name}"
    if offer.id != right:
        return f"its identifier should be {right}"
    if offer.shape.gpus < 0 or not offer.shape.gpu:
        return "its shape has no accelerators"
    if able.billing_step_ns < 1 or able.gang_max < 1 or able.calls_per_minute < 1:
        return "billing step, gang and calls a minute are at least 1"
    times = (able.notice_ns, able.grant_delay_ns, able.boot_ns, able.listing_lag_ns)
    return "a duration is negative" if min(times) < 0 else ""


async def quotes(bench: Bench) -> None:
    """C02."""
    known = {offer.id for offer in await bench.offers()}
    found = await bench.some_quotes(len(known), seconds=20)
    if not found:
        fail("not one quote in 20 s")
    now = bench.clock.now()
    for quote in found:
        if quote.offer not in known:
            fail(f"a quote for {quote.offer}, which is not in the catalogue")
        if not (quote.rate == -1 or _RATE_LEAST <= quote.rate <= RATE_LIMIT):
            fail(f"{quote.offer}: {quote.rate} nano-USD/h is no price of a machine")
        if quote.depth < -1:
            fail(f"{quote.offer}: a depth of {quote.depth}")
        if not quote.observed_at <= quote.received_at <= now:
            fail(f"{quote.offer}: observed after it was received, or in the future")
    if bench.has_counterpart and "set_rate" in bench.counterpart.can:
        await _moved(bench)


async def _moved(bench: Bench) -> None:
    """A new price reaches a new stream."""
    offer = await bench.offer()
    before = [quote for quote in await bench.all_quotes() if quote.offer == offer.id]
    if not before or before[-1].rate <= 0:
        skip(f"{offer.id} is not quoted")
    rate = before[-1].rate * 11 // 10 // 100_000 * 100_000
    bench.counterpart.set_rate(offer.id, rate)
    after = [quote for quote in await bench.all_quotes() if quote.offer == offer.id]
    bench.counterpart.set_rate(offer.id, before[-1].rate)
    if not after or after[-1].rate != rate:
        fail(f"{offer.id} moved to {rate}, and the quote says {after[-1].rate if after else None}")
