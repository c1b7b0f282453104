"""Budgets over time: what was spent, held, and still free, one panel a cost centre."""

from collections.abc import Mapping
from html import escape

from bokeh.models import DataRange1d, DatetimeTicker, Range1d
from bokeh.plotting import figure

from treasury.domain.money import MICRO, format_money
from treasury_simulations.record import BudgetSeries, Comparison
from treasury_simulations.report import markup
from treasury_simulations.report.figures import span
from treasury_simulations.report.plot import EXACT, bare, hover, money_axis
from treasury_simulations.report.sheet import Columns, Sheet, amounts, words
from treasury_simulations.report.thinning import thin

SPENT, HELD, FREE, LIMIT = "#3573d9", "#e0a030", "#2f9e77", "#c9483f"
# Points of all panels and strategies together; a panel shows at least the few it needs.
_POINTS = 12_000


def burn_down(sheet: Sheet, comparison: Comparison) -> str:
    """Panels of the cost centres; the strategy's switch stands above them."""
    names = sorted({series.cost_centre for run in comparison.runs for series in run.budgets})
    if not names:
        return markup.nothing("No budget limited this replay.")
    limit = max(120, _POINTS // (len(names) * max(1, len(comparison.runs))))
    panels = "".join(_panel(sheet, comparison, name, limit) for name in names)
    return (
        markup.legend(
            ((SPENT, "spent"), (HELD, "held"), (FREE, "available (line)"), (LIMIT, "limit (line)"))
        )
        + f'<div class="grid">{panels}</div>'
        + markup.note(
            "Held is reserved for running machines and not yet spent. Available is what is left "
            "for new ones: the limit, with what was carried over or moved in, less what is held "
            "and spent. The levels above must have room as well."
        )
    )


def _panel(sheet: Sheet, comparison: Comparison, name: str, limit: int) -> str:
    variants: dict[str, Columns] = {}
    for number, run in enumerate(comparison.runs):
        mine = next((series for series in run.budgets if series.cost_centre == name), None)
        variants[str(number)] = _columns(sheet, mine, run.ended_at, limit)
    start, end = span(comparison)
    plot = bare(
        "time (UTC)",
        "USD",
        250,
        x_axis_type="datetime",
        x_range=Range1d(start=start / 1e6, end=end / 1e6),
        y_range=DataRange1d(start=0, range_padding=0.08),
    )
    # A panel is narrow: five dates would run into each other.
    plot.xaxis.ticker = DatetimeTicker(desired_num_ticks=4)
    money_axis(plot.yaxis)
    _draw(plot, sheet, f"budget:{name}", variants)
    chart = sheet.chart(plot, f"Budget of {name} over time")
    amounts = sorted({s.limit for r in comparison.runs for s in r.budgets if s.cost_centre == name})
    limits = " / ".join(format_money(amount) for amount in amounts)
    return f"<div><h3>{escape(name)} <small>limit {escape(limits)}</small></h3>{chart}</div>"


def _draw(plot: figure, sheet: Sheet, name: str, variants: Mapping[str, Columns]) -> None:
    source = sheet.source(name, variants)
    plot.varea_step(
        x="at", y1=0, y2="spent", step_mode="after", fill_color=SPENT, alpha=0.55, source=source
    )
    plot.varea_step(
        x="at", y1="spent", y2="taken", step_mode="after", fill_color=HELD, alpha=0.7, source=source
    )
    for column, colour, dash in (("available", FREE, "solid"), ("limit", LIMIT, "dashed")):
        plot.step(
            x="at",
            y=column,
            mode="after",
            line_color=colour,
            line_width=1.6,
            line_dash=dash,
            source=source,
        )
    guide = plot.line(x="at", y="taken", alpha=0, source=source)
    hover(
        plot,
        [guide],
        "@at{%F %H:%M} UTC",
        [(name, f"@{name}{EXACT}") for name in ("limit", "spent", "held", "available")],
        formatters={"@at": "datetime"},
        mode="vline",
        line_policy="prev",
    )


def _columns(sheet: Sheet, series: BudgetSeries | None, end: int, limit: int) -> Columns:
    if series is None or not series.at:
        return {key: [] for key in ("at", "spent", "held", "taken", "available", "limit")}
    keep = thin((series.available, series.held, series.spent), limit)
    at = [series.at[i] for i in keep]
    # The last state holds until the replay's end.
    if at[-1] < end:
        keep, at = [*keep, keep[-1]], [*at, end]
    return {
        "at": sheet.times(at),
        "spent": amounts(series.spent[i] for i in keep),
        "held": amounts(series.held[i] for i in keep),
        "taken": amounts(series.held[i] + series.spent[i] for i in keep),
        "available": amounts(series.available[i] for i in keep),
        "limit": words([series.limit / MICRO] * len(keep)),
    }
