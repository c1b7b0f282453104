"""`treasury bill import`: hold a provider's bill against the books."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from treasury.cli.desk import WRITES, at_option, db_option, order, reading, who
from treasury.cli.output import TABLE, emit, output_option

if TYPE_CHECKING:
    from treasury.cli.client import Client
    from treasury.cli.desk import Desk
    from treasury.finops.reconcile import Findings

KINDS: Final = ("focus", "aws-cur", "csv")
# Parts booked in one turn: a turn is one transaction and one line of the journal.
_PARTS_A_TURN: Final = 100
# What a daemon takes at once is 256 KiB; a part may come on top of this.
_BYTES_AN_ORDER: Final = 100_000
# A list longer than this hides what it is about.
_SHOWN: Final = 20


@click.group()
def cli() -> None:
    """Providers' bills: what they ask for beside what was metered."""


@cli.command("import")
@click.argument("kind", type=click.Choice(KINDS))
@click.argument("file", type=click.Path(path_type=Path))
@db_option(WRITES)
@at_option
@click.option("--by", default=None, help="Who decided.  [default: the user]")
@click.option("--provider", default="", help="Whose bill it is, where the file does not say.")
@click.option(
    "--map",
    "columns",
    multiple=True,
    metavar="FIELD=COLUMN",
    help="csv: which column says what; docs/finops.md lists the fields.",
)
@click.option(
    "--unmatched",
    default="",
    metavar="CENTRE",
    help="Who pays for lines that no lease answers to.  [default: nobody, they are listed]",
)
@click.option("--final", is_flag=True, help="Leases that it does not name cost nothing.")
@click.option("--dry-run", is_flag=True, help="Only report; the database is only read.")
@click.option("--details", is_flag=True, help="One row for each lease instead of each cause.")
@output_option
def import_(
    kind: str,
    file: Path,
    db: str,
    at_text: str | None,
    by: str | None,
    provider: str,
    columns: Sequence[str],
    unmatched: str,
    final: bool,
    dry_run: bool,
    details: bool,
    output: str,
) -> None:
    """Match each line of FILE to a lease, book what differs, and say what explains it.

    KIND is focus (any provider's FOCUS export), aws-cur (Cost and Usage Report 2.0) or csv. A bill
    imported again adds nothing. Differences go to `expenses:adjust:CENTRE:PROVIDER`, against
    `equity:variance`; wallets are not touched.
    """
    found = _Import(kind, file, provider, _map(columns), unmatched, final)
    if dry_run:
        with reading(db) as store:
            result = found.against(store)
    else:

        def by_hand(hand: "Desk") -> "Findings":
            against = found.against(hand.store)
            _book(hand, against, by or who())
            return against

        def by_daemon(client: "Client") -> "Findings":
            return _send(client, found, db, by or who())

        result = order(db, at_text, by_hand, by_daemon)
    _report(result, file, dry_run, details, output)


class _Import:
    """What the command line asked for."""

    def __init__(
        self,
        kind: str,
        file: Path,
        provider: str,
        columns: dict[str, str],
        unmatched: str,
        final: bool,
    ) -> None:
        self._kind, self._file = kind, file
        self._how: dict[str, Any] = {"provider": provider, "columns": columns}
        self._unmatched, self._final = unmatched, final

    def against(self, store: Any) -> "Findings":
        """Hold the bill against a journal. Raises UserError, NotFound."""
        from treasury.domain.errors import NotFound, UserError, did_you_mean
        from treasury.finops.bills import read_bill
        from treasury.finops.leases import Leases
        from treasury.finops.reconcile import reconcile

        start, end = None, 0
        # Read to its end before anything is booked: a fault in its last line books nothing.
        for row in read_bill(self._kind, self._file, **self._how):
            start = row.start if start is None else min(start, row.start)
            end = max(end, row.end)
        if start is None:
            raise UserError(f"{self._file}: there are no lines in it")
        leases = Leases(store.entries(), start, end)
        if self._unmatched and self._unmatched not in leases.centres:
            hint = did_you_mean(self._unmatched, leases.centres)
            raise NotFound(f"--unmatched: no cost centre is called {self._unmatched!r}; {hint}")
        rows = read_bill(self._kind, self._file, **self._how)
        return reconcile(rows, leases, unmatched=self._unmatched, final=self._final)


