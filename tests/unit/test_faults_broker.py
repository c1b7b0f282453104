"""Faults of brokers and of those who speak through them, without a broker."""

import asyncio

import pytest

from tests.support.table import A, Table
from treasury.bus.broadcast import Broadcast
from treasury.bus.control import BusRunner
from treasury.bus.fields import decode, encode
from treasury.bus.messages import Ack, Event, Order, Report, Status
from treasury.bus.topics import Topics
from treasury.domain import events as e
from treasury.domain.money import NANO
from treasury.domain.plan import Place
from treasury.domain.task import Task
from treasury.domain.time import HOUR

TOPICS = Topics("prod")
PULSE = "ab" * 16 + "-1"


class Line:
    """A connection in memory. sent: what was published, (topic, payload). up_since: None while the
    broker is away."""

    def __init__(self) -> None:
        self.up_since: int | None = 0
        self.fault = ""
        self.sent: list[tuple[str, bytes]] = []

    async def publish(self, topic, payload, *, qos=1, retain=False) -> bool:
        if self.up_since is None:
            return False
        self.sent.append((topic, payload))
        return True

    def on(self, topic: str) -> list[bytes]:
        return [payload for place, payload in self.sent if place == topic]


class Ear:
    """An agent that remembers what it is told and commits when asked to."""

    def __init__(self, table: Table) -> None:
        self.book, self.told, self.later = table.book, [], []

    def put(self, event, committed=None) -> None:
        self.told.append(event)
        self.later.append(committed)

    def watch(self, watcher):
        return lambda: None


class Still:
    """A clock that stands."""

    def now(self) -> int:
        return HOUR

    async def sleep_until(self, instant) -> None:
        await asyncio.sleep(0)


def running() -> Table:
    """A job that runs on lease 1, and lease 2 that is over."""
    table = Table()
    table.submit(task=Task(command=("run",)))
    table.plan(Place("j", A.id, 3 * NANO))
    table.grant(NANO)
    table.begin()
    table.submit("k", task=Task(command=("run",)))
    table.plan(Place("k", A.id, 3 * NANO))
    table.grant(NANO)
    table.turn(e.MachineLost(2, table.now, "interrupted"))
    return table


def control(epoch: int = 3) -> tuple[BusRunner, Line, Ear]:
    """The control's end, its connection, and the agent behind it."""
    line, ear = Line(), Ear(running())
    return BusRunner(ear, line, TOPICS, Still(), epoch=epoch), line, ear


async def settled(runner: BusRunner) -> None:
    """Everything that waits to be published is."""
    tasks = [asyncio.ensure_future(part.run()) for part in (runner._board, runner._broadcast)]
    for _ in range(50):
        await asyncio.sleep(0)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def report(lease: int = 1, seq: int = 1, kind: str = "began", **fields) -> Report:
    """Lease 1's word."""
    return Report(lease, "cd" * 8, seq, 1, kind, 0, PULSE, order=10**18, placement=1, **fields)


@pytest.mark.parametrize(
    "payload",
    [
        b"\xff\xfe\x00",
        b"",
        b"not json",
        b"[" * 10_000,
        b'{"lease": 1e999}',
        b'{"lease": NaN}',
        b"{" + b'"a":1,' * 50_000 + b'"b":2}',
        b'{"lease": "1"}',
        encode(report(lease=2)),
    ],
)
async def test_what_cannot_be_read_is_dropped_and_counted(payload: bytes) -> None:
    """No traceback, no input: one more on the counter that health shows, and nothing published."""
    runner, line, ear = control()
    await settled(runner)
    line.sent.clear()
    for channel in ("report", "log"):
        runner._heard(TOPICS.node(1, channel), payload)
    assert runner.refused == runner.status()["refused"] == 2
    await settled(runner)
    assert (ear.told, line.sent) == ([], [])


async def test_an_order_for_a_lease_that_is_over_is_cleared() -> None:
    """What an earlier epoch retained there is answered with a farewell and then wiped from the
    broker; our own farewell has no echo, and a lease that was not given out yet is left alone."""
    runner, line, _ = control()
    stale = Order(epoch=2, number=5, lease=2, fuse_ns=HOUR)
    place = TOPICS.node(2, "order")
    runner._heard(place, encode(stale))
    await settled(runner)
    farewell, cleared = line.on(place)
    assert decode(Order, farewell).release
    assert cleared == b""
    runner._heard(place, farewell)
    runner._heard(place, b"")
    runner._heard(TOPICS.node(99, "order"), encode(Order(2, 5, 99, HOUR)))
    await settled(runner)
    assert len(line.on(place)) == 2
    assert line.on(TOPICS.node(99, "order")) == []


