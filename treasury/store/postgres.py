"""All that is PostgreSQL's own: connecting, settings it must have, what its errors mean.

asyncpg waits asynchronously. `PostgresDatabase` gives it a loop on a thread of its own, so that
synchronous code, in a coroutine or not, has the same database as the writer, which brings its loop.
"""

import asyncio
import threading
from collections.abc import Coroutine, Sequence
from concurrent.futures import wait
from typing import Any, Final, TypeVar

import asyncpg  # type: ignore[import-untyped] # it ships no types
from sqlalchemy import (
    ARRAY,
    BigInteger,
    ColumnElement,
    Connection,
    Table,
    any_,
    bindparam,
    cast,
    event,
    extract,
    func,
    literal,
    make_url,
    text,
)
from sqlalchemy.dialects.postgresql import Insert, insert
from sqlalchemy.engine import URL
from sqlalchemy.exc import ArgumentError, DataError, DBAPIError, IntegrityError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.util import await_only

from treasury.domain.errors import StoreError
from treasury.store.database import WRITES, Dialect, Work

T = TypeVar("T")

OLDEST: Final = 15
# How long to wait for a lock, a statement, a client that is silent inside a transaction [ms].
_TIMEOUTS: Final = {
    "lock_timeout": "10000",
    "statement_timeout": "60000",
    "idle_in_transaction_session_timeout": "60000",
}
_CONNECT_SECONDS: Final = 10.0
# Without these a commit that was acknowledged may be gone after a crash.
_NEEDED: Final = ("fsync", "synchronous_commit", "full_page_writes")
# Any number that no other user of the database locks: who migrates holds it.
_MIGRATING: Final = 0x7265_6173

_MEANING: Final = (
    ("53100", "cannot grow: the disk is full"),
    ("53300", "has no connection left"),
    ("25006", "is read-only here"),
    ("55P03", "is locked by another process"),
    ("57014", "took longer than it may"),
    ("57P", "is shutting down or starting"),
    ("28", "does not let this user in"),
    ("42501", "does not let this user in"),
    ("3D000", "does not exist: create it first"),
    ("XX00", "is damaged: restore a backup"),
    ("08", "cannot be reached"),
)


class PostgresDialect:
    """PostgreSQL's part of `Dialect`."""

    ERRORS: tuple[type[Exception], ...] = (
        asyncpg.PostgresError,
        asyncpg.InterfaceError,
        OSError,
        TimeoutError,
    )

    def meaning(self, error: BaseException | None) -> str:
        """What an error of the driver says about the database, to follow its name."""
        state = getattr(error, "sqlstate", None) or ""
        for prefix, meaning in _MEANING:
            if state.startswith(prefix):
                return meaning
        if isinstance(error, OSError | TimeoutError | asyncpg.InterfaceError):
            return f"cannot be reached: {error or type(error).__name__}"
        # The driver's wrapper begins with the class it wraps.
        return f"refuses: {str(error).rpartition('>: ')[2]}"

    def lost(self, error: BaseException, /) -> bool:
        """Whether the connection went, and with it the answer."""
        if isinstance(error, DBAPIError):
            return error.connection_invalidated or self._lost(error.orig)
        return self._lost(error)

    def _lost(self, error: BaseException | None) -> bool:
        state = getattr(error, "sqlstate", None)
        if isinstance(state, str):
            return state.startswith(("08", "57P"))
        return isinstance(error, self.ERRORS) or "connection" in str(error)

    def now(self) -> ColumnElement[int]:
        """The server's clock [ns], to the microsecond."""
        seconds = extract("epoch", func.clock_timestamp())
        return cast(seconds * literal(1_000_000_000), BigInteger)

    def insert(self, table: Table) -> Insert:
        """An insert that knows ON CONFLICT."""
        return insert(table)

    def among(self, column: ColumnElement[Any], name: str) -> ColumnElement[bool]:
        """Membership in a list that is bound as an array."""
        return column == any_(bindparam(name, type_=ARRAY(column.type)))

    def listed(self, values: Sequence[Any]) -> list[Any]:
        """The list as it is."""
        return list(values)

    def add_rows(
        self, connection: Connection, table: Table, rows: Sequence[tuple[Any, ...]]
    ) -> None:
        """COPY in binary: half the cost of arrays, a third of that of a row at a time."""
        # The transaction is open: whoever adds rows has asked the fence or the schema before.
        driver: Any = connection.connection.driver_connection
        copy = driver.copy_records_to_table(
            table.name, records=rows, columns=[column.name for column in table.columns]
        )
        try:
            await_only(copy)
        except asyncpg.IntegrityConstraintViolationError as error:
            raise IntegrityError(f"COPY {table.name}", None, error) from error
        except (asyncpg.DataError, OverflowError, TypeError) as error:
            raise DataError(f"COPY {table.name}", None, error) from error

    def set_rows(
        self,
        connection: Connection,
        table: Table,
        names: Sequence[str],
        rows: Sequence[tuple[Any, ...]],
    ) -> None:
        """One statement with an array for each column."""
        key, *others = names
        sets = ", ".join(f"{name} = new.{name}" for name in others)
        arrays = _arrays([table.columns[name] for name in names])
        statement = (
            f"UPDATE {table.name} AS old SET {sets}"
            f" FROM unnest({arrays}) AS new ({', '.join(names)}) WHERE old.{key} = new.{key}"
        )
        connection.exec_driver_sql(statement, tuple(map(list, zip(*rows, strict=True))))

    def serialize(self, connection: Connection) -> None:
        """One process migrates, the others wait for it."""
        connection.execute(text("SET LOCAL statement_timeout = 0"))
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _MIGRATING})