def _map(pairs: Sequence[str]) -> dict[str, str]:
    """`FIELD=COLUMN`s. Raises BadValue."""
    from treasury.domain.errors import BadValue

    found = {}
    for pair in pairs:
        field, sign, column = pair.partition("=")
        if not sign or not field.strip() or not column.strip():
            raise BadValue("--map", pair, 'FIELD=COLUMN, such as amount="Total (USD)"')
        found[field.strip()] = column.strip()
    return found


def _book(hand: "Desk", found: "Findings", by: str) -> None:
    from treasury.domain.events import BookBill

    number = hand.book.bills
    inputs = [BookBill(number + 1 + i, part, by) for i, part in enumerate(found.parts)]
    for first in range(0, len(inputs), _PARTS_A_TURN):
        hand.step(*inputs[first : first + _PARTS_A_TURN])


def _send(client: "Client", found: _Import, db: str, by: str) -> "Findings":
    """Book by a running daemon, which refuses parts that were held against other books."""
    import msgspec

    from treasury.domain.events import BillBooked

    with reading(db) as store:
        result = found.against(store)
        facts = (fact for entry in store.entries() for fact in entry.facts)
        number = sum(isinstance(fact, BillBooked) for fact in facts)
    encode, first = msgspec.json.encode, 0
    while first < len(result.parts):
        last, size = first, 0
        while last < min(len(result.parts), first + _PARTS_A_TURN) and size < _BYTES_AN_ORDER:
            size += len(encode(result.parts[last]))
            last += 1
        body = {"first": number + 1 + first, "parts": result.parts[first:last], "by": by}
        client.post("/v1/bills", encode(body))
        first = last
    return result


def _report(found: "Findings", file: Path, dry_run: bool, details: bool, output: str) -> None:
    columns, rows = (_details if details else _causes)(found)
    if output == TABLE:
        from treasury.domain.money import format_money

        for row in rows:
            row[:] = [
                format_money(cell, places=6) if name in _MONEY and isinstance(cell, int) else cell
                for name, cell in zip(columns, row, strict=True)
            ]
    did = "would be booked" if dry_run else "booked"
    emit(columns, rows, output, title=f"{file}: differences {did}")
    for line in _lines(found, did):
        click.echo(line, err=True)


_MONEY: Final = frozenset({"amount", "billed", "charged", "difference"})


def _causes(found: "Findings") -> tuple[list[str], list[list[object]]]:
    rows: list[list[object]] = [
        [cause, count, amount] for cause, (count, amount) in sorted(found.causes.items())
    ]
    rows.append(["total", len(found.parts), found.difference])
    return ["cause", "parts", "amount"], rows


def _details(found: "Findings") -> tuple[list[str], list[list[object]]]:
    columns = ["lease", "machine", "job", "cost_centre", "provider"]
    rows: list[list[object]] = [
        [
            *(part.lease, part.machine or None, part.job or None, part.cost_centre, part.provider),
            *(part.billed, part.booked, part.difference),
            ", ".join(f"{cause} {_signed(amount)}" for cause, amount in part.causes) or None,
        ]
        for part in found.parts
    ]
    return [*columns, "billed", "charged", "difference", "causes"], rows


def _signed(micros: int) -> str:
    from treasury.finops.postings import decimal

    return decimal(micros) if micros < 0 else f"+{decimal(micros)}"


def _lines(found: "Findings", did: str) -> Iterator[str]:
    """What the table leaves out: counts, and what was not booked."""
    from treasury.domain.money import format_money

    yield (
        f"{found.lines} lines: {found.matched} matched to leases, {found.repeated} known already,"
        f" {found.restated} restated, {len(found.unmatched)} unmatched,"
        f" {found.foreign} of other installations"
    )
    yield (
        f"billed {format_money(found.billed, places=6)}, charged"
        f" {format_money(found.booked, places=6)}, difference"
        f" {format_money(found.difference, places=6)} {did}"
    )
    if found.unmatched:
        total = sum(left.amount for left in found.unmatched)
        yield f"not booked: {format_money(total, places=6)} on lines that no lease answers to:"
        for left in found.unmatched[:_SHOWN]:
            what = left.resource or left.category
            yield f"  line {left.number}: {format_money(left.amount, places=6)} {what}"
        if len(found.unmatched) > _SHOWN:
            yield f"  and {len(found.unmatched) - _SHOWN} more; --unmatched CENTRE books them"
    if found.missing and "lease not on the bill" not in found.causes:
        total = sum(life.charge for life in found.missing)
        yield (
            f"{len(found.missing)} leases charged {format_money(total, places=6)} are not on it:"
            f" {', '.join(str(life.lease) for life in found.missing[:_SHOWN])}"
        )
