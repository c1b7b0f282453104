"""All that is SQLite's own: connecting, pragmas, how a transaction begins, what its errors mean."""

import sqlite3
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.pool import NullPool

from treasury.domain.errors import StoreError
from treasury.store.tables import Int64

# How long a statement waits for another process's transaction.
BUSY_SECONDS: Final = 10.0
# Set on a connection whose transactions write: they take the write lock when they begin, since one
# that reads first and then writes is refused without waiting.
WRITES: Final = "treasury_writes"

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


def connect(path: Path, *, durable: bool, read_only: bool) -> Engine:
    """An engine for a database file. Opens nothing yet.

    durable=False leaves flushing to the operating system: the death of the process loses nothing,
    the loss of power may lose the newest turns.
    """
    mode = "ro" if read_only else "rwc"
    uri = f"file:{quote(str(path))}?mode={mode}"

    def open_connection() -> sqlite3.Connection:
        connection = sqlite3.connect(
            uri, uri=True, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False
        )
        # Text that somebody damaged is still read, so that verification can name its row.
        connection.text_factory = lambda raw: raw.decode(errors="surrogateescape")
        try:
            connection.execute("PRAGMA foreign_keys = ON")
            connection.execute("PRAGMA trusted_schema = OFF")
            if not read_only:
                connection.execute("PRAGMA journal_mode = WAL")
                connection.execute(f"PRAGMA synchronous = {'FULL' if durable else 'OFF'}")
        except sqlite3.Error:
            connection.close()
            raise
        return connection

    engine = create_engine("sqlite://", creator=open_connection, poolclass=NullPool)

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        writes = connection.get_execution_options().get(WRITES, False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine


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


def meaning(error: BaseException | None) -> str:
    """What an error of the driver says about the database, to follow its name."""
    name = getattr(error, "sqlite_errorname", None) or ""
    for prefix, text in _MEANING:
        if name.startswith(prefix):
            return text
    return f"refuses: {error}"
