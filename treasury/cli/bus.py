"""`treasury bus`: who may speak on the broker, and what is said there."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from treasury.domain.errors import BadValue

if TYPE_CHECKING:
    from treasury.bus.topics import Topics

# Accounts for leases that do not exist yet, so that the broker need not be told of each.
AHEAD = 10_000


@click.group()
def cli() -> None:
    """Files for the broker, and the messages' schemas."""


@cli.command("acl")
@click.option(
    "--secret",
    "secret_file",
    type=click.Path(path_type=Path, dir_okay=False),
    required=True,
    help="The installation's secret, in the daemon's state directory; made where it is missing.",
)
@click.option("--installation", default="treasury", show_default=True, help="The installation.")
@click.option(
    "--leases",
    default=f"1-{AHEAD}",
    show_default=True,
    help="The leases that get an account, first-last; they need not exist yet.",
)
@click.option(
    "-o",
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path(),
    show_default="the current directory",
    help="Where to write the files.",
)
def acl_command(secret_file: Path, installation: str, leases: str, out: Path) -> None:
    """Write treasury.acl, treasury.passwd and treasury.conf for Mosquitto.

    Run it again with higher --leases before the last one is reached, and have Mosquitto reload its
    files (SIGHUP). The passwords stay the same.
    """
    import secrets as dice

    from treasury.bus.acl import mosquitto_acl, mosquitto_config, mosquitto_passwords
    from treasury.bus.secrets import installation_secret

    topics = _topics(installation)
    accounts = _range(leases)
    secret = installation_secret(secret_file, dice.token_bytes)
    out.mkdir(parents=True, exist_ok=True)
    place = out.resolve()
    names = {
        "treasury.acl": mosquitto_acl(topics),
        "treasury.passwd": mosquitto_passwords(secret, accounts),
        "treasury.conf": mosquitto_config(
            str(place / "treasury.acl"), str(place / "treasury.passwd")
        ),
    }
    for name, text in names.items():
        path = out / name
        path.touch(mode=0o640)
        path.write_text(text, encoding="utf-8")
        click.echo(path)


@cli.command("password")
@click.argument("account")
@click.option(
    "--secret",
    "secret_file",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    required=True,
    help="The installation's secret, in the daemon's state directory.",
)
def password_command(account: str, secret_file: Path) -> None:
    """Print the password of an account: viewer, control, or a lease's number."""
    from treasury.bus.secrets import CONTROL, VIEWER, installation_secret, password

    if account not in (CONTROL, VIEWER) and not (account.isascii() and account.isdigit()):
        raise BadValue("account", account, f"{VIEWER}, {CONTROL} or a lease's number")

    def never(size: int) -> bytes:
        raise BadValue("secret", str(secret_file), f"a file with {size} bytes in it")

    click.echo(password(installation_secret(secret_file, never), account))


@cli.command("schemas")
def schemas_command() -> None:
    """Print the JSON schema of each message, by its topic."""
    from treasury.bus.schemas import schemas

    click.echo(json.dumps(schemas(), indent=2))


def _topics(installation: str) -> "Topics":
    from treasury.bus.fields import MessageError
    from treasury.bus.topics import LEVEL, Topics

    try:
        return Topics(installation)
    except MessageError as error:
        raise BadValue("installation", installation, LEVEL.pattern) from error


def _range(text: str) -> range:
    first, _, last = text.partition("-")
    whole = all(part.isascii() and part.isdigit() and len(part) < 10 for part in (first, last))
    if not whole or int(first) > int(last) or int(last) - int(first) >= 1_000_000:
        raise BadValue("leases", text, "first-last, such as 1-10000, at most a million")
    return range(int(first), int(last) + 1)
