"""The conformance suite passes a sound adapter, and each broken promise fails the case about it."""

import asyncio
import logging
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest

from tests.counterparts.cloud import Cloud, Machine
from tests.support.daemon import LoopClock
from tests.support.table import CAPABILITIES, offer
from treasury.domain import errors as e
from treasury.domain.events import LeaseSeen, MachineNoticed
from treasury.domain.market import Quote, Tenure
from treasury.domain.money import NANO
from treasury.domain.time import MINUTE, SECOND
from treasury_providers.common.tags import read_tags, request_tags, write_leases
from treasury_simulations.conformance import CASES, Fault, Operation, Outcome, Report, run
from treasury_simulations.storm.loop import VirtualLoop

ABLE = msgspec.structs.replace(
    CAPABILITIES, bids=True, notice_ns=2 * MINUTE, listing_lag_ns=2 * SECOND, gang_max=8
)
OFFER = msgspec.structs.replace(offer("a"), tenure=Tenure.SPOT, capabilities=ABLE)
SECRET = "canary-0123456789"
ERRORS = {
    Fault.NO_CAPACITY: e.NoCapacity,
    Fault.QUOTA: e.QuotaReached,
    Fault.FORBIDDEN: e.NotPermitted,
    Fault.LOST_ANSWER: e.OutcomeUnknown,
    Fault.UNAVAILABLE: e.Unreachable,
    Fault.GARBAGE: e.Unreachable,
    Fault.HALF_PAGE: e.Unreachable,
}


class Toy(Cloud):
    """A market in memory that is its own counterpart."""

    secrets = (SECRET,)
    can = frozenset({
        "set_rate", "set_depth", "set_lag", "interrupt", "notices", "add_foreign",
        *(fault.value for fault in Fault),
    })  # fmt: skip

    def __init__(self, clock: LoopClock) -> None:
        super().__init__(clock, [(OFFER, 2 * NANO)], SECOND)
        self.warnings: asyncio.Queue[MachineNoticed] = asyncio.Queue()
        self.answers: dict[str, list[Machine]] = {}

    async def interrupt(self, machine: str, *, notices: int = 1) -> int:
        """Warn so often, take after the notice."""
        taken, now = self.alive[machine], self.clock.now()
        marked = read_tags("test", taken.tags)
        for _ in range(notices):
            self.warnings.put_nowait(MachineNoticed(marked.leases[0], now, now + ABLE.notice_ns))
        return self.take(taken, ABLE.notice_ns)

    async def add_foreign(self, wanted: str) -> str:
        """Somebody else's."""
        return self.make(f"foreign-{len(self.all)}", wanted, {"treasury-owner": "other"}).name


class Sound:
    """An adapter that keeps every promise."""

    name = "aws"
    capabilities = ABLE

    def __init__(self, cloud: Toy) -> None:
        self.cloud, self.told = cloud, set()

    async def meet(self, operation: Operation) -> Fault | None:
        """Raise what the market answers; a lost answer is the caller's to raise."""
        fault = await self.cloud.meet(operation)
        if fault is Fault.THROTTLED:
            raise e.Throttled(until=self.cloud.clock.now() + SECOND)
        if fault is not None and fault is not Fault.LOST_ANSWER:
            raise ERRORS[fault](fault.value)
        return fault

    async def offers(self) -> list[Any]:
        """See the port."""
        return [OFFER]

    async def quotes(self) -> AsyncIterator[Quote]:
        """See the port."""
        while True:
            now = self.cloud.clock.now()
            yield Quote(OFFER.id, self.cloud.pools[OFFER.id].rate, -1, now, now)
            await self.cloud.clock.sleep_until(now + SECOND)

    async def notices(self) -> AsyncIterator[MachineNoticed]:
        """See the port."""
        while True:
            notice = await self.cloud.warnings.get()
            if notice.lease not in self.told:
                self.told.add(notice.lease)
                yield notice

    async def acquire(self, request: Any) -> None:
        """See the port."""
        fault = await self.meet(Operation.ACQUIRE)
        if request.bid < self.cloud.pools[OFFER.id].rate:
            raise e.BidTooLow
        if request.token not in self.cloud.answers:
            if self.cloud.short(OFFER.id, len(request.leases)):
                raise e.NoCapacity
            self.cloud.answers[request.token] = [
                self.make(request, lease) for lease in request.leases
            ]
        if fault is not None:
            raise e.OutcomeUnknown

    def make(self, request: Any, lease: int) -> Machine:
        """One machine with its tags."""
        tags = request_tags("test", request) | {"treasury-lease": write_leases([lease])}
        return self.cloud.make(f"m-{len(self.cloud.all)}", OFFER.id, tags)

    async def release(self, request: Any) -> None:
        """See the port."""
        await self.meet(Operation.RELEASE)
        for machine in list(self.cloud.alive.values()):
            marked = read_tags("test", machine.tags)
            if marked is not None and marked.leases[0] == request.lease:
                self.cloud.end(machine, "user")

    async def leases(self) -> list[LeaseSeen]:
        """See the port."""
        await self.meet(Operation.LIST)
        return [seen for machine in self.cloud.visible() if (seen := self.seen(machine))]

    def seen(self, machine: Machine) -> LeaseSeen | None:
        """A machine of ours."""
        marked = read_tags("test", machine.tags)
        if marked is None:
            return None
        at = machine.granted_at
        return LeaseSeen(marked.leases[0], marked.placement, machine.name, at, 0, marked.token)

    async def rebid(self, request: Any) -> None:
        """See the port."""
        raise e.Declined(request.machine)

    async def close(self) -> None:
        """See the port."""


