"""Faults of databases that no other test provokes: swapped files, torn pages, lost turns."""

import asyncio
import shutil
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import event

from tests.support.books import turns
from tests.support.daemon import Hang, Rig, play
from treasury.domain.commands import Acquire
from treasury.domain.errors import Deposed, InvariantBroken, StoreError
from treasury.store import SqlStore, migrate
from treasury.store.verify import verify


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the database is."""
    return tmp_path / "t.db"


@pytest.fixture
def store(path: Path) -> Iterator[SqlStore]:
    """Five turns, and open."""
    store = SqlStore.open(path, durable=False)
    for turn in turns(5):
        store.append(turn)
    yield store
    store.database.close()


def statement(path: Path, *lines: str) -> None:
    """What somebody else does to the file."""
    connection = sqlite3.connect(path)
    for line in lines:
        connection.execute(line)
    connection.commit()
    connection.close()


@pytest.mark.parametrize("how", ["deleted", "replaced"])
def test_a_file_that_is_swapped_in_use_takes_no_more_turns(
    how: str, store: SqlStore, path: Path, tmp_path: Path
) -> None:
    """Deleted, or another put in its place: nothing is read or written any more, and no file is
    begun anew; with the right file back the journal goes on."""
    kept = tmp_path / "kept.db"
    sixth = list(turns(6))[-1]
    # The write-ahead log belongs to its file: move them together, as a person would.
    statement(path, "PRAGMA wal_checkpoint(TRUNCATE)")
    path.rename(kept)
    if how == "replaced":
        SqlStore.open(path, durable=False).close()
    for attempt in (lambda: store.append(sixth), store.last, lambda: list(store.entries())):
        with pytest.raises(StoreError, match="was deleted or replaced while it was in use"):
            attempt()
    assert path.exists() is (how == "replaced")
    kept.replace(path)
    for rest in ("-wal", "-shm"):
        Path(f"{path}{rest}").unlink(missing_ok=True)
    store.append(sixth)
    assert verify(store).findings == ()


def test_a_database_that_forgot_its_last_turns_ends_the_process(
    store: SqlStore, path: Path
) -> None:
    """After a failover to a replica that lags, the next turn would leave a gap: it is refused, as
    our own book is ahead of the truth."""
    for name in ("outbox", "transfers", "journal"):
        statement(path, f"DELETE FROM {name} WHERE seq > 3")
    store._forget()  # the connection was lost
    with pytest.raises(InvariantBroken, match="turn 6 cannot follow turn 3"):
        store.append(list(turns(6))[-1])
    assert store.last()[0] == 3


def test_another_server_under_the_same_name_is_not_written_to(store: SqlStore, path: Path) -> None:
    """Where our lease is not, somebody else's data is: the leader is deposed at its next write."""
    assert store.lead("here")
    statement(path, "DELETE FROM lease")
    with pytest.raises(Deposed, match="does not lead"):
        store.append(list(turns(6))[-1])
    assert store.last()[0] == 5


def test_a_database_that_becomes_read_only_loses_nothing(store: SqlStore) -> None:
    """A turn that cannot be written is not, and is taken when the database can be written again."""
    locked = True

    @event.listens_for(store.database.engine, "begin")
    def lock(connection) -> None:
        connection.exec_driver_sql(f"PRAGMA query_only = {'ON' if locked else 'OFF'}")

    sixth = list(turns(6))[-1]
    with pytest.raises(StoreError, match=r"is read-only here .* nothing was written"):
        store.append(sixth)
    assert store.last()[0] == 5
    locked = False
    store.append(sixth)
    assert verify(store).findings == ()


def test_a_damaged_file_is_refused_and_not_made_anew(path: Path) -> None:
    """Pages overwritten in the middle: it is said, and every byte stays where it was."""
    store = SqlStore.open(path, durable=False)
    for turn in turns(200):
        store.append(turn)
    store.close()
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.seek(8192)
        file.write(b"\xa5" * (size - 8192))
    before = path.read_bytes()
    with pytest.raises(StoreError, match="is damaged: restore a backup"):
        SqlStore.open(path, durable=False)
    assert path.read_bytes()[8192:] == before[8192:]


def _as_schema_1(path: Path, old: Path, folder: Path, patch: pytest.MonkeyPatch) -> None:
    """Write the same journal as the first version kept it."""
    first = folder / "migrations"
    shutil.copytree(migrate.MIGRATIONS, first, ignore=shutil.ignore_patterns("v0002*", "__py*"))
    with patch.context() as earlier:
        earlier.setattr(migrate, "MIGRATIONS", first)
        earlier.setattr(migrate, "SCHEMA", 1)
        SqlStore.open(old, durable=False).close()
    copy = [
        f"INSERT INTO {name} SELECT * FROM new.{name}"
        for name in ("journal", "accounts", "transfers", "outbox")
    ]
    connection = sqlite3.connect(old)
    connection.execute("PRAGMA foreign_keys = OFF")
    connection.execute(f"ATTACH '{path}' AS new")
    for line in copy:
        connection.execute(line)
    connection.commit()
    connection.close()


def test_an_upgrade_takes_up_what_the_older_version_had_begun(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The process is killed in a request for a machine, the next one is of a later version: tables
    are migrated, the very same request goes out again, the job runs to its end."""
    old = tmp_path / "old.db"

    async def work(loop):
        first = await Rig(loop, store=SqlStore.open(path, durable=False)).start()
        first.market.fail("acquire", Hang(acts=False))
        await first.agent.submit(first.job())
        await first.until(lambda: first.market.asked(Acquire))
        first.crash()
        last = first.store.last()[0]
        first.store.close()
        _as_schema_1(path, old, tmp_path, monkeypatch)
        store = SqlStore.open(old, durable=False)
        assert [row[:2] for row in store.undelivered()] == [(last, 0)]
        second = await Rig(loop, store=store, market=first.market).start()
        await second.until(lambda: "j" in second.book.ended and not second.book.leases)
        one, other = second.market.asked(Acquire)
        assert one == other
        await asyncio.sleep(5)
        await second.stop()
        assert verify(SqlStore.open(old, read_only=True)).findings == ()

    play(work)
