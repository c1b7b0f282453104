"""The daemon from start to end on a virtual loop: jobs run, crashes are recovered from."""

import asyncio

import pytest

from tests.support.daemon import Hang, LoopClock, Market, Rig, play
from treasury.domain.budget import Budget, Mode
from treasury.domain.commands import Acquire, Release, StartWork
from treasury.domain.errors import ConfigError, OutcomeUnknown
from treasury.domain.events import (
    ConductChanged,
    JobQueued,
    JobRejected,
    LeaseNoticed,
    LeasesGranted,
    LeasesUnresolved,
    MachineNoticed,
    PlacementOpened,
    SetConduct,
)
from treasury.domain.money import MICRO
from treasury.domain.time import HOUR, MINUTE, SECOND
from treasury.engine import replay
from treasury.ledger.audit import audit
from treasury.runtime.daemon import Options


async def _over(rig, job="j"):
    """Go on until a job has ended and its machines are gone."""
    await rig.until(lambda: job in rig.book.ended and not rig.book.leases)


def test_a_job_is_placed_run_and_paid():
    """Submitted, planned, acquired, started, ended, released: one call each, the outbox is empty
    afterwards, and the journal rebuilds the book."""

    async def work(loop):
        rig = await Rig(loop).start()
        entry = await rig.agent.submit(rig.job())
        assert any(isinstance(fact, JobQueued) for fact in entry.facts)
        await _over(rig)
        assert rig.book.ended["j"] == "finished"
        assert len(rig.market.asked(Acquire)) == len(rig.market.asked(Release)) == 1
        assert rig.market.alive() == []
        entries = list(rig.store.entries())
        assert replay(entries).digest() == rig.book.digest()
        assert audit(entries) == []
        await rig.stop()
        assert list(rig.store.undelivered()) == []
        assert rig.market.closed

    play(work)


@pytest.mark.parametrize("seed", range(5))
def test_the_order_of_tasks_does_not_matter(seed):
    """Whatever task runs first, a dozen jobs end finished, one launch each, and the books agree."""

    async def work(loop):
        rig = await Rig(loop).start()
        names = [f"j{n}" for n in range(12)]
        await asyncio.gather(*(rig.agent.submit(rig.job(name)) for name in names))
        await rig.until(lambda: len(rig.book.ended) == 12 and not rig.book.leases)
        assert set(rig.book.ended.values()) == {"finished"}
        assert len(rig.market.asked(Acquire)) == 12
        assert rig.market.alive() == []
        assert audit(list(rig.store.entries())) == []

    play(work, seed)


def test_the_same_seed_gives_the_same_journal():
    """Two runs of the same work under the same seed end in the same hash."""
    hashes = []

    async def work(loop):
        rig = await Rig(loop).start()
        rig.market.fail("acquire", OutcomeUnknown(), None)
        await rig.agent.submit(rig.job("a"), rig.job("b"))
        await rig.until(lambda: len(rig.book.ended) == 2 and not rig.book.leases)
        hashes.append(rig.store.last())

    play(work, 7)
    play(work, 7)
    assert hashes[0] == hashes[1]


def test_a_refusal_is_in_the_entry_that_submit_returns():
    """A job of an unknown cost centre is refused, and its submitter learns why at once."""

    async def work(loop):
        rig = await Rig(loop).start()
        entry = await rig.agent.submit(rig.job(), rig.job())
        (rejected,) = [fact for fact in entry.facts if isinstance(fact, JobRejected)]
        assert rejected.why == "a job with this id exists already"

    play(work)


def test_a_notice_stops_the_job_and_repeated_ones_count_once():
    """The market's warning leads to a checkpoint; the same warning again is not journalled."""

    async def work(loop):
        rig = await Rig(loop).start()
        await rig.agent.submit(rig.job(work=HOUR))
        await rig.until(lambda: rig.hands.running)
        now = rig.clock.now()
        for _ in range(3):
            rig.market.warned.put_nowait(MachineNoticed(1, now, now + MINUTE))
        await rig.until(lambda: rig.facts(LeaseNoticed))
        await asyncio.sleep(1)
        assert len(rig.facts(LeaseNoticed)) == 1
        await rig.until(lambda: 2 in rig.market.held)
        assert rig.market.held[1][3] is not None

    play(work)


