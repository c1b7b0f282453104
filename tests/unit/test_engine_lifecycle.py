"""The engine against a market that answers by hand: one job from submission to release."""

from tests.support.table import A, B, Table
from treasury.domain import events as e
from treasury.domain.commands import Acquire, Release, StartWork, StopWork
from treasury.domain.job import JobState
from treasury.domain.market import Quote
from treasury.domain.money import MICRO, NANO
from treasury.domain.plan import Migrate, Place, Preempt, Why
from treasury.domain.time import HOUR, MINUTE
from treasury.engine import snapshot


def test_a_job_runs_to_its_end_and_every_micro_dollar_is_booked():
    """Ten hours at 1 USD/h are charged as 10 USD, the holds are gone, replay rebuilds the book."""
    table = Table()
    table.run()
    assert table.book.jobs["j"].state is JobState.RUNNING
    for hour in range(1, 10):
        table.turn(e.Wake(), at=hour * HOUR)
    table.turn(e.WorkEnded("j", 1, 10 * HOUR), at=10 * HOUR)
    assert any(isinstance(c, Release) for c in table.commands)
    table.turn(e.MachineReleased(1, 10 * HOUR))
    ledger = table.book.ledger
    assert ledger.account("expenses:gpu:team:aws").debit_posted == 10 * MICRO
    assert ledger.available("assets:budget:team") == 90 * MICRO
    assert ledger.account("used:org").debit_posted == 10 * MICRO
    assert not ledger.holds and not table.book.leases and not table.book.placements
    assert table.book.ended == {"j": "finished"}
    table.check()


def test_a_rate_that_moves_is_charged_for_the_time_it_held():
    """One hour at 1 USD/h and half an hour at 2 USD/h make 2 USD, whenever it is metered."""
    table = Table()
    table.run()
    table.turn(e.SeeQuotes((Quote(A.id, 2 * NANO, 5, HOUR, HOUR),)), at=HOUR)
    end = HOUR + HOUR // 2
    table.turn(e.MachineLost(1, end, "reclaimed", 1 * HOUR), at=end)
    assert table.book.ledger.account("expenses:gpu:team:aws").debit_posted == 2 * MICRO
    assert table.book.jobs["j"].state is JobState.QUEUED
    assert table.book.jobs["j"].work_done == 1 * HOUR
    assert table.facts(e.JobRequeued)[-1].lost == HOUR // 2
    table.check()


def test_a_hold_that_does_not_fit_is_refused_with_the_figures():
    """A budget of 5 USD does not carry a hold of two hours at 3 USD/h; the refusal says so."""
    table = Table(amount=5 * MICRO)
    table.submit()
    table.plan(Place("j", A.id, 3 * NANO))
    refusal = table.facts(e.ActionRefused)[-1]
    assert refusal.why is Why.BUDGET and refusal.cost_centre == "team"
    assert refusal.limit == 5 * MICRO and refusal.asked > 5 * MICRO
    assert not table.commands and not table.book.ledger.holds
    table.check()


def test_a_top_up_that_does_not_fit_stops_the_job_inside_its_hold():
    """When the budget runs out the job is checkpointed and its machine returned in time."""
    table = Table(amount=8 * MICRO)
    table.run()
    hour = 0
    while not any(isinstance(c, StopWork) for c in table.commands):
        hour += 1
        assert hour < 20
        table.turn(e.Wake(), at=hour * HOUR)
    table.turn(e.WorkStopped("j", 1, table.now, hour * HOUR))
    table.turn(e.MachineReleased(1, table.now))
    ledger = table.book.ledger
    assert ledger.account("expenses:gpu:team:aws").debit_posted == hour * MICRO
    assert ledger.account("equity:shortfall").credit_posted == 0
    assert ledger.available("assets:budget:team") == (8 - hour) * MICRO
    table.check()


def test_a_declined_request_frees_its_hold_and_quarantines_the_offer():
    """After NoCapacity nothing is held and the same offer is refused until the quarantine ends."""
    table = Table()
    table.submit()
    table.plan(Place("j", A.id, 3 * NANO))
    table.turn(e.AcquireDeclined(1, "NoCapacity", table.now))
    assert not table.book.ledger.holds and table.book.jobs["j"].state is JobState.QUEUED
    table.plan(Place("j", A.id, 3 * NANO))
    assert table.facts(e.ActionRefused)[-1].why is Why.QUARANTINED
    table.check()


