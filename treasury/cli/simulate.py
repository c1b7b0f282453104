"""`treasury simulate`: replay a recorded market with one or more strategies and compare them."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from treasury.cli.output import config_option, emit, output_option

if TYPE_CHECKING:
    from treasury.config import Config
    from treasury_simulations.record import Comparison, RunRecord
    from treasury_simulations.scenario import Scenario

# Steps of a progress bar: finer ones cost more than they show.
_STEPS = 500


@click.command()
@config_option()
@click.option("--trace", default="", help="The market: a trace file or a bundled trace's name.")
@click.option("--jobs", default="", help="The jobs: a trace file or a bundled trace's name.")
@click.option("--strategy", default="", metavar="NAME[,NAME...]", help="What decides.")
@click.option("--seed", type=click.IntRange(0, 2**31 - 1), help="What every draw depends on.")
@click.option("--out", type=click.Path(path_type=Path), help="The folder for the results.")
@click.option(
    "--store",
    type=click.Choice(["sqlite", "memory"]),
    default="sqlite",
    show_default=True,
    help="Where journals and books are kept: a database per strategy, or nowhere.",
)
@output_option
def cli(
    config_file: Path | None,
    trace: str,
    jobs: str,
    strategy: str,
    seed: int | None,
    out: Path | None,
    store: str,
    output: str,
) -> None:
    """Replay a market through the engine and compare strategies.

    What is not given comes from the configuration. Writes report.html, run-NAME.json and NAME.db
    for each strategy into the folder, and prints a table of what each cost and achieved.
    """
    from treasury.bootstrap import make_strategy, strategy_names
    from treasury.cli.results import REPORT, claim
    from treasury.config import load_config
    from treasury_simulations.report import summary_rows, write_report
    from treasury_simulations.scenario import build_scenario

    config = _with_seed(load_config(config_file), seed)
    asked = [name.strip() for name in strategy.split(",") if name.strip()]
    names = strategy_names(config, asked)
    for name in names:
        make_strategy(config, name)
    scenario = build_scenario(config, trace, jobs)
    folder = out or Path(config.simulation.out)
    claim(
        folder,
        title=scenario.title,
        trace=scenario.trace,
        seed=scenario.seed,
        strategies=names,
        databases=store == "sqlite",
    )
    for note in scenario.notes:
        click.echo(f"note: {note}", err=True)
    runs = [_run(config, scenario, name, folder, store) for name in names]
    comparison = _comparison(scenario, runs)
    columns, rows = summary_rows(comparison)
    emit(columns, rows, output, title=comparison.title)
    write_report(comparison, folder / REPORT)
    click.echo(f"report: {folder / REPORT}", err=True)


def _with_seed(config: "Config", seed: int | None) -> "Config":
    import msgspec

    if seed is None:
        return config
    simulation = msgspec.structs.replace(config.simulation, seed=seed)
    return msgspec.structs.replace(config, simulation=simulation)


def _run(
    config: "Config", scenario: "Scenario", name: str, folder: Path, store: str
) -> "RunRecord":
    """One strategy over the scenario; its record and database are in the folder afterwards."""
    import msgspec

    from treasury.bootstrap import make_strategy
    from treasury.cli.results import database_file, run_file
    from treasury_simulations.simulate import simulate

    with _opened(folder / database_file(name), store) as kept, _progress(name) as progress:
        record = simulate(scenario, make_strategy(config, name), store=kept, progress=progress)
    # A strategy may be compared with itself under other parameters: its table's name is its label.
    record = msgspec.structs.replace(record, strategy=name)
    (folder / run_file(name)).write_bytes(msgspec.json.encode(record))
    return record


@contextmanager
def _opened(path: Path, store: str) -> Iterator[Any]:
    """A database for one run, or None to keep its journal in memory."""
    if store == "memory":
        yield None
        return
    from treasury.store import SqlStore

    # A replay can be repeated: what power loss takes is not lost.
    database = SqlStore.open(f"sqlite:///{path}", durable=False)
    try:
        yield database
    finally:
        database.close()


@contextmanager
def _progress(name: str) -> Iterator[Callable[[int, int], None]]:
    """A bar on stderr where that is a terminal, one line when it is not."""
    shown = 0
    with click.progressbar(length=_STEPS, label=f"{name:<18}", file=sys.stderr) as bar:

        def progress(done: int, total: int) -> None:
            nonlocal shown
            step = _STEPS * done // total if total > 0 else _STEPS
            if step > shown:
                bar.update(step - shown)
                shown = step

        yield progress
        # The last job may end before the market does.
        bar.update(_STEPS - shown)


def _comparison(scenario: "Scenario", runs: list["RunRecord"]) -> "Comparison":
    from treasury_simulations.record import Comparison
    from treasury_simulations.traces import open_trace

    provenance = open_trace(scenario.trace).header.provenance
    return Comparison(
        title=scenario.title,
        trace=scenario.trace,
        source=provenance.source,
        licence=provenance.licence,
        runs=runs,
    )
