"""The page in a real browser, with the network cut: it draws, it answers, it asks nobody."""

import fcntl
import importlib.util
import itertools
import json
import os
import select
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from treasury_simulations.report import write_report

pytestmark = pytest.mark.browser

# Debian, Fedora and upstream name it differently.
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
# A browser that says nothing for so long is broken, not slow [s].
PATIENCE = 60
HOSTILE = ("<script>document.title='hit'</script>", "$$\\alpha$$", "<img src=x onerror=alert(2)>")
# A name that no resolver may answer, a proxy that nobody serves: whatever leaves, fails.
OFFLINE = ("--host-resolver-rules=MAP * ~NOTFOUND", "--proxy-server=http://127.0.0.1:9")
QUIET = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--remote-debugging-pipe",
)


class Browser:
    """Chromium driven through a pair of pipes: no port, no driver, no library."""

    def __init__(self, program: str, profile: str) -> None:
        # The browser reads commands from descriptor 3 and writes answers to descriptor 4; ours are
        # moved out of the way first, so that the shell's redirections cannot close each other.
        ends = [*os.pipe(), *os.pipe()]
        theirs_in, self._commands, self._answers, theirs_out = (_moved(end) for end in ends)
        arguments = [program, *QUIET, *OFFLINE, f"--user-data-dir={profile}", "about:blank"]
        self._process = subprocess.Popen(
            ["bash", "-c", f"exec {shlex.join(arguments)} 3<&{theirs_in} 4>&{theirs_out}"],
            pass_fds=(theirs_in, theirs_out),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(theirs_in)
        os.close(theirs_out)
        self._unread = b""
        self._numbers = itertools.count(1)
        self.events: list[dict[str, Any]] = []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        attached = self.call("Target.attachToTarget", targetId=target, flatten=True)
        self._session: str = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **parameters: object) -> dict[str, Any]:
        """Send a command and wait for its answer; events on the way are kept."""
        number = next(self._numbers)
        message: dict[str, Any] = {"id": number, "method": method, "params": parameters}
        if hasattr(self, "_session"):
            message["sessionId"] = self._session
        os.write(self._commands, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._read()
            if answer.get("id") == number:
                assert "error" not in answer, answer
                result: dict[str, Any] = answer["result"]
                return result
            self.events.append(answer)

    def _read(self) -> dict[str, Any]:
        while b"\0" not in self._unread:
            readable, _, _ = select.select([self._answers], [], [], PATIENCE)
            assert readable, "the browser does not answer"
            piece = os.read(self._answers, 1 << 16)
            assert piece, "the browser is gone"
            self._unread += piece
        message, _, self._unread = self._unread.partition(b"\0")
        decoded: dict[str, Any] = json.loads(message)
        return decoded

    def value(self, expression: str) -> Any:
        """What an expression (or the promise it makes) comes to in the page."""
        result = self.call(
            "Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True
        )
        assert "exceptionDetails" not in result, result
        return result["result"].get("value")

    def open(self, path: Path, *, width: int = 1400, scheme: str = "light") -> int:
        """Show a page and wait until its charts stand; returns how many. What the page does from
        the first byte on is in `events`."""
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=900,
            deviceScaleFactor=1,
            mobile=False,
        )
        feature = {"name": "prefers-color-scheme", "value": scheme}
        self.call("Emulation.setEmulatedMedia", features=[feature])
        self.events.clear()
        self.call("Page.navigate", url=path.as_uri())
        return int(self.value(STANDS))

    def close(self) -> None:
        """End the browser and wait for it."""
        self._process.terminate()
        self._process.wait(PATIENCE)
        os.close(self._commands)
        os.close(self._answers)


def _moved(descriptor: int) -> int:
    high = fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, 64)
    os.close(descriptor)
    return high


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
    program = next((found for name in NAMES if (found := shutil.which(name))), None)
    require(program, f"no browser on PATH: one of {', '.join(NAMES)}")
    require(shutil.which("bash"), "no bash on PATH: it hands the browser its pipes")
    assert program is not None
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        started = Browser(program, profile)
        yield started
        started.close()


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


