"""The charts of a sweep's report."""

from collections.abc import Mapping, Sequence
from typing import Any

from bokeh.models import ColumnDataSource, DataRange1d, FactorRange, Range1d
from bokeh.models.annotations import Span, Whisker
from bokeh.models.annotations.arrows import TeeHead

from treasury_simulations.report import markup
from treasury_simulations.report.colours import NEUTRAL
from treasury_simulations.report.names import plain
from treasury_simulations.report.plot import bare, hover, number_axis, step_lines
from treasury_simulations.report.sheet import ALWAYS, Sheet, step_positions
from treasury_simulations.sweep.statistics import Figures, Interval, Summary
from treasury_simulations.sweep.tables import between, share

# Points of a cumulative curve: more than a screen has columns to show them on.
_POINTS = 240
# The part of a category's width that its points are spread over.
_SPREAD = 0.6
_MARKERS = ("circle", "square", "triangle", "diamond", "inverted_triangle", "hex")


def cost_by_facet(
    sheet: Sheet,
    names: Sequence[str],
    parts: Sequence[tuple[tuple[str, ...], Summary]],
    colours: Mapping[str, str],
) -> str:
    """Points with whiskers: cost relative to hindsight (else to the baseline) in each part."""
    bounded = parts[0][1].figures[0].regret is not None
    labels = list(colours)
    rows: list[tuple[object, Interval, str, str, str]] = []
    for key, summary in parts:
        for one in summary.figures:
            ratio = one.regret if bounded else one.versus
            place = labels.index(one.label)
            shift = _SPREAD * ((place + 0.5) / len(labels) - 0.5)
            rows.append(
                (
                    [*_factor(key), round(shift, 4)],
                    _percent(ratio or Interval(0.0)),
                    one.label,
                    " / ".join(key) or "all cases",
                    _MARKERS[place % len(_MARKERS)],
                )
            )
    against = "hindsight" if bounded else parts[0][1].baseline
    # Two names make two rows of labels.
    factors: Any = [tuple(f) if len(f) > 1 else f[0] for f in (_factor(key) for key, _ in parts)]
    plot = bare(
        " / ".join(names),
        f"cost, % of {against}",
        360,
        x_range=FactorRange(factors=factors),
        y_range=_around([row[1] for row in rows]),
    )
    number_axis(plot.yaxis)
    plot.xgrid.visible = False
    plot.add_layout(Span(location=100, dimension="width", line_color=NEUTRAL, line_width=1.5))
    source = sheet.source(
        "facets",
        {
            ALWAYS: {
                "x": [row[0] for row in rows],  # type: ignore[misc]
                "y": [row[1].value for row in rows],
                "low": [_end(row[1].low, row[1].value) for row in rows],
                "high": [_end(row[1].high, row[1].value) for row in rows],
                "colour": [colours[row[2]] for row in rows],
                "label": [plain(row[2]) for row in rows],
                "part": [plain(row[3]) for row in rows],
                "marker": [row[4] for row in rows],
                "ends": [_ends(row[1]) for row in rows],
            }
        },
    )
    plot.add_layout(_whisker(source))
    drawn = plot.scatter(
        x="x", y="y", marker="marker", size=9, color="colour", fill_alpha=0.8, source=source
    )
    lines = [("part", "@part"), (f"% of {against}", "@y{0,0.0}"), ("95 %", "@ends")]
    hover(plot, [drawn], "@label", lines)
    return sheet.chart(plot, f"Cost against {against}, by {' and '.join(names) or 'strategy'}")


def regret_curves(
    sheet: Sheet, values: Mapping[str, Sequence[float]], colours: Mapping[str, str]
) -> str:
    """The share of cases whose cost is at most so far above hindsight's."""
    if not any(values.values()):
        return markup.nothing("Hindsight was not swept: there is nothing to regret.")
    curves = {name: _curve(regret) for name, regret in values.items() if regret}
    plot = bare(
        "regret: cost above hindsight, %",
        "share of cases, %",
        340,
        x_range=DataRange1d(),
        y_range=DataRange1d(start=0, end=102),
    )
    number_axis(plot.xaxis)
    source = sheet.source(
        "regret",
        {
            ALWAYS: {
                "xs": step_positions([xs for xs, _ in curves.values()]),
                "ys": {"step_values": [ys for _, ys in curves.values()]},
                "colour": [colours[name] for name in curves],
                "label": [plain(name) for name in curves],
            }
        },
    )
    broad = step_lines(plot, source)
    lines = [("regret", "$snap_x{0,0.0} %"), ("of cases", "$snap_y{0,0.0} %")]
    hover(plot, [broad], "@label", lines)
    return markup.legend((colours[name], name) for name in curves) + sheet.chart(
        plot, "Cumulative distribution of regret"
    )


