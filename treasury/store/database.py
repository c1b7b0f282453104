"""One way to a database: transactions as functions of a connection, whatever drives it.

A function that is given to `read` or `write` is plain synchronous code in SQLAlchemy Core, and the
same for every database. It may be run on the caller's thread, or on a loop by a driver that waits
asynchronously; it cannot tell, and nothing can be cancelled inside it.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final, Protocol, TypeVar

from sqlalchemy import ColumnElement, Connection, Table
from sqlalchemy.exc import DBAPIError, IntegrityError

from treasury.domain.errors import InvariantBroken, StoreError

T = TypeVar("T")
Work = Callable[[Connection], T]

# Set on a connection whose transactions write: SQLite's take the write lock when they begin, since
# one that reads first and then writes is refused without waiting.
WRITES: Final = "treasury_writes"

_SCHEME: Final = re.compile(r"[a-z][a-z0-9+]*(?=://)")


class Dialect(Protocol):
    """All in which databases differ. One module each: `sqlite`, `postgres`."""

    # What a driver raises, beside SQLAlchemy's own errors.
    ERRORS: tuple[type[Exception], ...]

    def meaning(self, error: BaseException | None) -> str:
        """What an error of the driver says about the database, to follow its name."""
        ...

    def lost(self, error: BaseException, /) -> bool:
        """Whether an error leaves open what became of the transaction."""
        ...

    def now(self) -> ColumnElement[int]:
        """The database's own clock [ns since the epoch]."""
        ...

    def insert(self, table: Table) -> Any:
        """An insert that knows ON CONFLICT."""
        ...

    def among(self, column: ColumnElement[Any], name: str) -> ColumnElement[bool]:
        """Whether a column is in the list bound as `name`; the statement's text is always the
        same, so that the database plans it once."""
        ...

    def listed(self, values: Sequence[Any]) -> Any:
        """A list in the form `among` binds it."""
        ...

    def add_rows(
        self, connection: Connection, table: Table, rows: Sequence[tuple[Any, ...]]
    ) -> None:
        """Insert many rows, each with all columns of the table in their order."""
        ...

    def set_rows(
        self,
        connection: Connection,
        table: Table,
        names: Sequence[str],
        rows: Sequence[tuple[Any, ...]],
    ) -> None:
        """Set columns of many rows. names: the key's, then those that are set, as in each row."""
        ...

    def serialize(self, connection: Connection) -> None:
        """Let no other process migrate until the transaction ends."""
        ...


class Database(Protocol):
    """A database for one thread at a time."""

    name: str
    dialect: Dialect

    def read(self, work: Work[T]) -> T:
        """`work`'s answer, on a connection that holds no snapshot afterwards."""
        ...

    def write(self, work: Work[T]) -> T:
        """`work`'s answer once its transaction is committed, or its error and nothing written."""
        ...

    def release(self) -> None:
        """Let go of connections; the next use opens new ones."""
        ...

    def close(self) -> None:
        """Let go of the database."""
        ...


class AsyncDatabase(Protocol):
    """A database for the callers of one event loop."""

    name: str
    dialect: Dialect

    async def transact(self, work: Work[T], *, writes: bool) -> T:
        """`work`'s answer once its transaction is committed, or its error and nothing written.
        Transactions that write come one after the other."""
        ...

    async def close(self) -> None:
        """Let go of the database."""
        ...


def open_database(url: str, *, durable: bool, read_only: bool) -> Database:
    """The database of a URL or path; it is not opened yet. Raises StoreError."""
    if _kind(url) == "sqlite":
        from treasury.store import sqlite

        return sqlite.SqliteDatabase(url, durable=durable, read_only=read_only)
    from treasury.store import postgres

    return postgres.PostgresDatabase(url, durable=durable, read_only=read_only)


@contextmanager
def guard(database: Database, doing: str) -> Iterator[None]:
    """The driver's errors as ours: what is wrong with the database, and what came of `doing`."""
    dialect = database.dialect
    failures: tuple[type[Exception], ...] = (DBAPIError, OverflowError, *dialect.ERRORS)
    try:
        yield
    except IntegrityError as error:
        raise InvariantBroken(f"{database.name}: {doing}: {error.orig}") from error
    except failures as error:
        cause = dialect.meaning(getattr(error, "orig", error))
        came = "its outcome is unknown" if dialect.lost(error) else "nothing was written"
        raise StoreError(f"{database.name} {cause} ({doing}: {came})") from error


def open_async(url: str, *, durable: bool) -> AsyncDatabase:
    """The database of a URL or path, for callers of one loop; it is not opened yet.
    Raises StoreError."""
    if _kind(url) == "sqlite":
        from treasury.store import sqlite

        return sqlite.SqliteThreads(url, durable=durable)
    from treasury.store import postgres

    return postgres.PostgresLoop(url, durable=durable)


def _kind(url: str) -> str:
    """Which database a URL means. Raises StoreError for one we do not speak."""
    found = _SCHEME.match(url)
    scheme = found[0].partition("+")[0] if found else "sqlite"
    if scheme in {"postgresql", "postgres"}:
        return "postgres"
    if scheme == "sqlite":
        return scheme
    raise StoreError(
        f'{url!r} names no database we speak: expected a path, "sqlite:///path"'
        ' or "postgresql://user@host/database"'
    )
