"""The page: sections in their order, the library and the script inside, nothing fetched.

A content security policy forbids every connection and every script but the three that the page
was written with (by their hashes), so that no name in the data can become one.
"""

import base64
import hashlib
from collections.abc import Mapping
from html import escape
from importlib.resources import files
from typing import NamedTuple

from bokeh.resources import Resources

from treasury_simulations.record import Comparison
from treasury_simulations.report import markup
from treasury_simulations.report.budgets import burn_down
from treasury_simulations.report.colours import (
    cost_centre_colours,
    pool_colours,
    provider_colours,
    strategy_colours,
)
from treasury_simulations.report.costs import against_each_other, who_paid_whom
from treasury_simulations.report.deadlines import deadlines
from treasury_simulations.report.figures import Figures, figures, headline, span
from treasury_simulations.report.jobs import job_tables
from treasury_simulations.report.overview import key_figures, provenance, side_by_side
from treasury_simulations.report.prices import price_lines
from treasury_simulations.report.sheet import Sheet
from treasury_simulations.report.timeline import timeline
from treasury_simulations.report.waste import by_cause
from treasury_simulations.report.work import distributions


def render(comparison: Comparison) -> str:
    """The whole page as HTML text: the same comparison gives the same text.

    Raises InvariantBroken where the parts of a run's waste do not sum to what it paid.
    """
    values = figures(comparison)
    sheet = Sheet(span(comparison)[0])
    body = _body(sheet, comparison, values)
    chosen = {"strategy": str(headline(values) or 0), "rows": "jobs"}
    title = comparison.title or comparison.trace or "Replay"
    return document(title, body, sheet.payload(chosen=chosen))


def document(title: str, body: str, payload: str) -> str:
    """A page around a body and what its charts are drawn from (`Sheet.payload`)."""
    style, script = _resource("page.css"), _resource("page.js")
    library = "\n".join(Resources(mode="inline", components=["bokeh"], log_level="warn").js_raw)
    policy = (
        f"default-src 'none'; script-src {_hash(library)} {_hash(script)}; "
        "style-src 'unsafe-inline'; img-src data: blob:; base-uri 'none'; form-action 'none'"
    )
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<link rel="icon" href="data:,">
<title>{escape(title)} · treasury</title>
<style>{style}</style>
</head>
<body>
{body}
<script type="application/json" id="payload">{payload}</script>
<script>{library}</script>
<script>{script}</script>
</body>
</html>
"""


class _Section(NamedTuple):
    key: str
    link: str
    title: str
    inner: str


def _body(sheet: Sheet, comparison: Comparison, values: list[Figures]) -> str:
    heading = escape(comparison.title or comparison.trace or "Replay")
    parts = _sections(sheet, comparison, values) if values else []
    links = "".join(f'<li><a href="#{part.key}">{part.link}</a></li>' for part in parts)
    sections = "".join(markup.section(part.key, part.title, part.inner) for part in parts)
    return (
        f'<header><p class="brand">treasury · replay report</p><h1>{heading}</h1>'
        f"{key_figures(values)}{provenance(comparison, values)}"
        '<noscript><p class="failed">The charts are drawn by a script inside this file, and '
        "scripts are switched off.</p></noscript></header>"
        f'<nav aria-label="Sections"><ul>{links}</ul></nav><main>{sections}</main>'
        "<footer>Times are UTC. A GPU-hour counts every accelerator of a machine. Curves are "
        "thinned for drawing; tables are exact.</footer>"
    )


def _sections(sheet: Sheet, comparison: Comparison, values: list[Figures]) -> list[_Section]:
    strategies = strategy_colours(run.label for run in values)
    offers = _offers(comparison)
    pools = pool_colours(offers)
    providers = _used(comparison, provider_colours(offers))
    centres = cost_centre_colours(x.cost_centre for run in comparison.runs for x in run.leases)
    pick = markup.switch("strategy", [(str(i), r.label) for i, r in enumerate(values)], "Strategy")
    rows = markup.switch("rows", [("jobs", "jobs"), ("machines", "machines")], "Rows")
    cost = against_each_other(sheet, comparison, values, strategies)
    payers = who_paid_whom(sheet, comparison, values, centres, providers)
    limited = any(run.budgets for run in comparison.runs)
    budgets = (pick if limited else "") + burn_down(sheet, comparison)
    leased = any(run.leases for run in comparison.runs)
    placements = (pick + rows if leased else "") + timeline(sheet, comparison, pools)
    work = distributions(sheet, comparison, strategies)
    kept = deadlines(sheet, comparison, values, strategies)
    waste = by_cause(sheet, comparison, values, strategies)
    jobs = job_tables(comparison)
    long_title = "Waits, interruptions, migrations, lost work"
    return [
        _Section(
            "strategies", "Strategies", "Strategies side by side", side_by_side(values, strategies)
        ),
        _Section("cost", "Cost", "Cost", cost),
        _Section("payers", "Payers", "Who paid, and whom", payers),
        _Section("budgets", "Budgets", "Budgets", budgets),
        _Section("placements", "Placements", "Placements and prices", placements),
        _Section("work", "Waits", long_title, work),
        _Section("deadlines", "Deadlines", "Deadlines", kept),
        _Section("waste", "Waste", "Waste", waste),
        _Section("jobs", "Jobs", "Jobs", (pick if any(run.jobs for run in values) else "") + jobs),
    ]


def _offers(comparison: Comparison) -> dict[str, str]:
    """Every offer that was priced or leased, with its provider."""
    offers = {offer: offer.partition("/")[0] for offer in price_lines(comparison)}
    for run in comparison.runs:
        for lease in run.leases:
            offers[lease.offer] = lease.provider
    return dict(sorted(offers.items()))


def _used(comparison: Comparison, providers: Mapping[str, str]) -> dict[str, str]:
    """The colours of the providers that were ever paid."""
    paid = {lease.provider for run in comparison.runs for lease in run.leases}
    return {name: colour for name, colour in providers.items() if name in paid}


def _resource(name: str) -> str:
    return files("treasury_simulations.report").joinpath(name).read_text(encoding="utf-8")


def _hash(script: str) -> str:
    digest = hashlib.sha256(script.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"
