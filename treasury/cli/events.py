"""`treasury events` and `treasury logs`: what happens, and what jobs write."""

import json
import time
from collections.abc import Iterator
from typing import Any, Final

import click

from treasury.cli.client import Client, NoDaemon, client_options, name
from treasury.cli.output import FORMATS, TABLE

_STREAM: Final = {"Accept": "text/event-stream"}
# How long [s] to wait before looking again for a daemon that went away.
_AGAIN: Final = 2.0
# What says nothing to a person; JSON has it.
_UNTOLD: Final = ("type", "at", "token", "holds", "accrued")
_FIRST: Final[tuple[str, ...]] = ("job", "placement", "lease", "offer", "provider", "cost_centre")


@click.command("events")
@click.option("-f", "--follow", is_flag=True, help="Go on with what happens.")
@click.option(
    "--after",
    type=click.IntRange(0),
    help="Only turns after this one.  [default: the last 50; all with --job]",
)
@click.option("--job", default="", help="Only about a job.")
@click.option("--kind", default="", metavar="KIND", help="Only facts of a kind, as job_queued.")
@click.option(
    "-o",
    "--output",
    type=click.Choice(FORMATS[:2]),
    default=TABLE,
    show_default=True,
    help="Lines for people, or one JSON object a turn.",
)
@client_options
def events(
    follow: bool, after: int | None, job: str, kind: str, client: Client, output: str
) -> None:
    """Print what happened, a line a fact, from the journal.

    With --follow it goes on, across restarts of the daemon, and misses nothing.
    """
    from treasury.domain.time import format_instant

    if after is None:
        after = 0 if job else max(0, client.get("/v1/status")["seq"] - 50)
    for turn in turns(client, follow=follow, after=after, job=job, kind=kind):
        if output != TABLE:
            turn.pop("told")
            click.echo(json.dumps(turn))
            continue
        for fact, told in turn["told"]:
            kind_of = fact["type"].replace("_", " ")
            click.echo(f"{format_instant(turn['at'])}  {turn['seq']}  {kind_of}  {told}")


@click.command("logs")
@click.argument("job")
@click.option("-f", "--follow", is_flag=True, help="Go on with what it writes, until it ends.")
@client_options
def logs(job: str, follow: bool, client: Client) -> None:
    """Print what JOB wrote lately."""
    for line in client.lines(f"/v1/jobs/{name(job)}/logs", {}, patient=follow, follow=follow):
        click.echo(line)


def turns(
    client: Client, *, follow: bool, after: int, job: str = "", kind: str = ""
) -> Iterator[dict[str, Any]]:
    """Turns after one: `seq`, `at` [ns], `facts`, and as `told` each fact with its text."""
    while True:
        try:
            for turn in _stream(client, follow=follow, after=after, job=job, kind=kind):
                after = turn["seq"]
                if "facts" in turn:
                    turn["told"] = [(fact, tell(fact)) for fact in turn["facts"]]
                    yield turn
            if not follow:
                return
        except NoDaemon as error:
            if not follow:
                raise
            click.echo(f"{error}; trying again", err=True)
        time.sleep(_AGAIN)


def _stream(client: Client, **query: Any) -> Iterator[dict[str, Any]]:
    """The events of one connection; those that only say how far it is have no facts."""
    seq, data = 0, ""
    lines = client.lines("/v1/events", _STREAM, patient=query["follow"], **query)
    for line in lines:
        if line.startswith("id: "):
            seq = int(line[4:])
        elif line.startswith("data: "):
            data = line[6:]
        elif not line and seq:
            yield json.loads(data) if data else {"seq": seq}
            seq, data = 0, ""


def tell(fact: dict[str, Any]) -> str:
    """A fact's values in one line: what it is about first, nested values cut to their ids."""
    keys = [key for key in _FIRST if key in fact]
    keys += [key for key in fact if key not in {*keys, *_UNTOLD}]
    words = [f"{key}={_short(key, fact[key])}" for key in keys if fact[key] not in (None, "", [])]
    text = " ".join(words)
    return "".join(char if char.isprintable() else repr(char)[1:-1] for char in text)


def _short(key: str, value: Any) -> str:
    from treasury.domain.money import format_money, format_rate
    from treasury.domain.time import format_instant

    if isinstance(value, dict):
        return str(value.get("id", f"({len(value)})"))
    if isinstance(value, list):
        plain = all(isinstance(item, int | str) for item in value)
        return ",".join(map(str, value[:8])) if plain else f"({len(value)})"
    if isinstance(value, int) and not isinstance(value, bool):
        if key in {"bid", "rate"}:
            return format_rate(value).replace(" ", "")
        if key in {"charge", "amount", "limit", "held", "spent", "asked"}:
            return format_money(value).replace(" ", "")
        if key in {"until", "ends_at", "useful_from", "fits_at", "review_at"}:
            return format_instant(value)
    text = str(value)
    return f'"{text}"' if " " in text else text
