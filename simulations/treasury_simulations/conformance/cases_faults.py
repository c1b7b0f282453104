"""Cases about a market that misbehaves: what happened must never be told wrongly."""

from treasury.domain.commands import Release
from treasury.domain.errors import (
    Declined,
    NoCapacity,
    NotPermitted,
    OutcomeUnknown,
    ProviderError,
    QuotaReached,
    Throttled,
    Unreachable,
)
from treasury_simulations.conformance.bench import Bench, fail, skip
from treasury_simulations.conformance.counterpart import Fault, Operation

_UNSURE = (Unreachable, OutcomeUnknown, Throttled)


async def _refused(bench: Bench, fault: Fault, *kinds: type[ProviderError]) -> ProviderError:
    """The error of an acquire that meets a fault; nothing may run afterwards."""
    counterpart = bench.needs(fault.value)
    request = bench.request(await bench.offer())
    # An adapter that asks again by itself meets it again.
    counterpart.fail(Operation.ACQUIRE, fault, times=20)
    error = await bench.expect(bench.provider.acquire(request), *kinds)
    counterpart.heal()
    if bench.running_of(request):
        fail(f"a machine runs although the answer was {type(error).__name__}")
    return error


async def no_capacity(bench: Bench) -> None:
    """C07."""
    error = await _refused(bench, Fault.NO_CAPACITY, NoCapacity)
    if error.until is not None and error.until <= bench.clock.now():
        fail("asking again is useless until an instant that has passed")


async def quota(bench: Bench) -> None:
    """C18."""
    await _refused(bench, Fault.QUOTA, QuotaReached)


async def forbidden(bench: Bench) -> None:
    """C21."""
    await _refused(bench, Fault.FORBIDDEN, NotPermitted)


async def throttled(bench: Bench) -> None:
    """C09."""
    error = await _refused(bench, Fault.THROTTLED, Throttled)
    if error.until is None or error.until <= bench.clock.now():
        fail("it does not say until when")
    bench.counterpart.fail(Operation.LIST, Fault.THROTTLED, times=20)
    await bench.expect(bench.provider.leases(), *_UNSURE)


async def unavailable(bench: Bench) -> None:
    """C10."""
    await _refused(bench, Fault.UNAVAILABLE, *_UNSURE)
    counterpart = bench.counterpart
    _, found = await bench.acquired()
    order = Release(bench.provider_name, found[0].lease, found[0].machine)
    counterpart.fail(Operation.RELEASE, Fault.UNAVAILABLE, times=20)
    await bench.expect(bench.provider.release(order), *_UNSURE)
    counterpart.heal()
    counterpart.fail(Operation.LIST, Fault.UNAVAILABLE, times=20)
    await bench.expect(bench.provider.leases(), *_UNSURE)


async def lost_answer(bench: Bench) -> None:
    """C08."""
    counterpart = bench.needs("lost_answer")
    offer = await bench.offer()
    request = bench.request(offer)
    counterpart.fail(Operation.ACQUIRE, Fault.LOST_ANSWER)
    await bench.expect(bench.provider.acquire(request), OutcomeUnknown)
    counterpart.heal()
    await bench.listed(request)
    if offer.capabilities.honours_tokens:
        await bench.call(bench.provider.acquire(request))
    if len(bench.running_of(request)) != 1:
        fail(f"{len(bench.running_of(request))} machines run after a lost answer")


async def half_page(bench: Bench) -> None:
    """C11."""
    counterpart = bench.needs("half_page")
    _, found = await bench.acquired()
    for _ in range(2):
        await bench.acquired()
    counterpart.fail(Operation.LIST, Fault.HALF_PAGE, times=20)
    await bench.expect(bench.provider.leases(), *_UNSURE)
    counterpart.heal()
    if found[0].lease not in [item.lease for item in await bench.live()]:
        fail("a machine is missing from a whole listing")


async def garbage(bench: Bench) -> None:
    """C20."""
    await _refused(bench, Fault.GARBAGE, *_UNSURE)
    bench.counterpart.fail(Operation.LIST, Fault.GARBAGE, times=20)
    await bench.expect(bench.provider.leases(), *_UNSURE)


async def secrets(bench: Bench) -> None:
    """C17."""
    counterpart = bench.counterpart
    if not counterpart.secrets:
        skip("the counterpart names no secrets")
    offer = await bench.offer()
    for fault in (Fault.FORBIDDEN, Fault.UNAVAILABLE, Fault.GARBAGE, Fault.LOST_ANSWER):
        if fault.value not in counterpart.can:
            continue
        counterpart.fail(Operation.ACQUIRE, fault)
        try:
            await bench.call(bench.provider.acquire(bench.request(offer)))
        except (Declined, *_UNSURE) as error:
            chain: BaseException | None = error
            while chain is not None:
                _search(bench, f"{type(chain).__name__}: {chain}", "an error")
                chain = chain.__cause__
        counterpart.heal()
    for line in bench.heard:
        _search(bench, line, "a log line")


def _search(bench: Bench, text: str, where: str) -> None:
    for secret in bench.counterpart.secrets:
        if secret in text:
            # Which one, but not what: the report may be printed.
            fail(f"a secret of {len(secret)} characters stands in {where}")
