"""Control nodes of a storm: each runs the production daemon as one process after another, and is
killed, paused, cut off and set to a wrong time."""

import asyncio
import hashlib
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, Final, Protocol, TypeVar

from treasury.domain.errors import StoreError
from treasury.domain.time import DAY, SECOND
from treasury.domain.turn import Entry
from treasury.runtime.clocks import Host as Machine
from treasury.runtime.clocks import SystemClock, SystemDice
from treasury.store.sql import SqlStore
from treasury_simulations.storm.loop import Host, VirtualLoop, outside
from treasury_simulations.storm.weather import Weather

T = TypeVar("T")

# SQLite's own clock counts days from here [Julian days].
_EPOCH_DAY: Final = 2440587.5
_RESTART: Final = 20 * SECOND
_COMMIT: Final = SECOND // 200
_SLOW: Final = 30 * SECOND


class Process(Protocol):
    """What a control node runs: the daemon, or something that stands for it in a test."""

    async def run(self) -> None:
        """Until it ends."""
        ...


class Here:
    """One incarnation's place in the world: see `port.Place`."""

    def __init__(self, control: "Control", host: Host) -> None:
        self.control, self.host = control, host
        self._loop, self._weather = control.loop, control.weather

    def now(self) -> int:
        """The world's true time [ns]."""
        return self.control.epoch + self._loop.now_ns

    async def sleep(self, span: int) -> None:
        """Let `span` ns pass."""
        await asyncio.sleep(span / SECOND)

    async def maybe_die(self, fault: str) -> None:
        """Be killed here, if the fault strikes."""
        if self._weather.strikes(fault):
            await self.die()

    async def die(self) -> None:
        """Be killed here: whoever awaits this waits for ever."""
        self.control.kill()
        await self._loop.create_future()

    def claim(self, what: str) -> None:
        """Say that a call is about to be made, which only a leader may make."""
        self.control.claimed(f"{self.host[0]}-{self.host[1]}", what)

    def can_write(self) -> bool:
        """Whether the database is there."""
        return self.now() >= self.control.store_down_until

    def reachable(self) -> bool:
        """Whether the network carries anything from here."""
        return self.now() >= self.control.cut_until


class Work:
    """Runs blocking functions a moment later, on the loop."""

    def __init__(self, here: Here, weather: Weather, *, store: bool) -> None:
        self._here, self._weather, self._store = here, weather, store
        self._turn = asyncio.Lock()

    async def run(self, function: Callable[[], T]) -> T:
        """The function's result or its exception."""
        weather = self._weather
        async with self._turn:
            slow = self._store and weather.strikes("slow_commit")
            await self._here.sleep(weather.pick(_SLOW) if slow else _COMMIT)
            result = function()
            if self._store:
                await self._here.maybe_die("commit_then_killed")
            return result


class FaultyStore:
    """A store whose database fails: before the commit, after it, or for hours."""

    def __init__(self, store: SqlStore, control: "Control") -> None:
        self.inner, self._control, self._weather = store, control, control.weather

    def _up(self) -> None:
        if self._control.now() < self._control.store_down_until:
            raise StoreError("the database does not answer; nothing was written")

    @property
    def epoch(self) -> int:
        """Of our leadership."""
        leadership = self.inner._leadership  # noqa: SLF001 - what the daemon's wiring asks, too
        return 0 if leadership is None else leadership.epoch

    def append(self, entry: Entry) -> bytes:
        """Commit one turn, perhaps."""
        self._up()
        if self._weather.strikes("commit_fails"):
            raise StoreError("the disk is full; nothing was written")
        digest = self.inner.append(entry)
        if self._weather.strikes("commit_answer_lost"):
            raise StoreError("the connection was lost; its outcome is unknown")
        return digest

    def entries(self, after: int = 0) -> Iterator[Entry]:
        """Committed turns."""
        self._up()
        return self.inner.entries(after)

    def last(self) -> tuple[int, bytes]:
        """The journal's end."""
        self._up()
        return self.inner.last()

    def undelivered(self) -> Iterator[tuple[int, int, Any]]:
        """Commands not yet marked."""
        self._up()
        return self.inner.undelivered()

    def delivered(self, seq: int, index: int) -> None:
        """Mark one."""
        self._up()
        self.inner.delivered(seq, index)

    def lead(self, holder: str, tick: Callable[[], int]) -> bool:
        """Take or renew the lease."""
        self._up()
        return self.inner.lead(holder, ttl=self._control.lease, tick=tick)

    def close(self) -> None:
        """Release the database."""
        self.inner.close()


