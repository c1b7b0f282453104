"""What people order of the engine: preempt, move, drain, and how plans are treated."""

import msgspec

from tests.support.table import A, B, Table
from treasury.domain import events as e
from treasury.domain.budget import Budget, Mode
from treasury.domain.commands import Acquire, ChangeBid, Release, StopWork
from treasury.domain.job import JobState
from treasury.domain.market import Capabilities
from treasury.domain.money import MICRO, NANO
from treasury.domain.plan import Place, Rebid, Why
from treasury.domain.time import HOUR, MINUTE
from treasury.engine import snapshot


def test_a_preempted_job_stops_at_a_checkpoint_and_waits_again():
    """The order leads to a stop, then the queue; its machine goes back."""
    table = Table()
    table.run()
    table.turn(e.PreemptJob("j", "ann"))
    assert any(isinstance(c, StopWork) and c.leases == (1,) for c in table.commands)
    table.turn(e.WorkStopped("j", 1, table.book.now, 0))
    assert table.book.jobs["j"].state is JobState.QUEUED
    assert [c.machine for c in table.commands if isinstance(c, Release)] == ["i-1"]
    table.check()


def test_a_queued_job_is_placed_where_a_person_says_and_refusals_are_always_told():
    """An order passes the guard: a bid below the price is refused, each time it is given."""
    table = Table()
    table.submit()
    for _ in range(2):
        table.turn(e.MoveJob("j", A.id, 1, "ann"))
    assert [f.why for f in table.facts(e.ActionRefused)] == [Why.TOO_DEAR, Why.TOO_DEAR]
    table.turn(e.MoveJob("j", A.id, 3 * NANO, "ann"))
    assert isinstance(table.commands[0], Acquire)
    table.check()


def test_a_running_job_is_migrated_where_a_person_says():
    """The move is make before break: the successor is acquired while the job runs on."""
    table = Table()
    table.run()
    table.turn(e.MoveJob("j", B.id, 9 * NANO, "ann"))
    job = table.book.jobs["j"]
    assert job.state is JobState.RUNNING and job.successor == 2
    table.check()


def test_a_drained_provider_loses_its_jobs_and_gets_no_new_ones():
    """Jobs leave at a checkpoint, offers are out of reach in the snapshot, orders are refused."""
    table = Table()
    table.run()
    table.turn(e.DrainProvider("aws", True, "ann"))
    assert table.book.jobs["j"].state is JobState.STOPPING
    table.turn(e.WorkStopped("j", 1, table.book.now, 0))
    views = {view.offer.id: view for view in snapshot(table.book, table.book.now).offers}
    assert views[A.id].free(table.book.now) == 0
    table.turn(e.MoveJob("j", A.id, 3 * NANO, "ann"))
    assert table.facts(e.ActionRefused)[-1].why is Why.NOT_ALLOWED
    table.turn(e.DrainProvider("aws", False, "ann"))
    table.turn(e.MoveJob("j", A.id, 3 * NANO, "ann"))
    assert table.book.jobs["j"].state is JobState.ACQUIRING
    table.check()


def test_recommended_actions_are_written_down_and_not_done():
    """In recommend mode a plan leaves one fact an action and no command; in observe mode none is
    asked for."""
    table = Table()
    table.turn(e.SetConduct(Mode.RECOMMEND, "ann"))
    table.submit()
    table.plan(Place("j", A.id, 3 * NANO))
    assert [f.offer for f in table.facts(e.ActionRecommended)] == [A.id]
    assert not table.commands and table.book.jobs["j"].state is JobState.QUEUED
    table.turn(e.SetConduct(Mode.OBSERVE, "ann"))
    asked = table.book.plan_version
    table.turn(e.Wake(), at=table.book.now + 10 * table.book.settings.tick)
    assert table.book.plan_version == asked
    table.check()


def test_a_listing_tells_boots_and_ends():
    """Grant, boot and end of a machine are taken from listings; an end counts at its instant."""
    table = Table()
    table.submit()
    table.plan(Place("j", A.id, 3 * NANO))
    token = table.commands[0].token
    table.turn(e.SeeLeases("aws", (e.LeaseSeen(1, 1, "i-1", 0, 0, token),), 0))
    assert table.book.jobs["j"].state is JobState.ACQUIRING
    ready = e.LeaseSeen(1, 1, "i-1", 0, 0, token, ready=True)
    table.turn(e.SeeLeases("aws", (ready,), 5), at=5)
    assert table.book.jobs["j"].state is JobState.STARTING
    gone = e.LeaseSeen(1, 1, "i-1", 0, 0, token, ended_at=7, cause="interrupted")
    table.turn(e.SeeLeases("aws", (gone,), 9), at=9)
    assert table.facts(e.LeaseEnded)[-1].at == 7
    table.turn(e.SeeLeases("aws", (gone,), 10), at=10)
    assert not table.facts(e.Discrepancy)
    table.check()


def test_a_new_bid_is_judged_by_the_difference_to_the_one_it_replaces():
    """Under a burn cap of 5 USD/h a bid of 3 may rise to 5 and not to 6, and may always fall."""
    capped = Budget(cost_centre="team", amount=100 * MICRO, parent="org", burn_cap=5 * NANO)
    table = Table(100 * MICRO, Budget(cost_centre="org", amount=100 * MICRO), capped)
    bids = msgspec.structs.replace(A, capabilities=Capabilities(bids=True))
    table.turn(e.ListOffers("aws", (bids, B)))
    table.run()

    def rebid(bid: int) -> None:
        # A plan is asked for when a job waits; this one is a queue of one.
        table.submit(f"asks-{bid}")
        table.plan(Rebid("j", bid))

    rebid(5 * NANO)
    assert [c.bid for c in table.commands if isinstance(c, ChangeBid)] == [5 * NANO]
    rebid(6 * NANO)
    assert table.facts(e.ActionRefused)[-1].why is Why.PACING
    rebid(2 * NANO)
    assert table.book.placements[1].bid == 2 * NANO
    table.check()


