"""`treasury sweep`: strategies x parameters x markets x seeds, on all cores or a cluster."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from treasury.cli.output import config_option, emit, output_option

if TYPE_CHECKING:
    from treasury_simulations.sweep import Grid

FAMILIES = ("cant_be_late",)


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


@click.command()
@config_option()
@click.option("--strategy", default="", metavar="NAME[,NAME...]", help="What decides.")
@click.option(
    "--set",
    "settings",
    multiple=True,
    metavar="KEY=VALUE[,VALUE...]",
    help="Values to try for a key of the configuration; may be given several times.",
)
@click.option("--traces", default="", metavar="T[,T...]", help="Markets: files or bundled names.")
@click.option("--jobs", default="", metavar="J[,J...]", help="Jobs: files or bundled names.")
@click.option("--seeds", default="", metavar="N-M", help="Seeds, such as 1-5 or 1,4,9.")
@click.option("--family", type=click.Choice(FAMILIES), help="Published cases instead of --traces.")
@click.option(
    "--data",
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    help="The folder of the family's data.",
)
@click.option("--sample", type=click.IntRange(0), default=0, help="Only so many of its cases.")
@click.option("--bound", default="", metavar="STEP", help="Also the fleet bound, in such steps.")
@click.option(
    "--out", type=click.Path(path_type=Path), required=True, help="The folder for the results."
)
@click.option(
    "--engine",
    type=click.Choice(["local", "dask", "ray"]),
    default="local",
    show_default=True,
    help="What runs it.",
)
@click.option("--scheduler", default="", help="Address of a running Dask scheduler.")
@click.option("--address", default="", help="Address of a running Ray cluster.")
@click.option("--workers", type=click.IntRange(1), help="Processes.  [default: one a core]")
@click.option("--chunk", type=click.IntRange(1), help="Runs that a worker takes at once.")
@click.option("--resume", is_flag=True, help="Go on with the results in the folder.")
@click.option("--force", is_flag=True, help="Drop results of another sweep from the folder.")
@click.option("--baseline", default="", help="What the others are compared with.")
@output_option
def cli(
    out: Path,
    engine: str,
    scheduler: str,
    address: str,
    workers: int | None,
    chunk: int | None,
    resume: bool,
    force: bool,
    baseline: str,
    output: str,
    **asked: Any,
) -> None:
    """Replay a grid of strategies, parameters, markets and seeds, and compare.

    Each finished run is kept in the folder at once: after Ctrl-C or a crash, --resume goes on
    where it stopped. The results do not depend on the engine or the number of workers.
    """
    from treasury_simulations.sweep import Results, make_engine, run_sweep
    from treasury_simulations.sweep.statistics import baseline_of, summarise
    from treasury_simulations.sweep.tables import notes, summary_table

    grid = _grid(**asked)
    names = [variant.label for variant in grid.variants]
    base = baseline_of(names, baseline)
    runner = make_engine(engine, workers=workers or 0, scheduler=scheduler, address=address)
    results = Results(out, grid, resume=resume, force=force)
    click.echo(f"{len(grid.cells)} runs, {len(results.rows)} of them done", err=True)
    # The estimate of what is left appears once something is done.
    with click.progressbar(
        length=len(grid.cells), label="sweep", show_pos=True, show_eta=True, file=sys.stderr
    ) as bar:
        bar.update(len(results.rows))
        rows = run_sweep(grid, results, runner, per_chunk=chunk or 0, progress=bar.update)
    summary = summarise(rows, names, base)
    columns, table = summary_table(summary)
    emit(columns, table, output, title=grid.title)
    for note in notes(summary):
        click.echo(f"note: {note}", err=True)
    click.echo(f"results: {out} (treasury report sweep {out})", err=True)


def _grid(
    config_file: Path | None,
    strategy: str,
    settings: tuple[str, ...],
    traces: str,
    jobs: str,
    seeds: str,
    family: str | None,
    data: Path | None,
    sample: int,
    bound: str,
) -> "Grid":
    from treasury.bootstrap import strategy_names
    from treasury.domain.time import parse_duration
    from treasury_simulations.sweep.grid import parse_seeds, scenario_grid, variants_of
    from treasury_simulations.sweep.overrides import Template, parse_override
    from treasury_simulations.sweep.windows import window_grid

    template = Template(config_file)
    overrides = [parse_override(text) for text in settings]
    if family is None:
        if data is not None or sample:
            raise click.UsageError("--data and --sample go with --family")
        return scenario_grid(
            template,
            strategies=_names(strategy),
            overrides=overrides,
            traces=_names(traces),
            jobs=_names(jobs),
            seeds=parse_seeds(seeds) if seeds else (),
            bound=parse_duration(bound) if bound else 0,
        )
    if data is None:
        raise click.UsageError(f"--family {family} needs --data, the folder of its cases")
    if traces or jobs or seeds or bound:
        raise click.UsageError(
            "--family has its own markets, jobs and bound, and nothing in it is drawn: "
            "--traces, --jobs, --seeds and --bound do not go with it"
        )
    names = strategy_names(template.config({}), _names(strategy))
    return window_grid(data, variants_of(template, names, overrides), sample=sample)
