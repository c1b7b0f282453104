"""A snapshot as an instance of the fleet optimizer, and its reasons in words."""

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.ticks import ON_DEMAND, SPOT, budget, job, offer, queued, running, snapshot, sold
from treasury.domain.ids import CostCentre, JobId
from treasury.domain.job import JobState, Requirement
from treasury.domain.market import Tenure
from treasury.domain.money import MICRO, NANO
from treasury.domain.plan import BudgetView, JobView, OfferView, Snapshot
from treasury.domain.time import HOUR, MINUTE
from treasury.optimizer.flow import Change, FlowEngine, Settings, what_if
from treasury.optimizer.flow.explain import sharpened
from treasury.optimizer.flow.picture import Lens, picture
from treasury.optimizer.flow.words import Words

SPOT_B = offer(Tenure.SPOT, zone="b")
FIRM = sold(ON_DEMAND, 3.0)
# Every start is over and settled.
NOW = 12 * HOUR
ONE, TWO = (Requirement({"V100": 1_000}, nodes=nodes) for nodes in (1, 2))


def told(given: Snapshot, lens: Lens | None = None) -> Words:
    """The words of the optimizer's plan for a snapshot."""
    seen = picture(given, lens)
    return Words(seen, sharpened(FlowEngine().plan(seen.instance)))


def text(words: Words, name: str) -> str:
    """One job's reason."""
    reason = words.reason(JobId(name))
    assert reason is not None
    return reason.text


def test_winner_runner_up_and_the_rate_at_which_it_would_not_matter() -> None:
    """One job, two spot pools: it takes the cheaper, hears of the other, and would pay for a
    machine exactly what the other costs; on-demand is no choice while spot can be waited for."""
    lens = Lens(hazard=0)
    words = told(snapshot([queued(job("a"))], [sold(SPOT, 1), sold(SPOT_B, 2), FIRM]), lens)
    reason = words.reason(JobId("a"), 5)
    assert reason is not None and reason.then == SPOT.id
    assert [(o.offer, o.rate, o.bid) for o in reason.offers] == [
        (SPOT.id, NANO, 2 * NANO),
        (SPOT_B.id, 2 * NANO, NANO),
    ]
    # An hour of work is worth a quarter more than on demand.
    assert [o.worth for o in reason.offers] == [2_750_000, 1_750_000]
    assert reason.text == (
        f"takes {SPOT.id} at 1.0000 USD/h: worth 2.75 USD an hour of work after its price; next is "
        f"{SPOT_B.id} at 2.0000 USD/h, worth 1.75 USD an hour of work; it would pay up to "
        "2.0000 USD/h a machine"
    )


def test_who_loses_hears_the_price_it_lost_to() -> None:
    """One machine and two jobs: the lower priority hears whose the machine is and what it is worth;
    another machine in the market places it."""
    views = [queued(job("vip", priority=1)), queued(job("low"))]
    words = told(snapshot(views, [sold(SPOT, 1, depth=1), FIRM]), Lens(hazard=0))
    assert text(words, "low") == (
        f"waits: {SPOT.id} at 1.0000 USD/h would gain 2.75 USD an hour of work, but the machines "
        "gain 2.75 USD with vip: one is worth 2.75 USD an hour of work"
    )
    (row,) = words.scarce()
    assert (row.kind, row.name, row.used, row.limit) == ("pool", SPOT.id, 1, 1)
    assert 2_749_999 < row.price <= 6_500_000
    more = told(snapshot(views, [sold(SPOT, 1, depth=2), FIRM]))
    assert more.scarce() == () and "takes" in text(more, "low")


def budgets(available: int, above: int = 10**12) -> list[BudgetView]:
    """A team's money [micro-USD] below its lab's."""
    team = budget(available, cost_centre=CostCentre("team"), parent=CostCentre("lab"))
    return [budget(above), team]


def three(available: int, above: int = 10**12) -> Snapshot:
    """Three jobs of one team on an endless pool at 1 USD/h; each holds two hours at 3 USD."""
    team = CostCentre("team")
    views = [queued(job(name, cost_centre=team)) for name in "abc"]
    return snapshot(views, [sold(SPOT, 1), FIRM], budgets=budgets(available, above))


