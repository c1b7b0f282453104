"""The optimal strategy: what it does with whole fleets, and what it never does."""

import msgspec
import pytest

from tests.support.ticks import (
    ON_DEMAND,
    RATE,
    SPOT,
    TICK,
    Game,
    budget,
    job,
    offer,
    queued,
    running,
    snapshot,
    sold,
)
from treasury.domain.job import JobState, Requirement
from treasury.domain.market import Tenure
from treasury.domain.plan import (
    JobView,
    LeftOut,
    Migrate,
    OfferView,
    Place,
    Plan,
    Preempt,
    Snapshot,
    Why,
)
from treasury.domain.time import HOUR, MINUTE, SECOND
from treasury.optimizer import cpsat
from treasury_strategies.greedy import Greedy
from treasury_strategies.optimal import Optimal
from treasury_strategies.optimal_wishes import OptimalSettings

SPOT_B = offer(Tenure.SPOT, zone="b")
SLOW = offer(Tenure.SPOT, gpu="K80")
FIRM = sold(ON_DEMAND, 3.0)


def said(plan: Plan) -> list[str]:
    """Each action as a word, a job and the offer's zone and tenure."""
    words = []
    for action in plan.actions:
        where = getattr(action, "offer", "/////").split("/")
        words.append(f"{type(action).__name__} {action.job} {where[2]} {where[-1]}".strip())
    return words


def ask(views: list[JobView], offers: list[OfferView], now: int = HOUR, **settings: int) -> Plan:
    """The plan of a fresh strategy."""
    return Optimal(OptimalSettings(**settings)).propose(snapshot(views, offers, now=now))


def gang(name: str, nodes: int, **rest: float) -> JobView:
    """A queued gang."""
    need = Requirement({"V100": 1_000}, nodes=nodes)
    return queued(job(name, requirement=need, **rest), queued_at=HOUR)  # type: ignore[arg-type]


def test_gangs_are_fitted_where_greedy_would_not() -> None:
    """Three machines: greedy lets the first gang of two block one machine, optimal takes one and
    two."""
    views = [gang("a", 2), gang("b", 3, priority=-1), gang("c", 1)]
    offers = [sold(SPOT, 1.0, depth=3), sold(SPOT_B, 1.5, depth=3), FIRM]
    assert said(ask(views, offers)) == ["Place a a spot", "Place c a spot", "Place b b spot"]


def test_a_cheaper_pool_is_moved_to_when_that_pays() -> None:
    """Machines first, release after: a spot job migrates; on-demand is given up first."""
    spec = job(overhead=6 * MINUTE)
    offers = [sold(SPOT, 1.0, depth=1, in_use=1), sold(SPOT_B, 0.5, depth=1), FIRM]
    plan = ask([running(spec, SPOT)], offers)
    assert said(plan) == ["Migrate job b spot"]
    assert plan.actions[0] == Migrate(spec.id, SPOT_B.id, 3 * RATE)
    plan = ask([running(spec, ON_DEMAND)], [sold(SPOT, 1.0, depth=1), FIRM])
    assert said(plan) == ["Preempt job", "Place job a spot"]


def test_a_job_is_left_where_it_is_for_a_while() -> None:
    """Ten minutes after its start at the earliest it is moved; the plan asks to be asked again
    then."""
    view = running(job(overhead=6 * MINUTE), SPOT, useful_from=HOUR)
    offers = [sold(SPOT, 1.0, depth=1, in_use=1), sold(SPOT_B, 0.5, depth=1), FIRM]
    early = ask([view], offers, HOUR + 5 * MINUTE)
    assert (early.actions, early.review_at) == ((), HOUR + TICK)
    assert said(ask([view], offers, HOUR + TICK)) == ["Migrate job b spot"]


