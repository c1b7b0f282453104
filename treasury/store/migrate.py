"""The schema's version: a new database is built, an older one migrated, a newer one refused."""

import time
import uuid
from pathlib import Path
from typing import Final

from sqlalchemy import Connection, insert, inspect, select, update

from treasury.domain.errors import StoreError
from treasury.store.database import Dialect
from treasury.store.tables import INSTALL

# The newest schema this code knows; revision `v%04d` of the migrations builds it.
SCHEMA: Final = 2
MIGRATIONS: Final = Path(__file__).parent / "migrations"


def version(connection: Connection, name: str) -> int:
    """The schema of a database, 0 for an empty one. Raises StoreError for one we cannot use."""
    tables = inspect(connection).get_table_names()
    if not tables:
        return 0
    if INSTALL.name not in tables:
        raise StoreError(f"{name} is a database of something else: it has no treasury tables")
    found = connection.execute(select(INSTALL.c.schema_version)).scalar()
    if not isinstance(found, int) or found < 1:
        raise StoreError(f"{name} is damaged: its schema version is {found!r}")
    if found > SCHEMA:
        raise StoreError(
            f"{name} was made by a newer treasury (schema {found}, this one knows {SCHEMA}):"
            " use that one, or another file"
        )
    return found


def too_old(name: str, found: int) -> str:
    """Why a database of an older schema cannot be read without being migrated."""
    if not found:
        return f"{name} is empty: nothing was ever written to it"
    return (
        f"{name} was made by an older treasury (schema {found}, this one knows {SCHEMA}):"
        " it is migrated when a run writes to it"
    )


def upgrade(connection: Connection, dialect: Dialect, name: str) -> None:
    """Bring a database to SCHEMA within the connection's transaction. Raises StoreError."""
    dialect.serialize(connection)
    found = version(connection, name)
    if found != SCHEMA:
        _run_alembic(connection)
    if not found:
        row = {
            # A database is made once, by a person, at the machine's time; no replay reads this.
            "id": uuid.uuid4().hex,  # noqa: TID251 - as above
            "created_at": time.time_ns(),  # noqa: TID251 - as above
            "schema_version": SCHEMA,
        }
        connection.execute(insert(INSTALL), row)
    # Said also when it changes no row: a file that cannot be written shows itself here.
    older = INSTALL.c.schema_version < SCHEMA
    connection.execute(update(INSTALL).where(older).values(schema_version=SCHEMA))


def _run_alembic(connection: Connection) -> None:
    # Loaded when there is something to do: most openings find the schema current.
    from alembic import command
    from alembic.config import Config

    config = Config(attributes={"connection": connection})
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    command.upgrade(config, f"v{SCHEMA:04d}")
