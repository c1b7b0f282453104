"""`treasury ledger`: read a journal and its books, and check them."""

from collections.abc import Iterator
from contextlib import closing
from typing import TYPE_CHECKING, Any, Final

import click

from treasury.cli.output import TABLE, emit, output_option
from treasury.cli.statement import export, statement

if TYPE_CHECKING:
    from treasury.domain.transfer import Transfer
    from treasury.domain.turn import Entry
    from treasury.ledger.ledger import Account
    from treasury.store.sql import SqlStore

# A table longer than this hides its first row, which is the one that matters.
FINDINGS_SHOWN: Final = 20

Item = tuple[str, str]

db_option = click.option(
    "--db",
    default="treasury.db",
    envvar="TREASURY_DB",
    show_default=True,
    show_envvar=True,
    metavar="PATH",
    help="Path or URL of the journal's database; it is only read.",
)


@click.group()
def cli() -> None:
    """Read the ledger and its journal, and check them."""


cli.add_command(statement)
cli.add_command(export)


@cli.command()
@db_option
@click.option("--account", default="", metavar="PREFIX", help="Only accounts that begin so.")
@output_option
def balance(db: str, account: str, output: str) -> None:
    """The trial balance: what every account received, paid and holds.

    A table shows money with its unit; JSON and CSV give whole micro-units.
    """
    from treasury.domain.errors import NotFound

    with _opened(db) as store:
        kept, name = store.accounts(), store.name
    accounts = [kept[path] for path in sorted(kept) if path.startswith(account)]
    if account and not accounts:
        raise NotFound(f"{name} has no account that begins with {account!r}")
    if output != TABLE:
        emit(_NUMBER_COLUMNS, [_numbers(item) for item in accounts], output)
        return
    rows = [_money(item) for item in accounts]
    if not account:
        rows += _totals(accounts)
    emit(_MONEY_COLUMNS, rows, output, title=f"Trial balance of {name}")


@cli.command()
@db_option
@click.option("--after", type=click.IntRange(min=0), default=0, metavar="SEQ", help="Later turns.")
@click.option(
    "--limit",
    type=click.IntRange(min=1),
    default=100,
    show_default=True,
    metavar="N",
    help="At most so many rows.",
)
@click.option("--kind", default="", help="Only rows of this kind, such as job_queued or hold.")
@output_option
def journal(db: str, after: int, limit: int, kind: str, output: str) -> None:
    """What happened, turn by turn: facts, then transfers, then commands."""
    from treasury.domain.errors import BadValue
    from treasury.domain.time import format_instant

    if kind and kind not in _kinds():
        raise BadValue("--kind", kind, f"one of {', '.join(_kinds())}")
    rows: list[tuple[object, ...]] = []
    more = False
    with _opened(db) as store:
        name = store.name
        for entry in store.entries(after):
            found = [item for item in _items(entry) if kind in {"", item[0]}]
            # A turn is shown whole, so that --after can go on where this ended.
            if rows and len(rows) + len(found) > limit:
                more = True
                break
            at = format_instant(entry.at) if output == TABLE else entry.at
            rows += [(entry.seq, at, *item) for item in found]
    when = "at" if output == TABLE else "at_ns"
    emit(("turn", when, "kind", "detail"), rows, output, title=f"Journal of {name}")
    if more:
        click.echo(f"There is more: --after {rows[-1][0]}", err=True)


@cli.command()
@db_option
@output_option
@click.pass_context
def verify(context: click.Context, db: str, output: str) -> None:
    """Check hash chain, laws of bookkeeping, and every table against the journal.

    Leaves with 0 when all is well and with 1 when a row is broken.
    """
    from treasury.store.ledger_reader import LedgerReader
    from treasury.store.ledger_verify import verify_ledger
    from treasury.store.verify import verify as verify_store

    with _opened(db) as store:
        name, result = store.name, verify_store(store)
        shared = verify_ledger(LedgerReader(store.database))
    findings = (*result.findings, *shared.findings)
    for file in shared.unread:
        click.echo(f"{file} is not there: its transfers were not verified", err=True)
    if output == TABLE and not findings:
        click.echo(
            f"{name}: {result.turns} turns and {result.transfers} transfers verified,"
            f" journal hash {result.hash.hex()}"
        )
        if shared.transfers:
            click.echo(
                f"{name}: {shared.transfers} transfers of the shared ledger verified,"
                f" {shared.unsealed} of them not sealed yet, ledger hash {shared.hash.hex()}"
            )
        return
    shown = findings[:FINDINGS_SHOWN] if output == TABLE else findings
    rows = [(item.check, item.seq, item.transfer_id, item.message) for item in shown]
    emit(("check", "turn", "transfer", "problem"), rows, output, title=f"Broken rows of {name}")
    if not findings:
        return
    first = findings[0]
    transfer = "" if first.transfer_id is None else f", transfer {first.transfer_id}"
    click.echo(
        f"{name}: {len(findings)} broken; the first is turn {first.seq}{transfer}:"
        f" {first.check}: {first.message}",
        err=True,
    )
    context.exit(1)


