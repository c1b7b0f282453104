"""Orders to a running daemon: cancel, preempt, migrate, drain, conduct, panic, reload."""

from typing import Any

import click

from treasury.cli.client import Client, client_options, name
from treasury.cli.desk import who
from treasury.cli.output import AnyFunction

# It looks at the file by itself, too, and may have been first.
_UNCHANGED = "nothing has changed since it was last read"
_SIGNED = "Who decided.  [default: the user]"


def signed(function: AnyFunction) -> AnyFunction:
    """Decorate a command with `--by`, and with the ways to a daemon."""
    return click.option("--by", default=None, help=_SIGNED)(client_options(function))


def _order(client: Client, path: str, by: str | None, **body: Any) -> Any:
    return client.post(path, {**body, "by": by or who()})


@click.command()
@click.argument("jobs", nargs=-1, required=True)
@signed
def cancel(jobs: tuple[str, ...], by: str | None, client: Client) -> None:
    """End JOBS wherever they stand; their machines go back now."""
    for job in jobs:
        told = _order(client, f"/v1/jobs/{name(job)}/cancel", by)
        click.echo(f"{job}: {told['state']}")


@click.command()
@click.argument("jobs", nargs=-1, required=True)
@signed
def preempt(jobs: tuple[str, ...], by: str | None, client: Client) -> None:
    """Stop JOBS at a checkpoint and queue them again."""
    for job in jobs:
        told = _order(client, f"/v1/jobs/{name(job)}/preempt", by)
        click.echo(f"{job}: {told['state']}")


@click.command()
@click.argument("job")
@click.argument("offer")
@click.option(
    "--bid",
    metavar="RATE",
    help="Most per machine, such as 2.10USD/h.  [default: the job's limit, or the price + 20 %]",
)
@signed
def migrate(job: str, offer: str, bid: str | None, by: str | None, client: Client) -> None:
    """Move JOB to OFFER: a queued one is placed there, a running one migrated.

    A running job goes on where it is until the new machines are ready; any failure leaves it there.
    Budgets are asked as for any plan.
    """
    from treasury.domain.errors import BadValue
    from treasury.domain.money import parse_rate

    try:
        most = 0 if bid is None else parse_rate(bid)
    except BadValue as error:
        raise BadValue("--bid", bid, error.right) from error
    told = _order(client, f"/v1/jobs/{name(job)}/move", by, offer=offer, bid=most)
    click.echo(f"{job}: {told['state']}, machines of {offer} are asked for")


@click.command()
@click.argument("provider")
@click.option("--undo", is_flag=True, help="Take machines there again.")
@signed
def drain(provider: str, undo: bool, by: str | None, client: Client) -> None:
    """Leave PROVIDER: take nothing new there, and let jobs leave at a checkpoint."""
    told = _order(client, f"/v1/providers/{name(provider)}/drain", by, drained=not undo)
    if undo:
        click.echo(f"{provider}: is used again")
    else:
        click.echo(f"{provider}: is left; {told['machines']} machines are still held there")


@click.command()
@click.argument("mode", required=False, type=click.Choice(["observe", "recommend", "enforce"]))
@signed
def conduct(mode: str | None, by: str | None, client: Client) -> None:
    """Show how plans are treated, or set it.

    enforce: carried out. recommend: made and only written down. observe: not made. Running work
    goes on, and is paid for, in each.
    """
    if mode is None:
        click.echo(client.get("/v1/status")["conduct"])
        return
    click.echo(_order(client, "/v1/conduct", by, conduct=mode)["conduct"])


@click.command()
@signed
def panic(by: str | None, client: Client) -> None:
    """Take no more machines, now: plans are not made any more.

    Running work goes on and is paid for; `treasury preempt` and `cancel` stop it. Undone by
    `treasury conduct enforce`.
    """
    from treasury.domain.money import format_rate

    told = _order(client, "/v1/conduct", by, conduct="observe")
    click.echo(
        f"no more machines are taken; {told['machines']} are held, at {format_rate(told['rate'])}"
    )
    click.echo("to go on: treasury conduct enforce", err=True)


@click.command()
@signed
def reload(by: str | None, client: Client) -> None:
    """Have the daemon read its configuration again; prints what changed.

    A file with a mistake changes nothing.
    """
    for line in _order(client, "/v1/reload", by)["changes"] or (_UNCHANGED,):
        click.echo(line)
