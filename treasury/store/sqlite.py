"""All that is SQLite's own: connecting, pragmas, how a transaction begins, what its errors mean."""

import asyncio
import json
import sqlite3
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final, TypeVar
from urllib.parse import quote

from sqlalchemy import (
    ColumnElement,
    Connection,
    Engine,
    Integer,
    Table,
    bindparam,
    cast,
    create_engine,
    event,
    func,
    literal,
    select,
)
from sqlalchemy.dialects.sqlite import Insert, insert
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.pool import NullPool

from treasury.domain.errors import StoreError
from treasury.store.database import WRITES, Dialect, Work
from treasury.store.tables import Int64

T = TypeVar("T")

# How long a statement waits for another process's transaction.
BUSY_SECONDS: Final = 10.0
# The Julian day of 1970-01-01T00:00Z, and the milliseconds of a day: SQLite's clock has no finer.
_EPOCH_DAY: Final = 2440587.5
_DAY_MS: Final = 86_400_000

_MEANING: Final = (
    ("SQLITE_BUSY", "is locked by another process"),
    ("SQLITE_LOCKED", "is locked by another process"),
    ("SQLITE_FULL", "cannot grow: the disk is full or a size limit is reached"),
    ("SQLITE_READONLY", "is read-only here"),
    ("SQLITE_PERM", "may not be opened by this user"),
    ("SQLITE_AUTH", "may not be opened by this user"),
    ("SQLITE_NOTADB", "is not a database"),
    ("SQLITE_CORRUPT", "is damaged: restore a backup"),
    ("SQLITE_CANTOPEN", "cannot be opened: its folder or its -wal and -shm files may be missing"),
    ("SQLITE_IOERR", "cannot be read or written: the disk or a size limit refuses"),
)


@compiles(Int64, "sqlite")
def _int64(*_: Any, **__: Any) -> str:
    # Only under this name is a key the row's own number instead of a second tree.
    return "INTEGER"


class SqliteDialect:
    """SQLite's part of `Dialect`."""

    ERRORS: tuple[type[Exception], ...] = (sqlite3.Error,)

    def meaning(self, error: BaseException | None) -> str:
        """What an error of the driver says about the database, to follow its name."""
        name = getattr(error, "sqlite_errorname", None) or ""
        for prefix, text in _MEANING:
            if name.startswith(prefix):
                return text
        return f"refuses: {error}"

    def lost(self, _error: BaseException, /) -> bool:
        """There is no connection that could be lost: a commit's answer always comes."""
        return False

    def now(self) -> ColumnElement[int]:
        """The machine's clock [ns], to the millisecond."""
        days = func.julianday("now") - literal(_EPOCH_DAY)
        return cast(days * literal(_DAY_MS), Integer) * literal(1_000_000)

    def insert(self, table: Table) -> Insert:
        """An insert that knows ON CONFLICT."""
        return insert(table)

    def among(self, column: ColumnElement[Any], name: str) -> ColumnElement[bool]:
        """Membership in a list that is bound as JSON."""
        return column.in_(select(func.json_each(bindparam(name)).table_valued("value").c.value))

    def listed(self, values: Sequence[Any]) -> str:
        """The list as JSON."""
        return json.dumps(values)

    def add_rows(
        self, connection: Connection, table: Table, rows: Sequence[tuple[Any, ...]]
    ) -> None:
        """One prepared statement, run for each row."""
        marks = ", ".join("?" * len(table.columns))
        connection.exec_driver_sql(f"INSERT INTO {table.name} VALUES ({marks})", list(rows))

    def set_rows(
        self,
        connection: Connection,
        table: Table,
        names: Sequence[str],
        rows: Sequence[tuple[Any, ...]],
    ) -> None:
        """One prepared statement, run for each row."""
        sets = ", ".join(f"{name} = ?{place}" for place, name in enumerate(names[1:], 2))
        statement = f"UPDATE {table.name} SET {sets} WHERE {names[0]} = ?1"
        connection.exec_driver_sql(statement, list(rows))

    def serialize(self, connection: Connection) -> None:
        """A transaction that writes has the database to itself."""


DIALECT: Final[Dialect] = SqliteDialect()


