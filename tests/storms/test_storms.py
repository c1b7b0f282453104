"""Short storms: whatever is drawn, money and machines stay in order."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.mutants import MUTANTS, Mutant
from treasury_simulations.storm.many import Regression, regressions
from treasury_simulations.storm.storm import Verdict, storm

REGRESSIONS = Path(__file__).with_name("regressions.toml")
SEEDS, EACH, HOURS = 200, 10, 2
# Within so many seeds a planted bug has to be found.
FOUND_WITHIN = 200


@pytest.mark.slow
@pytest.mark.parametrize("first", range(0, SEEDS, EACH))
def test_short_storms_break_nothing(first: int):
    """Ten seeds each, two hours of weather and the calm after it."""
    for seed in range(first, first + EACH):
        verdict = storm(seed, HOURS)
        again = f"treasury storm --start {seed} --seeds 1 --hours {HOURS}"
        assert not verdict.violation, f"{verdict.violation}\n{again}"


@pytest.mark.slow
@pytest.mark.parametrize("case", regressions(REGRESSIONS), ids=lambda case: case.what[:40])
def test_what_once_broke_stays_mended(case: Regression):
    """A storm that found a mistake finds it no more."""
    assert not storm(case.seed, case.hours, case.only, case.without).violation


def _find(mutant: Mutant) -> Verdict | None:
    for seed in range(FOUND_WITHIN):
        if mutant.faults:
            verdict = storm(seed, mutant.hours, only=mutant.faults)
        else:
            verdict = storm(seed, mutant.hours)
        if verdict.violation:
            return verdict
    return None


@pytest.mark.slow
@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name.replace(" ", "-"))
def test_planted_bugs_are_found(mutant: Mutant, monkeypatch: pytest.MonkeyPatch):
    """Each mistake that is planted into the daemon breaks something within 200 seeds."""
    mutant.patch(monkeypatch)
    assert _find(mutant) is not None, f"{mutant.name} was not found within {FOUND_WITHIN} seeds"


@pytest.mark.slow
def test_the_same_seed_is_the_same_storm():
    """Every step of a storm is a function of its seed, and another seed has another course."""
    first, second = storm(3, 2, trace=True), storm(3, 2, trace=True)
    assert first == second
    assert first.digest != storm(4, 2, trace=True).digest


@pytest.mark.slow
def test_a_storm_does_not_depend_on_how_python_hashes():
    """Under two hash seeds, in two processes, every step of a storm is the same."""
    line = (
        "from treasury_simulations.storm.storm import storm; print(storm(5, 2, trace=True).digest)"
    )
    digests = {
        subprocess.run(
            [sys.executable, "-c", line],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(digests) == 1 and digests != {"\n"}
