"""Cost against on-demand and against each other, and who paid whom."""

from collections.abc import Mapping, Sequence

from bokeh.models import DataRange1d, Range1d

from treasury.domain.money import MICRO, format_money
from treasury_simulations.record import Comparison, RunRecord
from treasury_simulations.report import markup
from treasury_simulations.report.figures import Figures, billed, paid_by, span
from treasury_simulations.report.markup import Cell
from treasury_simulations.report.plot import bare, hover, money_axis, stacked_bars, step_lines
from treasury_simulations.report.sheet import ALWAYS, Sheet, lines

# Points of a cumulative line: more than a screen has columns to show them on.
_POINTS = 240


def against_each_other(
    sheet: Sheet, comparison: Comparison, values: Sequence[Figures], colours: Mapping[str, str]
) -> str:
    """Bars of what each strategy paid, the lines that led there, and each relative to each."""
    if not any(run.paid for run in values):
        return markup.nothing("Nothing was paid.")
    bars = stacked_bars(
        sheet,
        "paid",
        [run.label for run in values],
        [
            (run.label, colours[run.label], [run.paid if other is run else 0 for other in values])
            for run in values
        ],
        ends=[format_money(run.paid) for run in values],
        describes="What each strategy paid",
    )
    drawn = _cumulative(sheet, comparison, values, colours)
    return (
        '<div class="pair"><div><h3>Paid in all</h3>'
        f"{bars}{_matrix(values, colours)}</div>"
        f"<div><h3>Paid so far</h3>{drawn}"
        + markup.legend((colours[run.label], run.label) for run in values)
        + markup.note("Each machine's bill is spread evenly from its grant to its release.")
        + "</div></div>"
    )


def _matrix(values: Sequence[Figures], colours: Mapping[str, str]) -> str:
    if len(values) < 2:
        return markup.nothing(
            "Only one strategy was replayed: there is nothing to compare it with."
        )
    head = [Cell("paid, relative to"), *(Cell(run.label, "num") for run in values)]
    rows = [
        [
            Cell(run.label, swatch=colours[run.label]),
            *(
                markup.share(run.paid / other.paid if other.paid else None)
                if other is not run
                else Cell("·", "num")
                for other in values
            ),
        ]
        for run in values
    ]
    finished = {run.finished for run in values}
    warning = (
        ""
        if len(finished) == 1
        else markup.note(
            "The strategies did not finish the same number of jobs: compare what a useful GPU-hour "
            "cost before comparing totals."
        )
    )
    return markup.table(head, rows) + warning


def _cumulative(
    sheet: Sheet, comparison: Comparison, values: Sequence[Figures], colours: Mapping[str, str]
) -> str:
    start, end = span(comparison)
    grid = [start + (end - start) * i // _POINTS for i in range(_POINTS + 1)]
    source = sheet.source(
        "cumulative",
        {
            ALWAYS: {
                "xs": sheet.line_times([grid] * len(values)),
                "ys": lines(_paid_until(run, grid) for run in comparison.runs),
                "colour": [colours[run.label] for run in values],
                "label": [run.label for run in values],
            }
        },
    )
    plot = bare(
        "time (UTC)",
        "USD",
        300,
        x_axis_type="datetime",
        x_range=Range1d(start=start / 1e6, end=end / 1e6),
        y_range=DataRange1d(start=0),
    )
    money_axis(plot.yaxis)
    broad = step_lines(plot, source)
    hover(
        plot,
        [broad],
        "@label",
        [("until", "$snap_x{%F %H:%M} UTC"), ("paid", "$snap_y{0,0.00} USD")],
        formatters={"$snap_x": "datetime"},
    )
    return sheet.chart(plot, "What each strategy had paid, over time")


def _paid_until(run: RunRecord, grid: Sequence[int]) -> list[float]:
    """USD paid up to each instant of an even grid, every bill spread evenly over its lease."""
    step = grid[1] - grid[0]
    # Changes of the level and of the slope [USD a step] at each grid point.
    level = [0.0] * (len(grid) + 1)
    slope = [0.0] * (len(grid) + 1)
    for lease in run.leases:
        first, last = (
            min(len(grid) - 1, max(0, -(-(instant - grid[0]) // step)))
            for instant in (lease.granted_at, lease.ended_at)
        )
        paid = lease.billed / MICRO
        if first == last:
            level[first] += paid
            continue
        slope[first] += paid / (last - first)
        slope[last] -= paid / (last - first)
    total, rate, line = 0.0, 0.0, []
    for index in range(len(grid)):
        total += rate + level[index]
        rate += slope[index]
        line.append(round(total, 2))
    return line


def who_paid_whom(
    sheet: Sheet,
    comparison: Comparison,
    values: Sequence[Figures],
    centres: Mapping[str, str],
    providers: Mapping[str, str],
) -> str:
    """Stacked bars and a table: cost per cost centre and per provider."""
    if not any(run.paid for run in values):
        return markup.nothing("Nothing was paid.")
    blocks = []
    for title, key, colours in (
        ("Per cost centre", "cost_centre", centres),
        ("Per provider", "provider", providers),
    ):
        groups = [paid_by(run, key) for run in comparison.runs]
        parts = [
            (name or "(none)", colour, [billed(group.get(name, ())) for group in groups])
            for name, colour in colours.items()
        ]
        chart = stacked_bars(
            sheet,
            f"cost:{key}",
            [run.label for run in values],
            parts,
            ends=[format_money(run.paid) for run in values],
            describes=f"{title}: what each strategy paid",
        )
        head = [Cell(title), *(Cell(run.label, "num") for run in values)]
        rows = [
            [Cell(name, swatch=colour), *(markup.money(amount) for amount in amounts)]
            for name, colour, amounts in parts
        ]
        sums = [sum(amounts[i] for _, _, amounts in parts) for i in range(len(values))]
        rest = [run.paid - total for run, total in zip(values, sums, strict=True)]
        if any(rest):
            rows.append([Cell("not on any machine"), *(markup.money(amount) for amount in rest)])
        rows.append([Cell("sum", "sum"), *(_sum(run.paid) for run in values)])
        blocks.append(f"<div><h3>{title}</h3>{chart}{markup.table(head, rows)}</div>")
    return f'<div class="pair">{"".join(blocks)}</div>'


def _sum(micros: int) -> Cell:
    cell = markup.money(micros)
    return Cell(cell.text, "num sum", cell.hover)
