"""Budgets in the engine: periods, trees, and what a rejected job is told."""

from tests.support.table import A, Table
from treasury.domain import events as e
from treasury.domain.budget import Budget, Period
from treasury.domain.commands import Acquire, Release
from treasury.domain.job import JobState
from treasury.domain.money import MICRO, NANO
from treasury.domain.plan import Place, Why
from treasury.domain.time import DAY, HOUR, MINUTE, parse_instant
from treasury.ledger.chart import limit, wallet

NOON = parse_instant("2026-03-02T12:00:00Z")


def test_a_period_sweeps_what_is_left_and_funds_what_is_not_held():
    """At midnight a daily budget is whole again, less what running machines still hold."""
    daily = Budget(cost_centre="team", amount=10 * MICRO, period=Period.DAY)
    table = Table(0, daily, now=NOON)
    table.run()
    for hour in range(1, 12):
        table.turn(e.Wake(), at=NOON + hour * HOUR)
    midnight = NOON + 12 * HOUR
    assert table.book.budgets["team"].end == midnight
    table.turn(e.Wake(), at=midnight)
    level = table.book.level("team")
    assert (level.start, level.end) == (midnight, midnight + DAY)
    assert level.spent == 0
    assert level.available + level.held == 10 * MICRO
    table.check()


def test_a_daily_budget_stops_a_job_and_the_next_day_lets_it_go_on():
    """Ten dollars a day at three dollars an hour held: the job stops, waits and is placed again."""
    daily = Budget(cost_centre="team", amount=10 * MICRO, period=Period.DAY)
    table = Table(0, daily, now=NOON - 8 * HOUR)
    table.run()
    while table.book.jobs["j"].state is JobState.RUNNING:
        table.turn(e.Wake(), at=table.now + HOUR)
    table.turn(e.WorkStopped("j", 1, table.now, HOUR))
    table.turn(e.MachineReleased(1, table.now))
    table.plan(Place("j", A.id, 3 * NANO))
    refusal = table.facts(e.ActionRefused)[-1]
    assert refusal.why is Why.BUDGET
    assert refusal.fits_at == NOON + 12 * HOUR
    table.plan()
    turn = table.turn(e.Wake(), at=refusal.fits_at)
    assert turn.entry.propose == table.book.plan_version
    table.plan(Place("j", A.id, 3 * NANO))
    assert [type(c) for c in table.commands] == [Acquire]
    table.check()


def test_an_organisation_caps_what_its_teams_spend_together():
    """Two teams with 20 USD each under an organisation with 25 USD: the second hold is refused."""
    budgets = (
        Budget(cost_centre="org", amount=13 * MICRO),
        Budget(cost_centre="red", parent="org", amount=20 * MICRO),
        Budget(cost_centre="blue", parent="org", amount=20 * MICRO),
    )
    table = Table(0, *budgets)
    table.submit("a", cost_centre="red")
    table.submit("b", cost_centre="blue")
    table.plan(Place("a", A.id, 4 * NANO), Place("b", A.id, 4 * NANO))
    refusal = table.facts(e.ActionRefused)[-1]
    assert (refusal.job, refusal.cost_centre, refusal.why) == ("b", "org", Why.BUDGET)
    ledger = table.book.ledger
    assert (
        ledger.account(limit("org")).credit_pending == ledger.account(wallet("red")).credit_pending
    )
    assert ledger.account(wallet("blue")).credit_pending == 0
    table.check()


def test_an_interior_cost_centre_can_run_jobs_of_its_own():
    """A job of the organisation itself counts against its wallet and its limit."""
    table = Table()
    table.submit(cost_centre="org")
    table.plan(Place("j", A.id, 3 * NANO))
    table.grant(NANO)
    table.begin()
    table.turn(e.WorkEnded("j", 1, HOUR), at=HOUR)
    table.turn(e.MachineReleased(1, HOUR))
    assert table.book.ledger.account("expenses:gpu:org:aws").debit_posted == 1 * MICRO
    assert table.book.level("org").spent == 1 * MICRO
    assert table.book.level("team").spent == 0
    table.check()


def test_a_job_that_cannot_be_taken_is_rejected_with_the_reason():
    """Unknown cost centre, deadline in the past, a second job with one id: each says what is
    wrong."""
    table = Table(now=HOUR)
    table.submit("a", cost_centre="tem")
    table.submit("b", deadline=HOUR)
    table.submit("c")
    table.submit("c")
    table.submit("d", nodes=0)
    reasons = {f.job: f.why for f in table.facts(e.JobRejected)}
    assert "did you mean team?" in reasons["a"]
    assert "past" in reasons["b"]
    assert "exists already" in reasons["c"]
    assert "nodes" in reasons["d"]
    assert list(table.book.jobs) == ["c"]
    table.check()


def test_a_missed_deadline_is_written_down_once_and_the_job_goes_on():
    """The deadline passes while the job waits: one fact, still queued."""
    table = Table()
    table.submit(deadline=2 * HOUR)
    for hour in range(1, 5):
        table.turn(e.Wake(), at=hour * HOUR)
    assert [f.at for f in table.facts(e.DeadlineMissed)] == [2 * HOUR]
    assert table.book.jobs["j"].state is JobState.QUEUED
    table.check()


def test_a_listing_releases_orphans_and_counts_ghosts_as_lost():
    """A machine they list and we do not know is released; one we know and they do not list is
    lost."""
    table = Table()
    table.run()
    seen = e.LeaseSeen(77, 40, "i-77", 0, NANO, "token")
    table.turn(e.SeeLeases("aws", (seen,), HOUR), at=HOUR)
    assert [c.machine for c in table.commands if isinstance(c, Release)] == ["i-77"]
    # One listing proves little: it may lag or flicker.
    assert table.book.jobs["j"].state is JobState.RUNNING
    table.turn(e.SeeLeases("aws", (), HOUR + 2 * MINUTE), at=HOUR + 2 * MINUTE)
    assert table.book.jobs["j"].state is JobState.QUEUED
    assert table.book.ledger.account("expenses:gpu:team:aws").debit_posted == 1 * MICRO
    assert len(table.facts(e.Discrepancy)) == 2
    table.check()


def test_a_request_without_an_outcome_keeps_its_hold_until_a_listing_resolves_it():
    """Unknown, then listed: the machine is adopted and the work starts."""
    table = Table()
    table.submit()
    table.plan(Place("j", A.id, 3 * NANO))
    acquire = table.commands[0]
    assert isinstance(acquire, Acquire)
    table.turn(e.AcquireUnknown(1, 0))
    assert table.book.ledger.holds
    seen = e.LeaseSeen(1, 1, "i-1", 0, NANO, acquire.token, ready=True)
    table.turn(e.SeeLeases("aws", (seen,), HOUR), at=HOUR)
    table.begin()
    assert table.book.jobs["j"].state is JobState.RUNNING
    assert table.book.leases[1].granted_at == 0
    table.check()
