"""The migrations build the tables that the code speaks of."""

import sqlite3
from pathlib import Path

from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import CheckConstraint, create_engine

from treasury.store import SqlStore, migrate, sqlite
from treasury.store.ledger_tables import METADATA


def shape(path: Path) -> dict[str, tuple[object, ...]]:
    """Columns, keys and indices of each table, as the database tells them."""
    connection = sqlite3.connect(path)
    names = [
        row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type='table'")
    ]
    found: dict[str, tuple[object, ...]] = {
        name: (
            connection.execute(f"PRAGMA table_info({name})").fetchall(),
            sorted(connection.execute(f"PRAGMA foreign_key_list({name})").fetchall()),
            sorted(row[1:] for row in connection.execute(f"PRAGMA index_list({name})")),
        )
        for name in names
        if name != "alembic_version"
    }
    connection.close()
    return found


def test_migrations_and_tables_agree(tmp_path: Path) -> None:
    """A database built by the migrations has the columns, keys and checks of `tables.py`."""
    SqlStore.open(tmp_path / "migrated.db", durable=False).close()
    engine = sqlite.connect(tmp_path / "direct.db", durable=False, read_only=False)
    with engine.begin() as connection:
        METADATA.create_all(connection)
    engine.dispose()
    assert shape(tmp_path / "migrated.db") == shape(tmp_path / "direct.db")
    checks = {
        str(constraint.sqltext)
        for table in METADATA.tables.values()
        for constraint in table.constraints
        if isinstance(constraint, CheckConstraint)
    }
    migrated = sqlite3.connect(tmp_path / "migrated.db")
    text = " ".join(
        row[0] for row in migrated.execute("SELECT sql FROM sqlite_master WHERE sql > ''")
    )
    migrated.close()
    assert len(checks) == 11
    assert all(check in text for check in checks)


def test_alembic_sees_nothing_to_do(tmp_path: Path) -> None:
    """Alembic's own comparison finds no difference, and the newest revision is the schema's."""
    SqlStore.open(tmp_path / "t.db", durable=False).close()
    engine = create_engine(f"sqlite:///{tmp_path / 't.db'}")
    with engine.connect() as connection:
        context = MigrationContext.configure(connection)
        assert compare_metadata(context, METADATA) == []
        assert context.get_current_revision() == f"v{migrate.SCHEMA:04d}"
    engine.dispose()


def test_durability_is_a_pragma(tmp_path: Path) -> None:
    """A durable store flushes at each commit; both kinds write ahead and keep foreign keys."""
    for durable, level in ((True, 2), (False, 0)):
        engine = sqlite.connect(tmp_path / "t.db", durable=durable, read_only=False)
        with engine.connect() as connection:
            found = [
                connection.exec_driver_sql(f"PRAGMA {name}").scalar()
                for name in ("journal_mode", "synchronous", "foreign_keys", "trusted_schema")
            ]
        engine.dispose()
        assert found == ["wal", level, 1, 0]


def test_installations_are_told_apart(tmp_path: Path) -> None:
    """Each new database has its own name and birthday, and one of them only."""
    rows = []
    for name in ("a.db", "b.db"):
        SqlStore.open(tmp_path / name, durable=False).close()
        SqlStore.open(tmp_path / name, durable=False).close()
        connection = sqlite3.connect(tmp_path / name)
        rows += connection.execute("SELECT id, schema_version, created_at FROM install").fetchall()
        connection.close()
    assert len(rows) == 2
    assert rows[0][0] != rows[1][0]
    assert all(len(row[0]) == 32 and row[1] == migrate.SCHEMA and row[2] > 10**18 for row in rows)