def _curve(regret: Sequence[float]) -> tuple[list[float], list[float]]:
    """Positions and heights [%] of a cumulative step line, thinned."""
    count = len(regret)
    picked = sorted({min(count - 1, i * count // _POINTS) for i in range(_POINTS)} | {count - 1})
    xs = [round(100 * regret[0], 3), *(round(100 * regret[i], 3) for i in picked)]
    return xs, [0.0, *(round(100 * (i + 1) / count, 3) for i in picked)]


def savings_and_lateness(sheet: Sheet, summary: Summary, colours: Mapping[str, str]) -> str:
    """A point a strategy: what it saves against the baseline, and how often it is late."""
    if not summary.figures:
        return markup.nothing("Nothing has been run with every strategy yet.")
    rows = [(one, _percent(_saving(one))) for one in summary.figures]
    plot = bare(
        "jobs late or not finished, %",
        f"saved against {summary.baseline}, %",
        340,
        y_range=_around([saving for _, saving in rows]),
    )
    number_axis(plot.yaxis)
    number_axis(plot.xaxis)
    plot.add_layout(Span(location=0, dimension="width", line_color=NEUTRAL, line_width=1.5))
    source = sheet.source(
        "savings",
        {
            ALWAYS: {
                "x": [round(100 * _failed(one), 4) for one, _ in rows],
                "y": [saving.value for _, saving in rows],
                "low": [_end(saving.low, saving.value) for _, saving in rows],
                "high": [_end(saving.high, saving.value) for _, saving in rows],
                "colour": [colours[one.label] for one, _ in rows],
                "label": [plain(one.label) for one, _ in rows],
                "marker": [_MARKERS[place % len(_MARKERS)] for place in range(len(rows))],
                "ends": [_ends(saving) for _, saving in rows],
            }
        },
    )
    plot.add_layout(_whisker(source))
    drawn = plot.scatter(
        x="x", y="y", marker="marker", size=11, color="colour", fill_alpha=0.8, source=source
    )
    lines = [("saved", "@y{0,0.0} %"), ("95 %", "@ends"), ("late or not finished", "@x{0,0.00} %")]
    hover(plot, [drawn], "@label", lines)
    return markup.legend((colours[one.label], one.label) for one, _ in rows) + sheet.chart(
        plot, "Savings against lateness"
    )


def _failed(one: Figures) -> float:
    """The part of the jobs that were late, or without a deadline never finished."""
    return max(one.late, one.jobs - one.finished) / one.jobs if one.jobs else 0.0


def _saving(one: Figures) -> Interval:
    if one.versus is None:
        return Interval(-1.0)
    low, high = one.versus.low, one.versus.high
    return Interval(
        -one.versus.value - 1,
        None if high is None else -high - 1,
        None if low is None else -low - 1,
    )


def _percent(ratio: Interval) -> Interval:
    """A ratio less one as a percentage of the whole."""
    low, high = ratio.low, ratio.high
    return Interval(
        round(100 * (1 + ratio.value), 3),
        None if low is None else round(100 * (1 + low), 3),
        None if high is None else round(100 * (1 + high), 3),
    )


def _around(intervals: Sequence[Interval]) -> Range1d:
    """An axis with room for every whisker: the library looks at points alone."""
    low = min(_end(one.low, one.value) for one in intervals)
    high = max(_end(one.high, one.value) for one in intervals)
    margin = (high - low or 1.0) * 0.06
    return Range1d(start=low - margin, end=high + margin)


def _end(end: float | None, value: float) -> float:
    return value if end is None else end


def _ends(interval: Interval) -> str:
    return between(interval, lambda value: share(value / 100)) or markup.UNKNOWN


def _whisker(source: ColumnDataSource) -> Whisker:
    """A bar from `low` to `high` in the point's colour."""
    return Whisker(
        base="x",
        lower="low",
        upper="high",
        source=source,
        line_color="colour",
        line_width=1.6,
        lower_head=TeeHead(size=7, line_color="colour"),
        upper_head=TeeHead(size=7, line_color="colour"),
        level="underlay",
    )


def _factor(key: tuple[str, ...]) -> list[str]:
    return [plain(text) for text in key] or ["all"]
