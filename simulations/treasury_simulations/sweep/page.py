"""The report of a sweep: one page that fetches nothing, by the means of a replay's report."""

import re
from collections.abc import Callable, Mapping, Sequence
from html import escape

from treasury_simulations.report import markup
from treasury_simulations.report.colours import strategy_colours
from treasury_simulations.report.markup import Cell
from treasury_simulations.report.page import document
from treasury_simulations.report.sheet import Sheet
from treasury_simulations.sweep.cells import HINDSIGHT, Row
from treasury_simulations.sweep.charts import cost_by_facet, regret_curves, savings_and_lateness
from treasury_simulations.sweep.results import Manifest
from treasury_simulations.sweep.statistics import (
    Figures,
    Interval,
    Summary,
    facets,
    regrets,
    summarise,
)
from treasury_simulations.sweep.tables import between, notes, share, signed


def render(manifest: Manifest, rows: Sequence[Row], baseline: str, *, block: int = 0) -> str:
    """The whole page as HTML text: the same rows give the same text, in whatever order they came.
    block [ns]: see `statistics.summarise`."""
    summary = summarise(rows, manifest.variants, baseline, block=block)
    colours = strategy_colours(name for name in manifest.variants if name != HINDSIGHT)
    sheet = Sheet(0)
    by_facet = _facets(manifest, rows, baseline, block)
    parts = [
        ("strategies", "Strategies", _table(summary, colours)),
        ("bound", "Cost against the bound", _bound(sheet, by_facet, colours)),
        ("regret", "Regret", regret_curves(sheet, regrets(rows, manifest.variants), colours)),
        ("lateness", "Savings and lateness", savings_and_lateness(sheet, summary, colours)),
    ]
    links = "".join(f'<li><a href="#{key}">{escape(title)}</a></li>' for key, title, _ in parts)
    sections = "".join(markup.section(key, title, inner) for key, title, inner in parts)
    body = (
        f'<header><p class="brand">treasury · sweep report</p><h1>{escape(manifest.title)}</h1>'
        f"{_lead(summary)}"
        '<noscript><p class="failed">The charts are drawn by a script inside this file, and '
        "scripts are switched off.</p></noscript></header>"
        f'<nav aria-label="Sections"><ul>{links}</ul></nav><main>{sections}</main>'
        "<footer>Intervals are of 95 %, by block bootstrap. Costs are what the world's meter "
        "says.</footer>"
    )
    return document(manifest.title, body, sheet.payload(chosen={}))


Facet = tuple[tuple[str, ...], Summary]


def _facets(
    manifest: Manifest, rows: Sequence[Row], baseline: str, block: int
) -> tuple[list[str], list[Facet]]:
    """Names of the axes that split the cases, and a summary of each part, in their order."""
    names = facets(rows, manifest.axes)
    parts: dict[tuple[str, ...], list[Row]] = {}
    for row in rows:
        parts.setdefault(tuple(row.axes[name] for name in names), []).append(row)
    return names, [
        (key, summarise(part, manifest.variants, baseline, block=block))
        for key, part in sorted(parts.items(), key=lambda item: [*map(_natural, item[0])])
    ]


def _natural(text: str) -> tuple[float, str]:
    """Texts that begin with a number, by that number: "6 h" comes before "10 h"."""
    number = re.match(r"[\d.]*\d", text)
    return (float(number[0]) if number and number[0].count(".") < 2 else 0.0, text)


def _lead(summary: Summary) -> str:
    said = "".join(f"<li>{escape(note)}</li>" for note in notes(summary))
    best = min(summary.figures, key=lambda one: (one.late, one.cost.value), default=None)
    if best is None:
        return markup.nothing("No case has been run with every strategy yet.")
    text = f"<b>{escape(best.label)}</b> has the fewest late jobs at the least cost"
    if best.versus is not None:
        text += f": {signed(best.versus.value)} against {escape(summary.baseline)}"
    return f'<p class="lead">{text}.</p><ul>{said}</ul>'


def _table(summary: Summary, colours: Mapping[str, str]) -> str:
    head: list[str | Cell] = [
        "Strategy",
        *(
            Cell(title, "num")
            for title in (
                "Mean cost",
                "95 %",
                f"Against {summary.baseline}",
                "95 %",
                "Gap closed",
                "95 %",
                "Regret",
                "Finished",
                "Deadlines met",
                "Late",
                "Starts",
                "Interruptions",
            )
        ),
    ]
    return markup.table(head, [_row(one, colours) for one in summary.figures]) + markup.note(
        "Gap closed: the part of the way from the baseline to hindsight. Regret: what was paid "
        "above hindsight. All on the same cases, pair by pair."
    )


def _row(one: Figures, colours: Mapping[str, str]) -> list[Cell]:
    money = markup.money(round(one.cost.value))

    def pair(interval: Interval | None, text: Callable[[float], str] = share) -> list[Cell]:
        if interval is None:
            return [Cell(markup.UNKNOWN, "num"), Cell(markup.UNKNOWN, "num")]
        ends = between(interval, text) or markup.UNKNOWN
        return [Cell(text(interval.value), "num"), Cell(ends, "num")]

    ends = between(one.cost, lambda value: markup.money(round(value)).text) or markup.UNKNOWN
    return [
        Cell(one.label, swatch=colours[one.label]),
        money,
        Cell(ends, "num"),
        *pair(one.versus, signed),
        *pair(one.gap),
        pair(one.regret)[0],
        Cell(f"{one.finished:,} of {one.jobs:,}", "num"),
        Cell(f"{one.met:,} of {one.deadlines:,}", "num"),
        Cell(f"{one.late:,}", "num bad" if one.late else "num"),
        markup.count(one.restarts),
        markup.count(one.interruptions),
    ]


def _bound(
    sheet: Sheet, by_facet: tuple[list[str], list[Facet]], colours: Mapping[str, str]
) -> str:
    names, parts = by_facet
    known = [(key, part) for key, part in parts if part.figures]
    if not known:
        return markup.nothing("Nothing has been run with every strategy yet.")
    legend = markup.legend((colour, name) for name, colour in colours.items())
    return legend + cost_by_facet(sheet, names, known, colours) + _facet_table(names, known)


def _facet_table(names: Sequence[str], parts: Sequence[Facet]) -> str:
    labels = [one.label for one in parts[0][1].figures]
    head = [Cell(" / ".join(names) or "All"), *(Cell(label, "num") for label in labels)]
    rows = [
        [
            Cell(" / ".join(key) or "all cases"),
            *(_ratio(one) for one in summary.figures),
        ]
        for key, summary in parts
    ]
    return markup.table(head, rows)


def _ratio(one: Figures) -> Cell:
    """Cost relative to hindsight, or to the baseline where there is no hindsight."""
    ratio = one.regret if one.regret is not None else one.versus
    if ratio is None:
        return Cell("100.0 %", "num")
    ends = between(ratio, lambda value: share(1 + value)) or ""
    return Cell(share(1 + ratio.value), "num", ends)
