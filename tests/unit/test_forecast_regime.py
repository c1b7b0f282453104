"""What is remembered of a pool, and how fast it is forgotten."""

from math import exp

import msgspec
import pytest

from treasury.domain.ids import OfferId
from treasury.forecast.forecaster import Forecaster
from treasury.forecast.hazards import STEP
from treasury.forecast.price import first_price
from treasury.forecast.prior import POOLED
from treasury.forecast.regime import PoolMemory, first_sight
from treasury.forecast.scores import calibrate

POOL = OfferId("aws/west/a/p3/spot")


def watched(pattern: str, times: int = 1, step: int = STEP) -> PoolMemory:
    """A pool seen through a pattern of `#` (there) and `.` (not)."""
    memory = first_sight(0, pattern[0] == "#")
    for at, sign in enumerate(pattern * times):
        memory.see(at * step, sign == "#")
    return memory


def test_rates_approach_the_frequency_of_changes() -> None:
    """A pool lost every tenth step and back after two has rates near 1/9 and 1/1."""
    regime = watched("########..", 100).regime()
    assert exp(regime.loss) == pytest.approx(1 / 8, rel=0.15)
    assert exp(regime.back) == pytest.approx(1 / 2, rel=0.15)


def test_a_shifted_regime_is_believed_within_hours() -> None:
    """After 200 calm hours, six hours of flicker move the rate of loss at least eightfold: the
    bank's weight goes to its short memories."""
    memory = watched("#" * 1_200)
    calm = exp(memory.regime().loss)
    for at in range(36):
        memory.see((1_200 + at) * STEP, at % 2 == 0)
    assert exp(memory.regime().loss) > 8 * calm


def test_the_grid_of_observations_hardly_matters() -> None:
    """Watching every minute instead of every ten teaches the same."""
    coarse = watched("######....", 40).regime()
    fine = watched("".join(sign * 10 for sign in "######...."), 40, STEP // 10).regime()
    assert fine.loss == pytest.approx(coarse.loss, abs=0.05)
    assert fine.back == pytest.approx(coarse.back, abs=0.05)


def test_age_counts_from_the_first_sight_of_the_state() -> None:
    """Age is in steps, the present one included, and starts anew with each change."""
    memory = watched("###..")
    assert not memory.available
    assert memory.age(4 * STEP) == 2.0


def test_time_that_runs_backwards_is_ignored() -> None:
    """An observation older than the last one changes nothing."""
    memory = watched("####")
    before = memory.regime()
    memory.see(0, False)
    assert memory.available and memory.regime() == before


def test_an_interruption_without_a_gap_counts_as_a_loss() -> None:
    """A machine taken while the pool still sells makes the pool look riskier."""
    memory = watched("#" * 100)
    before = memory.regime().loss
    memory.interrupted()
    assert memory.regime().loss > before


def test_the_state_written_down_goes_on_like_the_original() -> None:
    """A forecaster that was encoded and decoded midway ends in the very same state."""
    one = Forecaster(POOLED, {})
    for at in range(100):
        one.see_pool(POOL, at * STEP, at % 7 < 5, 900_000_000 + at)
    two = Forecaster.decode(one.encode())
    for at in range(100, 200):
        for forecaster in (one, two):
            forecaster.see_pool(POOL, at * STEP, at % 5 < 3, 900_000_000 - at)
    assert one.encode() == two.encode()
    assert one.curves(POOL) == two.curves(POOL)


def test_returns_oftener_than_forecast_are_soon_forecast() -> None:
    """A pool whose gaps last one step, which the prior does not believe, is believed after ten
    gaps:
    the forecast of a return at once has at least doubled; a pool that behaves as forecast is
    left."""
    doubtful = msgspec.structs.replace(POOLED, back=(-2.5, *[0.0] * 7))
    forecaster = Forecaster(doubtful, {})
    before = forecaster.curves(POOL).back[0]
    for at in range(120):
        forecaster.see_pool(POOL, at * STEP, at % 12 != 11, 1)
    assert forecaster.curves(POOL).back[0] > 2 * before
    usual = Forecaster(doubtful, {})
    for at in range(1_300):
        # Back after thirteen steps: about what e^-2.5 a step comes to.
        usual.see_pool(POOL, at * STEP, at % 26 < 13, 1)
    assert usual.curves(POOL).back[0] == pytest.approx(before, rel=0.35)


def test_an_unknown_pool_is_an_average_one() -> None:
    """Nothing known: the prior's mean regime, a price level of whatever is quoted."""
    forecaster = Forecaster(POOLED, {})
    assert forecaster.regime(POOL) == POOLED.mean
    assert forecaster.level(POOL, 7) == 7.0
    assert forecaster.age(POOL, 10**18) == 1.0


def test_a_spike_leaves_the_price_level_where_it_was() -> None:
    """One step at ten times the price moves the level by a few percent, a day of it wholly."""
    price = first_price(0, 1_000)
    for at in range(1, 300):
        price.see(at * STEP, 1_000)
    price.see(300 * STEP, 10_000)
    price.see(301 * STEP, 1_000)
    assert price.rate() == pytest.approx(1_000, rel=0.06)
    assert price.variance > 0.0
    for at in range(302, 900):
        price.see(at * STEP, 10_000)
    assert price.rate() == pytest.approx(10_000, rel=0.01)


def test_scores_know_a_calibrated_forecast_from_a_bold_one() -> None:
    """Forecasts equal to the frequencies score best, and the reliability table shows them so."""
    outcomes = [at % 10 == 0 for at in range(1_000)] + [at % 2 == 0 for at in range(1_000)]
    honest = calibrate([0.1] * 1_000 + [0.5] * 1_000, outcomes, bins=2)
    bold = calibrate([0.01] * 1_000 + [0.9] * 1_000, outcomes, bins=2)
    assert honest.log_score < honest.base_log_score < bold.log_score
    assert honest.brier < bold.brier
    for part in honest.reliability:
        assert part.observed == pytest.approx(part.forecast, abs=1e-9)
    with pytest.raises(ValueError, match="as many outcomes"):
        calibrate([0.5], [])