def test_a_migration_acquires_first_and_releases_after_the_first_useful_step():
    """The old machine is held until the new one works, and then given back."""
    table = Table()
    table.run()
    table.quote(B, NANO // 2)
    table.turn(e.Wake(), at=MINUTE)
    table.plan(Migrate("j", B.id, 2 * NANO))
    assert table.book.jobs["j"].state is JobState.RUNNING
    table.grant(NANO // 2)
    assert any(isinstance(c, StopWork) for c in table.commands)
    table.turn(e.WorkStopped("j", 1, table.now, MINUTE))
    assert not any(isinstance(c, Release) for c in table.commands)
    table.begin()
    assert [c.lease for c in table.commands if isinstance(c, Release)] == [1]
    table.turn(e.MachineReleased(1, table.now))
    job = table.book.jobs["j"]
    assert job.placement == 2 and job.previous is None and job.work_done == MINUTE
    assert len(table.book.leases) == 1
    table.check()


def test_a_migration_whose_target_fails_leaves_the_job_where_it_is():
    """A declined successor and a successor lost before its first step both undo the move."""
    table = Table()
    table.run()
    table.quote(B, NANO // 2)
    table.turn(e.Wake(), at=MINUTE)
    table.plan(Migrate("j", B.id, 2 * NANO))
    table.turn(e.AcquireDeclined(2, "NoCapacity", table.now))
    assert table.book.jobs["j"].state is JobState.RUNNING
    assert table.book.jobs["j"].successor is None
    table.turn(e.Wake(), at=HOUR)
    table.quote(B, NANO // 3)
    table.plan(Migrate("j", B.id, 2 * NANO))
    table.grant(NANO // 3)
    table.turn(e.WorkStopped("j", 1, table.now, HOUR))
    table.turn(e.MachineLost(3, table.now, "reclaimed"))
    start = next(c for c in table.commands if isinstance(c, StartWork))
    assert start.placement == 1 and start.work_done == HOUR
    table.begin()
    assert table.book.jobs["j"].state is JobState.RUNNING and len(table.book.leases) == 1
    table.check()


def test_a_switch_releases_first_and_acquires_after():
    """Preempt followed by Place in one plan stops the job, returns the machine, then asks anew."""
    table = Table()
    table.run()
    table.quote(B, NANO // 2)
    table.turn(e.Wake(), at=MINUTE)
    table.plan(Preempt("j", "cheaper"), Place("j", B.id, 2 * NANO))
    table.turn(e.WorkStopped("j", 1, table.now, MINUTE))
    kinds = [type(c) for c in table.commands]
    assert kinds == [Release, Acquire]
    table.check()


def test_a_gang_starts_when_its_last_machine_is_ready_and_falls_as_one():
    """Three machines are asked for at once; losing one gives the other two back."""
    table = Table()
    table.submit(nodes=3)
    table.plan(Place("j", A.id, 3 * NANO))
    acquire = table.commands[0]
    assert acquire.leases == (1, 2, 3)
    table.turn(e.AcquireGranted(acquire.token, 1, ("x", "y", "z"), 0, 1 * NANO))
    table.turn(e.MachineReady(1, 0), e.MachineReady(2, 0))
    assert not table.commands
    table.turn(e.MachineReady(3, 0))
    assert [type(c) for c in table.commands] == [StartWork]
    table.begin()
    table.turn(e.MachineLost(2, HOUR, "reclaimed", 0), at=HOUR)
    assert sorted(c.lease for c in table.commands if isinstance(c, Release)) == [1, 3]
    table.check()


def test_a_job_cancelled_while_machines_are_asked_for_gives_them_back_on_grant():
    """The grant of a request nobody wants any more is released at once and settled."""
    table = Table()
    table.submit()
    table.plan(Place("j", A.id, 3 * NANO))
    acquire = table.commands[0]
    table.turn(e.CancelJob("j"))
    table.turn(e.AcquireGranted(acquire.token, 1, ("x",), MINUTE, 1 * NANO), at=MINUTE)
    assert [type(c) for c in table.commands] == [Release]
    table.turn(e.MachineReleased(1, MINUTE))
    assert not table.book.ledger.holds and not table.book.placements
    # The market's minimum of one minute was owed.
    assert table.book.ledger.account("expenses:gpu:team:aws").debit_posted == 16_667
    table.check()


def test_quotes_that_make_no_sense_are_not_believed():
    """Zero, negative, absurd, future and older quotes are written down and change nothing."""
    table = Table()
    table.turn(e.Wake(), at=HOUR)
    bad = [
        Quote(A.id, 0, 5, HOUR, HOUR),
        Quote(A.id, -1, 5, HOUR, HOUR),
        Quote(A.id, 10**18, 5, HOUR, HOUR),
        Quote(A.id, 200 * NANO, 5, HOUR, HOUR),
        Quote(A.id, NANO, 4, 2 * HOUR, HOUR),
        Quote(A.id, NANO, 4, -1, HOUR),
        Quote("nowhere", NANO, 5, HOUR, HOUR),
    ]
    for quote in bad:
        table.turn(e.SeeQuotes((quote,)))
    assert len(table.facts(e.QuoteRejected)) == len(bad)
    assert snapshot(table.book, HOUR).offers[0].rate == 1 * NANO
    table.check()


def test_a_market_without_bids_is_left_when_its_price_passes_what_we_would_pay():
    """Where nobody evicts us, we keep our own ceiling."""
    table = Table()
    table.run()
    table.turn(e.SeeQuotes((Quote(A.id, 4 * NANO, 5, HOUR, HOUR),)), at=HOUR)
    assert any(isinstance(c, StopWork) for c in table.commands)
    table.check()
