"""The node agent's parts, each by itself: fuse, spool, tail, what a program says of itself."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from treasury.bus.messages import PPM, Report, TaskOrder, Work
from treasury.domain.time import SECOND
from treasury.node import job
from treasury.node.fuse import Fuse
from treasury.node.metadata import Notice, NoticeFile
from treasury.node.spool import Spool
from treasury.node.tail import LINE_MAX, Tail

BOOT = "ab" * 16
SPAN = 60 * SECOND


# --- fuse -----------------------------------------------------------------------------------------


@given(
    sent=st.integers(0, 10**15),
    delay=st.integers(0, 10**15),
    fuse=st.integers(0, 10**13),
    at=st.integers(0, 10**15),
)
def test_a_delayed_order_never_lengthens_the_fuse(
    sent: int, delay: int, fuse: int, at: int
) -> None:
    """Whatever a broker does to an order, the machine ends by what the control counted from the
    pulse it heard: receipt moves nothing."""
    burning = Fuse(BOOT, deadline=10**17, span=SPAN)
    pulse = f"{BOOT}-{sent}"
    assert burning.extend(pulse, fuse, sent + delay)
    assert burning.deadline == sent + fuse
    assert burning.blown(at) == (at >= sent + fuse)
    assert burning.closing(at) or not burning.blown(at)


def test_only_a_pulse_of_this_start_extends() -> None:
    """No pulse, one of another start of the machine, or one from the future extends nothing."""
    burning = Fuse(BOOT, deadline=100, span=SPAN)
    for heard in (None, f"{'cd' * 16}-50", f"{BOOT}-71"):
        assert not burning.extend(heard, SPAN, 70)
    assert burning.deadline == 100
    assert burning.extend(burning.pulse(70), SPAN, 70)
    assert burning.deadline == 70 + SPAN


def test_there_is_time_to_save_before_the_end() -> None:
    """The work is stopped a fourth of the fuse before its end, two minutes at the most."""
    short, long = Fuse(BOOT, 100 * SECOND, 40 * SECOND), Fuse(BOOT, 10_000 * SECOND, 9_000 * SECOND)
    assert (short.closing(90 * SECOND - 1), short.closing(90 * SECOND)) == (False, True)
    assert (long.closing(9_880 * SECOND - 1), long.closing(9_880 * SECOND)) == (False, True)


def test_a_restarted_agent_burns_on() -> None:
    """A new agent takes over the deadline; after a restart of the machine the wall clock shortens
    it, and a wall clock that was set back cannot lengthen it."""
    kept = Fuse(BOOT, deadline=500 * SECOND, span=SPAN).kept(460 * SECOND, 1_000 * SECOND)
    kept = json.loads(json.dumps(kept))
    assert Fuse.lit(BOOT, 470 * SECOND, 0, SPAN, kept).deadline == 500 * SECOND
    other = "cd" * 16
    assert Fuse.lit(other, 5 * SECOND, 1_030 * SECOND, SPAN, kept).deadline == 15 * SECOND
    assert Fuse.lit(other, 5 * SECOND, 2_000 * SECOND, SPAN, kept).blown(5 * SECOND)
    assert Fuse.lit(other, 5 * SECOND, 0, SPAN, kept).deadline == 5 * SECOND + SPAN
    for nonsense in (None, [], {}, {"deadline": "x"}, {"deadline": 1, "span": None, "wall": 2}):
        assert Fuse.lit(BOOT, 7, 0, SPAN, nonsense).deadline == 7 + SPAN


# --- spool ----------------------------------------------------------------------------------------


def add(spool: Spool, kind: str = "saved") -> Report:
    """Put a report into a spool."""
    return spool.add(lambda seq, base: Report(1, spool.boot, seq, base, kind, 0, f"{BOOT}-1"))


def test_reports_wait_on_disk_until_they_are_acknowledged(tmp_path: Path) -> None:
    """Numbers have no gaps, over restarts too; what is acknowledged is forgotten, nothing else."""
    spool = Spool(tmp_path, lambda: "aa")
    assert [add(spool).seq for _ in range(4)] == [1, 2, 3, 4]
    spool.acked("bb", 4)
    spool.acked("aa", 2)
    again = Spool(tmp_path, lambda: "bb")
    assert (again.boot, again.base, again.seq) == ("aa", 3, 4)
    assert [report.seq for report in again.waiting()] == [3, 4]
    assert (add(again).seq, add(again).base) == (5, 3)
    again.acked("aa", 99)
    last = Spool(tmp_path, lambda: "bb")
    assert (last.waiting(), last.base, last.seq) == ([], 7, 6)


def test_a_crash_while_forgetting_loses_no_number(tmp_path: Path) -> None:
    """Files that were to be deleted when the agent was killed are not sent as if they were new."""
    spool = Spool(tmp_path, lambda: "aa")
    for _ in range(3):
        add(spool)
    copies = {path: path.read_bytes() for path in tmp_path.glob("*.json")}
    spool.acked("aa", 2)
    for path, data in copies.items():
        path.write_bytes(data)
    again = Spool(tmp_path, lambda: "bb")
    # They come once more under their own numbers: the control has taken those already.
    assert (again.boot, again.seq, again.base) == ("aa", 3, 1)


def test_a_torn_report_begins_a_new_sequence(tmp_path: Path) -> None:
    """A gap would be waited for without end: what is left gets new numbers under a new name."""
    spool = Spool(tmp_path, lambda: "aa")
    for kind in ("hello", "began", "ended"):
        add(spool, kind)
    sorted(tmp_path.glob("*.json"))[1].write_bytes(b"torn")
    again = Spool(tmp_path, lambda: "bb")
    assert again.boot == "bb"
    found = [(report.boot, report.seq, report.kind) for report in again.waiting()]
    assert found == [("bb", 1, "hello"), ("bb", 2, "ended")]


# --- tail -----------------------------------------------------------------------------------------


def drain(tail: Tail, now: int = 0) -> list[str]:
    """All lines there are."""
    found: list[str] = []
    while lines := tail.lines(now):
        found += lines
    return found


def test_lines_are_followed_over_rotations_and_restarts(tmp_path: Path) -> None:
    """Each line comes once: half a line waits, a rotated file is read to its end, and a new agent
    goes on where the last one was."""
    log = tmp_path / "output.log"
    tail = Tail(log, 100, 0)
    assert drain(tail) == []
    log.write_bytes(b"one\ntwo\nhal")
    assert drain(tail) == ["one", "two"]
    with log.open("ab") as file:
        file.write(b"f\nthree\n")
    log.rename(tmp_path / "output.log.1")
    log.write_bytes(b"four\n")
    assert drain(tail) == ["half", "three", "four"]
    with log.open("ab") as file:
        file.write(b"five\n")
    tail.close()
    tail = Tail(log, 100, 0)
    assert drain(tail) == ["five"]
    tail.close()


def test_a_flood_is_cut_and_counted(tmp_path: Path) -> None:
    """Beyond the rate lines are left out and counted; time gives new credit."""
    log = tmp_path / "output.log"
    log.write_bytes(b"x\n" * 150)
    tail = Tail(log, 10, 0)
    assert (len(drain(tail)), tail.dropped) == (100, 50)
    with log.open("ab") as file:
        file.write(b"y\n" * 50)
    assert (len(drain(tail, 2 * SECOND)), tail.dropped) == (20, 80)
    tail.close()


@given(st.lists(st.binary(max_size=3 * LINE_MAX), max_size=5))
def test_whatever_is_written_becomes_lines_that_can_be_sent(
    tmp_path_factory: pytest.TempPathFactory, chunks: list[bytes]
) -> None:
    """Binary, endless lines and control characters: bounded text, one line for each newline."""
    log = tmp_path_factory.mktemp("tail") / "output.log"
    data = b"\n".join(chunks) + b"\nend\n"
    log.write_bytes(data)
    tail = Tail(log, 100_000, 0)
    lines = drain(tail)
    tail.close()
    assert len(lines) == data.count(b"\n") and lines[-1] == "end"
    assert all(len(line) <= LINE_MAX for line in lines)
    assert not any(c in line for line in lines for c in "\0\x1b\x07\n")


# --- a program's own words ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "ppm"),
    [
        ("250000", 250_000),
        ("1 4\n", 250_000),
        ("9 4", PPM),
        ("2000000", PPM),
        ("0", 0),
        ("1 0", None),
        ("", None),
        ("-1", None),
        ("0.5", None),
        ("nan", None),
        ("1 2 3", None),
        ("٣", None),
        ("9" * 100, None),
    ],
)
def test_progress_is_ppm_or_a_step_of_a_total(tmp_path: Path, text: str, ppm: int | None) -> None:
    """Two ways to say it; whatever else is in the file says nothing."""
    path = tmp_path / "progress"
    assert job.progress_ppm(path) is None
    path.write_text(text)
    assert job.progress_ppm(path) == ppm


def test_a_container_gets_names_and_no_values(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The container's command line holds image, folders and names of variables; values stay off
    the process list."""
    monkeypatch.setattr(job.shutil, "which", lambda name, path: name == "podman" and name)
    task = TaskOrder(
        ("python", "train.py", "--lr=$X; rm -rf /"),
        image="ghcr.io/org/train:1",
        env={"LR": "value-of-lr"},
        secrets=("TOKEN",),
        checkpoint_dir="ckpt",
    )
    work = Work(3, "job", task, rank=1, nodes=2)
    at = job.places(tmp_path, work, 1)
    env = job.environment(work, at, {"TOKEN": "value-of-token"}, {"PATH": "/bin"})
    assert env["TOKEN"] == "value-of-token" and env["TREASURY_RANK"] == "1"
    command = job.argv(work, at, env)
    assert command[:2] == ["podman", "run"]
    assert command[-4:] == ["ghcr.io/org/train:1", *task.command]
    assert "value-of" not in " ".join(command)
    named = [command[i + 1] for i, word in enumerate(command) if word == "--env"]
    assert {"LR", "TOKEN", "TREASURY_JOB", "TREASURY_CHECKPOINT_DIR"} <= set(named)


def test_a_notice_file_says_when(tmp_path: Path) -> None:
    """No file is no notice; one with an instant gives it, an empty one half a minute."""
    path = tmp_path / "notice"
    watcher = NoticeFile(lambda: 1_000, str(path))
    assert watcher.poll() is None
    path.write_text("")
    assert watcher.poll() == Notice(1_000 + 30 * SECOND)
    path.write_text("12345\n")
    assert watcher.poll() == Notice(12_345)
