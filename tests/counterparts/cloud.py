"""What every pretend cloud has: machines, prices, depth, a meter, and faults to order or by chance.

The wire (paths, bodies, codes) belongs to each market's own folder.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Self

from aiohttp import web

from treasury.domain.ids import OfferId
from treasury.domain.market import Offer
from treasury.domain.time import SECOND
from treasury.ports import Clock
from treasury_simulations.conformance import Fault, Made, Operation
from treasury_simulations.meter import bill, integral, micros


class Served:
    """A counterpart's HTTP server on a free loopback port. url: once it is up."""

    cloud: "Cloud"
    url = ""
    _runner: web.AppRunner | None = None

    async def _serve(self, app: web.Application) -> Self:
        self._runner = web.AppRunner(
            app, access_log=None, handle_signals=False, shutdown_timeout=0.1
        )
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        host, port = self._runner.addresses[0][:2]
        self.url = f"http://{host}:{port}"
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.cloud.close()
        if self._runner is not None:
            await self._runner.cleanup()


@dataclass(eq=False)
class Machine:
    """A machine as the cloud remembers it. Instants in ns.

    taken_at: when the cloud takes it back. ended: why. allocated: False for one that never ran.
    """

    name: str
    offer: Offer
    tags: dict[str, str]
    granted_at: int
    number: int
    body: dict[str, object] = field(default_factory=dict)
    state: str = "running"
    ended_at: int | None = None
    taken_at: int | None = None
    cause: str = ""
    allocated: bool = True


@dataclass
class Pool:
    """What the cloud asks for an offer over time [(ns, nano-USD/h)] and how many more there are."""

    offer: Offer
    rates: list[tuple[int, int]]
    depth: int = -1

    @property
    def rate(self) -> int:
        """What it asks now."""
        return self.rates[-1][1]


