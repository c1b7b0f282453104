"""Rehearsal: real quotes, pretend machines and work."""

import asyncio

from tests.support.daemon import LoopClock, Market, Rig, play
from treasury.domain.events import LeaseEnded, WorkCheckpointed
from treasury.domain.time import HOUR, MINUTE, SECOND
from treasury.ledger.audit import audit
from treasury.runtime.rehearsal import PretendProvider, PretendRunner


def _rehearse(loop, market=None, store=None):
    """A rig whose market sells nothing: pretend machines on its quotes."""
    real = market or Market(LoopClock(loop))
    pretend = PretendProvider(real, real.clock)
    rig = Rig(loop, market=real, store=store, parts=lambda _daemon: [rig.hands])

    def runner(agent):
        pretend.remember(agent.book)
        rig.hands = PretendRunner(agent, real.clock)
        rig.hands.remember(agent.book)
        return rig.hands

    rig._runner = runner
    launch = rig.launch

    def launched():
        launch()
        rig.daemon.providers = {"aws": pretend}

    rig.launch = launched
    return rig


def test_a_rehearsed_job_runs_to_its_end_and_nothing_is_bought():
    """The journal tells the whole story and what it would have cost; the market heard nothing."""

    async def work(loop):
        rig = await _rehearse(loop).start()
        job = rig.job(work=HOUR, checkpoint_interval=10 * MINUTE, start_overhead=2 * MINUTE)
        await rig.agent.submit(job)
        await rig.until(lambda: "j" in rig.book.ended and not rig.book.leases, limit=3 * HOUR)
        assert rig.book.ended["j"] == "finished"
        assert rig.market.calls == []
        assert len(rig.facts(WorkCheckpointed)) >= 4
        assert audit(list(rig.store.entries())) == []

    play(work)


def test_a_pretend_machine_is_taken_when_its_price_leaves_the_bid():
    """On a market of bids the rehearsal is interrupted as the real thing would be, and goes on."""

    async def work(loop):
        market = Market(LoopClock(loop), bids=True)
        rig = await _rehearse(loop, market).start()
        await rig.agent.submit(rig.job(work=HOUR))
        await rig.until(lambda: rig.book.leases and rig.hands._working)
        market.quote(50 * 10**9)
        await rig.until(lambda: rig.facts(LeaseEnded))
        assert rig.facts(LeaseEnded)[0].lost
        await rig.until(lambda: "j" in rig.book.ended, limit=5 * HOUR)

    play(work)


def test_a_rehearsal_goes_on_after_a_restart():
    """What was held is in the book: the pretend machine is still there, the work goes on."""

    async def work(loop):
        first = await _rehearse(loop).start()
        await first.agent.submit(first.job(work=HOUR))
        await first.until(lambda: first.hands._working)
        await asyncio.sleep(600)
        first.crash()
        second = await _rehearse(loop, first.market, first.store).start()
        assert list(second.book.leases) == [1]
        await second.until(lambda: "j" in second.book.ended, limit=2 * HOUR)
        assert second.facts(LeaseEnded)[0].lost is False
        assert second.clock.now() - second.facts(LeaseEnded)[0].at < 10 * MINUTE + SECOND

    play(work)
