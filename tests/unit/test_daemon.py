"""The daemon from start to end on a virtual loop: jobs run, crashes are recovered from."""

import asyncio

from tests.support.daemon import Market, Rig, play
from treasury.domain.commands import Acquire, Release
from treasury.domain.time import HOUR, MINUTE


def test_a_job_is_placed_run_and_paid():
    """Submitted, planned, acquired, started, ended, released: one call each, and the outbox is
    empty afterwards."""

    async def work(loop):
        rig = await Rig(loop).start()
        entry = await rig.agent.submit(rig.job())
        assert entry.seq == rig.book.seq
        await rig.until(lambda: "j" in rig.book.ended)
        await rig.until(lambda: not rig.book.leases)
        assert rig.book.ended["j"] == "finished"
        assert len(rig.market.asked(Acquire)) == len(rig.market.asked(Release)) == 1
        assert rig.market.alive() == []
        await rig.stop()
        assert list(rig.store.undelivered()) == []
        assert rig.market.closed

    play(work)