def test_a_market_that_takes_a_machine_without_warning_is_noticed():
    """The listing tells: the job goes back to the queue and runs elsewhere, and ends."""

    async def work(loop):
        rig = await Rig(loop).start()
        await rig.agent.submit(rig.job())
        await rig.until(lambda: rig.hands.running)
        rig.market.take(1)
        rig.hands.running.clear()
        await rig.until(lambda: 2 in rig.market.held)
        await _over(rig)
        assert rig.book.ended["j"] == "finished"

    play(work)


def test_a_restart_goes_on_where_the_last_process_was():
    """Killed while a job runs: the next process relists, the machine is the same one, the job is
    neither started again nor lost."""

    async def work(loop):
        first = await Rig(loop).start()
        await first.agent.submit(first.job(work=HOUR))
        await first.until(lambda: first.hands.running)
        await asyncio.sleep(10)
        first.crash()
        second = await Rig(loop, store=first.store, market=first.market).start()
        assert list(second.book.leases) == [1]
        await asyncio.sleep(120)
        assert len(second.market.asked(Acquire)) == 1
        assert second.hands.calls == []
        assert first.market.alive() == [1]

    play(work)


@pytest.mark.parametrize("acts", [True, False])
def test_a_crash_between_the_commit_and_the_answer_is_resolved(acts):
    """The process dies in the call that asks for a machine. A later process finds the machine by
    listing, or proves its absence; never are there two, and nothing is asked for blindly."""

    async def work(loop):
        market = Market(LoopClock(loop), honours_tokens=False)
        first = await Rig(loop, market=market).start()
        market.fail("acquire", Hang(acts=acts))
        await first.agent.submit(first.job())
        await first.until(lambda: market.asked(Acquire))
        first.crash()
        assert len(list(first.store.undelivered())) == 1
        second = await Rig(loop, store=first.store, market=market).start()
        await _over(second)
        assert second.book.ended["j"] == "finished"
        assert len(second.facts(LeasesUnresolved)) == (0 if acts else 1)
        assert len(market.asked(Acquire)) == (1 if acts else 2)
        assert market.alive() == []
        assert list(second.store.undelivered()) == []

    play(work)


def test_a_request_with_a_token_is_repeated_after_a_crash():
    """Where tokens are honoured and the request is young, the very same bytes go out again."""

    async def work(loop):
        first = await Rig(loop).start()
        first.market.fail("acquire", Hang(acts=False))
        await first.agent.submit(first.job())
        await first.until(lambda: first.market.asked(Acquire))
        await asyncio.sleep(1)
        first.crash()
        second = await Rig(loop, store=first.store, market=first.market).start()
        await _over(second)
        one, other = second.market.asked(Acquire)
        assert one == other
        assert list(second.market.held) == [1]

    play(work)


def test_a_graceful_stop_lets_calls_finish_and_leaves_work_running():
    """Told to stop, the daemon waits for the call under way, asks for nothing new, and leaves paid
    machines alone."""

    async def work(loop):
        rig = await Rig(loop).start()
        await rig.agent.submit(rig.job("a", work=HOUR))
        await rig.until(lambda: rig.hands.running)
        await rig.stop()
        assert rig.market.alive() == [1]
        assert rig.market.asked(Release) == []

    play(work)


def test_a_mistake_in_a_part_ends_the_daemon():
    """Whatever fails ends the process with its own error: the next start recovers."""

    class Part:
        async def run(self):
            await asyncio.sleep(5)
            raise RuntimeError("a mistake")

    async def work(loop):
        rig = await Rig(loop, parts=lambda _daemon: [Part()]).start()
        with pytest.raises(RuntimeError, match="a mistake"):
            await rig.task
        assert rig.market.closed

    play(work)


def test_a_watcher_that_fails_harms_nobody():
    """What an onlooker raises is reported; turns go on."""

    async def work(loop):
        rig = await Rig(loop).start()

        def fail(_entry, _book):
            raise ValueError("mine")

        stop = rig.agent.watch(fail)
        await rig.agent.submit(rig.job())
        await _over(rig)
        assert ("broke", "a watcher") in rig.log.said
        stop()

    play(work)


