"""What PostgreSQL alone can do to the store: settings, locks, crashes, and addresses that lead
nowhere; and that the journal is the same as on SQLite."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from sqlalchemy.exc import OperationalError

from tests.support.books import entry, spend, transfer, turns
from tests.support.postgres import Server, TestDatabase, binaries, execute
from treasury.domain.errors import InvariantBroken, StoreError
from treasury.store import SqlStore, migrate, postgres
from treasury.store.verify import verify
from treasury.store.writer import LedgerWriter


def fill(store: SqlStore, first: int, last: int) -> None:
    """Append turns `first` to `last`."""
    for turn in list(turns(last))[first - 1 :]:
        store.append(turn)


@pytest.fixture
def url(postgres: Callable[[], str]) -> str:
    """An empty database on the test run's server."""
    return postgres()


def test_a_server_that_may_forget_is_refused(require: Callable[[object, str], None]) -> None:
    """With fsync off nothing durable is promised, by store or writer; a replay may still use it."""
    import asyncio

    found = binaries()
    require(found, "no binaries of PostgreSQL")
    assert found is not None
    server = Server(found, "fsync=off")
    try:
        place = server.create()
        for opened in (
            lambda: SqlStore.open(place),
            lambda: asyncio.run(LedgerWriter.open(place, wait=False)),
        ):
            with pytest.raises(StoreError, match="may lose what it acknowledged: expected fsync"):
                opened()
        store = SqlStore.open(place, durable=False)
        fill(store, 1, 3)
        store.close()
    finally:
        server.close()


def test_a_database_that_does_not_wait_is_refused(url: str) -> None:
    """With synchronous_commit off for its sessions a database is not for money."""
    ((name,),) = execute(url, "SELECT current_database()")
    execute(url, f"ALTER DATABASE {name} SET synchronous_commit = off")
    with pytest.raises(StoreError, match="expected synchronous_commit = on, it is off"):
        SqlStore.open(url)


def test_sessions_have_their_limits(url: str) -> None:
    """Every session gives up on locks, on statements, and on a client that falls silent."""
    store = SqlStore.open(url)
    names = ("lock_timeout", "statement_timeout", "idle_in_transaction_session_timeout")
    found = store.database.read(
        lambda connection: [
            connection.exec_driver_sql(f"SHOW {name}").scalar()
            for name in (*names, "synchronous_commit")
        ]
    )
    store.close()
    assert found == ["10s", "1min", "1min", "on"]


def test_the_server_is_killed_under_the_store(own_server: Server) -> None:
    """SIGKILL in the middle of a journal: the turn under way fails with a message, every turn that
    was acknowledged is there when the server is back, and the same store goes on."""
    store = SqlStore.open(own_server.create())
    fill(store, 1, 20)
    own_server.kill()
    with pytest.raises(StoreError, match=r"cannot be reached|shutting down|not known"):
        fill(store, 21, 21)
    own_server.start()
    last = store.last()[0]
    assert last in {20, 21}
    fill(store, last + 1, 30)
    result = verify(store)
    assert (result.turns, result.findings) == (30, ())
    assert list(store.entries()) == list(turns(30))
    store.close()


def test_a_commit_whose_answer_was_lost_is_looked_up(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The connection goes after the commit: the turn counts as written, and is written once. It
    goes before: the turn is reported as not written, and can be appended."""
    store = SqlStore.open(url, durable=False)
    write = store.database.write
    gone = OperationalError("COMMIT", None, Exception(), connection_invalidated=True)

    def committed(work: Any) -> Any:
        write(work)
        raise gone

    def never(_: Any) -> Any:
        raise gone

    monkeypatch.setattr(store.database, "write", committed)
    fill(store, 1, 1)
    monkeypatch.setattr(store.database, "write", never)
    with pytest.raises(StoreError, match="committing turn 2: its outcome is unknown"):
        fill(store, 2, 2)
    monkeypatch.setattr(store.database, "write", write)
    fill(store, 2, 4)
    assert list(store.entries()) == list(turns(4))
    assert verify(store).findings == ()
    store.close()


def test_a_lock_is_waited_for_and_then_named(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody's open transaction holds up a turn for as long as the limit says, and no longer."""
    monkeypatch.setitem(postgres._TIMEOUTS, "lock_timeout", "50")
    store, other = (SqlStore.open(url, durable=False) for _ in range(2))

    def block(connection: Any) -> None:
        connection.exec_driver_sql("LOCK TABLE journal")
        with pytest.raises(StoreError, match=r"is locked by another process \(committing turn 1"):
            fill(store, 1, 1)

    other.database.write(block)
    fill(store, 1, 2)
    store.close()
    other.close()


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("postgresql://u:secret@/db?host=/nowhere", "cannot be reached"),
        ("postgresql://u:secret@localhost:1/db", "cannot be reached"),
        ("postgresql://u:secret@localhost", "names no database"),
        ("postgresql://u:secret@host:port/db", "cannot be read"),
    ],
)
def test_an_address_that_leads_nowhere(address: str, message: str) -> None:
    """The message says what is wrong, and never shows the password."""
    for read_only in (False, True):
        with pytest.raises(StoreError, match=message) as refusal:
            SqlStore.open(address, read_only=read_only)
        assert "secret" not in str(refusal.value)


