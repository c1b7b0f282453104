"""`treasury report`: pages about results that are there already."""

from pathlib import Path

import click

from treasury.cli.output import emit, output_option


@click.group()
def cli() -> None:
    """Write a page about results that are there already."""


@cli.command()
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False))
@click.option("--baseline", default="", help="What the others are compared with.")
@click.option(
    "--block",
    default="",
    metavar="DURATION",
    help="Stretches of time that are drawn together.  [default: 70h, less where that is too long]",
)
@output_option
def sweep(folder: Path, baseline: str, block: str, output: str) -> None:
    """Write report.html into the folder of a sweep, finished or not, and print its table."""
    from treasury.domain.time import parse_duration
    from treasury_simulations.sweep.page import render
    from treasury_simulations.sweep.results import REPORT, open_results
    from treasury_simulations.sweep.statistics import baseline_of, summarise
    from treasury_simulations.sweep.tables import notes, summary_table

    manifest, rows = open_results(folder)
    base = baseline_of(manifest.variants, baseline)
    length = parse_duration(block) if block else 0
    summary = summarise(rows, manifest.variants, base, block=length)
    columns, table = summary_table(summary)
    emit(columns, table, output, title=manifest.title)
    for note in notes(summary):
        click.echo(f"note: {note}", err=True)
    path = folder / REPORT
    path.write_text(render(manifest, rows, base, block=length), encoding="utf-8")
    click.echo(f"report: {path}", err=True)
