"""Exports: what other programs read is what the ledger says, to the micro-dollar."""

import csv
import io
import re
from collections.abc import Iterable
from decimal import Decimal
from pathlib import Path

import pytest
from click.testing import CliRunner

from tests.support.books import turns
from tests.support.spending import expenses, keep, month
from tests.support.table import Table
from treasury.cli.ledger import cli
from treasury.domain.budget import Budget
from treasury.domain.errors import BadValue, UserError
from treasury.domain.money import MICRO
from treasury.finops import table as tables
from treasury.finops.focus import COLUMNS_1_2, COLUMNS_1_3, OWN_COLUMNS, focus_table
from treasury.finops.plaintext import beancount, journal
from treasury.finops.postings import decimal, transactions
from treasury.ledger.ledger import Ledger

OPEN, CLOSED = month(ends=False), month()


def focus(source: Table, version: str = "1.2") -> list[dict[str, str]]:
    """The export's rows."""
    return list(csv.DictReader(io.StringIO("".join(focus_table(source.entries, version)))))


def balances(entries: Iterable, **how: bool) -> dict[str, int]:
    """What the exported transactions leave in each account."""
    found: dict[str, int] = {}
    for item in transactions(entries, **how):
        assert sum(posting.amount for posting in item.postings) == 0
        for posting in item.postings:
            found[posting.account] = found.get(posting.account, 0) + posting.amount
    return {account: amount for account, amount in found.items() if amount}


@pytest.mark.parametrize("source", [OPEN, CLOSED])
def test_transactions_leave_the_ledgers_balances(source: Table) -> None:
    """Wallets end with what is available, their held side with what is held, the rest as is."""
    expected = {}
    for path, account in source.book.ledger.accounts.items():
        if path.startswith(("limit:", "used:", "equity:limit")):
            continue
        if path.startswith("assets:"):
            expected[path] = account.available
            expected[path.replace("budget", "held")] = account.credit_pending
        else:
            expected[path] = account.balance
    found = balances(source.entries)
    assert found == {path: amount for path, amount in expected.items() if amount}
    plain = balances(source.entries, holds=False)
    assert plain == {
        path: account.balance
        for path, account in source.book.ledger.accounts.items()
        if not path.startswith(("limit:", "used:", "equity:limit")) and account.balance
    }


def test_every_kind_of_transfer_is_exported() -> None:
    """Voids, expiries and reversals come out with the books they leave."""
    books = Ledger()
    entries = list(turns(60, ledger=books))
    found = balances(entries, holds=False)
    assert found == {path: a.balance for path, a in books.accounts.items() if a.balance}


def test_the_journal_declares_before_it_uses() -> None:
    """Every account, payee and currency has its directive above its first use."""
    known: set[str] = set()
    for line in "".join(journal(OPEN.entries)).splitlines():
        declared = re.match(r"(account|payee|commodity) (.+)", line)
        used = re.match(r"    ([a-z][\w:.-]+)  -?\d", line)
        payee = re.match(r"\d{4}-\d\d-\d\d \* \(\d+\) (\w+)$", line)
        if declared:
            known.add(declared[2])
        if used:
            assert used[1] in known
        if payee:
            assert payee[1] in known


def test_beancount_names_are_never_shared() -> None:
    """Centres that differ in a sign beancount does not know still have accounts of their own."""
    names = ("a_b", "a.b", "a-b", "A-b", "ä", "-x", "1a")
    source = Table(0, *(Budget(cost_centre=name, amount=MICRO) for name in names))
    text = "".join(beancount(source.entries))
    opened = re.findall(r'open (\S+)\n  path: "assets:budget:(\S+)"', text)
    assert [path for _, path in opened] == list(names)
    assert len({name for name, _ in opened}) == len(names)
    assert all(re.fullmatch(r"Assets:Budget:[A-Z0-9][A-Za-z0-9-]*", name) for name, _ in opened)


def test_beancount_closes_with_every_balance() -> None:
    """Each account has a closing assertion without tolerance."""
    text = "".join(beancount(CLOSED.entries))
    closing = re.findall(r"balance \S+  (-?[\d.]+) ~ 0 USD", text)
    assert sorted(closing) == sorted(
        decimal(amount) for amount in (balances(CLOSED.entries) | _zeros(CLOSED)).values()
    )


def _zeros(source: Table) -> dict[str, int]:
    used = {p.account for item in transactions(source.entries) for p in item.postings}
    return dict.fromkeys(used - set(balances(source.entries)), 0)


def test_focus_rows_add_up_to_the_expense_accounts() -> None:
    """Billed and effective cost by cost centre and provider are the accounts' balances."""
    for name in ("BilledCost", "EffectiveCost"):
        found: dict[tuple[str, str], Decimal] = {}
        for row in focus(CLOSED):
            key = row["SubAccountId"], row["ProviderName"]
            found[key] = found.get(key, Decimal(0)) + Decimal(row[name])
        assert found == {key: Decimal(a).scaleb(-6) for key, a in expenses(CLOSED).items()}


