"""Marking commands as delivered, many at a time and behind the commits of turns."""

import asyncio
from collections import deque
from functools import partial
from typing import Final

from treasury.domain.errors import Deposed, StoreError
from treasury.domain.time import SECOND
from treasury.ports import Clock, Offload, Store

Row = tuple[int, int]
# Rows marked before turns get their chance: a mark is a small transaction of its own.
_AT_ONCE: Final = 50
_RETRY: Final = 5 * SECOND


class Outbox:
    """Rows to mark: (turn, index of the command in it). A mark that is lost is made again after the
    next start, when the command is sent again or found to have no outcome."""

    def __init__(self, store: Store, clock: Clock, storage: Offload) -> None:
        self._store, self._clock, self._storage = store, clock, storage
        self._rows: deque[Row] = deque()
        self._news = asyncio.Event()

    def delivered(self, row: Row) -> None:
        """Mark a row soon."""
        self._rows.append(row)
        self._news.set()

    async def run(self) -> None:
        """Mark rows until cancelled. Raises Deposed."""
        while True:
            await self._news.wait()
            try:
                await self.flush()
            except Deposed:
                raise
            except StoreError:
                await self._clock.sleep_until(self._clock.now() + _RETRY)

    async def flush(self) -> None:
        """Mark what waits. Raises StoreError."""
        while self._rows:
            rows = [self._rows[index] for index in range(min(_AT_ONCE, len(self._rows)))]
            await self._storage.run(partial(self._write, rows))
            for _ in rows:
                self._rows.popleft()
        self._news.clear()

    def _write(self, rows: list[Row]) -> None:
        for seq, index in rows:
            self._store.delivered(seq, index)
