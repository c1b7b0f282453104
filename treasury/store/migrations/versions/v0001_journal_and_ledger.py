"""Schema 1: the journal, the ledger's accounts and transfers, the outbox, the installation."""

import sqlalchemy as sa
from alembic import op

from treasury.store.tables import Int64

revision = "v0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Build the first tables."""
    _journal()
    _ledger()
    _outbox()


def _number(name: str, *constraints: sa.ForeignKey, null: bool = False) -> sa.Column[int]:
    return sa.Column(name, Int64, *constraints, nullable=null, autoincrement=False)


def _text(name: str, *constraints: sa.ForeignKey) -> sa.Column[str]:
    return sa.Column(name, sa.Text, *constraints, nullable=False)


def _journal() -> None:
    op.create_table(
        "journal",
        _number("seq"),
        _number("at"),
        _text("body"),
        sa.Column("prev_hash", sa.LargeBinary, nullable=False),
        sa.Column("hash", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint("seq"),
    )
    op.create_table(
        "install",
        _text("id"),
        _number("schema_version"),
        _number("created_at"),
        sa.PrimaryKeyConstraint("id"),
    )


def _ledger() -> None:
    op.create_table(
        "accounts",
        _text("path"),
        _text("policy"),
        _text("currency"),
        _number("debit_pending"),
        _number("debit_posted"),
        _number("credit_pending"),
        _number("credit_posted"),
        sa.PrimaryKeyConstraint("path"),
        sa.CheckConstraint("policy IN ('free', 'limited')", name="known_policy"),
        sa.CheckConstraint(
            "debit_pending >= 0 AND debit_posted >= 0"
            " AND credit_pending >= 0 AND credit_posted >= 0",
            name="no_negative_counter",
        ),
        sa.CheckConstraint(
            "policy <> 'limited' OR credit_pending + credit_posted <= debit_posted",
            name="no_overspend",
        ),
    )
    op.create_table(
        "transfers",
        _number("id"),
        _number("seq", sa.ForeignKey("journal.seq")),
        _text("kind"),
        _text("debit", sa.ForeignKey("accounts.path")),
        _text("credit", sa.ForeignKey("accounts.path")),
        _number("amount"),
        _text("currency"),
        _number("refers", sa.ForeignKey("transfers.id"), null=True),
        _number("lease", null=True),
        _number("event_at"),
        _text("reason"),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("refers", name="resolved_once"),
        sa.CheckConstraint("debit <> credit", name="two_sides"),
        sa.CheckConstraint("amount > 0 OR (amount = 0 AND kind = 'post')", name="positive_amount"),
        sa.CheckConstraint(
            "kind IN ('direct', 'hold') AND refers IS NULL"
            " OR kind IN ('post', 'void', 'expire', 'reversal') AND refers IS NOT NULL",
            name="refers_by_kind",
        ),
    )


def _outbox() -> None:
    op.create_table(
        "outbox",
        _number("seq", sa.ForeignKey("journal.seq")),
        _number("idx"),
        _text("kind"),
        _text("body"),
        sa.Column("delivered", sa.SmallInteger, nullable=False),
        sa.PrimaryKeyConstraint("seq", "idx"),
        sa.CheckConstraint("delivered IN (0, 1)", name="delivered_or_not"),
    )
    op.create_index("outbox_delivered", "outbox", ["delivered", "seq", "idx"])
