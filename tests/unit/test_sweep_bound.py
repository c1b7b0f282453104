"""The fleet bound is one: below every replay, equal to the best where nothing was relaxed."""

import itertools
from collections.abc import Iterator

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from treasury.domain.budget import Budget
from treasury.domain.errors import BadValue, UserError
from treasury.domain.ids import CostCentre, JobId
from treasury.domain.job import JobSpec, Requirement
from treasury.domain.market import Capabilities, Tenure
from treasury.domain.money import MICRO, NANO
from treasury.domain.settings import EngineSettings
from treasury.domain.time import HOUR, MINUTE, NEVER
from treasury_simulations.bound import delivered, fleet_bound
from treasury_simulations.clairvoyant import clairvoyant_cost
from treasury_simulations.scenario import MarketModel, Scenario
from treasury_simulations.simulate import simulate
from treasury_simulations.traces import MarketRow, make_pool
from treasury_strategies.greedy import Greedy
from treasury_strategies.on_demand import OnDemand
from treasury_strategies.uniform_progress import UniformProgress

TEAM = CostCentre("team")
PLAIN = Capabilities(floating=True, billing_minimum_ns=0)


class Listed:
    """A market in memory: (tenure, accelerator) of each pool, and rows."""

    name = "listed"

    def __init__(
        self, pools: list[tuple[Tenure, str]], rows: list[tuple[int, int, int, int]], end: int
    ) -> None:
        self.pools = tuple(
            make_pool("aws", "r", f"z{number}", gpu, gpu, 1, tenure)
            for number, (tenure, gpu) in enumerate(pools)
        )
        self.rows = [MarketRow(*row) for row in rows]
        self.end = end

    def market(self) -> Iterator[MarketRow]:
        """Its rows."""
        return iter(sorted(self.rows))


def job(name: str, work: int, deadline: int | None, **more: object) -> JobSpec:
    """A job for one V100, submitted at once unless said otherwise."""
    given_: dict[str, object] = {"requirement": Requirement({"V100": 1_000}), "submitted_at": 0}
    return JobSpec(
        id=JobId(name), cost_centre=TEAM, work=work, deadline=deadline, **(given_ | more)
    )


def scenario(
    market: Listed, jobs: list[JobSpec], capabilities: Capabilities = PLAIN, seed: int = 0
) -> Scenario:
    """Jobs on a market, with money for all."""
    return Scenario(
        settings=EngineSettings(tick=10 * MINUTE),
        budgets=(Budget(cost_centre=TEAM, amount=1_000_000 * MICRO),),
        jobs=tuple(sorted(jobs, key=lambda spec: (spec.submitted_at, spec.id))),
        trace=market,
        markets={"aws": MarketModel(capabilities=capabilities, depth=-1)},
        seed=seed,
    )


def spot_and_demand(depth: int) -> Listed:
    """Spot at 1 USD/h and on-demand at 3 USD/h for ten hours."""
    return Listed(
        [(Tenure.SPOT, "V100"), (Tenure.ON_DEMAND, "V100")],
        [(0, 0, NANO, depth), (0, 1, 3 * NANO, -1)],
        10 * HOUR,
    )


def test_two_jobs_share_one_cheap_machine() -> None:
    """Two jobs of 4 h in 6 h and one spot machine: six hours of spot and two of on-demand."""
    jobs = [job("a", 4 * HOUR, 6 * HOUR), job("b", 4 * HOUR, 6 * HOUR)]
    found = fleet_bound(scenario(spot_and_demand(1), jobs))
    assert found.cost_micros == pytest.approx(12 * MICRO, abs=2)
    assert found.solver_micros == pytest.approx(12 * MICRO, abs=2)
    assert (found.jobs, found.steps) == (2, 6)


def test_a_gang_needs_a_pool_with_room_for_all_of_it() -> None:
    """Three machines of spot are of no use to a gang of four, and four are."""
    wants = Requirement({"V100": 1_000}, nodes=4)
    gang = [job("gang", 2 * HOUR, 5 * HOUR, requirement=wants)]
    few = fleet_bound(scenario(spot_and_demand(3), gang))
    assert few.cost_micros == pytest.approx(24 * MICRO, abs=2)
    enough = fleet_bound(scenario(spot_and_demand(4), gang))
    assert enough.cost_micros == pytest.approx(8 * MICRO, abs=2)


def test_single_jobs_may_use_what_large_gangs_could() -> None:
    """A pool with room for a gang of four serves a job of one as well."""
    wants = Requirement({"V100": 1_000}, nodes=4)
    jobs = [job("gang", HOUR, HOUR, requirement=wants), job("one", HOUR, HOUR)]
    found = fleet_bound(scenario(spot_and_demand(4), jobs))
    assert found.cost_micros == pytest.approx((4 + 3) * MICRO, abs=2)