def test_a_budget_says_how_much_more_would_place_whom() -> None:
    """Money to hold one of three jobs: the shadow price is what a job gains over what it holds, and
    the sum that is said, given to the budget, places the others; a little less does not."""
    words = told(three(7 * MICRO), Lens(hazard=0))
    (row,) = words.scarce()
    # 2.75 USD an hour gained for 3 USD an hour committed.
    assert (row.kind, row.name, row.money) == ("budget", "team", 11 * MICRO)
    assert row.price == pytest.approx(2.75 / 3)
    assert row.text == (
        "budget team is worth 0.92 $/$ at the margin: 11.00 USD more would place these 2 jobs: b, c"
    )
    assert "what it takes of team gains 2.75 USD with a: budget team" in text(words, "b")
    seen, team = words.picture, words.picture.centres.index(CostCentre("team"))
    for money, started in ((row.money, 2), (row.money - 1, 1), (5 * MICRO, 1), (5 * MICRO - 1, 0)):
        change = Change(budgets={team: seen.per_hour(money)})
        assert len(what_if(words.plan, change).started) == started


def test_the_budget_that_binds_is_the_one_named() -> None:
    """Where the lab above lacks money it is the lab's price that is told, and the team's own money
    does not help."""
    words = told(three(7 * MICRO, 7 * MICRO))
    assert [row.name for row in words.scarce()] == ["team"]
    views = three(20 * MICRO, 7 * MICRO)
    # As the book reports it: the least of all levels.
    team = msgspec.structs.replace(
        views.budgets[CostCentre("team")], available=7 * MICRO, limit=20 * MICRO
    )
    views = msgspec.structs.replace(views, budgets={**views.budgets, CostCentre("team"): team})
    words = told(views)
    assert [row.name for row in words.scarce()] == ["lab"]


def test_a_job_that_one_budget_cannot_hold_hears_what_would_do() -> None:
    """Two hours at 3 USD are held for a job; four are there."""
    words = told(three(4 * MICRO))
    assert text(words, "a") == (
        f"waits: {SPOT.id} needs 6.00 USD held, and team has 4.00 USD: 2.00 USD more would do"
    )


def test_a_gang_without_room_is_told_so() -> None:
    """Two machines in each of two pools, a gang of two and one of three: no pool holds the second,
    and nobody says that money would help."""
    three_ = Requirement({"V100": 1_000}, nodes=3)
    views = [queued(job("two", requirement=TWO)), queued(job("three", requirement=three_))]
    words = told(snapshot(views, [sold(SPOT, 1, depth=2), sold(SPOT_B, 1, depth=2), FIRM]))
    assert f"{SPOT.id} at 1.0000 USD/h has 2 of 3 machines free" in text(words, "three")
    assert "takes" in text(words, "two")


def test_what_cannot_be_moved_is_not_in_the_way() -> None:
    """A job that must not be interrupted, one on its way and one just placed stay as they are, keep
    their machines, and are explained all the same."""
    steady = running(job("steady", interruptible=False), SPOT)
    fresh = running(job("fresh"), SPOT, useful_from=NOW - MINUTE)
    moving = msgspec.structs.replace(running(job("moving"), SPOT), migrating=True)
    asked = msgspec.structs.replace(running(job("asked"), SPOT), state=JobState.ACQUIRING)
    views = [steady, fresh, moving, asked, queued(job("new"))]
    words = told(snapshot(views, [sold(SPOT, 1, depth=4, in_use=4), FIRM], now=NOW))
    assert [view.spec.id for view in words.picture.jobs] == ["new"]
    for name, why in (
        ("steady", "it must not be interrupted"),
        ("fresh", "it was placed a moment ago"),
        ("moving", "it is being moved"),
        ("asked", "it is acquiring"),
    ):
        assert text(words, name) == f"stays as it is: {why}"
    assert f"{SPOT.id} at 1.0000 USD/h has 0 of 1 machines free" in text(words, "new")


def test_a_running_job_stays_until_a_move_pays() -> None:
    """A pool a little cheaper is no reason to start again; one much cheaper is."""
    view = running(job("a", overhead=6 * MINUTE), SPOT)
    near = told(snapshot([view], [sold(SPOT, 1.0, depth=1, in_use=1), sold(SPOT_B, 0.9)], now=NOW))
    assert text(near, "a").startswith(f"stays on {SPOT.id}")
    far = told(snapshot([view], [sold(SPOT, 1.0, depth=1, in_use=1), sold(SPOT_B, 0.2)], now=NOW))
    assert text(far, "a").startswith(f"leaves {SPOT.id} for {SPOT_B.id}")


