"""What a sound configuration means: units, defaults, offsets, and the shipped example."""

import re
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from treasury.config import Config, default_path, inspect_text, load_config
from treasury.config.reader import find_line
from treasury.config.sections import BudgetSection, EngineSection, FileSection
from treasury.domain.budget import Budget, Mode, Period, Window
from treasury.domain.errors import ConfigError
from treasury.domain.ids import CostCentre
from treasury.domain.market import Capabilities, Tenure
from treasury.domain.money import MICRO, NANO
from treasury.domain.settings import EngineSettings
from treasury.domain.time import DAY, HOUR, MINUTE, SECOND, parse_instant

TEAM = '[[budget]]\ncost_centre = "team"\namount = "10 USD"\n'


def sound(text: str) -> Config:
    """The settings of a text that has no problem."""
    findings = inspect_text(text, "c.toml")
    assert findings.errors == ()
    assert findings.config is not None
    return findings.config


def test_nothing_means_the_defaults() -> None:
    """An empty file is a sound one: the engine's own defaults, no budgets, providers or jobs."""
    config = sound("")
    assert config.engine == EngineSettings()
    assert (config.budgets, config.providers, config.strategies, config.jobs) == ((), {}, {}, ())


def test_a_budget_says_what_it_means_in_integers() -> None:
    """Every key of a budget reaches the guard in its unit."""
    text = """
    [provider.aws]
    [[budget]]
    cost_centre = "lab"
    amount = "1_000.50 USD"
    [[budget]]
    cost_centre = "team"
    parent = "lab"
    amount = "250 USD"
    period = "week"
    job_cap = "90 USD"
    burn_cap = "12 USD/h"
    front_load = 0.1
    reserve = "20 USD"
    reserve_priority = 2
    ceiling = "2.10 USD/h"
    providers = ["aws"]
    tenures = ["spot", "owned"]
    windows = [{ days = ["fri", "mon"], hours = "08-20" }, { hours = "00-06" }]
    """
    lab, team = sound(text).budgets
    assert lab == Budget(cost_centre=CostCentre("lab"), amount=1_000_500_000)
    assert team == Budget(
        cost_centre=CostCentre("team"),
        parent=CostCentre("lab"),
        amount=250 * MICRO,
        period=Period.WEEK,
        job_cap=90 * MICRO,
        burn_cap=12 * NANO,
        front_load=100,
        reserve=20 * MICRO,
        reserve_priority=2,
        ceiling=2_100_000_000,
        providers=("aws",),
        tenures=(Tenure.SPOT.value, Tenure.OWNED.value),
        windows=(Window((0, 4), 8, 20), Window((0, 1, 2, 3, 4, 5, 6), 0, 6)),
    )


def test_periods_soft_limits_loans_and_modes_reach_the_guard() -> None:
    """The keys of budgets that are not simply a hard amount in UTC."""
    text = """
    [[budget]]
    cost_centre = "lab"
    amount = "100 USD"
    period = "fixed"
    starts_at = 2026-01-01
    ends_at = "2026-07-01T00:00:00Z"
    mode = "observe"
    [[budget]]
    cost_centre = "a"
    parent = "lab"
    amount = "10 USD"
    period = "rolling"
    window = "30d"
    borrow = "5 USD"
    soft = 0.8
    [[budget]]
    cost_centre = "b"
    parent = "lab"
    amount = "10 USD"
    period = "month"
    zone = "Europe/Berlin"
    carry = 0.5
    day_cap = "2 USD"
    approve_above = "4 USD"
    """
    lab, a, b = sound(text).budgets
    assert (lab.period, lab.mode) == (Period.FIXED, Mode.OBSERVE)
    assert lab.starts_at == parse_instant("2026-01-01T00:00:00Z")
    assert lab.ends_at == parse_instant("2026-07-01T00:00:00Z")
    assert (a.period, a.window, a.borrow, a.soft) == (Period.ROLLING, 30 * DAY, 5 * MICRO, 800)
    assert (b.zone, b.carry, b.day_cap) == ("Europe/Berlin", 500, 2 * MICRO)
    assert (b.approve_above, b.mode) == (4 * MICRO, Mode.ENFORCE)


