"""The page in a real browser, with the network cut: it draws, it answers, it asks nobody."""

import importlib.util
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tests.support.browser import Browser, browsing, complaints
from treasury_simulations.report import write_report

pytestmark = pytest.mark.browser

HOSTILE = ("<script>document.title='hit'</script>", "$$\\alpha$$", "<img src=x onerror=alert(2)>")


def draw(browser: Browser, path: Path, *, width: int = 1400, scheme: str = "light") -> int:
    """Show a report and wait until its charts stand; returns how many."""
    browser.view(path.as_uri(), width=width, scheme=scheme)
    return int(browser.value(STANDS))


# A promise of the number of charts drawn; the page marks its root element when it is done.
STANDS = """new Promise((resolve, reject) => {
  const look = () => {
    const marks = document.documentElement?.dataset ?? {};
    if (marks.failed) reject(new Error(marks.failed));
    else if (marks.ready) requestAnimationFrame(() => resolve(marks.ready));
    else setTimeout(look, 20);
  };
  look();
})"""
# For each chart the number of painted pixels on all its canvases, shadow roots included.
PAINTED = """(() => {
  const canvases = (node) => [
    ...(node instanceof HTMLCanvasElement ? [node] : []),
    ...[...(node.shadowRoot?.children ?? []), ...node.children].flatMap(canvases),
  ];
  const painted = (canvas) => {
    if (!canvas.width || !canvas.height) return 0;
    const pixels = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
    let count = 0;
    for (let i = 3; i < pixels.length; i += 4) count += pixels[i] > 0;
    return count;
  };
  return [...document.querySelectorAll(".chart")].map(
    (chart) => canvases(chart).reduce((sum, canvas) => sum + painted(canvas), 0));
})()"""
# The drawn data of a source, by its name.
DATA = """((name) => {
  for (const doc of Bokeh.documents) {
    const found = doc.get_model_by_name(name);
    if (found) return Object.fromEntries(
      Object.entries(found.data).map(([key, column]) => [key, Array.from(column)]));
  }
})"""

# The text of all hover texts on show, once the page has had time to show them.
TIPS = """new Promise((resolve) => {
  const all = (node) => [
    node, ...[...(node.shadowRoot?.children ?? []), ...(node.children ?? [])].flatMap(all)];
  const tips = () => all(document.body).filter((node) => node.classList?.contains("bk-Tooltip"));
  requestAnimationFrame(() => requestAnimationFrame(
    () => resolve(tips().map((tip) => (tip.shadowRoot ?? tip).textContent).join(""))));
})"""


@pytest.fixture(scope="module")
def browser(require: Callable[[object, str], None]) -> Iterator[Browser]:
    """One browser for the module."""
    with browsing(require) as started:
        yield started


