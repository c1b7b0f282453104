"""The adapters of a configuration, made for one command: nothing runs beside them."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple, TypeVar

from treasury.domain.errors import NotFound, UserError, did_you_mean

if TYPE_CHECKING:
    from treasury.config import Config
    from treasury.domain.commands import Acquire
    from treasury.ports import Clock, Provider

T = TypeVar("T")

# What a machine does that was bought to see whether it can be: where it is a cloud's own and ours
# alone, it ends itself, whatever happens; anywhere else it must leave the host in peace.
_CLOUDS: Final = ("aws", "azure", "gcp")
_SHORT_LIFE: Final = "#!/bin/sh\nshutdown -h +15\n"
_IDLE: Final = "#!/bin/sh\nexec sleep 900\n"


class Market(NamedTuple):
    """A configured market and its adapter."""

    name: str
    kind: str
    provider: "Provider"


def _short_life(request: "Acquire", index: int) -> str:
    del request, index
    return _SHORT_LIFE


def _idle(request: "Acquire", index: int) -> str:
    del request, index
    return _IDLE


def read_markets(config_file: Path | None, names: Sequence[str]) -> "Config":
    """The configuration, which must have these real markets, or any. Raises UserError."""
    from treasury.config import load_config

    config = load_config(config_file)
    for name in names:
        if name not in config.markets:
            near = did_you_mean(name, config.markets)
            raise NotFound(f'{config.file}: no real market is called "{name}"; {near}')
    if not config.markets:
        raise UserError(
            f"{config.file}: no [provider.NAME] is of a real market; its kind is told by"
            " `treasury providers`"
        )
    return config


@asynccontextmanager
async def open_markets(
    config: "Config", names: Sequence[str] = (), *, installation: str = ""
) -> AsyncIterator[tuple[list[Market], "Clock"]]:
    """Adapters of these markets, or of all, closed afterwards. installation: instead of the
    configured one. Raises UserError."""
    from treasury.bootstrap.wiring import Site
    from treasury.domain.ids import ProviderName
    from treasury.registry import load_provider
    from treasury.runtime.clocks import system_host

    host = system_host()
    base = Path(config.file).parent / config.daemon.state / "providers"
    markets: list[Market] = []
    try:
        for name, item in config.markets.items():
            if names and name not in names:
                continue
            folder = base / name
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            site = Site(
                ProviderName(name),
                installation or config.engine.installation,
                host.clock,
                host.dice,
                host.offload,
                _short_life if item.kind in _CLOUDS else _idle,
                folder,
            )
            provider = load_provider(item.kind, item.parameters, site, config.file)
            markets.append(Market(name, item.kind, provider))
        yield markets, host.clock
    finally:
        for market in markets:
            await market.provider.close()


def on_loop(work: Callable[[], Awaitable[T]]) -> T:
    """Run a command's coroutine function."""

    async def main() -> T:
        return await work()

    return asyncio.run(main())
