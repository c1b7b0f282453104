"""Run by Alembic: migrates on its caller's connection, within its caller's transaction."""

from alembic import context

from treasury.store.ledger_tables import METADATA

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=METADATA,
    # SQLite cannot alter a table in place; batch mode copies it.
    render_as_batch=True,
)
context.run_migrations()