@cli.command()
@click.option(
    "--db",
    default="treasury.db",
    envvar="TREASURY_DB",
    show_default=True,
    show_envvar=True,
    metavar="PATH",
    help="Path or URL of the shared ledger's database.",
)
@click.option("--before", required=True, metavar="INSTANT", help="Transfers recorded before it.")
@click.option(
    "--out",
    default="archives",
    show_default=True,
    metavar="FOLDER",
    help="Where the file goes; keep it there, `verify` reads it.",
)
def archive(db: str, before: str, out: str) -> None:
    """Take closed periods of the shared ledger out to a compressed file.

    Opening balances, open holds and all ids stay, and `treasury ledger verify` goes on from the
    file's hash.
    """
    from pathlib import Path

    from treasury.domain.time import parse_instant
    from treasury.store import SqlStore
    from treasury.store.archive import archive as archive_ledger

    instant = parse_instant(before)
    # Looked at first: a slip in the name makes no database.
    with _opened(db):
        pass
    with closing(SqlStore.open(db)) as store:
        taken = archive_ledger(store.database, instant, Path(out).absolute())
    count = taken.last_seq - taken.first_seq + 1
    click.echo(
        f"{taken.file}: transfers {taken.first_seq} to {taken.last_seq}, {count} in all,"
        f" {taken.kept} of them stay because later ones refer to them;"
        f" ledger hash {taken.hash.hex()}"
    )


def _opened(db: str) -> "closing[SqlStore]":
    """The store, for reading: looking never makes, migrates or locks a database."""
    from treasury.store import SqlStore

    return closing(SqlStore.open(db, read_only=True))


_COUNTERS: Final = ("debit_posted", "credit_posted", "debit_pending", "credit_pending")
_NUMBER_COLUMNS: Final = ("account", "policy", "currency", *_COUNTERS, "balance", "available")
_MONEY_COLUMNS: Final = (
    "account",
    "debits",
    "credits",
    "held in",
    "held out",
    "balance",
    "available",
)


def _numbers(account: "Account") -> list[object]:
    """For programs: micro-units. `available` means something for limited accounts only."""
    return [
        account.path,
        account.policy,
        account.currency,
        *(getattr(account, name) for name in _COUNTERS),
        account.balance,
        account.available if account.policy.value == "limited" else None,
    ]


def _money(account: "Account") -> list[object]:
    """For people: every micro-unit, with its unit."""
    from treasury.domain.money import format_money

    path, _, currency, *amounts = _numbers(account)
    texts = [
        format_money(amount, str(currency), places=6) if isinstance(amount, int) else None
        for amount in amounts
    ]
    return [path, *texts]


def _totals(accounts: list["Account"]) -> Iterator[list[object]]:
    """One row a currency, in which debits equal credits."""
    from treasury.domain.money import format_money

    for currency in sorted({account.currency for account in accounts}):
        same = [account for account in accounts if account.currency == currency]
        sums = [sum(getattr(account, name) for account in same) for name in _COUNTERS]
        sums.append(sum(account.balance for account in same))
        yield ["total", *(format_money(total, currency, places=6) for total in sums), None]


def _kinds() -> list[str]:
    """Every kind a row of the journal can have, in order of the alphabet."""
    from typing import get_args

    from treasury.domain.commands import Command
    from treasury.domain.events import Fact
    from treasury.domain.transfer import TransferKind

    tagged = (*get_args(Fact), *get_args(Command))
    tags = [str(item.__struct_config__.tag) for item in tagged]
    return sorted({*tags, *(kind.value for kind in TransferKind)})


def _items(entry: "Entry") -> Iterator[Item]:
    """A turn's facts, transfers and commands: kind and detail."""
    for fact in entry.facts:
        yield _tagged(fact)
    for transfer in entry.transfers:
        yield transfer.kind.value, _transfer_text(transfer)
    for approved in entry.commands:
        yield _tagged(approved.command)


def _tagged(value: Any) -> Item:
    """Kind and fields of a fact or command, the fields as compact JSON."""
    import msgspec

    fields = msgspec.to_builtins(value)
    kind = str(fields.pop("type"))
    return kind, msgspec.json.encode(fields).decode()


def _transfer_text(transfer: "Transfer") -> str:
    """A transfer in one line, to the micro-unit."""
    from treasury.domain.money import format_money

    amount = format_money(transfer.amount, transfer.currency, places=6)
    parts = [
        f"#{transfer.id} {amount} from {transfer.credit} to {transfer.debit} ({transfer.reason})"
    ]
    if transfer.refers is not None:
        parts.append(f"of #{transfer.refers}")
    if transfer.lease is not None:
        parts.append(f"lease {transfer.lease}")
    return ", ".join(parts)
