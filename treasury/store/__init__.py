"""The store: durable truth behind the `Store` port.

Lives here: the journal and its hash chain, the tables, migrations, the outbox, verification.
May not live here: decisions, providers, anything that judges a turn by its meaning.

`SqlStore` is imported when it is asked for: SQLAlchemy takes a tenth of a second to load, and a
sweep that keeps its journal in memory never needs it.
"""

from typing import TYPE_CHECKING, Any

from treasury.store.memory import MemoryStore

if TYPE_CHECKING:
    from treasury.store.sql import SqlStore


def __getattr__(name: str) -> Any:
    if name == "SqlStore":
        from treasury.store.sql import SqlStore

        return SqlStore
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


__all__ = ["MemoryStore", "SqlStore"]
