"""The fleet optimizer: plans that hold, certificates that bracket them, the same every time."""

from dataclasses import replace

import numpy as np
import pytest

from treasury.domain.errors import BadValue, InvariantBroken
from treasury.optimizer.flow.arrays import Instance, Jobs, Kinds, Offers, Rules
from treasury.optimizer.flow.certificate import certify
from treasury.optimizer.flow.classes import build
from treasury.optimizer.flow.columns import Prices, bound_of, nothing_scarce, reduced
from treasury.optimizer.flow.engine import FlowEngine, Settings
from treasury.optimizer.flow.fill import Residual
from treasury.optimizer.flow.patch import only_prices_changed, place_of
from treasury.optimizer.flow.patch import repriced as patched
from treasury_simulations.fleets import fleet, repriced

USD = 1_000_000
# Never hands the problem to CP-SAT: the stages for large fleets on small ones.
LARGE = Settings(exact_columns=0)


def column(*values: int) -> np.ndarray:
    """A column of integers."""
    return np.array(values, dtype=np.int64)


def tiny(
    values: tuple[int, ...],
    rates: tuple[int, ...],
    capacity: tuple[int, ...],
    *,
    budget: int = 1_000 * USD,
    nodes: int = 1,
    **jobs: np.ndarray,
) -> Instance:
    """Jobs worth so much an hour [USD], offers at such rates [USD/h], one kind, one budget."""
    count, offers = len(values), len(rates)
    none, zero = np.full(count, -1), np.zeros(count, dtype=np.int64)
    columns = {
        "kind": zero, "value": column(*values) * USD, "restart": zero, "interval": zero,
        "home": none, "transfer": zero, "centre": zero, "group": none, "incumbent": none,
    } | jobs  # fmt: skip
    flat = np.zeros(offers, dtype=np.int64)
    return Instance(
        Jobs(**columns),
        Kinds(
            np.full((1, offers), 1_000, dtype=np.int32),
            np.full((1, offers), nodes, dtype=np.int32),
        ),
        Offers(
            column(*rates) * USD,
            column(*rates) * USD,
            column(*capacity),
            flat,
            flat - 1,
            flat + 1,
            flat,
            flat,
        ),
        Rules(column(), column(-1), column(budget), column()),
    )


def test_the_dearest_job_gets_the_only_machine() -> None:
    """With one machine and two jobs, the one that is worth more runs, and that is proven."""
    plan = FlowEngine().plan(tiny((5, 9), (2,), (1,)))
    assert plan.placed.tolist() == [-1, 0]
    assert plan.certificate.value == plan.certificate.bound == 7 * USD
    assert plan.gap == 0


def test_a_budget_holds_at_every_level() -> None:
    """Two projects with money of their own may not spend more than their organisation has."""
    instance = tiny((9, 8), (2,), (9,), centre=column(1, 2))
    rules = Rules(column(), column(-1, 0, 0), column(3, 5, 5) * USD, column())
    plan = FlowEngine().plan(replace(instance, rules=rules))
    assert plan.placed.tolist() == [0, -1]
    assert plan.certificate.burn.tolist() == [2 * USD, 2 * USD, 0]


def test_a_gang_is_placed_whole_or_not_at_all() -> None:
    """A gang of four does not take the three machines there are; a pool of five serves one."""
    assert FlowEngine().plan(tiny((90,), (2,), (3,), nodes=4)).placed.tolist() == [-1]
    plan = FlowEngine().plan(tiny((90, 91), (2,), (5,), nodes=4))
    assert plan.placed.tolist() == [-1, 0]


def test_a_small_gain_does_not_move_a_running_job() -> None:
    """A machine that is a little cheaper is not worth a restart; a much cheaper one is."""
    running = {"incumbent": column(0), "restart": column(600)}
    assert FlowEngine().plan(tiny((9,), (4, 3), (1, 1), **running)).placed.tolist() == [0]
    cheap = tiny((9,), (8, 1), (1, 1), **running)
    assert FlowEngine().plan(cheap).placed.tolist() == [1]


def test_ties_keep_the_incumbent() -> None:
    """Of offers that are alike in everything a running job keeps its own, call after call."""
    engine = FlowEngine(LARGE)
    instance = tiny((9, 9, 9), (2, 2, 2), (1, 1, 1), incumbent=column(2, 0, 1))
    for _ in range(3):
        assert engine.plan(instance).placed.tolist() == [2, 0, 1]


