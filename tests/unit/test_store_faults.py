"""A database that cannot be used: what is said, and that nothing is lost or half written."""

import json
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Connection, event

from tests.support.books import WALLETS, entry, spend, transfer, turns
from treasury.domain.errors import InvariantBroken, StoreError
from treasury.domain.transfer import Transfer, TransferKind
from treasury.domain.turn import Entry
from treasury.store import SqlStore, migrate, sqlite
from treasury.store.database import WRITES
from treasury.store.verify import verify


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database of five turns, closed."""
    path = tmp_path_factory.mktemp("made") / "t.db"
    store = SqlStore.open(path, durable=False)
    fill(store, list(turns(5)))
    store.close()
    return path


@pytest.fixture
def path(made: Path, tmp_path: Path) -> Path:
    """A copy of it to be used up."""
    return Path(shutil.copy(made, tmp_path / "t.db"))


@pytest.fixture
def store(path: Path) -> Iterator[SqlStore]:
    """The same database, opened."""
    store = SqlStore.open(path, durable=False)
    yield store
    store.close()


def change(path: Path, *statements: str) -> None:
    """What somebody with the sqlite3 shell could do."""
    connection = sqlite3.connect(path)
    for statement in statements:
        connection.execute(statement)
    connection.commit()
    connection.close()


def fill(store: SqlStore, journal: list[Entry]) -> None:
    """Append until something goes wrong."""
    for turn in journal:
        store.append(turn)


def test_a_file_that_is_no_database(tmp_path: Path) -> None:
    """Some other file is named as such and left as it was."""
    path = tmp_path / "notes.txt"
    path.write_text("not a database\n" * 500)
    for read_only in (False, True):
        with pytest.raises(StoreError, match=r"notes\.txt is not a database"):
            SqlStore.open(path, read_only=read_only)
    assert path.read_text() == "not a database\n" * 500


def test_a_database_of_something_else(tmp_path: Path) -> None:
    """Tables of another program are neither used nor added to."""
    path = tmp_path / "other.db"
    change(path, "CREATE TABLE songs (name TEXT)")
    with pytest.raises(StoreError, match="a database of something else"):
        SqlStore.open(path, durable=False)
    connection = sqlite3.connect(path)
    assert connection.execute("SELECT name FROM sqlite_master").fetchall() == [("songs",)]
    connection.close()


@pytest.mark.parametrize("read_only", [False, True])
def test_a_newer_schema_is_refused(path: Path, read_only: bool) -> None:
    """A database of a later version is not touched, and both versions are named."""
    change(path, "UPDATE install SET schema_version = 99")
    with pytest.raises(
        StoreError, match=rf"newer treasury \(schema 99, this one knows {migrate.SCHEMA}\)"
    ):
        SqlStore.open(path, read_only=read_only)


def test_an_older_schema_is_migrated_when_opened(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A later version brings the tables up to date and keeps every turn; a reader leaves it be."""
    later = tmp_path / "migrations"
    shutil.copytree(migrate.MIGRATIONS, later, ignore=shutil.ignore_patterns("__pycache__"))
    (later / "versions" / "v0003_note.py").write_text(
        "import sqlalchemy as sa\n"
        "from alembic import op\n"
        "revision, down_revision = 'v0003', 'v0002'\n"
        "def upgrade():\n"
        "    with op.batch_alter_table('journal') as table:\n"
        "        table.add_column(sa.Column('note', sa.Text))\n"
    )
    monkeypatch.setattr(migrate, "MIGRATIONS", later)
    monkeypatch.setattr(migrate, "SCHEMA", 3)
    with pytest.raises(StoreError, match=r"an older treasury \(schema 2, this one knows 3\)"):
        SqlStore.open(path, read_only=True)
    store = SqlStore.open(path, durable=False)
    assert [turn.seq for turn in store.entries()] == [1, 2, 3, 4, 5]
    store.close()
    connection = sqlite3.connect(path)
    assert connection.execute("SELECT schema_version FROM install").fetchall() == [(3,)]
    columns = [row[1] for row in connection.execute("PRAGMA table_info(journal)")]
    assert columns[-1] == "note"
    connection.close()


