"""Placements over prices: who ran where and when, and what every pool cost at that time."""

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from html import escape
from typing import Any

import msgspec
from bokeh.layouts import gridplot
from bokeh.models import CDSView, FixedTicker, GroupFilter, NoOverlap, Range1d
from bokeh.plotting import figure

from treasury_simulations.record import Comparison, JobOutcome, LeaseOutcome, PriceSeries, RunRecord
from treasury_simulations.report import markup
from treasury_simulations.report.figures import billed, is_finished, span
from treasury_simulations.report.markup import dot
from treasury_simulations.report.names import TENURE_TITLES, clip, plain, short_offer, tenure_of
from treasury_simulations.report.plot import EXACT, bare, hover
from treasury_simulations.report.prices import price_chart, price_lines
from treasury_simulations.report.sheet import Columns, Sheet, amounts, words
from treasury_simulations.report.thinning import lanes

# Bars of all strategies in both arrangements together: the page stays small.
_BARS = 16_000
# More rows than this nobody tells apart; the dearest jobs are kept.
_JOB_ROWS = 300
_LEFT = 164
_HATCHED = "not spot"
_READING = (
    "A bar is a machine from grant to release in its pool's colour, hatched where it was not spot. "
    "In rows of jobs a thin line runs from submission to the end, a tick marks the deadline and a "
    "cross a job that never finished."
)


class _Bar(msgspec.Struct, frozen=True):
    row: int
    leases: list[LeaseOutcome]