def test_spread_keeps_a_group_apart() -> None:
    """At most one of a group in a zone, however cheap that zone is."""
    instance = tiny((9, 9), (1, 5), (9, 9), group=column(0, 0))
    instance = replace(
        instance,
        offers=replace(instance.offers, zone=column(0, 1)),
        rules=replace(instance.rules, spread=column(1)),
    )
    for settings in (Settings(), LARGE):
        assert sorted(FlowEngine(settings).plan(instance).placed.tolist()) == [0, 1]


def test_moves_beyond_the_limit_cost_their_price() -> None:
    """Three jobs would gain 4 USD/h each by moving; the second and third move costs 10, so one
    moves."""
    instance = tiny((20, 20, 20), (6, 2), (3, 3), incumbent=column(0, 0, 0))
    rules = replace(instance.rules, churn_limit=1, churn_price=10 * USD)
    plan = FlowEngine().plan(replace(instance, rules=rules))
    assert sorted(plan.placed.tolist()) == [0, 0, 1]
    assert plan.certificate.moved == 1


@pytest.mark.parametrize("size", [(60, 20), (300, 60)])
def test_same_instance_same_plan(size: tuple[int, int]) -> None:
    """Two engines give the same plan, prices and bound, bit for bit."""
    instance = fleet(*size, seed=3)
    one, other = (FlowEngine(LARGE).plan(instance) for _ in range(2))
    assert one.placed.tobytes() == other.placed.tobytes()
    assert one.prices.pool.tobytes() == other.prices.pool.tobytes()
    assert one.certificate.bound == other.certificate.bound


@pytest.mark.slow
def test_every_stage_improves_and_the_bound_is_above() -> None:
    """The worth of the plan never falls from stage to stage, and never passes the bound."""
    plan = FlowEngine(replace(LARGE, core_work=20_000)).plan(fleet(400, 80, seed=2))
    values = [stage.value for stage in plan.stages]
    assert values == sorted(values)
    assert plan.certificate.value <= plan.certificate.bound
    assert plan.gap < 0.12


def test_any_prices_give_a_bound() -> None:
    """The Lagrangian value of random prices is never below the proven optimum."""
    instance = fleet(40, 12, seed=5)
    best = FlowEngine().plan(instance)
    assert best.gap == 0
    flow = build(instance)
    dice = np.random.Generator(np.random.PCG64(1))
    for _ in range(20):
        base = nothing_scarce(flow)
        prices = Prices(
            dice.exponential(USD, len(base.pool)),
            dice.exponential(USD, len(base.quota)),
            dice.exponential(0.5, len(base.centre)),
            dice.exponential(USD, len(base.spread)),
            float(dice.uniform(0, flow.rows.churn_price)),
        )
        assert bound_of(flow, prices, reduced(flow, prices)) >= best.certificate.value


def test_a_patched_flow_is_the_flow_built_anew() -> None:
    """Patching the arcs of repriced offers gives exactly what building from scratch gives."""
    instance = fleet(300, 60, seed=4)
    other, _ = repriced(instance, 0.2, seed=9, spread=0.8)
    changed = only_prices_changed(instance, other)
    assert changed is not None and len(changed) > 5
    patch, number = patched(build(instance), other, changed)
    fresh = build(other)
    for name in ("start", "owner", "offer", "net", "units", "stay", "spread_arc", "spread_of"):
        assert np.array_equal(getattr(patch, name), getattr(fresh, name)), name
    for name in ("pool", "committed", "spread", "spread_name"):
        assert np.array_equal(getattr(patch.rows, name), getattr(fresh.rows, name)), name
    kept = number >= 0
    assert np.array_equal(build(instance).offer[kept], patch.offer[number[kept]])


def test_a_tick_keeps_the_plan_where_prices_hardly_change() -> None:
    """After 1 % of the prices changed the next plan moves few jobs and is certified, too."""
    instance = fleet(600, 100, seed=6)
    engine = FlowEngine(replace(LARGE, core_work=0))
    before = engine.plan(instance)
    other, _ = repriced(instance, 0.01, seed=1)
    after = engine.plan(other)
    assert "carried" in [stage.name for stage in after.stages]
    differ = int((before.placed != after.placed).sum())
    assert differ <= 0.1 * len(instance.jobs)
    assert after.gap < before.gap + 0.03


def test_a_deadline_in_the_past_still_gives_a_plan() -> None:
    """With no time left at all there is a feasible plan with a bound."""
    clock = iter(range(0, 10**15, 10**10))
    settings = replace(LARGE, seconds=1.0, clock=lambda: next(clock))
    plan = FlowEngine(settings).plan(fleet(300, 60, seed=1))
    assert 0 <= plan.certificate.value <= plan.certificate.bound


