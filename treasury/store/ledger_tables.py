"""The tables of the shared ledger, in portable SQLAlchemy Core. docs/ledger.md explains them.

They are a set of their own beside the engine's `accounts` and `transfers`, which repeat a journal
that decides alone what is in them.
"""

from sqlalchemy import (
    CheckConstraint,
    Column,
    ForeignKey,
    ForeignKeyConstraint,
    LargeBinary,
    SmallInteger,
    Table,
    Text,
    UniqueConstraint,
)

from treasury.domain.money import MONEY_LIMIT
from treasury.store.tables import METADATA, Int64, account_columns

LEDGER_ACCOUNTS = Table(
    "ledger_accounts",
    METADATA,
    *account_columns(),
    Column("version", Int64, nullable=False),
    UniqueConstraint("path", "currency", name="one_currency"),
    CheckConstraint("policy IN ('free', 'limited')", name="ledger_known_policy"),
    CheckConstraint(
        "debit_pending >= 0 AND debit_posted >= 0 AND credit_pending >= 0 AND credit_posted >= 0",
        name="ledger_no_negative_counter",
    ),
    # It holds even where the writer's own check should fail.
    CheckConstraint(
        "policy <> 'limited' OR credit_pending + credit_posted <= debit_posted",
        name="ledger_no_overspend",
    ),
)

LEDGER_TRANSFERS = Table(
    "ledger_transfers",
    METADATA,
    Column("seq", Int64, primary_key=True, autoincrement=False),
    Column("id", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("debit", Text, nullable=False),
    Column("credit", Text, nullable=False),
    Column("amount", Int64, nullable=False),
    Column("currency", Text, nullable=False),
    Column("refers", Int64, ForeignKey("ledger_transfers.seq")),
    Column("chain", Int64, nullable=False),
    Column("linked", SmallInteger, nullable=False),
    Column("event_at", Int64, nullable=False),
    Column("recorded_at", Int64, nullable=False),
    Column("epoch", Int64, nullable=False),
    Column("reason", Text, nullable=False),
    Column("subject", Text, nullable=False),
    Column("rate", Text),
    UniqueConstraint("id", name="ledger_id_once"),
    # A hold is resolved once and a transfer reversed once, by construction.
    UniqueConstraint("refers", name="ledger_resolved_once"),
    # Both sides are accounts in the transfer's currency, by construction.
    ForeignKeyConstraint(
        ["debit", "currency"],
        ["ledger_accounts.path", "ledger_accounts.currency"],
        name="ledger_debit_account",
    ),
    ForeignKeyConstraint(
        ["credit", "currency"],
        ["ledger_accounts.path", "ledger_accounts.currency"],
        name="ledger_credit_account",
    ),
    CheckConstraint("debit <> credit", name="ledger_two_sides"),
    CheckConstraint(
        f"amount > 0 AND amount <= {MONEY_LIMIT} OR amount = 0 AND kind = 'post'",
        name="ledger_amount",
    ),
    CheckConstraint(
        "kind IN ('direct', 'hold') AND refers IS NULL"
        " OR kind IN ('post', 'void', 'expire', 'reversal') AND refers IS NOT NULL",
        name="ledger_refers_by_kind",
    ),
    CheckConstraint("refers < seq AND chain <= seq", name="ledger_order"),
    CheckConstraint("linked IN (0, 1)", name="ledger_linked_or_not"),
)

# The hash chain over the transfers, a block a row. digests: 32 bytes for each transfer of it.
LEDGER_SEALS = Table(
    "ledger_seals",
    METADATA,
    Column("last_seq", Int64, primary_key=True, autoincrement=False),
    Column("first_seq", Int64, nullable=False),
    Column("prev_hash", LargeBinary, nullable=False),
    Column("hash", LargeBinary, nullable=False),
    Column("digests", LargeBinary, nullable=False),
    UniqueConstraint("first_seq", name="sealed_once"),
    CheckConstraint("first_seq <= last_seq", name="seal_order"),
)

# Periods that were taken out to files. hash: of the last transfer's seal, where the rest begins.
LEDGER_ARCHIVES = Table(
    "ledger_archives",
    METADATA,
    Column("last_seq", Int64, primary_key=True, autoincrement=False),
    Column("first_seq", Int64, nullable=False),
    Column("prev_hash", LargeBinary, nullable=False),
    Column("hash", LargeBinary, nullable=False),
    Column("before", Int64, nullable=False),
    Column("file", Text, nullable=False),
    Column("file_hash", LargeBinary, nullable=False),
)

# The accounts as they were after the newest archive.
LEDGER_OPENINGS = Table(
    "ledger_openings",
    METADATA,
    *account_columns(),
)

# Ids stay taken after their transfers have gone. print: a hash of what was asked for.
LEDGER_SPENT_IDS = Table(
    "ledger_spent_ids",
    METADATA,
    Column("id", Text, primary_key=True),
    Column("seq", Int64, nullable=False),
    Column("links", Int64, nullable=False),
    Column("recorded_at", Int64, nullable=False),
    Column("print", LargeBinary, nullable=False),
)

__all__ = [
    "LEDGER_ACCOUNTS",
    "LEDGER_ARCHIVES",
    "LEDGER_OPENINGS",
    "LEDGER_SEALS",
    "LEDGER_SPENT_IDS",
    "LEDGER_TRANSFERS",
    "METADATA",
]
