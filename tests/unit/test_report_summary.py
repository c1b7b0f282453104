"""The tables of a comparison: every figure is the records', and money is exact."""

import importlib.util
import json
import subprocess
import sys
from decimal import Decimal
from pathlib import Path
from types import ModuleType

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from treasury.domain.errors import InvariantBroken
from treasury.domain.time import HOUR
from treasury_simulations.report import cost_rows, summary_rows
from treasury_simulations.report.figures import figures, headline
from treasury_simulations.report.summary import usd


def _load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name(f"{name}.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


sample = _load("report_sample")


def _cell(rows: list[list[object]], columns: list[str], row: int, column: str) -> object:
    return rows[row][columns.index(column)]


def test_each_figure_is_the_records() -> None:
    """A row's cells are sums over the run's own jobs and machines, in the stated units."""
    comparison = sample.comparison()
    columns, rows = summary_rows(comparison)
    assert [row[0] for row in rows] == ["on_demand", "greedy", "optimal"]
    for number, run in enumerate(comparison.runs):
        finished = sum(job.state == "finished" for job in run.jobs)
        promised = [job for job in run.jobs if job.deadline is not None]
        met = sum(job.state == "finished" and not job.late for job in promised)
        lost = sum(lease.lost * lease.gpus for lease in run.leases) / HOUR
        waited = sum(job.waited for job in run.jobs) / len(run.jobs) / HOUR
        assert _cell(rows, columns, number, "paid USD") == usd(run.waste.paid)
        assert _cell(rows, columns, number, "finished / jobs") == f"{finished} / {len(run.jobs)}"
        assert _cell(rows, columns, number, "met / deadlines") == f"{met} / {len(promised)}"
        assert _cell(rows, columns, number, "late") == sum(job.late for job in run.jobs)
        assert _cell(rows, columns, number, "lost GPU-h") == pytest.approx(lost, abs=0.006)
        assert _cell(rows, columns, number, "mean wait h") == pytest.approx(waited, abs=0.006)
        assert _cell(rows, columns, number, "turns") == run.turns
        for name in ("interruptions", "preemptions", "migrations"):
            total = sum(getattr(job, name) for job in run.jobs)
            assert _cell(rows, columns, number, name) == total


def test_the_baseline_is_the_on_demand_run() -> None:
    """Costs are relative to the run named on_demand, and unknown where none was replayed."""
    comparison = sample.comparison()
    columns, rows = summary_rows(comparison)
    assert _cell(rows, columns, 0, "vs on_demand") == 1.0
    paid = [run.waste.paid for run in comparison.runs]
    assert _cell(rows, columns, 2, "vs on_demand") == round(paid[2] / paid[0], 4)
    columns, rows = summary_rows(sample.comparison(("greedy",)))
    assert _cell(rows, columns, 0, "vs on_demand") is None


def test_waste_and_unit_cost_follow_from_what_was_paid() -> None:
    """The waste share is all but useful work; a useful GPU-hour carries everything paid."""
    comparison = sample.comparison(("greedy",))
    run = comparison.runs[0]
    columns, rows = summary_rows(comparison)
    share = (run.waste.paid - run.waste.useful) / run.waste.paid
    hours = sum(lease.useful * lease.gpus for lease in run.leases) / HOUR
    unit = Decimal(str(_cell(rows, columns, 0, "USD / useful GPU-h")))
    assert _cell(rows, columns, 0, "waste share") == round(share, 4)
    assert float(unit) == pytest.approx(run.waste.paid / 1e6 / hours, abs=0.0001)


def test_nothing_to_divide_by_is_unknown() -> None:
    """Without jobs or machines a ratio is None, never a zero that means something else."""
    columns, rows = summary_rows(sample.comparison(jobs=0))
    for name in ("vs on_demand", "mean wait h", "waste share", "USD / useful GPU-h"):
        assert _cell(rows, columns, 0, name) is None
    assert _cell(rows, columns, 0, "finished / jobs") == "0 / 0"


def test_every_cell_can_be_printed_as_json() -> None:
    """Cells are plain values: text, numbers, None."""
    for columns, rows in (summary_rows(sample.comparison()), cost_rows(sample.comparison())):
        assert all(len(row) == len(columns) for row in rows)
        assert json.loads(json.dumps(rows)) == rows


def test_costs_sum_to_what_was_paid() -> None:
    """For each run the cost centres' rows and the providers' rows both sum to the total."""
    comparison = sample.comparison()
    columns, rows = cost_rows(comparison)
    paid, by = columns.index("paid USD"), columns.index("by")
    for run in comparison.runs:
        for grouping in ("cost centre", "provider"):
            mine = [row for row in rows if row[0] == run.strategy and row[by] == grouping]
            total = sum(Decimal(str(row[paid])) for row in mine)
            assert abs(total - Decimal(usd(run.waste.paid))) <= Decimal("0.005") * len(mine)
            assert sum(float(str(row[columns.index("share")])) for row in mine) == pytest.approx(
                1, abs=0.001
            )


def test_two_runs_of_one_strategy_are_told_apart() -> None:
    """Labels are distinct, so that no chart or table merges two runs."""
    _, rows = summary_rows(sample.comparison(("greedy", "greedy")))
    assert [row[0] for row in rows] == ["greedy", "greedy #2"]


def test_parts_that_do_not_sum_stop_the_report() -> None:
    """A micro-dollar missing from the parts of the waste is an error, not a footnote."""
    comparison = sample.comparison(("greedy",))
    run = comparison.runs[0]
    waste = msgspec.structs.replace(run.waste, idle=run.waste.idle - 1)
    broken = msgspec.structs.replace(comparison, runs=[msgspec.structs.replace(run, waste=waste)])
    with pytest.raises(InvariantBroken, match=r"greedy.*micro-USD"):
        summary_rows(broken)


def test_the_headline_is_the_most_reliable_then_the_cheapest() -> None:
    """Lateness counts before money; the baseline is first only where it is alone."""
    values = figures(sample.comparison())
    first = headline(values)
    assert first is not None
    others = [run for run in values if run.label != "on_demand"]
    assert values[first].late == min(run.late for run in others)
    assert headline(figures(sample.comparison(("on_demand",)))) == 0
    assert headline([]) is None


@given(st.integers(-(10**18), 10**18), st.sampled_from([0, 2, 4, 6]))
def test_amounts_are_printed_exactly(micros: int, places: int) -> None:
    """The printed amount is the exact one, rounded half up in the last place."""
    exact = Decimal(micros) / 10**6
    assert abs(Decimal(usd(micros, places).rstrip(".")) - exact) * 2 <= Decimal(10) ** -places


def test_the_tables_need_no_plotting_library() -> None:
    """Importing the package and building the tables leaves the heavy libraries unloaded."""
    code = (
        "import sys, treasury_simulations.report;"
        "print(sorted({'bokeh', 'numpy', 'pandas'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.strip() == "[]"
