"""Ways in which budgets fail elsewhere, each shown not to happen here.

The list is from public reports about LiteLLM, the most used gateway with budgets (numbers are those
of BerriAI/litellm): spending is checked and then made, counters are reset by writing them, levels
are loaded and not asked. Here money is held before it is spent, at every level, in one ledger.
"""

from datetime import datetime
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest

from tests.support.table import A, Table
from treasury.domain import events as e
from treasury.domain.budget import Budget, Period
from treasury.domain.commands import Acquire
from treasury.domain.errors import InvariantBroken
from treasury.domain.job import JobState
from treasury.domain.market import Quote
from treasury.domain.money import MICRO, NANO
from treasury.domain.plan import Place, Why
from treasury.domain.time import DAY, HOUR, MINUTE, SECOND, parse_instant
from treasury.engine import Book, replay, step
from treasury.ledger.chart import FUNDING, SHORTFALL, limit, wallet
from treasury.ledger.ledger import Ledger

NOON = parse_instant("2026-03-02T12:00:00Z")
# What one machine holds at a bid of 3 USD an hour.
HOLD = 6_050_000


def budgets(org: int, team: int, other: int = 0) -> tuple[Budget, ...]:
    """An organisation and its team, and another team where it has money."""
    found = [
        Budget(cost_centre="org", amount=org),
        Budget(cost_centre="team", parent="org", amount=team),
    ]
    if other:
        found.append(Budget(cost_centre="other", parent="org", amount=other))
    return tuple(found)


def place(table: Table, job: str, bid: int = 3 * NANO) -> None:
    """One machine is asked for."""
    table.plan(Place(job, A.id, bid))


def held(table: Table) -> list[int]:
    """What each limited account holds."""
    accounts = table.book.ledger.accounts.values()
    return [account.credit_pending for account in accounts if account.policy.value == "limited"]


