"""Where budgets get their money: top-ups, transfers, freezes, loans, rolling windows, approvals."""

import pytest

from tests.support.table import A, Table
from treasury.domain import events as e
from treasury.domain.budget import Budget, Mode, Period
from treasury.domain.commands import Acquire
from treasury.domain.job import JobState
from treasury.domain.money import MICRO, NANO
from treasury.domain.plan import Place, Why
from treasury.domain.settings import EngineSettings
from treasury.domain.time import DAY, HOUR, parse_instant
from treasury.ledger.chart import wallet

NOON = parse_instant("2026-03-02T12:00:00Z")
TREE = (
    Budget(cost_centre="org", amount=100 * MICRO),
    Budget(cost_centre="red", parent="org", amount=5 * MICRO, borrow=30 * MICRO),
    Budget(cost_centre="blue", parent="org", amount=40 * MICRO, reserve=10 * MICRO),
)


def held(table: Table, centre: str) -> int:
    """What a centre's wallet holds for machines."""
    return table.book.ledger.account(wallet(centre)).credit_pending


def test_a_top_up_lets_a_refused_job_run():
    """Refused for lack of money, topped up, asked again at once, placed."""
    table = Table(5 * MICRO)
    table.submit()
    table.plan(Place("j", A.id, 3 * NANO))
    assert not table.commands
    table.turn(e.ChangeBudget("team", 5 * MICRO, "ann"))
    assert table.book.plan_pending
    table.plan(Place("j", A.id, 3 * NANO))
    assert [type(c) for c in table.commands] == [Acquire]
    assert table.book.level("team").limit == 10 * MICRO
    table.check()


def test_money_moves_between_centres_only_when_it_is_there():
    """A transfer shifts limits and availability, is no spending, and never exceeds what is free."""
    table = Table(0, *TREE)
    table.turn(e.ChangeBudget("red", 15 * MICRO, "ann", source="blue"))
    red, blue = table.book.level("red"), table.book.level("blue")
    assert (red.available, blue.available) == (20 * MICRO, 25 * MICRO)
    assert (red.spent, blue.spent, red.limit, blue.limit) == (0, 0, 20 * MICRO, 25 * MICRO)
    for amount, source in ((26 * MICRO, "blue"), (0, "blue"), (1, "red"), (1, "green")):
        table.turn(e.ChangeBudget("red", amount, "ann", source=source))
    table.turn(e.ChangeBudget("red", -21 * MICRO, "ann"))
    assert len(table.facts(e.BudgetChangeRefused)) == 5
    assert table.book.level("red").available == 20 * MICRO
    table.check()


def test_a_frozen_budget_takes_nothing_new_and_pays_for_what_runs():
    """The running job is metered on, the second one is refused until the thaw."""
    table = Table()
    table.run()
    table.turn(e.FreezeBudget("team", True, "ann"))
    table.turn(e.Wake(), at=HOUR)
    assert table.book.jobs["j"].state is JobState.RUNNING
    table.submit("k")
    table.plan(Place("k", A.id, 3 * NANO))
    assert table.facts(e.ActionRefused)[-1].why is Why.FROZEN
    table.turn(e.FreezeBudget("team", False, "ann"))
    table.plan(Place("k", A.id, 3 * NANO))
    assert [type(c) for c in table.commands] == [Acquire]
    table.check()


