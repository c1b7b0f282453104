"""One job against the clock: when each policy takes on-demand, leaves it, and stays."""

import pytest

from tests.support.ticks import ON_DEMAND, SPOT, TICK, job, offer, queued, running, snapshot, sold
from treasury.domain.job import JobSpec, Requirement
from treasury.domain.market import Tenure
from treasury.domain.plan import JobView, Place, Plan, Preempt, Why
from treasury.domain.time import HOUR, MINUTE, SECOND
from treasury_strategies.greedy import Greedy
from treasury_strategies.on_demand import OnDemand
from treasury_strategies.patient import Patient, PatientSettings
from treasury_strategies.uniform_progress import UniformProgress

GONE = sold(SPOT, 0.9, depth=0)
THERE = sold(SPOT, 0.9, depth=4)
FIRM = sold(ON_DEMAND, 3.06)


def does(plan: Plan) -> str:
    """`spot`, `on_demand` or `-`, with `>` before a switch."""
    text = ""
    for action in plan.actions:
        if isinstance(action, Preempt):
            text += ">"
        elif isinstance(action, Place):
            text += action.offer.rpartition("/")[2]
    return text or "-"


def ask(policy: Patient, view: JobView, spot: object, now: int) -> str:
    """What a policy does with one job."""
    return does(policy.propose(snapshot([view], [spot, FIRM], now=now)))  # type: ignore[list-item]


def slack_job(slack: int, overhead: int = 72 * SECOND) -> JobSpec:
    """Four hours of work and some slack [ns] before the deadline."""
    return job(hours=4, deadline=4 + slack / HOUR, overhead=overhead)


def test_greedy_waits_exactly_while_a_failed_try_would_not_hurt() -> None:
    """Work, two starts and the rounding to ticks take 25 ticks: it waits until 25 are left."""
    view = queued(slack_job(10 * TICK))
    assert [ask(Greedy(), view, GONE, step * TICK) for step in (0, 8, 9)] == ["-", "-", "on_demand"]
    assert [ask(Greedy(), view, THERE, step * TICK) for step in (0, 8, 9)] == [
        "spot",
        "spot",
        "on_demand",
    ]
    plan = Greedy().propose(snapshot([view], [GONE, FIRM]))
    assert plan.review_at == 9 * TICK
    assert plan.left_out[0].why is Why.WAITS
    detail = plan.left_out[0].detail
    assert detail == (
        f"{SPOT.id} at 0.9000 USD/h has 0 of 1 machines free (0 of 0 are ours); waits for spot "
        f"until 1970-01-01T01:30:00Z, then takes {ON_DEMAND.id} at 3.0600 USD/h"
    )


def test_uniform_progress_falls_back_as_soon_as_it_is_behind() -> None:
    """At the start it is on its line; a tick later, with nothing done, behind it."""
    view = queued(slack_job(10 * TICK))
    assert ask(UniformProgress(), view, GONE, 0) == "-"
    assert ask(UniformProgress(), view, GONE, TICK) == "on_demand"
    assert ask(UniformProgress(), view, THERE, TICK) == "spot"


def test_uniform_progress_returns_when_two_starts_ahead() -> None:
    """On on-demand it leaves for spot at the first tick that finds it two starts ahead, not
    before."""
    spec = slack_job(20 * TICK, overhead=360 * SECOND)
    on = running(spec, ON_DEMAND, useful_from=360 * SECOND)
    # Ahead by 20/44 of the time run, less the start: by more than 720 s from 1,656 s on.
    found = [ask(UniformProgress(), on, THERE, step * TICK) for step in range(1, 7)]
    assert found == ["-", "-", ">spot", ">spot", ">spot", ">spot"]
    assert UniformProgress().propose(snapshot([on], [THERE, FIRM], now=TICK)).review_at == 3 * TICK
    assert [ask(UniformProgress(), on, GONE, step * TICK) for step in (3, 8)] == ["-", "-"]
    assert [ask(Greedy(), on, THERE, step * TICK) for step in (3, 8)] == ["-", "-"]


def test_a_job_near_its_end_is_not_moved() -> None:
    """The last tick on on-demand costs less than a start on spot."""
    spec = job(hours=4, deadline=20, overhead=50 * MINUTE)
    on = running(spec, ON_DEMAND, useful_from=0)
    assert ask(UniformProgress(), on, THERE, 3 * HOUR) == ">spot"
    assert ask(UniformProgress(), on, THERE, 4 * HOUR - TICK) == "-"


def test_a_running_spot_machine_is_kept_to_the_end() -> None:
    """Each tick on spot saves a tick of on-demand, so even without slack spot is kept; during its
    start it is not."""
    spec = slack_job(4 * TICK, overhead=1_500 * SECOND)
    useful = running(spec, SPOT, useful_from=0, work_done=0)
    assert ask(Greedy(), useful, GONE, TICK) == "-"
    assert ask(Greedy(), useful, GONE, 3 * HOUR) == "-"
    starting = running(spec, SPOT, useful_from=TICK + 700 * SECOND)
    assert ask(Greedy(), starting, GONE, TICK) == ">on_demand"


