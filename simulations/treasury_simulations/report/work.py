"""How the jobs fared: waits, interruptions, migrations, lost work, and the markets' refusals."""

import re
from collections.abc import Mapping, Sequence

from bokeh.models import DataRange1d, FixedTicker, Range1d

from treasury.domain.time import HOUR
from treasury_simulations.record import Comparison, RunRecord
from treasury_simulations.report import markup
from treasury_simulations.report.markup import Cell, percent
from treasury_simulations.report.plot import bare, hover, number_axis, step_lines
from treasury_simulations.report.sheet import ALWAYS, Sheet, step_positions, steps, words
from treasury_simulations.report.thinning import thin

# Upper bounds (inclusive) and names of the classes that jobs are counted in.
_TIMES = ((0, "0"), (1, "1"), (2, "2"), (4, "3-4"), (9, "5-9"), (None, "10+"))
_LOST = ((0, "none"), (1, "to 1"), (4, "to 4"), (16, "to 16"), (64, "to 64"), (None, "more"))
_CURVE_POINTS = 400
# Waits span minutes to weeks, so their axis is logarithmic; shorter ones [h] stand at its start.
_SHORTEST = 0.05


def distributions(sheet: Sheet, comparison: Comparison, colours: Mapping[str, str]) -> str:
    """Four small charts side by side, all strategies in each, and the markets' refusals."""
    if not any(run.jobs for run in comparison.runs):
        return markup.nothing("No job was submitted.")
    labels = list(colours)
    lost = [_lost_by_job(run) for run in comparison.runs]
    charts = (
        ("Waiting", _waits(sheet, comparison, colours)),
        (
            "Interruptions",
            _counts(
                sheet, "interruptions", "interruptions of a job", _TIMES, colours,
                [[job.interruptions for job in run.jobs] for run in comparison.runs],
            ),
        ),
        (
            "Migrations",
            _counts(
                sheet, "migrations", "migrations of a job", _TIMES, colours,
                [[job.migrations for job in run.jobs] for run in comparison.runs],
            ),
        ),
        (
            "Lost work",
            _counts(
                sheet, "lost", "lost work of a job (GPU-hours)", _LOST, colours,
                [
                    [hours.get(job.id, 0) for job in run.jobs]
                    for run, hours in zip(comparison.runs, lost, strict=True)
                ],
            ),
        ),
    )  # fmt: skip
    grid = "".join(f"<div><h3>{title}</h3>{chart}</div>" for title, chart in charts)
    return (
        markup.legend((colours[label], label) for label in labels)
        + f'<div class="grid two">{grid}</div>'
        + _refusals(comparison, colours)
    )


def _lost_by_job(run: RunRecord) -> dict[str, float]:
    """GPU-hours of machines whose work was thrown away, by job."""
    lost: dict[str, int] = {}
    for lease in run.leases:
        lost[lease.job] = lost.get(lease.job, 0) + lease.lost * lease.gpus
    return {job: gpu_time / HOUR for job, gpu_time in lost.items()}


def _waits(sheet: Sheet, comparison: Comparison, colours: Mapping[str, str]) -> str:
    """The share of jobs that waited at most so long, a line a strategy."""
    xs: list[list[float]] = []
    ys: list[list[float]] = []
    for run in comparison.runs:
        waited = sorted(job.waited for job in run.jobs)
        keep = thin((waited,), _CURVE_POINTS)
        xs.append([_SHORTEST, *(max(_SHORTEST, round(waited[i] / HOUR, 3)) for i in keep)])
        ys.append([0, *(round(100 * (i + 1) / len(waited), 2) for i in keep)])
    most = max((line[-1] for line in xs), default=_SHORTEST)
    # Every line goes on to the longest wait of all, where it has reached all jobs.
    xs = [[*line, most] for line in xs]
    ys = [[*line, line[-1]] for line in ys]
    plot = bare(
        "hours without a machine, at most (log)",
        "% of jobs",
        240,
        x_axis_type="log",
        y_range=Range1d(start=0, end=104),
    )
    number_axis(plot.xaxis)
    source = sheet.source(
        "waiting",
        {
            ALWAYS: {
                "xs": step_positions(xs),
                "ys": steps(ys),
                "colour": list(colours.values()),
                "label": list(colours),
            }
        },
    )
    broad = step_lines(plot, source)
    hover(
        plot,
        [broad],
        "@label",
        [("waited at most", "$snap_x{0,0.00} h"), ("jobs", "$snap_y{0.0} %")],
        line_policy="prev",
    )
    return sheet.chart(plot, "Share of jobs by the time they waited")


def _counts(
    sheet: Sheet,
    name: str,
    x_label: str,
    classes: Sequence[tuple[int | None, str]],
    colours: Mapping[str, str],
    values: Sequence[Sequence[float]],
) -> str:
    """Jobs counted in classes, a bar a strategy in each."""
    width = 0.8 / max(1, len(values))
    rows: list[tuple[float, int, str, str, str]] = []
    for number, (label, found) in enumerate(zip(colours, values, strict=True)):
        counts = [0] * len(classes)
        for value in found:
            counts[_class(value, classes)] += 1
        for place, count in enumerate(counts):
            x = place - 0.4 + width * (number + 0.5)
            of_all = percent(count / len(found)) if found else ""
            rows.append((round(x, 4), count, colours[label], label, of_all))
    plot = bare(x_label, "jobs", 240, y_range=DataRange1d(start=0))
    number_axis(plot.yaxis)
    plot.xgrid.visible = False
    plot.xaxis.ticker = FixedTicker(ticks=list(range(len(classes))))
    plot.xaxis.major_label_overrides = {i: title for i, (_, title) in enumerate(classes)}
    drawn = plot.vbar(
        x="x",
        top="count",
        width=width * 0.92,
        fill_color="colour",
        line_color=None,
        source=sheet.source(
            f"count:{name}",
            {
                ALWAYS: {
                    "x": [row[0] for row in rows],
                    "count": [row[1] for row in rows],
                    "colour": words(row[2] for row in rows),
                    "label": words(row[3] for row in rows),
                    "share": words(row[4] for row in rows),
                }
            },
        ),
    )
    hover(plot, [drawn], "@label", [("jobs", "@count (@share)")])
    return sheet.chart(plot, f"Jobs by {x_label}")


def _class(value: float, classes: Sequence[tuple[int | None, str]]) -> int:
    return next(i for i, (most, _) in enumerate(classes) if most is None or value <= most)


def _refusals(comparison: Comparison, colours: Mapping[str, str]) -> str:
    kinds = sorted({kind for run in comparison.runs for kind in run.refusals})
    if not kinds:
        return markup.nothing("Nothing was refused, by a market or by a budget.")
    head = [Cell("Refusals"), *(Cell(label, "num") for label in colours)]
    rows = [
        [Cell(_spoken(kind)), *(markup.count(run.refusals.get(kind, 0)) for run in comparison.runs)]
        for kind in kinds
    ]
    return markup.table(head, rows)


def _spoken(kind: str) -> str:
    """`"NoCapacity"` as `"no capacity"`."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])|_", " ", kind).lower()
