"""The daemon's own host fails it: the disk is full, the clock is set."""

import resource
from pathlib import Path

import pytest

from tests.support.farm import Farm, farm, pause, until

pytestmark = pytest.mark.slow


def limit(here: Farm, size: int) -> None:
    """Let the daemon's files grow no further than this [bytes]: a write beyond fails."""
    hard = resource.prlimit(here.daemon.pid, resource.RLIMIT_FSIZE)[1]
    resource.prlimit(here.daemon.pid, resource.RLIMIT_FSIZE, (size, hard))


def test_the_disk_is_full_and_then_is_not(tmp_path: Path):
    """While nothing can be written no turn is taken and no submission acknowledged, and machines
    and jobs go on; afterwards everything does, and nothing that was acknowledged is lost."""
    with farm(tmp_path) as here:
        here.start()
        here.submit(6.0, count=3)
        until(lambda: here.running() == 3, "three jobs run")
        pid, before = here.daemon.pid, len(here.acknowledged)
        limit(here, 0)
        until(lambda: not here.daemon.client.get("/v1/status")["ready"], "it says that it is ill")
        here.submit(2.0)
        assert len(here.acknowledged) == before
        assert here.daemon.pid == pid, here.daemon.tail()
        limit(here, resource.RLIM_INFINITY)
        until(lambda: here.daemon.client.get("/v1/status")["ready"], "it is well again")
        here.submit(2.0)
        assert len(here.acknowledged) == before + 1
        here.settle()
        here.check()


# The daemon with a wall clock that is off by what a file says [s]: as when somebody sets it.
SET_CLOCK = """
import time
from pathlib import Path
import msgspec
from treasury.runtime import clocks

def wall():
    try:
        return time.time_ns() + int(float(Path("offset").read_text()) * 10**9)
    except (OSError, ValueError):
        return time.time_ns()

made = clocks.system_host
clock = clocks.SystemClock(wall=wall)
clocks.system_host = lambda *threads: msgspec.structs.replace(made(*threads), clock=clock)
from treasury.cli import main
main()
"""


@pytest.mark.parametrize("seconds", [86_400, -86_400])
def test_the_clock_is_set(tmp_path: Path, seconds: int):
    """A day ahead or back in the middle of a run, and right again: nothing is charged for time
    that did not pass, no deadline, hold or lease ends before its time."""
    with farm(tmp_path, program=SET_CLOCK) as here:
        here.start()
        here.submit(4.0, count=2)
        until(here.running, "a job runs")
        (tmp_path / "offset").write_text(str(seconds))
        pause(2.0)
        here.submit(2.0)
        pause(2.0)
        (tmp_path / "offset").write_text("0")
        here.settle()
        results = here.check()[0]
        assert "in 3 starts; 0 steps done again" in results.found


def test_it_starts_with_a_clock_that_was_right_before(tmp_path: Path):
    """Killed, and started again on a clock an hour behind its own journal: time does not go back,
    and the books are right."""
    with farm(tmp_path, program=SET_CLOCK) as here:
        here.start()
        here.submit(6.0, count=2)
        until(here.running, "a job runs")
        here.daemon.kill()
        (tmp_path / "offset").write_text("-3600")
        here.start()
        here.submit(2.0)
        pause(2.0)
        here.daemon.kill()
        (tmp_path / "offset").write_text("0")
        here.start()
        here.settle()
        here.check()
