"""`treasury node`: the agent that runs on leased machines."""

from pathlib import Path

import click


@click.group()
def cli() -> None:
    """The agent that runs on leased machines."""


@cli.command("bundle")
@click.option(
    "-o",
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    default=Path("node.pyz"),
    show_default=True,
    help="The file to write.",
)
def bundle_command(out: Path) -> None:
    """Write the node agent as one file that any Python from 3.9 on runs.

    Prints its SHA-256. `python3 node.pyz CONFIG` starts it; docs/node.md has the file's format.
    """
    from treasury.domain.errors import UserError
    from treasury.node.bundle import bundle, sha256

    try:
        data = bundle()
    except ModuleNotFoundError as error:
        raise UserError(f"the bundle needs {error.name} to be installed here") from error
    out.write_bytes(data)
    click.echo(f"{sha256(data)}  {out}")


@cli.command("run")
@click.argument("config", type=click.Path(path_type=Path, dir_okay=False))
def run_command(config: Path) -> int:
    """Run a node agent on this machine until its lease is over."""
    from treasury.node.__main__ import main

    return main([str(config)])
