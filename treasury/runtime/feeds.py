"""What providers say by themselves: catalogues, quotes and notices, for as long as they say it.

A stream that ends, fails or falls silent is opened anew, later each time. Nobody waits for a feed:
the book keeps what was last heard, and knows how old it is.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Final, TypeVar

from treasury.domain.errors import StoreError
from treasury.domain.events import ListOffers, MachineNoticed
from treasury.domain.ids import LeaseId, ProviderName
from treasury.domain.market import Offer
from treasury.domain.time import HOUR, MINUTE, SECOND
from treasury.ports import Clock, Dice, Provider
from treasury.runtime.agent import Agent
from treasury.runtime.crew import Crew
from treasury.runtime.observer import Observer
from treasury.runtime.pacing import Backoff, Gate

T = TypeVar("T")

# A catalogue changes slowly.
CATALOGUE_EVERY: Final = HOUR
_CATALOGUE_LIMIT: Final = 5 * MINUTE
_FIRST, _MOST = SECOND, 5 * MINUTE
# The loop's time is a float [s]: a timer may come a hair before its instant.
_ROUNDING: Final = 0.001


class Feed:
    """All that one provider says. quiet_after [ns]: a stream of quotes that is silent for longer is
    taken for dead. ages: when each of its feeds was last heard [ns]."""

    def __init__(
        self,
        name: ProviderName,
        provider: Provider,
        gate: Gate,
        agent: Agent,
        quiet_after: int,
        clock: Clock,
        dice: Dice,
        observer: Observer,
    ) -> None:
        self.heard: dict[str, int] = {}
        self._name, self._provider, self._gate, self._agent = name, provider, gate, agent
        self._quiet_after, self._clock, self._observer = quiet_after, clock, observer
        self._dice = dice.stream(f"feed {name}")
        self._listed = asyncio.Event()
        self._catalogue: tuple[Offer, ...] | None = None
        self._silent: set[str] = set()
        self._noticed: dict[LeaseId, int] = {}

    def start(self, crew: Crew) -> None:
        """Begin to listen."""
        crew.start(self._catalogues(), f"catalogue of {self._name}")
        crew.start(self._stream("quotes", self._quotes), f"quotes of {self._name}")
        crew.start(self._stream("notices", self._notices), f"notices of {self._name}")

    def _hear(self, feed: str) -> None:
        first = feed not in self.heard or feed in self._silent
        self.heard[feed] = self._clock.now()
        if first:
            self._silent.discard(feed)
            self._observer.heard(self._name, feed)

    async def _catalogues(self) -> None:
        backoff = Backoff(self._dice, _FIRST, _MOST)
        while True:
            try:
                async with self._gate.call(), asyncio.timeout(_CATALOGUE_LIMIT / SECOND):
                    offers = tuple(await self._provider.offers())
                if offers != self._catalogue:
                    await self._agent.submit(ListOffers(self._name, offers))
                    self._catalogue = offers
            except StoreError:
                # The database takes no turns now: the same catalogue again later.
                wait = backoff.next()
            except Exception as error:  # noqa: BLE001 - a feed may fail in any way
                self._observer.failed(self._name, "offers", error)
                wait = backoff.next()
            else:
                backoff.reset()
                self._hear("offers")
                self._listed.set()
                wait = CATALOGUE_EVERY - self._dice.randrange(CATALOGUE_EVERY // 8)
            await self._clock.sleep_until(self._clock.now() + wait)

    async def _stream(self, feed: str, listen: Callable[[Backoff], Awaitable[None]]) -> None:
        """Listen again whenever it ends."""
        await self._listed.wait()
        backoff = Backoff(self._dice, _FIRST, _MOST)
        while True:
            try:
                await listen(backoff)
            except Exception as error:  # noqa: BLE001 - a feed may fail in any way
                self._observer.failed(self._name, feed, error)
            await self._clock.sleep_until(self._clock.now() + backoff.next())

    async def _quotes(self, backoff: Backoff) -> None:
        loop, patience = asyncio.get_running_loop(), self._quiet_after / SECOND
        spoke, silent = loop.time(), False
        alarm: asyncio.TimerHandle | None = None
        try:
            async with _closing(self._provider.quotes()) as quotes, asyncio.timeout(None) as limit:

                def look() -> None:
                    # One timer for the stream, not one a quote: there may be many thousands.
                    nonlocal alarm, silent
                    left = spoke + patience - loop.time()
                    if left <= _ROUNDING:
                        silent = True
                        limit.reschedule(loop.time())
                    else:
                        alarm = loop.call_later(left, look)

                alarm = loop.call_later(patience, look)
                async for quote in quotes:
                    spoke = loop.time()
                    backoff.reset()
                    self._hear("quotes")
                    self._agent.quote(quote)
        except TimeoutError:
            if not silent:
                raise
            self._silent.add("quotes")
            self._observer.quiet(self._name, "quotes", self._quiet_after)
        finally:
            if alarm is not None:
                alarm.cancel()

    async def _notices(self, backoff: Backoff) -> None:
        async with _closing(self._provider.notices()) as notices:
            async for notice in notices:
                backoff.reset()
                self._hear("notices")
                self.notice(notice)

    def notice(self, notice: MachineNoticed) -> None:
        """Pass a warning on, once: markets repeat them."""
        book = self._agent.book
        if notice.lease not in book.leases or self._noticed.get(notice.lease) == notice.ends_at:
            return
        self._noticed = {lease: at for lease, at in self._noticed.items() if lease in book.leases}
        self._noticed[notice.lease] = notice.ends_at
        self._agent.put(notice)


@asynccontextmanager
async def _closing(stream: AsyncIterator[T]) -> AsyncIterator[AsyncIterator[T]]:
    """Close a stream that can be closed: a generator's `finally` must not wait for the collector
    of garbage."""
    try:
        yield stream
    finally:
        if isinstance(stream, AsyncGenerator):
            await stream.aclose()