def _complaints(browser: Browser) -> list[object]:
    """Errors and warnings of the page, and questions it asked the user."""
    found: list[object] = []
    for event in browser.events:
        method, parameters = event.get("method"), event.get("params", {})
        if method in {"Runtime.exceptionThrown", "Log.entryAdded", "Page.javascriptDialogOpening"}:
            found.append(parameters)
        if method == "Runtime.consoleAPICalled" and parameters["type"] in {"error", "warning"}:
            found.append(parameters["args"])
    return found


def _asked(browser: Browser) -> set[str]:
    """Schemes of everything the page asked for."""
    return {
        event["params"]["request"]["url"].partition(":")[0]
        for event in browser.events
        if event.get("method") == "Network.requestWillBeSent"
    }


def test_every_chart_is_drawn_and_nobody_is_asked(browser: Browser, page: Path) -> None:
    """All charts paint pixels, nothing but the file is requested, and the console stays silent."""
    drawn = browser.open(page)
    painted = browser.value(PAINTED)
    assert drawn == len(painted) >= 12
    assert min(painted) > 1_000
    assert _asked(browser) <= {"file", "data"}
    assert "file" in _asked(browser)
    assert _complaints(browser) == []


def test_the_strategy_is_switched_everywhere(
    browser: Browser, page: Path, sample: ModuleType
) -> None:
    """A press on one strategy's button moves the bars, the budgets, the tables and all buttons."""
    browser.open(page)
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
    assert _complaints(browser) == []


def test_rows_are_jobs_or_machines_and_pools_come_to_the_front(
    browser: Browser, page: Path
) -> None:
    """The rows' switch relabels the chart; a pressed pool stays strong while the others fade."""
    browser.open(page)
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
    assert _complaints(browser) == []


def test_names_stay_names(browser: Browser, sample: ModuleType, tmp_path: Path) -> None:
    """Job identifiers that are scripts, images or formulas are shown and do nothing, tables,
    labels and hover texts alike."""
    path = tmp_path / "hostile.html"
    comparison = sample.comparison(("on_demand", "greedy"), jobs=9, job_ids=HOSTILE * 3)
    write_report(comparison, path)
    browser.open(path)
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
    assert _complaints(browser) == []


def test_dark_and_narrow(browser: Browser, page: Path) -> None:
    """A dark system gets a dark page with light ink, and 800 pixels need no sideways scrolling."""
    browser.open(page, width=800, scheme="dark")
    style = "getComputedStyle(document.body)"
    ground = browser.value(f"{style}.backgroundColor.match(/\\d+/g).slice(0, 3).map(Number)")
    ink = browser.value(f"{style}.color.match(/\\d+/g).slice(0, 3).map(Number)")
    assert max(ground) < 60
    assert min(ink) > 180
    assert browser.value("document.documentElement.scrollWidth") <= 800
    assert min(browser.value(PAINTED)) > 1_000
    assert _complaints(browser) == []


@pytest.mark.parametrize(
    "arguments", [{"jobs": 0}, {"leases": False}, {"strategies": ("greedy",), "deadlines": False}]
)
def test_pages_with_gaps_stand(
    browser: Browser, sample: ModuleType, tmp_path: Path, arguments: dict[str, Any]
) -> None:
    """Without jobs, machines, rivals or deadlines the page still draws what there is, silently."""
    path = tmp_path / "gaps.html"
    write_report(sample.comparison(**arguments), path)
    drawn = browser.open(path)
    painted = browser.value(PAINTED)
    assert drawn == len(painted) >= 4
    assert min(painted) > 1_000
    assert _asked(browser) <= {"file", "data"}
    assert _complaints(browser) == []
