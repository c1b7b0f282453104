"""`treasury submit FILE...`: hand jobs to a running daemon."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from treasury.cli.client import Client, client_options
from treasury.cli.output import emit, output_option

if TYPE_CHECKING:
    from treasury.jobfile import Source


@click.command()
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path, allow_dash=True))
@click.option(
    "--set",
    "settings",
    multiple=True,
    metavar="KEY=VALUE",
    help="Put into each file, such as env.LR=0.1; may be given several times.",
)
@click.option("--dry-run", is_flag=True, help="Only check, and say what would be submitted.")
@client_options
@output_option
def cli(
    files: tuple[Path, ...],
    settings: tuple[str, ...],
    dry_run: bool,
    client: Client,
    output: str,
) -> None:
    """Submit the job of each FILE (.yaml, .toml or .json; - for YAML on standard input).

    All files are checked, here and against the daemon's budgets and markets, before the first job
    is submitted.
    """
    bodies = [_body(file, settings) for file in files]
    told = [client.post("/v1/jobs", body, dry_run=True) for body in bodies]
    if not dry_run:
        told = [client.post("/v1/jobs", body) for body in bodies]
    columns = ["job", "cost centre", "machines", "accelerators", "work", "deadline"]
    emit(columns, [_row(answer["spec"]) for answer in told], output)
    for answer in told:
        for note in answer["notes"]:
            click.echo(f"note: {answer['id']}: {note}", err=True)


def _body(file: Path, settings: tuple[str, ...]) -> bytes:
    """A file's document as JSON. Raises UserError with every problem in it."""
    import msgspec

    from treasury.domain.errors import UserError
    from treasury.jobfile import inspect_job, read_file, with_settings

    source = _named(with_settings(read_file(file), settings), file)
    errors = inspect_job(source).errors
    if errors:
        raise UserError("\n".join(map(str, errors)))
    return msgspec.json.Encoder(decimal_format="number").encode(source.table)


def _named(source: "Source", file: Path) -> "Source":
    """A job without a name is called after its file."""
    import msgspec

    from treasury.domain.errors import BadValue
    from treasury.jobfile.units import read_job_name

    if "name" in source.table or "id" in source.table:
        return source
    try:
        stem = read_job_name(file.stem)
    except BadValue:
        return source
    return msgspec.structs.replace(source, table={**source.table, "name": stem})


def _row(spec: dict[str, Any]) -> list[object]:
    from treasury.domain.time import format_duration, format_instant

    need, deadline = spec["requirement"], spec.get("deadline")
    return [
        spec["id"],
        spec["cost_centre"],
        need.get("nodes", 1),
        f"{need.get('gpus', 1)} x {' | '.join(need['throughput'])}",
        format_duration(spec["work"]),
        None if deadline is None else format_instant(deadline),
    ]
