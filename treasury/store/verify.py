"""Verification: the journal against its hash chain, the laws of bookkeeping and the other tables.

The journal is the truth; transfers, accounts and outbox repeat parts of it for those who read the
database. Memory is flat in the journal's length, but for two machine words a transfer.
"""

from collections.abc import Iterator
from typing import Any

import msgspec
from sqlalchemy import Row

from treasury.domain.turn import Entry
from treasury.ledger.audit import Auditor, Finding
from treasury.store.chain import GENESIS, read
from treasury.store.rows import Values, account_of, outbox_values, transfer_values
from treasury.store.sql import SqlStore


class Verification(msgspec.Struct, frozen=True):
    """What was read, and every broken row, the first one first. hash: after the last good turn."""

    turns: int
    transfers: int
    hash: bytes
    findings: tuple[Finding, ...]


def verify(store: SqlStore) -> Verification:
    """Check everything a database says about itself. Raises StoreError when it cannot be read.

    A broken link ends the check: what follows it proves nothing.
    """
    auditor = Auditor()
    transfers = _Beside("transfers", store.transfer_rows(), ("id",))
    outbox = _Beside("outbox", store.outbox_rows(), ("seq", "idx"))
    findings: list[Finding] = []
    turns, prev = 0, GENESIS
    for row in store.turn_rows():
        try:
            entry = read(row, turns + 1, prev)
        except ValueError as error:
            findings.append(Finding("hash chain", turns + 1, None, str(error)))
            return Verification(turns, transfers.matched, prev, tuple(findings))
        turns, prev = entry.seq, row.hash
        findings += auditor.see(entry)
        findings += _beside(entry, transfers, outbox)
    findings += transfers.rest()
    findings += outbox.rest()
    accounts = {}
    for row in store.account_rows():
        try:
            accounts[row.path] = account_of(row)
        except ValueError as error:
            findings.append(Finding("counters", turns, None, f"account {row.path}: {error}"))
    findings += auditor.close(accounts)
    return Verification(turns, transfers.matched, prev, tuple(findings))


def _beside(entry: Entry, transfers: "_Beside", outbox: "_Beside") -> Iterator[Finding]:
    """Where the tables beside the journal differ from one of its turns."""
    for transfer in entry.transfers:
        yield from transfers.compare(transfer_values(entry.seq, transfer), transfer.id)
    for values in outbox_values(entry):
        # Delivery is the outbox's own news; the journal knows nothing of it.
        del values["delivered"]
        yield from outbox.compare(values, None)


class _Beside:
    """A table read in step with the journal, which it repeats row by row in the order of a key."""

    def __init__(self, table: str, rows: Iterator[Row[Any]], key: tuple[str, ...]) -> None:
        self.matched = 0
        self._table, self._rows, self._key = table, rows, key
        self._next = next(rows, None)

    def compare(self, expected: Values, transfer_id: int | None) -> Iterator[Finding]:
        """What differs up to and at the row the journal expects next."""
        wanted = tuple(expected[name] for name in self._key)
        while self._next is not None and _before(self._key_of(self._next), wanted):
            yield self._surplus(self._next)
            self._advance()
        found, seq = self._next, expected["seq"]
        if found is None or self._key_of(found) != wanted:
            yield Finding(self._table, seq, transfer_id, f"row {_text(wanted)} is missing")
            return
        self.matched += 1
        for name, value in expected.items():
            kept = getattr(found, name)
            if kept != value:
                why = f"row {_text(wanted)}: {name} is {kept!a}, the journal says {value!a}"
                yield Finding(self._table, seq, transfer_id, why)
        self._advance()

    def rest(self) -> Iterator[Finding]:
        """Rows no turn of the journal knows of."""
        while self._next is not None:
            yield self._surplus(self._next)
            self._advance()

    def _advance(self) -> None:
        self._next = next(self._rows, None)

    def _key_of(self, row: Row[Any]) -> tuple[Any, ...]:
        return tuple(getattr(row, name) for name in self._key)

    def _surplus(self, row: Row[Any]) -> Finding:
        why = f"row {_text(self._key_of(row))} is in no turn of the journal"
        return Finding(self._table, row.seq, None, why)


def _before(key: tuple[Any, ...], other: tuple[Any, ...]) -> bool:
    """Whether a row's key comes first; one that somebody made text sorts after every number."""
    return all(isinstance(part, int) for part in key) and key < other


def _text(key: tuple[Any, ...]) -> str:
    return "/".join(map(str, key))
