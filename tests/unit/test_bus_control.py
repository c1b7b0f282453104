"""The control's end of the bus without a broker: what is wanted of machines, what they say."""

from typing import Any

import pytest

from tests.support.table import A, B, Table
from treasury.bus.fields import decode, encode
from treasury.bus.logs import LINES_MAX, LogBook
from treasury.bus.messages import Log, Report, Work
from treasury.bus.orders import to_ppm, wanted
from treasury.bus.topics import Topics
from treasury.bus.views import NodeView, differences
from treasury.domain import events as e
from treasury.domain.money import NANO
from treasury.domain.plan import Place
from treasury.domain.task import Task
from treasury.domain.time import HOUR, SECOND

TOPICS = Topics("prod")
BOOT = "ab" * 16


def report(
    kind: str, seq: int, *, base: int = 1, boot: str = "aa", at: int = 0, **fields: Any
) -> Report:
    """A report of lease 1, placement 1."""
    fields.setdefault("placement", 1)
    fields.setdefault("order", 10**18)
    return Report(1, boot, seq, base, kind, 0, f"{BOOT}-{at or seq}", **fields)


# --- what is wanted -------------------------------------------------------------------------------


def nowhere(lease: int) -> str:
    """Nobody has said where it is."""
    del lease
    return ""


def tasked() -> Table:
    """A table with a job that runs a program on lease 1."""
    table = Table()
    table.submit(task=Task(command=("run",)))
    table.plan(Place("j", A.id, 3 * NANO))
    return table


def test_a_machine_is_wanted_as_the_book_says() -> None:
    """Nothing before the grant; then waiting, running, stopping, going back; a fuse for what is
    held; and a rebuilt book wants the same."""
    table = tasked()
    lease = table.book.leases[1]
    assert wanted(table.book, lease, nowhere) is None
    table.grant(NANO)
    running = wanted(table.book, lease, nowhere)
    assert running is not None and running.work is not None
    assert (running.work.placement, running.work.task.command) == (1, ("run",))
    assert (running.stop, running.release) == (False, False)
    assert running.fuse_at == table.book.funded_until(lease) == table.now + 2 * HOUR
    table.begin()
    table.turn(e.PreemptJob("j", "ann"))
    stopping = wanted(table.book, lease, nowhere)
    assert stopping is not None and stopping.stop and stopping.work == running.work
    table.turn(e.WorkStopped("j", 1, table.book.now, 5 * HOUR))
    back = wanted(table.book, lease, nowhere)
    assert back is not None and (back.work, back.release) == (None, True)


def test_a_migration_runs_on_one_machine_at_a_time() -> None:
    """While the job moves, the old machine is wanted stopped and the new one running, from where
    the old one stood; before that the new one waits."""
    table = tasked()
    table.grant(NANO)
    table.begin()
    table.turn(e.MoveJob("j", B.id, 9 * NANO, "ann"))
    acquire = table.commands[0]
    table.turn(e.AcquireGranted(acquire.token, 2, ("i-2",), table.now, 2 * NANO))
    waiting = wanted(table.book, table.book.leases[2], nowhere)
    assert waiting is not None and waiting.work is None and not waiting.release
    table.turn(e.MachineReady(2, table.now))
    table.turn(e.WorkStopped("j", 1, table.now, 5 * HOUR))
    old, new = (wanted(table.book, table.book.leases[n], nowhere) for n in (1, 2))
    assert old is not None and old.work is not None and old.stop
    assert new is not None and new.work is not None and not new.stop
    assert new.work.work_done_ppm == 500_000
    table.turn(e.MachineLost(2, table.now, "interrupted"))
    again = wanted(table.book, table.book.leases[1], nowhere)
    assert again is not None and again.work is not None and not again.stop


