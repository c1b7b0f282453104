"""`treasury budget`: where budgets stand, what they refused, and changes to them."""

from typing import TYPE_CHECKING, Final, NamedTuple

import click

from treasury.cli.desk import (
    WRITES,
    as_of_option,
    at_option,
    db_option,
    instant,
    order,
    reading,
    who,
)
from treasury.cli.output import TABLE, emit, output_option

if TYPE_CHECKING:
    from treasury.cli.client import Client
    from treasury.cli.desk import Desk
    from treasury.domain.turn import Entry
    from treasury.finops.outlook import Outlook

_NUMBERS: Final = (
    "cost_centre",
    "parent",
    "limit",
    "held",
    "spent",
    "available",
    "burn",
    "runs_out_at",
    "start",
    "end",
    "forecast",
    "low",
    "high",
    "mode",
    "frozen",
)


@click.group(invoke_without_command=True)
@db_option()
@as_of_option
@output_option
@click.pass_context
def cli(ctx: click.Context, db: str, as_of: str | None, output: str) -> None:
    """Show every budget: limit, held, spent, available, burn, when it runs out, and a forecast.

    The forecast is what will be spent at the period's end by the daily spending of the last two
    weeks; eight times of ten it should end up within the range. JSON and CSV give micro-USD,
    nano-USD an hour and nanoseconds.
    """
    if ctx.invoked_subcommand is not None:
        # `treasury budget --db X freeze Y` means the same database.
        ctx.default_map = {ctx.invoked_subcommand: {"db": db}}
        return
    from treasury.domain.errors import NotFound
    from treasury.domain.time import format_instant
    from treasury.finops.outlook import outlook

    instant_ns = instant("--as-of", as_of)
    with reading(db) as store:
        name = store.name
        book, rows = outlook(store.entries(), instant_ns)
    if not rows:
        raise NotFound(f"{name} knows no budgets" + ("" if as_of is None else f" as of {as_of}"))
    if output != TABLE:
        emit(_NUMBERS, [[getattr(row, name) for name in _NUMBERS] for row in rows], output)
        return
    shown = format_instant(book.now if instant_ns is None else instant_ns)
    emit(_COLUMNS, [_cells(row) for row in rows], output, title=f"Budgets of {name} at {shown}")


_COLUMNS: Final = (
    "cost centre",
    "limit",
    "held",
    "spent",
    "available",
    "burn",
    "runs out at",
    "period ends",
    "forecast",
    "range",
    "state",
)


def _cells(row: "Outlook") -> list[object]:
    from treasury.domain.money import format_money, format_rate
    from treasury.domain.time import NEVER, format_instant

    band = None
    if row.low is not None and row.high is not None:
        band = f"{format_money(row.low)} to {format_money(row.high)}"
    never = row.runs_out_at is None or row.runs_out_at >= NEVER
    return [
        "  " * row.depth + row.cost_centre,
        format_money(row.limit),
        format_money(row.held),
        format_money(row.spent),
        format_money(row.available),
        format_rate(row.burn),
        None if never else format_instant(row.runs_out_at or 0),
        None if row.end >= NEVER else format_instant(row.end),
        None if row.forecast is None else format_money(row.forecast),
        band,
        "frozen" if row.frozen else row.mode,
    ]


@cli.command()
@db_option()
@click.option("--from", "since", metavar="INSTANT", help="Only what was refused from then on.")
@output_option
def refusals(db: str, since: str | None, output: str) -> None:
    """What budgets refused, and what those that observe or recommend would have refused.

    Counted by cost centre and reason, with the money that was asked for in all.
    """
    from treasury.domain.money import format_money
    from treasury.domain.time import format_instant
    from treasury.finops.refusals import refusals as count_refusals

    with reading(db) as store:
        name = store.name
        found = count_refusals(store.entries(), start=instant("--from", since) or 0)
    names = ("cost_centre", "why", "enforced", "count", "jobs", "asked", "last_at", "last")
    rows = [[getattr(row, name) for name in names] for row in found]
    if output == TABLE:
        for row in rows:
            row[5] = format_money(int(row[5]))
            row[6] = format_instant(int(row[6]))
        names = ("cost centre", "why", "enforced", "times", "jobs", "asked", "last at", "last")
    emit(names, rows, output, title=f"Refusals of {name}")


@cli.command("top-up", context_settings={"ignore_unknown_options": True})
@click.argument("centre")
@click.argument("amount")
@db_option(WRITES)
@at_option
@click.option("--by", default=None, help="Who decided.  [default: the user]")
@click.pass_context
def top_up(
    ctx: click.Context, centre: str, amount: str, db: str, at_text: str | None, by: str | None
) -> None:
    """Give CENTRE AMOUNT more for this period, such as 250USD; a negative one takes back.

    Levels above keep their own limits. Leaves with 1 when what is to be taken back is not there.
    """
    _change(ctx, db, at_text, centre, amount, None, by)