def test_focus_prices_times_quantities_are_costs() -> None:
    """Unit price x quantity is the list and contracted cost in exact decimals, which are within a
    micro-dollar and rounding of the quantity of what was billed."""
    rows = focus(CLOSED)
    assert len(rows) > 40
    for row in rows:
        quantity = Decimal(row["PricingQuantity"])
        assert Decimal(row["ListUnitPrice"]) * quantity == Decimal(row["ListCost"])
        cost = Decimal(row["ContractedCost"])
        assert Decimal(row["ContractedUnitPrice"]) * quantity == cost
        assert abs(cost - Decimal(row["BilledCost"])) < Decimal("0.000002")
        assert quantity >= Decimal(row["ConsumedQuantity"]) > 0


def test_focus_stretches_are_the_leases_time() -> None:
    """Each row begins before it ends, within its month, and a lease's rows follow on each other."""
    ends: dict[str, str] = {}
    for row in focus(CLOSED):
        assert row["ChargePeriodStart"] < row["ChargePeriodEnd"]
        assert row["BillingPeriodStart"] <= row["ChargePeriodStart"] < row["BillingPeriodEnd"]
        assert ends.get(row["x_Lease"], row["ChargePeriodStart"]) >= row["ChargePeriodStart"]
        ends[row["x_Lease"]] = row["ChargePeriodEnd"]
    assert set(ends) == {"1", "2", "3"}


def test_focus_versions_differ_by_columns() -> None:
    """1.2 has its 57 columns and ours, 1.3 eight more; another version is refused by name."""
    assert list(focus(CLOSED)[0]) == [*COLUMNS_1_2, *OWN_COLUMNS]
    assert len(set(COLUMNS_1_2)) == 57
    newer = focus(CLOSED, "1.3")
    assert list(newer[0]) == [*COLUMNS_1_2, *COLUMNS_1_3, *OWN_COLUMNS]
    assert newer[0]["ServiceProviderName"] == "aws"
    with pytest.raises(BadValue, match=r"1\.2, 1\.3"):
        list(focus_table([], "2.0"))


def test_the_table_has_every_transfer() -> None:
    """CSV rows are the transfers, memorandum pairs included."""
    rows = list(csv.DictReader(io.StringIO("".join(tables.csv_table(OPEN.entries)))))
    transfers = [t for entry in OPEN.entries for t in entry.transfers]
    assert [int(row["amount_micros"]) for row in rows] == [t.amount for t in transfers]
    assert {row["debit"] for row in rows} == {t.debit for t in transfers}


def test_parquet_is_the_same_table(tmp_path: Path, require) -> None:
    """What pyarrow reads back is what the CSV says, numbers as 64-bit integers."""
    try:
        from pyarrow import parquet
    except ImportError:
        require(False, "pyarrow is not installed: pip install pyarrow")
    count = tables.write_parquet(OPEN.entries, tmp_path / "t.parquet")
    found = parquet.read_table(tmp_path / "t.parquet")
    assert found.num_rows == count == sum(len(entry.transfers) for entry in OPEN.entries)
    assert str(found.schema.field("amount_micros").type) == "int64"
    text = "".join(
        tables.csv_lines(found.column_names, zip(*found.to_pydict().values(), strict=True))
    )
    assert text == "".join(tables.csv_table(OPEN.entries))


def test_parquet_without_pyarrow_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A missing library is one line, and no file is left."""

    def missing(name: str) -> None:
        raise ImportError(name)

    monkeypatch.setattr(tables, "import_module", missing)
    db, out = keep(OPEN, tmp_path / "t.db"), tmp_path / "t.parquet"
    arguments = ["export", "--db", str(db), "--format", "parquet", "--out", str(out)]
    with pytest.raises(UserError, match=r"pip install 'spot-treasury\[parquet\]'"):
        CliRunner().invoke(cli, arguments, catch_exceptions=False)
    assert [path.name for path in tmp_path.iterdir() if "parquet" in path.name] == []


@pytest.mark.parametrize("kind", ["focus", "hledger", "ledger", "beancount", "csv"])
def test_the_verb_writes_whole_files(kind: str, tmp_path: Path) -> None:
    """Each format lands in its file, the same text as on stdout; as of an instant it is shorter."""
    db = str(keep(OPEN, tmp_path / "t.db"))
    out = tmp_path / "out"
    base = ["export", "--db", db, "--format", kind]
    assert CliRunner().invoke(cli, [*base, "--out", str(out)]).exit_code == 0
    text = out.read_text(encoding="utf-8")
    assert CliRunner().invoke(cli, [*base, "--out", "-"]).stdout == text
    early = CliRunner().invoke(cli, [*base, "--out", "-", "--as-of", "2026-03-02T18:00:00Z"])
    assert 0 < len(early.stdout) < len(text)
    assert not list(tmp_path.glob("*.part"))


def test_an_export_that_fails_leaves_what_was_there(tmp_path: Path) -> None:
    """A damaged journal stops the export; the file of yesterday is untouched."""
    import sqlite3

    db, out = keep(OPEN, tmp_path / "t.db"), tmp_path / "out"
    out.write_text("yesterday")
    with sqlite3.connect(db) as connection:
        connection.execute("UPDATE journal SET body = 'x' WHERE seq = 20")
    arguments = ["export", "--db", str(db), "--format", "csv", "--out", str(out)]
    assert CliRunner().invoke(cli, arguments).exit_code != 0
    assert out.read_text() == "yesterday"
    assert not list(tmp_path.glob("*.part"))