DIALECT: Final[Dialect] = PostgresDialect()


def _arrays(columns: Sequence[Any]) -> str:
    """The parameters of a statement that takes each column's values as an array."""
    return ", ".join(
        f"${place}::{_type_of(column.type)}[]" for place, column in enumerate(columns, 1)
    )


def _type_of(kind: Any) -> str:
    return "bigint" if isinstance(kind, BigInteger) else "text"


class PostgresLoop:
    """A database on a server, for the callers of one event loop."""

    dialect = DIALECT

    def __init__(self, url: str, *, durable: bool) -> None:
        """Raises StoreError for a URL that cannot be read."""
        self.name = name_of(url)
        self._engine = connect(url, durable=durable)

    async def transact(self, work: Work[T], *, writes: bool) -> T:
        """See `AsyncDatabase`."""
        async with self._engine.connect() as connection:
            await connection.execution_options(**{WRITES: writes})
            async with connection.begin():
                return await connection.run_sync(work)

    async def close(self) -> None:
        """See `AsyncDatabase`."""
        await self._engine.dispose()


class PostgresDatabase:
    """The same, driven by a loop on a thread of its own."""

    dialect = DIALECT

    def __init__(self, url: str, *, durable: bool, read_only: bool) -> None:
        """Raises StoreError for a URL that cannot be read."""
        self._database = PostgresLoop(url, durable=durable)
        self.name = self._database.name
        self._read_only = read_only
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(
            target=self._loop.run_forever, name="treasury-postgres", daemon=True
        )
        self._thread.start()

    def read(self, work: Work[T]) -> T:
        """See `Database`."""
        return self._call(self._database.transact(work, writes=False))

    def write(self, work: Work[T]) -> T:
        """See `Database`."""
        return self._call(self._database.transact(work, writes=not self._read_only))

    def release(self) -> None:
        """See `Database`."""
        self._call(self._database.close())

    def close(self) -> None:
        """See `Database`."""
        if self._thread.is_alive():
            self.release()
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
            self._loop.close()

    def _call(self, coroutine: Coroutine[Any, Any, T]) -> T:
        future = asyncio.run_coroutine_threadsafe(coroutine, self._loop)
        try:
            return future.result()
        except KeyboardInterrupt:
            # A transaction is not left in the middle: it ends first, one way or the other.
            wait([future])
            raise


def connect(url: str, *, durable: bool) -> AsyncEngine:
    """An engine for a server's database. Opens nothing yet. Raises StoreError.

    durable=False does not wait for the disk: a crash of the server may lose the newest turns.
    """
    place = _place(url)
    arguments: dict[str, Any] = {}
    query = dict(place.query)
    # libpq's name for it; the driver takes the same words under its own.
    if "sslmode" in query:
        arguments["ssl"] = query.pop("sslmode")
    settings = {**_TIMEOUTS, "application_name": "treasury", "timezone": "UTC"}
    # Our statements name rows by their keys. Tables that are young have no statistics yet, and a
    # plan made for an empty table would go on reading all of it.
    settings["enable_seqscan"] = "off"
    if not durable:
        settings["synchronous_commit"] = "off"
    engine = create_async_engine(
        place.set(query=query),
        pool_size=3,
        max_overflow=0,
        connect_args={"timeout": _CONNECT_SECONDS, "server_settings": settings, **arguments},
    )
    name = name_of(url)

    @event.listens_for(engine.sync_engine, "connect")
    def check(connection: Any, _: Any) -> None:
        cursor = connection.cursor()
        wanted = ", ".join(f"current_setting('{setting}')" for setting in _NEEDED)
        cursor.execute(f"SELECT current_setting('server_version_num'), {wanted}")
        version, *found = cursor.fetchone()
        cursor.close()
        if int(version) < OLDEST * 10_000:
            raise StoreError(
                f"{name} is PostgreSQL {int(version) // 10_000}: expected {OLDEST} or newer"
            )
        off = [setting for setting, value in zip(_NEEDED, found, strict=True) if value == "off"]
        if durable and off:
            raise StoreError(
                f"{name} may lose what it acknowledged: expected {off[0]} = on, it is off"
            )

    @event.listens_for(engine.sync_engine, "begin")
    def begin(connection: Connection) -> None:
        if not connection.get_execution_options().get(WRITES, False):
            connection.exec_driver_sql("SET TRANSACTION READ ONLY")

    return engine


def _place(url: str) -> URL:
    try:
        place = make_url(url)
    except (ArgumentError, ValueError) as error:
        raise StoreError(
            'the URL of the database cannot be read: expected "postgresql://user@host/database"'
        ) from error
    if not place.database:
        raise StoreError(
            f"{place.render_as_string()} names no database:"
            ' expected "postgresql://user@host/database"'
        )
    return place.set(drivername="postgresql+asyncpg")


def name_of(url: str) -> str:
    """What messages call the database: its URL without the password."""
    return _place(url).set(drivername="postgresql").render_as_string(hide_password=True)