@pytest.mark.parametrize(
    ("where", "change"),
    [
        ("quota", lambda i: replace(i, offers=replace(i.offers, quota=column(7)))),
        ("jobs.value", lambda i: replace(i, jobs=replace(i.jobs, value=column(2**61, 1)))),
        ("jobs.kind", lambda i: replace(i, jobs=replace(i.jobs, kind=column(0, 4)))),
        ("offers.rate", lambda i: replace(i, offers=replace(i.offers, rate=column(-1)))),
        ("rules.limit", lambda i: replace(i, rules=replace(i.rules, limit=column(-5)))),
        ("rules.parent", lambda i: replace(i, rules=replace(i.rules, parent=column(0)))),
        ("residence", lambda i: replace(i, rules=replace(i.rules, residence=0))),
        ("jobs.home", lambda i: replace(i, jobs=replace(i.jobs, home=column(1)))),
    ],
)  # fmt: skip
def test_what_cannot_be_meant_is_refused(where: str, change: object) -> None:
    """Wrong indices, overflowing, negative and cyclic input raise an error that names its place."""
    with pytest.raises(BadValue, match=where):
        FlowEngine().plan(change(tiny((5, 9), (2,), (1,))))  # type: ignore[operator]


@pytest.mark.parametrize(
    "instance",
    [
        tiny((), (2,), (1,)),
        tiny((5,), (), ()),
        tiny((5,), (2,), (0,)),
        tiny((5,), (2,), (1,), budget=0),
        tiny((5,), (1_000_000_000,), (1,)),
        tiny((0, 0), (0,), (1,)),
        tiny((900_000,), (2,), (5_000,), nodes=10_000),
        tiny((3,) * 50, (2,) * 2_000, (1,) * 2_000),
        tiny((3,) * 50, (0,) * 20, (1,) * 20),
    ],
)
def test_hostile_instances_give_a_plan(instance: Instance) -> None:
    """Empty, unaffordable, free, gigantic and indifferent instances give a plan that holds."""
    for settings in (Settings(), LARGE):
        plan = FlowEngine(settings).plan(instance)
        assert 0 <= plan.certificate.value <= plan.certificate.bound


def test_the_gate_refuses_a_plan_that_overruns() -> None:
    """A pool used twice, a budget overrun and a worth above the bound are each refused."""
    instance = tiny((5, 9), (2,), (1,))
    with pytest.raises(InvariantBroken, match="pool 0: 2 used of 1"):
        certify(instance, column(0, 0), USD**2)
    poor = tiny((5, 9), (2,), (2,), budget=3 * USD)
    with pytest.raises(InvariantBroken, match="cost centre 0"):
        certify(poor, column(0, 0), USD**2)
    with pytest.raises(InvariantBroken, match="above its bound"):
        certify(instance, column(-1, 0), 6 * USD)


def test_the_worth_of_the_gate_is_the_worth_of_the_flow() -> None:
    """Two pieces of code that share nothing agree on what a plan is worth, to the micro-dollar."""
    plan = FlowEngine(LARGE).plan(fleet(200, 40, seed=8))
    residual = Residual(plan.flow)
    arcs = np.flatnonzero(plan.counts)
    residual.take(arcs, plan.counts[arcs])
    assert residual.holds()
    assert residual.value() == plan.certificate.value


def test_a_centre_pays_for_its_own_jobs_and_for_those_below() -> None:
    """One job of an organisation and one of its team, with money for one: the plan keeps to it,
    whichever level a job pays at."""
    instance = tiny((9, 8), (2,), (5,), centre=column(0, 1))
    rules = replace(instance.rules, parent=column(-1, 0), limit=column(3, 99) * USD)
    for settings in (Settings(), Settings(exact_columns=0, core_work=0)):
        plan = FlowEngine(settings).plan(replace(instance, rules=rules))
        assert plan.placed.tolist() == [0, -1]
        assert plan.certificate.burn.tolist() == [2 * USD, 0]


def test_a_first_plan_is_there_before_all_arcs_are() -> None:
    """Of each class a few arcs, worth what all arcs say they are worth, and the present one; the
    plan made of them stands unchanged when the others have come."""
    instance = fleet(1_300, 800, seed=4)
    few, whole = build(instance, 16), build(instance)
    at = place_of(whole, few.owner, few.offer)
    assert (whole.offer[at] == few.offer).all() and (whole.net[at] == few.net).all()
    assert (few.stay >= 0).sum() == (whole.stay >= 0).sum()
    assert np.diff(few.start).max() <= 17 < np.diff(whole.start).max()
    first, built, *rest = FlowEngine(Settings(core_work=0)).plan(instance).stages
    assert (first.name, built.name, first.value) == ("first", "build", built.value)
    assert 0 < first.value < rest[-1].value