async def test_the_last_will_of_an_earlier_leader_is_overruled() -> None:
    """Its word that nobody leads comes after our first: ours is said again."""
    runner, line, _ = control(epoch=3)
    for epoch in (3, 4):
        runner._heard(TOPICS.status, encode(Status(epoch, online=False, at=0)))
    await settled(runner)
    assert line.on(TOPICS.status) == []
    runner._heard(TOPICS.status, encode(Status(2, online=False, at=0)))
    await settled(runner)
    (said,) = line.on(TOPICS.status)
    assert (decode(Status, said).epoch, decode(Status, said).online) == (3, True)


async def test_a_flood_of_reports_costs_one_input() -> None:
    """A machine says the same ten thousand times before its first word is committed: one input,
    and one acknowledgement when it is."""
    runner, line, ear = control()
    saved = {"phase": "running", "progress_ppm": 500_000, "saved_ns": HOUR, "elapsed_ns": HOUR}
    for _ in range(10_000):
        runner._heard(TOPICS.node(1, "report"), encode(report(kind="saved", **saved)))
    (told,) = ear.told
    assert isinstance(told, e.WorkSaved)
    await settled(runner)
    assert line.on(TOPICS.node(1, "ack")) == []
    ear.later[0]()
    await settled(runner)
    assert {decode(Ack, ack).seq for ack in line.on(TOPICS.node(1, "ack"))} == {1}


async def test_a_slow_listener_loses_the_oldest_and_can_tell() -> None:
    """More turns than the queue holds: the oldest are dropped and counted, and what arrives has
    rising numbers whose gap says what to ask the API for."""
    line = Line()
    broadcast = Broadcast(line, TOPICS, 1)
    for seq in range(1, 10_501):
        broadcast.say(TOPICS.events, Event(1, seq, 0, ()))
    assert broadcast.dropped == 500
    task = asyncio.ensure_future(broadcast.run())
    for _ in range(5):
        await asyncio.sleep(0)
    task.cancel()
    numbers = [decode(Event, payload).seq for payload in line.on(TOPICS.events)]
    assert numbers == list(range(501, 10_501))
    line.up_since = None
    broadcast.say(TOPICS.events, Event(1, 10_501, 0, ()))
    assert broadcast.dropped == 500


async def test_without_a_broker_orders_wait_and_health_says_so() -> None:
    """Nothing can be published: what is wanted of machines is kept and counted, and is said whole
    when the broker comes, which is believed to know nothing."""
    runner, line, _ = control()
    line.up_since, line.fault = None, "broker:1883: no route"
    runner._board.publish_soon([1])
    await settled(runner)
    assert line.sent == []
    assert runner.status() | {"machines": 0} == {
        "connected": False,
        "fault": "broker:1883: no route",
        "machines": 0,
        "unsent": 1,
        "refused": 0,
    }
    line.up_since, line.fault = 1, ""
    runner._came_up()
    await settled(runner)
    (order,) = line.on(TOPICS.node(1, "order"))
    assert decode(Order, order).work.placement == 1
    assert runner.status()["unsent"] == 0


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("kind", "reason", "told"),
    [
        ("fuse", "", [1]),
        ("stopped", "fuse", [1]),
        ("heartbeat", "shutdown", [1]),
        ("stopped", "notice", [1]),
        ("stopped", "order", []),
        ("began", "", []),
    ],
)
async def test_a_machine_that_says_it_ends_is_passed_on_once_a_word(
    kind: str, reason: str, told: list[int]
) -> None:
    """A fuse that burns down, a shutdown, a notice: whoever can look for the machine's end is told;
    not of what was ordered, and not of the same report again."""
    runner, _line, _ear = control()
    heard: list[int] = []
    runner.leaving = heard.append
    word = report(kind=kind, seq=0 if kind == "heartbeat" else 1, reason=reason)
    runner._heard(TOPICS.node(1, "report"), encode(word))
    assert heard == told
    if kind != "heartbeat":
        runner._heard(TOPICS.node(1, "report"), encode(word))
        assert heard == told
