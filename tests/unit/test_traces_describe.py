"""Descriptions and pictures of traces."""

from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from treasury.domain.errors import BadValue
from treasury.domain.market import Tenure
from treasury.domain.time import HOUR
from treasury_simulations.traces import (
    InterruptionRow,
    JobRow,
    MarketRow,
    Provenance,
    ThroughputRow,
    Trace,
    TraceHeader,
    make_pool,
    open_trace,
    write_trace,
)
from treasury_simulations.traces.describe import Spans, describe, weighted_median
from treasury_simulations.traces.plot import STRIPS_MAX, write_plot

SVG = "{http://www.w3.org/2000/svg}"
USD = 1_000_000_000


def make(path: Path, pools: int, rows: list[object], **changes: object) -> Trace:
    """A trace of ten hours."""
    fields: dict[str, object] = {
        "name": "ten <hours>",
        "kinds": ("market", "interruptions", "jobs", "throughputs"),
        "provenance": Provenance(source="a test", licence="CC0", attribution="nobody"),
        "start": 0,
        "end": 10 * HOUR,
        "depth_kind": "count",
        "pools": tuple(
            make_pool("aws", "r", f"z{number:03d}", "p3.2xlarge", "V100", 1, Tenure.SPOT)
            for number in range(pools)
        ),
        "gaps": ((HOUR, 2 * HOUR), (5 * HOUR, 8 * HOUR)),
    }
    write_trace(path, TraceHeader(**{**fields, **changes}), rows)
    return open_trace(path)


@pytest.fixture
def trace(tmp_path: Path) -> Trace:
    """Three pools: one that comes and goes, one that never says, one without rows; and two jobs."""
    rows = [
        MarketRow(0, 0, 3 * USD, 2),
        MarketRow(0, 1, 5 * USD, -1),
        MarketRow(2 * HOUR, 0, 3 * USD, 0),
        MarketRow(3 * HOUR, 0, -1, 0),
        MarketRow(4 * HOUR, 0, 1 * USD, 7),
        MarketRow(9 * HOUR, 0, 2 * USD, 0),
        InterruptionRow(2 * HOUR, 0, 2),
        InterruptionRow(9 * HOUR, 0, 1),
        JobRow(HOUR, "a", 2, 3, HOUR, "blue", 0, 9 * HOUR),
        JobRow(HOUR, "b", 1, 1, 4 * HOUR, "red", 0, None),
        JobRow(9 * HOUR, "c", 1, 1, 2 * HOUR, "red", 0, None),
        ThroughputRow("x", 1, "V100", True, 5),
    ]
    return make(tmp_path / "t.trace", 3, rows)


def test_pools_in_figures(trace: Trace) -> None:
    """Prices, availability, outages and interruptions are those one counts by hand."""
    first, second, third = describe(trace).pools
    assert (first.rate_min, first.rate_median, first.rate_max) == (USD, USD, 3 * USD)
    assert first.available == pytest.approx(0.7)
    assert first.outages == Spans(2, 3 * HOUR, 2 * HOUR)
    assert (first.depth_max, first.interruptions, first.rows) == (7, 3, 5)
    assert (second.rate_median, second.available, second.depth_max) == (5 * USD, None, -1)
    assert (third.rate_min, third.rate_median, third.available, third.rows) == (None, None, None, 0)


def test_jobs_gaps_and_throughputs_in_figures(trace: Trace) -> None:
    """Jobs, gaps and speeds are counted."""
    found = describe(trace)
    assert found.gaps == Spans(2, 4 * HOUR, 3 * HOUR)
    assert found.jobs is not None
    assert found.jobs.gpu_hours == pytest.approx(12)
    assert (found.jobs.count, found.jobs.gpus_max, found.jobs.with_deadline) == (3, 6, 1)
    assert (found.jobs.duration_min, found.jobs.duration_median) == (HOUR, 2 * HOUR)
    assert list(found.jobs.groups.items()) == [("red", 2), ("blue", 1)]
    assert found.throughputs is not None
    assert found.throughputs.gpus == ("V100",)