def test_what_may_not_be_interrupted_is_not_touched() -> None:
    """Neither a cheaper pool nor a higher priority moves a job that must not be interrupted."""
    steady = running(job("steady", interruptible=False), ON_DEMAND)
    owned = sold(offer(Tenure.OWNED), 0.1)
    urgent = gang("vip", 1, priority=5)
    full = sold(ON_DEMAND, 3.0, depth=1, in_use=1)
    assert "steady" not in " ".join(said(ask([steady, urgent], [owned, full])))


def waiting_for(low: JobView, high: JobView, now: int, **settings: int) -> Plan:
    """A full pool, one job on it, another that wants it."""
    return ask([high, low], [sold(SPOT, 1.0, depth=1, in_use=1), FIRM], now, **settings)


def test_one_machine_that_waits_to_be_free_is_enough_for_one_job() -> None:
    """While a job is stopped for an urgent one nobody else is stopped for it, tick after tick; for
    a second urgent job one more is."""
    lows = [running(job(f"low{n}"), SPOT) for n in range(5)]
    stopping = msgspec.structs.replace(lows[0], state=JobState.STOPPING)
    full = sold(SPOT, 1.0, depth=5, in_use=5)
    high, second = gang("high", 1, priority=1), gang("second", 1, priority=1)
    plan = ask([high, *lows], [full, FIRM], HOUR + 2 * TICK)
    assert [type(action) for action in plan.actions] == [Preempt]
    for ticks in (3, 4, 5):
        now = HOUR + ticks * TICK
        plan = ask([high, stopping, *lows[1:]], [full, FIRM], now)
        assert plan.actions == () and plan.review_at == now + TICK
        (left_out,) = plan.left_out
        assert (left_out.job, left_out.why, left_out.offer) == ("high", Why.WAITS, SPOT.id)
    plan = ask([high, second, stopping, *lows[1:]], [full, FIRM], HOUR + 3 * TICK)
    assert [type(action) for action in plan.actions] == [Preempt]


def test_a_higher_priority_gets_the_machine_after_a_while() -> None:
    """The job of lower priority is stopped first; the other is told that its machine is being
    cleared and gets it once it is free."""
    low, high = running(job("low"), SPOT), gang("high", 1, priority=1)
    early = waiting_for(low, high, HOUR + 5 * MINUTE)
    assert (early.actions, early.review_at) == ((), HOUR + 2 * TICK)
    plan = waiting_for(low, high, HOUR + 2 * TICK)
    assert said(plan) == ["Preempt low"]
    (left_out,) = plan.left_out
    assert (left_out.job, left_out.why, left_out.offer) == ("high", Why.WAITS, SPOT.id)
    assert "is being cleared of low for it" in left_out.detail
    assert plan.review_at == HOUR + 3 * TICK
    cleared = [high, queued(low.spec, work_done=HOUR, queued_at=HOUR + 2 * TICK)]
    after = ask(cleared, [sold(SPOT, 1.0, depth=1), FIRM], HOUR + 3 * TICK)
    assert said(after) == ["Place high a spot"]
    assert [(left.job, left.why) for left in after.left_out] == [("low", Why.OUTRANKED)]


@pytest.mark.parametrize(
    ("low", "high"),
    [
        (running(job("low"), SPOT), gang("high", 1)),
        (running(job("low", deadline=40), SPOT), gang("high", 1, priority=3)),
        (running(job("low", interruptible=False), SPOT), gang("high", 1, priority=3)),
        (running(job("low"), SPOT), gang("high", 2, priority=3)),
    ],
)
def test_nobody_is_stopped_in_vain(low: JobView, high: JobView) -> None:
    """Equal priority, a deadline to keep, a job not to be interrupted, too few machines to help:
    all stay."""
    assert waiting_for(low, high, 3 * HOUR).actions == ()


def test_a_job_that_no_longer_pays_is_stopped() -> None:
    """Its owner said what finishing is worth; the price has risen above it."""
    view = running(job("job", hours=4, value=4_000_000), SPOT)
    fair = ask([view], [sold(SPOT, 1.2, in_use=1), FIRM])
    assert fair.actions == ()
    plan = ask([view], [sold(SPOT, 2.9, in_use=1), FIRM])
    assert [type(action) for action in plan.actions] == [Preempt]
    again = ask([queued(view.spec, work_done=HOUR)], [sold(SPOT, 2.9), FIRM])
    assert [left.why for left in again.left_out] == [Why.NOT_PAYING]


