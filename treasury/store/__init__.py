"""The store: durable truth behind the `Store` port, and the ledger that many share.

Lives here: the journal and its hash chain, the shared ledger and its writer, the tables,
migrations, the outbox, the lease, verification, archives.
May not live here: decisions, providers, anything that judges a turn by its meaning.

`SqlStore` and `LedgerWriter` are imported when they are asked for: SQLAlchemy takes a tenth of a
second to load, and a sweep that keeps its journal in memory never needs it.
"""

from typing import TYPE_CHECKING, Any

from treasury.store.memory import MemoryStore

if TYPE_CHECKING:
    from treasury.store.sql import SqlStore
    from treasury.store.writer import LedgerWriter


def __getattr__(name: str) -> Any:
    if name == "SqlStore":
        from treasury.store.sql import SqlStore

        return SqlStore
    if name == "LedgerWriter":
        from treasury.store.writer import LedgerWriter

        return LedgerWriter
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


__all__ = ["LedgerWriter", "MemoryStore", "SqlStore"]
