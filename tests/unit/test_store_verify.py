"""Verification names the first row that somebody changed, whatever they changed."""

import shutil
import sqlite3
from pathlib import Path

import pytest

from tests.support.books import WALLETS, turns
from treasury.domain.errors import StoreError
from treasury.store import SqlStore
from treasury.store.chain import link
from treasury.store.verify import verify

COPY = (
    "INSERT INTO transfers SELECT {}, seq, kind, debit, credit, amount, currency, refers, lease,"
    " event_at, reason FROM transfers WHERE id = 4"
)


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A closed database of nine turns that verifies."""
    path = tmp_path_factory.mktemp("good") / "t.db"
    store = SqlStore.open(path, durable=False)
    for turn in turns(9):
        store.append(turn)
    result = verify(store)
    assert (result.turns, result.findings, result.hash) == (9, (), store.last()[1])
    store.close()
    return path


@pytest.fixture
def path(good: Path, tmp_path: Path) -> Path:
    """A copy of it to be damaged."""
    return Path(shutil.copy(good, tmp_path / "t.db"))


def tamper(path: Path, statement: str, *values: object) -> None:
    """What somebody with the sqlite3 shell and bad intentions could do."""
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA ignore_check_constraints = ON")
    connection.execute(statement, values)
    connection.commit()
    connection.close()


def first_finding(path: Path) -> tuple[str, int, int | None, str]:
    """Check, turn, transfer and message of the first broken row."""
    store = SqlStore.open(path, read_only=True)
    findings = verify(store).findings
    store.close()
    assert findings
    return findings[0].check, findings[0].seq, findings[0].transfer_id, findings[0].message


@pytest.mark.parametrize(
    ("statement", "seq", "message"),
    [
        ("UPDATE journal SET body = replace(body, '700', '701') WHERE seq = 4", 4, "was changed"),
        ("UPDATE journal SET body = body || ' ' WHERE seq = 9", 9, "was changed"),
        ("UPDATE journal SET body = CAST(x'7bff7d' AS TEXT) WHERE seq = 5", 5, "was changed"),
        ("UPDATE journal SET body = x'00' WHERE seq = 5", 5, "was changed"),
        ("UPDATE journal SET at = at + 1 WHERE seq = 6", 6, "its columns differ"),
        ("UPDATE journal SET hash = zeroblob(32) WHERE seq = 3", 3, "was changed"),
        ("UPDATE journal SET prev_hash = zeroblob(32) WHERE seq = 3", 3, "does not follow"),
        ("DELETE FROM journal WHERE seq = 7", 7, "turn 7 is missing: turn 8 comes in its place"),
        ("UPDATE journal SET seq = 70 WHERE seq = 7", 7, "turn 7 is missing"),
    ],
)
def test_a_changed_journal_breaks_the_chain(
    path: Path, statement: str, seq: int, message: str
) -> None:
    """The turn is named by verification, and reading stops in front of it."""
    tamper(path, statement)
    check, found_seq, _, text = first_finding(path)
    assert (check, found_seq) == ("hash chain", seq)
    assert message in text
    store = SqlStore.open(path, read_only=True)
    read: list[int] = []
    with pytest.raises(StoreError, match=f"is damaged: turn {seq} "):
        read.extend(turn.seq for turn in store.entries())
    assert read == list(range(1, seq))
    store.close()


def test_a_forged_chain_does_not_hide_the_money(path: Path) -> None:
    """Rewriting a turn with all hashes after it leaves tables that do not agree with it."""
    connection = sqlite3.connect(path)
    rows = connection.execute("SELECT seq, body, prev_hash FROM journal ORDER BY seq").fetchall()
    prev = rows[0][2]
    for seq, body, _ in rows:
        forged = body.replace('"amount":700', '"amount":701') if seq == 4 else body
        values = (forged, prev, prev := link(prev, forged.encode()), seq)
        connection.execute(
            "UPDATE journal SET body = ?, prev_hash = ?, hash = ? WHERE seq = ?", values
        )
    connection.commit()
    connection.close()
    check, seq, transfer_id, message = first_finding(path)
    assert (check, seq, transfer_id) == ("transfers", 4, 16)
    assert "amount is 700, the journal says 701" in message


@pytest.mark.parametrize(
    ("statement", "check", "seq", "transfer_id", "message"),
    [
        ("UPDATE transfers SET amount = 701 WHERE id = 8", "transfers", 2, 8, "amount is 701"),
        ("UPDATE transfers SET reason = 'x' WHERE id = 8", "transfers", 2, 8, "reason is 'x'"),
        ("UPDATE transfers SET kind = 'no' WHERE id = 8", "transfers", 2, 8, "kind is 'no'"),
        ("UPDATE transfers SET seq = 3 WHERE id = 8", "transfers", 2, 8, "seq is 3"),
        ("UPDATE transfers SET id = 99 WHERE id = 8", "transfers", 2, 8, "row 8 is missing"),
        ("DELETE FROM transfers WHERE id = 8", "transfers", 2, 8, "row 8 is missing"),
        (
            COPY.format(0),
            "transfers",
            1,
            None,
            "row 0 is in no turn",
        ),
        (
            COPY.format(999),
            "transfers",
            1,
            None,
            "row 999 is in no turn",
        ),
        ("UPDATE outbox SET body = '{}' WHERE seq = 5", "outbox", 5, None, "row 5/0: body is"),
        ("UPDATE outbox SET idx = 'x' WHERE seq = 5", "outbox", 5, None, "row 5/0 is missing"),
        ("DELETE FROM outbox WHERE seq = 5", "outbox", 5, None, "row 5/0 is missing"),
        ("INSERT INTO outbox VALUES (3, 1, 'x', 'x', 0)", "outbox", 3, None, "row 3/1 is in no"),
        ("UPDATE accounts SET debit_posted = 1 + debit_posted", "balance", 9, None, "exceed"),
        ("UPDATE accounts SET policy = 'free'", "counters", 9, None, "kept as free"),
        ("UPDATE accounts SET debit_posted = 'much'", "counters", 9, None, "Expected `int`"),
        ("UPDATE accounts SET policy = 'odd'", "counters", 9, None, "Invalid enum value 'odd'"),
        (f"DELETE FROM accounts WHERE path = '{WALLETS[1]}'", "balance", 9, None, "kept posted"),
    ],
)
def test_a_changed_table_is_named(
    path: Path, statement: str, check: str, seq: int, transfer_id: int | None, message: str
) -> None:
    """The journal is the truth: a row beside it that says otherwise is found, with its turn."""
    tamper(path, statement)
    found = first_finding(path)
    assert found[:3] == (check, seq, transfer_id)
    assert message in found[3]


def test_a_cut_journal_is_noticed_by_the_tables(path: Path) -> None:
    """Taking away the newest turns leaves a good chain, and transfers no turn knows of."""
    tamper(path, "DELETE FROM journal WHERE seq > 7")
    check, seq, _, message = first_finding(path)
    assert (check, seq) == ("transfers", 8)
    assert "is in no turn of the journal" in message


def test_reading_on_from_a_turn_that_is_gone(path: Path) -> None:
    """A turn that is missing where reading starts is damage and not the journal's end."""
    tamper(path, "DELETE FROM journal WHERE seq = 7")
    store = SqlStore.open(path, read_only=True)
    with pytest.raises(StoreError, match="turn 7 is missing"):
        next(store.entries(after=7))
    store.close()


def test_delivery_is_no_damage(path: Path) -> None:
    """Marking a command as sent is the outbox's own news."""
    store = SqlStore.open(path, durable=False)
    store.delivered(4, 0)
    assert verify(store).findings == ()
    store.close()


def test_a_damaged_outbox_is_named_when_it_is_read(path: Path) -> None:
    """A command that cannot be read is an error with its turn, and not a crash or a silence."""
    tamper(path, "UPDATE outbox SET body = '{}' WHERE seq = 5")
    store = SqlStore.open(path, durable=False)
    with pytest.raises(StoreError, match="command 0 of turn 5"):
        list(store.undelivered())
    store.close()
