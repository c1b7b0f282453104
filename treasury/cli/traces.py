"""`treasury traces`: import public data sets, describe, download, list, record and merge traces."""

import sys
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

import click

from treasury.cli.output import TABLE, emit, output_option
from treasury.cli.record import merge, record
from treasury.domain.errors import BadValue
from treasury.domain.money import format_rate
from treasury.domain.time import format_duration, format_instant

if TYPE_CHECKING:
    from treasury_simulations.traces.describe import Description, JobsDescription, PoolDescription

# Terminals redraw a bar on every call: report steps of at least this many bytes.
_BAR_STEP: Final = 64 * 1024


@click.group("traces")
def cli() -> None:
    """Recorded markets and jobs: import, describe, download, list, record, merge."""


cli.add_command(record)
cli.add_command(merge)


@cli.command("import")
@click.argument("kind")
@click.argument("path", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), help="Trace to write [KIND.trace].")
@click.option(
    "--set",
    "settings",
    multiple=True,
    metavar="NAME=VALUE",
    help="An option of the importer, such as year=2023 or limit=500.",
)
@output_option
def import_(kind: str, path: Path, out: Path | None, settings: Sequence[str], output: str) -> None:
    """Turn the data set of kind KIND at PATH (a file or folder) into a trace.

    `treasury traces list` shows the kinds and their options.
    """
    from treasury_simulations.traces.importers import import_dataset

    options = _options(settings)
    target = out or Path(f"{kind}.trace")
    with _Bar(f"Reading {path.name}") as bar:
        trace = import_dataset(kind, path, target, progress=bar.show, **options)
    rows: list[Sequence[object]] = list(trace.rows.items())
    rows += [(f"left out: {why}", count) for why, count in trace.header.dropped.items()]
    emit(("rows", "count"), rows, output, title=f"{target}: {trace.header.name}")


@cli.command("describe")
@click.argument("file")
@click.option(
    "--plot",
    type=click.Path(path_type=Path),
    help="Also draw it: a self-contained .svg or .html file.",
)
@click.option(
    "--section",
    type=click.Choice(("summary", "pools", "jobs")),
    help="Print this table only [all as tables; pools, else jobs, as json or csv].",
)
@output_option
def describe_(file: str, plot: Path | None, section: str | None, output: str) -> None:
    """Show what is in FILE, a trace or the name of a bundled one. Reads and checks all of it."""
    from treasury_simulations.traces import open_trace
    from treasury_simulations.traces.describe import describe
    from treasury_simulations.traces.plot import write_plot

    trace = open_trace(file)
    found = describe(trace)
    wanted = [section] if section else _sections(found, output)
    tables = {"summary": _summary, "pools": _pools, "jobs": _jobs}
    for place, name in enumerate(wanted):
        if place and output == TABLE:
            click.echo()
        columns, rows = tables[name](found, output)
        emit(columns, rows, output, title=f"{found.header.name}: {name}")
    if plot is not None:
        write_plot(trace, plot)
        click.echo(f"Picture: {plot}", err=True)


@cli.command("get")
@click.argument("name")
@click.option(
    "--dir",
    "folder",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("datasets"),
    show_default=True,
    help="Where to put it: a folder NAME is made there.",
)
@output_option
def get(name: str, folder: Path, output: str) -> None:
    """Download the public data set NAME; goes on where an earlier attempt stopped."""
    from treasury_simulations.traces.fetch import fetch, find_dataset

    dataset = find_dataset(name)
    target = folder / name
    with _Bar(f"Downloading {name}") as bar:
        files = fetch(
            dataset,
            target,
            sleep=time.sleep,
            progress=lambda _file, done, total: bar.show(done, total or done),
        )
    rows = [
        (str(file.path), file.path.stat().st_size, file.sha256, file.checked, file.downloaded)
        for file in files
    ]
    emit(("file", "bytes", "sha256", "checksum", "downloaded"), rows, output, title=dataset.summary)
    if dataset.kind:
        source = target if len(files) > 1 else files[0].path
        click.echo(f"Next: treasury traces import {dataset.kind} {source}", err=True)


@cli.command("list")
@output_option
def list_(output: str) -> None:
    """List bundled traces, public data sets that can be downloaded, and kinds of imports."""
    from treasury_simulations.traces import bundled, open_trace
    from treasury_simulations.traces.catalogue import DATASETS
    from treasury_simulations.traces.importers import IMPORTERS

    rows: list[Sequence[object]] = []
    for name, path in bundled().items():
        header = open_trace(path).header
        rows.append((name, "bundled", ", ".join(header.kinds), header.provenance.licence))
    for name, dataset in DATASETS.items():
        rows.append((name, "download", dataset.summary, dataset.licence))
    for kind, importer in IMPORTERS.items():
        options = ", ".join(importer.options)
        summary = f"{importer.summary} (options: {options})" if options else importer.summary
        rows.append((kind, "import", summary, None))
    emit(("name", "how", "what", "licence"), rows, output)


