"""The durable store: one database, one transaction a turn."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Final

from sqlalchemy import Connection, Engine, Executable, Row, bindparam, insert, select, update
from sqlalchemy.exc import DBAPIError, IntegrityError

from treasury.domain.errors import InvariantBroken, StoreError
from treasury.domain.plan import Approved
from treasury.domain.transfer import TransferKind
from treasury.domain.turn import Entry
from treasury.ledger.chart import policy_of
from treasury.ledger.ledger import Account
from treasury.store import migrate, sqlite
from treasury.store.chain import GENESIS, encode, link, read
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

    def __init__(self, engine: Engine, name: str) -> None:
        """Use `open`."""
        self.name = name
        self._engine = engine
        self._writer: Connection | None = None
        # What is known of the journal's end; seq -1 when it must be read.
        self._seq = -1
        self._hash = GENESIS
        self._paths: set[str] = set()
        self._held: dict[int, int] = {}

    @classmethod
    def open(cls, url: str | Path, *, durable: bool = True, read_only: bool = False) -> "SqlStore":
        """The store of a database, which is made or migrated if need be.

        url: "sqlite:///path" or a path. durable=False is for replays whose input can be replayed
        again: power loss may take the newest turns. read_only: never made, never migrated.
        Raises StoreError.
        """
        path = _path_of(str(url))
        sqlite.check_file(path, must_exist=read_only)
        store = cls(sqlite.connect(path, durable=durable, read_only=read_only), str(path))
        try:
            store._prepare(read_only)
        except BaseException:
            store.close()
            raise
        return store

    def append(self, entry: Entry) -> bytes:
        """Commit one turn; the journal's hash after it. Raises StoreError, writing nothing, and
        InvariantBroken for a turn that breaks a rule of the tables."""
        seq, prev = self._tip()
        if entry.seq != seq + 1:
            raise InvariantBroken(f"turn {entry.seq} cannot follow turn {seq}")
        body = encode(entry)
        digest = link(prev, body)
        turn = turn_values(entry, body, prev, digest)
        try:
            with self._write(f"committing turn {entry.seq}") as connection:
                self._add_turn(connection, turn)
                if entry.transfers:
                    self._add_transfers(connection, entry)
                if entry.commands:
                    connection.execute(_ADD_COMMAND, outbox_values(entry))
        except BaseException:
            self._forget()
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
        with self._write(f"marking command {index} of turn {seq}") as connection:
            if connection.execute(_DELIVERED, {"of": seq, "index": index}).rowcount != 1:
                raise InvariantBroken(f"turn {seq} has no command {index}")

    def turn_rows(self, after: int = 0) -> Iterator[Row[Any]]:
        """Rows of the journal with seq > `after`, as they are."""
        while rows := self._read(_TURNS, after=after):
            yield from rows
            after = rows[-1].seq

    def transfer_rows(self) -> Iterator[Row[Any]]:
        """Rows of the transfers, by id."""
        after = -1
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
        """Release the database."""
        self._forget()
        self._engine.dispose()

    def _prepare(self, read_only: bool) -> None:
        """Build or migrate the tables, or refuse the database."""
        if read_only:
            with self._guard("opening it"), self._engine.connect() as connection:
                found = migrate.version(connection, self.name)
            if found != migrate.SCHEMA:
                raise StoreError(migrate.too_old(self.name, found))
        else:
            with self._write("opening it") as connection:
                migrate.upgrade(connection, self.name)
        # Read now: a turn that another process adds from here on is not ours to follow.
        self._tip()

    def _tip(self) -> tuple[int, bytes]:
        """The journal's end as this store left it."""
        if self._seq < 0:
            self._seq, self._hash = self.last()
            self._paths = {row.path for row in self._read(_PATHS)}
        return self._seq, self._hash

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
        if changed and connection.execute(_CHANGE_ACCOUNT, changed).rowcount != len(changed):
            raise InvariantBroken(f"turn {entry.seq} changes accounts that are not there")
        connection.execute(_ADD_TRANSFER, [transfer_values(entry.seq, t) for t in transfers])

    def _find_hold(self, connection: Connection, hold_id: int) -> int:
        """The amount of a hold that this store did not write since it was opened."""
        amount = connection.execute(_HELD, {"hold": hold_id}).scalar()
        if amount is None:
            raise InvariantBroken(f"{self.name} has no hold {hold_id} to resolve")
        return int(amount)

    def _read(self, statement: Executable, **values: object) -> Sequence[Row[Any]]:
        """All rows of a query, on a connection of its own that holds no snapshot afterwards."""
        with self._guard("reading it"), self._engine.connect() as connection:
            return connection.execute(statement, values).all()

    @contextmanager
    def _write(self, doing: str) -> Iterator[Connection]:
        """One transaction that writes, or StoreError and nothing written."""
        with self._guard(doing):
            if self._writer is None:
                connection = self._engine.connect()
                self._writer = connection.execution_options(**{sqlite.WRITES: True})
            with self._writer.begin():
                yield self._writer

    @contextmanager
    def _guard(self, doing: str) -> Iterator[None]:
        """The driver's errors as ours: what is wrong with the database, and what came of it."""
        try:
            yield
        except IntegrityError as error:
            raise InvariantBroken(f"{self.name}: {doing}: {error.orig}") from error
        except (DBAPIError, OverflowError) as error:
            cause = sqlite.meaning(getattr(error, "orig", error))
            raise StoreError(f"{self.name} {cause} ({doing}: nothing was written)") from error

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
        if self._writer is not None:
            self._writer.close()
            self._writer = None


def _path_of(url: str) -> Path:
    """The file a URL or path names. Raises StoreError for a database we do not speak."""
    scheme, separator, rest = url.partition("://")
    if not separator:
        return Path(url)
    if scheme != "sqlite" or not rest.startswith("/") or rest[1:] in {"", ":memory:"}:
        raise StoreError(f'{url!r} names no database file: expected a path or "sqlite:///path"')
    return Path(rest[1:])
