"""`treasury check`, `quotes` and `traces record` on a market that needs no account: this host's."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from treasury.cli.main import cli
from treasury.domain.errors import BadValue, NotFound, UserError

CONFIG = """
[[budget]]
cost_centre = "lab"
amount = "10 USD"

[provider.here]
kind = "local"
"""


@pytest.fixture
def config(tmp_path: Path) -> str:
    """A configuration with one real market."""
    path = tmp_path / "lab.toml"
    path.write_text(CONFIG)
    return str(path)


def run(*arguments: str, code: int = 0) -> str:
    """What a command prints; its exit code is checked."""
    result = CliRunner().invoke(cli, arguments, obj={"debug": False})
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == code, result.output
    return result.stdout


def test_quotes_shows_each_offer_with_its_price_and_age(config: str) -> None:
    """Every offer of the catalogue has a row, cheapest GPU-hour first."""
    rows = json.loads(run("quotes", "-c", config, "--wait", "5s", "-o", "json"))
    assert {row["provider"] for row in rows} == {"here"}
    rates = [row["rate_nano_usd_h"] for row in rows]
    assert rates == sorted(rates)
    assert all(row["age_ns"] >= 0 for row in rows)
    table = run("quotes", "here", "-c", config, "--tenure", "on_demand", "--limit", "1")
    assert table.splitlines()[0].split()[:4] == ["provider", "region", "zone", "instance"]
    assert len(table.splitlines()) == 2


def test_check_tries_the_calls_and_says_what_works(config: str) -> None:
    """A market without a check of its own is asked what it sells and what it runs."""
    rows = json.loads(run("check", "-c", config, "-o", "json"))
    assert [(row["what"], row["verdict"]) for row in rows] == [
        ("offers", "fine"),
        ("machines", "fine"),
    ]
    assert run("check", "-c", config).startswith("here:\n  fine")


def test_conformance_buys_nothing_unless_an_offer_is_named(config: str) -> None:
    """On a real market the cases that buy are left out, and say so."""
    rows = json.loads(run("check", "-c", config, "--conformance", "-o", "json"))
    outcomes = {row["case"]: row["outcome"] for row in rows}
    assert (outcomes["C01"], outcomes["C02"], outcomes["C23"]) == ("passed",) * 3
    assert outcomes["C03"] == "skipped"
    with pytest.raises(BadValue, match="--conformance"):
        run("check", "-c", config, "--buy", "here/host/a/slot/spot")


def test_a_recording_becomes_a_trace(config: str, tmp_path: Path) -> None:
    """Prices are recorded for a while and merged into a trace that can be described."""
    out = tmp_path / "rec"
    told = run("traces", "record", "-c", config, "--for", "1s", "--out", str(out))
    assert "1 segments" in told
    segments = [str(path) for path in out.iterdir()]
    run("traces", "merge", *segments, "--out", str(tmp_path / "all.trace"))
    rows = json.loads(run("traces", "describe", str(tmp_path / "all.trace"), "-o", "json"))
    assert {row["pool"].split("/")[0] for row in rows} == {"here"}
    with pytest.raises(BadValue, match="--segment"):
        run("traces", "record", "-c", config, "--segment", "1s")


def test_a_configuration_without_real_markets_says_so(tmp_path: Path, config: str) -> None:
    """An unknown name gets the nearest one; the embedded configuration has nothing to ask."""
    with pytest.raises(NotFound, match='did you mean "here"'):
        run("check", "heer", "-c", config)
    with pytest.raises(UserError, match="is of a real market"):
        run("quotes")
