"""The tables, in portable SQLAlchemy Core. docs/ledger.md explains each column.

`migrations/` builds them; a test holds the two together. Money in micro-units, instants in
nanoseconds since the epoch: both as 64-bit integers, which every database keeps exactly.
"""

from typing import Any

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    ForeignKey,
    Index,
    LargeBinary,
    MetaData,
    SmallInteger,
    Table,
    Text,
    UniqueConstraint,
)

METADATA = MetaData()


class Int64(BigInteger):
    """A 64-bit integer, under the name a database needs to use it as a key without an index."""


def account_columns() -> list[Column[Any]]:
    """An account and its four counters; new columns each time, since a column has one table."""
    counters = ("debit_pending", "debit_posted", "credit_pending", "credit_posted")
    return [
        Column("path", Text, primary_key=True),
        Column("policy", Text, nullable=False),
        Column("currency", Text, nullable=False),
        *(Column(counter, Int64, nullable=False) for counter in counters),
    ]


JOURNAL = Table(
    "journal",
    METADATA,
    Column("seq", Int64, primary_key=True, autoincrement=False),
    Column("at", Int64, nullable=False),
    Column("body", Text, nullable=False),
    Column("prev_hash", LargeBinary, nullable=False),
    Column("hash", LargeBinary, nullable=False),
)

ACCOUNTS = Table(
    "accounts",
    METADATA,
    *account_columns(),
    CheckConstraint("policy IN ('free', 'limited')", name="known_policy"),
    CheckConstraint(
        "debit_pending >= 0 AND debit_posted >= 0 AND credit_pending >= 0 AND credit_posted >= 0",
        name="no_negative_counter",
    ),
    # The last line of defence: it holds even where our own rules should fail.
    CheckConstraint(
        "policy <> 'limited' OR credit_pending + credit_posted <= debit_posted",
        name="no_overspend",
    ),
)

TRANSFERS = Table(
    "transfers",
    METADATA,
    Column("id", Int64, primary_key=True, autoincrement=False),
    Column("seq", Int64, ForeignKey("journal.seq"), nullable=False),
    Column("kind", Text, nullable=False),
    Column("debit", Text, ForeignKey("accounts.path"), nullable=False),
    Column("credit", Text, ForeignKey("accounts.path"), nullable=False),
    Column("amount", Int64, nullable=False),
    Column("currency", Text, nullable=False),
    Column("refers", Int64, ForeignKey("transfers.id")),
    Column("lease", Int64),
    Column("event_at", Int64, nullable=False),
    Column("reason", Text, nullable=False),
    # A hold is resolved once and a transfer reversed once, by construction.
    UniqueConstraint("refers", name="resolved_once"),
    CheckConstraint("debit <> credit", name="two_sides"),
    CheckConstraint("amount > 0 OR (amount = 0 AND kind = 'post')", name="positive_amount"),
    CheckConstraint(
        "kind IN ('direct', 'hold') AND refers IS NULL"
        " OR kind IN ('post', 'void', 'expire', 'reversal') AND refers IS NOT NULL",
        name="refers_by_kind",
    ),
)

OUTBOX = Table(
    "outbox",
    METADATA,
    Column("seq", Int64, ForeignKey("journal.seq"), primary_key=True, autoincrement=False),
    Column("idx", Int64, primary_key=True, autoincrement=False),
    Column("kind", Text, nullable=False),
    Column("body", Text, nullable=False),
    Column("delivered", SmallInteger, nullable=False),
    CheckConstraint("delivered IN (0, 1)", name="delivered_or_not"),
)

# One row: which installation this is, and which schema its tables have.
INSTALL = Table(
    "install",
    METADATA,
    Column("id", Text, primary_key=True),
    Column("schema_version", Int64, nullable=False),
    Column("created_at", Int64, nullable=False),
)

# Who may write, by role. epoch: rises with each change of holder; an older one cannot write.
LEASE = Table(
    "lease",
    METADATA,
    Column("role", Text, primary_key=True),
    Column("holder", Text, nullable=False),
    Column("epoch", Int64, nullable=False),
    Column("expires_at", Int64, nullable=False),
)

# What start-up asks for: few rows of a table that only grows.
Index("outbox_delivered", OUTBOX.c.delivered, OUTBOX.c.seq, OUTBOX.c.idx)