def test_an_idle_sibling_lends_beyond_its_reserve_and_has_it_back():
    """Red borrows what it lacks; blue keeps its reserve, and has it back when it is short."""
    table = Table(0, *TREE)
    table.submit("a", cost_centre="red")
    table.plan(Place("a", A.id, 4 * NANO))
    lent = table.facts(e.BudgetLent)[-1]
    assert (lent.lender, lent.borrower) == ("blue", "red")
    assert lent.amount == held(table, "red") - 5 * MICRO
    assert table.book.level("blue").available >= 10 * MICRO
    table.turn(e.AcquireDeclined(1, "OfferGone", table.now))
    assert held(table, "red") == 0
    blue = table.book.ledger.available(wallet("blue"))
    table.turn(e.CancelJob("a"))
    table.submit("b", cost_centre="blue", nodes=4)
    table.plan()
    table.turn(e.Wake(), at=2 * DAY)
    table.plan(Place("b", A.id, 24 * NANO // 5))
    assert held(table, "blue") > blue
    assert table.facts(e.BudgetLent)[-1].amount < 0
    table.check()


def test_a_rolling_window_gives_back_what_left_it():
    """Five dollars in any day: spent in its first hours, they can be spent again a day later."""
    rolling = Budget(cost_centre="team", amount=10 * MICRO, period=Period.ROLLING, window=DAY)
    table = Table(0, rolling, now=NOON)
    table.run()
    end = NOON + 4 * HOUR
    for hour in range(1, 5):
        table.turn(e.Wake(), at=NOON + hour * HOUR)
    table.turn(e.WorkEnded("j", 1, end))
    table.turn(e.MachineReleased(1, end))
    assert table.book.level("team").spent == 4 * MICRO
    for hour in range(5, 24):
        table.turn(e.Wake(), at=NOON + hour * HOUR)
        level = table.book.level("team")
        assert (level.spent, level.available) == (4 * MICRO, 6 * MICRO)
    for hour in range(24, 31):
        table.turn(e.Wake(), at=NOON + hour * HOUR)
    level = table.book.level("team")
    assert (level.spent, level.available) == (0, 10 * MICRO)
    table.check()


@pytest.mark.parametrize(("carry", "expected"), [(0, 10), (500, 14), (1000, 18)])
def test_what_a_period_leaves_is_carried_over_as_configured(carry, expected):
    """Two of ten dollars a day were spent; the next day starts with ten and the share of eight."""
    daily = Budget(cost_centre="team", amount=10 * MICRO, period=Period.DAY, carry=carry)
    table = Table(0, daily, now=NOON)
    table.run()
    for hour in (1, 2):
        table.turn(e.Wake(), at=NOON + hour * HOUR)
    table.turn(e.WorkEnded("j", 1, NOON + 2 * HOUR))
    table.turn(e.MachineReleased(1, NOON + 2 * HOUR))
    table.turn(e.Wake(), at=NOON + 12 * HOUR)
    level = table.book.level("team")
    assert level.available == level.limit == expected * MICRO
    table.check()


def test_fixed_dates_have_no_money_before_and_after():
    """A budget for one day: refused the day before, placed on the day, swept after it."""
    fixed = Budget(
        cost_centre="team",
        amount=50 * MICRO,
        period=Period.FIXED,
        starts_at=NOON + DAY,
        ends_at=NOON + 2 * DAY,
    )
    table = Table(0, fixed, now=NOON)
    table.submit()
    table.plan(Place("j", A.id, 3 * NANO))
    refusal = table.facts(e.ActionRefused)[-1]
    assert refusal.fits_at == NOON + DAY
    table.turn(e.Wake(), at=NOON + DAY)
    table.plan(Place("j", A.id, 3 * NANO))
    assert held(table, "team") > 0
    table.turn(e.Wake(), at=NOON + 2 * DAY)
    assert table.book.ledger.available(wallet("team")) == 0
    table.check()


def test_a_dear_job_waits_for_approval():
    """Ten hours at one dollar are above the threshold of five; a yes lets them run."""
    careful = Budget(cost_centre="team", amount=100 * MICRO, approve_above=5 * MICRO)
    table = Table(0, careful)
    table.submit()
    table.plan(Place("j", A.id, 3 * NANO))
    assert table.facts(e.ActionRefused)[-1].why is Why.APPROVAL
    table.turn(e.ApproveJob("j", "ann"))
    table.plan(Place("j", A.id, 3 * NANO))
    assert [type(c) for c in table.commands] == [Acquire]
    table.check()


def test_a_soft_cap_is_noticed_once_a_period():
    """Passing half of the budget writes one notice with the figures."""
    soft = Budget(cost_centre="team", amount=20 * MICRO, soft=500)
    table = Table(0, soft)
    table.run()
    for hour in range(1, 9):
        table.turn(e.Wake(), at=hour * HOUR)
    (notice,) = table.facts(e.SoftCapReached)
    assert notice.spent + notice.held >= 10 * MICRO
    table.check()


def test_an_observing_budget_never_stops_a_job_and_keeps_count():
    """One dollar of budget, ten hours of work: all of it runs, the overdraft says at what cost."""
    table = Table(0, Budget(cost_centre="team", amount=MICRO, mode=Mode.OBSERVE))
    table.run()
    for hour in range(1, 10):
        table.turn(e.Wake(), at=hour * HOUR)
    table.turn(e.WorkEnded("j", 1, 10 * HOUR), at=10 * HOUR)
    table.turn(e.MachineReleased(1, 10 * HOUR))
    assert table.book.ledger.account("expenses:gpu:team:aws").debit_posted == 10 * MICRO
    assert table.book.ledger.account("equity:overdraft").credit_posted >= 9 * MICRO
    assert [f.why for f in table.facts(e.RefusalTolerated)] == [Why.BUDGET]
    table.check()


def test_a_changed_configuration_counts_at_once_and_never_orphans_money():
    """A higher amount is funded, a lower one takes back what is free, a lost centre is refused."""
    table = Table(10 * MICRO)
    table.run()
    settings = EngineSettings(tick=60 * 10**9)
    org = Budget(cost_centre="org", amount=100 * MICRO)
    more = Budget(cost_centre="team", parent="org", amount=30 * MICRO)
    table.turn(e.Configure(settings, (org, more)))
    before = table.book.level("team")
    assert before.available + before.held == 30 * MICRO
    less = Budget(cost_centre="team", parent="org", amount=1 * MICRO)
    table.turn(e.Configure(settings, (org, less)))
    after = table.book.level("team")
    assert (after.available, after.held, after.spent) == (0, before.held, 0)
    table.turn(e.Configure(settings, (org,)))
    assert "team" in table.facts(e.Discrepancy)[-1].what
    assert "team" in table.book.budgets
    table.check()
