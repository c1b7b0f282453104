"""The grid: overrides, seeds, axes, and what a cell's identity depends on."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.sweeps import small_grid, write_small
from treasury.domain.errors import BadValue, ConfigError, UserError
from treasury.domain.time import MINUTE
from treasury_simulations.sweep.cells import HINDSIGHT
from treasury_simulations.sweep.grid import parse_seeds, scenario_grid, variants_of
from treasury_simulations.sweep.overrides import Override, Template, parse_override


@pytest.mark.parametrize(
    ("text", "path", "values"),
    [
        ("strategy.greedy.patience=1h,6h", "strategy.greedy.patience", ("1h", "6h")),
        ("provider.aws.bids = true", "provider.aws.bids", ("true",)),
        ("a.b=[1, 2],[3, 4]", "a.b", ("[1, 2]", "[3, 4]")),
        ('a.b={ x = 1, y = 2 },"p, q"', "a.b", ("{ x = 1, y = 2 }", '"p, q"')),
        ("a.b=1,1,2", "a.b", ("1", "2")),
    ],
)
def test_overrides_are_read(text: str, path: str, values: tuple[str, ...]) -> None:
    """Values are parted at commas outside of lists, tables and texts; equal ones count once."""
    assert parse_override(text) == Override(path, values)


@pytest.mark.parametrize("text", ["", "a.b", "a=1", "a.b=", "a..b=1", "=1", "a.b=,"])
def test_what_is_no_override_is_said(text: str) -> None:
    """Without a dotted key and a value there is nothing to set."""
    with pytest.raises(BadValue, match="KEY=VALUE"):
        parse_override(text)


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(0, 5)), min_size=1, max_size=4))
def test_seeds_are_the_union_of_their_ranges(ranges: list[tuple[int, int]]) -> None:
    """Numbers and ranges in any order give each seed once."""
    text = ",".join(f"{low}-{low + more}" if more else str(low) for low, more in ranges)
    expected = {seed for low, more in ranges for seed in range(low, low + more + 1)}
    found = parse_seeds(text)
    assert (set(found), len(found)) == (expected, len(expected))


@pytest.mark.parametrize("text", ["", "x", "5-1", "-3", "1-", "1--2", "1.5", "0-99999"])
def test_what_are_no_seeds_is_said(text: str) -> None:
    """Reversed, empty, negative and endless ranges are a slip of the finger."""
    with pytest.raises(BadValue, match="--seeds"):
        parse_seeds(text)


def test_the_grid_is_the_product_of_its_axes(tmp_path: Path) -> None:
    """Variants x world keys x seeds, each cell once; only what varies is an axis."""
    overrides = [
        Override("strategy.greedy.patience", ("1h", "6h")),
        Override("provider.aws.boot", ("1m", "5m", "9m")),
    ]
    grid = small_grid(tmp_path, overrides=overrides, seeds=(1, 2))
    labels = [variant.label for variant in grid.variants]
    assert labels == ["greedy patience=1h", "greedy patience=6h", "on_demand", HINDSIGHT]
    assert len({cell.id for cell in grid.cells}) == len(grid.cells) == 4 * 3 * 2
    assert grid.axes == ("provider.aws.boot", "seed")
    assert grid.variants[1].parameters == {"patience": "6h"}


def test_an_identity_depends_on_what_decides_the_numbers_alone(tmp_path: Path) -> None:
    """Titles, other strategies, the bound's step and the file's place leave cells as they are; the
    seed, a key and the market's content do not."""
    grid = small_grid(tmp_path, seeds=[1])
    greedy = grid.cells[0].id
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    assert small_grid(elsewhere, seeds=[1], strategies=["greedy"]).cells[0].id == greedy
    assert small_grid(tmp_path, seeds=[1], bound=MINUTE).cells[0].id == greedy
    config = write_small(tmp_path)
    config.write_text(config.read_text().replace("A small one", "Another title"))
    assert greedy_over(config) == greedy
    config.write_text(config.read_text().replace('work = "3h"', 'work = "4h"'))
    assert greedy_over(config) != greedy
    assert small_grid(tmp_path, seeds=[2]).cells[0].id != greedy
    assert greedy_over(write_small(tmp_path)) == greedy
    assert greedy_over(write_small(tmp_path, rate=1_200_000_001)) != greedy


def greedy_over(config: Path) -> str:
    """The identity of greedy over a configuration as it stands."""
    return scenario_grid(Template(config), strategies=["greedy"], seeds=[1]).cells[0].id


def test_mistakes_are_found_before_anything_runs(tmp_path: Path) -> None:
    """A key that is not there, a value that does not fit, a parameter of nobody's."""
    with pytest.raises(ConfigError, match=r"provider\.aws\.bot"):
        small_grid(tmp_path, overrides=[Override("provider.aws.bot", ("1m",))])
    with pytest.raises(ConfigError, match="boot"):
        small_grid(tmp_path, overrides=[Override("provider.aws.boot", ("soon",))])
    with pytest.raises(UserError, match="patienc"):
        small_grid(tmp_path, overrides=[Override("strategy.greedy.patienc", ("1h",))])
    with pytest.raises(BadValue, match="a strategy that is swept"):
        small_grid(tmp_path, overrides=[Override("strategy.optimal.patience", ("1h",))])
    with pytest.raises(BadValue, match="the rest is published"):
        variants_of(Template(write_small(tmp_path)), ["greedy"], [Override("engine.tick", ("1m",))])