def test_a_migration_that_fails_changes_nothing(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half a migration is no migration: the database still opens with the version that made it."""
    later = tmp_path / "migrations"
    shutil.copytree(migrate.MIGRATIONS, later, ignore=shutil.ignore_patterns("__pycache__"))
    (later / "versions" / "v0003_broken.py").write_text(
        "from alembic import op\n"
        "revision, down_revision = 'v0003', 'v0002'\n"
        "def upgrade():\n"
        "    op.execute('CREATE TABLE half (done TEXT)')\n"
        "    op.execute('no such statement')\n"
    )
    with monkeypatch.context() as patch:
        patch.setattr(migrate, "MIGRATIONS", later)
        patch.setattr(migrate, "SCHEMA", 3)
        with pytest.raises(StoreError, match="opening it: nothing was written"):
            SqlStore.open(path, durable=False)
    store = SqlStore.open(path, durable=False)
    assert store.last()[0] == 5
    store.close()
    connection = sqlite3.connect(path)
    assert connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'half'").fetchall() == []
    connection.close()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("n" * 300, "File name too long"),
        ("missing/t.db", "there is no folder"),
        (".", "is a folder"),
        ("postgresql://host", "names no database"),
        ("mysql://host/db", "names no database we speak"),
        ("sqlite://", "names no database file"),
        ("sqlite:///:memory:", "names no database file"),
    ],
)
def test_a_place_that_cannot_hold_a_database(tmp_path: Path, name: str, message: str) -> None:
    """The message says what is wrong with the path or URL."""
    with pytest.raises(StoreError, match=message):
        SqlStore.open(name if ":" in name else tmp_path / name)


def test_reading_makes_no_database(tmp_path: Path) -> None:
    """A path with a slip in it is an error and not an empty journal."""
    with pytest.raises(StoreError, match="does not exist"):
        SqlStore.open(tmp_path / "t.db", read_only=True)
    (tmp_path / "empty.db").touch()
    with pytest.raises(StoreError, match="is empty"):
        SqlStore.open(tmp_path / "empty.db", read_only=True)
    assert [item.name for item in tmp_path.iterdir()] == ["empty.db"]


def test_strange_names_are_names(tmp_path: Path) -> None:
    """Characters that mean something in a URL do not in a path."""
    path = tmp_path / "50% off?#1.db"
    store = SqlStore.open(path, durable=False)
    store.append(entry(1))
    store.close()
    assert [item.name for item in tmp_path.iterdir()] == ["50% off?#1.db"]


def test_a_locked_database(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A turn that cannot be committed is not, and can be appended when the lock is gone."""
    monkeypatch.setattr(sqlite, "BUSY_SECONDS", 0.01)
    store = SqlStore.open(path, durable=False)
    turn = list(turns(6))[5]
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreError, match=r"locked by another process \(committing turn 6: nothing"):
        store.append(turn)
    with pytest.raises(StoreError, match=r"locked by another process \(opening it: nothing"):
        SqlStore.open(path)
    assert store.last()[0] == 5
    other.execute("ROLLBACK")
    other.close()
    store.append(turn)
    assert verify(store).findings == ()
    store.close()


def test_a_second_writer_is_noticed(store: SqlStore, path: Path) -> None:
    """Two agents on one database: the slower one is told, and one journal remains."""
    other = SqlStore.open(path, durable=False)
    sixth, seventh = list(turns(7))[5:]
    other.append(sixth)
    with pytest.raises(StoreError, match="already holds turn 6: another process writes to it"):
        store.append(sixth)
    other.append(seventh)
    assert [turn.seq for turn in other.entries()] == list(range(1, 8))
    assert verify(other).findings == ()
    other.close()


def test_a_store_for_reading_cannot_write(path: Path) -> None:
    """The database itself refuses, whatever is asked of the store."""
    reader = SqlStore.open(path, read_only=True)
    with pytest.raises(StoreError, match="is read-only here"):
        reader.append(entry(6))
    assert reader.last()[0] == 5
    reader.close()


