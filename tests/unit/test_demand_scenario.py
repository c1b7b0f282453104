"""From a configuration and traces to a scenario."""

from pathlib import Path

import msgspec
import pytest

from treasury.config import inspect_text, load_config
from treasury.config.settings import Config
from treasury.domain.errors import ConfigError, TraceError
from treasury.domain.market import Tenure
from treasury.domain.time import DAY, HOUR, parse_instant
from treasury_simulations.scenario import build_scenario, offers_of
from treasury_simulations.traces import (
    JobRow,
    MarketRow,
    Provenance,
    TraceHeader,
    make_pool,
    write_trace,
)

START = parse_instant("2023-03-01T00:00:00Z")
SOURCE = Provenance(source="made by hand", licence="CC0-1.0", attribution="nobody")
TEXT = """
[provider.aws]
depth = 6
quota = 9
refusals = 5
[[budget]]
cost_centre = "team"
amount = "10 USD"
[simulation.demand.cost_centres]
"*" = "team"
"""


@pytest.fixture
def market(tmp_path: Path) -> str:
    """A day of two providers with one pool each."""
    header = TraceHeader(
        name="market",
        kinds=("market",),
        provenance=SOURCE,
        start=START,
        end=START + DAY,
        pools=tuple(
            make_pool(provider, "r", "z", "m", "V100", 1, Tenure.SPOT) for provider in ("aws", "b")
        ),
    )
    path = tmp_path / "market.trace"
    write_trace(path, header, [MarketRow(START, 0, 10**9, 1), MarketRow(START, 1, 10**9, 1)])
    return str(path)


@pytest.fixture
def jobs(tmp_path: Path) -> str:
    """Three jobs of 2017, ten hours, and later two days, apart."""
    old = parse_instant("2017-09-04T00:00:00Z")
    rows = [
        JobRow(old + hours * HOUR, f"j{hours}", 1, 1, HOUR, "vc", 0, None) for hours in (0, 10, 58)
    ]
    header = TraceHeader(
        name="jobs", kinds=("jobs",), provenance=SOURCE, start=old, end=old + 3 * DAY
    )
    path = tmp_path / "jobs.trace"
    write_trace(path, header, rows)
    return str(path)


def config(extra: str = "") -> Config:
    """A small configuration with more text behind it."""
    findings = inspect_text(TEXT + extra, "c.toml")
    assert findings.config is not None, findings.errors
    return findings.config


def test_jobs_are_moved_to_the_market_and_those_outside_are_named(market: str, jobs: str) -> None:
    """Jobs of another year begin with the market; those after its end are left out, said so."""
    scenario = build_scenario(config(), market, jobs)
    assert [job.submitted_at - START for job in scenario.jobs] == [0, 10 * HOUR]
    assert scenario.settings.origin == START
    assert scenario.notes == (
        "1 of 3 jobs are submitted outside the market's span",
        "provider b is not configured: plain capabilities are assumed",
    )


def test_providers_take_their_configured_numbers(market: str, jobs: str) -> None:
    """The trace's providers get the configuration's model, unknown ones plain capabilities."""
    markets = build_scenario(config(), market, jobs).markets
    assert list(markets) == ["aws", "b"]
    aws = markets["aws"]
    assert (aws.depth, aws.quota, aws.refusal_per_mille) == (6, 9, 5)
    assert markets["b"].quota == 0


def test_own_jobs_join_those_of_the_trace(market: str, jobs: str) -> None:
    """`[[job]]`s stand beside drawn ones in order of submission; one name twice is an error."""
    own = '[[job]]\nid = "{}"\ncost_centre = "team"\ngpu = "V100"\nwork = "1h"\nsubmit_at = "+5h"'
    scenario = build_scenario(config(own.format("own")), market, jobs)
    assert [job.id for job in scenario.jobs] == ["j0", "own", "j10"]
    with pytest.raises(ConfigError, match='two jobs are called "j10"'):
        build_scenario(config(own.format("j10")), market, jobs)


def test_jobs_that_miss_the_market_are_an_error(market: str, jobs: str) -> None:
    """Without moving them the jobs of 2017 meet no market of 2023, and the message says why."""
    with pytest.raises(ConfigError, match=r"align: none of the 3 jobs .* the market's span"):
        build_scenario(config("[simulation.demand]\nalign = false"), market, jobs)


def test_a_group_nobody_pays_for_is_an_error(market: str, jobs: str) -> None:
    """The message names the setting, the job and the group."""
    bare = inspect_text(TEXT.partition("[simulation")[0], "c.toml").config
    assert bare is not None
    with pytest.raises(ConfigError, match=r"demand\.cost_centres: job j0: group 'vc'"):
        build_scenario(bare, market, jobs)


def test_traces_of_the_wrong_kind_are_refused(market: str, jobs: str) -> None:
    """A jobs trace is no market, a market no jobs trace, and nothing to run is no simulation."""
    with pytest.raises(TraceError, match="holds jobs, but no market"):
        build_scenario(config(), jobs, jobs)
    with pytest.raises(TraceError, match="holds market, but no jobs"):
        build_scenario(config(), market, market)
    with pytest.raises(ConfigError, match=r"simulation\.jobs: is missing"):
        build_scenario(config(), market)
    with pytest.raises(ConfigError, match=r"simulation\.trace: is missing"):
        build_scenario(config())
    with pytest.raises(TraceError, match="no such file"):
        build_scenario(config(), "nowhere", jobs)


def test_the_default_is_a_lab_on_a_real_market() -> None:
    """The embedded configuration gives weeks, ten pools, 200 jobs and three paying cost centres;
    no job asks for machines that nobody sells."""
    scenario = build_scenario(load_config(None))
    offers = offers_of(scenario)
    assert len(offers) >= 10
    assert len(scenario.jobs) >= 200
    assert {job.cost_centre for job in scenario.jobs} == {"research", "product", "students"}
    with_deadline = sum(job.deadline is not None for job in scenario.jobs)
    assert 0.4 < with_deadline / len(scenario.jobs) < 0.6
    assert scenario.notes == ()
    assert all(any(job.requirement.speed(offer) for offer in offers) for job in scenario.jobs)
    assert scenario.markets["aws"].capabilities.floating


def test_the_seed_is_the_scenarios(market: str, jobs: str) -> None:
    """Another seed draws other deadlines for the same jobs."""
    text = "[simulation.demand.deadlines]\nshare = 1\nslack = [1.0, 9.0]"
    one = build_scenario(config(text), market, jobs)
    plain = config(text)
    simulation = msgspec.structs.replace(plain.simulation, seed=2)
    two = build_scenario(msgspec.structs.replace(plain, simulation=simulation), market, jobs)
    assert (one.seed, two.seed) == (0, 2)
    assert [job.id for job in one.jobs] == [job.id for job in two.jobs]
    assert [job.deadline for job in one.jobs] != [job.deadline for job in two.jobs]
