"""The guard: every policy refuses with figures, at the level that binds, and nothing else does."""

import pytest

from treasury.budget.guard import admit, clamp_bid, renew
from treasury.budget.levels import Level, SpendRequest
from treasury.budget.periods import day_bounds, period_bounds
from treasury.domain.budget import Budget, Mode, Period, Window
from treasury.domain.commands import Acquire
from treasury.domain.hardware import Shape
from treasury.domain.job import JobSpec, Requirement
from treasury.domain.market import Capabilities, Offer, Tenure
from treasury.domain.money import MICRO, NANO
from treasury.domain.plan import Approved, Refused, Why
from treasury.domain.time import DAY, HOUR, NEVER, format_instant, parse_instant

OFFER = Offer("aws/us/a/p3/spot", "aws", "us", "a", Shape("V100", 2), Tenure.SPOT, Capabilities())
COMMAND = Acquire("aws", OFFER.id, 1, (1,), 0, "t")
MONDAY = parse_instant("2026-03-02T10:00:00Z")


def level(available=100 * MICRO, *, spent=0, held=0, burn=0, state=None, **budget):
    """A level of a 100 USD budget whose period is the ten days from MONDAY."""
    fields = {"cost_centre": "team", "amount": 100 * MICRO} | budget
    state = state or {}
    budget_ = Budget(**fields)
    end = MONDAY + 10 * DAY
    return Level(budget_, MONDAY, end, budget_.amount, available, held, spent, burn, **state)


def request(amount: int = 10 * MICRO, *, now: int = MONDAY, priority: int = 0, **fields):
    """A wish for two machines at 1 USD/h each, bidding 2 USD/h."""
    spec = JobSpec("j", "team", Requirement({"V100": 1000}), HOUR, 0, priority=priority)
    values = {"machines": 2, "rate": NANO, "bid": 2 * NANO, "job_spent": 0} | fields
    return SpendRequest(spec=spec, offer=OFFER, amount=amount, now=now, **values)


def judge(the_request, *levels):
    """The guard's verdict."""
    return admit(the_request, levels, COMMAND)[0]


