"""The page: one file that fetches nothing, says everything, and stands on any input."""

import base64
import hashlib
import importlib.util
import json
import re
from pathlib import Path
from types import ModuleType
from typing import Any

import msgspec
import pytest

from treasury.domain.errors import InvariantBroken
from treasury.domain.money import format_money
from treasury_simulations.record import Comparison
from treasury_simulations.report import write_report
from treasury_simulations.report.page import render

HOSTILE = (
    "<script>alert(1)</script>",
    "$$\\alpha$$",
    '"><img src=x onerror=alert(2)>',
    "</script>",
)
SECTIONS = (
    "strategies",
    "cost",
    "payers",
    "budgets",
    "placements",
    "work",
    "deadlines",
    "waste",
    "jobs",
)


def _load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name(f"{name}.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


sample = _load("report_sample")


@pytest.fixture(scope="module")
def comparison() -> Comparison:
    """The made-up comparison that most tests read."""
    made: Comparison = sample.comparison()
    return made


@pytest.fixture(scope="module")
def page(comparison: Comparison) -> str:
    """Its page."""
    return render(comparison)


@pytest.fixture(scope="module")
def hostile() -> str:
    """The page of a comparison whose names are all attacks."""
    made = sample.comparison(("on_demand", "greedy"), job_ids=HOSTILE * 15)
    return render(
        msgspec.structs.replace(made, title=HOSTILE[0], source=HOSTILE[2], trace=HOSTILE[3])
    )


def _scripts(page: str) -> list[tuple[str, str]]:
    """(attributes, content) of each script element."""
    return re.findall(r"<script([^>]*)>(.*?)</script>", page, re.DOTALL)


def _own(page: str) -> str:
    """The page without the plotting library."""
    library = max((content for _, content in _scripts(page)), key=len)
    return page.replace(library, "")


def _payload(page: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(_scripts(page)[0][1])
    return found


def test_our_markup_names_no_address(page: str) -> None:
    """Nothing of ours points outside the file: no address, no source, no stylesheet, no import."""
    own = _own(page)
    assert not re.findall(r"(?:https?:)?//[a-z]", own.replace("// ", ""))
    assert not re.findall(r"<(?:link|img|iframe|script)[^>]+(?:src|href)=\"(?!data:)", own)
    assert "@import" not in own
    assert not re.findall(r"url\((?!data:)", own)
    assert set(re.findall(r'href="([^"]*)"', own)) == {"data:,", *(f"#{key}" for key in SECTIONS)}


def test_the_policy_admits_exactly_the_pages_scripts(page: str) -> None:
    """Connections are forbidden, and only scripts with the stated hashes run."""
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', page)
    assert policy is not None
    rules = dict(rule.strip().split(" ", 1) for rule in policy[1].split(";"))
    assert rules["default-src"] == "'none'"
    hashes = {
        f"'sha256-{base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()}'"
        for attributes, content in _scripts(page)
        if not attributes
    }
    assert set(rules["script-src"].split()) == hashes
    assert len(hashes) == 2


def test_no_label_asks_for_a_typesetter(hostile: str) -> None:
    """No text of ours or the user's reaches the library between TeX delimiters, no icon is asked
    for by name: both would make it fetch from a content network."""
    payload = _payload(hostile)
    texts: list[str] = []

    def walk(node: object) -> None:
        if isinstance(node, dict):
            for value in node.values():
                walk(value)
        elif isinstance(node, list):
            for value in node:
                walk(value)
        elif isinstance(node, str):
            texts.append(node)

    walk([payload["items"], payload["rows"], payload["sources"]["paid"]])
    assert len(texts) > 500
    assert not [text for text in texts if re.search(r"\$\$|\\\(|\\\[", text)]
    assert not [text for text in texts if "tabler" in text.lower()]


def test_sections_stand_in_their_order(page: str) -> None:
    """The reader finds the sections in the documented order, each with a link to it."""
    assert tuple(re.findall(r'<section id="([a-z]+)"', page)) == SECTIONS


def test_the_headline_says_what_was_replayed(comparison: Comparison, page: str) -> None:
    """Trace, source, licence, seed and every journal hash are on the page."""
    for text in (comparison.title, comparison.trace, comparison.source, comparison.licence):
        assert text in page
    assert all(run.journal_hash in page for run in comparison.runs)
    assert "2026-01-01 00:00 to 2026-01-22 00:00 (21d)" in page


def test_the_parts_of_the_waste_are_printed_with_their_sum(
    comparison: Comparison, page: str
) -> None:
    """The table shows every part, their sum, what was paid and the difference, to the micro-USD."""
    waste = page[page.index('<section id="waste"') : page.index('<section id="jobs"')]
    for run in comparison.runs:
        parts = (
            run.waste.useful,
            run.waste.premium,
            run.waste.restart,
            run.waste.lost_work,
            run.waste.idle,
            run.waste.unallocated,
        )
        assert sum(parts) == run.waste.paid
        assert all(format_money(amount, places=6) in waste for amount in parts)
        assert waste.count(format_money(run.waste.paid, places=6)) >= 2
    rows = re.findall(r"<tr><th[^>]*>difference</th>(.*?)</tr>", waste)
    assert re.findall(r">([^<]+)</td>", rows[0]) == ["0.000000 USD"] * 3


def test_parts_that_do_not_sum_make_no_page(comparison: Comparison, tmp_path: Path) -> None:
    """A report that would not balance is not written, and what was there stays."""
    run = comparison.runs[0]
    waste = msgspec.structs.replace(run.waste, restart=run.waste.restart + 1)
    broken = msgspec.structs.replace(comparison, runs=[msgspec.structs.replace(run, waste=waste)])
    path = tmp_path / "report.html"
    path.write_text("earlier", encoding="utf-8")
    with pytest.raises(InvariantBroken):
        write_report(broken, path)
    assert path.read_text(encoding="utf-8") == "earlier"


def test_names_cannot_become_markup(hostile: str) -> None:
    """Job identifiers, titles and sources are the user's; none of them opens an element."""
    assert "<script>alert" not in hostile
    assert "<img" not in hostile
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in hostile
    assert len(_scripts(hostile)) == 3


def test_the_dearest_and_the_unfinished_jobs_are_listed(comparison: Comparison, page: str) -> None:
    """Each strategy has its ten dearest jobs, and every unfinished job with its last reason."""
    tables = page[page.index('<section id="jobs"') :].split('data-when="strategy"')[1:]
    assert len(tables) == len(comparison.runs)
    for run, text in zip(comparison.runs, tables, strict=True):
        dearest = sorted(run.jobs, key=lambda job: -job.cost)[:10]
        assert all(f">{job.id}<" in text for job in dearest)
        unfinished = [job for job in run.jobs if job.state != "finished"]
        assert unfinished
        assert all(f">{job.id}<" in text for job in unfinished)
        assert text.count(unfinished[0].last_reason) == len(unfinished)


def test_the_same_comparison_gives_the_same_bytes(comparison: Comparison, page: str) -> None:
    """Nothing of the process that wrote the page is in it."""
    assert render(comparison) == page


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"jobs": 0}, ("No job was submitted", "No job had a deadline", "Nothing was paid")),
        (
            {"strategies": ("greedy",), "deadlines": False},
            ("Only one strategy was replayed", "was not replayed", "No job had a deadline"),
        ),
        ({"leases": False}, ("No machine was ever leased", "Nothing was paid")),
    ],
)
def test_what_is_missing_is_said(arguments: dict[str, Any], says: tuple[str, ...]) -> None:
    """Without jobs, rivals, machines or deadlines all sections stand, and say what is missing."""
    made = render(sample.comparison(**arguments))
    assert tuple(re.findall(r'<section id="([a-z]+)"', made)) == SECTIONS
    assert all(text in made for text in says)


def test_a_comparison_of_nothing_is_a_page() -> None:
    """No runs, no budgets, no prices: the page says so."""
    empty = msgspec.structs.replace(sample.comparison(jobs=0), runs=[], source="", licence="")
    made = render(empty)
    assert "No strategy was replayed" in made
    assert "not stated" in made
    run = msgspec.structs.replace(sample.comparison(jobs=0).runs[0], budgets=[], prices=[])
    made = render(msgspec.structs.replace(empty, runs=[run]))
    assert "No budget limited this replay" in made
    assert "the trace holds no prices" in made


@pytest.mark.slow
def test_a_large_comparison_stays_small() -> None:
    """Four strategies, 1,200 jobs and sixty pools make a file of less than 4 MB, and what was left
    out of the pictures is said."""
    made = render(sample.large(("on_demand", "greedy", "uniform_progress", "optimal"), 1_200, 60))
    assert len(made.encode()) < 4_000_000
    assert "dearest machines of each strategy" in made
    assert "Rows of jobs show the 300 dearest jobs" in made
