"""Faults of markets no other test provokes: grants that are over, strangers, lost rights."""

import asyncio
from collections import deque

import pytest

from tests.support.daemon import A, Disk, Hang, LoopClock, Market, Rig, play
from tests.support.table import Table
from treasury.domain import events as e
from treasury.domain.commands import Acquire, Release
from treasury.domain.errors import NotPermitted
from treasury.domain.job import JobState
from treasury.domain.money import NANO
from treasury.domain.plan import Place
from treasury.domain.time import HOUR, MINUTE, SECOND
from treasury.ledger.chart import expense
from treasury_providers.azure.prices import _read as azure_row
from treasury_providers.gcp.catalogue import _rate as google_rate


def asked(table: Table) -> Acquire:
    """A job whose machine has been asked for."""
    table.submit()
    table.plan(Place("j", A.id, 3 * NANO))
    (acquire,) = (c for c in table.commands if isinstance(c, Acquire))
    return acquire


@pytest.mark.parametrize("answered", [True, False])
def test_a_request_whose_machine_is_over_already_is_settled_and_asked_anew(answered):
    """The token finds a machine that lived for ten minutes: paid for that long, and the job waits
    for another one, whether or not the answer to the request was known."""
    table = Table()
    acquire = asked(table)
    if not answered:
        table.turn(e.AcquireUnknown(1, 0))
    gone = e.LeaseSeen(
        1, 1, "i-1", MINUTE, NANO, acquire.token, ended_at=11 * MINUTE, cause="interrupted"
    )
    table.turn(e.SeeLeases("aws", (gone,), 12 * MINUTE), at=12 * MINUTE)
    (ended,) = table.facts(e.LeaseEnded)
    assert (ended.at, ended.lost) == (11 * MINUTE, True)
    assert not table.book.leases
    assert table.book.jobs["j"].state is JobState.QUEUED
    # Ten minutes at one dollar an hour, rounded up once.
    assert table.book.ledger.accounts[expense("team", "aws")].debit_posted == 166_667
    table.plan(Place("j", A.id, 3 * NANO))
    (again,) = (c for c in table.commands if isinstance(c, Acquire))
    assert again.token != acquire.token
    table.check()


@pytest.mark.parametrize("lease", [1, 2, 99])
def test_a_warning_for_a_machine_that_is_not_ours_does_nothing(lease):
    """About a lease that is over, one we never had, and twice about ours: one fact at most."""
    table = Table()
    table.run()
    ours = lease == 1
    notice = e.MachineNoticed(lease, 0, 2 * MINUTE)
    first = table.turn(notice).entry
    assert bool(first.facts) is ours
    assert bool(first.commands) is ours
    table.turn(notice)
    assert len([c for c in table.commands if not isinstance(c, Release)]) == 0
    assert table.book.jobs["j"].state is (JobState.STOPPING if ours else JobState.RUNNING)
    table.check()


def test_a_machine_that_ended_before_it_began_costs_its_minimum():
    """The market's clock is off: what ends ten minutes before its grant is charged no negative
    time, but the minute that is billed at least."""
    table = Table(now=HOUR)
    acquire = asked(table)
    seen = e.LeaseSeen(
        1, 1, "i-1", HOUR, NANO, acquire.token, ended_at=50 * MINUTE, cause="interrupted"
    )
    table.turn(e.SeeLeases("aws", (seen,), HOUR + MINUTE), at=HOUR + MINUTE)
    metered = table.facts(e.LeaseMetered)[-1]
    assert metered.until == HOUR
    assert metered.charge == 16_667
    assert not table.book.ledger.holds
    table.check()


def test_lost_rights_stop_launches_and_keep_what_runs_accounted_for():
    """Nothing is permitted any more, for hours: no machine is asked for, none is forgotten, what
    runs is metered, its release is tried again; with the rights all of it is settled."""

    async def work(loop):
        rig = await Rig(loop, engine={"accrual": 10 * MINUTE, "horizon": HOUR}).start()
        await rig.agent.submit(rig.job("a", work=40 * MINUTE))
        await rig.until(lambda: rig.hands.running)
        revoked = NotPermitted("the key was revoked")
        for what in ("acquire", "release", "leases", "offers"):
            rig.market.fail(what, *[revoked] * 5_000)
        await asyncio.sleep(10 * 60)
        before = len(rig.market.asked(Acquire))
        await rig.agent.submit(rig.job("b"))
        await rig.until(lambda: "a" in rig.book.ended)
        await asyncio.sleep(60 * 60)
        assert len(rig.market.asked(Acquire)) == before
        assert list(rig.book.leases) == [1]
        assert rig.book.ledger.holds
        assert len(rig.market.asked(Release)) > 100
        assert {"acquire", "release", "leases"} & {what for what, *_ in rig.log.kinds("failed")}
        charged = rig.book.leases[1].charge
        rig.market.faults.clear()
        await rig.until(lambda: not rig.book.leases and "b" in rig.book.ended, limit=3 * HOUR)
        assert rig.book.ledger.accounts[expense("team", "aws")].debit_posted >= charged
        assert not rig.book.ledger.holds
        assert rig.market.alive() == []

    play(work)


