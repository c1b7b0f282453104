"""A daemon put together from a configuration: store, markets, bus, telemetry, and how to reload."""

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from treasury.bootstrap import make_strategy, market_problems, strategy_problems
from treasury.bootstrap.wiring import Orders, Wiring, place
from treasury.config import Config, load_config
from treasury.domain.errors import ConfigError, UserError
from treasury.domain.ids import JobId
from treasury.ports import Offload
from treasury.runtime.clocks import Host
from treasury.runtime.daemon import Daemon, Options, Part
from treasury.runtime.holder import gone
from treasury.runtime.observer import Observer
from treasury.runtime.reload import Wanted
from treasury.store.sql import SqlStore
from treasury.telemetry import Chorus
from treasury.telemetry.logs import Logs
from treasury.telemetry.metrics import Metrics
from treasury.telemetry.traces import Traces, open_tracer

if TYPE_CHECKING:
    from treasury.bus.control import BusRunner


class House:
    """What the HTTP API needs of a running daemon. history: a second store of the same database,
    only read, by one thread."""

    def __init__(
        self,
        daemon: Daemon,
        history: SqlStore,
        reader: Offload,
        state: Path,
        metrics: Metrics,
        bus: "BusRunner | None",
    ) -> None:
        self.agent = daemon.agent
        self.clock = daemon.host.clock
        self.history, self.offload, self.state = history, reader, state
        self._daemon, self._metrics, self._bus = daemon, metrics, bus
        self._bundle: bytes | None = None

    def logs(self, job: JobId, follow: bool) -> AsyncIterator[str]:
        """A job's lines; none in a rehearsal, where nothing runs."""
        return _nothing() if self._bus is None else self._bus.logs(job, follow=follow)

    def status(self) -> dict[str, Any]:
        """How the daemon is."""
        bus = {} if self._bus is None else {"bus": self._bus.status()}
        return {**self._daemon.status(), **bus}

    async def reload(self) -> Sequence[str]:
        """Take the configuration as it is now; what changed, a line each."""
        return await self._daemon.reload()

    def metrics(self) -> bytes:
        """Prometheus' page."""
        return self._metrics.page()

    def bundle(self) -> bytes:
        """The node agent as one file."""
        from treasury.node.bundle import bundle

        if self._bundle is None:
            self._bundle = bundle()
        return self._bundle


class _Open:
    """Keeps the store of the past open for as long as the daemon lives."""

    def __init__(self, history: SqlStore) -> None:
        self._history = history

    async def run(self) -> None:
        """Until cancelled."""
        try:
            await asyncio.Event().wait()
        finally:
            self._history.close()


async def _nothing() -> AsyncIterator[str]:
    """No lines."""
    lines: tuple[str, ...] = ()
    for line in lines:
        yield line


Serve = Callable[[House], Sequence[Part]]


def database(config: Config, orders: Orders) -> str:
    """The URL or path of the database. A rehearsal has one of its own."""
    if orders.db:
        return orders.db
    url = config.daemon.db
    if "://" in url:
        if orders.rehearse:
            raise UserError(f"a rehearsal must not write to {url}: name another database with --db")
        return url
    path = place(orders, url)
    return str(path.with_stem(f"{path.stem}-rehearsal") if orders.rehearse else path)


def state_directory(config: Config, orders: Orders) -> Path:
    """The daemon's own folder, made where it is missing. Raises UserError."""
    state = place(orders, config.daemon.state).absolute()
    try:
        state.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"daemon.state: {state} cannot be made: {error.strerror}") from error
    if not os.access(state, os.W_OK | os.X_OK):
        raise UserError(f"daemon.state: {state} cannot be written to by this user")
    return state


def wanted_of(config: Config) -> Wanted:
    """What a configuration asks of a daemon. Raises ConfigError for the first thing wrong with
    it."""
    for problem in (*strategy_problems(config), *market_problems(config)):
        raise problem
    name = config.daemon.strategy
    make_strategy(config, name)
    table = config.strategies.get(name)
    fixed = {f"provider.{key}": repr(market) for key, market in config.markets.items()}
    fixed |= {"daemon": repr(config.daemon), "bus": repr(config.bus), "api": repr(config.api)}
    return Wanted(
        file=config.file,
        settings=config.engine,
        budgets=config.budgets,
        strategy=name if table is None else f"{name} ({table.kind} {table.parameters})",
        make_strategy=partial(make_strategy, config, name),
        fixed=fixed,
    )


def _fingerprint(path: Path | None) -> object:
    if path is None:
        return None
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino


def make_daemon(
    config: Config,
    host: Host,
    reader: Offload,
    orders: Orders,
    serve: Serve,
    wait: Callable[[Callable[[], str]], Part] | None = None,
) -> Daemon:
    """A daemon, ready to `run`. Call it on the loop. reader: one thread for reading history. serve:
    makes what listens, once there is a book. wait: makes what listens while another one leads, who
    is to be asked for. Raises UserError."""
    wanted = wanted_of(config)
    if not config.markets:
        raise ConfigError(
            config.file,
            "provider",
            'names no real market: give a [provider.NAME] another kind than "simulated", such as '
            '"local" for slots of this machine',
        )
    state = state_directory(config, orders)
    metrics = Metrics()
    observers: list[Observer] = [Logs(), metrics]
    if config.daemon.traces:
        observers.append(Traces(open_tracer(config.daemon.traces), host.clock))
    wiring = Wiring(config, host, orders, state)
    providers = wiring.providers()
    url = database(config, orders)
    store = SqlStore.open(url)
    daemon = config.daemon

    def leader() -> str:
        return store.leader

    def parts(running: Daemon) -> Sequence[Part]:
        if wiring.bus is not None:
            wiring.bus.leaving = running.expect_end
        history = SqlStore.open(url, read_only=True)
        house = House(running, history, reader, state, metrics, wiring.bus)
        return (_Open(history), *wiring.parts, *serve(house))

    return Daemon(
        host,
        store,
        wanted,
        providers,
        partial(wiring.runner, store),
        options=Options(
            plan_limit=daemon.plan_limit,
            quiet_after=daemon.quiet_after,
            memory=daemon.memory,
            launches=daemon.launches_per_hour,
            lease_ttl=daemon.lease,
            grace=daemon.grace,
            adopt=orders.adopt,
            conduct=daemon.conduct,
        ),
        observer=Chorus(*observers),
        lead=partial(store.lead, orders.holder, ttl=daemon.lease, gone=gone),
        leader=leader,
        read=lambda: wanted_of(load_config(orders.path)),
        fingerprint=partial(_fingerprint, orders.path),
        standby=None if wait is None else wait(leader),
        parts=parts,
        notify=orders.notify,
        watchdog=orders.watchdog,
    )
