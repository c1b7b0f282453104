"""`treasury plan` and the prices of `treasury explain`, on a small simulated run."""

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from treasury.cli.explain import cli as explain
from treasury.cli.main import run
from treasury.cli.plan import cli as plan
from treasury.domain.market import Tenure
from treasury.domain.time import DAY, HOUR, MINUTE, format_instant, parse_instant
from treasury_simulations.traces import MarketRow, Provenance, TraceHeader, make_pool, write_trace

START = parse_instant("2023-03-01T00:00:00Z")
# An hour in, four jobs want the two cheap machines and the one dear one.
BUSY = format_instant(START + HOUR)
CONFIG = """
[engine]
tick = "5m"
[provider.aws]
[provider.gcp]
[[budget]]
cost_centre = "lab"
amount = "500 USD"
[[budget]]
cost_centre = "research"
parent = "lab"
amount = "60 USD"
[[budget]]
cost_centre = "poor"
parent = "lab"
amount = "5 USD"
[[job]]
id = "a"
cost_centre = "research"
gpu = "V100"
work = "9h"
priority = 1
[[job]]
id = "b"
cost_centre = "research"
gpu = "V100"
work = "9h"
[[job]]
id = "c"
cost_centre = "research"
gpu = "V100"
work = "9h"
submit_at = "+59m"
[[job]]
id = "d"
cost_centre = "poor"
gpu = "V100"
work = "3h"
submit_at = "+59m"
[simulation]
strategies = ["optimal"]
"""


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a simulation: two pools of spot at two providers, and on-demand."""
    folder = tmp_path_factory.mktemp("plan")
    pools = (
        make_pool("aws", "r", "z", "m", "V100", 1, Tenure.SPOT),
        make_pool("gcp", "r", "z", "m", "V100", 1, Tenure.SPOT),
        make_pool("aws", "r", "z", "m", "V100", 1, Tenure.ON_DEMAND),
    )
    provenance = Provenance(source="by hand", licence="CC0-1.0", attribution="nobody")
    header = TraceHeader(
        name="market",
        kinds=("market",),
        provenance=provenance,
        start=START,
        end=START + DAY,
        depth_kind="count",
        pools=pools,
    )
    rows = [
        MarketRow(START, 0, 10**9, 2),
        MarketRow(START, 1, 2 * 10**9, 0),
        MarketRow(START, 2, 3 * 10**9, 9),
        MarketRow(START + 2 * HOUR, 1, 2 * 10**9, 1),
    ]
    write_trace(folder / "m.trace", header, rows)
    (folder / "c.toml").write_text(CONFIG)
    result = folder / "out"
    options = ["-c", str(folder / "c.toml"), "--trace", str(folder / "m.trace")]
    with pytest.raises(SystemExit) as leaving:
        run(["simulate", *options, "--strategy", "optimal,greedy", "--out", str(result)])
    assert leaving.value.code == 0
    return result


def ask(out: Path, *options: str, at: str = BUSY) -> Result:
    """The verb's answer about the run."""
    return CliRunner().invoke(plan, ["--run", str(out), "--at", at, *options])


def asked(out: Path, *options: str, at: str = BUSY) -> Any:
    """The same as JSON."""
    answer = ask(out, "--json", *options, at=at)
    assert answer.exit_code == 0, answer.output
    return json.loads(answer.output)


def test_the_first_plan_is_shown_before_it_is_carried_out(out: Path) -> None:
    """At the first tick the strategy whose database it is would take both machines for the jobs
    that are there, at the market's rate, and asks for what was then asked for."""
    first = format_instant(START)
    told = asked(out, at=first)
    assert (told["strategy"], told["at"]) == ("optimal", first)
    rows = {row["job"]: row for row in told["jobs"]}
    for job in "ab":
        assert rows[job]["does"] == "takes" and rows[job]["rate"] == 10**9
        assert rows[job]["offer"] == "aws/r/z/m/spot" and rows[job]["bid"] == 3 * 10**9
    table = ask(out, at=first).output
    assert table.startswith(f"What optimal would do at {first} ({out / 'optimal.db'})")
    assert "takes         1  aws/r/z/m/spot  1.0000 USD/h  3.0000 USD/h" in table
    assert "0 stay where they are, 0 wait" in table


def test_why_names_the_price_each_job_lost_to(out: Path) -> None:
    """An hour in, one job waits for a machine and one for money: each hears which, and the scarce
    pool is listed with its price."""
    told = ask(out, "--why")
    assert told.exit_code == 0, told.output
    assert "2 stay where they are, 2 wait" in told.output
    assert "c: by prices it waits: aws/r/z/m/spot at 1.0000 USD/h would gain" in told.output
    assert "but the machines gain" in told.output and "with a, b" in told.output
    assert "d: by prices it waits: aws/r/z/m/spot needs 6.00 USD held" in told.output
    assert "and poor has 5.00 USD: 1.00 USD more would do" in told.output
    assert "one more of aws/r/z/m/spot is worth" in told.output
    reasons = {row["job"]: row for row in asked(out, "--why")["optimizer"]["jobs"]}
    (offer,) = reasons["c"]["offers"]
    assert offer["left"] == offer["worth"] - sum(offer["scarce"].values())
    # A machine is worth 2.75 more to it than the market asks, and as much to who has it.
    assert abs(offer["left"]) <= 1 and offer["pays_up_to"] == 3_750_000_000


