"""`treasury sweep` and `treasury report sweep` as a person uses them."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.sweeps import write_small
from treasury.cli.main import run
from treasury.registry import plugins
from treasury_simulations.sweep.results import MANIFEST, REPORT, RUNS

Treasury = Callable[..., tuple[int, str, str]]


@pytest.fixture
def treasury(
    capsys: pytest.CaptureFixture[str], require: Callable[[object, str], None]
) -> Treasury:
    """Runs a command line: exit code, stdout, stderr."""
    installed = {"greedy", "on_demand"} <= set(plugins("treasury.strategies"))
    require(installed, "treasury's strategies are not installed")

    def call(*arguments: object) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as left:
            run([str(argument) for argument in arguments])
        out, err = capsys.readouterr()
        assert isinstance(left.value.code, int)
        return left.value.code, out, err

    return call


def options(folder: Path, out: Path) -> list[object]:
    """A sweep of two strategies, one with two patiences, three seeds and the bound."""
    return [
        *("sweep", "-c", write_small(folder), "--strategy", "greedy,on_demand"),
        *("--set", "strategy.greedy.patience=1h,6h", "--seeds", "1-3", "--bound", "30m"),
        *("--out", out, "--workers", 1, "--chunk", 6, "-o", "json"),
    ]


def test_a_sweep_its_continuation_and_its_report(treasury: Treasury, tmp_path: Path) -> None:
    """A sweep prints its table, stops where there are results, goes on, and becomes a page."""
    out = tmp_path / "out"
    code, printed, said = treasury(*options(tmp_path, out))
    assert code == 0, said
    table = json.loads(printed)
    labels = ["greedy patience=1h", "greedy patience=6h", "on_demand"]
    assert [line["strategy"] for line in table] == labels
    assert all(line["finished / jobs"] == "6 / 6" for line in table)
    assert "12 runs, 0 of them done" in said and "intervals stand on 3 seeds" in said
    assert len((out / RUNS).read_bytes().splitlines()) == 12
    code, _, said = treasury(*options(tmp_path, out))
    assert code == 2 and "--resume goes on" in said
    code, again, said = treasury(*options(tmp_path, out), "--resume")
    assert (code, again) == (0, printed) and "12 of them done" in said
    code, reported, said = treasury("report", "sweep", out, "-o", "json")
    assert (code, reported) == (0, printed) and str(out / REPORT) in said
    page = (out / REPORT).read_text(encoding="utf-8")
    assert page.startswith("<!doctype html>")
    for heading in ("Cost against the bound", "Regret", "Savings and lateness", *labels):
        assert heading in page
    code, other, _ = treasury("report", "sweep", out, "--baseline", labels[0], "-o", "json")
    assert code == 0 and json.loads(other)[0]["vs baseline"] is None
    assert (out / MANIFEST).exists()


@pytest.mark.parametrize(
    ("more", "problem"),
    [
        (["--seeds", "3-1"], "--seeds '3-1' cannot be used"),
        (["--set", "patience=1h"], "KEY=VALUE"),
        (["--traces", "nowhere"], "nowhere: no such file"),
        (["--engine", "dask", "--address", "x"], "--engine ray beside it"),
        (["--baseline", "greedly"], 'did you mean "greedy"'),
        (["--strategy", "greedly"], 'did you mean "greedy"'),
        (["--family", "cant_be_late"], "needs --data"),
        (["--sample", "3"], "go with --family"),
        (["--bound", "soon"], "soon"),
    ],
)
def test_mistakes_are_one_line(
    treasury: Treasury, tmp_path: Path, more: list[str], problem: str
) -> None:
    """Each mistake is said in words before anything is run or written."""
    out = tmp_path / "out"
    base = ["sweep", "-c", write_small(tmp_path), "--strategy", "greedy", "--out", out]
    code, printed, said = treasury(*base, *more)
    assert (code, printed) == (2, "")
    assert problem in said and "Traceback" not in said
    assert not out.exists()


def test_a_folder_without_a_sweep_has_no_report(treasury: Treasury, tmp_path: Path) -> None:
    """The message says which folder is meant."""
    code, _, said = treasury("report", "sweep", tmp_path)
    assert code == 2 and "the folder that `treasury sweep` wrote" in said
