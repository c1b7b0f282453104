"""Reasons, bids, counterfactuals and the horizon of the fleet optimizer."""

from dataclasses import replace

import numpy as np
import pytest

from treasury.domain.errors import BadValue
from treasury.optimizer.flow import (
    Change,
    Demand,
    FlowEngine,
    Forecast,
    Settings,
    bids,
    bindings,
    explain,
    look_ahead,
    what_if,
    would_place,
)
from treasury.optimizer.flow.explain import Row
from treasury_simulations.fleets import fleet

USD = 1_000_000


def test_every_explanation_adds_up() -> None:
    """What an offer is worth less its costs is what is left; the winner comes first, and a job
    that waits is told what stands in its way or that it is indivisible."""
    plan = FlowEngine(Settings(exact_columns=0, core_work=0)).plan(fleet(200, 40, seed=1))
    waiting = blocked = 0
    for job in range(200):
        why = explain(plan, job)
        assert why.placed == plan.placed[job]
        for option in why.options:
            assert option.left == option.net - sum(cost.amount for cost in option.costs)
        if why.placed >= 0:
            assert why.options[0].offer == why.placed
        elif why.options:
            waiting += 1
            blocked += why.blocker is not None
            assert why.indivisible == (why.options[0].left > 0)
    assert waiting > 20 and blocked > 0.9 * waiting


def test_a_budget_that_binds_says_what_a_dollar_more_is_worth() -> None:
    """Two jobs compete for the money of one: the loser is told the budget's price, and a budget
    larger by what `would_place` says places it."""
    from tests.unit.test_flow_engine import tiny

    plan = FlowEngine().plan(tiny((5, 9), (2,), (5,), budget=2 * USD))
    assert plan.placed.tolist() == [-1, 0]
    why = explain(plan, 0)
    assert why.blocker is not None and why.blocker.row is Row.CENTRE and why.blocker.price >= 1.4
    rows = bindings(plan)
    assert [(row.row, row.used, row.limit) for row in rows] == [(Row.CENTRE, 2 * USD, 2 * USD)]
    jobs, more = would_place(plan, 0)
    assert jobs == (0,) and more == 2 * USD
    difference = what_if(plan, Change(budgets={0: more}))
    assert difference.started == (0,) and difference.value == 3 * USD


def test_at_its_bid_a_job_does_not_care() -> None:
    """Repriced to its bid the offer is worth what the runner-up is; a bit above, the job leaves."""
    from tests.unit.test_flow_engine import tiny

    instance = tiny((9,), (2, 3), (1, 1))
    plan = FlowEngine().plan(instance)
    assert plan.placed.tolist() == [0]
    bid = explain(plan, 0).bid
    assert bid == 3 * USD
    for rate, best in ((bid - 1, 0), (bid + 1, 1)):
        offers = replace(instance.offers, rate=np.array([rate, 3 * USD]))
        assert FlowEngine().plan(replace(instance, offers=offers)).placed.tolist() == [best]


def test_waiting_lowers_bids() -> None:
    """Where waiting is worth something, nobody bids as much."""
    plan = FlowEngine(Settings(exact_columns=0, core_work=0)).plan(fleet(150, 30, seed=2))
    arcs = np.flatnonzero(plan.counts)
    plain = bids(plan, arcs)
    patient = bids(plan, arcs, np.full(len(plan.flow.classes), 2 * USD))
    assert (patient <= plain).all() and (patient < plain).any()


def test_counterfactuals_answer_on_the_same_instance() -> None:
    """Without the offers in use less is gained; under a price cap nothing dearer is held; a budget
    that is not there is refused."""
    plan = FlowEngine().plan(fleet(60, 15, seed=3))
    used = np.zeros(15, dtype=np.bool_)
    used[plan.placed[plan.placed >= 0]] = True
    without = what_if(plan, Change(without=used))
    assert without.value < 0 and not used[without.plan.placed[without.plan.placed >= 0]].any()
    cap = int(np.median(plan.flow.instance.offers.rate))
    capped = what_if(plan, Change(price_cap=cap)).plan
    assert (capped.flow.instance.offers.rate[capped.placed[capped.placed >= 0]] <= cap).all()
    with pytest.raises(BadValue, match="cost centre"):
        what_if(plan, Change(budgets={99: 1}))


def day(
    rates: list[int], *, value: int, work: float, due: int | None = None, late: int = 0
) -> tuple[Demand, Forecast]:
    """One job on one offer with a forecast of rates [USD/h] an hour apart; work in hours."""
    one, steps = np.ones(1, dtype=np.int64), len(rates)
    table = np.full((1, 1), 1_000, dtype=np.int32)
    demand = Demand(
        one, (one * work * 3_600).astype(np.int64), one * value * USD,
        one * (steps if due is None else due), one * late * USD, np.zeros(1, dtype=np.bool_),
        one * 0, table, table // 1_000, one * 0, one * -1, one * 10**12,
    )  # fmt: skip
    forecast = Forecast(
        np.array([rates], dtype=np.int64) * USD, np.ones((1, steps), dtype=np.int64), one * 0, 3_600
    )
    return demand, forecast


def test_waiting_is_worth_what_the_cheap_hour_saves() -> None:
    """One hour of work, worth 10, at 6 now and 2 later: left for later it is worth 8, more than the
    4 that running now would gain, so it waits."""
    outlook = look_ahead(*day([6, 2, 9], value=10, work=1))
    assert outlook is not None
    assert outlook.now.tolist() == [0.0]
    assert outlook.water[0] == pytest.approx(8 * USD)
    assert outlook.value == pytest.approx(8 * USD)


def test_a_deadline_ends_the_waiting() -> None:
    """The same work due within the first hour runs now, dear as it is; what does not fit before a
    soft deadline is reported as missed."""
    outlook = look_ahead(*day([6, 2, 9], value=10, work=1, due=1, late=20))
    assert outlook is not None and outlook.now[0] == pytest.approx(1)
    short = look_ahead(*day([6, 2, 9], value=10, work=3, due=2, late=20))
    assert short is not None and short.missed[0] == pytest.approx(1)


def test_pdlp_agrees_with_glop(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first-order solver comes within a hundredth of the exact horizon."""
    from treasury.optimizer.flow import horizon

    dice = np.random.Generator(np.random.PCG64(1))
    classes, offers, steps = 6, 4, 8
    speed = dice.integers(500, 2_000, (classes, offers)).astype(np.int32)
    demand = Demand(
        dice.integers(1, 5, classes), dice.integers(3_600, 20_000, classes),
        dice.integers(2, 8, classes) * USD, dice.integers(3, steps + 1, classes),
        dice.integers(1, 5, classes) * USD, np.zeros(classes, dtype=np.bool_),
        np.full(classes, 300), speed, np.ones_like(speed), np.zeros(classes, dtype=np.int64),
        np.array([-1]), np.array([40 * USD]),
    )  # fmt: skip
    forecast = Forecast(
        dice.integers(1, 6, (offers, steps)) * USD, dice.integers(1, 4, (offers, steps)),
        np.full(offers, 40_000), 3_600,
    )  # fmt: skip
    exact = look_ahead(demand, forecast)
    monkeypatch.setattr(horizon, "_EXACT", 0)
    near = look_ahead(demand, forecast)
    assert exact is not None and near is not None
    assert near.value == pytest.approx(exact.value, rel=0.01)
