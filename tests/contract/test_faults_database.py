"""Faults of PostgreSQL that no other test provokes: deadlocks, a server gone read-only, poolers."""

import socket
import struct
import threading
from collections.abc import Callable

import pytest

from tests.support.books import turns
from tests.support.postgres import execute
from treasury.domain.errors import StoreError
from treasury.store import SqlStore
from treasury.store.verify import verify


@pytest.fixture
def url(postgres: Callable[[], str]) -> str:
    """An empty database on the test run's server."""
    return postgres()


@pytest.mark.parametrize(
    ("state", "message"),
    [
        ("deadlock_detected", "refuses"),
        ("serialization_failure", "refuses"),
        ("disk_full", "the disk is full"),
        ("query_canceled", "took longer than it may"),
    ],
)
def test_a_turn_the_server_gave_up_can_be_written_again(url: str, state: str, message: str) -> None:
    """A deadlock, a conflict, a full disk, a time-out: the turn is refused whole and named, and the
    very same one is taken when the reason is gone."""
    store = SqlStore.open(url)
    first, second, third = turns(3)
    store.append(first)
    execute(
        url,
        "CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS "
        f"$$ BEGIN RAISE EXCEPTION USING ERRCODE = '{state}'; END $$",
    )
    execute(
        url,
        "CREATE TRIGGER fail BEFORE INSERT ON transfers FOR EACH ROW EXECUTE FUNCTION fail()",
    )
    with pytest.raises(StoreError, match=rf"{message}.*committing turn 2: nothing was written"):
        store.append(second)
    assert store.last()[0] == 1
    execute(url, "DROP TRIGGER fail ON transfers")
    store.append(second)
    store.append(third)
    assert verify(store).findings == ()
    store.close()


def test_a_server_that_becomes_read_only_loses_nothing(url: str) -> None:
    """New sessions may not write, as on a standby that was promoted the other way round: the turn
    is refused with the reason, and taken when the server is itself again."""
    store = SqlStore.open(url)
    first, second = turns(2)
    store.append(first)
    ((name,),) = execute(url, "SELECT current_database()")
    execute(url, f"ALTER DATABASE {name} SET default_transaction_read_only = on")
    # Sessions that are open know nothing of it.
    store.database.release()
    with pytest.raises(StoreError, match=r"is read-only here \(committing turn 2"):
        store.append(second)
    execute(
        url,
        "SET default_transaction_read_only = off",
        f"ALTER DATABASE {name} RESET default_transaction_read_only",
    )
    store.append(second)
    assert verify(store).findings == ()
    store.close()


def test_a_pooler_that_passes_no_limits_on_is_refused_when_opened() -> None:
    """Limits on locks, statements and silence are asked for when a session begins. A pooler that
    shares sessions answers that it does not know them: an error then, not a session without."""
    asked: list[bytes] = []
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        connection, _ = listener.accept()
        with connection:
            while True:
                (size,) = struct.unpack("!I", connection.recv(4))
                body = connection.recv(size - 4)
                if size != 8:
                    break
                # No encryption here.
                connection.sendall(b"N")
            asked.append(body)
            fields = b"SFATAL\0C08P01\0Munsupported startup parameter: lock_timeout\0\0"
            connection.sendall(b"E" + struct.pack("!I", len(fields) + 4) + fields)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    port = listener.getsockname()[1]
    with pytest.raises(StoreError, match=r"cannot be reached|unsupported startup parameter"):
        SqlStore.open(f"postgresql://u@127.0.0.1:{port}/db")
    thread.join(10)
    listener.close()
    for name in (b"lock_timeout", b"statement_timeout", b"idle_in_transaction_session_timeout"):
        assert name in asked[0]