def test_on_demand_is_taken_before_the_slack_is_gone() -> None:
    """With a fifth of the work left as slack on-demand is taken, and left again as soon as spot is
    back."""
    spec = job(hours=4, deadline=6)
    gone, there = sold(SPOT, 1.0, depth=0), sold(SPOT, 1.0, depth=1)
    plan = ask([queued(spec)], [gone, FIRM], 0)
    assert (plan.actions, plan.review_at) == ((), 8 * TICK)
    assert plan.left_out[0].why is Why.WAITS
    assert said(ask([queued(spec)], [gone, FIRM], 7 * TICK)) == []
    assert said(ask([queued(spec)], [gone, FIRM], 8 * TICK)) == ["Place job a on_demand"]
    assert said(ask([queued(spec)], [there, FIRM], 8 * TICK)) == ["Place job a spot"]
    on = running(spec, ON_DEMAND, useful_from=8 * TICK)
    assert said(ask([on], [gone, FIRM], 12 * TICK)) == []
    assert said(ask([on], [there, FIRM], 12 * TICK)) == ["Preempt job", "Place job a spot"]


def test_without_slack_on_demand_comes_before_everything() -> None:
    """A job of the lowest priority whose time is up takes the last on-demand machine before the
    solver deals."""
    late = queued(job("late", hours=4, deadline=4.2, priority=-3))
    rich = queued(job("rich", requirement=Requirement({"V100": 1_000}, tenures=("on_demand",))))
    plan = ask([rich, late], [sold(ON_DEMAND, 3.0, depth=1)], 0)
    assert said(plan) == ["Place late a on_demand"]
    assert [(left.job, left.why) for left in plan.left_out] == [("rich", Why.OUTRANKED)]


def test_a_lost_deadline_is_not_paid_for() -> None:
    """A little late is hurried with on-demand; a deadline that is long lost waits for spot, and
    says so."""
    spec = job(hours=4, deadline=10)
    gone = sold(SPOT, 1.0, depth=0)
    assert said(ask([queued(spec)], [gone, FIRM], 6 * HOUR + 3 * TICK)) == ["Place job a on_demand"]
    plan = ask([queued(spec)], [gone, FIRM], 8 * HOUR)
    assert plan.actions == ()
    assert "since its deadline is lost" in plan.left_out[0].detail
    assert said(ask([queued(spec)], [sold(SPOT, 1.0), FIRM], 8 * HOUR)) == ["Place job a spot"]
    there = sold(SPOT, 1.0, depth=1)
    on = running(spec, ON_DEMAND, useful_from=8 * HOUR)
    assert said(ask([on], [there, FIRM], 9 * HOUR)) == ["Preempt job", "Place job a spot"]


def test_a_rescue_prefers_spot_that_is_safe() -> None:
    """A job that must leave a slow machine takes a fast spot machine if there is one."""
    both = Requirement({"V100": 1_000, "K80": 500})
    view = running(job(hours=4, deadline=5, requirement=both), SLOW)
    offers = [sold(SLOW, 0.1, depth=1, in_use=1), sold(SPOT, 1.0, depth=0), FIRM]
    assert said(ask([view], offers, 10 * TICK)) == ["Preempt job", "Place job a on_demand"]
    offers[1] = sold(SPOT, 1.0, depth=1)
    assert said(ask([view], offers, 9 * TICK)) == []
    assert said(ask([view], offers, 10 * TICK)) == ["Preempt job", "Place job a spot"]