@cli.command()
@click.argument("source", metavar="FROM")
@click.argument("centre", metavar="TO")
@click.argument("amount")
@db_option(WRITES)
@at_option
@click.option("--by", default=None, help="Who decided.  [default: the user]")
@click.pass_context
def move(
    ctx: click.Context,
    source: str,
    centre: str,
    amount: str,
    db: str,
    at_text: str | None,
    by: str | None,
) -> None:
    """Move AMOUNT of what FROM has left to TO, for this period. Leaves with 1 when it lacks it."""
    _change(ctx, db, at_text, centre, amount, source, by)


@cli.command()
@click.argument("centre")
@db_option(WRITES)
@at_option
@click.option("--by", default=None, help="Who decided.  [default: the user]")
def freeze(centre: str, db: str, at_text: str | None, by: str | None) -> None:
    """Let CENTRE, and all below it, take no new machines; what runs is paid for."""
    _set_frozen(db, at_text, centre, by, frozen=True)


@cli.command()
@click.argument("centre")
@db_option(WRITES)
@at_option
@click.option("--by", default=None, help="Who decided.  [default: the user]")
def thaw(centre: str, db: str, at_text: str | None, by: str | None) -> None:
    """Let CENTRE take machines again."""
    _set_frozen(db, at_text, centre, by, frozen=False)


def _change(
    ctx: click.Context,
    db: str,
    at_text: str | None,
    centre: str,
    amount: str,
    source: str | None,
    by: str | None,
) -> None:
    from treasury.domain.errors import BadValue
    from treasury.domain.events import ChangeBudget
    from treasury.domain.money import format_money, parse_money

    try:
        micros = parse_money(amount)
    except BadValue as error:
        raise BadValue("AMOUNT", amount, error.right) from error
    signed = by or who()

    def by_hand(hand: "Desk") -> "_Made":
        to = hand.cost_centre(centre)
        giver = None if source is None else hand.cost_centre(source)
        entry = hand.step(ChangeBudget(to, micros, signed, giver))
        level = hand.book.level(to)
        giver_level = level if giver is None else hand.book.level(giver)
        refused = _refusal(entry)
        if refused:
            refused += (
                f" (limit {format_money(giver_level.limit)}, spent"
                f" {format_money(giver_level.spent)}, held {format_money(giver_level.held)})"
            )
        return _Made(refused, level.limit, level.available)

    def by_daemon(client: "Client") -> "_Made":
        return _ask(client, centre, micros, source, signed)

    made = order(db, at_text, by_hand, by_daemon)
    origin = "" if source is None else f" from {source}"
    if made.refused:
        click.echo(f"refused: {centre} {format_money(micros)}{origin}: {made.refused}", err=True)
        ctx.exit(1)
    click.echo(
        f"{centre}: {format_money(micros)}{origin}; limit {format_money(made.limit)},"
        f" available {format_money(made.available)}"
    )


class _Made(NamedTuple):
    """How a change went: why it was refused, if it was, and the budget's figures [micro-USD]."""

    refused: str
    limit: int
    available: int


def _ask(client: "Client", centre: str, micros: int, source: str | None, by: str) -> _Made:
    """The change by a running daemon."""
    from treasury.cli.client import Refused, name

    body = {"amount": micros, "source": source, "by": by}
    try:
        row = client.post(f"/v1/budgets/{name(centre)}/change", body)
    except Refused as error:
        if error.status != 409:
            raise
        return _Made(str(error).removeprefix("refused: "), 0, 0)
    return _Made("", row["limit"], row["available"])


def _refusal(entry: "Entry") -> str:
    """Why a turn refused to change a budget, empty when it did not."""
    from treasury.domain.events import BudgetChangeRefused

    return next((fact.why for fact in entry.facts if isinstance(fact, BudgetChangeRefused)), "")


def _set_frozen(db: str, at_text: str | None, centre: str, by: str | None, *, frozen: bool) -> None:
    from treasury.domain.events import FreezeBudget

    state = "frozen" if frozen else "not frozen"

    def by_hand(hand: "Desk") -> bool:
        name = hand.cost_centre(centre)
        if hand.book.budgets[name].frozen == frozen:
            return False
        hand.step(FreezeBudget(name, frozen, by or who()))
        return True

    def by_daemon(client: "Client") -> bool:
        from treasury.cli.client import name

        rows = client.get("/v1/budgets")["budgets"]
        if any(row["cost_centre"] == centre and row["frozen"] == frozen for row in rows):
            return False
        body = {"frozen": frozen, "by": by or who()}
        client.post(f"/v1/budgets/{name(centre)}/freeze", body)
        return True

    changed = order(db, at_text, by_hand, by_daemon)
    click.echo(f"{centre}: {state}" if changed else f"{centre}: is {state} already")
