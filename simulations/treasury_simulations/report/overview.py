"""The top of the page: what was replayed, the key figures, and the strategies side by side."""

from collections.abc import Callable, Mapping, Sequence
from html import escape

from treasury.domain.money import MICRO, format_money
from treasury.domain.time import format_duration
from treasury_simulations.record import Comparison
from treasury_simulations.report import markup
from treasury_simulations.report.figures import BASELINE, Figures, headline, span
from treasury_simulations.report.markup import Cell, card, percent, utc

# More hashes than this push the figures off the first screen.
_UNFOLDED = 4


def provenance(comparison: Comparison, values: Sequence[Figures]) -> str:
    """What was replayed: trace, span, jobs, source and licence, seed, journal hashes."""
    start, end = span(comparison)
    jobs = sorted({run.jobs for run in values})
    seeds = sorted({run.seed for run in comparison.runs})
    facts = [
        ("Trace", comparison.trace),
        ("Span (UTC)", f"{utc(start)} to {utc(end)} ({format_duration(end - start)})"),
        ("Jobs", " / ".join(f"{count:,}" for count in jobs) or "0"),
        ("Seed", " / ".join(str(seed) for seed in seeds) or markup.UNKNOWN),
    ]
    origin = [
        ("Source", comparison.source or "not stated"),
        ("Licence", comparison.licence or "not stated"),
    ]
    hashes = [
        (run.label, record.journal_hash)
        for run, record in zip(values, comparison.runs, strict=True)
    ]
    unfolded = " open" if len(values) <= _UNFOLDED else ""
    return (
        f'<dl class="facts">{_pairs(facts)}</dl><dl class="facts two">{_pairs(origin)}</dl>'
        f'<details class="hashes"{unfolded}><summary>Journal hashes</summary>'
        f"<dl>{_pairs(hashes)}</dl>"
        + markup.note("The same trace, configuration, strategy and seed give the same hash.")
        + "</details>"
    )


def _pairs(facts: Sequence[tuple[str, str]]) -> str:
    return "".join(f"<div><dt>{escape(n)}</dt><dd>{escape(v)}</dd></div>" for n, v in facts)


def key_figures(values: Sequence[Figures]) -> str:
    """A sentence and six cards about the run a reader would pick first."""
    place = headline(values)
    if place is None:
        return markup.nothing("No strategy was replayed.")
    best = values[place]
    if not best.jobs:
        return markup.nothing("No job was submitted: there is nothing to measure.")
    cards = [
        card("Paid", _rough(best.paid), _versus(best, values), tone="accent"),
        card("Jobs finished", f"{best.finished:,} of {best.jobs:,}", f"under {best.label}"),
        card("Deadlines met", *_deadlines(best)),
        card("Useful GPU-hour", _unit(best), "everything paid, per GPU-hour that counted"),
        card("Waste", percent(best.waste_share), "of what was paid did no useful work"),
        card("Mean wait", _wait(best), f"{best.interruptions:,} interruptions in all"),
    ]
    return f'<p class="lead">{_sentence(best, values)}</p><div class="cards">{"".join(cards)}</div>'


def _sentence(best: Figures, values: Sequence[Figures]) -> str:
    """The headline in words: never the price without what was delivered for it."""
    baseline = next((run for run in values if run.label == BASELINE and run is not best), None)
    text = f"<b>{escape(best.label)}</b> paid {escape(format_money(best.paid))}"
    beside = ""
    if baseline is not None and best.versus_baseline is not None:
        text += f", {percent(best.versus_baseline)} of what {BASELINE} paid,"
        beside = f" ({BASELINE}: {baseline.finished:,})"
    text += f" and finished {best.finished:,} of {best.jobs:,} jobs{beside}"
    if best.deadlines:
        beside = f" ({BASELINE}: {baseline.met:,})" if baseline is not None else ""
        text += f", meeting {best.met:,} of {best.deadlines:,} deadlines{beside}"
    others = len(values) - (baseline is not None)
    rule = (
        f" Of {others} strategies it is shown first because it was late least often, then finished "
        "most, then paid least."
        if others > 1
        else ""
    )
    return f"{text}.{rule}"