class Doubles(Sound):
    async def acquire(self, request: Any) -> None:
        self.cloud.answers.clear()
        await super().acquire(request)


class HalfGangs(Sound):
    async def acquire(self, request: Any) -> None:
        if self.cloud.short(OFFER.id, len(request.leases)):
            self.make(request, request.leases[0])
        await super().acquire(request)


class Silent(Sound):
    async def acquire(self, request: Any) -> None:
        try:
            await super().acquire(request)
        except (e.Unreachable, e.Throttled):
            return


class Hasty(Sound):
    async def acquire(self, request: Any) -> None:
        try:
            await super().acquire(request)
        except e.OutcomeUnknown:
            raise e.NoCapacity from None


class HalfBlind(Sound):
    async def leases(self) -> list[LeaseSeen]:
        try:
            return await super().leases()
        except e.Unreachable:
            return []


class Greedy(Sound):
    def seen(self, machine: Machine) -> LeaseSeen | None:
        return super().seen(machine) or LeaseSeen(77, 7, machine.name, 0, 0, "x")


class Reckless(Sound):
    async def release(self, request: Any) -> None:
        await super().release(request)
        for machine in list(self.cloud.alive.values()):
            self.cloud.end(machine, "user")


class Forgetful(Sound):
    def seen(self, machine: Machine) -> LeaseSeen | None:
        seen = super().seen(machine)
        return seen and msgspec.structs.replace(seen, token="lost")


class Chatty(Sound):
    async def meet(self, operation: Operation) -> Fault | None:
        try:
            return await super().meet(operation)
        except e.NotPermitted as error:
            raise e.NotPermitted(f"key {SECRET}") from error


class Talkative(Sound):
    async def acquire(self, request: Any) -> None:
        logging.getLogger("adapter").info("asking with %s", SECRET)
        await super().acquire(request)


class Echo(Sound):
    async def notices(self) -> AsyncIterator[MachineNoticed]:
        while True:
            yield await self.cloud.warnings.get()


class Cheap(Sound):
    async def quotes(self) -> AsyncIterator[Quote]:
        async for quote in super().quotes():
            yield msgspec.structs.replace(quote, rate=quote.rate // 1_000_000)


class Prophet(Sound):
    async def quotes(self) -> AsyncIterator[Quote]:
        async for quote in super().quotes():
            yield msgspec.structs.replace(quote, received_at=quote.received_at + MINUTE)


class Fickle(Sound):
    async def offers(self) -> list[Any]:
        self.count = getattr(self, "count", 0) + 1
        shape = msgspec.structs.replace(OFFER.shape, gpus=self.count)
        return [msgspec.structs.replace(OFFER, shape=shape)]


class Slow(Sound):
    capabilities = msgspec.structs.replace(ABLE, listing_lag_ns=1)

    async def leases(self) -> list[LeaseSeen]:
        now = self.cloud.clock.now()
        return [item for item in await super().leases() if item.granted_at < now - 30 * SECOND]


class Stubborn(Sound):
    async def release(self, request: Any) -> None:
        if not any(True for machine in self.cloud.alive.values() if self.seen(machine)):
            raise e.LeaseUnknown
        await super().release(request)


class Brittle(Sound):
    async def close(self) -> None:
        if getattr(self, "closed", False):
            raise RuntimeError("closed already")
        self.closed = True


def conform(kind: type[Sound]) -> Report:
    """The suite against an adapter of this kind, in virtual time."""

    async def main(loop: VirtualLoop) -> Report:
        cloud = Toy(LoopClock(loop))
        try:
            return await run(kind(cloud), cloud)
        finally:
            await cloud.close()

    with asyncio.Runner(loop_factory=lambda: VirtualLoop(1)) as runner:
        return runner.run(main(runner.get_loop()))


def test_a_sound_adapter_passes_every_case() -> None:
    """Nothing fails and nothing is left out; numbers are unique and in order."""
    report = conform(Sound)
    assert report.failures() == []
    assert report.conforms
    assert [result.outcome for result in report.results] == [Outcome.PASSED] * len(CASES)
    numbers = [case.number for case in CASES]
    assert numbers == sorted(set(numbers))


@pytest.mark.parametrize(
    ("kind", "case"),
    [
        (Fickle, "C01"), (Cheap, "C02"), (Prophet, "C02"), (Forgetful, "C03"), (Doubles, "C04"),
        (Stubborn, "C05"), (HalfGangs, "C06"), (Hasty, "C08"), (Silent, "C09"), (Silent, "C10"),
        (HalfBlind, "C11"), (Slow, "C03"), (Echo, "C13"), (Greedy, "C16"), (Reckless, "C16"),
        (Chatty, "C17"), (Talkative, "C17"), (Silent, "C20"), (Reckless, "C22"), (Brittle, "C23"),
    ],
)  # fmt: skip
def test_a_broken_promise_fails_its_case(kind: type[Sound], case: str) -> None:
    """An adapter that breaks one promise is caught by the case about it."""
    report = conform(kind)
    assert not report.conforms
    assert case in [line[:3] for line in report.failures()]


def test_only_what_is_asked_for_is_tried() -> None:
    """A selection of cases is run alone."""

    async def main(loop: VirtualLoop) -> Report:
        cloud = Toy(LoopClock(loop))
        return await run(Sound(cloud), cloud, only=["C03"])

    with asyncio.Runner(loop_factory=lambda: VirtualLoop(1)) as runner:
        report = runner.run(main(runner.get_loop()))
    assert [result.number for result in report.results] == ["C03"]
