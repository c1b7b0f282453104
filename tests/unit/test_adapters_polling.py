"""Polite polling and bounded threads, on a virtual loop where they allow it."""

import asyncio
import threading
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from tests.support.daemon import START, LoopClock
from treasury.domain.errors import OutcomeUnknown, Throttled, Unreachable
from treasury.domain.time import HOUR, MINUTE, SECOND
from treasury.runtime.clocks import SystemDice
from treasury_providers.common.polling import PATIENCE, Cached, Feed, Pace, Source
from treasury_providers.common.workers import Workers
from treasury_simulations.storm.loop import VirtualLoop


class Site:
    """As much of a site as polling needs."""

    def __init__(self, loop: VirtualLoop) -> None:
        self.name, self.clock, self.dice = "aws", LoopClock(loop), SystemDice(1)


def virtually(work: Callable[[Site], Awaitable[Any]]) -> Any:
    """Run on a virtual loop: hours pass at once."""
    with asyncio.Runner(loop_factory=lambda: VirtualLoop(1)) as runner:
        return runner.run(work(Site(runner.get_loop())))


def test_calls_keep_their_pace_and_wait_after_a_throttle() -> None:
    """A burst goes at once, then one a second; after a throttle nobody calls before its end."""

    async def work(site: Site) -> list[int]:
        pace, at = Pace(site.clock, per_minute=60, burst=3), []
        for number in range(6):
            if number == 5:
                pace.hold(site.clock.now() + MINUTE)
            await pace.turn()
            at.append((site.clock.now() - START) // SECOND)
        return at

    assert virtually(work) == [0, 0, 0, 1, 2, 62]


def test_a_failing_source_backs_off_and_the_others_go_on(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """One dead source of two is asked less and less, is told of once, and stops nobody."""

    async def work(site: Site) -> tuple[int, int, dict[str, Any]]:
        asked = {"good": 0, "bad": 0}

        async def good() -> list[int]:
            asked["good"] += 1
            return [asked["good"]]

        async def bad() -> list[int]:
            asked["bad"] += 1
            raise Unreachable("gone")

        feed = Feed(site, "quotes", {"good": Source(MINUTE, good), "bad": Source(MINUTE, bad)})
        stream = feed.stream()
        async for _ in stream:
            if site.clock.now() - START > 2 * HOUR:
                break
        await stream.aclose()
        return asked["good"], asked["bad"], dict(feed.problems)

    good, bad, problems = virtually(work)
    assert 100 <= good <= 125
    assert 10 <= bad <= 25
    assert list(problems) == ["bad"]
    told = [record.getMessage() for record in caplog.records]
    assert told == ["aws quotes bad fails again and again: Unreachable: gone"]


def test_a_feed_whose_every_source_fails_says_so() -> None:
    """After a few rounds of failures everywhere the error comes out, throttles waited for."""

    async def work(site: Site) -> tuple[str, int]:
        async def bad() -> list[int]:
            raise Throttled("slower", until=site.clock.now() + HOUR)

        feed = Feed(site, "quotes", {"a": Source(MINUTE, bad)})
        with pytest.raises(Throttled) as told:
            async for _ in feed.stream():
                pass
        return str(told.value), (site.clock.now() - START) // HOUR

    assert virtually(work) == ("slower", PATIENCE - 1)


def test_a_mistake_in_a_source_is_not_swallowed() -> None:
    """What is no provider's error ends the stream at once."""

    async def work(site: Site) -> None:
        async def bad() -> list[int]:
            raise ZeroDivisionError

        async for _ in Feed(site, "quotes", {"a": Source(MINUTE, bad)}).stream():
            pass

    with pytest.raises(ZeroDivisionError):
        virtually(work)


def test_old_values_serve_while_fetching_fails_and_no_longer() -> None:
    """A value is fetched when it is old, once for many callers; failures fall back on it until
    it is too old to be of use."""

    async def work(site: Site) -> tuple[list[int], int]:
        fetched, fails = 0, False

        async def fetch() -> int:
            nonlocal fetched
            await asyncio.sleep(1)
            if fails:
                raise Unreachable
            fetched += 1
            return fetched

        cached = Cached(site.clock, MINUTE, fetch, keep=HOUR)
        seen = list(await asyncio.gather(*(cached.get() for _ in range(5))))
        await asyncio.sleep(61)
        seen.append(await cached.get())
        fails = True
        await asyncio.sleep(600)
        seen.append(await cached.get())
        await asyncio.sleep(3_600)
        with pytest.raises(Unreachable):
            await cached.get()
        return seen, cached.latest

    assert virtually(work) == ([1, 1, 1, 1, 1, 2, 2], 2)


async def test_a_late_answer_is_unknown_only_where_something_changes() -> None:
    """A call without an answer: a question is Unreachable, a deed OutcomeUnknown, and one that
    never began was not done."""
    workers, hold = Workers("test", 1), threading.Event()
    try:
        with pytest.raises(OutcomeUnknown):
            await workers.run(hold.wait, seconds=0.05, changes=True)
        done: list[int] = []
        with pytest.raises(Unreachable):
            await workers.run(lambda: done.append(1), seconds=0.05, changes=True)
        hold.set()
        assert await workers.run(lambda: 7, seconds=5, changes=False) == 7
        assert done == []
        hold.clear()
        with pytest.raises(Unreachable):
            await workers.run(hold.wait, seconds=0.05, changes=False)
    finally:
        hold.set()
        workers.close()
    workers.close()
    with pytest.raises(Unreachable):
        await workers.run(lambda: 7, seconds=5, changes=False)
