"""`treasury traces`: what it prints, and that mistakes are messages."""

import csv
import io
import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from treasury.cli.traces import cli
from treasury.domain.errors import BadValue, NotFound, TraceError
from treasury_simulations.traces import open_trace

JOBS = "timestamp,duration,num_gpus,gpu_time,cluster\n2017-09-05,60,1,60,a\n2017-09-05,0,1,0,a\n"


def run(*arguments: str) -> Result:
    """Run a verb; what it raises is raised here, as at the root, which prints it."""
    return CliRunner().invoke(cli, list(arguments), catch_exceptions=False, standalone_mode=False)


def raised(*arguments: str) -> BaseException | None:
    """What a verb raises."""
    result = CliRunner().invoke(cli, list(arguments), standalone_mode=False)
    assert result.stdout == ""
    return result.exception


@pytest.fixture
def jobs(tmp_path: Path) -> Path:
    """A source file of jobs."""
    path = tmp_path / "jobs.csv"
    path.write_text(JOBS)
    return path


def test_import_writes_a_trace(jobs: Path, tmp_path: Path) -> None:
    """The trace is where `--out` says; rows and what was left out are counted on stdout."""
    out = tmp_path / "jobs.trace"
    result = run(
        "import",
        "philly_jobs",
        str(jobs),
        "--out",
        str(out),
        "--set",
        "start=2026-01-01",
        "-o",
        "json",
    )
    assert json.loads(result.stdout) == [
        {"rows": "jobs", "count": 1},
        {"rows": "left out: duration not above zero", "count": 1},
    ]
    assert next(open_trace(out).jobs()).id == "philly-00001"
    assert "Reading jobs.csv" in result.stderr


def test_import_names_the_trace_after_the_kind(
    jobs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without `--out` the trace is put here under the kind's name."""
    monkeypatch.chdir(tmp_path)
    assert "philly_jobs.trace: philly-jobs" in run("import", "philly_jobs", str(jobs)).stdout
    assert (tmp_path / "philly_jobs.trace").is_file()


def test_mistakes_are_user_errors(jobs: Path, tmp_path: Path) -> None:
    """Kinds, options, files and names that are not there are errors a person can mend."""
    assert isinstance(raised("import", "philly", str(jobs)), BadValue)
    assert isinstance(raised("import", "philly_jobs", str(jobs), "--set", "limit"), BadValue)
    assert isinstance(raised("import", "philly_jobs", str(jobs), "--set", "speed=1"), BadValue)
    assert isinstance(raised("import", "philly_jobs", str(tmp_path / "no.csv")), TraceError)
    assert isinstance(raised("describe", str(jobs)), TraceError)
    assert isinstance(raised("get", "philly", "--dir", str(tmp_path)), NotFound)


def test_describe_shows_summary_and_pools() -> None:
    """People get the summary with source and licence, then a line for each pool."""
    text = run("describe", "aws-gcp-2023").stdout
    assert "AWS: MIT; GCP: Apache-2.0" in text
    assert "22d 9h" in text
    line = next(line for line in text.splitlines() if "us-east-1a/p3.2xlarge/spot" in line)
    assert "1.5052 USD/h" in line
    assert "11.1 %" in line


def test_describe_gives_programs_one_table() -> None:
    """As CSV or JSON the pools alone are printed, in raw units; a section can be asked for."""
    rows = list(csv.DictReader(io.StringIO(run("describe", "aws-gcp-2023", "-o", "csv").stdout)))
    assert len(rows) == 20
    assert rows[0]["rate_min_nano_usd_h"] == "1505200000"
    assert rows[0]["tenure"] == "spot"
    jobs = json.loads(run("describe", "philly-sample", "-o", "json").stdout)
    assert {"what": "jobs", "value": 240} in jobs
    summary = run("describe", "philly-sample", "--section", "summary", "-o", "json").stdout
    assert {"what": "licence", "value": "CC-BY-4.0"} in json.loads(summary)


def test_describe_draws(tmp_path: Path) -> None:
    """`--plot` writes the picture and says where, on stderr."""
    out = tmp_path / "market.svg"
    result = run("describe", "aws-gcp-2023", "--plot", str(out), "-o", "json")
    assert str(out) in result.stderr
    assert out.read_text().startswith("<svg")
    assert len(json.loads(result.stdout)) == 20


def test_list_shows_samples_downloads_and_kinds() -> None:
    """Everything that can be opened, downloaded or imported is named with its licence."""
    rows = json.loads(run("list", "-o", "json").stdout)
    found = {(row["name"], row["how"]) for row in rows}
    assert ("aws-gcp-2023", "bundled") in found
    assert ("philly-jobs", "download") in found
    assert ("cant_be_late", "import") in found
    assert all(row["licence"] for row in rows if row["how"] != "import")


def test_get_reports_what_is_there(tmp_path: Path) -> None:
    """A file that is already there is checked, pinned and reported with the next step."""
    folder = tmp_path / "philly-jobs"
    folder.mkdir()
    (folder / "philly.csv").write_text(JOBS)
    result = run("get", "philly-jobs", "--dir", str(tmp_path), "-o", "json")
    report = json.loads(result.stdout)[0]
    assert (report["bytes"], report["checksum"], report["downloaded"]) == (
        len(JOBS),
        "first use",
        False,
    )
    assert f"Next: treasury traces import philly_jobs {folder / 'philly.csv'}" in result.stderr
