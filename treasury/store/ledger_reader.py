"""Reading the shared ledger: its transfers, seals, archives and accounts, in flat memory."""

from collections.abc import Iterator, Sequence
from typing import Any, Final

from sqlalchemy import Executable, Row, Select, Table, bindparam, select

from treasury.domain.errors import StoreError
from treasury.ledger.ledger import Account
from treasury.store.database import Database, guard
from treasury.store.ledger_tables import (
    LEDGER_ACCOUNTS,
    LEDGER_ARCHIVES,
    LEDGER_OPENINGS,
    LEDGER_SEALS,
    LEDGER_TRANSFERS,
)
from treasury.store.rows import account_of

PAGE: Final = 2_000


def _paged(table: Table, key: str) -> Select[Any]:
    column = table.c[key]
    return select(table).where(column > bindparam("after")).order_by(column).limit(PAGE)


_TRANSFERS: Final = _paged(LEDGER_TRANSFERS, "seq")
_SEALS: Final = _paged(LEDGER_SEALS, "last_seq")
_ARCHIVES: Final = select(LEDGER_ARCHIVES).order_by(LEDGER_ARCHIVES.c.last_seq)


class LedgerReader:
    """The shared ledger of a database. Every method raises StoreError when that refuses."""

    def __init__(self, database: Database) -> None:
        self.name = database.name
        self._database = database

    def transfers(self, after: int = -1) -> Iterator[Row[Any]]:
        """Rows of the transfers with seq > `after`, in order."""
        return self._pages(_TRANSFERS, 0, after)

    def seals(self) -> Iterator[Row[Any]]:
        """Rows of the seals, in order."""
        return self._pages(_SEALS, 0, -1)

    def archives(self) -> Sequence[Row[Any]]:
        """Rows of the archives, the oldest first."""
        return self._read(_ARCHIVES)

    def accounts(self) -> dict[str, Account]:
        """The accounts by path."""
        return self._accounts(LEDGER_ACCOUNTS)

    def openings(self) -> dict[str, Account]:
        """The accounts as they were after the newest archive, by path."""
        return self._accounts(LEDGER_OPENINGS)

    def _accounts(self, table: Table) -> dict[str, Account]:
        found = {}
        for row in self._read(select(table).order_by(table.c.path)):
            try:
                found[row.path] = account_of(row)
            except ValueError as error:
                raise StoreError(f"{self.name} is damaged: account {row.path}: {error}") from error
        return found

    def _pages(self, statement: Executable, key: int, after: int) -> Iterator[Row[Any]]:
        while rows := self._read(statement, after=after):
            yield from rows
            after = rows[-1][key]

    def _read(self, statement: Executable, **values: object) -> Sequence[Row[Any]]:
        with guard(self._database, "reading it"):
            return self._database.read(
                lambda connection: connection.execute(statement, values).all()
            )
