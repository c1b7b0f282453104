"""`treasury validate`: what it says of good files and bad ones, to people and programs."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from treasury.cli.validate import cli
from treasury.config import default_path
from treasury.registry import plugins

BAD = '[engine]\ntick = 195\n\n[[budget]]\ncost_centre = "a"\nparent = "b"\namount = "1 USD"\n'
GOOD = (
    '[[budget]]\ncost_centre = "lab"\namount = "90 USD"\nperiod = "week"\n'
    '[[budget]]\ncost_centre = "team"\nparent = "lab"\namount = "20 USD"\n'
)


def validate(tmp_path: Path, text: str, *options: str) -> Result:
    """The verb's answer about a file with this text."""
    file = tmp_path / "c.toml"
    file.write_text(text)
    return CliRunner().invoke(cli, [str(file), *options])


def test_a_bad_file_is_an_exit_code_and_its_problems(tmp_path: Path) -> None:
    """A person sees one line per problem and how many there are; scripts see 1."""
    result = validate(tmp_path, BAD)
    assert result.exit_code == 1
    first, *_, last = result.output.splitlines()
    assert first.startswith(f"{tmp_path}/c.toml:2: engine.tick: duration 195 cannot be used")
    assert last == "1 problem"


def test_problems_can_be_read_by_programs(tmp_path: Path) -> None:
    """JSON holds file and line, path and problem of each."""
    result = validate(tmp_path, BAD.replace("195", '"195s"'), "-o", "json")
    assert result.exit_code == 1
    assert json.loads(result.output) == [
        {
            "file": f"{tmp_path}/c.toml:6",
            "path": "budget[0].parent",
            "problem": '"b" is no cost centre of this file; known: a',
        }
    ]


def test_a_good_file_is_summed_up(tmp_path: Path) -> None:
    """OK comes with what was understood: amounts, periods and who is under whom."""
    result = validate(tmp_path, GOOD)
    assert result.exit_code == 0
    title, _, lab, team = result.output.splitlines()
    assert title == f"{tmp_path}/c.toml: OK"
    assert lab.split() == ["budget", "lab", "90.00", "USD", "week"]
    assert team.split() == ["budget", "team", "20.00", "USD", "once,", "under", "lab"]


def test_a_strategy_nobody_registered_is_a_problem(tmp_path: Path) -> None:
    """Strategies are looked up although nothing is run."""
    result = validate(tmp_path, '[simulation]\nstrategies = ["oracle"]')
    assert result.exit_code == 1
    assert 'simulation.strategies: no strategies plug-in is called "oracle"' in result.output


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ('patince = "6h"', 'unknown parameter "patince"; did you mean "patience"?'),
        ('patience = "6 hours"', "duration '6 hours' cannot be used"),
        ("patience = 0.5", 'parameter "patience" 0.5 cannot be used: expected `int | null`'),
    ],
)
def test_a_strategys_parameters_are_checked(
    tmp_path: Path, require: Callable[[object, str], None], line: str, problem: str
) -> None:
    """A table that its strategy would not take is a problem of the file, with its path."""
    require("greedy" in plugins("treasury.strategies"), "treasury's strategies are not installed")
    result = validate(tmp_path, f"[strategy.greedy]\n{line}")
    assert result.exit_code == 1
    assert f"strategy.greedy: {problem}" in result.output


def test_a_market_shows_what_cannot_run_on_it(tmp_path: Path) -> None:
    """With --trace a job that no machine fits is named, and the file is still sound."""
    job = '[[job]]\nid = "big"\ncost_centre = "team"\ngpu = "H100"\ngpus = 8\nwork = "1h"\n'
    result = validate(tmp_path, GOOD + job, "--trace", "aws-gcp-2023")
    assert result.exit_code == 0
    assert "note: job big fits no machine of aws-gcp-2023: 1 x 8 of H100" in result.stderr


def test_a_market_that_does_not_match_is_a_problem(tmp_path: Path) -> None:
    """With --trace a deadline that the market's start makes impossible is found."""
    job = (
        '[[job]]\nid = "late"\ncost_centre = "team"\ngpu = "V100"\nwork = "1h"\n'
        'deadline = "2020-01-01"\n'
    )
    result = validate(tmp_path, GOOD + job, "--trace", "aws-gcp-2023")
    assert result.exit_code == 1
    assert "job[0].deadline: 2020-01-01T00:00:00Z is not after the submission" in result.output


def test_the_default_is_what_is_checked_without_a_file(monkeypatch: pytest.MonkeyPatch) -> None:
    """The embedded configuration is summed up; here without asking who registered strategies."""
    monkeypatch.setattr("treasury.bootstrap.strategy_problems", lambda config: ())
    result = CliRunner().invoke(cli)
    assert result.exit_code == 0
    assert result.output.startswith(f"{default_path()}: OK\n")
    assert "students" in result.output
