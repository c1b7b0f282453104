"""Cases about giving machines back, losing them, and what a listing says."""

import asyncio

from treasury.domain.commands import Release
from treasury.domain.errors import LeaseUnknown
from treasury.domain.ids import LeaseId
from treasury.domain.time import SECOND
from treasury_simulations.conformance.bench import Bench, fail, skip


def _release(bench: Bench, lease: int, machine: str) -> Release:
    return Release(bench.provider_name, LeaseId(lease), machine)


async def twice(bench: Bench) -> None:
    """C05."""
    _, found = await bench.acquired()
    item = found[0]
    order = _release(bench, item.lease, item.machine)
    await bench.call(bench.provider.release(order))
    await bench.call(bench.provider.release(order))
    await bench.gone([item.lease])
    await bench.call(bench.provider.release(order))
    # Without the machine's name, as after a crash, and for a lease nobody ever had.
    await bench.call(bench.provider.release(_release(bench, item.lease, "")))
    try:
        await bench.call(bench.provider.release(_release(bench, 999_999_999, "")))
    except LeaseUnknown:
        fail("releasing a lease that nobody has is success, not LeaseUnknown")
    if bench.has_counterpart and item.machine in bench.running():
        fail("a released machine runs on")


async def one_of_a_gang(bench: Bench) -> None:
    """C22."""
    offer = await bench.offer()
    if offer.capabilities.gang_max < 2:
        skip("the market takes one machine a request")
    _, found = await bench.acquired(2)
    first, second = sorted(found, key=lambda item: item.lease)
    await bench.call(bench.provider.release(_release(bench, first.lease, first.machine)))
    await bench.gone([first.lease])
    if second.lease not in [item.lease for item in await bench.live()]:
        fail("releasing one machine of a gang took another")
    # By its lease alone: the listing must tell which machine that is.
    await bench.call(bench.provider.release(_release(bench, second.lease, "")))
    await bench.gone([second.lease])


async def lag(bench: Bench) -> None:
    """C12."""
    counterpart = bench.needs("set_lag")
    allowed = bench.provider.capabilities.listing_lag_ns
    if allowed <= 0:
        skip("the capabilities admit no lag")
    counterpart.set_lag(min(allowed, 3 * SECOND) * 9 // 10)
    request, found = await bench.acquired()
    await bench.call(bench.provider.release(_release(bench, found[0].lease, found[0].machine)))
    await bench.gone(request.leases)


async def interruption(bench: Bench) -> None:
    """C13."""
    counterpart = bench.needs("interrupt")
    request, found = await bench.acquired()
    lease, machine = request.leases[0], found[0].machine
    listen = asyncio.ensure_future(bench.some_notices(2, seconds=8))
    await asyncio.sleep(0)
    ends_at = await counterpart.interrupt(machine, notices=3)
    notices = [notice for notice in await listen if notice.lease == lease]
    if "notices" in counterpart.can:
        if not notices:
            fail("no notice of the interruption")
        if len(notices) > 1:
            fail("three copies of a notice were taken for several")
        span = notices[0].ends_at - notices[0].at
        if not -SECOND <= span <= bench.provider.capabilities.notice_ns + 5 * SECOND:
            fail(f"the notice gives {span / SECOND:.0f} s, not what the capabilities say")
    await bench.clock.sleep_until(ends_at + SECOND)
    await bench.gone([lease])
    listing = await bench.call(bench.provider.leases())
    for item in listing:
        if item.lease == lease and item.ended_at is not None and not item.cause:
            fail("an ended machine is listed without a cause")


async def foreign(bench: Bench) -> None:
    """C16."""
    counterpart = bench.needs("add_foreign")
    offer = await bench.offer()
    stranger = await counterpart.add_foreign(offer.id)
    await bench.acquired()
    listing = await bench.call(bench.provider.leases())
    if stranger in [item.machine for item in listing]:
        fail("another installation's machine is listed as ours")
    await bench.call(bench.provider.release(_release(bench, 999_999_998, "")))
    await bench.clean()
    if stranger not in bench.running():
        fail("another installation's machine was stopped")


async def close(bench: Bench) -> None:
    """C23."""
    await bench.call(bench.provider.close())
    await bench.call(bench.provider.close())