def test_concurrent_requests_cannot_all_pass() -> None:
    """#34732, #26672, #40095: eight requests at once against money for two: two pass, in one batch
    and without a word from the market yet."""
    table = Table(0, *budgets(100 * MICRO, 2 * HOLD + HOLD // 2))
    for number in range(8):
        table.submit(f"j{number}")
    table.plan(*(Place(f"j{number}", A.id, 3 * NANO) for number in range(8)))
    assert [type(command) for command in table.commands] == [Acquire, Acquire]
    assert table.book.level("team").held == 2 * HOLD
    assert len(table.facts(e.ActionRefused)) == 6
    table.check()


def unlisted(table: Table, since: int) -> None:
    """The provider leaves the machine out of its listings from an instant on."""
    for at in (since, since + 2 * MINUTE):
        table.turn(e.SeeLeases("aws", (), at), at=at)


@pytest.mark.parametrize("end", ["declined", "unknown", "cancelled", "lost", "ended", "ghost"])
def test_holds_do_not_leak(end: str) -> None:
    """#27639, #28247: whatever becomes of a request, when it is over nothing is held for it."""
    table = Table()
    table.submit()
    place(table, "j")
    assert held(table).count(HOLD) == 2
    if end == "declined":
        table.turn(e.AcquireDeclined(1, "OfferGone", table.now))
    elif end == "unknown":
        table.turn(e.AcquireUnknown(1, table.now))
        unlisted(table, table.now + MINUTE)
    elif end == "cancelled":
        table.turn(e.CancelJob("j"))
        table.turn(e.AcquireDeclined(1, "NoCapacity", table.now))
    else:
        table.grant(NANO)
        table.begin()
        table.now += 10 * MINUTE
        if end == "lost":
            table.turn(e.MachineLost(1, table.now, "interrupted"))
        elif end == "ghost":
            unlisted(table, table.now)
        else:
            table.turn(e.WorkEnded("j", 1, table.now))
            table.turn(e.MachineReleased(1, table.now))
    assert set(held(table)) == {0}
    assert table.book.ledger.holds == {}
    table.check()


def test_a_reset_overwrites_nothing() -> None:
    """#34733: a top-up, a charge and a hold at the very instant of the reset are all there after
    it, in the new period: a reset is a fact beside counters that only rise, no value is written
    back."""
    daily = Budget(cost_centre="team", amount=50 * MICRO, period=Period.DAY)
    table = Table(0, daily, now=NOON)
    table.run()
    for hour in range(1, 12):
        table.turn(e.Wake(), at=NOON + hour * HOUR)
    table.submit("k")
    table.plan()
    midnight = NOON + 12 * HOUR
    table.turn(e.ChangeBudget("team", 7 * MICRO, "ann"), at=midnight)
    level = table.book.level("team")
    assert (level.start, level.limit, level.spent) == (midnight, 57 * MICRO, MICRO)
    assert level.available + level.held + level.spent == 57 * MICRO
    assert table.book.ledger.account("expenses:gpu:team:aws").balance == 12 * MICRO
    table.check()


@pytest.mark.parametrize(("org", "team"), [(HOLD, 2 * HOLD), (2 * HOLD, HOLD)])
@pytest.mark.parametrize("missing", [0, 1])
def test_the_same_comparison_at_every_level(org: int, team: int, missing: int) -> None:
    """#33321: what fits to the last micro-dollar passes, one less is refused, and a team and its
    organisation do not differ in it."""
    table = Table(0, *budgets(org - missing, team - missing))
    table.submit()
    place(table, "j")
    assert len(table.commands) == 1 - missing
    tight = "org" if org < team else "team"
    if missing:
        refusal = table.facts(e.ActionRefused)[-1]
        assert (refusal.cost_centre, refusal.limit) == (tight, HOLD - 1)
    else:
        assert table.book.level(tight).available == 0
    table.check()


def test_the_organisation_is_enforced() -> None:
    """#17054: a team with money to spare is stopped by an organisation that has none left, while it
    starts and while it runs."""
    table = Table(0, *budgets(HOLD + 2 * MICRO, 100 * MICRO, 100 * MICRO))
    table.run()
    table.submit("k", cost_centre="other")
    place(table, "k")
    assert table.facts(e.ActionRefused)[-1].cost_centre == "org"
    while table.book.jobs["j"].state is JobState.RUNNING:
        table.turn(e.Wake(), at=table.now + HOUR)
    assert table.book.level("org").spent <= HOLD + 2 * MICRO
    assert table.book.level("team").available > 80 * MICRO
    table.check()


def test_a_members_own_budget_counts_beside_the_teams() -> None:
    """#11962: a user's budget is not ignored because a team is set: three levels, the innermost
    one refuses."""
    user = Budget(cost_centre="user", parent="team", amount=HOLD - 1)
    table = Table(0, *budgets(100 * MICRO, 100 * MICRO), user)
    table.submit(cost_centre="user")
    place(table, "j")
    assert table.commands == []
    assert table.facts(e.ActionRefused)[-1].cost_centre == "user"
    table.check()


def test_a_child_does_not_outlive_its_parents_budget() -> None:
    """A child with money of its own stops when what is above it is used up or frozen."""
    user = Budget(cost_centre="user", parent="team", amount=500 * MICRO)
    table = Table(0, *budgets(900 * MICRO, HOLD + MICRO), user)
    table.submit(cost_centre="user")
    place(table, "j")
    table.grant(NANO)
    table.begin()
    for _ in range(2):
        table.turn(e.Wake(), at=table.now + HOUR)
    assert table.book.jobs["j"].state is JobState.STOPPING
    assert table.book.level("team").spent + table.book.level("team").held <= HOLD + MICRO
    fresh = Table(0, *budgets(900 * MICRO, 100 * MICRO), user)
    fresh.turn(e.FreezeBudget("team", True, "ann"))
    fresh.submit(cost_centre="user")
    place(fresh, "j")
    assert fresh.facts(e.ActionRefused)[-1].why is Why.FROZEN
    table.check()


def test_what_ends_without_a_word_is_not_booked_at_zero() -> None:
    """#37924, #38176: nobody reports the end of the work, the machine is only missing from the
    provider's list: it is charged to the instant that was seen, at every level."""
    table = Table()
    table.run()
    gone = 37 * MINUTE + 11 * SECOND
    unlisted(table, gone)
    # Billed by the minute: 38 of them at 1 USD an hour, rounded up to a micro-dollar.
    assert table.book.ledger.account("expenses:gpu:team:aws").balance == 633_334
    assert table.book.level("org").spent == table.book.level("team").spent == 633_334
    table.check()


def test_no_request_is_refused_for_money_that_came_back() -> None:
    """#36926, #30460: 300 requests one after the other against money for one, each declined: none
    meets a counter that was not told."""
    table = Table(0, *budgets(HOLD, HOLD))
    table.submit()
    for number in range(1, 301):
        table.turn(e.Wake(), at=table.now + HOUR)
        place(table, "j")
        assert [type(command) for command in table.commands] == [Acquire], number
        table.turn(e.AcquireDeclined(number, "BidTooLow", table.now))
    assert table.facts(e.ActionRefused) == []
    assert len(table.book.ledger.accounts) < 10
    table.check()


def test_a_decision_is_never_made_on_a_remembered_balance() -> None:
    """#30460: the plan was made when there was money; it is judged by what there is when it
    arrives, and a book rebuilt from the journal judges alike."""
    table = Table(0, *budgets(100 * MICRO, HOLD))
    table.submit("a")
    table.turn(e.ChangeBudget("team", -MICRO, "ann"))
    place(table, "a")
    assert table.facts(e.ActionRefused)[-1].limit == HOLD - MICRO
    rebuilt: Book = replay(table.entries)
    for book in (table.book, rebuilt):
        step(book, (e.ChangeBudget("team", MICRO, "ann"),), table.now)
    assert rebuilt.digest() == table.book.digest()


def test_a_refusal_names_the_budget_and_its_figures() -> None:
    """#4208: which budget, its limit, what is spent, held and asked for, and when it would fit."""
    daily = Budget(cost_centre="team", amount=9 * MICRO, period=Period.DAY)
    table = Table(0, daily, now=NOON)
    table.run()
    table.turn(e.Wake(), at=NOON + HOUR)
    table.submit("k")
    place(table, "k")
    refusal = table.facts(e.ActionRefused)[-1]
    assert refusal.message == (
        "team: 6.05 USD asked, 1.95 USD available (limit 9.00 USD, spent 1.00 USD, held 6.05 USD);"
        " it fits at 2026-03-03T00:00:00Z"
    )
    figures = (refusal.limit, refusal.spent, refusal.held, refusal.asked, refusal.fits_at)
    assert figures == (9 * MICRO, MICRO, HOLD, HOLD, NOON + 12 * HOUR)
    table.check()


def test_resets_come_every_period_and_do_not_drift() -> None:
    """#5651, #8364, #7129: two years of months in Berlin, each looked at an irregular time after it
    began: every one starts at local midnight of the first, whatever the clocks did."""
    zone = ZoneInfo("Europe/Berlin")
    monthly = Budget(
        cost_centre="team", amount=9 * MICRO, period=Period.MONTH, zone="Europe/Berlin"
    )
    table = Table(0, monthly, now=NOON)
    for number in range(24):
        late = (number * 7 % 11) * HOUR + number * SECOND
        table.turn(e.Wake(), at=table.book.budgets["team"].end + late)
    opened = table.facts(e.PeriodOpened)
    assert len(opened) == 25
    assert all(one.end == two.start for one, two in pairwise(opened))
    for fact in opened[1:]:
        local = datetime.fromtimestamp(fact.start // SECOND, zone)
        assert (local.day, local.hour, local.minute) == (1, 0, 0)
    assert table.book.level("team").available == 9 * MICRO
    table.check()


def test_a_window_set_later_begins_with_nothing_spent() -> None:
    """#34270, #34492: a budget without an end becomes a daily one: what was spent before is not
    held against it, and it ends at midnight."""
    table = Table(0, Budget(cost_centre="team", amount=10 * MICRO), now=NOON)
    table.run()
    for hour in (1, 2, 3):
        table.turn(e.Wake(), at=NOON + hour * HOUR)
    assert table.book.level("team").spent == 3 * MICRO
    daily = Budget(cost_centre="team", amount=10 * MICRO, period=Period.DAY)
    table.turn(e.Configure(table.book.settings, (daily,)))
    level = table.book.level("team")
    assert (level.spent, level.limit, level.end) == (0, 10 * MICRO, NOON + 12 * HOUR)
    assert level.available + level.held == 10 * MICRO
    table.check()


def test_money_cannot_be_made_of_negative_amounts() -> None:
    """A negative price is not believed, a negative transfer between centres is refused, and the
    ledger takes no amount below one micro-dollar."""
    table = Table()
    before = table.book.ledger.account(wallet("team")).balance
    table.turn(e.SeeQuotes((Quote(A.id, -NANO, 5, table.now, table.now),)))
    assert [fact.rate for fact in table.facts(e.QuoteRejected)] == [-NANO]
    table.turn(e.ChangeBudget("team", -5 * MICRO, "eve", source="org"))
    assert len(table.facts(e.BudgetChangeRefused)) == 1
    assert table.book.ledger.account(wallet("team")).balance == before
    for amount in (0, -1):
        with pytest.raises(InvariantBroken):
            Ledger().direct(wallet("a"), FUNDING, amount, event_at=0, reason="x")
    table.check()


def test_a_repeated_message_is_counted_once() -> None:
    """Retries and duplicates: a grant, a release and a loss told twice change nothing more."""
    table = Table()
    table.submit()
    place(table, "j")
    acquire = table.commands[0]
    assert isinstance(acquire, Acquire)
    granted = e.AcquireGranted(acquire.token, 1, ("i-1",), table.now, NANO)
    table.turn(granted, granted, e.MachineReady(1, table.now), e.MachineReady(1, table.now))
    table.begin()
    done = e.WorkEnded("j", 1, HOUR)
    table.turn(done, done, at=HOUR)
    back = e.MachineReleased(1, HOUR)
    table.turn(back, back, e.MachineLost(1, HOUR, "late"))
    assert table.book.ledger.account("expenses:gpu:team:aws").balance == MICRO
    table.check()


def test_a_year_of_cents_has_no_fraction_lost() -> None:
    """Floats: 0.1 USD an hour, metered 720 times, is 72 USD and not a micro-dollar beside it."""
    table = Table(100 * MICRO)
    table.quote(A, NANO // 10)
    table.submit()
    place(table, "j", NANO // 10)
    table.grant(NANO // 10)
    table.begin()
    for hour in range(1, 721):
        table.turn(e.Wake(), at=hour * HOUR)
    assert table.book.level("team").spent == 72 * MICRO
    ledger = table.book.ledger
    assert ledger.account(limit("org")).credit_posted == 72 * MICRO
    assert ledger.account(SHORTFALL).balance == 0
    assert table.now == 30 * DAY
    table.check()