def test_the_median_is_weighted() -> None:
    """Half of the weight lies at or below the median."""
    assert weighted_median({5: 1, 1: 1, 3: 1}) == 3
    assert weighted_median({5: 10, 1: 1, 3: 1}) == 5
    assert weighted_median({2: 0}) == 2
    assert weighted_median({}) is None


def test_a_picture_needs_nothing_from_elsewhere(trace: Trace, tmp_path: Path) -> None:
    """The SVG is well-formed, shows each pool that has rows, and refers to no other file."""
    out = tmp_path / "t.svg"
    write_plot(trace, out)
    root = ET.parse(out).getroot()  # noqa: S314 - our own output
    texts = [element.text for element in root.iter(f"{SVG}text")]
    assert "aws/r/z000/p3.2xlarge/spot" in texts
    assert "1 x V100, 1.0000 USD/h to 3.0000 USD/h" in texts
    assert "aws/r/z002/p3.2xlarge/spot" not in texts
    assert any(text and "2 of 3 pools" in text for text in texts)
    assert any(text and text.startswith("ten <hours>: 1970-01-01") for text in texts)
    assert {element.tag for element in root.iter()} <= {
        SVG + name for name in ("svg", "rect", "text", "line", "path")
    }
    assert not [key for element in root.iter() for key in element.attrib if "href" in key]


def test_the_band_shows_when_nothing_could_be_had(trace: Trace, tmp_path: Path) -> None:
    """Red and green of the first pool cover the hours in which its depth was and was not zero."""
    out = tmp_path / "t.svg"
    write_plot(trace, out)
    widths = {"#4c9f70": 0.0, "#c8553d": 0.0}
    for element in ET.parse(out).getroot().iter(f"{SVG}rect"):  # noqa: S314 - our own output
        colour = element.attrib.get("fill", "")
        if colour in widths:
            widths[colour] += float(element.attrib["width"])
    assert widths["#4c9f70"] == pytest.approx(630, abs=4)
    assert widths["#c8553d"] == pytest.approx(270, abs=4)


def test_a_page_holds_the_picture(trace: Trace, tmp_path: Path) -> None:
    """An `.html` file is the same picture in a page without scripts."""
    write_plot(trace, tmp_path / "t.html")
    page = (tmp_path / "t.html").read_text()
    assert "<title>ten &lt;hours&gt;</title>" in page
    assert "<svg" in page
    assert "<script" not in page


def test_many_pools_are_thinned(tmp_path: Path) -> None:
    """Of many pools those that change most are drawn, and the picture says so."""
    rows = [MarketRow(0, pool, USD, 1) for pool in range(STRIPS_MAX + 5)]
    rows += [MarketRow(HOUR, STRIPS_MAX + 4, 2 * USD, 1)]
    write_plot(make(tmp_path / "m.trace", STRIPS_MAX + 5, rows), tmp_path / "m.svg")
    text = (tmp_path / "m.svg").read_text()
    assert f"{STRIPS_MAX} of {STRIPS_MAX + 5} pools" in text
    assert f"aws/r/z{STRIPS_MAX + 4:03d}/" in text


def test_a_trace_of_no_length_is_drawn(tmp_path: Path) -> None:
    """A single instant is no division by zero."""
    rows = [MarketRow(0, 0, USD, 1), JobRow(0, "a", 1, 1, 1, "", 0, None)]
    moment = make(tmp_path / "s.trace", 1, rows, end=0, gaps=())
    write_plot(moment, tmp_path / "s.svg")
    ET.parse(tmp_path / "s.svg")  # noqa: S314 - our own output


def test_what_cannot_be_drawn_is_said(trace: Trace, tmp_path: Path) -> None:
    """Other endings and traces without a course of time are refused with what would do."""
    with pytest.raises(BadValue, match=r"ends in \.svg or \.html"):
        write_plot(trace, tmp_path / "t.png")
    speeds = make(tmp_path / "g.trace", 0, [ThroughputRow("x", 1, "V100", True, 5)])
    with pytest.raises(BadValue, match="one with prices or jobs"):
        write_plot(speeds, tmp_path / "g.svg")
