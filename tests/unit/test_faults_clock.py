"""Faults of clocks that no other test provokes: what is off is shown, what cannot be is refused."""

from pathlib import Path

import pytest

from tests.support.daemon import LoopClock, Market, Rig, play
from treasury.config import inspect_text
from treasury.domain.commands import Acquire
from treasury.domain.errors import UserError
from treasury.domain.time import DAY, SECOND
from treasury.finops.bills import read_bill
from treasury.runtime.clocks import SystemClock

BUDGET = '[[budget]]\ncost_centre = "team"\namount = "10 USD"\n'
JOB = '[[job]]\nid = "a"\ncost_centre = "team"\ngpu = "V100"\nwork = "1h"\n'


@pytest.mark.parametrize(
    ("text", "path"),
    [
        (BUDGET + JOB + 'deadline = "9999-01-01"', "job[0].deadline"),
        (BUDGET + JOB + "deadline = 2300-01-01T00:00:00Z", "job[0].deadline"),
        (BUDGET + JOB + "submit_at = 1969-12-31", "job[0].submit_at"),
        (
            BUDGET + 'period = "fixed"\nstarts_at = 2026-01-01\nends_at = 9999-12-31',
            "budget[0].ends_at",
        ),
    ],
)
def test_instants_that_no_journal_can_keep_are_refused(text: str, path: str) -> None:
    """Before 1970 and after 2116 a configuration's instants are named, with what would be right."""
    findings = inspect_text(text, "c.toml")
    assert findings.config is None
    (told,) = [str(error) for error in findings.errors]
    assert f"{path}: expected an instant from 1970 to 2116" in told
    near = text.replace("9999-12-31", "2038-02-01").replace("9999", "2039").replace("2300", "2039")
    assert inspect_text(near.replace("1969", "1970"), "c.toml").errors == ()


class Rigged(SystemClock):
    """The machine's clock on the virtual loop's time."""

    def __init__(self, loop: LoopClock) -> None:
        self.off = 0
        super().__init__(loop.now, lambda: loop.now() + self.off)


def test_a_wall_clock_that_is_off_shows_in_the_status() -> None:
    """Six seconds ahead and a day behind are told in seconds, until they have been worked off."""

    async def work(loop):
        clock = Rigged(LoopClock(loop))
        market = Market(LoopClock(loop))
        market.clock = clock
        rig = await Rig(loop, market=market).start()
        assert rig.daemon.status()["clock_ahead"] == 0
        clock.off = 6 * SECOND
        assert rig.daemon.status()["clock_ahead"] == 6
        clock.off = -DAY
        assert rig.daemon.status()["clock_ahead"] == -86_400
        clock.off = 0
        await clock.sleep_until(clock.now() + 60 * SECOND)
        assert rig.daemon.status()["clock_ahead"] == 0

    play(work)


def test_while_the_clock_is_off_nothing_new_is_asked_for() -> None:
    """Six seconds off: what runs goes on and is given back, a new job waits, readiness says why,
    observers are told; when the difference is worked off the job gets its machine."""

    async def work(loop):
        clock = Rigged(LoopClock(loop))
        market = Market(LoopClock(loop))
        market.clock = clock
        rig = await Rig(loop, market=market).start()
        told = []
        rig.log.skewed = lambda ahead, *, degraded: told.append((ahead // SECOND, degraded))
        await rig.agent.submit(rig.job("old"))
        await rig.until(lambda: rig.hands.running)
        clock.off = 60 * SECOND
        await rig.agent.submit(rig.job("new"))
        await rig.until(lambda: "old" in rig.book.ended and 1 not in rig.book.leases)
        assert len(market.asked(Acquire)) == 1
        status = rig.daemon.status()
        assert not status["ready"] and "the clock is off by" in status["why"]
        assert any(degraded for _, degraded in told)
        await rig.until(lambda: "new" in rig.book.ended)
        assert rig.daemon.status()["ready"] and rig.daemon.status()["why"] == ""
        assert told[-1][1] is False

    play(work)


def test_a_bill_from_beyond_the_calendar_is_refused(tmp_path: Path) -> None:
    """A line of the year 9999 is named with its place, and nothing of the bill is taken."""
    bill = tmp_path / "bill.csv"
    bill.write_text("amount,start,end,resource\n1,2026-01-01,9999-12-31,i-1\n")
    with pytest.raises(UserError, match=r"9999-12-31.*expected an instant from 1970 to 2116"):
        list(read_bill("csv", bill, provider="lab"))
