"""What waits for the next turn: facts in order, quotes the last one an offer."""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Final

from treasury.domain.events import Input, SeeQuotes
from treasury.domain.ids import OfferId
from treasury.domain.market import Quote
from treasury.domain.time import SECOND

# Inputs of one turn at most: a turn is one transaction, and must stay a short one.
BATCH_MAX: Final = 10_000
# After a turn that took quotes, the next one waits this long unless something else happens: a
# market that ticks all the time costs a few turns a second.
QUOTE_GAP: Final = SECOND // 5

Done = Callable[[], None]


class Inbox:
    """Filled from the loop's thread at any time, emptied by the agent alone.

    Facts are never dropped. Quotes are bounded by the number of offers: a newer one replaces the
    one that waits.
    """

    def __init__(self) -> None:
        self._facts: deque[tuple[tuple[Input, ...], Done | None]] = deque()
        self._quotes: dict[OfferId, Quote] = {}
        self._news = asyncio.Event()
        self._quotes_from = 0.0
        self._alarm: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        return len(self._facts) + len(self._quotes)

    def put(self, events: tuple[Input, ...], committed: Done | None = None) -> None:
        """Facts of one turn; `committed` is called after its commit."""
        self._facts.append((events, committed))
        self._news.set()

    def quote(self, quote: Quote) -> None:
        """A quote, unless a newer one waits."""
        waits = self._quotes.get(quote.offer)
        if waits is not None and waits.observed_at > quote.observed_at:
            return
        self._quotes[quote.offer] = quote
        if self._alarm is None and not self._news.is_set():
            loop = asyncio.get_running_loop()
            if loop.time() >= self._quotes_from:
                self._news.set()
            else:
                self._alarm = loop.call_at(self._quotes_from, self._ring)

    def _ring(self) -> None:
        self._alarm = None
        self._news.set()

    async def wait(self, seconds: float) -> None:
        """Return when something waits, or after a time."""
        if seconds <= 0:
            # Others get their turn on the loop even when there is always something to do.
            await asyncio.sleep(0)
            return
        try:
            # The loop's time is a float: what is shorter might not move it.
            async with asyncio.timeout(max(seconds, 0.000_01)):
                await self._news.wait()
        except TimeoutError:
            return

    def take(self) -> tuple[list[Input], list[Done]]:
        """The next turn's inputs, and what to call after its commit."""
        batch: list[Input] = []
        done: list[Done] = []
        if self._quotes:
            batch.append(SeeQuotes(tuple(self._quotes.values())))
            self._quotes.clear()
            self._quotes_from = asyncio.get_running_loop().time() + QUOTE_GAP / SECOND
            if self._alarm is not None:
                self._alarm.cancel()
                self._alarm = None
        facts = self._facts
        while facts and len(batch) < BATCH_MAX:
            events, committed = facts.popleft()
            batch.extend(events)
            if committed is not None:
                done.append(committed)
        if not facts:
            self._news.clear()
        return batch, done
