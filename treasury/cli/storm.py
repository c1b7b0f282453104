"""`treasury storm`: the production daemon under a deterministic clock and every misfortune."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from treasury.cli.output import emit, output_option

if TYPE_CHECKING:
    from treasury_simulations.storm.storm import Verdict


@click.command()
@click.option("--seeds", type=click.IntRange(1), default=20, show_default=True, help="How many.")
@click.option("--start", type=click.IntRange(0), default=0, show_default=True, help="First seed.")
@click.option(
    "--days",
    type=click.IntRange(0),
    default=0,
    help="Simulated days of storm a seed.  [default: 1]",
)
@click.option("--hours", type=click.IntRange(0), default=0, help="The same in hours.")
@click.option("--fault", "only", multiple=True, metavar="NAME", help="Only this fault; repeatable.")
@click.option("--without", multiple=True, metavar="NAME", help="Not this fault; repeatable.")
@click.option("--workers", type=click.IntRange(1), help="Processes.  [default: one a core]")
@click.option(
    "--shrink/--no-shrink", default=True, help="Look for the smallest story of a failure."
)
@click.option(
    "--keep",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Add failures to this file of regressions.",
)
@click.option("--list-faults", is_flag=True, help="Name the faults that can be drawn, and leave.")
@click.option("--catalogue", is_flag=True, help="Print the page about all faults, and leave.")
@output_option
def cli(
    seeds: int,
    start: int,
    days: int,
    hours: int,
    only: tuple[str, ...],
    without: tuple[str, ...],
    workers: int | None,
    shrink: bool,
    keep: Path | None,
    list_faults: bool,
    catalogue: bool,
    output: str,
) -> None:
    """Throw the whole daemon into storms drawn from seeds, and check it by the world's own truth.

    Each seed draws clouds, jobs, budgets and a set of faults; after the storm comes a calm in
    which everything must come right. Exits with 1 when something was broken.
    """
    if catalogue:
        from treasury_simulations.storm.catalogue import page

        click.echo(page(), nl=False)
        return
    _check_names(only, without)
    if list_faults:
        _list_faults(output)
        return
    verdicts = _run(range(start, start + seeds), 24 * days + hours or 24, only, without, workers)
    failed = [verdict for verdict in verdicts if verdict.violation]
    _report(verdicts, output)
    for verdict in failed[:3]:
        _tell(verdict, without, keep, search=shrink and not only)
    if failed:
        sys.exit(1)


def _check_names(only: tuple[str, ...], without: tuple[str, ...]) -> None:
    from treasury.domain.errors import NotFound, did_you_mean
    from treasury_simulations.storm.weather import FAULTS

    for option, names in (("--fault", only), ("--without", without)):
        for name in names:
            if name not in FAULTS:
                raise NotFound(f"{option} {name!r}: no such fault; {did_you_mean(name, FAULTS)}")


def _list_faults(output: str) -> None:
    from treasury_simulations.storm.weather import FAULTS

    emit(("fault", "per_million"), [(name, odd) for name, odd in FAULTS.items()], output)


def _run(
    seeds: range, hours: int, only: tuple[str, ...], without: tuple[str, ...], workers: int | None
) -> "list[Verdict]":
    from treasury_simulations.storm.many import storms

    verdicts = []
    with click.progressbar(
        length=len(seeds), label="storms", show_pos=True, show_eta=True, file=sys.stderr
    ) as bar:
        for verdict in storms(seeds, hours, only, without, workers or 0):
            verdicts.append(verdict)
            bar.update(1)
    return sorted(verdicts, key=lambda verdict: verdict.seed)


def _report(verdicts: "list[Verdict]", output: str) -> None:
    struck: dict[str, int] = {}
    for verdict in verdicts:
        for name, count in verdict.struck.items():
            struck[name] = struck.get(name, 0) + count
    row: dict[str, Any] = {
        "seeds": len(verdicts),
        "hours": sum(verdict.hours for verdict in verdicts),
        "turns": sum(verdict.turns for verdict in verdicts),
        "machines": sum(verdict.machines for verdict in verdicts),
        "jobs_finished": sum(verdict.finished for verdict in verdicts),
        "faults_struck": sum(struck.values()),
        "kinds_struck": len(struck),
        "broken": sum(bool(verdict.violation) for verdict in verdicts),
    }
    emit(tuple(row), [tuple(row.values())], output)


def _tell(verdict: "Verdict", without: tuple[str, ...], keep: Path | None, *, search: bool) -> None:
    from treasury_simulations.storm.many import remember
    from treasury_simulations.storm.shrink import Story, shrink

    story = Story(verdict.seed, verdict.hours, without, verdict)
    click.echo(f"broken: {verdict.violation}\n  again: {story.command}", err=True)
    if search:
        story = shrink(verdict, without, lambda text: click.echo(f"  shrinking: {text}", err=True))
        click.echo(story.tell(), err=True)
    if keep is not None:
        remember(keep, story)
        click.echo(f"  kept in {keep}", err=True)
