"""What the agent tells whoever listens: prices, turns, who leads. A hint; the truth is elsewhere.

Bounded and in order: while the broker is away the oldest is dropped, and a listener that finds a
gap in the numbers asks the HTTP API.
"""

import asyncio
from collections import deque
from typing import Any, Final

from treasury.bus.client import BusClient
from treasury.bus.fields import MessageError, encode
from treasury.bus.messages import Event, Price
from treasury.bus.topics import Topics
from treasury.domain.events import OffersListed, Quoted
from treasury.domain.turn import Entry
from treasury.engine.book import Book

_WAITING_MAX: Final = 10_000


class Broadcast:
    """A queue of publications and the task that sends them. dropped: how many were not sent."""

    def __init__(self, client: BusClient, topics: Topics, epoch: int) -> None:
        self.dropped = 0
        self._client, self._topics, self._epoch = client, topics, epoch
        self._waiting: deque[tuple[str, bytes, int, bool]] = deque()
        self._wake = asyncio.Event()

    def say(self, topic: str, message: Any, *, qos: int = 1, retain: bool = False) -> None:
        """Send a message soon. Raises MessageError for one that is too large."""
        if self._client.up_since is None:
            return
        self._waiting.append((topic, encode(message), qos, retain))
        if len(self._waiting) > _WAITING_MAX:
            self._waiting.popleft()
            self.dropped += 1
        self._wake.set()

    def committed(self, entry: Entry, book: Book) -> None:
        """Send a turn, and the prices in it."""
        if self._client.up_since is None:
            return
        for fact in entry.facts:
            if isinstance(fact, Quoted):
                self._prices(fact, book)
        # Catalogues are large and do not move; prices have topics of their own.
        facts = [f for f in entry.facts if not isinstance(f, Quoted | OffersListed)]
        if facts:
            self._event(entry, facts)

    def _prices(self, fact: Quoted, book: Book) -> None:
        for quote in fact.quotes:
            record = book.offers.get(quote.offer)
            if record is None:
                continue
            provider = record.offer.provider
            price = Price(quote.offer, provider, quote.rate, quote.observed_at, quote.depth)
            self.say(self._topics.prices(provider), price, qos=0)

    def _event(self, entry: Entry, facts: list[Any]) -> None:
        import msgspec

        plain = tuple(msgspec.to_builtins(fact) for fact in facts)
        try:
            self.say(self._topics.events, Event(self._epoch, entry.seq, entry.at, plain))
        except MessageError:
            self.say(self._topics.events, Event(self._epoch, entry.seq, entry.at, None))

    async def run(self) -> None:
        """Send until cancelled."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._waiting:
                topic, payload, qos, retain = self._waiting.popleft()
                if not await self._client.publish(topic, payload, qos=qos, retain=retain):
                    self.dropped += 1