def test_without_slack_on_demand_is_a_choice() -> None:
    """Ten hours of slack: the job waits for spot. Half an hour: it takes on-demand."""
    market = [sold(SPOT, 1, depth=0), FIRM]
    calm = told(snapshot([queued(job("a", hours=4, deadline=14))], market))
    assert text(calm, "a").startswith("waits")
    tight = told(snapshot([queued(job("a", hours=4, deadline=4.5))], market))
    assert text(tight, "a").startswith(f"takes {ON_DEMAND.id}")


def test_an_empty_snapshot_has_an_empty_plan() -> None:
    """No job, no offer: nothing is placed, nothing scarce, nobody known."""
    words = told(snapshot([], []))
    assert (words.reasons(), words.scarce(), words.burn) == ((), (), 0)
    assert words.reason(JobId("x")) is None


@st.composite
def fleets(draw: st.DrawFn) -> Snapshot:
    """A dozen jobs, some at work, on a few pools, with little money."""
    rates = st.floats(0.1, 4.0)
    free = [draw(st.integers(0, 3)) for _ in range(2)]
    views: list[JobView] = []
    used = [0, 0]
    for number in range(draw(st.integers(1, 12))):
        nodes = draw(st.integers(1, 3))
        spec = job(
            f"j{number:02}",
            hours=draw(st.floats(0.1, 50)),
            deadline=draw(st.none() | st.floats(0.1, 99)),
            overhead=draw(st.integers(0, 20)) * MINUTE,
            requirement=Requirement({"V100": 1_000}, nodes=nodes),
            priority=draw(st.integers(-3, 3)),
            value=draw(st.integers(0, 20)) * MICRO,
            interruptible=draw(st.booleans()),
        )
        at = draw(st.sampled_from([-1, 0, 1]))
        if at < 0:
            views.append(queued(spec))
        else:
            used[at] += nodes
            views.append(running(spec, (SPOT, SPOT_B)[at], work_done=0))
    offers: list[OfferView] = [
        sold(SPOT, draw(rates), depth=free[0] + used[0], in_use=used[0]),
        sold(SPOT_B, draw(rates), depth=free[1] + used[1], in_use=used[1]),
        sold(ON_DEMAND, draw(rates)),
    ]
    money = budget(draw(st.integers(0, 60)) * MICRO)
    return snapshot(views, offers, now=NOW, budgets=[money])


@settings(max_examples=60, deadline=None)
@given(fleets())
def test_every_job_of_every_snapshot_is_explained(given: Snapshot) -> None:
    """Whatever the fleet: a certified plan that keeps to the free machines and the money, and one
    sentence a job, the same both times."""
    words, again = told(given), told(given)
    reasons = words.reasons()
    assert [reason.job for reason in reasons] == [view.spec.id for view in given.jobs]
    assert [r.text for r in reasons] == [r.text for r in again.reasons()]
    plan, seen = words.plan, words.picture
    assert 0 <= plan.certificate.value <= plan.certificate.bound
    taken = np.zeros(len(given.offers), dtype=np.int64)
    money = 0
    for view, at in zip(seen.jobs, plan.placed.tolist(), strict=True):
        held = None if view.placement is None else seen.market.place_of(view.placement.offer)
        nodes, bid = view.spec.requirement.nodes, seen.instance.offers.committed * 2
        if at >= 0:
            taken[at] += nodes
            money += nodes * int(bid[at])
        if held is not None:
            taken[held] -= nodes
            money -= nodes * int(bid[held])
    for view, more in zip(given.offers, taken.tolist(), strict=True):
        assert more <= view.free(given.now)
    assert money <= given.budgets[CostCentre("lab")].available + 2 * len(given.jobs)


def test_large_snapshots_take_the_way_by_prices() -> None:
    """Two hundred jobs on forty pools: every placed job's offer is its winner, and what waits is
    told what it lost to."""
    pools = [offer(Tenure.SPOT, zone=f"z{number:02}") for number in range(40)]
    views = [queued(job(f"j{n:03}", hours=1 + n % 7, priority=n % 3)) for n in range(200)]
    market = [sold(pool, 0.5 + at / 40, depth=at % 4) for at, pool in enumerate(pools)]
    seen = picture(snapshot(views, [*market, FIRM]))
    plan = FlowEngine(Settings(exact_columns=0, core_work=4_000)).plan(seen.instance)
    words = Words(seen, sharpened(plan))
    placed = [reason for reason in words.reasons() if reason.then is not None]
    assert len(placed) == sum(at % 4 for at in range(40))
    for reason in words.reasons():
        if reason.then is None:
            assert "machines gain" in reason.text
        else:
            assert reason.offers[0].offer == reason.then
