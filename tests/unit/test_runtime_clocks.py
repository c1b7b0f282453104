"""The machine's clock, dice and threads, and systemd's socket."""

import asyncio
import socket

import pytest

from treasury.domain.time import DAY, HOUR, SECOND
from treasury.runtime.clocks import SystemClock, SystemDice, ThreadOffload, system_host
from treasury.runtime.notify import notifier, watchdog


class Hands:
    """Two clocks set by hand."""

    def __init__(self) -> None:
        self.tick, self.wall = 5 * HOUR, 1_000 * DAY

    def clock(self) -> SystemClock:
        return SystemClock(lambda: self.tick, lambda: self.wall)

    def go(self, ns: int) -> None:
        self.tick += ns
        self.wall += ns


@pytest.mark.parametrize("step", [DAY, -DAY])
def test_a_step_of_the_wall_clock_becomes_a_drift(step):
    """A day forwards or back: an hour later we are off by three minutes, and never went back."""
    hands = Hands()
    clock = hands.clock()
    began = clock.now()
    hands.wall += step
    seen = [clock.now()]
    for _ in range(3_600):
        hands.go(SECOND)
        seen.append(clock.now())
    assert seen == sorted(seen)
    assert abs(seen[-1] - began - HOUR) == HOUR // 20
    assert abs(clock.skew) == DAY - HOUR // 20


def test_a_small_step_is_worked_off():
    """Two seconds off are gone within a minute."""
    hands = Hands()
    clock = hands.clock()
    hands.wall += 2 * SECOND
    for _ in range(60):
        hands.go(SECOND)
        clock.now()
    assert clock.skew == 0


def test_time_asleep_counts():
    """A machine that was suspended wakes up later by as much: the boot-time clock went on."""
    hands = Hands()
    clock = hands.clock()
    began = clock.now()
    hands.go(8 * HOUR)
    assert clock.now() - began == 8 * HOUR


async def test_the_real_clock_waits_and_returns():
    """An instant that has passed returns at once, one that has not is waited for."""
    clock = SystemClock()
    await clock.sleep_until(clock.now() - HOUR)
    until = clock.now() + SECOND // 100
    await clock.sleep_until(until)
    assert clock.now() >= until


def test_dice_have_a_stream_for_each_purpose():
    """The same seed and purpose give the same draws, whatever else is drawn."""
    one, other = SystemDice(7), SystemDice(7)
    other.stream("elsewhere").random()
    assert one.stream("feeds").random() == other.stream("feeds").random()
    assert one.stream("feeds") is one.stream("feeds")
    assert SystemDice().stream("x").random() != SystemDice().stream("x").random()


async def test_threads_run_what_blocks_and_return_or_raise():
    """The loop goes on meanwhile; a cancelled call leaves its thread to others."""
    offload = ThreadOffload(1, "test")
    assert await offload.run(lambda: 42) == 42
    with pytest.raises(ValueError, match="no"):
        await offload.run(_fail)
    task = asyncio.create_task(offload.run(lambda: 1))
    await asyncio.sleep(0)
    task.cancel()
    assert await offload.run(lambda: 2) == 2


def _fail():
    raise ValueError("no")


async def test_the_machine_has_threads_apart_for_store_and_strategy():
    """A strategy that hangs keeps no commit waiting."""
    host = system_host(1)
    assert len({id(host.storage), id(host.planning), id(host.offload)}) == 3


def test_systemd_is_told_through_its_socket(tmp_path):
    """A datagram arrives as it is; without a socket, or with one that is gone, nothing happens."""
    address = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(address)
        notifier({"NOTIFY_SOCKET": address})("READY=1")
        assert listener.recv(100) == b"READY=1"
    notifier({"NOTIFY_SOCKET": str(tmp_path / "gone")})("READY=1")
    notifier({})("READY=1")


@pytest.mark.parametrize(
    ("text", "every"),
    [("", 0), ("0", 0), ("30000000", 15 * SECOND), ("x", 0), ("1000", SECOND // 10)],
)
def test_systemd_is_patted_twice_in_its_time(text, every):
    """Half the allowed time; nothing where it is not wanted or cannot be read."""
    assert watchdog({"WATCHDOG_USEC": text}) == every
