"""Many jobs and many offers: who gets what, and what the others are told."""

import msgspec
import pytest

from tests.support.ticks import (
    LAB,
    ON_DEMAND,
    RATE,
    SPOT,
    TICK,
    budget,
    job,
    offer,
    queued,
    running,
    snapshot,
    sold,
)
from treasury.domain.ids import CostCentre
from treasury.domain.job import JobState, Requirement
from treasury.domain.market import Tenure
from treasury.domain.plan import LeftOut, Place, Plan, Preempt, Snapshot, Why
from treasury.domain.time import HOUR, MINUTE
from treasury_strategies.greedy import Greedy
from treasury_strategies.on_demand import OnDemand
from treasury_strategies.patient import PatientSettings
from treasury_strategies.uniform_progress import UniformProgress

SPOT_B = offer(Tenure.SPOT, zone="b")
FOUR = Requirement({"V100": 1_000}, nodes=4)


def placed(plan: Plan) -> dict[str, str]:
    """Job -> offer of every `Place`."""
    return {action.job: action.offer for action in plan.actions if isinstance(action, Place)}


def only(plan: Plan) -> LeftOut:
    """The one job left out."""
    (left_out,) = plan.left_out
    return left_out


def test_the_cheapest_per_unit_of_work_wins() -> None:
    """A dearer machine that works faster is cheaper."""
    fast = offer(Tenure.SPOT, gpu="H100")
    need = Requirement({"V100": 1_000, "H100": 6_000})
    spec = job(requirement=need)
    offers = [sold(SPOT, 1.0), sold(fast, 5.0), sold(ON_DEMAND, 3.0)]
    assert placed(Greedy().propose(snapshot([queued(spec)], offers))) == {"job": fast.id}
    offers = [sold(SPOT, 0.8), sold(fast, 5.0), sold(ON_DEMAND, 3.0)]
    assert placed(Greedy().propose(snapshot([queued(spec)], offers))) == {"job": SPOT.id}


def test_the_queue_is_served_in_order_until_nothing_is_free() -> None:
    """The first takes the cheap pool, the second the next, the third is told who was before it."""
    jobs = [queued(job(name)) for name in ("a", "b", "c")]
    offers = [sold(SPOT, 0.9, depth=1), sold(SPOT_B, 1.0, depth=1)]
    plan = Greedy().propose(snapshot(jobs, offers))
    assert placed(plan) == {"a": SPOT.id, "b": SPOT_B.id}
    left_out = only(plan)
    assert (left_out.job, left_out.why, left_out.offer) == ("c", Why.OUTRANKED, SPOT.id)
    assert "0.9000 USD/h has 0 of 1 machines free: 1 went to jobs ahead" in left_out.detail


def test_a_gang_is_placed_whole_or_not_at_all() -> None:
    """Four machines where three are free: none is taken, and a smaller job may have them."""
    jobs = [queued(job("gang", requirement=FOUR, priority=1)), queued(job("solo"))]
    plan = Greedy().propose(snapshot(jobs, [sold(SPOT, 0.9, depth=5, in_use=2)]))
    assert placed(plan) == {"solo": SPOT.id}
    assert only(plan).why is Why.NO_CAPACITY
    assert "3 of 4 machines free (2 of 5 are ours)" in only(plan).detail
    plan = Greedy().propose(snapshot(jobs[:1], [sold(SPOT, 0.9, depth=6, in_use=2)]))
    assert placed(plan) == {"gang": SPOT.id}