@pytest.mark.parametrize(
    ("why", "the_level", "the_request"),
    [
        (Why.BUDGET, level(9 * MICRO), request()),
        (Why.CEILING, level(ceiling=NANO // 4), request()),
        (Why.PACING, level(burn=3 * NANO, burn_cap=6 * NANO), request()),
        (Why.PACING, level(front_load=50), request()),
        (Why.RESERVE, level(reserve=95 * MICRO, reserve_priority=5), request()),
        (Why.BUDGET, level(job_cap=15 * MICRO), request(job_spent=6 * MICRO)),
        (Why.NOT_ALLOWED, level(providers=("gcp",)), request()),
        (Why.NOT_ALLOWED, level(tenures=("on_demand",)), request()),
        (Why.WINDOW, level(windows=(Window((0,), 11, 20),)), request()),
        (Why.TOO_DEAR, level(), request(bid=NANO - 1)),
        (Why.FROZEN, level(state={"frozen": True}), request()),
        (Why.APPROVAL, level(approve_above=20 * MICRO), request(estimate=20 * MICRO + 1)),
        (Why.PACING, level(day_cap=30 * MICRO, state={"spent_today": 21 * MICRO}), request()),
    ],
)
def test_each_policy_refuses_what_it_is_there_for(why, the_level, the_request):
    """One request a policy, refused for that policy's reason and no other."""
    verdict = judge(the_request, the_level)
    assert isinstance(verdict, Refused)
    assert verdict.why is why


@pytest.mark.parametrize(
    ("the_level", "the_request"),
    [
        (level(10 * MICRO), request()),
        (level(ceiling=NANO // 2), request()),
        (level(burn=2 * NANO, burn_cap=6 * NANO), request()),
        (level(front_load=100), request()),
        (level(reserve=95 * MICRO, reserve_priority=5), request(priority=5)),
        (level(job_cap=16 * MICRO), request(job_spent=6 * MICRO)),
        (level(providers=("aws",), tenures=("spot",)), request()),
        (level(windows=(Window((0,), 10, 11),)), request()),
        (level(approve_above=20 * MICRO), request(estimate=20 * MICRO)),
        (level(approve_above=20 * MICRO), request(estimate=21 * MICRO, approved=True)),
        (level(day_cap=30 * MICRO, state={"spent_today": 20 * MICRO}), request()),
        (level(9 * MICRO, state={"lendable": MICRO}), request()),
    ],
)
def test_each_policy_lets_through_what_just_fits(the_level, the_request):
    """The same policies at the very edge of what they allow."""
    assert judge(the_request, the_level) == Approved(COMMAND)


def test_every_level_of_the_tree_must_agree():
    """A team with money is refused by an organisation without, and the refusal names the latter."""
    org = level(5 * MICRO, cost_centre="org", amount=50 * MICRO, spent=45 * MICRO)
    verdict = judge(request(), level(), org)
    assert isinstance(verdict, Refused)
    assert (verdict.cost_centre, verdict.limit, verdict.spent) == ("org", 50 * MICRO, 45 * MICRO)
    assert verdict.fits_at == org.end
    assert "org" in verdict.message and "5.00 USD available" in verdict.message


def test_a_pacing_refusal_says_when_it_fits():
    """At the instant it names the same request is let through, one second before it is not."""
    paced = level(front_load=50)
    verdict = judge(request(), paced)
    assert isinstance(verdict, Refused) and verdict.fits_at is not None
    assert isinstance(judge(request(now=verdict.fits_at), paced), Approved)
    before = judge(request(now=verdict.fits_at - 10**9), paced)
    assert isinstance(before, Refused)


def test_a_window_refusal_names_the_next_open_hour():
    """On Monday at ten, a window that opens on Tuesday at eight is a day less two hours away."""
    verdict = judge(request(), level(windows=(Window((1,), 8, 9),)))
    assert isinstance(verdict, Refused) and verdict.fits_at is not None
    assert format_instant(verdict.fits_at) == "2026-03-03T08:00:00Z"


def test_a_bid_is_cut_to_the_lowest_ceiling_above_the_job():
    """Ceilings are per GPU-hour, the machine has two GPUs."""
    levels = [level(), level(ceiling=NANO * 3 // 4), level(ceiling=NANO)]
    assert clamp_bid(request(), levels) == NANO * 3 // 2


def test_a_running_machine_is_only_asked_for_money():
    """Hours, pacing and reserve ruled the start; a renewal is refused by the hard limit alone."""
    closed = level(windows=(Window((1,), 8, 9),), front_load=1, reserve=100 * MICRO)
    assert renew(request(), [closed]) is None
    assert isinstance(renew(request(), [level(1)]), Refused)


@pytest.mark.parametrize(
    ("period", "at", "start", "end"),
    [
        (Period.DAY, "2024-02-29T23:59:59Z", "2024-02-29T00:00:00Z", "2024-03-01T00:00:00Z"),
        (Period.WEEK, "2026-03-08T23:59:59Z", "2026-03-02T00:00:00Z", "2026-03-09T00:00:00Z"),
        (Period.WEEK, "2026-03-02T00:00:00Z", "2026-03-02T00:00:00Z", "2026-03-09T00:00:00Z"),
        (Period.MONTH, "2024-02-10T12:00:00Z", "2024-02-01T00:00:00Z", "2024-03-01T00:00:00Z"),
        (Period.MONTH, "2025-12-31T23:59:59Z", "2025-12-01T00:00:00Z", "2026-01-01T00:00:00Z"),
    ],
)
def test_periods_begin_and_end_at_exact_instants(period, at, start, end):
    """Leap days, month ends and Mondays fall where the calendar has them."""
    budget = Budget(cost_centre="team", amount=1, period=period)
    bounds = period_bounds(budget, parse_instant(at))
    assert tuple(map(format_instant, bounds)) == (start, end)


def test_a_one_off_budget_never_begins_anew():
    """ONCE starts when it is first looked at and has no end."""
    assert period_bounds(Budget(cost_centre="team", amount=1), MONDAY) == (MONDAY, NEVER)


@pytest.mark.parametrize(
    ("zone", "at", "hours"),
    [
        ("Europe/Berlin", "2026-03-29T12:00:00Z", 23),
        ("Europe/Berlin", "2026-10-25T12:00:00Z", 25),
        ("America/New_York", "2026-03-08T12:00:00Z", 23),
        ("Asia/Kolkata", "2026-03-08T12:00:00Z", 24),
    ],
)
def test_a_day_is_as_long_as_its_zone_has_it(zone, at, hours):
    """Across a change of clocks a local day has 23 or 25 hours, between two local midnights."""
    budget = Budget(cost_centre="team", amount=1, period=Period.DAY, zone=zone)
    start, end = period_bounds(budget, parse_instant(at))
    assert end - start == hours * HOUR
    assert period_bounds(budget, end)[0] == end
    assert day_bounds(budget, start) == (start, end)


def test_a_budget_that_only_observes_lets_through_and_says_what_it_would_have_refused():
    """A frozen, empty observing budget approves; the enforcing one above it still refuses."""
    watching = level(0, mode=Mode.OBSERVE, state={"frozen": True})
    verdict, tolerated = admit(request(), [watching], COMMAND)
    assert verdict == Approved(COMMAND)
    assert [refusal.why for refusal in tolerated] == [Why.FROZEN, Why.BUDGET]
    verdict, _ = admit(request(), [watching, level(0)], COMMAND)
    assert isinstance(verdict, Refused)
