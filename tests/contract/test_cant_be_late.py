"""Our engine, world and strategies agree with the published "Can't Be Late" benchmark."""

import gzip
import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from treasury.domain.errors import BadValue, TraceError
from treasury.domain.money import charge
from treasury.domain.time import HOUR, SECOND
from treasury_simulations.cant_be_late import (
    OPTIMUM,
    SPOT_RATE,
    TICK,
    Case,
    Published,
    Reference,
    compare,
    main,
    sample,
    scenario,
)
from treasury_simulations.clairvoyant import clairvoyant_cost
from treasury_simulations.simulate import simulate
from treasury_simulations.traces.importers.cant_be_late import ON_DEMAND_RATE
from treasury_strategies.greedy import Greedy
from treasury_strategies.on_demand import OnDemand
from treasury_strategies.patient import Patient
from treasury_strategies.uniform_progress import UniformProgress

# Four days of a made-up zone, in runs of ticks with and without spot: long, short and very short
# ones.
RUNS = (5, 40, 1, 3, 1, 90, 2, 17, 30, 60, 12, 1, 1, 1, 44, 150, 7, 80, 60)
ZONE = [step % 2 for step, length in enumerate(RUNS) for _ in range(length)]


def published_rules(
    name: str, availability: list[int], *, deadline: int, overhead: int, work: int
) -> int:
    """A run of the benchmark in plain seconds, by the rules of its public evaluator. Returns
    micro-USD."""
    tick, elapsed, done, burn, now = 600, 0, 0, 0, "none"
    ticks = {"spot": 0, "on_demand": 0}
    while done < work:
        there = elapsed // tick < len(availability) and availability[elapsed // tick]
        if now == "spot" and not there:
            now = "none"
        left, rest = (deadline - elapsed) // tick, work - done
        takes = "spot" if there else "none"
        if name == "uniform_progress":
            if not there and elapsed * work > done * deadline:
                takes = "on_demand"
            behind = (elapsed + 2 * overhead) * work >= done * deadline
            if now == "on_demand" and (not there or behind):
                takes = "on_demand"
        if -(-(rest + 2 * overhead) // tick) >= left and now != "spot":
            takes = "on_demand"
        if -(-(rest + overhead) // tick) >= left:
            takes = "spot" if now == "spot" and burn == 0 else "on_demand"
        if takes not in ("none", now):
            burn = overhead
        if takes != "none":
            burnt = min(burn, tick)
            burn -= burnt
            done += tick - burnt
            ticks[takes] += 1
        now = takes
        elapsed += tick
    total = ticks["spot"] * SPOT_RATE + ticks["on_demand"] * ON_DEMAND_RATE
    return charge(total, TICK)


@pytest.mark.parametrize("policy", [Greedy, UniformProgress])
@pytest.mark.parametrize("deadline", [52, 60, 70])
@pytest.mark.parametrize("overhead", [0, 72, 360, 720, 1_500])
def test_the_engine_keeps_the_published_rules(
    policy: type[Patient], deadline: int, overhead: int
) -> None:
    """On a built-in zone the production engine's bill equals the published rules' to a micro-dollar
    a machine, the job is in time, and hindsight is no dearer."""
    plan = scenario(ZONE, deadline=deadline * HOUR, overhead=overhead * SECOND)
    record = simulate(plan, policy())
    (job,) = record.jobs
    assert (job.state, job.late) == ("finished", False)
    expected = published_rules(
        policy.name, ZONE, deadline=deadline * 3_600, overhead=overhead, work=48 * 3_600
    )
    assert 0 <= record.waste.paid - expected <= len(record.leases)
    bound = clairvoyant_cost(
        ZONE,
        tick_ns=TICK,
        work_ns=48 * HOUR,
        deadline_ns=deadline * HOUR,
        overhead_ns=overhead * SECOND,
        spot_rate=SPOT_RATE,
        on_demand_rate=ON_DEMAND_RATE,
    )
    assert bound.cost_micros <= record.waste.paid


def test_on_demand_pays_for_every_started_tick() -> None:
    """48 h and a start of six minutes are 289 ticks at 3.06 USD/h."""
    record = simulate(scenario(ZONE, deadline=52 * HOUR, overhead=360 * SECOND), OnDemand())
    assert record.waste.paid == charge(ON_DEMAND_RATE, 289 * TICK)


def test_our_figures_are_the_published_ones(shared: Path) -> None:
    """Sixty runs, spread over windows, zones, deadlines and overheads: costs agree to 0.1 %, no run
    is late."""
    published = Published(shared)
    cases = sample(published.references(), 60)
    assert len({case.zone for case, _ in cases}) > 4
    assert len({(case.deadline, case.overhead) for case, _ in cases}) == 8
    found = compare(published, cases, ["greedy", "uniform_progress"])
    assert [one.policy for one in found] == ["greedy", "uniform_progress", OPTIMUM]
    for one in found:
        assert (one.runs, one.referred, one.late) == (60, 60, 0)
        assert abs(one.deviation) < 0.001, one.policy


def folder(path: Path, **files: str) -> Path:
    """A tiny set of published data: one zone, one window of four ticks of two hours each."""
    contents = {
        "aws_2022_availability.csv.gz": "tick,z\n3,1\n4,0\n",
        "windows_2022.json": json.dumps({"windows_start_tick": {"7": 3}}),
        "reference_costs_dev_2022.csv.gz": (
            "deadline_h,overhead_h,zone,window,policy,cost_usd,missed_deadline\n"
            "52,0.02,z,7,greedy,147.04217,0\n52,0.02,z,7,clairvoyant_optimum,147.04217,0\n"
        ),
    } | files
    for name, text in contents.items():
        data = gzip.compress(text.encode()) if name.endswith(".gz") else text.encode()
        (path / name).write_bytes(data)
    return path


def test_the_command_prints_ours_beside_the_reference(tmp_path: Path) -> None:
    """One line a policy: runs, both means, how far apart, late runs; a dash where nothing is
    published."""
    result = CliRunner().invoke(main, [str(folder(tmp_path))])
    assert result.exit_code == 0, result.output
    lines = [line.split() for line in result.output.splitlines()]
    assert [line[0] for line in lines[1:]] == ["greedy", "uniform_progress", OPTIMUM]
    assert lines[1][:4] == ["greedy", "1", "147.0422", "USD"]
    assert lines[1][6] == "+0.0000%"
    assert "-" in lines[2]


def test_the_window_is_cut_to_the_deadline(tmp_path: Path) -> None:
    """Ticks from the job's start to its deadline; what the series does not hold counts as none."""
    published = Published(folder(tmp_path))
    case = Case("7", "z", 52 * HOUR, 72 * SECOND)
    assert published.availability(case) == [1] + [0] * 311
    assert published.references() == [
        Reference(case, {"greedy": 147_042_170, OPTIMUM: 147_042_170})
    ]


@pytest.mark.parametrize(
    ("files", "says"),
    [
        ({"windows_2022.json": "{"}, "cannot be read as windows"),
        ({"windows_2022.json": "{}"}, "cannot be read as windows"),
        ({"aws_2022_availability.csv.gz": "time,z\n"}, "no column tick"),
        ({"reference_costs_dev_2022.csv.gz": "deadline_h\n52\n"}, "no column cost_usd, overhead_h"),
    ],
)
def test_data_that_cannot_be_used_is_named(
    tmp_path: Path, files: dict[str, str], says: str
) -> None:
    """A file that is broken is named in one line, without a traceback."""
    result = CliRunner().invoke(main, [str(folder(tmp_path, **files))])
    assert result.exit_code == 2
    assert says in result.output
    assert "Traceback" not in result.output


def test_a_missing_file_an_unknown_window_and_a_negative_sample_are_told(tmp_path: Path) -> None:
    """Each is a user's error with the file or the value in it."""
    with pytest.raises(TraceError, match=r"aws_2022_availability\.csv\.gz: cannot be read"):
        Published(tmp_path)
    published = Published(folder(tmp_path))
    with pytest.raises(TraceError, match="no window '8'"):
        published.start(Case("8", "z", HOUR, 0))
    with pytest.raises(BadValue, match="sample -1 cannot be used"):
        sample(published.references(), -1)
