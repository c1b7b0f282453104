"""The deterministic loop: what storms stand on."""

import asyncio
import socket

import pytest

from treasury.domain.time import HOUR, SECOND
from treasury_simulations.storm.loop import PINNED, Escaped, Stuck, VirtualLoop


def _run(loop, work):
    try:
        return loop.run_until_complete(work)
    finally:
        loop.bury()
        loop.close()


async def _race(order: list[int]) -> None:
    """Ten tasks that pass each other at the same instants."""

    async def run(number: int) -> None:
        for _ in range(5):
            await asyncio.sleep(0.001)
            order.append(number)

    await asyncio.gather(*(run(number) for number in range(10)))


def _ordered(seed: int | None) -> tuple[list[int], str]:
    loop = VirtualLoop(seed, trace=True)
    order: list[int] = []
    try:
        loop.run_until_complete(_race(order))
        return order, loop.digest()
    finally:
        loop.close()


def test_the_private_parts_of_asyncio_are_where_they_are_expected():
    """Each name the loop stands on exists on this Python, and handles keep their context."""
    for kind, names in PINNED.items():
        for name in names:
            assert callable(getattr(kind, name))
    loop = VirtualLoop()
    handle = loop.call_soon(print)
    assert hasattr(loop, "_ready") and list(loop._ready) == [handle]
    assert handle._context is not None and handle._callback is print
    loop.close()


def test_time_jumps_and_is_exact():
    """An hour passes at once, in whole nanoseconds."""
    loop = VirtualLoop()
    _run(loop, asyncio.sleep(3_600))
    assert loop.now_ns == HOUR


def test_the_same_seed_is_the_same_course_and_another_seed_is_another():
    """Order and digest of every step are functions of the seed."""
    assert _ordered(1) == _ordered(1)
    assert _ordered(1)[0] != _ordered(2)[0]
    assert _ordered(None)[0] == list(range(10)) * 5


def test_a_killed_host_never_runs_again_not_even_its_finally():
    """Killed in its sleep, a task neither goes on nor cleans up; others are not disturbed."""
    loop, seen = VirtualLoop(3), []

    async def victim() -> None:
        try:
            await asyncio.sleep(10)
            seen.append("went on")
        finally:
            seen.append("cleaned up")

    async def main() -> None:
        loop.spawn(("daemon", 1), victim())
        await asyncio.sleep(1)
        loop.kill(("daemon", 1))
        await asyncio.sleep(100)
        assert not seen

    loop.run_until_complete(main())
    assert not seen
    loop.close()


def test_a_paused_host_runs_late():
    """What was due during a pause happens at its end."""
    loop, at = VirtualLoop(3), []

    async def work() -> None:
        await asyncio.sleep(1)
        at.append(loop.now_ns)

    async def main() -> None:
        loop.spawn(("daemon", 1), work())
        await asyncio.sleep(0.5)
        loop.pause("daemon", 30 * SECOND)
        await asyncio.sleep(60)

    _run(loop, main())
    assert at == [30 * SECOND]


@pytest.mark.parametrize("reach", ["thread", "connection", "name", "process"])
def test_what_is_outside_is_refused(reach: str):
    """Threads, sockets, names and processes are errors, not silent nondeterminism."""
    loop = VirtualLoop()

    async def main() -> None:
        if reach == "thread":
            await asyncio.to_thread(print)
        elif reach == "connection":
            await asyncio.open_connection("127.0.0.1", 1)
        elif reach == "name":
            await loop.getaddrinfo("localhost", 1, family=socket.AF_INET)
        else:
            await asyncio.create_subprocess_exec("true")

    with pytest.raises(Escaped):
        _run(loop, main())


def test_waiting_for_ever_is_an_error():
    """A future that nobody will resolve is found at once."""
    loop = VirtualLoop()
    with pytest.raises(Stuck):
        loop.run_until_complete(loop.create_future())
    loop.close()
