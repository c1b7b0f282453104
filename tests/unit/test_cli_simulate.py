"""`treasury simulate` on a small market: what it writes, prints, replaces and refuses."""

import json
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from treasury.cli.main import run
from treasury.cli.results import MANIFEST, REPORT, read_manifest
from treasury.domain.market import Tenure
from treasury.domain.time import DAY, MINUTE, parse_instant
from treasury.registry import plugins
from treasury.store import SqlStore
from treasury_simulations.record import Comparison, RunRecord
from treasury_simulations.traces import MarketRow, Provenance, TraceHeader, make_pool, write_trace

START = parse_instant("2023-03-01T00:00:00Z")
CONFIG = """
[engine]
tick = "5m"
[provider.aws]
boot = "1m"
[[budget]]
cost_centre = "team"
amount = "100 USD"
[[job]]
id = "a"
cost_centre = "team"
gpu = "V100"
work = "3h"
[[job]]
id = "b"
cost_centre = "team"
gpu = "V100"
work = "2h"
submit_at = "+1h"
deadline = "+6h"
[simulation]
title = "A small one"
strategies = ["greedy", "on_demand"]
"""


@pytest.fixture
def options(tmp_path: Path, require: Callable[[object, str], None]) -> list[str]:
    """A configuration and a day of spot that is away for two hours, beside on-demand."""
    installed = {"greedy", "on_demand"} <= set(plugins("treasury.strategies"))
    require(installed, "treasury's strategies are not installed")
    pools = tuple(
        make_pool("aws", "r", "z", "m", "V100", 1, tenure)
        for tenure in (Tenure.SPOT, Tenure.ON_DEMAND)
    )
    header = TraceHeader(
        name="market",
        kinds=("market",),
        provenance=Provenance(source="by hand", licence="CC0-1.0", attribution="nobody"),
        start=START,
        end=START + DAY,
        depth_kind="count",
        pools=pools,
    )
    rows = [
        MarketRow(START, 0, 10**9, 2),
        MarketRow(START, 1, 3 * 10**9, 9),
        MarketRow(START + 90 * MINUTE, 0, 10**9, 0),
        MarketRow(START + 210 * MINUTE, 0, 10**9, 2),
    ]
    write_trace(tmp_path / "m.trace", header, rows)
    (tmp_path / "c.toml").write_text(CONFIG)
    return ["-c", str(tmp_path / "c.toml"), "--trace", str(tmp_path / "m.trace")]


@pytest.fixture
def _plain_report(monkeypatch: pytest.MonkeyPatch) -> None:
    """The page takes a second to draw, and one test that looks at it is enough."""

    def write(comparison: Comparison, path: Path) -> None:
        path.write_text(comparison.title)

    monkeypatch.setattr("treasury_simulations.report.write_report", write)


def simulate(*arguments: str) -> int:
    """The exit code of the verb with these arguments."""
    with pytest.raises(SystemExit) as leaving:
        run(["simulate", *arguments])
    assert isinstance(leaving.value.code, int)
    return leaving.value.code