def test_what_the_solver_leaves_unanswered_is_greedy_and_says_so() -> None:
    """With no answer from the solver the greedy plan is carried out, and those left out are
    told."""
    views = [gang("a", 2), gang("b", 2), gang("c", 1)]
    offers = [sold(SPOT, 1.0, depth=3), FIRM]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cpsat, "_search", lambda *_: ("UNKNOWN", None))
        plan = ask(views, offers)
    assert said(plan) == ["Place a a spot", "Place c a spot"]
    (left_out,) = plan.left_out
    assert (left_out.job, left_out.why) == ("b", Why.SOLVER)
    assert left_out.detail.startswith("the solver had no answer in its limit (UNKNOWN): ")


def test_more_choices_than_the_solver_takes_are_placed_greedily() -> None:
    """Jobs beyond the limit take what is left, in order; the last is told that nothing was."""
    views = [gang(name, 1) for name in "abcd"]
    plan = ask(views, [sold(SPOT, 1.0, depth=3), FIRM], most=2)
    assert said(plan) == [f"Place {name} a spot" for name in "abc"]
    assert [(left.job, left.why) for left in plan.left_out] == [("d", Why.SOLVER)]
    assert "more than 2 choices to weigh" in plan.left_out[0].detail


def test_the_same_snapshot_gives_the_same_plan() -> None:
    """Asked twice, and by a strategy that knows nothing, the plan is the same."""
    views = [gang(f"job{number}", 1 + number % 3, priority=number % 2) for number in range(12)]
    offers = [sold(SPOT, 1.0, depth=7), sold(SPOT_B, 1.2, depth=6), FIRM]
    seen = snapshot(views, offers, now=HOUR)
    strategy = Optimal()
    first = strategy.propose(seen)
    assert first.actions
    assert strategy.propose(seen) == first
    assert Optimal().propose(seen) == first


def test_a_fleet_gains_no_less_than_with_greedy() -> None:
    """Two dozen jobs for a day on two pools that come and go: all end in time, at no more than
    greedy's cost."""

    def market(now: int) -> list[OfferView]:
        hour = now // HOUR
        return [
            sold(SPOT, 0.8 + (hour % 5) / 10, depth=(hour * 7) % 6),
            sold(SPOT_B, 1.4 - (hour % 4) / 10, depth=(hour * 5) % 5),
            FIRM,
        ]

    jobs = [
        job(
            f"job{number:02}",
            hours=1 + number % 4,
            deadline=8 + number % 11,
            overhead=360 * SECOND,
            priority=number % 3,
            requirement=Requirement({"V100": 1_000}, nodes=1 + number % 2),
        )
        for number in range(24)
    ]
    greedy = Game(Greedy(), jobs).play(market, ticks=200)
    optimal = Game(Optimal(), jobs).play(market, ticks=200)
    assert len(optimal.ended) == len(jobs)
    assert all(optimal.ended[spec.id] <= (spec.deadline or 0) for spec in jobs)
    assert optimal.cost <= greedy.cost


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"slack": -1}, "slack must be 0 or more, not -1"),
        ({"horizon": 0}, "horizon must be 1 or more, not 0"),
        ({"effort": 0}, "effort must be 1 or more, not 0"),
        ({"patience": -2}, "patience must be 0 or more, not -2"),
    ],
)
def test_settings_are_checked(settings: dict[str, int], message: str) -> None:
    """A setting that makes no sense is refused with what is right."""
    with pytest.raises(ValueError, match=message):
        OptimalSettings(**settings)


def test_money_below_the_horizon_is_left_to_others() -> None:
    """A cost centre that cannot pay the four hours a job takes is told so, with what it has and
    what it needs."""
    seen: Snapshot = snapshot([queued(job())], [sold(SPOT, 1.0), FIRM], budgets=[budget(600_000)])
    plan = Optimal().propose(seen)
    left_out: LeftOut = plan.left_out[0]
    assert (plan.actions, left_out.why) == ((), Why.BUDGET)
    assert "needs 4.00 USD and lab has 0.60 USD" in left_out.detail
    assert isinstance(Greedy().propose(seen).actions[0], Place)
