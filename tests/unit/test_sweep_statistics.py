"""Statistics of a sweep: pairs, blocks, intervals that cover, and figures by hand."""

import numpy as np
import pytest

from treasury.domain.errors import BadValue
from treasury.domain.time import HOUR
from treasury_simulations.sweep.cells import HINDSIGHT, Row
from treasury_simulations.sweep.statistics import (
    BLOCK,
    BLOCKS_MIN,
    baseline_of,
    facets,
    regrets,
    summarise,
)
from treasury_simulations.sweep.tables import notes, summary_table


def row(
    variant: str, case: str, cost: int, *, start: int | None = None, block: str = "", **more: int
) -> Row:
    """A row of a made-up sweep."""
    return Row(
        cell=f"{variant}/{case}",
        variant=variant,
        case=case,
        axes={"case": case},
        block=block or case,
        start=start,
        cost=cost,
        **more,
    )


def test_figures_are_those_computed_by_hand() -> None:
    """Mean, difference, gap and regret of two cases; one that is incomplete is left out."""
    rows = [
        *(row("base", "1", 100), row("good", "1", 80, jobs=2, finished=2, late=1)),
        *(row("base", "2", 200), row("good", "2", 130, jobs=2, finished=1)),
        *(row(HINDSIGHT, "1", 60), row(HINDSIGHT, "2", 90), row("base", "3", 1_000_000)),
    ]
    found = summarise(rows, ["base", "good", HINDSIGHT], "base")
    base, good = found.figures
    assert (found.cases, found.incomplete, found.blocks) == (2, 1, 2)
    assert (base.cost.value, good.cost.value) == (150, 105)
    assert base.versus is None and base.gap is None
    assert good.versus is not None and good.versus.value == pytest.approx(-0.3)
    assert good.gap is not None and good.gap.value == pytest.approx(0.6)
    assert good.regret is not None and good.regret.value == pytest.approx(0.4)
    assert (good.jobs, good.finished, good.late) == (4, 3, 1)
    assert regrets(rows, ["base", "good", HINDSIGHT])["good"] == pytest.approx([1 / 3, 4 / 9])


def test_order_of_rows_changes_nothing_but_ties() -> None:
    """However rows come in, estimates and intervals are the same to the last bit of a sum."""
    dice = np.random.Generator(np.random.PCG64(3))
    rows = [
        row(name, str(case), int(dice.integers(50, 150)), start=case * HOUR)
        for case in range(200)
        for name in ("a", "b")
    ]
    shuffled = [rows[i] for i in dice.permutation(len(rows))]
    one, other = (summarise(some, ["a", "b"], "a") for some in (rows, shuffled))
    assert [f.cost for f in one.figures] == [pytest.approx(f.cost) for f in other.figures]


def series(dice: np.random.Generator, length: int) -> list[float]:
    """Hours that resemble the hours before them: an autoregression of mean 100."""
    values, level = [], 0.0
    for _ in range(length):
        level = 0.95 * level + float(dice.normal(0, 5))
        values.append(100 + level)
    return values


@pytest.mark.slow
def test_blocks_cover_where_single_cases_do_not() -> None:
    """On dependent cases the block interval holds the truth about as often as it says; one that
    takes each case for independent does so half as often."""
    covered = {60: 0, 1: 0}
    runs = 25
    for run in range(runs):
        dice = np.random.Generator(np.random.PCG64(run))
        rows = [
            row("a", str(hour), round(1_000 * cost), start=hour * HOUR)
            for hour, cost in enumerate(series(dice, 1_000))
        ]
        for hours in covered:
            cost = summarise(rows, ["a"], "a", block=hours * HOUR).figures[0].cost
            assert cost.low is not None and cost.high is not None
            covered[hours] += cost.low <= 100_000 <= cost.high
    assert covered[60] >= 0.8 * runs
    assert covered[1] <= 0.5 * runs


def test_pairs_are_told_apart_where_means_are_not() -> None:
    """A constant difference is seen through any spread of the cases."""
    dice = np.random.Generator(np.random.PCG64(1))
    rows = []
    for case in range(40):
        cost = int(dice.integers(1_000, 100_000))
        rows += [row("base", str(case), cost), row("less", str(case), cost * 9 // 10)]
    _, less = summarise(rows, ["base", "less"], "base").figures
    assert less.versus is not None and less.versus.low is not None
    assert less.versus.high is not None and less.versus.high < -0.099
    assert less.cost.low is not None and less.cost.low < 0.9 * less.cost.value


def test_seeds_are_drawn_as_blocks() -> None:
    """Many cases of one seed are one observation: with a single seed there is no interval."""
    one = [row("a", str(case), case, block="seed 1") for case in range(50)]
    found = summarise(one, ["a"], "a")
    assert found.figures[0].cost.low is None
    assert "too few for intervals" in notes(found)[-1]
    two = [row("a", str(case), case, block=f"seed {case % 2}") for case in range(50)]
    assert summarise(two, ["a"], "a").blocks == 2
    assert "too few to be trusted" in notes(summarise(two, ["a"], "a"))[-1]


def test_short_recordings_are_owned_up_to() -> None:
    """Where the starts span little time, the stretches are shorter than a case, and it is said."""
    rows = [row("a", str(hour), hour + 1, start=hour * HOUR) for hour in range(80)]
    short = summarise(rows, ["a"], "a")
    assert short.block is not None and short.block < BLOCK
    assert short.blocks == BLOCKS_MIN
    assert "narrower than they should be" in notes(short)[-1]
    rows = [row("a", str(hour), hour + 1, start=hour * HOUR) for hour in range(0, 1_000, 5)]
    assert summarise(rows, ["a"], "a").block == BLOCK


def test_the_baseline_is_a_variant() -> None:
    """The usual yardstick where it was swept, else the first; hindsight is none."""
    assert baseline_of(["greedy", "on_demand", "uniform_progress"]) == "uniform_progress"
    assert baseline_of(["greedy", "on_demand"]) == "on_demand"
    assert baseline_of([HINDSIGHT, "greedy"]) == "greedy"
    assert baseline_of(["greedy", "optimal"], "optimal") == "optimal"
    with pytest.raises(BadValue, match="greedy"):
        baseline_of(["greedy"], "gredy")


def test_facets_are_few_and_neither_time_nor_luck() -> None:
    """Charts are split by keys with a handful of values, at most two of them."""
    axes = [
        {"seed": str(i % 3), "trace": str(i % 2), "boot": str(i % 4), "x": str(i), "y": str(i % 5)}
        for i in range(60)
    ]
    rows = [
        Row(cell=str(i), variant="a", case=str(i), axes=found, block="", start=None, cost=1)
        for i, found in enumerate(axes)
    ]
    assert facets(rows, ("seed", "trace", "x", "boot", "y")) == ["trace", "boot"]


def test_a_table_without_results_is_empty() -> None:
    """Nothing finished yet is no mistake."""
    found = summarise([row("a", "1", 5)], ["a", "b"], "a")
    assert (found.cases, found.incomplete, summary_table(found)[1]) == (0, 1, [])
