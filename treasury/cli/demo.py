"""`treasury demo`: watch treasury at work on this machine, with nothing installed."""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

if TYPE_CHECKING:
    from treasury.cli.live.board import Board
    from treasury.cli.live.daemon import LiveDaemon
    from treasury.cli.live.screen import Screen
    from treasury.cli.live.story import Act
    from treasury_simulations.live_proof import Trained

# The end of the story by itself; what is left then is given up, and the demonstration fails.
_LIMIT_SECONDS: Final = 150.0
_LOOK_SECONDS: Final = 0.5


@click.group()
def cli() -> None:
    """Watch treasury at work on this machine, with nothing installed."""


@cli.command()
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    help="A new folder for what the run leaves: configuration, journal, logs, checkpoints. "
    "Default: one that is removed when all is well.",
)
@click.option("--seed", default=6667, show_default=True, help="Decides prices and interruptions.")
@click.pass_context
def live(context: click.Context, out: Path | None, seed: int) -> None:
    """Run a dozen real processes on a market of this machine, and prove the outcome.

    A daemon with its broker, database and API is started as `treasury run` would; slots of this
    machine play a spot market whose prices move and which takes machines back. At the end every
    result is checked step by step, every process is looked for, and the ledger is held against the
    market's own meter. Leaves with 0 when all is well and with 1 when a law is broken.
    """
    import shutil
    import tempfile

    from treasury.domain.errors import BadValue

    if out is not None and out.exists() and any(out.iterdir()):
        raise BadValue("--out", str(out), "a folder that is new or empty")
    folder = Path(tempfile.mkdtemp(prefix="treasury-live-")) if out is None else out.resolve()
    well = _live(folder, seed)
    if well and out is None:
        shutil.rmtree(folder, ignore_errors=True)
    else:
        click.echo(f"What the run left is in {folder}")
    context.exit(0 if well else 1)


def _live(folder: Path, seed: int) -> bool:
    """Play the story in a folder; returns whether every law held. No process stays behind."""
    from treasury.cli.live.board import Board
    from treasury.cli.live.daemon import LiveDaemon, free_port
    from treasury.cli.live.screen import Screen
    from treasury.cli.live.story import Cast, acts, configuration

    screen, cast, api_port = Screen(), Cast(folder), free_port()
    config = configuration(folder, seed, time.time_ns(), api_port, free_port())
    daemon = LiveDaemon(folder, config, api_port)
    story = acts(cast)
    click.echo("treasury run: SQLite, embedded broker, web API, slots of this machine")
    click.echo("an hour is dear here, 360 USD on demand, so that a second shows in the books")
    daemon.start()
    try:
        daemon.wait_ready()
        board = Board(daemon.client, screen, cast.trained)
        in_time = _play(daemon, board, story)
        code = daemon.stop()
        if screen.moves:
            click.echo()
        click.echo(f"Seen: {board.news.summary()}\n")
        if not in_time:
            click.echo(f"The story was not over after {_LIMIT_SECONDS:g} s.")
        if code:
            click.echo(f"The daemon ended with code {code}:\n{daemon.tail()}")
        return _prove(daemon, cast.trained, screen) and in_time and code == 0
    finally:
        daemon.kill()
        _clear(_market(daemon))


def _play(daemon: "LiveDaemon", board: "Board", story: "list[Act]") -> bool:
    """Go through the story until every job is over and every machine gone; returns whether that
    was in time. Raises UserError when the daemon ends by itself."""
    from treasury.cli.client import NoDaemon
    from treasury.domain.errors import UserError

    began = time.monotonic()
    while (elapsed := time.monotonic() - began) < _LIMIT_SECONDS:
        try:
            for act in [act for act in story if act.at <= elapsed]:
                if act.do(daemon):
                    board.say(act.line)
                elif elapsed < act.late:
                    continue
                story.remove(act)
            board.refresh(elapsed)
        except NoDaemon:
            if not daemon.alive():
                raise UserError(f"the daemon ended by itself:\n{daemon.tail()}") from None
            board.wait(elapsed)
        else:
            if not story and board.over:
                return True
        time.sleep(_LOOK_SECONDS)
    return False


def _prove(daemon: "LiveDaemon", trained: "list[Trained]", screen: "Screen") -> bool:
    """Print each law with what was found; returns whether all of them held."""
    from contextlib import closing

    from treasury.store import SqlStore
    from treasury_simulations.live_proof import prove

    with closing(SqlStore.open(daemon.db, read_only=True)) as store:
        entries = list(store.entries())
    verdicts = prove(entries, _market(daemon), trained)
    for verdict in verdicts:
        mark = (
            screen.paint("BROKEN", fg="red")
            if verdict.faults
            else screen.paint("holds ", fg="green")
        )
        click.echo(f"{mark}  {verdict.law}\n        {verdict.found}")
        for fault in verdict.faults:
            click.echo(f"        {screen.paint(fault, fg='red')}")
    return not any(verdict.faults for verdict in verdicts)


def _market(daemon: "LiveDaemon") -> Path:
    """Where the market keeps its machines."""
    from treasury.bootstrap.wiring import PROVIDERS
    from treasury.cli.live.story import MARKET

    return daemon.state / PROVIDERS / MARKET


def _clear(market: Path) -> None:
    """End whatever is left of any machine: the demonstration may have been interrupted."""
    from treasury_providers.local_processes import kill
    from treasury_providers.local_state import State

    for machine in State(market).machines():
        kill(machine.folder)
