"""`treasury run`: the daemon."""

import asyncio
import os
import secrets
import signal
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from treasury.bootstrap.live import House
    from treasury.bootstrap.wiring import Orders
    from treasury.config import Config
    from treasury.runtime.daemon import Daemon, Part

# Looked for where neither the command line nor TREASURY_CONFIG names a file.
DEFAULT_FILE = "treasury.toml"


@click.command()
@click.argument(
    "config_file",
    required=False,
    type=click.Path(path_type=Path, dir_okay=False),
    envvar="TREASURY_CONFIG",
    metavar="[CONFIG]",
)
@click.option("--rehearse", is_flag=True, help="Real quotes, pretend machines: nothing is bought.")
@click.option(
    "--adopt",
    is_flag=True,
    help="Believe what providers list although the journal does not know it: after a look at it.",
)
@click.option(
    "--db",
    default="",
    envvar="TREASURY_DB",
    metavar="PATH",
    help="Another database than the configuration's.",
)
def cli(config_file: Path | None, rehearse: bool, adopt: bool, db: str) -> None:
    """Run jobs on the markets of CONFIG (default: treasury.toml) until told to stop.

    SIGTERM and Ctrl-C stop it in peace: nothing new is taken, and what runs goes on. SIGHUP, or a
    change of the file, has the configuration read again. A second daemon on the same database
    stands by until the first one is gone.
    """
    from treasury.bootstrap.wiring import Orders
    from treasury.config import load_config
    from treasury.runtime.holder import holder_name
    from treasury.runtime.notify import notifier, watchdog
    from treasury.telemetry.logs import set_up

    path = config_file or Path(DEFAULT_FILE)
    config = load_config(path)
    set_up(config.daemon.log.value)
    orders = Orders(
        path=path,
        db=db,
        rehearse=rehearse,
        adopt=adopt,
        holder=holder_name(secrets.token_hex(4)),
        draw=secrets.token_bytes,
        environment=os.environ,
        notify=notifier(os.environ),
        watchdog=watchdog(os.environ),
    )
    asyncio.run(_run(config, orders))


async def _run(config: "Config", orders: "Orders") -> None:
    from treasury.bootstrap.live import make_daemon
    from treasury.runtime.clocks import ThreadOffload, system_host

    def serve(house: "House") -> Sequence["Part"]:
        from treasury.web.house import House as ApiHouse
        from treasury.web.serve import ApiServer
        from treasury.web.tokens import open_tokens

        api = config.api
        seen = ApiHouse(
            agent=house.agent,
            clock=house.clock,
            history=house.history,
            offload=house.offload,
            state=house.state,
            status=house.status,
            reload=house.reload,
            logs=house.logs,
            metrics=house.metrics,
            bundle=house.bundle,
        )
        server = ApiServer(
            seen,
            open_tokens(house.state, orders.draw),
            host=api.host,
            port=api.port,
            hosts=api.hosts,
            exposed=api.exposed,
        )
        return (server,)

    def wait(leader: Callable[[], str]) -> "Part":
        from treasury.web.standby import StandbyServer

        api = config.api
        return StandbyServer(
            leader, host.clock, host=api.host, port=api.port, hosts=api.hosts, exposed=api.exposed
        )

    host, reader = system_host(), ThreadOffload(1, "treasury-history")
    daemon = make_daemon(config, host, reader, orders, serve, wait)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, daemon.stop)
    reloads: set[asyncio.Task[None]] = set()

    def hup() -> None:
        task = loop.create_task(_reload(daemon))
        reloads.add(task)
        task.add_done_callback(reloads.discard)

    loop.add_signal_handler(signal.SIGHUP, hup)
    await daemon.run()


async def _reload(daemon: "Daemon") -> None:
    """Read the configuration again, once there is something to take it."""
    from treasury.domain.errors import UserError

    await daemon.ready.wait()
    try:
        await daemon.reload()
    except UserError:
        # Told to the log already; the old configuration stands.
        return