def test_spot_is_bid_for_at_the_on_demand_price_of_the_same_work() -> None:
    """The bid for spot is what on-demand would cost for the work, cut by the job's limit and the
    ceiling."""
    slow = offer(Tenure.SPOT, gpu="K80")
    need = Requirement({"V100": 1_000, "K80": 250})
    offers = [sold(slow, 0.3), sold(ON_DEMAND, 3.0)]

    def bid(max_rate: int = 0, ceiling: int = 0) -> int:
        spec = job(requirement=need, max_rate=max_rate)
        plan = Greedy().propose(snapshot([queued(spec)], offers, budgets=[budget(ceiling=ceiling)]))
        (action,) = plan.actions
        assert isinstance(action, Place)
        assert action.offer == slow.id
        return action.bid

    assert bid() == 750_000_000
    assert bid(max_rate=RATE // 2) == RATE // 2
    assert bid(ceiling=RATE // 3) == RATE // 3


def test_on_demand_is_bid_for_at_its_own_rate() -> None:
    """No more than the price is offered where there is only one price."""
    (action,) = OnDemand().propose(snapshot([queued(job())], [sold(ON_DEMAND, 3.0)])).actions
    assert action == Place(queued(job()).spec.id, ON_DEMAND.id, 3 * RATE)


def test_spot_above_on_demand_is_not_worth_taking() -> None:
    """A job waits rather than pay more for a machine that may be taken away."""
    plan = Greedy().propose(snapshot([queued(job())], [sold(SPOT, 3.5), sold(ON_DEMAND, 3.0)]))
    assert plan.actions == ()
    assert only(plan).why is Why.WAITS
    assert f"3.5000 USD/h, more than 3.0000 USD/h, for which {ON_DEMAND.id}" in only(plan).detail


@pytest.mark.parametrize(
    ("spec", "offers", "why", "says"),
    [
        (
            job(requirement=Requirement({"H100": 1_000}, gpus=8)),
            [sold(SPOT, 0.9)],
            Why.NO_FIT,
            f"nearest is {SPOT.id}, but its V100 is not among H100, and it has 1 of 8 GPUs",
        ),
        (job(), [], Why.NO_FIT, "no provider lists an offer"),
        (
            job(interruptible=False),
            [sold(SPOT, 0.9)],
            Why.NO_FIT,
            "it is spot, and the job may not be interrupted",
        ),
        (
            job(requirement=Requirement({"V100": 1_000}, providers=("gcp",), tenures=("owned",))),
            [sold(SPOT, 0.9)],
            Why.NO_FIT,
            "its provider is not gcp, and its tenure is not owned",
        ),
        (
            job(requirement=Requirement({"V100": 1_000}, nodes=9)),
            [sold(offer(Tenure.SPOT, gang_max=8), 0.9)],
            Why.NO_FIT,
            "it grants 8 machines at once, not 9",
        ),
        (job(), [sold(SPOT, -1)], Why.STALE, f"{SPOT.id} fits but has no price yet"),
        (
            job(),
            [sold(SPOT, 0.9, quarantined_until=HOUR)],
            Why.QUARANTINED,
            "refused lately and is left alone until 1970-01-01T01:00:00Z",
        ),
        (job(max_rate=RATE // 2), [sold(SPOT, 0.9)], Why.TOO_DEAR, "0.5000 USD/h, the job's own"),
    ],
)
def test_what_is_in_the_way_is_named(
    spec: object, offers: list[object], why: Why, says: str
) -> None:
    """Each reason for leaving a job out comes with the nearest offer and the figures."""
    plan = Greedy().propose(snapshot([queued(spec)], offers))  # type: ignore[arg-type]
    assert plan.actions == ()
    assert only(plan).why is why
    assert says in only(plan).detail


def test_the_ceiling_counts_per_gpu() -> None:
    """Eight GPUs may cost eight times the ceiling, one may not cost more than it."""
    eight = offer(Tenure.SPOT, gpus=8)
    budgets = [budget(ceiling=RATE // 2)]
    plan = Greedy().propose(snapshot([queued(job())], [sold(eight, 3.9)], budgets=budgets))
    assert placed(plan) == {"job": eight.id}
    plan = Greedy().propose(snapshot([queued(job())], [sold(SPOT, 0.6)], budgets=budgets))
    assert only(plan).why is Why.CEILING
    assert "0.6000 USD/h, more than 0.5000 USD/h, its cost centre's ceiling" in only(plan).detail


def test_a_changed_ceiling_is_noticed() -> None:
    """The same strategy object stops bidding when the ceiling falls below the price."""
    greedy = Greedy()
    seen = snapshot([queued(job())], [sold(SPOT, 0.9)], budgets=[budget()])
    assert placed(greedy.propose(seen))
    seen = msgspec.structs.replace(
        seen, version=2, now=TICK, budgets={LAB: budget(ceiling=RATE // 2)}
    )
    assert only(greedy.propose(seen)).why is Why.CEILING


def test_an_empty_budget_takes_nothing_from_others() -> None:
    """A job whose cost centre cannot pay one tick leaves the machine to the next in the queue."""
    poor, rich = CostCentre("poor"), CostCentre("rich")
    jobs = [queued(job("a", priority=1, cost_centre=poor)), queued(job("b", cost_centre=rich))]
    budgets = [budget(100, cost_centre=poor), budget(cost_centre=rich)]
    plan = Greedy().propose(snapshot(jobs, [sold(SPOT, 0.9, depth=1)], budgets=budgets))
    assert placed(plan) == {"b": SPOT.id}
    assert (only(plan).job, only(plan).why) == ("a", Why.BUDGET)
    assert "poor has 0.00 USD left" in only(plan).detail


def test_a_budget_is_spent_once_within_a_plan() -> None:
    """Two jobs of one cost centre cannot both count on its last tick of money."""
    jobs = [queued(job("a")), queued(job("b"))]
    plan = Greedy().propose(snapshot(jobs, [sold(SPOT, 0.9)], budgets=[budget(200_000)]))
    assert placed(plan) == {"a": SPOT.id}
    assert only(plan).why is Why.BUDGET


def again(seen: Snapshot, version: int, now: int) -> Snapshot:
    """The same jobs and offers, later: the guard let nothing through."""
    return msgspec.structs.replace(seen, version=version, now=now)


def test_what_the_guard_refuses_does_not_starve_those_behind() -> None:
    """A refused job tries elsewhere, then stands back for ten minutes, and then asks again."""
    greedy, jobs = Greedy(), [queued(job("a", priority=1)), queued(job("b"))]
    offers = [sold(SPOT, 0.9, depth=1), sold(SPOT_B, 1.5, depth=1)]
    seen = snapshot(jobs, offers, tick=MINUTE)
    first = {"a": SPOT.id, "b": SPOT_B.id}
    assert placed(greedy.propose(seen)) == first
    assert placed(greedy.propose(seen)) == first, "same snapshot, same plan"
    assert placed(greedy.propose(again(seen, 2, MINUTE))) == {"a": SPOT_B.id, "b": SPOT.id}
    plan = greedy.propose(again(seen, 3, 2 * MINUTE))
    assert [left_out.why for left_out in plan.left_out] == [Why.NOT_ALLOWED] * 2
    assert f"{SPOT.id}, {SPOT_B.id} would serve" in plan.left_out[0].detail
    assert plan.review_at == 11 * MINUTE
    assert placed(greedy.propose(again(seen, 4, 11 * MINUTE))) == first


def test_a_machine_is_not_given_up_for_an_offer_the_guard_refused() -> None:
    """A job whose switch was refused once keeps its next machine instead of trying every tick."""
    strategy = UniformProgress()
    spec = job(hours=4, deadline=10)
    offers = [sold(SPOT, 0.9, depth=1), sold(ON_DEMAND, 3.0)]
    ahead = running(spec, ON_DEMAND, useful_from=0)
    first = strategy.propose(snapshot([ahead], offers, now=HOUR))
    assert [type(action) for action in first.actions] == [Preempt, Place]
    waits = queued(spec, work_done=HOUR)
    refused = snapshot([waits], offers, now=HOUR + TICK, version=2)
    assert placed(strategy.propose(refused)) == {"job": SPOT.id}
    assert strategy.propose(again(refused, 3, HOUR + 2 * TICK)).actions == ()
    back = running(spec, ON_DEMAND, useful_from=2 * HOUR, work_done=HOUR)
    later = snapshot([back], offers, now=4 * HOUR, version=4)
    assert strategy.propose(later).actions == ()
    assert UniformProgress().propose(later).actions != ()


def test_jobs_that_are_on_their_way_are_left_alone() -> None:
    """Nothing is proposed for jobs that are being acquired, stopped or moved."""
    spec = job(hours=4, deadline=10)
    on = running(spec, ON_DEMAND)
    replace = msgspec.structs.replace
    for view in (
        replace(on, state=JobState.ACQUIRING),
        replace(on, state=JobState.STOPPING),
        replace(on, migrating=True),
    ):
        for strategy in (OnDemand(), Greedy(), UniformProgress()):
            seen = snapshot([view], [sold(SPOT, 0.9), sold(ON_DEMAND, 3.0)], now=2 * HOUR)
            plan = strategy.propose(seen)
            assert (plan.actions, plan.left_out) == ((), ())


def test_what_is_owned_is_taken_before_spot_when_it_is_cheaper() -> None:
    """Reserved and owned machines compete by price and are never left for spot again."""
    owned = offer(Tenure.OWNED, provider="rack")
    offers = [sold(SPOT, 0.9), sold(owned, 0.1, depth=1), sold(ON_DEMAND, 3.0)]
    spec = job(hours=4, deadline=10)
    assert placed(Greedy().propose(snapshot([queued(spec)], offers))) == {"job": owned.id}
    at_home = snapshot([running(spec, owned)], offers, now=2 * HOUR)
    assert UniformProgress().propose(at_home).actions == ()


def test_where_no_spot_fits_on_demand_is_taken_at_once() -> None:
    """Waiting for spot that no provider lists, or that a job must not use, would be for nothing."""
    offers = [sold(SPOT, 0.9), sold(ON_DEMAND, 3.0)]
    steady = job(deadline=100, interruptible=False)
    assert placed(Greedy().propose(snapshot([queued(steady)], offers))) == {"job": ON_DEMAND.id}
    only_on_demand = job(requirement=Requirement({"V100": 1_000}, tenures=("on_demand",)))
    seen = snapshot([queued(only_on_demand)], offers)
    assert placed(Greedy().propose(seen)) == {"job": ON_DEMAND.id}


def test_a_job_without_a_deadline_waits_as_long_as_it_is_patient() -> None:
    """For ever by default; with patience on-demand is taken when it is over."""
    offers = [sold(SPOT, 0.9, depth=0), sold(ON_DEMAND, 3.0)]
    view = queued(job(), queued_at=0)
    plan = Greedy().propose(snapshot([view], offers, now=1_000 * HOUR))
    assert (plan.review_at, only(plan).why) == (None, Why.WAITS)
    assert "since it has no deadline" in only(plan).detail
    patient = Greedy(PatientSettings(patience=2 * HOUR))
    assert patient.propose(snapshot([view], offers)).review_at == 2 * HOUR
    plan = patient.propose(snapshot([view], offers, now=2 * HOUR, version=2))
    assert placed(plan) == {"job": ON_DEMAND.id}


def test_settings_are_checked() -> None:
    """A negative duration is refused with a message that says what is right."""
    with pytest.raises(ValueError, match="patience must be 0 or more, not -1"):
        PatientSettings(patience=-1)
    with pytest.raises(ValueError, match="margin must be 0 or more, not -5"):
        PatientSettings(margin=-5)


def test_memory_is_bounded() -> None:
    """Thousands of jobs that come and go do not stay in a strategy's memory."""
    greedy = Greedy()
    for wave in range(4):
        jobs = [queued(job(f"{wave}-{number}")) for number in range(1_500)]
        greedy.propose(snapshot(jobs, [sold(SPOT, 0.9, depth=0)], version=wave))
    greedy.propose(snapshot(jobs[:1], [sold(SPOT, 0.9, depth=0)], version=9))
    assert len(greedy._entries) == 1