def test_every_field_of_the_domain_can_be_configured() -> None:
    """Budgets and engine settings have no field that a file cannot set."""
    assert fields(Budget) == fields(BudgetSection)
    # Where the grid begins is the market's first instant.
    assert fields(EngineSettings) - {"origin"} == fields(EngineSection)


def fields(kind: type[msgspec.Struct]) -> set[str]:
    """The names of a Struct's fields."""
    return {field.name for field in msgspec.structs.fields(kind)}


def test_a_budget_of_nothing_is_sound() -> None:
    """A cost centre that may spend nothing is a decision, not a mistake."""
    (budget,) = sound('[[budget]]\ncost_centre = "frozen"\namount = "0 USD"').budgets
    assert budget.amount == 0


def test_a_provider_is_its_numbers() -> None:
    """Durations arrive in nanoseconds, what is left out keeps the domain's default."""
    text = '[provider.aws]\nnotice = "2m"\nbids = true\ndepth = 6\nrefusals = 20\nquota = 64'
    provider = sound(text).providers["aws"]
    assert provider.capabilities == Capabilities(notice_ns=2 * MINUTE, bids=True)
    assert (provider.depth, provider.refusal_per_mille, provider.quota) == (6, 20, 64)


def test_a_strategy_table_is_handed_on_as_it_is() -> None:
    """`kind` names the class, everything else is the class's own business."""
    config = sound('[strategy.calm]\nkind = "greedy"\npatience = "6h"\nshare = 0.25')
    assert config.strategies["calm"].kind == "greedy"
    assert config.strategies["calm"].parameters == {"patience": "6h", "share": 0.25}
    assert sound("[strategy.greedy]").strategies["greedy"].kind == "greedy"


def test_offsets_count_from_the_start_and_from_the_submission() -> None:
    """A job's offsets become instants once a simulation's start is known."""
    job = '[[job]]\nid = "a"\ncost_centre = "team"\ngpu = "v100"\nwork = "12h"\n'
    config = sound(TEAM + job + 'submit_at = "+6h"\ndeadline = "+52h"')
    start = parse_instant("2023-02-15T00:00:00Z")
    (spec,) = config.job_specs(start)
    assert spec.submitted_at == start + 6 * HOUR
    assert spec.deadline == start + 58 * HOUR
    assert spec.requirement.throughput == {"V100": 1_000}


def test_instants_are_text_or_dates_of_toml() -> None:
    """Four ways to write one instant, with and without a zone, mean the same."""
    job = '[[job]]\nid = "a"\ncost_centre = "team"\ngpu = "V100"\nwork = "12h"\nsubmit_at = '
    instants = {
        sound(TEAM + job + written).job_specs(0)[0].submitted_at
        for written in (
            '"2026-03-01T00:00:00Z"',
            "2026-03-01T01:00:00+01:00",
            "2026-03-01T00:00:00",
            "2026-03-01",
        )
    }
    assert instants == {parse_instant("2026-03-01T00:00:00Z")}


def test_a_deadline_before_an_offset_submission_is_found_at_the_start() -> None:
    """What cannot be compared in the file is compared when the start is known."""
    job = '[[job]]\nid = "a"\ncost_centre = "team"\ngpu = "V100"\nwork = "1h"\n'
    config = sound(TEAM + job + 'submit_at = "+1d"\ndeadline = "2026-03-01"')
    start = parse_instant("2026-03-01T00:00:00Z")
    assert config.job_specs(start - 2 * DAY)[0].deadline == start
    with pytest.raises(ConfigError, match=r"job\[0\]\.deadline.*not after the submission"):
        config.job_specs(start)