def test_a_gang_waits_until_its_machines_are_known() -> None:
    """Ranks and peers are in lease order; without all addresses the order is not complete."""
    table = Table()
    table.submit(nodes=2, task=Task(command=("run",)))
    table.plan(Place("j", A.id, 3 * NANO))
    table.grant(NANO)
    lease = table.book.leases[2]
    blind = wanted(table.book, lease, lambda n: "10.0.0.1" if n == 1 else "")
    assert blind is not None and not blind.complete
    seen = wanted(table.book, lease, lambda n: f"10.0.0.{n}")
    assert seen is not None and seen.complete and seen.work is not None
    assert (seen.work.rank, seen.work.nodes, seen.work.peers) == (1, 2, ("10.0.0.1", "10.0.0.2"))


def test_a_jobs_interval_reaches_its_machine() -> None:
    """How often to make checkpoints is in the order; where the job does not say, nothing is, so
    that node agents of before take it; and an order of before is taken, too."""
    for interval in (0, 90 * SECOND):
        table = Table()
        table.submit(task=Task(command=("run",)), checkpoint_interval=interval)
        table.plan(Place("j", A.id, 3 * NANO))
        table.grant(NANO)
        wish = wanted(table.book, table.book.leases[1], nowhere)
        assert wish is not None and wish.work is not None
        assert wish.work.task.checkpoint_every_ns == interval
        said = encode(wish.work)
        assert (b"checkpoint_every_ns" in said) == bool(interval)
        assert decode(Work, said) == wish.work


def test_progress_is_rounded_down() -> None:
    """A ppm is told only when it is done."""
    assert [to_ppm(done, 3 * HOUR) for done in (0, HOUR, 3 * HOUR - 1, 3 * HOUR)] == [
        0,
        333_333,
        999_999,
        1_000_000,
    ]


# --- what is said ---------------------------------------------------------------------------------


def test_reports_are_taken_once_and_in_order() -> None:
    """Duplicates and what is ahead of a missing one are not taken; a heartbeat counts when nothing
    before it is missing and nothing later was heard."""
    view = NodeView(1, 0)
    took = [
        view.take(report(kind, seq, base=1, at=at), now)
        for now, (kind, seq, at) in enumerate(
            [
                ("hello", 1, 1),
                ("began", 2, 2),
                ("began", 2, 2),
                ("ended", 4, 4),
                ("heartbeat", 4, 5),
                ("saved", 3, 3),
                ("ended", 4, 4),
                ("heartbeat", 4, 3),
                ("heartbeat", 4, 6),
            ]
        )
    ]
    assert took == [True, True, False, False, False, True, True, False, True]
    assert (view.handled, view.heard_at) == (4, 8)


def test_a_restarted_control_goes_on_where_the_machine_is() -> None:
    """Of a machine it has not heard before, the first report not acknowledged is the next one."""
    view = NodeView(1, 0)
    assert not view.take(report("saved", 58, base=57), 0)
    assert view.take(report("began", 57, base=57), 1)
    assert view.take(report("saved", 58, base=57), 2)
    assert view.take(report("hello", 1, base=1, boot="bb"), 3)


def judged(table: Table, *reports: Report, stated: int = 0) -> list[e.Input]:
    """What lease 1's word asks of the engine."""
    view = NodeView(1, 0, stated=stated)
    for item in reports:
        view.take(item, 0)
    return list(differences(table.book, table.book.leases[1], {1: view}, table.now))


def test_what_the_book_knows_asks_for_nothing() -> None:
    """A running job's heartbeat, once its progress is booked, asks for nothing more."""
    table = tasked()
    table.grant(NANO)
    started = report("began", 1, phase="running", elapsed_ns=SECOND)
    assert judged(table, started) == [e.WorkBegan("j", 1, table.now)]
    table.begin()
    assert judged(table, started) == []
    half = report("saved", 1, phase="running", progress_ppm=500_000)
    assert judged(table, half) == [e.WorkSaved("j", 1, table.now, 5 * HOUR)]
    table.turn(e.WorkSaved("j", 1, table.now, 5 * HOUR))
    assert judged(table, half) == []


