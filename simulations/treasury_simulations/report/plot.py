"""What the charts have in common: bare figures, bars, lines, and what is shown on hover.

Axes, grids and texts take their colours from the page's style sheet, so that light and dark fit.
"""

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any, TypeAlias

from bokeh.core.properties import value
from bokeh.models import (
    ColumnDataSource,
    FactorRange,
    HoverTool,
    NumeralTickFormatter,
    Range1d,
)
from bokeh.models.renderers import GlyphRenderer
from bokeh.plotting import figure

from treasury.domain.money import MICRO
from treasury_simulations.report.markup import percent
from treasury_simulations.report.names import plain
from treasury_simulations.report.sheet import ALWAYS, Column, Sheet, amounts, words

# Every micro-dollar of an amount, for hover texts.
EXACT = "{0,0.000000} USD"
# A tag of renderers whose text takes the page's ink.
INK = "ink"
_BAR_ROW = 42
# Pixels: a character of a bar's text, and the narrowest frame that bars are drawn in.
_CHARACTER = 7.5
_NARROWEST = 290
# Generic in the library's stubs, a plain class when it runs.
_Renderer: TypeAlias = "GlyphRenderer[Any]"
_FONT = "system-ui, 'Segoe UI', Helvetica, Arial, sans-serif"


def bare(x_label: str, y_label: str, height: int, **more: Any) -> figure:
    """A figure as wide as its place, `height` [px] high, without toolbar or outline."""
    settings: dict[str, Any] = {
        "sizing_mode": "stretch_width",
        "height": height,
        "min_width": 240,
        "tools": "",
        "toolbar_location": None,
        "x_axis_label": x_label,
        "y_axis_label": y_label,
        "outline_line_color": None,
        "min_border_right": 12,
        "min_border_top": 8,
        "output_backend": "canvas",
    }
    plot = figure(**{**settings, **more})
    plot.axis.axis_label_text_font = plot.axis.major_label_text_font = _FONT
    plot.axis.axis_label_text_font_style = "normal"
    plot.axis.axis_label_text_font_size = plot.axis.major_label_text_font_size = "12px"
    plot.axis.minor_tick_line_color = None
    plot.axis.axis_label_standoff = 8
    plot.axis.major_tick_out = 4
    plot.axis.major_tick_in = 0
    return plot


def money_axis(axis: Any) -> None:
    """Amounts on an axis, with thousands set apart."""
    axis.formatter = NumeralTickFormatter(format="0,0.[00]")


def number_axis(axis: Any) -> None:
    """Plain numbers on an axis, with thousands set apart."""
    axis.formatter = NumeralTickFormatter(format="0,0.[0]")


def hover(
    plot: figure,
    renderers: Sequence[_Renderer],
    title: str,
    lines: Sequence[tuple[str, str]],
    *,
    formatters: Mapping[str, Any] | None = None,
    **more: Any,
) -> None:
    """Show a title and labelled values over `renderers`; values are fields such as `@paid`, which
    the library escapes."""
    rows = "".join(
        f'<div><span style="color:var(--muted)">{escape(label)}</span> {value}</div>'
        for label, value in lines
    )
    tool = HoverTool(
        renderers=list(renderers),
        tooltips=(
            '<div style="margin:-5px;padding:7px 11px;max-width:340px;background:var(--tip);'
            'color:var(--ink);font:12px/1.55 system-ui,sans-serif;overflow-wrap:anywhere">'
            f"<b>{title}</b>{rows}</div>"
        ),
        formatters=dict(formatters or {}),
        limit=4,
        visible=False,
        **more,
    )
    plot.add_tools(tool)


def step_lines(plot: figure, source: ColumnDataSource, **more: Any) -> _Renderer:
    """Several lines (columns xs, ys, colour); returned are broad invisible twins to hover over."""
    plot.multi_line("xs", "ys", line_color="colour", source=source, line_width=2, **more)
    return plot.multi_line("xs", "ys", line_color="colour", source=source, line_width=11, alpha=0)


def texts(plot: figure, source: ColumnDataSource, **more: Any) -> None:
    """Texts (column text) in the page's ink, for figures at the ends of bars."""
    glyphs = plot.text(
        text="text",
        source=source,
        text_font=value(_FONT),
        text_font_size="12px",
        text_baseline="middle",
        **more,
    )
    glyphs.tags = [INK]


def stacked_bars(
    sheet: Sheet,
    name: str,
    bars: Sequence[str],
    parts: Sequence[tuple[str, str, Sequence[int]]],
    *,
    ends: Sequence[str],
    describes: str,
) -> str:
    """Lying bars of amounts. parts: title, colour and the amount [micro-USD] in each bar; ends: the
    text behind each bar."""
    totals = [sum(micros[i] for _, _, micros in parts) for i in range(len(bars))]
    columns = _bar_columns(bars, parts, totals)
    top = max(totals, default=0) / MICRO or 1.0
    # Room for the text behind the longest bar where the chart is at its narrowest.
    taken = _CHARACTER * max((len(text) for text in ends), default=0) + 12
    room = _NARROWEST / (_NARROWEST - min(taken, _NARROWEST / 2))
    plot = bare(
        "USD",
        "",
        _BAR_ROW * len(bars) + 66,
        x_range=Range1d(start=0, end=top * room),
        y_range=FactorRange(factors=[plain(bar) for bar in reversed(bars)]),
    )
    plot.ygrid.visible = False
    money_axis(plot.xaxis)
    drawn = plot.hbar(
        y="bar",
        left="left",
        right="right",
        height=0.62,
        fill_color="colour",
        line_color=None,
        source=sheet.source(name, {ALWAYS: columns}),
    )
    hover(
        plot,
        [drawn],
        "@part",
        [("strategy", "@bar"), ("paid", f"@amount{EXACT}"), ("share", "@share")],
    )
    labels: dict[str, Column] = {
        "bar": [plain(bar) for bar in bars],
        "x": amounts(totals),
        "text": [plain(text) for text in ends],
    }
    texts(plot, sheet.source(f"{name}:ends", {ALWAYS: labels}), x="x", y="bar", x_offset=6)
    return sheet.chart(plot, describes)


def _bar_columns(
    bars: Sequence[str],
    parts: Sequence[tuple[str, str, Sequence[int]]],
    totals: Sequence[int],
) -> dict[str, Column]:
    rows: list[tuple[str, str, str, int, int, int, str]] = []
    for index, bar in enumerate(bars):
        reached = 0
        for title, colour, micros in parts:
            amount = micros[index]
            if amount == 0:
                continue
            left, reached = reached, reached + amount
            of_all = percent(amount / totals[index])
            rows.append((plain(bar), title, colour, left, reached, amount, of_all))
    return {
        "bar": words(row[0] for row in rows),
        "part": words(row[1] for row in rows),
        "colour": words(row[2] for row in rows),
        "left": amounts(row[3] for row in rows),
        "right": amounts(row[4] for row in rows),
        "amount": amounts(row[5] for row in rows),
        "share": [row[6] for row in rows],
    }
