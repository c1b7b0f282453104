"""How often and how many at once: backoff with jitter, and the gate in front of a provider."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from random import Random
from typing import Final

from treasury.domain.time import MINUTE, SECOND
from treasury.ports import Clock

# Calls to one provider that may be under way at once.
CALLS_AT_ONCE: Final = 16
# How often it is looked whether we lead again.
_LOOK: Final = SECOND


class Backoff:
    """Waits that double from `first` to `most` [ns], each shortened by up to a half, so that many
    who failed together do not come back together."""

    def __init__(self, dice: Random, first: int, most: int) -> None:
        self._dice, self._first, self._most = dice, first, most
        self._wait = first

    def next(self) -> int:
        """The next wait [ns]."""
        wait = self._wait
        self._wait = min(2 * wait, self._most)
        return wait // 2 + self._dice.randrange(wait // 2 + 1)

    def reset(self) -> None:
        """Begin again: something succeeded."""
        self._wait = self._first


class Gate:
    """What stands between us and one provider's interface.

    may_act, may_launch: whether anything may be asked of it, and whether machines may. per_minute:
    calls it allows. serial: one request for machines at a time. fog: an instant [ns] until which
    it is not known what a request without an answer has done, so that none follows it.
    """

    def __init__(
        self,
        clock: Clock,
        may_act: Callable[[], bool],
        may_launch: Callable[[], bool],
        per_minute: int,
        *,
        serial: bool,
    ) -> None:
        self.fog = 0
        self._clock, self._may_act, self._may_launch = clock, may_act, may_launch
        self._interval = MINUTE // max(1, per_minute)
        # A tenth of a minute's calls may come at once.
        self._burst = 6 * SECOND
        self._due = 0
        self._calls = asyncio.Semaphore(CALLS_AT_ONCE)
        # Where a repeated request may take a second machine, one is under way at a time.
        self._launches = asyncio.Semaphore(1 if serial else CALLS_AT_ONCE)

    @asynccontextmanager
    async def call(self) -> AsyncIterator[None]:
        """Enter when a call may be made. Its caller bounds how long it waits."""
        async with self._calls:
            await self._turn()
            await self._until(self._may_act)
            yield

    @asynccontextmanager
    async def launch(self) -> AsyncIterator[None]:
        """The same for a request that takes machines: not while it is foggy."""
        async with self._launches:
            while self.fog > self._clock.now():
                await self._clock.sleep_until(self.fog)
            await self._until(self._may_launch)
            async with self.call():
                yield

    async def _until(self, allowed: Callable[[], bool]) -> None:
        while not allowed():
            await self._clock.sleep_until(self._clock.now() + _LOOK)

    async def _turn(self) -> None:
        now = self._clock.now()
        due = max(self._due, now)
        self._due = due + self._interval
        if due - now > self._burst:
            await self._clock.sleep_until(due - self._burst)
