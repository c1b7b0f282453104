"""One transaction of the shared ledger: load, lock, judge, write down.

It is synchronous by design: nothing can be cancelled in its middle. The lease makes its holder the
only one who writes here, the locks keep out everybody else's tools, the constraints everything that
both should let through.
"""

from collections.abc import Sequence
from typing import Any, Final

from msgspec.structs import astuple
from sqlalchemy import Connection, func, select

from treasury.ledger.judge import Judge, Spent, Written
from treasury.ledger.ledger import Account
from treasury.ledger.request import Outcome, TransferRequest
from treasury.store.database import Dialect
from treasury.store.lease import Leadership
from treasury.store.ledger_tables import (
    LEDGER_ACCOUNTS,
    LEDGER_ARCHIVES,
    LEDGER_SEALS,
    LEDGER_SPENT_IDS,
    LEDGER_TRANSFERS,
)
from treasury.store.rows import account_of

Chain = tuple[TransferRequest, ...]
Seal = tuple[int, int, bytes, bytes, bytes]

_CHANGING: Final = (
    "path",
    "debit_pending",
    "debit_posted",
    "credit_pending",
    "credit_posted",
    "version",
)
_T: Final = LEDGER_TRANSFERS.c
_NEWEST: Final = select(_T.seq, _T.recorded_at).order_by(_T.seq.desc()).limit(1)
_ARCHIVED: Final = select(func.max(LEDGER_ARCHIVES.c.last_seq))
_ARCHIVED_AT: Final = select(func.max(LEDGER_SPENT_IDS.c.recorded_at))


class Commits:
    """The ledger's end as its one writer knows it, and the transaction that moves it on."""

    def __init__(self, dialect: Dialect, leadership: Leadership) -> None:
        self._dialect, self._leadership = dialect, leadership
        # Judging alone must hold the line, and so must the constraints: a test takes each away.
        self.judge: type[Judge] = Judge
        self._tip: tuple[int, int] | None = None
        # Whether the next transaction also renews the lease.
        self.renew = False
        self._archived = 0
        among = dialect.among
        resolver = LEDGER_TRANSFERS.alias("resolver")
        self._known = (
            select(LEDGER_TRANSFERS, resolver.c.seq)
            .outerjoin(resolver, resolver.c.refers == _T.seq)
            .where(among(_T.id, "ids"))
        )
        self._spent = select(LEDGER_SPENT_IDS).where(among(LEDGER_SPENT_IDS.c.id, "ids"))
        # In the order of their key and in one statement: two that lock never wait for each other.
        self._locked = (
            select(LEDGER_ACCOUNTS)
            .where(among(LEDGER_ACCOUNTS.c.path, "paths"))
            .order_by(LEDGER_ACCOUNTS.c.path)
            .with_for_update()
        )

    def forget(self) -> None:
        """Read the ledger's end anew: what became of the last transaction is not known."""
        self._tip = None

    def run(
        self, chains: Sequence[Chain], seals: Sequence[Seal], connection: Connection
    ) -> list[Outcome]:
        """Decide chains in their order and write what was granted. For a transaction that writes.

        Raises Deposed, and whatever the database raises: then nothing was written.
        """
        now = self._now(connection)
        seq, at = self._tip or self._find_tip(connection)
        ids = {request.id for chain in chains for request in chain}
        ids.update(request.refers for chain in chains for request in chain if request.refers)
        known, resolved = self._load(connection, ids)
        spent = self._load_spent(connection, ids - known.keys()) if self._archived else {}
        accounts = self._lock(connection, chains, known)
        there = set(accounts)
        # A clock that was set back does not turn the order of the books around.
        court = self.judge(
            accounts,
            known,
            resolved,
            seq=seq,
            at=max(now, at),
            epoch=self._leadership.epoch,
            spent=spent,
        )
        outcomes = [court.take(chain) for chain in chains]
        self._write(connection, court, there)
        if seals:
            self._dialect.add_rows(connection, LEDGER_SEALS, seals)
        if court.rows:
            seq, at = court.rows[-1].seq, court.rows[-1].recorded_at
        self._tip = seq, at
        return outcomes

    def _now(self, connection: Connection) -> int:
        """The database's time [ns], once it is sure that nobody else leads."""
        if self.renew and not self._leadership.seek(connection):
            self._leadership.depose()
        return self._leadership.fence(connection)

    def _find_tip(self, connection: Connection) -> tuple[int, int]:
        self._archived = connection.execute(_ARCHIVED).scalar() or 0
        row = connection.execute(_NEWEST).one_or_none()
        seq, at = (0, 0) if row is None else (row.seq, row.recorded_at)
        if self._archived:
            at = max(at, connection.execute(_ARCHIVED_AT).scalar() or 0)
        return max(seq, self._archived), at

    def _load(self, connection: Connection, ids: set[str]) -> tuple[dict[str, Written], set[int]]:
        """The transfers of these ids that there are, and which of them are resolved."""
        known: dict[str, Written] = {}
        resolved: set[int] = set()
        if ids:
            values = {"ids": self._dialect.listed(sorted(ids))}
            for *columns, resolver in connection.execute(self._known, values):
                row = Written(*columns)
                known[row.id] = row
                if resolver is not None:
                    resolved.add(row.seq)
        return known, resolved

    def _load_spent(self, connection: Connection, ids: set[str]) -> dict[str, Spent]:
        values = {"ids": self._dialect.listed(sorted(ids))}
        return {
            row.id: Spent(row.seq, row.links, row.recorded_at, row.print)
            for row in connection.execute(self._spent, values)
        }

    def _lock(
        self, connection: Connection, chains: Sequence[Chain], known: dict[str, Written]
    ) -> dict[str, Account]:
        """The accounts that these chains can touch, locked until the transaction ends."""
        paths: set[str] = set()
        for chain in chains:
            for request in chain:
                if request.debit:
                    paths.add(request.debit)
                    paths.add(request.credit)
        for row in known.values():
            paths.add(row.debit)
            paths.add(row.credit)
        if not paths:
            return {}
        values = {"paths": self._dialect.listed(sorted(paths))}
        return {row.path: account_of(row) for row in connection.execute(self._locked, values)}

    def _write(self, connection: Connection, court: Judge, there: set[str]) -> None:
        """Accounts that are new, transfers, counters that changed: in the order of their keys."""
        if not court.rows:
            return
        version = court.rows[-1].seq
        old: list[tuple[Any, ...]] = []
        new: list[tuple[Any, ...]] = []
        for path, account in sorted(court.changed.items()):
            counters = (
                account.debit_pending,
                account.debit_posted,
                account.credit_pending,
                account.credit_posted,
                version,
            )
            if path in there:
                old.append((path, *counters))
            else:
                new.append((path, account.policy.value, account.currency, *counters))
        if new:
            self._dialect.add_rows(connection, LEDGER_ACCOUNTS, new)
        rows = [astuple(row) for row in court.rows]
        self._dialect.add_rows(connection, LEDGER_TRANSFERS, rows)
        if old:
            self._dialect.set_rows(connection, LEDGER_ACCOUNTS, _CHANGING, old)
