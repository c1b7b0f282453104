"""Learning a prior from recorded availability."""

from pathlib import Path
from random import Random

import pytest

from tests.benchmarks.policy_runs import load
from tests.conftest import Require
from treasury.domain.errors import BadValue
from treasury.forecast.hazards import STEP, Regime, curves
from treasury.forecast.learn import learn_prior
from treasury.forecast.prior import POOLED
from treasury.forecast.regime import first_sight
from treasury.forecast.scores import calibrate


def drawn(seed: int, length: int = 1_500) -> list[int]:
    """A pool whose capacity is lost with 0.3 a step when young, 0.02 when old; back with 0.25."""
    dice, series, there, age = Random(seed), [], True, 1
    for _ in range(length):
        series.append(int(there))
        ends = (0.3 if age < 4 else 0.02) if there else 0.25
        there, age = (not there, 1) if dice.random() < ends else (there, age + 1)
    return series


def test_learned_hazards_are_those_the_series_were_drawn_from() -> None:
    """From twelve drawn pools the fall of the hazard with age and the rate of return are found."""
    prior = learn_prior([drawn(seed) for seed in range(12)])
    known = curves(prior, prior.mean)
    assert known.loss[0] == pytest.approx(0.3, abs=0.08)
    assert known.loss[6] == pytest.approx(0.02, abs=0.015)
    assert known.back[1] == pytest.approx(0.25, abs=0.05)


def test_forecasts_are_calibrated_on_pools_not_learned_from() -> None:
    """On other pools of the same kind the forecasts beat the plain frequency, and in every class
    what was said is near what came about."""
    prior = learn_prior([drawn(seed) for seed in range(12)])
    forecasts, outcomes = [], []
    for seed in range(100, 106):
        series = drawn(seed)
        memory = first_sight(0, bool(series[0]))
        for at in range(len(series) - 1):
            memory.see(at * STEP, bool(series[at]))
            if series[at]:
                regime = prior.clip(memory.regime())
                forecasts.append(prior.loss_hazard(memory.age(at * STEP), regime))
                outcomes.append(not series[at + 1])
    found = calibrate(forecasts, outcomes, bins=4)
    assert found.log_score < 0.9 * found.base_log_score
    assert all(abs(part.forecast - part.observed) < 0.08 for part in found.reliability)


def test_series_without_a_change_teach_nothing() -> None:
    """A prior cannot be learned from pools that never change; the message says what is needed."""
    with pytest.raises(BadValue, match="losses and returns"):
        learn_prior([[1] * 100, [0] * 100])


def test_the_shipped_prior_is_what_the_public_data_teach(require: Require) -> None:
    """The constants in `prior` are reproduced from the recorded probes."""
    import os

    folder = os.environ.get("TREASURY_SHARED", "")
    require(folder, "TREASURY_SHARED must name the folder with traces/cant_be_late")
    path = Path(folder) / "traces" / "cant_be_late"
    first, second = load(path, 2022), load(path, 2023)
    series = [*first.there.values()] * 3
    # Every third probe of 195 s, on the grid that the benchmark uses.
    series += [values[::3] for values in second.there.values()]
    learned = learn_prior(series)
    for name in ("loss", "back"):
        assert getattr(learned, name) == pytest.approx(getattr(POOLED, name), abs=2e-6)
    for name in ("mean", "low", "high"):
        regime: Regime = getattr(learned, name)
        shipped: Regime = getattr(POOLED, name)
        assert (regime.loss, regime.back) == pytest.approx((shipped.loss, shipped.back), abs=1e-6)
