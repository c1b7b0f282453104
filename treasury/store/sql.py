"""The durable store: one database, one transaction a turn."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeVar

from sqlalchemy import Connection, Executable, Row, bindparam, insert, select, update
from sqlalchemy.exc import IntegrityError

from treasury.domain.errors import InvariantBroken, StoreError
from treasury.domain.plan import Approved
from treasury.domain.transfer import TransferKind
from treasury.domain.turn import Entry
from treasury.ledger.chart import policy_of
from treasury.ledger.ledger import Account
from treasury.store import migrate
from treasury.store.chain import GENESIS, encode, link, read
from treasury.store.database import Database, Work, guard, open_database
from treasury.store.lease import JOURNAL_ROLE, TTL, Leadership, check_unled, held
from treasury.store.rows import (
    Values,
    account_of,
    account_values,
    approved_of,
    changes,
    outbox_values,
    transfer_values,
    turn_values,
)
from treasury.store.tables import ACCOUNTS, JOURNAL, OUTBOX, TRANSFERS

T = TypeVar("T")

# Rows read at once: a journal of any length is read in flat memory.
PAGE: Final = 512

# Built once, so that a turn costs the database's work and not the writing of SQL.
_ADD_TURN: Final = insert(JOURNAL)
_ADD_TRANSFER: Final = insert(TRANSFERS)
_ADD_ACCOUNT: Final = insert(ACCOUNTS)
_ADD_COMMAND: Final = insert(OUTBOX)
_CHANGE_ACCOUNT: Final = (
    update(ACCOUNTS)
    .where(ACCOUNTS.c.path == bindparam("of"))
    .values(
        debit_pending=ACCOUNTS.c.debit_pending + bindparam("a"),
        debit_posted=ACCOUNTS.c.debit_posted + bindparam("b"),
        credit_pending=ACCOUNTS.c.credit_pending + bindparam("c"),
        credit_posted=ACCOUNTS.c.credit_posted + bindparam("d"),
    )
)
_LAST_TURN: Final = select(JOURNAL.c.seq, JOURNAL.c.hash).order_by(JOURNAL.c.seq.desc()).limit(1)
_TURNS: Final = (
    select(JOURNAL).where(JOURNAL.c.seq > bindparam("after")).order_by(JOURNAL.c.seq).limit(PAGE)
)
_HASH: Final = select(JOURNAL.c.hash).where(JOURNAL.c.seq == bindparam("after"))
_HELD: Final = select(TRANSFERS.c.amount).where(
    TRANSFERS.c.id == bindparam("hold"), TRANSFERS.c.kind == TransferKind.HOLD.value
)
_PATHS: Final = select(ACCOUNTS.c.path)
_ACCOUNTS: Final = select(ACCOUNTS).order_by(ACCOUNTS.c.path)
_TRANSFERS: Final = (
    select(TRANSFERS)
    .where(TRANSFERS.c.id > bindparam("after"))
    .order_by(TRANSFERS.c.id)
    .limit(PAGE)
)
_OUTBOX: Final = select(OUTBOX).order_by(OUTBOX.c.seq, OUTBOX.c.idx)
_UNDELIVERED: Final = _OUTBOX.where(OUTBOX.c.delivered == 0)
_DELIVERED: Final = (
    update(OUTBOX)
    .where(OUTBOX.c.seq == bindparam("of"), OUTBOX.c.idx == bindparam("index"))
    .values(delivered=1)
)


class SqlStore:
    """The `Store` port on a database. One thread at a time; other processes may read meanwhile.

    Every method raises StoreError when the database refuses. After a failed append the store opens
    the database anew and reads where the journal ends: a commit whose answer was lost may have been
    taken or not.
    """

    def __init__(self, database: Database) -> None:
        """Use `open`."""
        self.name = database.name
        self.database = database
        self._leadership: Leadership | None = None
        # What is known of the journal's end; seq -1 when it must be read.
        self._seq = -1
        self._hash = GENESIS
        self._paths: set[str] = set()
        self._held: dict[int, int] = {}

    @classmethod
    def open(cls, url: str | Path, *, durable: bool = True, read_only: bool = False) -> "SqlStore":
        """The store of a database, whose tables are made or migrated if need be.

        url: a path, "sqlite:///path" or "postgresql://user@host/database". durable=False is for
        replays whose input can be replayed again: power loss may take the newest turns. read_only:
        never made, never migrated. Raises StoreError.
        """
        store = cls(open_database(str(url), durable=durable, read_only=read_only))
        try:
            store._prepare(read_only)
        except BaseException:
            store.close()
            raise
        return store

    def lead(
        self,
        holder: str,
        *,
        ttl: int = TTL,
        tick: Callable[[], int] = time.perf_counter_ns,
        gone: Callable[[str], bool] | None = None,
    ) -> bool:
        """Take, renew or take over the journal's lease; whether this store holds it now.

        Call it until it is true, then again every third of `ttl` [ns]; from the first call on each
        write is refused with Deposed unless this store leads. holder: a name for people. tick: a
        clock that only goes forward [ns]. gone: whether the process of a name is known to be dead.
        A process that stood by reads the journal anew when it takes over.
        """
        leadership = self._leadership
        if leadership is None or leadership.holder != holder:
            dialect = self.database.dialect
            leadership = Leadership(dialect, JOURNAL_ROLE, holder, ttl=ttl, tick=tick, gone=gone)
            self._leadership = leadership
        before = leadership.epoch
        leads = self._write("taking the lease", leadership.seek)
        if leadership.epoch != before:
            self._forget()
        return leads

    @property
    def leader(self) -> str:
        """Who led when `lead` was last false."""
        return self._leadership.leader if self._leadership else ""

    @property
    def epoch(self) -> int:
        """How often leadership has changed hands, while this store leads; 0 while it does not."""
        return self._leadership.epoch if self._leadership else 0

    def holder(self) -> str:
        """Who holds the journal's lease, by the database's clock; "" when nobody does."""
        found = self._read(held(self.database.dialect), role=JOURNAL_ROLE)
        return str(found[0].holder) if found else ""

    def append(self, entry: Entry) -> bytes:
        """Commit one turn; the journal's hash after it. Raises StoreError, writing nothing, and
        InvariantBroken for a turn that breaks a rule of the tables."""
        if self._leadership is not None and not self._leadership.epoch:
            self._leadership.depose()
        seq, prev = self._tip()
        if entry.seq != seq + 1:
            raise InvariantBroken(f"turn {entry.seq} cannot follow turn {seq}")
        body = encode(entry)
        digest = link(prev, body)
        turn = turn_values(entry, body, prev, digest)
        add = partial(self._add, entry, turn)
        try:
            self._write(f"committing turn {entry.seq}", add)
        except BaseException as error:
            self._forget()
            if not (isinstance(error, StoreError) and self._was_taken(error, entry.seq, digest)):
                raise
        self._seq, self._hash = entry.seq, digest
        return digest

    def entries(self, after: int = 0) -> Iterator[Entry]:
        """Committed turns with seq > `after`, in order, each held against the hash chain.
        Raises StoreError naming the first turn that does not fit it."""
        seq, prev = after, GENESIS
        if after > 0:
            found = self._read(_HASH, after=after)
            if not found:
                if self.last()[0] > after:
                    raise StoreError(f"{self.name} is damaged: turn {after} is missing")
                return
            prev = found[0].hash
        for row in self.turn_rows(after):
            seq += 1
            with self._damage():
                entry = read(row, seq, prev)
            yield entry
            prev = row[-1]

    def last(self) -> tuple[int, bytes]:
        """Sequence number and hash of the newest turn; (0, GENESIS) for an empty journal."""
        found = self._read(_LAST_TURN)
        return (found[0].seq, found[0].hash) if found else (0, GENESIS)

    def undelivered(self) -> Iterator[tuple[int, int, Approved]]:
        """Commands not yet marked delivered: (seq, index in the turn, command)."""
        for row in self._read(_UNDELIVERED):
            with self._damage(f"command {row.idx} of turn {row.seq}: "):
                approved = approved_of(row.body)
            yield row.seq, row.idx, approved

    def delivered(self, seq: int, index: int) -> None:
        """Mark a command as sent; one that is marked already stays so."""

        def mark(connection: Connection) -> None:
            self._fence(connection)
            if connection.execute(_DELIVERED, {"of": seq, "index": index}).rowcount != 1:
                raise InvariantBroken(f"turn {seq} has no command {index}")

        self._write(f"marking command {index} of turn {seq}", mark)

    def turn_rows(self, after: int = 0) -> Iterator[Row[Any]]:
        """Rows of the journal with seq > `after`, as they are."""
        while rows := self._read(_TURNS, after=after):
            yield from rows
            after = rows[-1].seq

    def transfer_rows(self, after: int = -1) -> Iterator[Row[Any]]:
        """Rows of the transfers with id > `after`, by id."""
        while rows := self._read(_TRANSFERS, after=after):
            yield from rows
            after = rows[-1].id

    def outbox_rows(self) -> Iterator[Row[Any]]:
        """Rows of the outbox, by turn and index."""
        yield from self._read(_OUTBOX)

    def account_rows(self) -> Iterator[Row[Any]]:
        """Rows of the accounts, by path."""
        yield from self._read(_ACCOUNTS)

    def accounts(self) -> dict[str, Account]:
        """The accounts as kept beside the journal, by path."""
        found = {}
        for row in self.account_rows():
            with self._damage(f"account {row.path}: "):
                found[row.path] = account_of(row)
        return found

    def close(self) -> None:
        """Give back the lease, if it is held, and release the database."""
        try:
            if self._leadership is not None and self._leadership.epoch:
                self._write("giving back the lease", self._leadership.release)
        finally:
            self.database.close()

    def _prepare(self, read_only: bool) -> None:
        """Build or migrate the tables, or refuse the database."""
        if read_only:
            with guard(self.database, "opening it"):
                found = self.database.read(partial(migrate.version, name=self.name))
            if found != migrate.SCHEMA:
                raise StoreError(migrate.too_old(self.name, found))
        else:
            upgrade = partial(migrate.upgrade, dialect=self.database.dialect, name=self.name)
            self._write("opening it", upgrade)
        # Read now: a turn that another process adds from here on is not ours to follow.
        self._tip()

    def _fence(self, connection: Connection) -> None:
        """Only who leads may write; and nobody beside a leader."""
        if self._leadership is not None:
            self._leadership.fence(connection)
        else:
            check_unled(connection, self.database.dialect, JOURNAL_ROLE, self.name)

    def _was_taken(self, error: StoreError, seq: int, digest: bytes) -> bool:
        """Whether a turn is in the journal although its commit's answer was lost."""
        if error.__cause__ is None or not self.database.dialect.lost(error.__cause__):
            return False
        try:
            return self.last() == (seq, digest)
        except StoreError as silent:
            raise StoreError(
                f"{silent}; whether turn {seq} was written is not known: the next start finds out"
            ) from error

    def _tip(self) -> tuple[int, bytes]:
        """The journal's end as this store left it."""
        if self._seq < 0:
            self._seq, self._hash = self.last()
            self._paths = {row.path for row in self._read(_PATHS)}
        return self._seq, self._hash

    def _add(self, entry: Entry, turn: Values, connection: Connection) -> None:
        """All rows of a turn."""
        self._fence(connection)
        self._add_turn(connection, turn)
        if entry.transfers:
            self._add_transfers(connection, entry)
        if entry.commands:
            connection.execute(_ADD_COMMAND, outbox_values(entry))

    def _add_turn(self, connection: Connection, turn: Values) -> None:
        try:
            connection.execute(_ADD_TURN, turn)
        except IntegrityError as error:
            raise StoreError(
                f"{self.name} already holds turn {turn['seq']}: another process writes to it"
            ) from error

    def _add_transfers(self, connection: Connection, entry: Entry) -> None:
        """The transfers' rows, and what they change in the accounts."""
        transfers = entry.transfers
        changed, opened = [], []
        found = changes(transfers, self._held, partial(self._find_hold, connection))
        for path, (a, b, c, d) in sorted(found.items()):
            if path in self._paths:
                changed.append({"of": path, "a": a, "b": b, "c": c, "d": d})
            else:
                currency = next(t.currency for t in transfers if path in {t.debit, t.credit})
                account = Account(path, policy_of(path), currency, a, b, c, d)
                opened.append(account_values(account))
                self._paths.add(path)
        if opened:
            connection.execute(_ADD_ACCOUNT, opened)
        if changed:
            # One that is not there after all fails with the transfers, whose sides are keys.
            connection.execute(_CHANGE_ACCOUNT, changed)
        connection.execute(_ADD_TRANSFER, [transfer_values(entry.seq, t) for t in transfers])

    def _find_hold(self, connection: Connection, hold_id: int) -> int:
        """The amount of a hold that this store did not write since it was opened."""
        amount = connection.execute(_HELD, {"hold": hold_id}).scalar()
        if amount is None:
            raise InvariantBroken(f"{self.name} has no hold {hold_id} to resolve")
        return int(amount)

    def _read(self, statement: Executable, **values: object) -> Sequence[Row[Any]]:
        """All rows of a query, on a connection that holds no snapshot afterwards."""
        with guard(self.database, "reading it"):
            return self.database.read(
                lambda connection: connection.execute(statement, values).all()
            )

    def _write(self, doing: str, work: Work[T]) -> T:
        """One transaction that writes, or StoreError and nothing written."""
        with guard(self.database, doing):
            return self.database.write(work)

    @contextmanager
    def _damage(self, where: str = "") -> Iterator[None]:
        """A row that does not say what it should as a StoreError that names it."""
        try:
            yield
        except ValueError as error:
            raise StoreError(f"{self.name} is damaged: {where}{error}") from error

    def _forget(self) -> None:
        """Let go of the connection, and of what was known through it."""
        self._seq = -1
        self._paths.clear()
        self._held.clear()
        self.database.release()
