"""The turn loop: inputs to a step, a step to a commit, and only then to the world.

    inbox -> step(book, batch, now) -> append, one transaction -> followers, watchers, callers

The book in memory is ahead of the database for as long as a commit takes. A commit that fails is
tried again, the same turn, until the database takes it; one that is refused for good ends the
process, and the next start rebuilds the book from the journal.
"""

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Final

from treasury.domain.errors import Deposed, StoreError
from treasury.domain.events import Input, Wake
from treasury.domain.ids import OfferId
from treasury.domain.market import Quote
from treasury.domain.time import MINUTE, NEVER, SECOND
from treasury.domain.turn import Entry
from treasury.engine import Book, step
from treasury.ports import Clock, Offload, Store
from treasury.runtime.inbox import Done, Inbox
from treasury.runtime.observer import Observer

Watcher = Callable[[Entry, Book], None]

_WAKE: Final = Wake()
# The loop looks at the clock at least this often: a machine may have been suspended.
_LOOK: Final = MINUTE
# A market's clock may be this far ahead of ours; what it says then counts as said now.
_SKEW_MAX: Final = MINUTE
_RETRY_FIRST, _RETRY_MOST = SECOND // 2, 30 * SECOND


class Agent:
    """One book and the one loop that changes it.

    book: to be read on the loop's thread. fault: why turns cannot be committed just now, "" when
    they can. Make it on the loop it will run on.
    """

    def __init__(
        self,
        book: Book,
        store: Store,
        clock: Clock,
        storage: Offload,
        observer: Observer | None = None,
    ) -> None:
        self.book = book
        self.fault = ""
        self._store, self._clock, self._storage = store, clock, storage
        self._observer = observer or Observer()
        self._inbox = Inbox()
        self._wake_at = 0
        self._quoted: dict[OfferId, Quote] = {}
        self._followers: list[Watcher] = []
        self._watchers: dict[int, Watcher] = {}
        self._watched = 0
        self._callers: dict[int, asyncio.Future[Entry]] = {}
        self._called = 0
        self._entry: Entry | None = None

    # --- inputs ----------------------------------------------------------------------------------

    async def submit(self, *inputs: Input) -> Entry:
        """Decide on inputs in one turn: the committed turn, whose facts tell refusals.

        Raises StoreError when the database takes no turns at present, and when the loop ends before
        the commit; whether the turn was written is then for the next start to find out.
        """
        if self.fault:
            raise StoreError(self.fault)
        future: asyncio.Future[Entry] = asyncio.get_running_loop().create_future()
        self._called += 1
        call = self._called
        self._callers[call] = future
        self._inbox.put(inputs, partial(self._answer, call))
        return await future

    def _answer(self, call: int) -> None:
        future = self._callers.pop(call)
        if not future.done() and self._entry is not None:
            future.set_result(self._entry)

    def put(self, event: Input, committed: Done | None = None) -> None:
        """A fact from the world; `committed` is called once its turn is. Never dropped."""
        self._inbox.put((event,), committed)

    def quote(self, quote: Quote) -> None:
        """A price. The last one of an offer wins; what says nothing new is not passed on, unless
        the one before is about to become too old to trade on."""
        last = self._quoted.get(quote.offer)
        if last is not None and last.rate == quote.rate and last.depth == quote.depth:
            refresh = self.book.settings.quote_age_max // 4 or NEVER
            if quote.observed_at - last.observed_at < refresh:
                return
        if quote.offer not in self.book.offers:
            return
        self._quoted[quote.offer] = quote
        ahead = quote.observed_at - self._clock.now()
        if 0 < ahead <= _SKEW_MAX:
            now = self._clock.now()
            quote = Quote(quote.offer, quote.rate, quote.depth, now, now)
        self._inbox.quote(quote)

    # --- those who look on -----------------------------------------------------------------------

    def follow(self, follower: Watcher) -> None:
        """Have each committed turn carried out; what a follower raises ends the process."""
        self._followers.append(follower)

    def watch(self, watcher: Watcher) -> Callable[[], None]:
        """Be told of each committed turn, after those who carry it out; returns how to stop. A
        watcher may not keep the loop waiting; what it raises is reported and harms nobody."""
        self._watched += 1
        key = self._watched
        self._watchers[key] = watcher

        def stop() -> None:
            self._watchers.pop(key, None)

        return stop

    # --- the loop --------------------------------------------------------------------------------

    async def run(self) -> None:
        """Turn after turn until cancelled. Raises Deposed when another process leads, and whatever
        else makes going on unsafe."""
        try:
            while True:
                await self._inbox.wait(self._patience())
                await self._turn()
        except BaseException as error:
            self._give_up(error)
            raise

    def _patience(self) -> float:
        """How long [s] there is nothing to do unless something happens."""
        return min(self._wake_at - self._clock.now(), _LOOK) / SECOND

    async def _turn(self) -> None:
        batch, done = self._inbox.take()
        started = self._clock.now()
        now = max(started, self.book.now)
        if not batch:
            if self._wake_at > now:
                return
            batch.append(_WAKE)
        self._observer.queued(len(self._inbox))
        turn = step(self.book, tuple(batch), now)
        entry = turn.entry
        self._wake_at = turn.wake_at
        decided = self._clock.now()
        await self._commit(entry)
        committed = self._clock.now()
        for follower in self._followers:
            follower(entry, self.book)
        self._entry = entry
        for callback in done:
            callback()
        self._observer.turned(
            entry,
            self.book,
            inputs=len(batch),
            step_ns=decided - started,
            commit_ns=committed - decided,
        )
        for watcher in list(self._watchers.values()):
            try:
                watcher(entry, self.book)
            except Exception as error:  # noqa: BLE001 - an onlooker's mistake stops no money
                self._observer.broke("a watcher", error)

    async def _commit(self, entry: Entry) -> None:
        """Write a turn; the same one again and again while the database cannot take it."""
        wait = _RETRY_FIRST
        while True:
            try:
                await self._storage.run(partial(self._store.append, entry))
            except Deposed:
                raise
            except StoreError as error:
                self.fault = str(error)
                self._observer.store_failed(error, wait)
            else:
                self.fault = ""
                return
            await self._clock.sleep_until(self._clock.now() + wait)
            wait = min(2 * wait, _RETRY_MOST)
            if await self._storage.run(partial(_written, self._store, entry)):
                self.fault = ""
                return

    def _give_up(self, error: BaseException) -> None:
        """Tell everyone who waits for a commit that there will be none."""
        kind = Deposed if isinstance(error, Deposed) else StoreError
        for future in self._callers.values():
            if not future.done():
                future.set_exception(kind(f"the daemon ended before the commit: {error!r}"))
                # Nobody may be left to ask.
                future.exception()
        self._callers.clear()


def _written(store: Store, entry: Entry) -> bool:
    """Whether a commit whose answer was lost has been taken. Raises Deposed when another turn
    stands in its place."""
    try:
        if store.last()[0] < entry.seq:
            return False
        found = next(store.entries(entry.seq - 1))
    except StoreError:
        return False
    if found != entry:
        raise Deposed(f"turn {entry.seq} was written by another process; nothing was written")
    return True