def test_a_database_that_is_not_there(url: str) -> None:
    """It is not made: that is the business of whoever runs the server."""
    missing = url.replace("/test", "/missing")
    with pytest.raises(StoreError, match="does not exist: create it first"):
        SqlStore.open(missing)


def test_a_store_for_reading_cannot_write(url: str) -> None:
    """The database itself refuses, and an empty one is not filled by looking."""
    with pytest.raises(StoreError, match="is empty"):
        SqlStore.open(url, read_only=True)
    SqlStore.open(url, durable=False).close()
    reader = SqlStore.open(url, read_only=True)
    with pytest.raises(StoreError, match="is read-only here"):
        fill(reader, 1, 1)
    reader.close()


def test_many_open_an_empty_database_at_once(url: str) -> None:
    """One of them builds the tables, the others wait for it."""
    with ThreadPoolExecutor(4) as pool:
        stores = list(pool.map(lambda _: SqlStore.open(url, durable=False), range(4)))
    for store in stores:
        store.close()
    assert execute(url, "SELECT count(*) FROM install") == [(1,)]


def test_foreign_and_future_databases_are_refused(database: TestDatabase) -> None:
    """Tables of something else, and of a treasury yet to come, are not touched."""
    database.run("CREATE TABLE songs (name TEXT)")
    with pytest.raises(StoreError, match="a database of something else"):
        SqlStore.open(database.url)
    database.run("DROP TABLE songs")
    SqlStore.open(database.url, durable=False).close()
    database.run("UPDATE install SET schema_version = 99")
    for read_only in (False, True):
        with pytest.raises(StoreError, match=f"schema 99, this one knows {migrate.SCHEMA}"):
            SqlStore.open(database.url, read_only=read_only)


@pytest.mark.parametrize(
    ("statement", "seq", "check"),
    [
        ("UPDATE journal SET body = replace(body, '700', '701') WHERE seq = 4", 4, "hash chain"),
        ("DELETE FROM outbox WHERE seq = 3", 3, "outbox"),
        ("UPDATE transfers SET amount = 701 WHERE id = 8", 2, "transfers"),
        ("UPDATE accounts SET debit_posted = debit_posted + 1", 5, "balance"),
    ],
)
def test_a_journal_edited_by_hand_is_named(
    database: TestDatabase, statement: str, seq: int, check: str
) -> None:
    """The first broken row is named on each database."""
    store = SqlStore.open(database.url, durable=False)
    fill(store, 1, 5)
    database.run(statement)
    findings = verify(store).findings
    assert (findings[0].check, findings[0].seq) == (check, seq)
    store.close()


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ([spend(100, amount=10**10)], "no_overspend"),
        ([transfer(100, amount=0)], "positive_amount"),
        ([transfer(100, refers=1)], "refers_by_kind"),
        ([transfer(1)], "transfers"),
        ([transfer(100, amount=2**63)], "int64|too large"),
    ],
)
def test_the_tables_have_the_last_word(
    database: TestDatabase, bad: list[Any], message: str
) -> None:
    """What the ledger should never let through is refused by each database, with its turn."""
    store = SqlStore.open(database.url, durable=False)
    fill(store, 1, 5)
    with pytest.raises((InvariantBroken, StoreError), match=message):
        store.append(entry(6, *bad, at=10_000))
    assert store.last()[0] == 5
    assert verify(store).findings == ()
    store.close()
