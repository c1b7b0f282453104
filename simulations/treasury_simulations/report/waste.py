"""Where the money went: what was paid, by cause, and the proof that the parts are all of it."""

from collections.abc import Mapping, Sequence

from treasury.domain.money import format_money
from treasury_simulations.record import Comparison
from treasury_simulations.report import markup
from treasury_simulations.report.colours import CAUSE_COLOURS
from treasury_simulations.report.figures import CAUSES, Figures, check_waste, part
from treasury_simulations.report.markup import Cell, percent
from treasury_simulations.report.plot import stacked_bars
from treasury_simulations.report.sheet import Sheet

MEANINGS = {
    "useful": "Work that counted, at the best price at which it could have been had then.",
    "premium": "What work that counted cost above the cheapest fitting offer that had room.",
    "restart": "A job's start overhead, from a ready machine to its first useful step, every time.",
    "lost_work": "Work done after the last checkpoint that went with the machine.",
    "idle": "Bound to a job and not at work: booting, draining, what billing rounds up.",
    "unallocated": "Billed for machines that no job was ever bound to.",
}


def by_cause(
    sheet: Sheet,
    comparison: Comparison,
    values: Sequence[Figures],
    colours: Mapping[str, str],
) -> str:
    """Bars of the parts, bars of the waste alone, and the table whose last rows are the proof."""
    if not any(run.paid for run in values):
        return markup.nothing("Nothing was paid.")
    labels = [run.label for run in values]
    parts = [
        (title, CAUSE_COLOURS[key], [part(run.waste, key) for run in values])
        for key, title in CAUSES
    ]
    everything = stacked_bars(
        sheet,
        "waste:all",
        labels,
        parts,
        ends=[format_money(run.paid) for run in values],
        describes="What was paid, by cause",
    )
    wasted = stacked_bars(
        sheet,
        "waste:only",
        labels,
        parts[1:],
        ends=[percent(run.waste_share) for run in values],
        describes="What did no useful work, by cause",
    )
    return (
        markup.legend((CAUSE_COLOURS[key], title) for key, title in CAUSES)
        + f'<div class="pair"><div><h3>All that was paid</h3>{everything}</div>'
        + "<div><h3>Waste alone <small>and its share of what was paid</small></h3>"
        + f"{wasted}</div></div>"
        + _table(comparison, values, colours)
    )


def _table(comparison: Comparison, values: Sequence[Figures], colours: Mapping[str, str]) -> str:
    head = [Cell("Cause"), *(Cell(r.label, "num", swatch=colours[r.label]) for r in values)]
    rows = [
        [
            Cell(title, hover=MEANINGS[key], swatch=CAUSE_COLOURS[key]),
            *(_exact(part(run.waste, key)) for run in values),
        ]
        for key, title in CAUSES
    ]
    sums = [check_waste(run) for run in comparison.runs]
    rows.append([Cell("sum of the parts", "sum"), *(_exact(total, " sum") for total in sums)])
    rows.append([Cell("paid", "sum"), *(_exact(run.paid, " sum") for run in values)])
    rows.append([Cell("difference"), *(
        _exact(run.paid - total) for run, total in zip(values, sums, strict=True)
    )])  # fmt: skip
    meanings = "".join(
        f"<div><dt>{markup.dot(CAUSE_COLOURS[key])}{title}</dt><dd>{MEANINGS[key]}</dd></div>"
        for key, title in CAUSES
    )
    return markup.table(head, rows) + f'<dl class="meanings">{meanings}</dl>'


def _exact(micros: int, kind: str = "") -> Cell:
    return Cell(format_money(micros, places=6), f"num{kind}")