def _options(settings: Iterable[str]) -> dict[str, str]:
    options: dict[str, str] = {}
    for setting in settings:
        name, equals, value = setting.partition("=")
        if not equals or not name.isidentifier():
            raise BadValue("--set", setting, "NAME=VALUE, such as year=2023")
        options[name] = value
    return options


def _sections(found: "Description", output: str) -> list[str]:
    """The tables to print: all that hold something, or the one that programs want."""
    filled = [name for name, value in (("pools", found.pools), ("jobs", found.jobs)) if value]
    if output == TABLE:
        return ["summary", *filled]
    return filled[:1] or ["summary"]


_Table = tuple[Sequence[str], list[Sequence[object]]]


def _summary(found: "Description", _output: str) -> _Table:
    header, provenance = found.header, found.header.provenance
    rows: list[Sequence[object]] = [
        ("name", header.name),
        ("source", provenance.source),
        ("commit", provenance.commit or None),
        ("licence", provenance.licence),
        ("attribution", provenance.attribution or None),
        ("start", format_instant(header.start)),
        ("end", format_instant(header.end)),
        ("span", format_duration(header.end - header.start)),
        ("resolution", format_duration(header.resolution_ns) if header.resolution_ns else None),
        ("depth", header.depth_kind),
        ("pools", len(header.pools)),
    ]
    rows += [(f"rows: {kind}", count) for kind, count in found.rows.items()]
    gaps = found.gaps
    rows.append(("gaps in the observations", gaps.count))
    if gaps.count:
        rows.append(("gaps, together", format_duration(gaps.total)))
        rows.append(("longest gap", format_duration(gaps.longest)))
    if found.throughputs is not None:
        rows.append(("job types", found.throughputs.job_types))
        rows.append(("accelerators", ", ".join(found.throughputs.gpus)))
    rows += [(f"left out: {why}", count) for why, count in header.dropped.items()]
    rows += [(f"derivation {place}", note) for place, note in enumerate(provenance.derivation, 1)]
    return ("what", "value"), rows


def _pools(found: "Description", output: str) -> _Table:
    if output == TABLE:
        columns: Sequence[str] = (
            "pool", "machine", "changes", "price min", "median", "max",
            "available", "outages", "longest", "interruptions",
        )  # fmt: skip
        return columns, [_pool_for_people(pool) for pool in found.pools]
    columns = (
        "pool", "gpu", "gpus", "tenure", "changes", "rate_min_nano_usd_h", "rate_median_nano_usd_h",
        "rate_max_nano_usd_h", "available", "outages", "outage_total_ns", "outage_longest_ns",
        "depth_max", "interruptions",
    )  # fmt: skip
    return columns, [
        (
            pool.pool.id,
            pool.pool.gpu,
            pool.pool.gpus,
            pool.pool.tenure,
            pool.rows,
            pool.rate_min,
            pool.rate_median,
            pool.rate_max,
            pool.available,
            pool.outages.count,
            pool.outages.total,
            pool.outages.longest,
            pool.depth_max if pool.depth_max >= 0 else None,
            pool.interruptions,
        )
        for pool in found.pools
    ]


def _pool_for_people(pool: "PoolDescription") -> Sequence[object]:
    rates = (pool.rate_min, pool.rate_median, pool.rate_max)
    return (
        pool.pool.id,
        f"{pool.pool.gpus} x {pool.pool.gpu}",
        pool.rows,
        *(None if rate is None else format_rate(rate) for rate in rates),
        None if pool.available is None else f"{100 * pool.available:.1f} %",
        None if pool.available is None else pool.outages.count,
        format_duration(pool.outages.longest) if pool.outages.count else None,
        pool.interruptions,
    )


def _jobs(found: "Description", output: str) -> _Table:
    if found.jobs is None:
        return ("what", "value"), []
    return ("what", "value"), list(_job_figures(found.jobs, output))


def _job_figures(jobs: "JobsDescription", output: str) -> Iterable[Sequence[object]]:
    def lasting(ns: int) -> object:
        return format_duration(ns) if output == TABLE else ns

    yield "jobs", jobs.count
    yield "GPU-hours", f"{jobs.gpu_hours:,.0f}" if output == TABLE else jobs.gpu_hours
    yield "most GPUs in a job", jobs.gpus_max
    yield "shortest", lasting(jobs.duration_min)
    yield "median", lasting(jobs.duration_median)
    yield "longest", lasting(jobs.duration_max)
    yield "with a deadline", jobs.with_deadline
    for group, count in jobs.groups.items():
        yield f"jobs of {group or 'nobody'}", count


class _Bar:
    """A progress bar on stderr that learns its length from the first report."""

    def __init__(self, label: str) -> None:
        self._bar: Any = click.progressbar(length=1, label=label, file=sys.stderr)
        self._shown = 0

    def __enter__(self) -> Self:
        self._bar.__enter__()
        return self

    def __exit__(self, *what: object) -> None:
        self._bar.__exit__(*what)

    def show(self, done: int, total: int) -> None:
        """`done` of `total` bytes; a smaller `done` than before starts a new file."""
        if 0 <= done - self._shown < _BAR_STEP and done < total:
            return
        self._bar.length = max(total, 1)
        self._bar.pos = 0
        self._shown = done
        self._bar.update(done)