def test_strategies_are_compared_and_kept(
    options: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A table of both, a report, a record and a database of each: the same run seen four ways."""
    out = tmp_path / "out"
    assert simulate(*options, "--out", str(out), "-o", "json") == 0
    printed = capsys.readouterr()
    table = json.loads(printed.out)
    assert [row["strategy"] for row in table] == ["greedy", "on_demand"]
    assert printed.err.endswith(f"report: {out / REPORT}\n")
    assert sorted(path.name for path in out.iterdir()) == [
        "greedy.db", "on_demand.db", REPORT, "run-greedy.json", "run-on_demand.json", MANIFEST
    ]  # fmt: skip
    assert "A small one" in (out / REPORT).read_text()
    for name in ("greedy", "on_demand"):
        raw = (out / f"run-{name}.json").read_bytes()
        record = msgspec.json.decode(raw, type=RunRecord)
        assert record.strategy == name
        assert {job.id: job.state for job in record.jobs} == {"a": "finished", "b": "finished"}
        store = SqlStore.open(out / f"{name}.db", read_only=True)
        assert store.last()[1].hex() == record.journal_hash
        store.close()


@pytest.mark.usefixtures("_plain_report")
def test_a_run_can_be_explained(
    options: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The folder that simulate wrote answers `explain`: greedy waited for spot."""
    out = tmp_path / "out"
    assert simulate(*options, "--out", str(out)) == 0
    capsys.readouterr()
    with pytest.raises(SystemExit) as leaving:
        run(["explain", "a", "--db", str(out)])
    assert leaving.value.code == 0
    told = capsys.readouterr().out
    assert f"({out / 'greedy.db'})" in told
    assert "1 interruptions" in told
    assert "aws/r/z/m/spot" in told


@pytest.mark.usefixtures("_plain_report")
def test_a_second_run_replaces_the_first_and_nothing_else(
    options: list[str], tmp_path: Path
) -> None:
    """Our files go, a stranger's stays, and nothing is kept where nothing was asked for."""
    out = tmp_path / "out"
    assert simulate(*options, "--out", str(out)) == 0
    (out / "notes.txt").write_text("mine")
    again = [*options, "--out", str(out), "--strategy", "on_demand", "--store", "memory"]
    assert simulate(*again, "--seed", "7") == 0
    assert sorted(path.name for path in out.iterdir()) == [
        "notes.txt", REPORT, "run-on_demand.json", MANIFEST
    ]  # fmt: skip
    manifest = read_manifest(out)
    assert manifest is not None
    assert (manifest.seed, manifest.strategies) == (7, ("on_demand",))


@pytest.mark.usefixtures("_plain_report")
def test_a_strategy_can_run_against_itself(
    options: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Two tables of one strategy are two rows under their own names, with different outcomes."""
    with (tmp_path / "c.toml").open("a") as file:
        file.write('[strategy.hasty]\nkind = "greedy"\npatience = "0s"\n')
    arguments = [*options, "--out", str(tmp_path / "o"), "--strategy", "greedy,hasty", "-o", "json"]
    assert simulate(*arguments) == 0
    greedy, hasty = json.loads(capsys.readouterr().out)
    assert (greedy["strategy"], hasty["strategy"]) == ("greedy", "hasty")
    assert greedy["paid USD"] != hasty["paid USD"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--strategy", "greedy,gredy"], 'no strategies plug-in is called "gredy"; did you mean'),
        (["--trace", "nowhere"], "nowhere: no such file; bundled samples:"),
        (["--jobs", "aws-gcp-2023"], "aws-gcp-2023: holds market, but no jobs"),
    ],
)
def test_a_mistake_leaves_nothing_behind(
    options: list[str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    message: str,
) -> None:
    """What cannot be run is said before anything is written."""
    out = tmp_path / "out"
    assert simulate(*options, *arguments, "--out", str(out)) == 2
    assert f"error: {message}" in capsys.readouterr().err
    assert not out.exists()


def test_a_folder_of_somebody_else_is_refused(
    options: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A report that no simulation wrote is not overwritten."""
    (tmp_path / REPORT).write_text("precious")
    assert simulate(*options, "--out", str(tmp_path)) == 2
    assert f"{tmp_path / REPORT}: is there and was not written" in capsys.readouterr().err
    assert (tmp_path / REPORT).read_text() == "precious"


@pytest.mark.usefixtures("_plain_report")
def test_the_same_seed_gives_the_same_journal(options: list[str], tmp_path: Path) -> None:
    """Two runs of one configuration agree to the last byte of their journals."""
    hashes = []
    for name in ("one", "two"):
        out = tmp_path / name
        assert simulate(*options, "--out", str(out), "--strategy", "greedy") == 0
        raw = (out / "run-greedy.json").read_bytes()
        hashes.append(msgspec.json.decode(raw, type=RunRecord).journal_hash)
    assert hashes[0] == hashes[1]
