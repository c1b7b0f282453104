"""The machine's clock, dice and threads behind the ports; only here are they touched."""

import asyncio
import hashlib
import queue
import threading
import time
from collections.abc import Callable
from random import Random, SystemRandom
from typing import Any, Final, TypeVar

import msgspec

from treasury.domain.time import SECOND
from treasury.ports import Clock, Dice, Offload

T = TypeVar("T")

# The share of the elapsed time, in thousandths, by which a difference to the wall clock is worked
# off: a step of the wall clock becomes a drift and never a jump.
SLEW: Final = 50
# Sleeps are taken in pieces: the loop's timers stand still while the machine is suspended.
_PIECE: Final = 30 * SECOND


class Host(msgspec.Struct, frozen=True):
    """What the shell runs on. storage, planning: one thing at a time each, so that a slow strategy
    keeps no commit waiting."""

    clock: Clock
    dice: Dice
    storage: Offload
    planning: Offload
    offload: Offload


def _boottime() -> int:
    """A clock that only goes forward, suspended time included where the system can tell [ns]."""
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)


class SystemClock:
    """The machine's time, made monotonic: it follows the boot-time clock, which a suspended machine
    does not stop, and is slewed to the wall clock, which people and NTP may set.

    tick, wall: for tests.
    """

    def __init__(
        self, tick: Callable[[], int] = _boottime, wall: Callable[[], int] = time.time_ns
    ) -> None:
        self._tick, self._wall = tick, wall
        self._last_tick, self._now = tick(), wall()

    def now(self) -> int:
        """The present instant [ns]; never less than before."""
        tick = self._tick()
        elapsed = max(0, tick - self._last_tick)
        self._last_tick = tick
        self._now += elapsed
        most = elapsed * SLEW // 1_000
        self._now += max(-most, min(most, self._wall() - self._now))
        return self._now

    @property
    def skew(self) -> int:
        """How far the wall clock is ahead [ns]: what is still to be worked off."""
        return self._wall() - self._now

    async def sleep_until(self, instant: int) -> None:
        """Return at `instant` [ns], or soon after a machine that slept through it wakes."""
        while (left := instant - self.now()) > 0:  # noqa: ASYNC110 - time has no event to wait for
            await asyncio.sleep(min(left, _PIECE) / SECOND)


class SystemDice:
    """Streams by purpose; without a seed one is drawn from the system."""

    def __init__(self, seed: int | None = None) -> None:
        self._seed = SystemRandom().getrandbits(64) if seed is None else seed
        self._streams: dict[str, Random] = {}

    def stream(self, purpose: str) -> Random:
        """The generator of one purpose, the same object each time."""
        found = self._streams.get(purpose)
        if found is None:
            name = hashlib.blake2b(f"{self._seed}/{purpose}".encode(), digest_size=8).digest()
            found = self._streams[purpose] = Random(name)  # noqa: S311 - delays, not secrets
        return found


class InlineOffload:
    """Runs a function at once, on the loop: for simulations and tests."""

    async def run(self, function: Callable[[], T]) -> T:
        """The function's result or its exception."""
        return function()


class ThreadOffload:
    """A bounded pool of threads. They are daemons: a function that hangs keeps no process alive."""

    def __init__(self, threads: int, name: str) -> None:
        self._work: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        for number in range(threads):
            threading.Thread(target=self._serve, name=f"{name}-{number}", daemon=True).start()

    def _serve(self) -> None:
        while True:
            self._work.get()()

    async def run(self, function: Callable[[], T]) -> T:
        """The function's result or its exception. Cancelled, it goes on and nobody hears of it."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()

        def answer(set_it: Callable[[Any], None], value: Any) -> None:
            if not future.done():
                set_it(value)

        def work() -> None:
            try:
                result = function()
            except BaseException as error:  # noqa: BLE001 - raised where it is awaited
                outcome: tuple[Callable[[Any], None], Any] = (future.set_exception, error)
            else:
                outcome = (future.set_result, result)
            if not loop.is_closed():
                loop.call_soon_threadsafe(answer, *outcome)

        self._work.put(work)
        return await future


def system_host(threads: int = 8) -> Host:
    """The machine itself."""
    return Host(
        SystemClock(),
        SystemDice(),
        ThreadOffload(1, "treasury-store"),
        ThreadOffload(1, "treasury-plan"),
        ThreadOffload(threads, "treasury-work"),
    )