def _rough(micros: int) -> str:
    """An amount for a card: cents only where they matter."""
    return format_money(micros, places=0 if micros >= 1_000 * MICRO else 2)


def _versus(best: Figures, values: Sequence[Figures]) -> str:
    if all(run.label != BASELINE for run in values):
        return f"under {best.label}; {BASELINE} was not replayed"
    if best.label == BASELINE or best.versus_baseline is None:
        return f"under {best.label}"
    return f"{percent(best.versus_baseline)} of {BASELINE}, under {best.label}"


def _deadlines(best: Figures) -> tuple[str, str]:
    if not best.deadlines:
        return "none", "no job had a deadline"
    return f"{best.met:,} of {best.deadlines:,}", f"{best.late:,} late, {best.open:,} undecided"


def _unit(best: Figures) -> str:
    return markup.UNKNOWN if best.unit_cost is None else format_money(best.unit_cost)


def _wait(best: Figures) -> str:
    return markup.UNKNOWN if best.mean_wait is None else format_duration(best.mean_wait)


# Title, how to show it, and the figure by which the best is found: lower wins, None for no winner.
_Measure = Callable[[Figures], float | None]
_METRICS: tuple[tuple[str, Callable[[Figures], Cell], _Measure | None], ...] = (
    ("Paid", lambda run: markup.money(run.paid), lambda run: run.paid),
    ("Relative to on_demand", lambda run: markup.share(run.versus_baseline), None),
    ("Cost of a useful GPU-hour", lambda run: markup.money(run.unit_cost), lambda r: r.unit_cost),
    (
        "Jobs finished",
        lambda run: Cell(f"{run.finished:,} of {run.jobs:,}", "num"),
        lambda run: -run.finished,
    ),
    (
        "Deadlines met",
        lambda run: Cell(f"{run.met:,} of {run.deadlines:,}", "num"),
        lambda run: -run.met,
    ),
    ("Late", lambda run: markup.count(run.late), lambda run: run.late),
    ("Mean wait", lambda run: markup.duration(run.mean_wait), lambda run: run.mean_wait),
    ("Interruptions", lambda run: markup.count(run.interruptions), lambda r: r.interruptions),
    ("Preemptions", lambda run: markup.count(run.preemptions), None),
    ("Migrations", lambda run: markup.count(run.migrations), None),
    ("Lost work (GPU-h)", lambda r: markup.gpu_hours(r.lost_gpu_time), lambda r: r.lost_gpu_time),
    ("Useful work (GPU-h)", lambda run: markup.gpu_hours(run.useful_gpu_time), None),
    ("Waste share", lambda run: markup.share(run.waste_share), lambda run: run.waste_share),
    ("Turns of the engine", lambda run: markup.count(run.turns), None),
)


def side_by_side(values: Sequence[Figures], colours: Mapping[str, str]) -> str:
    """A column a strategy, a row a measure, the best of each row marked."""
    if not values:
        return markup.nothing("No strategy was replayed.")
    head = [Cell("Measure"), *(Cell(r.label, "num", swatch=colours[r.label]) for r in values)]
    rows = []
    for title, shown, measure in _METRICS:
        best = _best(values, measure) if measure is not None else set()
        cells = [
            Cell(cell.text, f"{cell.kind} best" if i in best else cell.kind, cell.hover)
            for i, cell in enumerate(map(shown, values))
        ]
        rows.append([Cell(title), *cells])
    mark = "" if len(values) < 2 else markup.note("The best of each row is set in bold.")
    return markup.table(head, rows) + mark


def _best(values: Sequence[Figures], measure: _Measure) -> set[int]:
    """Places of the lowest measure; none where all are equal."""
    known = {i: found for i, run in enumerate(values) if (found := measure(run)) is not None}
    if len(set(known.values())) < 2:
        return set()
    lowest = min(known.values())
    return {i for i, found in known.items() if found == lowest}