class SqliteDatabase:
    """A database file, driven on the caller's thread."""

    dialect = DIALECT

    def __init__(self, url: str, *, durable: bool, read_only: bool) -> None:
        """Raises StoreError for a path that cannot hold a database or has none."""
        path = path_of(url)
        check_file(path, must_exist=read_only)
        self.name = str(path)
        self.engine = connect(path, durable=durable, read_only=read_only)
        self._path = path
        self._file: tuple[int, int] | None = None
        self._writer: Connection | None = None

    def read(self, work: Work[T]) -> T:
        """See `Database`."""
        self._check_same()
        with self.engine.connect() as connection:
            return work(connection)

    def write(self, work: Work[T]) -> T:
        """See `Database`."""
        self._check_same()
        if self._writer is None:
            self._writer = self.engine.connect().execution_options(**{WRITES: True})
        with self._writer.begin():
            return work(self._writer)

    def _check_same(self) -> None:
        """Raise StoreError when the file at the path is not the one this began with: SQLite would
        go on writing to one that nobody can open any more, or begin an empty one."""
        try:
            found = self._path.stat()
        except OSError:
            file = None
        else:
            file = found.st_dev, found.st_ino
        if self._file is None:
            self._file = file
        elif file != self._file:
            raise StoreError(
                f"{self.name} was deleted or replaced while it was in use; nothing was written:"
                " put the file back and start again"
            )

    def release(self) -> None:
        """See `Database`."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    def close(self) -> None:
        """See `Database`."""
        self.release()
        self.engine.dispose()


class SqliteThreads:
    """A database file for the callers of one event loop.

    A transaction runs on a thread from its beginning to its end. Were it driven by the loop, code
    that waits for SQLite's one write lock on that same loop would wait for ever.
    """

    dialect = DIALECT

    def __init__(self, url: str, *, durable: bool) -> None:
        """Raises StoreError for a path that cannot hold a database."""
        self._database = SqliteDatabase(url, durable=durable, read_only=False)
        self.name = self._database.name
        self._writer = ThreadPoolExecutor(1, "treasury-sqlite-writer")
        self._reader = ThreadPoolExecutor(1, "treasury-sqlite-reader")

    async def transact(self, work: Work[T], *, writes: bool) -> T:
        """See `AsyncDatabase`."""
        loop = asyncio.get_running_loop()
        if writes:
            return await loop.run_in_executor(self._writer, self._database.write, work)
        return await loop.run_in_executor(self._reader, self._database.read, work)

    async def close(self) -> None:
        """See `AsyncDatabase`."""
        await asyncio.get_running_loop().run_in_executor(self._writer, self._database.close)
        self._writer.shutdown()
        self._reader.shutdown()


def connect(path: Path, *, durable: bool, read_only: bool) -> Engine:
    """An engine for a database file. Opens nothing yet.

    durable=False leaves flushing to the operating system: the death of the process loses nothing,
    the loss of power may lose the newest turns.
    """
    uri = _uri(path, "ro" if read_only else "rwc")

    def open_connection() -> sqlite3.Connection:
        connection = sqlite3.connect(
            uri, uri=True, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False
        )
        # Text that somebody damaged is still read, so that verification can name its row.
        connection.text_factory = lambda raw: raw.decode(errors="surrogateescape")
        try:
            _set_up(connection.execute, durable=durable, read_only=read_only)
        except sqlite3.Error:
            connection.close()
            raise
        return connection

    engine = create_engine("sqlite://", creator=open_connection, poolclass=NullPool)
    event.listen(engine, "begin", _begin)
    return engine


def _set_up(execute: Callable[[str], Any], *, durable: bool, read_only: bool) -> None:
    """What each connection is told first."""
    execute("PRAGMA foreign_keys = ON")
    execute("PRAGMA trusted_schema = OFF")
    if not read_only:
        execute("PRAGMA journal_mode = WAL")
        execute(f"PRAGMA synchronous = {'FULL' if durable else 'OFF'}")


def _begin(connection: Connection) -> None:
    writes = connection.get_execution_options().get(WRITES, False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def _uri(path: Path, mode: str) -> str:
    return f"file:{quote(str(path))}?mode={mode}"


def path_of(url: str) -> Path:
    """The file a URL or path names. Raises StoreError for a URL without one."""
    scheme, separator, rest = url.partition("://")
    if not separator:
        return Path(url)
    if scheme != "sqlite" or not rest.startswith("/") or rest[1:] in {"", ":memory:"}:
        raise StoreError(f'{url!r} names no database file: expected a path or "sqlite:///path"')
    return Path(rest[1:])


def check_file(path: Path, *, must_exist: bool) -> None:
    """Raises StoreError for a path that cannot hold a database or has none."""
    try:
        is_folder, exists, has_folder = path.is_dir(), path.exists(), path.parent.is_dir()
    except OSError as error:
        raise StoreError(f"{path} cannot be opened: {error.strerror}") from error
    if is_folder:
        raise StoreError(f"{path} is a folder: expected a database file")
    if must_exist and not exists:
        raise StoreError(f"{path} does not exist: expected a database written by treasury")
    if not has_folder:
        raise StoreError(f"{path} cannot be made: there is no folder {path.parent}")