def test_a_listing_that_flickers_loses_nothing():
    """Left out once and listed again, a machine stays ours; a second machine of its lease goes."""
    table = Table()
    table.run()
    token = table.book.placements[1].token
    table.turn(e.SeeLeases("aws", (), HOUR), at=HOUR)
    assert table.book.leases[1].missing_since == HOUR
    ours = e.LeaseSeen(1, 1, "i-1", 0, NANO, token, ready=True)
    twin = e.LeaseSeen(1, 1, "i-2", 0, NANO, token, ready=True)
    table.turn(e.SeeLeases("aws", (ours, twin), 2 * HOUR), at=2 * HOUR)
    assert table.book.leases[1].missing_since == 0
    assert [c.machine for c in table.commands if isinstance(c, Release)] == ["i-2"]
    table.turn(e.MachineReleased(1, 2 * HOUR, "i-2"))
    table.turn(e.SeeLeases("aws", (), 3 * HOUR), at=3 * HOUR)
    assert table.book.jobs["j"].state is JobState.RUNNING
    table.check()


def test_a_machine_that_never_reports_is_given_back():
    """Granted and not ready within the limit: it is released, its offer left alone, the job waits
    for another."""
    table = Table()
    table.submit()
    table.plan(Place("j", A.id, 3 * NANO))
    token = table.commands[0].token
    table.turn(e.AcquireGranted(token, 1, ("i-1",), 0, NANO))
    limit = table.book.settings.boot_limit
    assert table.turn(e.Wake(), at=limit - 1).wake_at <= limit
    assert not table.commands
    table.turn(e.Wake(), at=limit)
    assert [c.machine for c in table.commands if isinstance(c, Release)] == ["i-1"]
    assert table.book.jobs["j"].state is JobState.QUEUED
    assert table.book.offers[A.id].quarantined_until > limit
    table.check()


def test_a_job_that_does_not_stop_loses_its_machines():
    """Told to stop and not heard of again, a job goes back to its last checkpoint without them."""
    table = Table()
    table.run()
    table.turn(e.WorkSaved("j", 1, HOUR, HOUR), at=HOUR)
    table.turn(e.PreemptJob("j", "ann"))
    table.turn(e.Wake(), at=HOUR + table.book.settings.stop_limit)
    assert [c.machine for c in table.commands if isinstance(c, Release)] == ["i-1"]
    job = table.book.jobs["j"]
    assert job.state is JobState.QUEUED and job.work_done == HOUR
    table.check()


def test_a_silent_machine_is_given_back():
    """A machine that is not heard of is released, and charged until it is gone."""
    table = Table()
    table.run()
    table.turn(e.MachineSilent(1, HOUR), at=HOUR)
    assert [c.machine for c in table.commands if isinstance(c, Release)] == ["i-1"]
    assert table.book.jobs["j"].state is JobState.QUEUED and table.book.leases
    table.turn(e.MachineReleased(1, HOUR, "i-1"))
    assert not table.book.leases and not table.book.ledger.holds
    table.check()


def test_a_machine_that_nobody_paid_ahead_is_charged_until_its_fuse():
    """Found gone after hours in which nobody metered it, a machine is charged for as long as it was
    paid ahead; one that a listing still shows is charged for all of it."""
    for shown in (False, True):
        table = Table()
        table.run()
        token = table.book.placements[1].token
        table.turn(e.Wake(), at=10 * HOUR)
        if shown:
            seen = e.LeaseSeen(1, 1, "i-1", 0, NANO, token, ready=True)
            table.turn(e.SeeLeases("aws", (seen,), 10 * HOUR))
        for later in (10 * HOUR + MINUTE, 10 * HOUR + 4 * MINUTE):
            table.turn(e.SeeLeases("aws", (), later), at=later)
        spent = table.book.ledger.account("expenses:gpu:team:aws").balance
        assert not table.book.leases
        # Paid ahead from the start for two hours; or seen until the first listing without it.
        assert spent == (10 * MICRO + MICRO // 60 + 1 if shown else 2 * MICRO)
        table.check()


def test_a_market_whose_clock_is_ahead_is_paid_for_the_time_that_passed():
    """Granted an hour in our future and ended two hours later by the market's clock, a machine is
    metered from the start and costs two hours."""
    table = Table()
    table.submit()
    table.plan(Place("j", A.id, 3 * NANO))
    token = table.commands[0].token
    table.turn(e.AcquireGranted(token, 1, ("i-1",), HOUR, NANO))
    lease = table.book.leases[1]
    assert table.book.funded_until(lease) == table.book.settings.horizon
    table.turn(e.MachineReady(1, 0))
    table.turn(e.Wake(), at=HOUR)
    assert table.book.ledger.account("expenses:gpu:team:aws").balance == MICRO
    gone = e.LeaseSeen(1, 1, "i-1", HOUR, NANO, token, ended_at=3 * HOUR, cause="interrupted")
    table.turn(e.SeeLeases("aws", (gone,), 2 * HOUR), at=2 * HOUR)
    assert table.book.ledger.account("expenses:gpu:team:aws").balance == 2 * MICRO
    table.check()
