"""Cases about buying machines and about bids."""

import asyncio
import contextlib

from treasury.domain.commands import ChangeBid
from treasury.domain.errors import BidTooLow, Declined, NoCapacity, ProviderError
from treasury.domain.time import SECOND
from treasury_simulations.conformance.bench import HIGH_BID, Bench, fail, skip


async def listed(bench: Bench) -> None:
    """C03."""
    started = bench.clock.now()
    request, found = await bench.acquired()
    item = found[0]
    wrong = {
        "lease": (item.lease, request.leases[0]),
        "placement": (item.placement, request.placement),
        "token": (item.token, request.token),
    }
    for what, (is_, should) in wrong.items():
        if is_ != should:
            fail(f"the {what} is {is_!r}, it was {should!r}")
    if not item.machine:
        fail("the machine has no name")
    # Markets state whole seconds, and their clocks differ a little from ours.
    if not started - 90 * SECOND <= item.granted_at <= bench.clock.now() + 90 * SECOND:
        fail(f"granted at {item.granted_at}, but it was asked for at {started}")
    if item.rate < 0:
        fail(f"a rate of {item.rate}")


async def same_token(bench: Bench) -> None:
    """C04."""
    offer = await bench.offer()
    if not offer.capabilities.honours_tokens:
        skip("the market honours no tokens")
    request = bench.request(offer)
    await bench.call(bench.provider.acquire(request))
    await bench.call(bench.provider.acquire(request))
    await asyncio.gather(*(bench.call(bench.provider.acquire(request)) for _ in range(3)))
    await bench.listed(request)
    found = [item for item in await bench.live() if item.lease in request.leases]
    if len(found) != 1:
        fail(f"five calls with one token made {len(found)} machines")
    if bench.has_counterpart and len(bench.running_of(request)) != 1:
        fail(f"the market runs {len(bench.running_of(request))} machines of one token")


async def gang(bench: Bench) -> None:
    """C06."""
    offer = await bench.offer()
    size = min(3, offer.capabilities.gang_max)
    if size < 2:
        skip("the market takes one machine a request")
    request, found = await bench.acquired(size)
    if sorted(item.lease for item in found) != sorted(request.leases):
        fail("the leases of a gang are not each listed once")
    if len({item.machine for item in found}) != size:
        fail("two leases of a gang share a machine")
    if not bench.has_counterpart or "set_depth" not in bench.counterpart.can:
        return
    bench.counterpart.set_depth(offer.id, size - 1)
    short = bench.request(offer, size)
    try:
        await bench.expect(bench.provider.acquire(short), NoCapacity)
    finally:
        bench.counterpart.set_depth(offer.id, -1)
    if bench.running_of(short):
        fail(f"{len(bench.running_of(short))} machines of a refused gang run")


async def low_bid(bench: Bench) -> None:
    """C14."""
    offer = await bench.offer(bids=True)
    quotes = [quote for quote in await bench.all_quotes() if quote.offer == offer.id]
    if not quotes or quotes[-1].rate <= 0:
        skip(f"{offer.id} is not quoted")
    request = bench.request(offer, bid=quotes[-1].rate // 2)
    await bench.expect(bench.provider.acquire(request), BidTooLow)
    if bench.has_counterpart and bench.running_of(request):
        fail("a machine runs although the bid was refused")


async def rebid(bench: Bench) -> None:
    """C15."""
    offer = await bench.offer(bids=True)
    request = bench.request(offer)
    await bench.call(bench.provider.acquire(request))
    item = (await bench.listed(request))[0]
    change = ChangeBid(offer.provider, item.lease, HIGH_BID // 2, item.machine)
    # A market that fixes bids at the start declines.
    with contextlib.suppress(Declined):
        await bench.call(bench.provider.rebid(change))
    if not [seen for seen in await bench.live() if seen.lease == item.lease]:
        fail("the machine is gone after a change of its bid")


async def cancelled(bench: Bench) -> None:
    """C19."""
    offer = await bench.offer()
    request = bench.request(offer)
    task = asyncio.ensure_future(bench.provider.acquire(request))
    # Far enough for the call to be on its way, on any machine.
    for _ in range(20):
        await asyncio.sleep(0)
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError, ProviderError):
        await bench.call(task)
    if offer.capabilities.honours_tokens:
        await bench.call(bench.provider.acquire(request))
        found = await bench.listed(request)
        if len(found) != 1:
            fail(f"a cancelled call and its repetition made {len(found)} machines")
    if bench.has_counterpart:
        await bench.settled()
        listed_now = {item.machine for item in await bench.live()}
        hidden = set(bench.running_of(request)) - listed_now
        if hidden:
            fail(f"machines run and are not listed: {sorted(hidden)}")