def test_an_old_word_does_not_answer_a_new_wish() -> None:
    """A stop counts only when the machine had heard that it is to stop, unless it did so by
    itself."""
    table = tasked()
    table.grant(NANO)
    table.begin()
    table.turn(e.PreemptJob("j", "ann"))
    before = report("stopped", 1, phase="stopped", reason="ordered", order=5, progress_ppm=10**5)
    assert judged(table, before, stated=6) == []
    assert judged(table, before, stated=5) == [e.WorkStopped("j", 1, table.now, HOUR)]
    alone = report("stopped", 1, phase="stopped", reason="notice", order=5, progress_ppm=10**5)
    assert judged(table, alone, stated=6) == [e.WorkStopped("j", 1, table.now, HOUR)]


def test_a_machine_that_stopped_by_itself_has_its_job_queued() -> None:
    """Work that its fuse or the machine's shutdown has stopped is stopped in the book, too."""
    table = tasked()
    table.grant(NANO)
    table.begin()
    said = report("stopped", 1, phase="stopped", reason="fuse", progress_ppm=200_000)
    assert judged(table, said) == [
        e.WorkSaved("j", 1, table.now, 2 * HOUR),
        e.PreemptJob("j", "machine 1: fuse"),
    ]


@pytest.mark.parametrize(
    ("fields", "done"),
    [
        ({"progress_ppm": 300_000, "saved_ns": HOUR}, 3 * HOUR),
        ({"base_ppm": 100_000, "saved_ns": 2 * HOUR}, 3 * HOUR),
        ({"base_ppm": 100_000}, HOUR),
        ({"saved_ns": 99 * HOUR}, 10 * HOUR),
        ({}, 0),
    ],
)
def test_progress_is_told_or_reckoned(fields: dict[str, int], done: int) -> None:
    """What the program tells counts; else the time it ran up to its last save, from where it
    resumed; never more than there is."""
    table = tasked()
    table.grant(NANO)
    table.begin()
    table.turn(e.PreemptJob("j", "ann"))
    said = report("stopped", 1, phase="stopped", reason="ordered", **fields)
    assert judged(table, said) == [e.WorkStopped("j", 1, table.now, done)]


def test_a_failure_is_told_with_what_was_saved() -> None:
    """The engine hears of the last checkpoint before it hears that the work has failed."""
    table = tasked()
    table.grant(NANO)
    table.begin()
    said = report("ended", 1, phase="ended", error="exit code 3", progress_ppm=400_000)
    assert judged(table, said) == [
        e.WorkSaved("j", 1, table.now, 4 * HOUR),
        e.WorkEnded("j", 1, table.now, "exit code 3"),
    ]


# --- logs -----------------------------------------------------------------------------------------


def said(*lines: str, rank: int = 0, dropped: int = 0) -> Log:
    """Lines of a rank."""
    return Log(1 + rank, 1, rank, 1, lines, dropped)


async def test_logs_are_bounded_and_say_what_is_missing() -> None:
    """The newest lines are kept; what a machine left out is counted once; ranks are marked."""
    logs = LogBook()
    for number in range(LINES_MAX + 10):
        logs.take("long", 1, said(str(number)))
    kept = [line async for line in logs.read("long")]
    assert (len(kept), kept[0], kept[-1]) == (LINES_MAX, "10", str(LINES_MAX + 9))
    logs.take("gang", 2, said("a", rank=0))
    logs.take("gang", 2, said("b", rank=1, dropped=7))
    logs.take("gang", 2, said("c", rank=1, dropped=7))
    found = [line async for line in logs.read("gang")]
    assert found[0] == "[0] a" and found[1].startswith("[1] ... 7 lines left out")
    assert found[2:] == ["[1] b", "[1] c"]
    assert [line async for line in logs.read("nobody")] == []


async def test_followers_hear_each_line_until_the_end() -> None:
    """Two who follow hear the same lines, early and late ones, and are done with the job."""
    logs = LogBook()
    logs.take("j", 1, said("one"))
    first, second = logs.read("j", follow=True), logs.read("j", follow=True)
    assert [await anext(first), await anext(second)] == ["one", "one"]
    logs.take("j", 1, said("two"))
    assert [await anext(first), await anext(second)] == ["two", "two"]
    logs.take("j", 1, said("three"))
    logs.end("j")
    assert [[line async for line in each] for each in (first, second)] == [["three"], ["three"]]