def test_a_daemon_may_begin_by_recommending():
    """On a new database the configured conduct is taken: plans are written down, nothing is
    acquired until somebody says so."""

    async def work(loop):
        rig = await Rig(loop, options=Options(conduct=Mode.RECOMMEND)).start()
        assert rig.book.conduct is Mode.RECOMMEND
        await rig.agent.submit(rig.job())
        await asyncio.sleep(120)
        assert rig.market.asked(Acquire) == []
        await rig.agent.submit(SetConduct(Mode.ENFORCE, "ann"))
        conducts = [fact.conduct for fact in rig.facts(ConductChanged)]
        assert conducts == [Mode.RECOMMEND, Mode.ENFORCE]
        await _over(rig)

    play(work)


def test_a_provider_that_holds_machines_may_not_vanish_from_the_configuration():
    """Machines of a provider nobody knows any more would be paid for ever: refused at start."""

    async def work(loop):
        first = await Rig(loop).start()
        await first.agent.submit(first.job(work=HOUR))
        await first.until(lambda: first.hands.running)
        await first.stop()
        second = Rig(loop, store=first.store, market=first.market)
        second.launch()
        second.daemon.providers = {}
        with pytest.raises(ConfigError, match=r"provider.aws: is missing"):
            await second.task

    play(work)


def test_a_budget_that_pays_no_further_stops_the_job_in_time():
    """The next hold is refused: the job is checkpointed and its machine goes back while the present
    hold still pays for it; nothing is owed."""

    async def work(loop):
        rig = await Rig(
            loop, amount=6 * MICRO, engine={"accrual": 30 * MINUTE, "horizon": HOUR}
        ).start()
        await rig.agent.submit(rig.job(work=20 * HOUR))
        await rig.until(lambda: rig.market.asked(Release), limit=10 * HOUR)
        assert audit(list(rig.store.entries())) == []
        assert rig.facts(LeasesGranted) and rig.facts(PlacementOpened)

    play(work)


def test_the_clock_never_goes_back_for_the_engine():
    """The machine's clock is set back by an hour: turns go on at the last instant they knew."""

    async def work(loop):
        rig = await Rig(loop).start()
        await rig.agent.submit(rig.job("a", work=HOUR))
        await rig.until(lambda: rig.hands.running)
        at = rig.book.now
        rig.clock.step = -HOUR
        entry = await rig.agent.submit(rig.job("b"))
        assert entry.at >= at
        rig.clock.step = 0
        await _over(rig, "b")

    play(work)


def test_systemd_is_told():
    """Ready when everything runs, patted while it does, stopping when told to stop."""

    async def work(loop):
        said = []
        rig = Rig(loop, notify=said.append, watchdog=10 * SECOND)
        await rig.start()
        await asyncio.sleep(25)
        await rig.stop()
        assert said[0] == "READY=1"
        assert said.count("WATCHDOG=1") == 3
        assert said[-1] == "STOPPING=1"

    play(work)


def test_budgets_are_taken_at_start_when_they_differ():
    """A changed amount in the file counts from the start on; the same file writes no turn."""

    async def work(loop):
        first = await Rig(loop).start()
        await first.stop()
        seq = first.store.last()[0]
        second = await Rig(loop, store=first.store, amount=50 * MICRO).start()
        budgets = [record.budget for record in second.book.budgets.values()]
        assert budgets == [Budget(cost_centre="team", amount=50 * MICRO)]
        assert second.store.last()[0] > seq

    play(work)


def test_jobs_start_before_their_machine_was_listed_twice():
    """A request that was taken makes a listing come soon: the job runs within seconds."""

    async def work(loop):
        rig = await Rig(loop).start()
        began = rig.clock.now()
        await rig.agent.submit(rig.job())
        await rig.until(lambda: any(isinstance(c, StartWork) for c in rig.hands.calls))
        assert rig.clock.now() - began < 3 * SECOND

    play(work)
