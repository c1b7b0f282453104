"""The writer of the shared ledger: many callers, one task that decides, one commit for all of them.

A commit costs a disk its flush, whatever is in it. So callers put their requests into a queue and
wait for a future; the writer takes all that are there, decides them in one transaction, commits
once and answers. While the disk is busy, the next batch gathers. Nobody's cancellation reaches a
transaction, because no caller is inside one.
"""

import asyncio
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from typing import Any, Final, Self

from sqlalchemy.exc import DataError, DBAPIError, IntegrityError

from treasury.domain.errors import Deposed, InvariantBroken, StoreError
from treasury.domain.time import SECOND
from treasury.ledger.request import (
    Outcome,
    Refusal,
    RefusalCode,
    TransferRequest,
    check,
)
from treasury.store import migrate
from treasury.store.commit import Chain, Commits, Seal
from treasury.store.database import AsyncDatabase, open_async
from treasury.store.lease import LEDGER_ROLE, TTL, Leadership
from treasury.store.seal import next_seal

# Requests a transaction: more would make all of them wait for the slowest.
BATCH: Final = 2_000
# Callers that may wait in line; those beyond it wait for a place.
QUEUE: Final = 10_000
# How long a database may be away before callers are told [s].
PATIENCE: Final = 30.0
# How often the hash chain catches up [s].
SEAL_SECONDS: Final = 1.0
_STANDBY_SECONDS: Final = 1.0
_RETRY_SECONDS: Final = (0.05, 2.0)

_Waiting = tuple[Chain, "asyncio.Future[Outcome]"]
_POISON: Final = (IntegrityError, DataError, OverflowError)