@given(ns=st.integers(1, 10**15), unit=st.sampled_from([("ns", 1), ("s", SECOND), ("h", HOUR)]))
def test_a_duration_is_what_its_text_says(ns: int, unit: tuple[str, int]) -> None:
    """Any whole number of any unit arrives exactly."""
    count = max(1, ns // unit[1])
    assert sound(f'[engine]\nquarantine = "{count}{unit[0]}"').engine.quarantine == count * unit[1]


@given(micros=st.integers(0, 10**15))
def test_money_is_exact_to_the_micro_dollar(micros: int) -> None:
    """No amount passes through a float."""
    text = f'[[budget]]\ncost_centre = "a"\namount = "{micros // MICRO}.{micros % MICRO:06d} USD"'
    assert sound(text).budgets[0].amount == micros


_LEAVES = st.one_of(
    st.integers(), st.floats(), st.booleans(), st.text(max_size=8), st.dates(), st.just([])
)


def toml(value: Any) -> str:
    """A leaf as TOML writes it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return '"' + "".join(f"\\u{ord(c):04x}" if ord(c) < 0x10000 else "?" for c in value) + '"'
    return str(value)


@given(
    section=st.sampled_from(["engine", "provider.x", "simulation", "simulation.demand"]),
    key=st.sampled_from(sorted({"tick", "kind", "depth", "notice", "seed", "trace", "limit"})),
    value=_LEAVES,
)
def test_no_value_of_any_key_ends_in_a_traceback(section: str, key: str, value: Any) -> None:
    """Whatever stands behind a key is taken, or refused with a message that names the key."""
    findings = inspect_text(f"[{section}]\n{key} = {toml(value)}", "c.toml")
    assert (findings.config is None) == bool(findings.errors)
    assert all(key in str(error) or "TOML" in str(error) for error in findings.errors)


def test_the_example_is_the_default_and_sound() -> None:
    """Without a file the shipped example is used, which binds three cost centres under one."""
    config = load_config(None)
    assert config == load_config(default_path())
    assert Path(config.file).name == "config.example.toml"
    parents = {budget.cost_centre: budget.parent for budget in config.budgets}
    assert sorted(parent for parent in parents.values() if parent) == ["lab", "lab", "lab"]
    expected = ("on_demand", "greedy", "uniform_progress", "deadline", "optimal")
    assert config.simulation.strategies == expected


def test_the_example_writes_every_key_and_its_unused_lines_are_right() -> None:
    """Each key of each section is set in the example, in use or as a line that can be uncommented;
    with all of them uncommented the example is still sound."""
    text = default_path().read_text(encoding="utf-8")
    everything = re.sub(r"(?m)^#\| ?", "", text)
    assert everything != text
    sound(everything)
    written = set(re.findall(r"(?m)(?:^|[{,] ?)\"?([\w*]+)\"? = ", everything))
    for header in re.findall(r"(?m)^\[+([\w.]+)\]", everything):
        written |= set(header.split("."))
    missing = sorted(name for name in names(FileSection) if name not in written)
    assert missing == []


def names(kind: Any) -> set[str]:
    """Every key of a section and of the sections in it."""
    found: set[str] = set()
    for part in [kind, *getattr(kind, "__args__", ())]:
        if isinstance(part, type) and issubclass(part, msgspec.Struct):
            for field in msgspec.structs.fields(part):
                found |= {field.name} | names(field.type)
        elif part is not kind:
            found |= names(part)
    return found


def test_a_line_is_found_where_the_key_stands() -> None:
    """Headers are counted, quoted keys and sub-tables followed, and what is not there is None."""
    text = (
        '[[budget]]\namount = 1\n[[budget]]\namount = 2\n\n[a."b c".d]\nx = 3\nlist = [\n  1,\n]\n'
    )
    assert find_line(text, "budget[0].amount") == 2
    assert find_line(text, "budget[1].amount") == 4
    assert find_line(text, "budget[1]") == 3
    assert find_line(text, 'a."b c".d.x') == 7
    assert find_line(text, 'a."b c".d.list[0]') == 8
    assert find_line(text, "engine.tick") is None
    assert find_line(text, "") is None