class Cloud:
    """The truth behind a counterpart. chance: share of calls that meet a fault of `mix`."""

    def __init__(self, clock: Clock, pools: Sequence[tuple[Offer, int]], grain: int) -> None:
        self.clock, self._grain = clock, grain
        self.pools = {offer.id: Pool(offer, [(clock.now(), rate)]) for offer, rate in pools}
        self.all: list[Machine] = []
        self.alive: dict[str, Machine] = {}
        self.lag = 0
        self.skew = 0
        self.latency = 0.0
        self.chance = 0.0
        self.mix: dict[Operation, Sequence[Fault]] = {}
        self.dice = Random(0)
        self.met: dict[tuple[Operation, Fault], int] = {}
        self.calls: dict[Operation, int] = {}
        # Requests the real market would have refused as malformed: a test wants none.
        self.violations: list[str] = []
        # What the market's control plane writes down about a machine it takes: at [ns], how often.
        self.on_take: Callable[[Machine, int, int], None] = lambda _machine, _at, _times: None
        self._ordered: dict[Operation, deque[Fault]] = {}
        self._leaving: set[asyncio.Task[None]] = set()

    # --- time and truth --------------------------------------------------------------------------

    def now(self) -> int:
        """What time it is there [ns], no finer than its timestamps can say."""
        return (self.clock.now() + self.skew) // self._grain * self._grain

    def make(self, name: str, offer: OfferId, tags: dict[str, str]) -> Machine:
        """A machine starts, now."""
        pool = self.pools[offer]
        if pool.depth > 0:
            pool.depth -= 1
        machine = Machine(name, pool.offer, dict(tags), self.now(), len(self.all) + 1)
        self.all.append(machine)
        self.alive[name] = machine
        return machine

    def end(self, machine: Machine, cause: str) -> None:
        """A machine is gone, now."""
        if machine.ended_at is None:
            now = self.now()
            if machine.taken_at is not None and machine.taken_at <= now:
                # It was taken when it was said to be, however late anybody looks.
                now, cause = machine.taken_at, "interrupted"
            machine.ended_at = max(now, machine.granted_at)
            machine.cause, machine.state = cause, "gone"
            if self.alive.get(machine.name) is machine:
                del self.alive[machine.name]
            pool = self.pools[machine.offer.id]
            if pool.depth >= 0:
                pool.depth += 1

    def unmake(self, machine: Machine) -> None:
        """A launch fails after all: the machine never ran and costs nothing."""
        machine.allocated = False
        pool = self.pools[machine.offer.id]
        if pool.depth >= 0:
            pool.depth += 1

    def short(self, offer: OfferId, count: int = 1) -> bool:
        """Whether there are not so many left."""
        depth = self.pools[offer].depth
        return 0 <= depth < count

    def visible(self) -> list[Machine]:
        """What a listing shows: made and gone as late as the lag says."""
        at = self.now() - self.lag
        return [
            machine
            for machine in (self.all if self.lag else self.alive.values())
            if machine.granted_at <= at and (machine.ended_at is None or machine.ended_at > at)
        ]

    def charge(self, machine: Machine) -> int:
        """What a machine has cost [micro-USD] by the published rule."""
        if not machine.allocated:
            return 0
        rates = self.pools[machine.offer.id].rates
        if not machine.offer.capabilities.floating:
            rates = [
                max((rate for rate in rates if rate[0] <= machine.granted_at), default=rates[0])
            ]
        if machine.ended_at is None:
            return micros(integral(rates, machine.granted_at, max(self.now(), machine.granted_at)))
        return bill(
            [rate for rate in rates if rate[0] < machine.ended_at] or rates[:1],
            machine.offer.capabilities,
            machine.granted_at,
            machine.ended_at,
        )

    # --- faults ----------------------------------------------------------------------------------

    async def meet(self, operation: Operation) -> Fault | None:
        """What a call of an operation meets: something ordered, something by chance, or nothing."""
        self.calls[operation] = self.calls.get(operation, 0) + 1
        if self.latency:
            await asyncio.sleep(self.latency)
        ordered = self._ordered.get(operation)
        fault = ordered.popleft() if ordered else None
        mix = self.mix.get(operation)
        if fault is None and mix and self.dice.random() < self.chance:
            fault = self.dice.choice(mix)
        if fault is not None:
            key = (operation, fault)
            self.met[key] = self.met.get(key, 0) + 1
        return fault

    # --- the Counterpart's handles ---------------------------------------------------------------

    def machines(self) -> Sequence[Made]:
        """Every machine ever made; one that never ran counts as ended when it was granted."""
        return [
            Made(
                machine.name,
                machine.offer.id,
                dict(machine.tags),
                machine.granted_at,
                machine.ended_at if machine.allocated else machine.granted_at,
                self.charge(machine),
            )
            for machine in self.all
        ]

    def set_rate(self, offer: OfferId, rate: int) -> None:
        """Asked from now on [nano-USD/h]."""
        self.pools[offer].rates.append((self.now(), rate))

    def set_depth(self, offer: OfferId, machines: int) -> None:
        """How many more there are; -1 for no limit."""
        self.pools[offer].depth = machines

    def set_lag(self, duration: int) -> None:
        """Listings are so late [ns]."""
        self.lag = duration

    def fail(self, operation: Operation, fault: Fault, times: int = 1) -> None:
        """The next `times` calls of an operation meet a fault."""
        self._ordered.setdefault(operation, deque()).extend([fault] * times)

    def heal(self) -> None:
        """No more faults, no more lag."""
        self._ordered.clear()
        self.chance, self.lag, self.latency = 0.0, 0, 0.0

    def take(self, machine: Machine, notice: int, times: int = 1) -> int:
        """The cloud takes a machine back after a notice [ns], told so often; returns when."""
        taken_at = self.now() + notice
        machine.taken_at = taken_at
        self.on_take(machine, taken_at, times)

        async def later() -> None:
            await self.clock.sleep_until(taken_at - self.skew)
            self.end(machine, "interrupted")

        task = asyncio.ensure_future(later())
        self._leaving.add(task)
        task.add_done_callback(self._leaving.discard)
        return taken_at - self.skew

    async def close(self) -> None:
        """Call off what was going to happen."""
        for task in list(self._leaving):
            task.cancel()
        await asyncio.gather(*self._leaving, return_exceptions=True)


def stamp(instant: int, decimals: int = 6) -> str:
    """An instant [ns] as vendors write it, with decimals of a second."""
    from treasury.domain.time import to_datetime

    whole = to_datetime(instant).strftime("%Y-%m-%dT%H:%M:%S")
    fraction = f"{instant % SECOND:09d}"[:decimals]
    return f"{whole}.{fraction}" if decimals else whole