def test_a_slower_spot_machine_is_left_in_time() -> None:
    """On a machine at half the speed the slack shrinks; it is left at the first tick without
    any."""
    slow = offer(Tenure.SPOT, gpu="K80")
    spec = job(hours=4, deadline=5, requirement=Requirement({"V100": 1_000, "K80": 500}))
    on = running(spec, slow, useful_from=0)
    offers = [sold(slow, 0.2, depth=4), FIRM]

    def at(step: int) -> Plan:
        return Greedy().propose(snapshot([on], offers, now=step * TICK))

    # Work left in ticks after n: 24 - n/2, and half a tick may be lost in the next one.
    assert [does(at(step)) for step in (8, 9, 10, 11)] == ["-", "-", ">on_demand", ">on_demand"]
    assert at(0).review_at == 10 * TICK


def test_work_that_no_checkpoint_holds_counts_as_slack() -> None:
    """With checkpoints every half hour a spot machine is left half an hour earlier."""
    view = queued(job(hours=4, deadline=6, checkpoint_interval=30 * MINUTE))
    assert [ask(Greedy(), view, GONE, step * TICK) for step in (11, 12)] == ["-", "on_demand"]
    assert [ask(Greedy(), view, THERE, step * TICK) for step in (8, 9)] == ["spot", "on_demand"]


def test_boot_times_and_the_margin_count() -> None:
    """Machines that need twenty minutes to boot, and a margin of ten, are asked for earlier by as
    much."""
    slow_boot = sold(offer(Tenure.ON_DEMAND, lead=2 * TICK), 3.06)
    view = queued(job(hours=4, deadline=6))

    def waits(policy: Patient, firm: object) -> int | None:
        return policy.propose(snapshot([view], [GONE, firm])).review_at  # type: ignore[list-item]

    assert waits(Greedy(), FIRM) == 12 * TICK
    assert waits(Greedy(), slow_boot) == 10 * TICK
    assert waits(Greedy(PatientSettings(margin=TICK)), slow_boot) == 9 * TICK


def test_the_cheapest_on_demand_that_makes_the_deadline_is_taken() -> None:
    """A slow machine is cheaper while there is time for it; later the fast one is taken."""
    slow = sold(offer(Tenure.ON_DEMAND, gpu="K80"), 0.9)
    spec = job(hours=4, deadline=9, requirement=Requirement({"V100": 1_000, "K80": 500}))
    offers = [GONE, slow, FIRM]

    def taken(policy: Greedy | OnDemand, now: int) -> str:
        actions = policy.propose(snapshot([queued(spec)], offers, now=now)).actions
        return "".join(a.offer.split("/")[3] for a in actions if isinstance(a, Place)) or "-"

    assert [taken(Greedy(), now) for now in (0, HOUR)] == ["-", "k80x1"]
    # Eight hours of slow work do not fit any more, four of fast work do, and there is time to wait.
    assert [taken(Greedy(), now) for now in (2 * HOUR, 5 * HOUR)] == ["-", "v100x1"]
    assert [taken(OnDemand(), now) for now in (0, HOUR, 2 * HOUR)] == ["k80x1", "k80x1", "v100x1"]
    assert taken(Greedy(), 8 * HOUR) == "v100x1", "late whatever is done: the fastest"


@pytest.mark.parametrize("policy", [Greedy, UniformProgress])
def test_without_on_demand_spot_is_better_than_nothing(policy: type[Patient]) -> None:
    """When on-demand is sold out the job takes spot, however late it is, and is told what is
    missing."""
    view = queued(job(hours=4, deadline=4))
    full = sold(ON_DEMAND, 3.06, depth=0)
    assert does(policy().propose(snapshot([view], [THERE, full]))) == "spot"
    plan = policy().propose(snapshot([view], [GONE, full]))
    assert (does(plan), plan.left_out[0].why) == ("-", Why.NO_CAPACITY)
    assert plan.review_at is None
    shut = sold(ON_DEMAND, 3.06, quarantined_until=25 * MINUTE)
    assert policy().propose(snapshot([view], [GONE, shut])).review_at == 3 * TICK


def test_on_demand_moves_nothing() -> None:
    """The yardstick takes on-demand at once and never looks at spot."""
    view = queued(job(hours=4, deadline=400))
    plan = OnDemand().propose(snapshot([view], [THERE, FIRM]))
    assert (does(plan), plan.review_at) == ("on_demand", None)
    on = running(view.spec, ON_DEMAND)
    assert does(OnDemand().propose(snapshot([on], [THERE, FIRM], now=HOUR))) == "-"
    plan = OnDemand().propose(snapshot([view], [THERE, sold(ON_DEMAND, 3.06, depth=0)]))
    assert plan.left_out[0].why is Why.NO_CAPACITY
