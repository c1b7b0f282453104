"""`treasury ledger`: what it prints, and how it leaves."""

import csv
import io
import json
import sqlite3
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from tests.support.books import turns
from treasury.cli.ledger import cli
from treasury.domain.errors import BadValue, NotFound, StoreError
from treasury.ledger.ledger import Ledger
from treasury.store import SqlStore

BOOKS = Ledger()
JOURNAL = list(turns(9, ledger=BOOKS))


@pytest.fixture
def db(tmp_path: Path) -> Path:
    """A closed database of nine turns."""
    store = SqlStore.open(tmp_path / "t.db", durable=False)
    for turn in JOURNAL:
        store.append(turn)
    store.close()
    return tmp_path / "t.db"


def run(db: Path, *arguments: str, code: int = 0) -> Result:
    """The command's result, which must have left with `code`."""
    result = CliRunner().invoke(cli, list(arguments), env={"TREASURY_DB": str(db)})
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == code, result.output
    return result


def test_balance_shows_every_micro_dollar(db: Path) -> None:
    """Each account is printed with its unit, and debits equal credits in the total."""
    lines = run(db, "balance").stdout.splitlines()
    assert lines[0] == f"Trial balance of {db}"
    assert len(lines) == 2 + len(BOOKS.accounts) + 1
    red = next(line for line in lines if line.startswith("assets:budget:red"))
    account = BOOKS.account("assets:budget:red")
    assert f"{account.balance // 10**6}.{account.balance % 10**6:06d} USD" in red
    total = lines[-1].split("USD")
    assert total[0].split()[-1] == total[1].strip()
    assert total[2].strip() == total[3].strip() == "0.000700"


def test_balance_for_programs_is_in_micro_units(db: Path) -> None:
    """JSON has whole numbers, equal to the ledger's; a prefix selects accounts."""
    rows = json.loads(run(db, "balance", "-o", "json").stdout)
    assert {row["account"]: row["balance"] for row in rows} == {
        path: account.balance for path, account in BOOKS.accounts.items()
    }
    wallets = list(
        csv.DictReader(io.StringIO(run(db, "balance", "--account", "assets:", "-o", "csv").stdout))
    )
    assert [row["account"] for row in wallets] == [
        "assets:budget:blue",
        "assets:budget:green",
        "assets:budget:red",
    ]
    assert {row["available"] for row in wallets} == {
        str(BOOKS.available(row["account"])) for row in wallets
    }
    with pytest.raises(NotFound, match="no account that begins with 'assets:x'"):
        run(db, "balance", "--account", "assets:x")


def test_journal_tells_what_happened(db: Path) -> None:
    """Facts, transfers and commands of a turn come in their order, money with its unit."""
    rows = json.loads(run(db, "journal", "--after", "7", "--limit", "8", "-o", "json").stdout)
    turn = JOURNAL[7]
    assert [row["kind"] for row in rows] == [
        "lease_ready",
        "lease_releasing",
        "lease_ended",
        *(transfer.kind.value for transfer in turn.transfers),
        "release",
    ]
    assert {row["turn"] for row in rows} == {8}
    assert {row["at_ns"] for row in rows} == {turn.at}
    assert json.loads(rows[1]["detail"]) == {"lease": 8, "cause": "löst – „fertig“"}
    post = turn.transfers[0]
    assert rows[3]["detail"] == (
        f"#{post.id} 0.000108 USD from {post.credit} to {post.debit} (metered), of #{post.refers},"
        f" lease 7"
    )


def test_journal_can_be_read_on(db: Path) -> None:
    """Turns are shown whole, and the place to go on from is said."""
    first = run(db, "journal", "--limit", "10")
    assert "There is more: --after 1\n" in first.stderr
    shown = [
        row["turn"] for row in json.loads(run(db, "journal", "--after", "8", "-o", "json").stdout)
    ]
    assert set(shown) == {9}
    assert run(db, "journal").stderr == ""


def test_journal_of_one_kind(db: Path) -> None:
    """Only rows of the kind asked for; a kind that does not exist is a user's mistake."""
    rows = json.loads(run(db, "journal", "--kind", "hold", "-o", "json").stdout)
    holds = [t for turn in JOURNAL for t in turn.transfers if t.kind.value == "hold"]
    assert len(rows) == len(holds)
    assert {row["kind"] for row in rows} == {"hold"}
    with pytest.raises(BadValue, match=r"--kind 'hodl' .* one of acquire, .*action_refused"):
        run(db, "journal", "--kind", "hodl")


def test_verify_says_what_was_checked(db: Path) -> None:
    """Good books leave with 0 and the journal's hash; programs get an empty list."""
    store = SqlStore.open(db, read_only=True)
    last = store.last()[1].hex()
    store.close()
    count = sum(len(turn.transfers) for turn in JOURNAL)
    said = run(db, "verify").stdout
    assert said == f"{db}: 9 turns and {count} transfers verified, journal hash {last}\n"
    assert json.loads(run(db, "verify", "-o", "json").stdout) == []


def test_verify_names_the_first_broken_row(db: Path) -> None:
    """A changed row leaves with 1, named by turn and transfer on stderr and in the table."""
    connection = sqlite3.connect(db)
    connection.execute("UPDATE transfers SET amount = 701 WHERE id = 8")
    connection.commit()
    connection.close()
    result = run(db, "verify", code=1)
    assert result.stderr == (
        f"{db}: 1 broken; the first is turn 2, transfer 8:"
        " transfers: row 8: amount is 701, the journal says 700\n"
    )
    assert "row 8: amount is 701" in result.stdout
    rows = json.loads(run(db, "verify", "-o", "json", code=1).stdout)
    assert [(row["check"], row["turn"], row["transfer"]) for row in rows] == [("transfers", 2, 8)]


@pytest.mark.parametrize("verb", ["balance", "journal", "verify"])
def test_looking_makes_no_database(tmp_path: Path, verb: str) -> None:
    """A wrong path is an error that names it, and no file appears."""
    with pytest.raises(StoreError, match="does not exist"):
        run(tmp_path / "t.db", verb)
    assert list(tmp_path.iterdir()) == []
