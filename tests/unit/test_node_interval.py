"""How often a machine makes checkpoints: as often as its job says, else by its own period."""

from pathlib import Path

import pytest

from treasury.bus.messages import TaskOrder, Work
from treasury.node import job
from treasury.node.work import Running, Surroundings, View

SECOND = 1_000_000_000


class Hand:
    """A machine's clocks, moved by hand."""

    def __init__(self) -> None:
        self.instant = 1_000 * SECOND

    def boot(self) -> int:
        return self.instant

    def wall(self) -> int:
        return self.instant


@pytest.mark.parametrize(("interval_s", "period_s"), [(0, 60), (90, 90), (20, 20)])
def test_a_job_says_how_often_its_checkpoints_are_made(
    tmp_path: Path, interval_s: int, period_s: int
) -> None:
    """A program that gets on each second is saved once a period, and at once when it is asked for;
    without an interval the machine's sixty seconds hold."""
    clock, told = Hand(), []

    def tell(kind: str, _view: View) -> None:
        told.append((kind, clock.instant))

    around = Surroundings(tmp_path / "state", "ab" * 16, clock, tell, 60 * SECOND, 1_000_000)
    task = TaskOrder(
        command=("run",),
        workdir=str(tmp_path / "work"),
        checkpoint_dir="steps",
        checkpoint_to=f"file://{tmp_path / 'kept'}",
        checkpoint_every_ns=interval_s * SECOND,
    )
    work = Work(1, "j", task)
    running = Running.fresh(around, work, 1)
    places = job.places(around.state, work, 1)
    assert places.checkpoint is not None
    began = clock.instant
    for second in range(1, 3 * period_s + 1):
        clock.instant = began + second * SECOND
        places.checkpoint.joinpath("steps").write_text(str(second))
        places.progress.write_text(f"{second} 10000")
        running._save_now_and_then()
    saved = [(instant - began) // SECOND for kind, instant in told if kind == "saved"]
    assert saved == [period_s, 2 * period_s, 3 * period_s]
    places.progress.write_text("9999 10000")
    running.save_soon()
    running._save_now_and_then()
    assert len(told) == 4