class LedgerWriter:
    """The one writer of a database's shared ledger, for the callers of one event loop."""

    def __init__(
        self,
        database: AsyncDatabase,
        leadership: Leadership,
        *,
        ttl: int,
        queue: int,
        patience: float,
    ) -> None:
        """Use `open`."""
        self.name = database.name
        self._database, self._leadership = database, leadership
        self._failures: tuple[type[Exception], ...] = (DBAPIError, *database.dialect.ERRORS)
        self._commits = Commits(database.dialect, leadership)
        self._renew_seconds = ttl / SECOND / 3
        self._renewed_at = asyncio.get_running_loop().time()
        self._limit, self._patience = queue, patience
        self._queue: deque[_Waiting] = deque()
        self._work, self._room = asyncio.Event(), asyncio.Event()
        self._room.set()
        self._seals: list[tuple[Seal, asyncio.Future[None]]] = []
        self._sealing = asyncio.Lock()
        self._closing = False
        self._failure: Exception | None = None
        self._tasks: list[asyncio.Task[None]] = []

    @classmethod
    async def open(
        cls,
        url: str,
        *,
        holder: str = "writer",
        durable: bool = True,
        wait: bool = True,
        ttl: int = TTL,
        queue: int = QUEUE,
        patience: float = PATIENCE,
    ) -> "LedgerWriter":
        """The writer of a database, whose tables are made or migrated if need be.

        url: a path, "sqlite:///path" or "postgresql://user@host/database". holder: a name for
        people. While another process leads, stand by until it is gone, or with wait=False raise
        StoreError. ttl: how long a leader may be silent [ns]. queue: how many callers wait in line.
        patience: how long a database may be away before callers are told [s]. durable=False: power
        loss may take the newest transfers. Raises StoreError.
        """
        database = open_async(url, durable=durable)
        leadership = Leadership(database.dialect, LEDGER_ROLE, holder, ttl=ttl)
        writer = cls(database, leadership, ttl=ttl, queue=queue, patience=patience)
        try:
            await writer._start(wait=wait)
        except BaseException:
            await database.close()
            raise
        return writer

    @property
    def epoch(self) -> int:
        """How often the ledger's lease has changed hands."""
        return self._leadership.epoch

    async def submit(self, request: TransferRequest | Sequence[TransferRequest]) -> Outcome:
        """Do a request, or all of a linked chain or nothing of it; returns when it is durable.

        Raises BadValue for what could not be done in any books, Deposed when another process took
        over, and StoreError when the database stayed away: then it is not known whether it was
        done, and submitting the same ids again finds out.
        """
        chain = (request,) if isinstance(request, TransferRequest) else tuple(request)
        check(chain)
        while len(self._queue) >= self._limit and not self._failure:
            self._room.clear()
            await self._room.wait()
        self._refuse_when_stopped()
        future: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        self._queue.append((chain, future))
        self._work.set()
        return await future

    async def seal(self) -> None:
        """Bring the hash chain up to the newest transfer."""
        async with self._sealing:
            while True:
                self._refuse_when_stopped()
                found = await self._database.transact(next_seal, writes=False)
                if found is None:
                    return
                done = asyncio.get_running_loop().create_future()
                self._seals.append((found, done))
                self._work.set()
                await done

    async def close(self) -> None:
        """Answer everybody in line, seal, give back the lease and let go of the database."""
        if self._closing:
            return
        try:
            if self._failure is None:
                with suppress(StoreError, *self._failures):
                    await self.seal()
            self._closing = True
            self._work.set()
            for task in self._tasks[1:]:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
            if self._leadership.epoch and self._failure is None:
                with suppress(*self._failures):
                    await self._database.transact(self._leadership.release, writes=True)
        finally:
            await self._database.close()

    async def __aenter__(self) -> Self:
        """The writer itself."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close it."""
        await self.close()

    async def _start(self, *, wait: bool) -> None:
        """Migrate, lead, and begin to work."""
        upgrade = partial(migrate.upgrade, dialect=self._database.dialect, name=self.name)
        try:
            await self._database.transact(upgrade, writes=True)
            while not await self._database.transact(self._leadership.seek, writes=True):
                if not wait:
                    raise StoreError(
                        f"{self.name} is in use: {self._leadership.leader!r} leads its ledger"
                    )
                await asyncio.sleep(min(_STANDBY_SECONDS, self._renew_seconds))
        except self._failures as error:
            raise self._unusable(error, "opening it") from error
        self._tasks = [asyncio.create_task(self._run()), asyncio.create_task(self._keep_sealed())]

    def _unusable(self, error: Exception, doing: str) -> StoreError:
        cause = self._database.dialect.meaning(getattr(error, "orig", error))
        return StoreError(f"{self.name} {cause} ({doing})")

    def _refuse_when_stopped(self) -> None:
        if self._failure is not None:
            raise self._failure
        if self._closing:
            raise StoreError(f"{self.name}: its writer is closed")

    async def _run(self) -> None:
        """Batch after batch, until closed or deposed."""
        try:
            while True:
                batch = self._take()
                if batch or self._seals or self._due():
                    await self._settle(batch)
                    # Those who were answered may ask again before the next batch is closed.
                    await asyncio.sleep(0)
                elif self._closing:
                    return
                else:
                    self._work.clear()
                    with suppress(TimeoutError):
                        await asyncio.wait_for(self._work.wait(), self._renew_seconds)
        except Exception as error:
            self._stop(error)
            raise

    def _take(self) -> list[_Waiting]:
        """The next batch, without those whose callers have gone."""
        batch: list[_Waiting] = []
        count = 0
        while self._queue and count < BATCH:
            waiting = self._queue.popleft()
            if not waiting[1].done():
                batch.append(waiting)
                count += len(waiting[0])
        self._room.set()
        return batch

    def _due(self) -> bool:
        now = asyncio.get_running_loop().time()
        return now - self._renewed_at >= self._renew_seconds

    async def _settle(self, batch: list[_Waiting]) -> None:
        """Decide and commit a batch, and answer its callers, whatever happens."""
        seals, self._seals = self._seals, []
        try:
            outcomes = await self._persist([chain for chain, _ in batch], [s for s, _ in seals])
        except Exception as error:
            _fail([future for _, future in batch], error)
            _fail([done for _, done in seals], error)
            if isinstance(error, StoreError) and not isinstance(error, Deposed):
                return
            raise
        for (_, future), outcome in zip(batch, outcomes, strict=True):
            if not future.done():
                future.set_result(outcome)
        for _, done in seals:
            if not done.done():
                done.set_result(None)

    async def _persist(self, chains: list[Chain], seals: list[Seal]) -> list[Outcome]:
        """The outcomes, durable. A database that is away is waited for; a batch that its
        constraints refuse is tried in halves, until what they refuse stands alone."""
        loop = asyncio.get_running_loop()
        until = loop.time() + self._patience
        pause, longest = _RETRY_SECONDS
        again = True
        while True:
            try:
                return await self._transact(chains, seals)
            except _POISON as error:
                self._commits.forget()
                # Once more with the ledger's end read anew: it might only have been out of date.
                if not again:
                    return await self._halve(chains, seals, error)
                again = False
            except self._failures as error:
                self._commits.forget()
                if loop.time() + pause > until:
                    doing = f"committing {len(chains)} requests: it is not known whether they were"
                    raise self._unusable(error, doing) from error
                # What a lost connection left behind is found by its ids when it is done again.
                await asyncio.sleep(pause)
                pause = min(2 * pause, longest)

    async def _transact(self, chains: list[Chain], seals: list[Seal]) -> list[Outcome]:
        self._commits.renew = self._due()
        work = partial(self._commits.run, chains, seals)
        outcomes = await self._database.transact(work, writes=True)
        if self._commits.renew:
            self._renewed_at = asyncio.get_running_loop().time()
        return outcomes

    async def _halve(
        self, chains: list[Chain], seals: list[Seal], error: Exception
    ) -> list[Outcome]:
        if seals:
            # Somebody else sealed, which nobody but the writer does.
            raise InvariantBroken(f"{self.name}: sealing: {error}") from error
        if len(chains) == 1:
            why = str(getattr(error, "orig", error))
            return [Refusal(chains[0][0].id, RefusalCode.CONSTRAINT, why)]
        middle = len(chains) // 2
        return [
            *await self._persist(chains[:middle], []),
            *await self._persist(chains[middle:], []),
        ]

    async def _keep_sealed(self) -> None:
        while True:
            await asyncio.sleep(SEAL_SECONDS)
            # A database that is away is the writer's concern; sealing goes on when it is back.
            with suppress(StoreError, *self._failures):
                await self.seal()

    def _stop(self, error: Exception) -> None:
        """Tell everybody, now and from now on."""
        self._failure = error
        _fail([future for _, future in self._queue], error)
        _fail([done for _, done in self._seals], error)
        self._queue.clear()
        self._seals.clear()
        self._room.set()


def _fail(futures: Sequence[asyncio.Future[Any]], error: Exception) -> None:
    """Tell those who still listen."""
    for future in futures:
        if not future.done():
            future.set_exception(error)
