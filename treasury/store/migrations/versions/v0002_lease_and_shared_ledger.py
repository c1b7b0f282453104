"""Schema 2: the lease of who may write, and the shared ledger."""

import sqlalchemy as sa
from alembic import op

from treasury.store.tables import Int64

revision = "v0002"
down_revision = "v0001"
branch_labels = None
depends_on = None

_COUNTERS = ("debit_pending", "debit_posted", "credit_pending", "credit_posted")
_ACCOUNT = ("path", "currency")


def upgrade() -> None:
    """Build the tables that are new."""
    op.create_table(
        "lease",
        _text("role"),
        _text("holder"),
        _number("epoch"),
        _number("expires_at"),
        sa.PrimaryKeyConstraint("role"),
    )
    _accounts()
    _transfers()
    _seals()
    _archives()
    if op.get_bind().dialect.name == "sqlite":
        _guard_sqlite()
    else:
        _guard_postgres()


def _number(name: str, *, null: bool = False) -> sa.Column[int]:
    return sa.Column(name, Int64, nullable=null, autoincrement=False)


def _text(name: str, *, null: bool = False) -> sa.Column[str]:
    return sa.Column(name, sa.Text, nullable=null)


def _hash(name: str) -> sa.Column[bytes]:
    return sa.Column(name, sa.LargeBinary, nullable=False)


def _accounts() -> None:
    op.create_table(
        "ledger_accounts",
        *map(_text, ("path", "policy", "currency")),
        *map(_number, _COUNTERS),
        _number("version"),
        sa.PrimaryKeyConstraint("path"),
        sa.UniqueConstraint(*_ACCOUNT, name="one_currency"),
        sa.CheckConstraint("policy IN ('free', 'limited')", name="ledger_known_policy"),
        sa.CheckConstraint(
            "debit_pending >= 0 AND debit_posted >= 0"
            " AND credit_pending >= 0 AND credit_posted >= 0",
            name="ledger_no_negative_counter",
        ),
        sa.CheckConstraint(
            "policy <> 'limited' OR credit_pending + credit_posted <= debit_posted",
            name="ledger_no_overspend",
        ),
    )


def _side(name: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint(
        [name, "currency"],
        [f"ledger_accounts.{column}" for column in _ACCOUNT],
        name=f"ledger_{name}_account",
    )


def _transfers() -> None:
    op.create_table(
        "ledger_transfers",
        _number("seq"),
        *map(_text, ("id", "kind", "debit", "credit")),
        _number("amount"),
        _text("currency"),
        sa.Column("refers", Int64, sa.ForeignKey("ledger_transfers.seq")),
        _number("chain"),
        sa.Column("linked", sa.SmallInteger, nullable=False),
        *map(_number, ("event_at", "recorded_at", "epoch")),
        *map(_text, ("reason", "subject")),
        _text("rate", null=True),
        sa.PrimaryKeyConstraint("seq"),
        sa.UniqueConstraint("id", name="ledger_id_once"),
        sa.UniqueConstraint("refers", name="ledger_resolved_once"),
        _side("debit"),
        _side("credit"),
        sa.CheckConstraint("debit <> credit", name="ledger_two_sides"),
        sa.CheckConstraint(
            "amount > 0 AND amount <= 1000000000000000000 OR amount = 0 AND kind = 'post'",
            name="ledger_amount",
        ),
        sa.CheckConstraint(
            "kind IN ('direct', 'hold') AND refers IS NULL"
            " OR kind IN ('post', 'void', 'expire', 'reversal') AND refers IS NOT NULL",
            name="ledger_refers_by_kind",
        ),
        sa.CheckConstraint("refers < seq AND chain <= seq", name="ledger_order"),
        sa.CheckConstraint("linked IN (0, 1)", name="ledger_linked_or_not"),
    )


def _seals() -> None:
    op.create_table(
        "ledger_seals",
        *map(_number, ("last_seq", "first_seq")),
        *map(_hash, ("prev_hash", "hash", "digests")),
        sa.PrimaryKeyConstraint("last_seq"),
        sa.UniqueConstraint("first_seq", name="sealed_once"),
        sa.CheckConstraint("first_seq <= last_seq", name="seal_order"),
    )


def _archives() -> None:
    op.create_table(
        "ledger_archives",
        *map(_number, ("last_seq", "first_seq")),
        *map(_hash, ("prev_hash", "hash")),
        _number("before"),
        _text("file"),
        _hash("file_hash"),
        sa.PrimaryKeyConstraint("last_seq"),
    )
    op.create_table(
        "ledger_openings",
        *map(_text, ("path", "policy", "currency")),
        *map(_number, _COUNTERS),
        sa.PrimaryKeyConstraint("path"),
    )
    op.create_table(
        "ledger_spent_ids",
        _text("id"),
        *map(_number, ("seq", "links", "recorded_at")),
        _hash("print"),
        sa.PrimaryKeyConstraint("id"),
    )


# A transfer is never changed, and goes only when its period has been archived.
_ARCHIVED = "SELECT 1 FROM ledger_archives WHERE last_seq >= OLD.seq"


def _guard_sqlite() -> None:
    op.execute(
        "CREATE TRIGGER ledger_transfers_fixed BEFORE UPDATE ON ledger_transfers"
        " BEGIN SELECT RAISE(ABORT, 'a transfer is never changed'); END"
    )
    op.execute(
        "CREATE TRIGGER ledger_transfers_kept BEFORE DELETE ON ledger_transfers"
        f" WHEN NOT EXISTS ({_ARCHIVED})"
        " BEGIN SELECT RAISE(ABORT, 'a transfer is never deleted'); END"
    )


def _guard_postgres() -> None:
    op.execute(
        "CREATE FUNCTION ledger_transfers_guard() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
        f" IF TG_OP = 'DELETE' AND EXISTS ({_ARCHIVED}) THEN RETURN OLD; END IF;"
        " RAISE EXCEPTION 'a transfer is never changed and never deleted'; END $$"
    )
    op.execute(
        "CREATE TRIGGER ledger_transfers_fixed BEFORE UPDATE OR DELETE ON ledger_transfers"
        " FOR EACH ROW EXECUTE FUNCTION ledger_transfers_guard()"
    )
    op.execute(
        "CREATE TRIGGER ledger_transfers_kept BEFORE TRUNCATE ON ledger_transfers"
        " FOR EACH STATEMENT EXECUTE FUNCTION ledger_transfers_guard()"
    )