@pytest.fixture(scope="module")
def sample() -> ModuleType:
    """The made-up records of the unit tests."""
    path = Path(__file__).parents[1] / "unit" / "report_sample.py"
    spec = importlib.util.spec_from_file_location("report_sample", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def page(sample: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of three strategies."""
    path = tmp_path_factory.mktemp("report") / "report.html"
    write_report(sample.comparison(), path)
    return path


def _asked(browser: Browser) -> set[str]:
    """Schemes of everything the page asked for."""
    return {
        event["params"]["request"]["url"].partition(":")[0]
        for event in browser.events
        if event.get("method") == "Network.requestWillBeSent"
    }


def test_every_chart_is_drawn_and_nobody_is_asked(browser: Browser, page: Path) -> None:
    """All charts paint pixels, nothing but the file is requested, and the console stays silent."""
    drawn = draw(browser, page)
    painted = browser.value(PAINTED)
    assert drawn == len(painted) >= 12
    assert min(painted) > 1_000
    assert _asked(browser) <= {"file", "data"}
    assert "file" in _asked(browser)
    assert complaints(browser) == []


def test_the_strategy_is_switched_everywhere(
    browser: Browser, page: Path, sample: ModuleType
) -> None:
    """A press on one strategy's button moves the bars, the budgets, the tables and all buttons."""
    draw(browser, page)
    runs = sample.comparison().runs
    for number in (0, 1):
        browser.value(f"document.querySelector('[data-value=\"{number}\"]').click()")
        bars = browser.value(f"{DATA}('bars:machines')")
        assert sorted(bars["paid"]) == sorted(lease.billed / 1e6 for lease in runs[number].leases)
        budget = browser.value(f"{DATA}('budget:research')")
        series = next(s for s in runs[number].budgets if s.cost_centre == "research")
        assert budget["spent"][-1] == series.spent[-1] / 1e6
        shown = browser.value(
            "[...document.querySelectorAll('[data-when]')].map((part) => !part.hidden)"
        )
        assert shown == [place == number for place in range(len(runs))]
        pressed = browser.value(
            "[...document.querySelectorAll('[data-switch=strategy] [aria-pressed=true]')]"
            ".map((button) => button.textContent)"
        )
        assert pressed == [runs[number].strategy] * 3
    assert complaints(browser) == []


def test_rows_are_jobs_or_machines_and_pools_come_to_the_front(
    browser: Browser, page: Path
) -> None:
    """The rows' switch relabels the chart; a pressed pool stays strong while the others fade."""
    draw(browser, page)
    labels = (
        "Array.from(Bokeh.documents.map((doc) => doc.get_model_by_name('axis:timeline'))"
        ".find(Boolean).major_label_overrides.values())"
    )
    assert all(label.startswith("train-") for label in browser.value(labels))
    browser.value("document.querySelector('[data-value=machines]').click()")
    assert not any(label.startswith("train-") for label in browser.value(labels))
    pool = browser.value(
        "(() => { const chip = document.querySelector('[data-pool]:not(.unused)');"
        " chip.click(); return chip.dataset.pool; })()"
    )
    prices = browser.value(f"{DATA}('prices')")
    strong = [
        offer for offer, alpha in zip(prices["offer"], prices["alpha"], strict=True) if alpha > 0.5
    ]
    assert strong == [pool]
    assert complaints(browser) == []


def test_names_stay_names(browser: Browser, sample: ModuleType, tmp_path: Path) -> None:
    """Job identifiers that are scripts, images or formulas are shown and do nothing, tables,
    labels and hover texts alike."""
    path = tmp_path / "hostile.html"
    comparison = sample.comparison(("on_demand", "greedy"), jobs=9, job_ids=HOSTILE * 3)
    write_report(comparison, path)
    draw(browser, path)
    place = browser.value(
        "(() => { const chart = document.querySelector('#placements .chart');"
        " chart.scrollIntoView({block: 'start'});"
        " const box = chart.getBoundingClientRect(); return [box.x, box.y, box.width]; })()"
    )
    hovered = ""
    for step in range(60):
        x = place[0] + 170 + (place[2] - 190) * step / 60
        browser.call("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=place[1] + 90)
        hovered += browser.value(TIPS)
    assert any(name in hovered for name in HOSTILE)
    assert browser.value("document.title") == "Three weeks of a made-up market · treasury"
    assert browser.value("document.querySelectorAll('main img').length") == 0
    names = browser.value("[...document.querySelectorAll('.name')].map((cell) => cell.textContent)")
    assert set(HOSTILE) <= set(names)
    assert _asked(browser) <= {"file", "data"}
    assert complaints(browser) == []


def test_dark_and_narrow(browser: Browser, page: Path) -> None:
    """A dark system gets a dark page with light ink, and 800 pixels need no sideways scrolling."""
    draw(browser, page, width=800, scheme="dark")
    style = "getComputedStyle(document.body)"
    ground = browser.value(f"{style}.backgroundColor.match(/\\d+/g).slice(0, 3).map(Number)")
    ink = browser.value(f"{style}.color.match(/\\d+/g).slice(0, 3).map(Number)")
    assert max(ground) < 60
    assert min(ink) > 180
    assert browser.value("document.documentElement.scrollWidth") <= 800
    assert min(browser.value(PAINTED)) > 1_000
    assert complaints(browser) == []


@pytest.mark.parametrize(
    "arguments", [{"jobs": 0}, {"leases": False}, {"strategies": ("greedy",), "deadlines": False}]
)
def test_pages_with_gaps_stand(
    browser: Browser, sample: ModuleType, tmp_path: Path, arguments: dict[str, Any]
) -> None:
    """Without jobs, machines, rivals or deadlines the page still draws what there is, silently."""
    path = tmp_path / "gaps.html"
    write_report(sample.comparison(**arguments), path)
    drawn = draw(browser, path)
    painted = browser.value(PAINTED)
    assert drawn == len(painted) >= 4
    assert min(painted) > 1_000
    assert _asked(browser) <= {"file", "data"}
    assert complaints(browser) == []