class Control:
    """One control node. make: what to run, given a machine, a store, who leads and a place.

    epoch: the wall time [ns] at which the loop began. crashes: what ended processes by itself.
    """

    def __init__(
        self,
        name: str,
        loop: VirtualLoop,
        weather: Weather,
        epoch: int,
        seed: int,
        database: Path,
        lease: int,
        make: Callable[["Control", Here, Machine, FaultyStore, Callable[[], bool]], Process],
    ) -> None:
        self.name, self.loop, self.weather, self.epoch = name, loop, weather, epoch
        self.incarnation = 0
        self.alive = False
        self.over = False
        self.cut_until = 0
        self.store_down_until = 0
        self.skew = 0
        self.process: Process | None = None
        self.crashes: list[BaseException] = []
        self.claimed: Callable[[str, str], None] = lambda _who, _what: None
        self.lease = lease
        self._seed, self._database, self._make = seed, database, make
        self._stores: list[SqlStore] = []

    @property
    def host(self) -> Host:
        """The present incarnation."""
        return (self.name, self.incarnation)

    def now(self) -> int:
        """The world's true time [ns]."""
        return self.epoch + self.loop.now_ns

    # --- life ------------------------------------------------------------------------------------

    def boot(self) -> None:
        """Start the next process. Called from outside any host."""
        if self.alive or self.over:
            return
        self.incarnation += 1
        self.alive = True
        self.loop.spawn(self.host, self._live(self.host))

    def kill(self) -> None:
        """As kill -9. A supervisor starts the next one soon."""
        if not self.alive:
            return
        self.alive = False
        self.process = None
        self.loop.kill(self.host)
        self._later(self.weather.span(_RESTART))

    def down(self, span: int) -> None:
        """The whole host is off for a time [ns]."""
        self.alive = False
        self.process = None
        self.loop.kill(self.host)
        self._later(span)

    def _later(self, span: int) -> None:
        # In nobody's context: a killed host's own would never run.
        self.loop.call_at_ns(self.loop.now_ns + span, self.boot, context=outside())

    async def _live(self, host: Host) -> None:
        here = Here(self, host)
        try:
            await here.sleep(self.weather.span(2 * SECOND))
            store = self._open()
            tick = self._tick
            faulty = FaultyStore(store, self)
            lead = partial(faulty.lead, f"{self.name}-{self.incarnation}", tick)
            machine = self._machine(here)
            self.process = self._make(self, here, machine, faulty, lead)
            await self.process.run()
        except Exception as error:  # noqa: BLE001 - a process that ends is started again
            if not self.over:
                self.crashes.append(_innermost(error))
        self.alive = False
        self.process = None
        self._later(self.weather.span(_RESTART))

    def _tick(self) -> int:
        return self.loop.now_ns

    def wall(self) -> int:
        """What this host's clock shows [ns]."""
        return self.now() + self.skew

    def _machine(self, here: Here) -> Machine:
        name = f"{self._seed}/{self.name}/{self.incarnation}"
        seed = int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest())
        return Machine(
            SystemClock(self._tick, self.wall),
            SystemDice(seed),
            Work(here, self.weather, store=True),
            Work(here, self.weather, store=False),
            Work(here, self.weather, store=False),
        )

    def _open(self) -> SqlStore:
        """The database, as a new process opens it."""
        if self.now() < self.store_down_until:
            raise StoreError("the database does not answer")
        store = SqlStore.open(self._database, durable=False)
        set_clock(store, self.now)
        self._stores.append(store)
        return store

    def bury(self) -> None:
        """Release what killed processes left open, so that nothing of theirs can write any more."""
        self.over = True
        for store in self._stores:
            store.database.close()
        self._stores.clear()


def set_clock(store: SqlStore, now: Callable[[], int]) -> None:
    """Let a database's own clock be the world's [ns]."""
    from sqlalchemy import event

    engine: Any = store.database.engine  # type: ignore[attr-defined]
    store.database.release()

    def told(connection: Any, _record: object) -> None:
        connection.create_function("julianday", 1, lambda _: _EPOCH_DAY + now() / DAY)

    event.listen(engine, "connect", told)


def _innermost(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
