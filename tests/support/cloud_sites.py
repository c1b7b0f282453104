"""What an adapter is made with in a test: a clock that hurries, seeded dice, a boot script."""

import asyncio
import time
from pathlib import Path
from random import Random

from treasury.domain.commands import Acquire
from treasury.domain.ids import ProviderName
from treasury.domain.time import SECOND

BOOT = "#!/bin/sh\nset -eu\necho 'a node agent starts here'\n"


class HastyClock:
    """Real waiting, `speed` times faster: half a minute's notice passes in a second."""

    def __init__(self, speed: int = 30, start: int = 1_900_000_000 * SECOND) -> None:
        self._speed, self._start = speed, start
        self._began = time.monotonic_ns()  # noqa: TID251 - this is a clock

    def now(self) -> int:
        """The present instant [ns]."""
        return self._start + (time.monotonic_ns() - self._began) * self._speed  # noqa: TID251

    async def sleep_until(self, instant: int) -> None:
        """Sleep the hurried way."""
        await asyncio.sleep(max(0, instant - self.now()) / SECOND / self._speed)


class SeededDice:
    """Streams by purpose."""

    def __init__(self, seed: int = 0) -> None:
        self._seed = seed
        self._streams: dict[str, Random] = {}

    def stream(self, purpose: str) -> Random:
        """The generator of one purpose."""
        return self._streams.setdefault(purpose, Random(f"{self._seed}/{purpose}"))


class TestSite:
    """A Site."""

    __test__ = False

    def __init__(self, name: str, clock: HastyClock, state: Path) -> None:
        self.name = ProviderName(name)
        self.installation = "test-house"
        self.clock, self.dice, self.state = clock, SeededDice(), state
        self.offload = self

    def boot(self, request: Acquire, index: int) -> str:
        """The user data of a machine."""
        return f"{BOOT}# lease {request.leases[index]}\n"

    async def run(self, function):
        """Run at once."""
        return function()
