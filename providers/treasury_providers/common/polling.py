"""Polite polling: paced calls, jitter, back-off, values that are fetched again when they are old.

All waiting is on the site's clock and all chance from its dice, so that a test drives both.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from typing import Any, Final, Generic, NamedTuple, TypeVar

from treasury.domain.errors import ProviderError
from treasury.domain.time import MINUTE, SECOND
from treasury.ports import Clock, Site

T = TypeVar("T")

# The longest wait between two attempts of a source that keeps failing.
BACKOFF_MAX: Final = 15 * MINUTE
# Attempts in a row, of every source, after which a feed says so instead of trying on in silence.
PATIENCE: Final = 3
# A source that has failed so often in a row is written about, once.
_NOTED: Final = 2
_LOG: Final = logging.getLogger(__name__)
_BACKOFF_FIRST: Final = 5 * SECOND
_JITTER: Final = 0.1


class Pace:
    """At most `per_minute` calls on average, `burst` at once; everybody waits after a throttle."""

    def __init__(self, clock: Clock, per_minute: int, burst: int = 10) -> None:
        self._clock = clock
        self._gap = MINUTE // max(1, per_minute)
        self._burst = (max(1, burst) - 1) * self._gap
        self._next = 0
        self._held = 0

    async def turn(self) -> None:
        """Return when the next call may be made."""
        now = self._clock.now()
        self._next = max(self._next, now)
        start = max(now, self._next - self._burst, self._held)
        self._next += self._gap
        if start > now:
            await self._clock.sleep_until(start)

    def hold(self, until: int) -> None:
        """Make no calls before an instant [ns]: the vendor asked for it."""
        self._held = max(self._held, until)


class Source(NamedTuple, Generic[T]):
    """One thing that is asked again and again. interval [ns]; fetch raises ProviderError."""

    interval: int
    fetch: Callable[[], Awaitable[Sequence[T]]]


class Feed(Generic[T]):
    """Several sources polled side by side as one stream.

    A source that fails backs off and the others go on; `problems` says what its last attempt met.
    When every source has failed `PATIENCE` times in a row the stream raises the newest error, so
    that whoever reads it knows.
    """

    def __init__(self, site: Site, purpose: str, sources: Mapping[str, Source[T]]) -> None:
        self.problems: dict[str, ProviderError] = {}
        self._site, self._purpose, self._sources = site, purpose, dict(sources)
        self._failures = dict.fromkeys(sources, 0)

    async def stream(self) -> AsyncIterator[T]:
        """Items as they come; never ends by itself. Raises ProviderError."""
        queue: asyncio.Queue[Sequence[T] | BaseException] = asyncio.Queue(maxsize=64)
        self._failures = dict.fromkeys(self._sources, 0)
        tasks = [
            asyncio.ensure_future(self._poll(name, source, queue))
            for name, source in self._sources.items()
        ]
        try:
            while True:
                batch = await queue.get()
                if isinstance(batch, BaseException):
                    raise batch
                for item in batch:
                    yield item
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _poll(self, name: str, source: Source[T], queue: asyncio.Queue[Any]) -> None:
        clock = self._site.clock
        dice = self._site.dice.stream(f"{self._site.name}/{self._purpose}/{name}")
        while True:
            started = clock.now()
            try:
                items = await source.fetch()
            except ProviderError as error:
                self.problems[name] = error
                self._failures[name] += 1
                if self._failures[name] == _NOTED:
                    what, kind = f"{self._site.name} {self._purpose} {name}", type(error).__name__
                    _LOG.warning("%s fails again and again: %s: %s", what, kind, error)
                if min(self._failures.values()) >= PATIENCE:
                    await queue.put(error)
                    return
                wait = _backoff(self._failures[name], source.interval)
                until = max(clock.now() + wait, error.until or 0)
            except Exception as error:  # noqa: BLE001 - a mistake of ours must not end in silence
                await queue.put(error)
                return
            else:
                if self._failures[name] >= _NOTED:
                    _LOG.warning("%s %s %s answers again", self._site.name, self._purpose, name)
                self.problems.pop(name, None)
                self._failures[name] = 0
                if items:
                    await queue.put(items)
                wait, until = source.interval, started + source.interval
            await clock.sleep_until(until + int(wait * _JITTER * dice.random()))


def _backoff(failures: int, interval: int) -> int:
    longest = max(BACKOFF_MAX, interval)
    return min(longest, _BACKOFF_FIRST << min(failures - 1, 20))


class Cached(Generic[T]):
    """A value that is fetched again when it is older than `ttl` [ns].

    While fetching fails, what was fetched last is served until it is `keep` [ns] old; then the
    error is raised. Callers that come together wait for one fetch.
    """

    def __init__(
        self, clock: Clock, ttl: int, fetch: Callable[[], Awaitable[T]], *, keep: int = 0
    ) -> None:
        self.fetched_at: int | None = None
        self._clock, self._ttl, self._keep, self._fetch = clock, ttl, max(keep, ttl), fetch
        self._value: T | None = None
        self._lock: asyncio.Lock | None = None

    async def get(self) -> T:
        """The value. Raises ProviderError when there is none that is fresh enough."""
        # Made here: a lock belongs to the loop that first waits on it.
        self._lock = self._lock or asyncio.Lock()
        async with self._lock:
            age = self._age()
            if age is None or age >= self._ttl:
                try:
                    self.put(await self._fetch(), self._clock.now())
                except ProviderError:
                    if age is None or age >= self._keep:
                        raise
            return self._value  # type: ignore[return-value] # None is a value only where T is

    @property
    def latest(self) -> T | None:
        """What was fetched last, however old; None before."""
        return self._value

    def put(self, value: T, fetched_at: int) -> None:
        """Take over a value that was fetched earlier, such as one kept on disk."""
        self._value, self.fetched_at = value, fetched_at

    def _age(self) -> int | None:
        return None if self.fetched_at is None else self._clock.now() - self.fetched_at