def timeline(sheet: Sheet, comparison: Comparison, colours: Mapping[str, str]) -> str:
    """Placements above prices on one time axis, under the legend of the pools."""
    prices = price_lines(comparison)
    used = {lease.offer for run in comparison.runs for lease in run.leases}
    bars = bool(used)
    if not bars and not prices:
        return markup.nothing("No machine was ever leased, and the trace holds no prices.")
    start, end = span(comparison)
    x_range = Range1d(
        start=start / 1e6, end=end / 1e6, bounds=(start / 1e6, end / 1e6), name="time"
    )
    limit = max(200, _BARS // (2 * max(1, len(comparison.runs))))
    hints = [_READING] if bars else []
    if any(len(run.leases) > limit for run in comparison.runs):
        hints.append(f"Drawn are the {limit:,} dearest machines of each strategy.")
    busy = max((len({x.job for x in run.leases}) for run in comparison.runs), default=0)
    if busy > _JOB_ROWS:
        hints.append(f"Rows of jobs show the {_JOB_ROWS} dearest jobs.")
    above = _placements(sheet, comparison, colours, x_range, limit) if bars else None
    below = price_chart(sheet, prices, colours, x_range, end, used, _LEFT) if prices else None
    grid = gridplot(
        [[plot] for plot in (above, below) if plot is not None],
        sizing_mode="stretch_width",
        toolbar_location="above",
        toolbar_options={"logo": None},
        merge_tools=True,
    )
    empty = "" if bars else markup.nothing("No machine was ever leased: only prices are shown.")
    return (
        _legend(prices, colours, used)
        + empty
        + sheet.chart(grid, "Placements of jobs over time, and below them the prices of the pools")
        + "".join(markup.note(hint) for hint in hints)
    )


def _legend(
    prices: Mapping[str, PriceSeries], colours: Mapping[str, str], used: AbstractSet[str]
) -> str:
    """Buttons of the pools by provider and tenure; a press brings one to the front."""
    groups: dict[tuple[str, str], list[str]] = {}
    for offer in colours:
        if offer in used or offer in prices:
            groups.setdefault((offer.split("/")[0], tenure_of(offer)), []).append(offer)
    blocks = []
    for (provider, tenure), offers in sorted(groups.items()):
        chips = "".join(
            f'<button type="button" aria-pressed="false" data-pool="{escape(offer)}" '
            f'title="{escape(offer)}"{"" if offer in used else " class=unused"}>'
            f"{dot(colours[offer])}{escape(short_offer(offer))}</button>"
            for offer in offers
        )
        title = f"{provider} {TENURE_TITLES.get(tenure, tenure)}".strip()
        blocks.append(f'<div class="pools"><span>{escape(title)}</span><div>{chips}</div></div>')
    return f'<div class="poolbox">{"".join(blocks)}</div>' + markup.note(
        "Press pools to bring them to the front. Faint names were never used."
    )


def _placements(
    sheet: Sheet,
    comparison: Comparison,
    colours: Mapping[str, str],
    x_range: Range1d,
    limit: int,
) -> figure:
    jobs: dict[str, Columns] = {}
    machines: dict[str, Columns] = {}
    waits: dict[str, Columns] = {}
    labels: dict[str, list[str]] = {}
    most = 0
    for number, run in enumerate(comparison.runs):
        kept = sorted(run.leases, key=lambda lease: (-lease.billed, lease.id))[:limit]
        order = _job_rows(run)
        bars = _job_bars(kept, order)
        jobs[str(number)] = _bar_columns(sheet, bars, colours)
        waits[str(number)] = _wait_columns(sheet, run, order)
        labels[f"{number}/jobs"] = [plain(clip(job, 18)) for job in order]
        slots, names = _machine_bars(kept)
        machines[str(number)] = _bar_columns(sheet, slots, colours)
        labels[f"{number}/machines"] = names
        most = max(most, len(order), len(names))
    height = min(640, max(230, 9 * most + 70))
    plot = bare(
        "",
        "",
        height,
        x_axis_type="datetime",
        x_range=x_range,
        y_range=Range1d(start=1, end=0, name="rows:timeline"),
        tools="xpan,pan,box_zoom,wheel_zoom,reset",
        active_drag="box_zoom",
        active_scroll=None,
        min_border_left=_LEFT,
    )
    plot.yaxis.ticker = FixedTicker(ticks=[])
    plot.yaxis.major_label_policy = NoOverlap(min_distance=4)
    plot.yaxis.name = "axis:timeline"
    plot.yaxis.major_label_text_font_size = "11px"
    plot.ygrid.visible = False
    # A tick a row would be a comb.
    plot.yaxis.major_tick_out = 0
    sheet.rows("timeline", labels)
    _draw_waits(plot, sheet, waits)
    for mode, variants in (("jobs", jobs), ("machines", machines)):
        _draw_bars(plot, sheet, mode, variants)
    return plot


def _draw_bars(plot: figure, sheet: Sheet, mode: str, variants: Mapping[str, Columns]) -> None:
    source = sheet.source(f"bars:{mode}", variants)
    place: dict[str, Any] = {
        "y": "row",
        "left": "left",
        "right": "right",
        "height": 0.78,
        "line_color": None,
    }
    drawn = plot.hbar(**place, fill_color="colour", fill_alpha="alpha", source=source)
    # Hatching is slow to paint, so only the bars that need it are in this second layer.
    hatched = plot.hbar(
        **place,
        fill_color=None,
        hatch_pattern="/",
        hatch_color="rgba(255, 255, 255, 0.55)",
        hatch_alpha="alpha",
        hatch_scale=7,
        source=source,
        view=CDSView(filter=GroupFilter(column_name="tenure", group=_HATCHED)),
    )
    for renderer in (drawn, hatched):
        renderer.tags = [f"rows={mode}"]
        renderer.visible = mode == "jobs"
    hover(
        plot,
        [drawn],
        "@job",
        [
            ("pool", "@offer"),
            ("from", "@left{%F %H:%M} UTC"),
            ("to", "@right{%F %H:%M} UTC, @ended"),
            ("machines", "@machines of @gpus x @gpu"),
            ("paid", f"@paid{EXACT}"),
        ],
        formatters={"@left": "datetime", "@right": "datetime"},
    )


def _draw_waits(plot: figure, sheet: Sheet, variants: Mapping[str, Columns]) -> None:
    source = sheet.source("waits", variants)
    whole = plot.segment(
        x0="submitted", x1="over", y0="row", y1="row", line_color="#8792a2", source=source
    )
    tick = plot.scatter(
        x="deadline", y="row", marker="dash", angle=1.5708, size=9, color="mark", source=source
    )
    tick.glyph.line_width = 2
    cross = plot.scatter(
        x="unfinished", y="row", marker="x", size=6, color="#d1495b", source=source
    )
    for renderer in (whole, tick, cross):
        renderer.tags = ["rows=jobs"]


def _job_rows(run: RunRecord) -> dict[str, int]:
    """Rows of the jobs that ever had a machine, in order of their first start."""
    paid: dict[str, int] = {}
    first: dict[str, int] = {}
    for lease in run.leases:
        if lease.job:
            paid[lease.job] = paid.get(lease.job, 0) + lease.billed
            first[lease.job] = min(first.get(lease.job, lease.granted_at), lease.granted_at)
    dearest = sorted(paid, key=lambda job: (-paid[job], job))[:_JOB_ROWS]
    return {job: row for row, job in enumerate(sorted(dearest, key=lambda job: (first[job], job)))}


def _job_bars(leases: Sequence[LeaseOutcome], order: Mapping[str, int]) -> list[_Bar]:
    """One bar a placement: the machines of a gang lie over each other."""
    gangs: dict[tuple[str, int], list[LeaseOutcome]] = {}
    for lease in leases:
        if lease.job in order:
            gangs.setdefault((lease.job, lease.placement), []).append(lease)
    return [_Bar(order[job], gang) for (job, _), gang in gangs.items()]


def _machine_bars(leases: Sequence[LeaseOutcome]) -> tuple[list[_Bar], list[str]]:
    """One bar a machine, in as many rows a pool as it had machines at once; and the rows' names."""
    pools: dict[str, list[LeaseOutcome]] = {}
    for lease in sorted(leases, key=lambda lease: (lease.offer, lease.granted_at, lease.id)):
        pools.setdefault(lease.offer, []).append(lease)
    bars: list[_Bar] = []
    names: list[str] = []
    for offer, members in pools.items():
        rows = lanes([(lease.granted_at, lease.ended_at) for lease in members])
        bars.extend(
            _Bar(len(names) + row, [lease]) for row, lease in zip(rows, members, strict=True)
        )
        name = plain(clip(short_offer(offer), 25))
        names.extend([name, *[""] * max(rows)])
    return bars, names


def _bar_columns(sheet: Sheet, bars: Sequence[_Bar], colours: Mapping[str, str]) -> Columns:
    first = [bar.leases[0] for bar in bars]
    return {
        "row": [bar.row for bar in bars],
        "left": sheet.times(min(lease.granted_at for lease in bar.leases) for bar in bars),
        "right": sheet.times(max(lease.ended_at for lease in bar.leases) for bar in bars),
        "colour": words(colours[lease.offer] for lease in first),
        "alpha": [1] * len(bars),
        "tenure": words("spot" if lease.tenure == "spot" else _HATCHED for lease in first),
        "job": words(lease.job or "(no job)" for lease in first),
        "offer": words(lease.offer for lease in first),
        "gpu": words(lease.gpu for lease in first),
        "gpus": [lease.gpus for lease in first],
        "machines": [len(bar.leases) for bar in bars],
        "ended": words(lease.end_cause for lease in first),
        "paid": amounts(billed(bar.leases) for bar in bars),
    }


def _wait_columns(sheet: Sheet, run: RunRecord, order: Mapping[str, int]) -> Columns:
    jobs = [job for job in run.jobs if job.id in order]

    def over(job: JobOutcome) -> int:
        return job.ended_at if job.ended_at is not None else run.ended_at

    return {
        "row": [order[job.id] for job in jobs],
        "submitted": sheet.times(job.submitted_at for job in jobs),
        "over": sheet.times(over(job) for job in jobs),
        "deadline": sheet.maybe_times(job.deadline for job in jobs),
        "mark": words("#d1495b" if job.late else "#8792a2" for job in jobs),
        "unfinished": sheet.maybe_times(None if is_finished(job) else over(job) for job in jobs),
    }
