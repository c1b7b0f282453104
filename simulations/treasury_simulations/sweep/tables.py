"""A sweep's summary as a table for a terminal, JSON or CSV: plain cells, units in the headings."""

import math
from collections.abc import Callable

from treasury.domain.money import MICRO
from treasury.domain.time import format_duration
from treasury_simulations.sweep.statistics import BLOCK, BLOCKS_MIN, Interval, Summary

COLUMNS = (
    "strategy",
    "mean cost USD",
    "cost 95 %",
    "vs baseline",
    "vs baseline 95 %",
    "gap closed",
    "gap closed 95 %",
    "regret",
    "finished / jobs",
    "met / deadlines",
    "late",
)


def summary_table(summary: Summary) -> tuple[list[str], list[list[object]]]:
    """Headings and a row a variant. Shares are percentages; None means "not known"."""
    rows: list[list[object]] = [
        [
            one.label,
            f"{one.cost.value / MICRO:.2f}",
            between(one.cost, lambda value: f"{value / MICRO:.2f}"),
            None if one.versus is None else signed(one.versus.value),
            None if one.versus is None else between(one.versus, signed),
            None if one.gap is None else share(one.gap.value),
            None if one.gap is None else between(one.gap, share),
            None if one.regret is None else share(one.regret.value),
            f"{one.finished} / {one.jobs}",
            f"{one.met} / {one.deadlines}",
            one.late,
        ]
        for one in summary.figures
    ]
    return list(COLUMNS), rows


def notes(summary: Summary) -> list[str]:
    """What a reader must know about the figures."""
    said = [f"baseline: {summary.baseline}; {summary.cases} cases that every strategy has run"]
    if summary.incomplete:
        said.append(f"{summary.incomplete} cases are not finished and left out")
    if summary.block is not None:
        what = f"{summary.blocks} stretches of {format_duration(summary.block)}"
    else:
        what = f"{summary.blocks} seeds and traces"
    if summary.blocks < 2:
        said.append(f"{what}: too few for intervals")
    elif summary.blocks < BLOCKS_MIN:
        said.append(f"intervals stand on {what}: too few to be trusted")
    elif summary.block is not None and summary.block < BLOCK:
        said.append(
            f"intervals stand on {what}: cases last longer than that, so that they are narrower "
            "than they should be"
        )
    else:
        said.append(f"intervals stand on {what}")
    return said


def between(interval: Interval, shown: Callable[[float], str]) -> str | None:
    """`"1.20 to 1.40"`, None where it cannot be told."""
    if interval.low is None or interval.high is None:
        return None
    return f"{shown(interval.low)} to {shown(interval.high)}"


def share(value: float) -> str:
    """A percentage; a dash where it has no meaning."""
    return "-" if math.isnan(value) else f"{100 * value:.1f} %"


def signed(value: float) -> str:
    """A percentage with its sign."""
    return "-" if math.isnan(value) else f"{100 * value:+.1f} %"