def test_one_start_is_paid() -> None:
    """Boot and overhead are machine time that every job needs once."""
    capabilities = Capabilities(floating=True, boot_ns=10 * MINUTE)
    lone = [job("a", 2 * HOUR, 9 * HOUR, start_overhead=20 * MINUTE)]
    found = fleet_bound(scenario(spot_and_demand(1), lone, capabilities))
    assert found.cost_micros == pytest.approx(2_500_000, abs=2)


def test_a_kept_rate_may_be_an_earlier_one() -> None:
    """Where a machine keeps the rate of its grant, the bound takes the best since it could be
    held; where it floats, each hour's own."""
    market = Listed(
        [(Tenure.ON_DEMAND, "V100")], [(0, 0, NANO, -1), (HOUR, 0, 5 * NANO, -1)], 10 * HOUR
    )
    lone = [job("a", 3 * HOUR, 3 * HOUR)]
    floating = fleet_bound(scenario(market, lone))
    assert floating.cost_micros == pytest.approx(11 * MICRO, abs=2)
    kept = fleet_bound(scenario(market, lone, Capabilities(floating=False)))
    assert kept.cost_micros == pytest.approx(3 * MICRO, abs=2)


def test_a_machine_outlives_its_pool_as_long_as_the_world_lets_it() -> None:
    """A spot machine works until its notice ends, an on-demand machine is never taken back."""
    rows = [(0, 0, NANO, 1), (HOUR, 0, NANO, 0)]
    lone = [job("a", HOUR + 30 * MINUTE, 2 * HOUR)]
    noticed = Capabilities(floating=True, notice_ns=30 * MINUTE)
    spot = Listed([(Tenure.SPOT, "V100")], rows, 10 * HOUR)
    found = fleet_bound(scenario(spot, lone, noticed), step=10 * MINUTE)
    assert found.cost_micros == pytest.approx(1_500_000, abs=2)
    with pytest.raises(UserError, match="cannot be had"):
        fleet_bound(scenario(spot, lone))
    owned = Listed([(Tenure.ON_DEMAND, "V100")], rows, 10 * HOUR)
    assert fleet_bound(scenario(owned, lone)).cost_micros == pytest.approx(1_500_000, abs=2)


def test_a_deadline_that_nothing_keeps_is_the_traces_end() -> None:
    """A job that is late whatever is done costs what it costs by the end."""
    lone = [job("a", 4 * HOUR, 2 * HOUR)]
    found = fleet_bound(scenario(spot_and_demand(1), lone))
    assert found.cost_micros == pytest.approx(4 * MICRO, abs=2)


def test_what_has_no_bound_is_said() -> None:
    """A market without end, a job that nothing serves, a step that is none."""
    market = spot_and_demand(1)
    with pytest.raises(BadValue, match="a positive duration"):
        fleet_bound(scenario(market, [job("a", HOUR, None)]), step=0)
    with pytest.raises(UserError, match="no offer of the market serves it"):
        fleet_bound(scenario(market, [job("a", HOUR, None, requirement=Requirement({"T4": 1}))]))
    market.end = NEVER
    with pytest.raises(BadValue, match="a market that ends"):
        fleet_bound(scenario(market, [job("a", HOUR, None)]))


HOURS = 4
Tables = tuple[list[list[int]], list[list[int]], list[tuple[int, int, int]]]


@st.composite
def tables(draw: st.DrawFn) -> Tables:
    """Rates [USD/h] and machines of two pools, hour by hour, and (work, from, until) of jobs."""
    table = st.lists(st.integers(1, 9), min_size=HOURS, max_size=HOURS)
    room = st.lists(st.integers(0, 2), min_size=HOURS, max_size=HOURS)
    jobs = []
    for _ in range(draw(st.integers(1, 3))):
        since = draw(st.integers(0, HOURS - 1))
        until = draw(st.integers(since + 1, HOURS))
        jobs.append((draw(st.integers(1, until - since)), since, until))
    return [draw(table), draw(table)], [draw(room), draw(room)], jobs


@given(tables())
@settings(max_examples=60)
def test_it_is_the_best_plan_where_jobs_are_whole_hours(table: Tables) -> None:
    """Jobs of whole hours on machines of equal speed: a flow, whose optimum is integral. The bound
    is the cheapest of all plans, found by trying every one."""
    rates, rooms, wanted = table
    best = cheapest_plan(rates, rooms, wanted)
    assume(best is not None)
    rows = [
        (hour * HOUR, pool, rates[pool][hour] * NANO, rooms[pool][hour])
        for pool in range(2)
        for hour in range(HOURS)
    ]
    market = Listed([(Tenure.SPOT, "V100")] * 2, rows, HOURS * HOUR)
    jobs = [
        job(f"j{number}", work * HOUR, until * HOUR, submitted_at=since * HOUR)
        for number, (work, since, until) in enumerate(wanted)
    ]
    found = fleet_bound(scenario(market, jobs))
    # Steps count from the first submission, which is on the hour as well.
    assert found.cost_micros <= best * MICRO
    assert found.cost_micros == pytest.approx(best * MICRO, abs=5)


