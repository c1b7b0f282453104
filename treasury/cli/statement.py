"""`treasury ledger statement` and `export`: who spent what, for people and for other books."""

import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from treasury.cli.desk import as_of_option, db_option, instant, reading
from treasury.cli.output import TABLE, emit, output_option

if TYPE_CHECKING:
    from treasury.domain.turn import Entry
    from treasury.finops.statements import Grouping

FORMATS: Final = ("focus", "hledger", "ledger", "beancount", "csv", "parquet")
_LABEL: Final = "label:"
# Steps of a progress bar: finer ones cost more than they show.
_STEPS: Final = 200


@click.command()
@db_option()
@click.option(
    "--cost-centre", "centres", multiple=True, metavar="NAME", help="Only this one; repeatable."
)
@click.option("--below", is_flag=True, help="With --cost-centre: and all centres below it.")
@click.option("--from", "since", metavar="INSTANT", help="Only what happened from then on.")
@click.option("--to", "before", metavar="INSTANT", help="Only what happened before then.")
@click.option(
    "--by",
    default="cost_centre",
    show_default=True,
    metavar="WHAT[,WHAT...]",
    help="What lines are totals of: cost_centre, provider, job, offer, label:NAME.",
)
@as_of_option
@output_option
def statement(
    db: str,
    centres: tuple[str, ...],
    below: bool,
    since: str | None,
    before: str | None,
    by: str,
    as_of: str | None,
    output: str,
) -> None:
    """What was spent, as totals over cost centres, providers, jobs, offers or labels.

    Lines add up to the ledger's expense accounts. A table shows money with its unit; JSON and CSV
    give whole micro-units.
    """
    from treasury.domain.money import format_money
    from treasury.finops.statements import statement as make_statement

    groupings, label = _groupings(by)
    with reading(db) as store:
        name = store.name
        wanted = _centres(store.entries(), centres, below)
        lines = make_statement(
            store.entries(),
            groupings,
            start=instant("--from", since) or 0,
            end=instant("--to", before),
            as_of=instant("--as-of", as_of),
            cost_centres=wanted,
            label=label,
        )
    columns = [item.value if item.value != "label" else label for item in groupings]
    rows: list[list[object]] = [[*line.key, line.amount, line.charges] for line in lines]
    if output != TABLE:
        emit([*columns, "amount", "charges"], rows, output)
        return
    rows.append(
        [
            "total",
            *[None] * (len(columns) - 1),
            sum(line.amount for line in lines),
            sum(line.charges for line in lines),
        ]
    )
    for row in rows:
        row[-2] = format_money(int(str(row[-2])), places=6)
    period = f"{since or 'the beginning'} to {before or 'the end'}"
    title = f"Statement of {name}, {period}" + (f", as of {as_of}" if as_of else "")
    emit([*columns, "amount", "charges"], rows, output, title=title)


def _groupings(by: str) -> "tuple[tuple[Grouping, ...], str]":
    """What `--by` says, and the label's name where it asks for one. Raises BadValue."""
    from treasury.domain.errors import BadValue
    from treasury.finops.statements import Grouping

    found, label = [], ""
    for word in by.split(","):
        name = word.strip()
        if name.startswith(_LABEL) and len(name) > len(_LABEL) and not label:
            label = name.removeprefix(_LABEL)
            found.append(Grouping.LABEL)
        elif name != "label" and name in {item.value for item in Grouping}:
            found.append(Grouping(name))
        else:
            right = "cost_centre, provider, job, offer or one label:NAME, separated by commas"
            raise BadValue("--by", name, right)
    return tuple(found), label


def _centres(
    entries: "Iterable[Entry]", names: tuple[str, ...], below: bool
) -> frozenset[str] | None:
    """The cost centres asked for, None for all. Raises NotFound with the nearest."""
    from treasury.domain.errors import NotFound, did_you_mean
    from treasury.domain.events import Configured

    if not names:
        return None
    # Every tree there ever was: a centre that is gone has its statement, too.
    parents: dict[str, set[str]] = {}
    for entry in entries:
        for fact in entry.facts:
            if isinstance(fact, Configured):
                for budget in fact.budgets:
                    parents.setdefault(budget.cost_centre, set()).add(budget.parent or "")
    for name in names:
        if name not in parents:
            raise NotFound(f"no cost centre is called {name!r}; {did_you_mean(name, parents)}")
    wanted = set(names)
    grown = below
    while grown:
        found = {name for name, above in parents.items() if above & wanted} - wanted
        wanted |= found
        grown = bool(found)
    return frozenset(wanted)


@click.command()
@db_option()
@click.option(
    "--format",
    "kind",
    type=click.Choice(FORMATS),
    required=True,
    help="What the file is for; docs/finops.md says what appears in each.",
)
@click.option(
    "--out", type=click.Path(path_type=Path), required=True, help="The file, - for stdout."
)
@click.option("--holds/--no-holds", default=True, help="Journals: show what is held as set aside.")
@click.option(
    "--focus-version", type=click.Choice(("1.2", "1.3")), default="1.2", show_default=True
)
@as_of_option
def export(
    db: str, kind: str, out: Path, holds: bool, focus_version: str, as_of: str | None
) -> None:
    """Write the ledger for other programs: FOCUS, hledger, ledger, beancount, CSV, Parquet.

    Memory stays flat whatever the journal's length; the file is there when it is whole.
    """
    from treasury.domain.errors import UserError
    from treasury.finops import focus, plaintext, table
    from treasury.finops.statements import until

    texts: dict[str, Callable[[Iterable[Entry]], Iterator[str]]] = {
        "focus": lambda entries: focus.focus_table(entries, focus_version),
        "hledger": lambda entries: plaintext.journal(entries, holds=holds),
        "ledger": lambda entries: plaintext.journal(entries, holds=holds),
        "beancount": lambda entries: plaintext.beancount(entries, holds=holds),
        "csv": table.csv_table,
    }
    if kind == "parquet" and str(out) == "-":
        raise UserError("--format parquet needs a file: name one with --out")
    with reading(db) as store, _progress(store.entries(), store.last()[0]) as entries:
        name = store.name
        turns = until(entries, instant("--as-of", as_of))
        if str(out) == "-":
            for piece in texts[kind](turns):
                click.echo(piece, nl=False)
            return
        with _whole(out) as part:
            if kind == "parquet":
                table.write_parquet(turns, part)
            else:
                with part.open("w", encoding="utf-8", newline="") as file:
                    file.writelines(texts[kind](turns))
    click.echo(f"{out}: {kind} of {name}, {out.stat().st_size:,} bytes")


@contextmanager
def _whole(out: Path) -> Iterator[Path]:
    """A file beside the one wanted that takes its place when it is finished."""
    part = out.with_name(f"{out.name}.part")
    try:
        yield part
        part.replace(out)
    finally:
        with suppress(OSError):
            part.unlink()


@contextmanager
def _progress(entries: "Iterable[Entry]", turns: int) -> "Iterator[Iterable[Entry]]":
    """The turns, with a bar on stderr where that is a terminal."""
    if not sys.stderr.isatty():
        yield entries
        return
    with click.progressbar(length=_STEPS, label="Exporting", file=sys.stderr) as bar:

        def walk() -> "Iterator[Entry]":
            shown = 0
            for entry in entries:
                step = _STEPS * entry.seq // max(1, turns)
                if step > shown:
                    bar.update(step - shown)
                    shown = step
                yield entry

        yield walk()
