"""Orders that may be sent twice: the first answer to a key is the answer for a day.

A row is written before an order is given and completed after; both outlive the process. Where the
process died in between, the next attempt finds the row open and looks what the first one left:
a job's id is fixed before it is submitted, a change of a budget is looked for in the journal.
"""

import asyncio
import hashlib
import re
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeVar

from treasury.domain.errors import StoreError
from treasury.domain.time import DAY
from treasury.web.problems import refused

T = TypeVar("T")

FILE: Final = "api.db"
KEPT: Final = DAY
_KEY: Final = re.compile(r"[!-~]{1,128}", re.ASCII)
_TABLE: Final = """
CREATE TABLE IF NOT EXISTS answers (
    owner TEXT NOT NULL, key TEXT NOT NULL, digest BLOB NOT NULL, at INTEGER NOT NULL,
    seq INTEGER NOT NULL, pinned TEXT NOT NULL DEFAULT '', status INTEGER, body BLOB,
    PRIMARY KEY (owner, key)
) WITHOUT ROWID
"""


class Answer:
    """A status and the JSON body it goes with."""

    __slots__ = ("body", "status")

    def __init__(self, status: int, body: bytes) -> None:
        self.status, self.body = status, body


class Attempt:
    """One try at an order. retried: an earlier one under the same key may have gone through; seq:
    the journal's end before the first; pinned: what that one had settled on, "" for nothing."""

    def __init__(self, keys: "Keys | None", row: tuple[str, str], seq: int) -> None:
        self.retried, self.pinned, self.seq = False, "", seq
        self._keys, self._row = keys, row

    async def pin(self, value: str) -> None:
        """Settle on something that a later attempt has to use again."""
        self.pinned = value
        if self._keys is not None:
            await self._keys.pin(self._row, value)


class Keys:
    """The keys of a state directory, in a database of their own, on a thread of their own."""

    def __init__(self, state: Path) -> None:
        self._path = state / FILE
        self._thread = ThreadPoolExecutor(1, "treasury-api-keys")
        self._database: sqlite3.Connection | None = None
        # A key's lock and how many hold or await it.
        self._busy: dict[tuple[str, str], tuple[asyncio.Lock, int]] = {}

    async def once(
        self,
        owner: str,
        key: str,
        content: bytes,
        now: int,
        seq: int,
        act: Callable[[Attempt], Awaitable[Answer]],
    ) -> Answer:
        """The answer to a key: what `act` gives, or gave when it was asked first.

        owner: whose key it is; content: all of the order; now: the instant [ns]; seq: the journal's
        end. An order that was refused before it reached the agent is forgotten. Raises ApiError 409
        for another order under the same key, and what `act` raises.
        """
        if not key:
            return await act(Attempt(None, ("", ""), seq))
        if not _KEY.fullmatch(key):
            raise refused(
                400,
                "the Idempotency-Key cannot be used",
                field="Idempotency-Key",
                right="1 to 128 printable ASCII characters without spaces",
            )
        row = (owner, key)
        async with self._alone(row):
            digest = hashlib.sha256(content).digest()
            found = await self._do(partial(self._begin, row, digest, now, seq))
            attempt = Attempt(self, row, seq)
            if found is not None:
                known, first_seq, pinned, status, body = found
                if known != digest:
                    raise refused(
                        409,
                        "this Idempotency-Key was used for another order",
                        field="Idempotency-Key",
                        value=key,
                        right="a new key for a new order",
                    )
                if status is not None:
                    return Answer(status, body)
                attempt.retried, attempt.seq, attempt.pinned = True, first_seq, pinned
            try:
                answer = await act(attempt)
            except (StoreError, TimeoutError):
                raise  # It may have been done: the row stays open.
            except Exception:
                await self._do(partial(self._forget, row))
                raise
            await self._do(partial(self._complete, row, answer))
            return answer

    @asynccontextmanager
    async def _alone(self, row: tuple[str, str]) -> AsyncIterator[None]:
        """Attempts under one key wait for each other."""
        lock, users = self._busy.get(row, (asyncio.Lock(), 0))
        self._busy[row] = (lock, users + 1)
        try:
            async with lock:
                yield
        finally:
            _, users = self._busy.pop(row)
            if users > 1:
                self._busy[row] = (lock, users - 1)

    async def pin(self, row: tuple[str, str], value: str) -> None:
        """Remember what an attempt settled on."""
        statement = "UPDATE answers SET pinned = ? WHERE owner = ? AND key = ?"
        await self._do(lambda: self._open().execute(statement, (value, *row)))

    async def close(self) -> None:
        """Release the database."""
        await self._do(self._shut)
        self._thread.shutdown()

    async def _do(self, work: Callable[[], T]) -> T:
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, work)
        except sqlite3.Error as error:
            raise StoreError(f"{self._path}: {error}") from error

    def _open(self) -> sqlite3.Connection:
        if self._database is None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._database = sqlite3.connect(
                self._path, isolation_level=None, check_same_thread=False
            )
            # The death of the process loses nothing so; that of the machine may lose the newest.
            self._database.execute("PRAGMA journal_mode=WAL")
            self._database.execute("PRAGMA synchronous=NORMAL")
            self._database.execute(_TABLE)
        return self._database

    def _begin(self, row: tuple[str, str], digest: bytes, now: int, seq: int) -> Any:
        """What is known of a key; None when it is new, and has a row now."""
        database = self._open()
        database.execute("DELETE FROM answers WHERE at < ?", (now - KEPT,))
        found = database.execute(
            "SELECT digest, seq, pinned, status, body FROM answers WHERE owner = ? AND key = ?", row
        ).fetchone()
        if found is None:
            database.execute(
                "INSERT INTO answers (owner, key, digest, at, seq) VALUES (?, ?, ?, ?, ?)",
                (*row, digest, now, seq),
            )
        return found

    def _complete(self, row: tuple[str, str], answer: Answer) -> None:
        self._open().execute(
            "UPDATE answers SET status = ?, body = ? WHERE owner = ? AND key = ?",
            (answer.status, answer.body, *row),
        )

    def _forget(self, row: tuple[str, str]) -> None:
        self._open().execute("DELETE FROM answers WHERE owner = ? AND key = ?", row)

    def _shut(self) -> None:
        if self._database is not None:
            self._database.close()
            self._database = None
