"""Learning a prior from a market trace, and scoring it on what was held back."""

from random import Random

import pytest
from click.testing import CliRunner

from tests.support.worlds import MemoryTrace, pool
from treasury.domain.errors import BadValue
from treasury.domain.market import Tenure
from treasury.forecast.hazards import STEP
from treasury_simulations.calibration import availability, learn_and_score, main


def flickering(seed: int, length: int = 1_200) -> list[int]:
    """A pool that is lost with 0.1 and back with 0.3 a step."""
    dice, series, there = Random(seed), [], 1
    for _ in range(length):
        series.append(there)
        there = 1 - there if dice.random() < (0.1 if there else 0.3) else there
    return series


def test_availability_is_read_off_a_market() -> None:
    """Spot pools only; not sold and empty both count as not there; a state lasts until the next
    row."""
    rows = [
        (0, 0, 5, 1),
        (0, 1, 9, -1),
        (2 * STEP, 0, -1, 1),
        (3 * STEP + 1, 0, 5, 0),
        (5 * STEP, 0, 5, -1),
    ]
    trace = MemoryTrace([pool("a"), pool("b", Tenure.ON_DEMAND)], rows)
    assert availability(trace, 0, 7 * STEP) == [[1, 1, 0, 0, 0, 1, 1]]


def test_scores_come_from_what_was_not_learned() -> None:
    """Another tail changes the scores and not the prior; another head changes the prior."""
    series = [flickering(seed) for seed in range(5)]
    found = learn_and_score(series, 0.5)
    tail = [values[:600] + flickering(9)[:600] for values in series]
    other = learn_and_score(tail, 0.5)
    assert other.prior == found.prior and other.loss != found.loss
    head = [flickering(77)[:600] + values[600:] for values in series]
    assert learn_and_score(head, 0.5).prior != found.prior
    assert found.loss.log_score < found.loss.base_log_score + 0.01
    with pytest.raises(BadValue, match="share"):
        learn_and_score(series, 1.0)


@pytest.mark.slow
def test_the_command_learns_from_a_bundled_market() -> None:
    """A trace's name in, scores and the prior as JSON out; a missing file is one message."""
    result = CliRunner().invoke(main, ["aws-gcp-2023", "--share", "0.5"])
    assert result.exit_code == 0, result.output
    assert result.output.startswith("loss: ") and '{"loss":[' in result.output
    wrong = CliRunner().invoke(main, ["nowhere.trace"])
    assert wrong.exit_code == 2 and "nowhere.trace" in wrong.output