def test_counterfactuals_say_what_would_be_different(out: Path) -> None:
    """A budget, a price cap and a provider that is gone, alone and together."""
    # At two hours the dearer pool has a machine, which the job that waits takes.
    later = format_instant(START + 2 * HOUR)
    gone = asked(out, "--without", "aws", at=later)["what_if"]
    assert sorted(gone["stopped"]) == ["b", "c"] and gone["moved"] == ["a"]
    assert gone["after"]["placed"] == 1 and gone["after"]["gain"] < gone["before"]["gain"]
    assert gone["after"]["cost_per_hour"] == 2_000_000
    cap = asked(out, "--price-cap", "1.50USD/h", at=later)["what_if"]
    assert len(cap["stopped"]) == 1 and cap["after"]["cost_per_hour"] == 2_000_000
    assert cap["asked"] == ["no machine costs more than 1.5000 USD/h"]
    more = asked(out, "--budget", "poor+1USD", "--budget", "poor+20 USD", at=later)["what_if"]
    assert more["started"] == ["d"] and len(more["stopped"]) == 1
    text = ask(out, "--without", "gcp", "--budget", "research-3USD", at=later).output
    assert "If research has 3.00 USD less and nothing is to be had at gcp" in text
    assert "jobs with machines" in text and "\nstops: " in text


def test_a_job_that_is_not_over_is_explained_by_prices(out: Path) -> None:
    """`explain --at` tells the story until then, and what each offer is worth to the job."""
    arguments = ["c", "--db", str(out), "--at", BUSY]
    told = CliRunner().invoke(explain, arguments)
    assert told.exit_code == 0, told.output
    assert f"queued at {BUSY}" in told.output
    assert "By prices it waits: aws/r/z/m/spot" in told.output
    assert "What an hour of its work is worth" in told.output
    whole = CliRunner().invoke(explain, ["c", "--db", str(out)])
    assert "finished" in whole.output and "By prices" not in whole.output


def test_another_strategy_may_be_asked_on_the_same_fleet(out: Path) -> None:
    """--strategy takes its own database where there is one, else decides on the first."""
    assert asked(out, "--strategy", "greedy")["source"] == str(out / "greedy.db")
    told = asked(out, "--strategy", "on_demand")
    assert (told["source"], told["strategy"]) == (str(out / "optimal.db"), "on_demand")


def test_a_fleet_without_jobs_has_nothing_to_plan(out: Path) -> None:
    """At the end all is done, and the way to an earlier fleet is named."""
    answer = CliRunner().invoke(plan, ["--db", str(out / "optimal.db")])
    assert answer.exit_code == 0
    assert "nothing to plan; --at INSTANT shows an earlier one" in answer.output


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--budget", "reserch+1USD"], "no cost centre is called 'reserch'; did you mean"),
        (["--budget", "research"], "--budget 'research' cannot be used: expected COST_CENTRE+AM"),
        (["--budget", "research+5"], "an amount with its currency"),
        (["--budget", "poor-9USD"], "at most 5.00 USD less: the rest is spent or held"),
        (["--price-cap", "cheap"], "--price-cap 'cheap' cannot be used: expected money per hour"),
        (["--price-cap", "0 USD/h"], "--price-cap '0 USD/h' cannot be used: expected more than 0"),
        (["--without", "asw"], "--without: no provider is called 'asw'; did you mean \"aws\"?"),
        (["--strategy", "optimul"], "optimul"),
        (["--at", "noon"], "--at 'noon' cannot be used: expected an ISO 8601 instant"),
        (["--at", "2020-01-01"], f"expected {format_instant(START)} or later"),
    ],
)
def test_mistakes_are_named(
    out: Path, options: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Field, value and what would be right, in one line."""
    arguments = ["plan", "--run", str(out), "--at", BUSY, *options]
    with pytest.raises(SystemExit) as leaving:
        run(arguments)
    assert leaving.value.code == 2
    said = capsys.readouterr().err
    assert message in said and said.count("\n") == 1


def test_hazards_come_from_what_was_held(out: Path) -> None:
    """The more machine-hours without a loss, the lower; what was never held is not listed."""
    from treasury.cli.standing import read_standing

    early = read_standing(str(out), START + 30 * MINUTE).hazards
    late = read_standing(str(out), START + 6 * HOUR).hazards
    assert 0 < late["aws/r/z/m/spot"] < early["aws/r/z/m/spot"] < 40_000  # type: ignore[index]
    assert "gcp/r/z/m/spot" not in early and "gcp/r/z/m/spot" in late