def test_a_machine_that_will_not_go_is_told_of_each_minute_and_stays_held():
    """The market said yes to its release and keeps it for twenty minutes: the hold stays, the
    release is repeated, and each repetition is told to whoever looks on."""

    async def work(loop):
        rig = await Rig(loop).start()

        async def deaf(request):
            rig.market.calls.append(request)

        original, rig.market.release = rig.market.release, deaf
        await rig.agent.submit(rig.job())
        await rig.until(lambda: "j" in rig.book.ended)
        await asyncio.sleep(20 * 60)
        assert list(rig.book.leases) == [1] and rig.book.ledger.holds
        told = [what for what, _ in rig.log.kinds("failed") if what == "release"]
        assert 15 <= len(told) <= 21
        assert len(rig.market.asked(Release)) == len(told) + 1
        rig.market.release = original
        await rig.until(lambda: not rig.book.leases)

    play(work)


def test_no_more_files_to_open_costs_time_and_no_request():
    """Calls fail with EMFILE, sent or not: nothing is taken twice, nothing is lost, and with
    room again all goes on."""

    async def work(loop):
        rig = await Rig(loop).start()
        full = OSError(24, "Too many open files")
        rig.market.fail("acquire", full)
        rig.market.fail("leases", *[full] * 10)
        rig.market.fail("release", *[full] * 3)
        rig.hands.faults.extend([full, full])
        await rig.agent.submit(rig.job())
        await rig.until(lambda: "j" in rig.book.ended and not rig.book.leases, limit=2 * HOUR)
        placements = [request.placement for request in rig.market.asked(Acquire)]
        assert len(placements) == len(set(placements)) == 2
        assert rig.market.alive() == []

    play(work)


def test_a_crash_loop_takes_no_machine_twice():
    """Twenty starts that each die in the call that asks for a machine, with and without effect:
    one request, one machine, and the budget holds it once."""

    async def work(loop):
        market, store = Market(LoopClock(loop)), Disk()
        for start in range(20):
            market.faults["acquire"] = deque([Hang(acts=start > 10)])
            rig = await Rig(loop, store=store, market=market).start()
            if not start:
                await rig.agent.submit(rig.job(work=10 * HOUR))
            await asyncio.sleep(2)
            rig.crash()
        assert len(market.asked(Acquire)) == 12
        assert len(set(market.asked(Acquire))) == 1
        last = await Rig(loop, store=store, market=market).start()
        await last.until(lambda: last.book.jobs["j"].state is JobState.RUNNING)
        assert market.alive() == [1]
        assert len(last.book.ledger.holds) == 1

    play(work)


def test_prices_in_another_unit_are_not_believed():
    """A thousand times the last price, as where cents became dollars: written down, not taken."""
    table = Table()
    table.quote(A, 1_000 * NANO)
    (rejected,) = table.facts(e.QuoteRejected)
    assert "times at once" in rejected.why
    assert table.book.offers[A.id].rate == NANO
    assert table.now + SECOND > table.book.offers[A.id].observed_at


@pytest.mark.parametrize("currency", ["USD", "EUR", ""])
def test_prices_in_another_currency_are_no_prices(currency):
    """A row in euro, or in no currency at all, is not read as dollars, on Azure as on Google."""
    row = {
        "meterName": "ND96 Spot",
        "skuName": "ND96 Spot",
        "productName": "Virtual Machines ND Series",
        "armRegionName": "westeurope",
        "unitOfMeasure": "1 Hour",
        "currencyCode": currency,
        "retailPrice": 2.5,
        "armSkuName": "Standard_ND96",
    }
    found = azure_row(row, "westeurope", HOUR)
    price = {"usageUnit": "h", "tieredRates": [{"unitPrice": {"units": "3"}}]}
    price["tieredRates"][0]["unitPrice"]["currencyCode"] = currency
    rate = google_rate({"pricingInfo": [{"pricingExpression": price}]})
    if currency == "USD":
        assert found[3] == 5 * NANO // 2
        assert rate == 3 * NANO
    else:
        assert found is None
        assert rate == 0