def test_a_read_only_file(path: Path) -> None:
    """A file this user may not write is refused when it is opened, not at the first turn."""
    if os.geteuid() == 0:
        pytest.skip("the superuser may write every file")
    path.chmod(0o444)
    with pytest.raises(StoreError, match="read-only"):
        SqlStore.open(path, durable=False)


def test_a_full_disk_loses_nothing(store: SqlStore) -> None:
    """The turn that does not fit is refused whole; with room again the journal goes on."""
    full = True

    @event.listens_for(store.database.engine, "begin")
    def limit(connection: Connection) -> None:
        # SQLite takes the present size for a smaller one: the next page is one too many.
        if full and connection.get_execution_options().get(WRITES):
            connection.exec_driver_sql("PRAGMA max_page_count = 1")

    journal = list(turns(60))
    with pytest.raises(StoreError) as refusal:
        fill(store, journal[5:])
    last = store.last()[0]
    assert 5 <= last < 60
    assert "the disk is full" in str(refusal.value)
    assert f"committing turn {last + 1}: nothing was written" in str(refusal.value)
    assert verify(store).findings == ()
    with pytest.raises(StoreError, match="the disk is full"):
        store.append(journal[last])
    full = False
    fill(store, journal[last:])
    assert list(store.entries()) == journal
    assert verify(store).findings == ()


CHILD_WITH_A_LIMIT = """
import json, resource, sys
from tests.support.books import turns
from treasury.domain.errors import StoreError
from treasury.store import SqlStore
store = SqlStore.open(sys.argv[1], durable=True)
resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, resource.RLIM_INFINITY))
acknowledged, message = 0, ""
for turn in turns(100_000):
    try:
        store.append(turn)
    except StoreError as error:
        message = str(error)
        break
    acknowledged = turn.seq
store.close()
print(json.dumps([acknowledged, message]))
"""


@pytest.mark.slow
def test_a_size_limit_of_the_system_loses_nothing(tmp_path: Path) -> None:
    """Writes that the kernel refuses: the journal ends at the last acknowledged turn."""
    path = tmp_path / "t.db"
    command = [sys.executable, "-c", CHILD_WITH_A_LIMIT, str(path)]
    run = subprocess.run(command, capture_output=True, text=True, check=True)
    acknowledged, message = json.loads(run.stdout)
    assert acknowledged > 3
    assert f"committing turn {acknowledged + 1}: nothing was written" in message
    store = SqlStore.open(path)
    assert store.last()[0] == acknowledged
    assert verify(store).findings == ()
    store.append(list(turns(acknowledged + 1))[-1])
    assert verify(store).findings == ()
    store.close()


POST, VOID = TransferKind.POST, TransferKind.VOID
NEXT = 100


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ([spend(NEXT, amount=10**10)], "no_overspend"),
        ([spend(NEXT, POST, refers=4)], "no_negative_counter|resolved_once"),
        ([transfer(NEXT, POST, refers=2)], "no hold 2 to resolve"),
        ([transfer(NEXT, amount=0)], "positive_amount"),
        ([transfer(NEXT, debit="equity:funding")], "two_sides"),
        ([transfer(NEXT, refers=1)], "refers_by_kind"),
        ([transfer(1)], "transfers.id"),
        ([transfer(NEXT, amount=2**63)], "too large"),
    ],
)
def test_the_tables_have_the_last_word(store: SqlStore, bad: list[Transfer], message: str) -> None:
    """What the ledger should never let through is refused by the database, and the turn with it."""
    before = store.accounts()
    with pytest.raises((InvariantBroken, StoreError), match=message):
        store.append(entry(6, transfer(NEXT - 1, credit="equity:grant"), *bad, at=10_000))
    assert store.last()[0] == 5
    assert store.accounts() == before
    store.append(entry(6, transfer(NEXT, debit=WALLETS[1]), at=10_000))
    assert verify(store).findings == ()