def cheapest_plan(
    rates: list[list[int]], rooms: list[list[int]], wanted: list[tuple[int, int, int]]
) -> int | None:
    """The cost [USD] of the cheapest plan, job by job over every choice of hours and pools."""
    states: dict[tuple[int, ...], int] = {tuple(rooms[0] + rooms[1]): 0}
    for work, since, until in wanted:
        after: dict[tuple[int, ...], int] = {}
        for hours in itertools.combinations(range(since, until), work):
            for pools in itertools.product(range(2), repeat=work):
                price = sum(rates[p][h] for p, h in zip(pools, hours, strict=True))
                for room, cost in states.items():
                    left = list(room)
                    for pool, hour in zip(pools, hours, strict=True):
                        left[pool * HOURS + hour] -= 1
                    if min(left) >= 0:
                        key = tuple(left)
                        after[key] = min(after.get(key, cost + price), cost + price)
        states = after
    return min(states.values(), default=None)


@st.composite
def replays(draw: st.DrawFn) -> Scenario:
    """Up to four jobs, gangs among them, on up to three pools of two speeds that come and go."""
    pools = [
        (draw(st.sampled_from([Tenure.SPOT, Tenure.ON_DEMAND])), draw(st.sampled_from("VA")))
        for _ in range(draw(st.integers(0, 3)))
    ]
    gpus = {"V": "V100", "A": "A100-40GB"}
    kinds = [(tenure, gpus[letter]) for tenure, letter in pools]
    kinds.append((Tenure.ON_DEMAND, "V100"))
    rows = [(0, len(pools), 4 * NANO, -1)]
    for pool in range(len(pools)):
        at = 0
        for _ in range(draw(st.integers(1, 6))):
            rate = draw(st.sampled_from([-1, NANO // 2, NANO, 3 * NANO, 6 * NANO]))
            rows.append((at, pool, rate, draw(st.integers(0, 3))))
            at += draw(st.integers(1, 30)) * 7 * MINUTE
    jobs = []
    for number in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, 20)) * 7 * MINUTE
        work = draw(st.integers(1, 36)) * 11 * MINUTE
        late = draw(st.sampled_from([None, 12, 20, 40]))
        jobs.append(
            job(
                f"j{number}",
                work,
                None if late is None else at + work * late // 10 + 40 * MINUTE,
                submitted_at=at,
                start_overhead=draw(st.sampled_from([0, 3 * MINUTE, 20 * MINUTE])),
                checkpoint_interval=draw(st.sampled_from([0, 30 * MINUTE])),
                requirement=Requirement(
                    {"V100": 1_000, "A100-40GB": 2_200}, nodes=draw(st.integers(1, 3))
                ),
            )
        )
    capabilities = Capabilities(
        floating=draw(st.booleans()),
        notice_ns=draw(st.sampled_from([0, 2 * MINUTE, 25 * MINUTE])),
        boot_ns=draw(st.sampled_from([0, MINUTE])),
        grant_delay_ns=draw(st.sampled_from([0, 20_000_000_000])),
        billing_minimum_ns=0,
    )
    return scenario(Listed(kinds, rows, 60 * HOUR), jobs, capabilities, draw(st.integers(0, 3)))


@pytest.mark.slow
@given(replays(), st.sampled_from([Greedy, OnDemand, UniformProgress]))
@settings(max_examples=120)
def test_no_replay_is_cheaper(given_: Scenario, strategy: type) -> None:
    """Whatever the market, its terms, the jobs and the strategy: a run paid at least the bound on
    what it delivered."""
    record = simulate(given_, strategy())
    for step in (HOUR, 25 * MINUTE):
        found = fleet_bound(given_, step=step, until=delivered(given_, record))
        assert found.cost_micros <= record.waste.paid


@given(st.lists(st.booleans(), min_size=20, max_size=20), st.integers(0, 3))
@settings(max_examples=40)
def test_it_is_below_the_bound_that_counts_restarts(there: list[bool], overhead: int) -> None:
    """One job in one zone: never above the exact optimum with restarts, which is below any run."""
    deadline, work = 20 * HOUR, 14 * HOUR
    rows = [(hour * HOUR, 0, NANO, int(up)) for hour, up in enumerate(there)]
    market = Listed(
        [(Tenure.SPOT, "V100"), (Tenure.ON_DEMAND, "V100")],
        [*rows, (0, 1, 3 * NANO, -1)],
        deadline,
    )
    lone = [job("a", work, deadline, start_overhead=overhead * HOUR)]
    exact = clairvoyant_cost(
        [int(up) for up in there],
        tick_ns=HOUR,
        work_ns=work,
        deadline_ns=deadline,
        overhead_ns=overhead * HOUR,
        spot_rate=NANO,
        on_demand_rate=3 * NANO,
    )
    found = fleet_bound(scenario(market, lone)).cost_micros
    assert found <= exact.cost_micros
    if overhead == 0:
        assert found == pytest.approx(exact.cost_micros, abs=5)
