"""Deadlines: how much time was left when each job finished."""

from collections.abc import Mapping, Sequence

import msgspec
from bokeh.models.annotations import Span

from treasury.domain.time import HOUR
from treasury_simulations.record import Comparison, JobOutcome
from treasury_simulations.report import markup
from treasury_simulations.report.figures import Figures, is_finished
from treasury_simulations.report.markup import Cell
from treasury_simulations.report.plot import bare, hover, number_axis
from treasury_simulations.report.sheet import ALWAYS, Sheet, words
from treasury_simulations.report.thinning import thin

_SCATTER_POINTS = 3_000
# A shape a strategy as well as a colour: points of several strategies often lie on each other.
_MARKERS = ("circle", "square", "triangle", "diamond", "inverted_triangle", "hex")


def deadlines(
    sheet: Sheet,
    comparison: Comparison,
    values: Sequence[Figures],
    colours: Mapping[str, str],
) -> str:
    """Time left at the finish of each job against its deadline, and the counts."""
    if not any(run.deadlines for run in values):
        return markup.nothing("No job had a deadline.")
    rows = _slack_rows(comparison, colours)
    plot = bare("deadline (UTC)", "hours left at the finish", 320, x_axis_type="datetime")
    number_axis(plot.yaxis)
    plot.add_layout(Span(location=0, dimension="width", line_color="#8792a2", line_width=1.5))
    columns = {
        "deadline": sheet.times(row.deadline for row in rows),
        "hours": [row.hours for row in rows],
        "colour": words(row.colour for row in rows),
        "marker": words(row.marker for row in rows),
        "label": words(row.label for row in rows),
        "job": words(row.job for row in rows),
        "left": [row.left for row in rows],
    }
    drawn = plot.scatter(
        x="deadline",
        y="hours",
        marker="marker",
        size=8,
        line_color="colour",
        fill_color="colour",
        fill_alpha=0.55,
        source=sheet.source("slack", {ALWAYS: columns}),
    )
    hover(
        plot,
        [drawn],
        "@job",
        [
            ("strategy", "@label"),
            ("deadline", "@deadline{%F %H:%M} UTC"),
            ("left at the finish", "@left"),
        ],
        formatters={"@deadline": "datetime"},
    )
    chart = sheet.chart(plot, "Hours left before each deadline when the job finished")
    return (
        markup.legend((colours[run.label], run.label) for run in values)
        + chart
        + _deadline_table(values, colours)
        + markup.note(
            "Below the line a job was late. Crosses along the lower edge are jobs whose deadline "
            "passed and that had not finished when the replay ended."
        )
    )


class _Slack(msgspec.Struct, frozen=True, kw_only=True):
    deadline: int
    hours: float
    left: str
    colour: str
    marker: str
    label: str
    job: str


def _slack_rows(comparison: Comparison, colours: Mapping[str, str]) -> list[_Slack]:
    """A point for each deadline that was decided; at most what a picture can show."""
    most = max(100, _SCATTER_POINTS // max(1, len(comparison.runs)))
    rows: list[_Slack] = []
    never: list[tuple[JobOutcome, str, str]] = []
    for number, (run, (label, colour)) in enumerate(
        zip(comparison.runs, colours.items(), strict=True)
    ):
        points: list[tuple[int, int, JobOutcome]] = []
        for job in run.jobs:
            if job.deadline is None:
                continue
            if is_finished(job) and job.ended_at is not None:
                points.append((job.deadline, job.deadline - job.ended_at, job))
            elif job.late:
                never.append((job, label, colour))
        points.sort(key=lambda point: (point[0], point[2].id))
        for i in thin(([slack for _, slack, _ in points],), most):
            deadline, slack, job = points[i]
            rows.append(
                _Slack(
                    deadline=deadline,
                    hours=round(slack / HOUR, 3),
                    left=f"{slack / HOUR:,.2f} h",
                    colour=colour,
                    marker=_MARKERS[number % len(_MARKERS)],
                    label=label,
                    job=job.id,
                )
            )
    hours = [row.hours for row in rows] or [0.0]
    # A row of their own under everything that finished, so that they squeeze nothing.
    edge = min(0.0, *hours) - 0.1 * (max(0.0, *hours) - min(0.0, *hours) or 1)
    for job, label, colour in never[: _SCATTER_POINTS - len(rows)]:
        rows.append(
            _Slack(
                deadline=job.deadline or 0,
                hours=round(edge, 3),
                left="never finished",
                colour=colour,
                marker="x",
                label=label,
                job=job.id,
            )
        )
    return rows


def _deadline_table(values: Sequence[Figures], colours: Mapping[str, str]) -> str:
    head = [
        Cell("Deadlines"),
        *(Cell(title, "num") for title in ("had", "met", "late", "undecided")),
    ]
    rows: list[list[Cell]] = [
        [
            Cell(run.label, swatch=colours[run.label]),
            markup.count(run.deadlines),
            markup.count(run.met),
            markup.count(run.late),
            markup.count(run.open),
        ]
        for run in values
    ]
    return markup.table(head, rows)
