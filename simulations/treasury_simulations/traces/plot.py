"""A picture of a trace: SVG drawn here, so that it needs no library, no script and no network.

One strip for each pool (price as a line, availability as a band below it) and one for the jobs.
Long traces are drawn column by column of pixels: memory is pools x width.
"""

from collections.abc import Iterator
from html import escape
from itertools import groupby
from pathlib import Path
from textwrap import wrap
from typing import Final

from treasury.domain.errors import BadValue, TraceError
from treasury.domain.money import format_rate
from treasury.domain.time import DAY, HOUR, format_duration, format_instant
from treasury_simulations.traces.model import NOT_KNOWN, MarketRow, PoolInfo
from treasury_simulations.traces.reader import Trace

# Pixels.
_LABEL: Final = 330
_WIDTH: Final = 900
_STRIP: Final = 34
_BAND: Final = 6
_ROW: Final = _STRIP + _BAND + 14
_TOP: Final = 64
_BOTTOM: Final = 40
_JOBS: Final = 90
# More strips than this are no picture; those that change most are drawn.
STRIPS_MAX: Final = 40

_PRICE: Final = "#1f5fa8"
_OPEN: Final = "#4c9f70"
_SHUT: Final = "#c8553d"
_UNSAID: Final = "#d5d8dc"
_GAP: Final = "#9aa0a6"
_FAINT: Final = "#5f6368"


class _Strip:
    """One pool, pixel column by pixel column: lowest and highest rate, and time open and known."""

    def __init__(self, start: int, end: int) -> None:
        self._start, self._end = start, max(end, start + 1)
        self.low: list[int] = [NOT_KNOWN] * _WIDTH
        self.high: list[int] = [NOT_KNOWN] * _WIDTH
        self.shut = [False] * _WIDTH
        self.open = [False] * _WIDTH
        self.rows = 0
        self._row: MarketRow | None = None

    def take(self, row: MarketRow) -> None:
        """The state changes."""
        self.rows += 1
        self.until(row.at)
        self._row = row

    def until(self, at: int) -> None:
        """Draw the present state up to an instant."""
        row = self._row
        if row is None:
            return
        first, last = self._column(row.at), self._column(at)
        for column in range(first, last + 1):
            if row.rate != NOT_KNOWN:
                low = self.low[column]
                self.low[column] = row.rate if low == NOT_KNOWN else min(low, row.rate)
                self.high[column] = max(self.high[column], row.rate)
            self.open[column] |= row.depth > 0
            self.shut[column] |= row.depth == 0

    def _column(self, at: int) -> int:
        share = (at - self._start) * _WIDTH // (self._end - self._start)
        return max(0, min(_WIDTH - 1, share))


def write_plot(trace: Trace, out: Path) -> None:
    """Write a self-contained picture to `out`: `.svg`, or `.html` with the same picture in it.

    Raises BadValue for other endings and for a trace without prices and jobs, TraceError where
    the file cannot be written.
    """
    if out.suffix not in (".svg", ".html"):
        raise BadValue("plot file", out.name, "a name that ends in .svg or .html")
    picture = draw(trace)
    if out.suffix == ".html":
        title = escape(trace.header.name)
        picture = (
            f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
            f"</head><body>{picture}</body></html>\n"
        )
    try:
        out.write_text(picture, encoding="utf-8")
    except OSError as error:
        raise TraceError(f"{out}: cannot be written: {error.strerror}") from error


def draw(trace: Trace) -> str:
    """The picture as SVG text. Raises BadValue for a trace with nothing to draw over time."""
    header = trace.header
    strips = _market(trace)
    chosen = _chosen(strips)
    with_jobs = trace.rows.get("jobs", 0) > 0
    if not chosen and not with_jobs:
        raise BadValue("trace", header.name, "one with prices or jobs: nothing to draw over time")
    body_height = _ROW * len(chosen) + (_JOBS + 30 if with_jobs else 0)
    sources = wrap(f"Source: {header.provenance.source} ({header.provenance.licence})", 200)
    height = _TOP + body_height + _BOTTOM + 14 * len(sources)
    parts = [
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{_LABEL + _WIDTH + 20}" '
            f'height="{height}" font-family="sans-serif" font-size="11">'
        ),
        '<rect width="100%" height="100%" fill="white"/>',
        _text(
            10,
            22,
            f"{header.name}: {format_instant(header.start)} to {format_instant(header.end)}",
            size=15,
        ),
        _text(10, 40, _legend(trace, len(chosen))),
    ]
    parts += _time_axis(trace, _TOP + body_height)
    for place, index in enumerate(chosen):
        parts += _draw_strip(trace.pools[index], strips[index], _TOP + place * _ROW)
    if with_jobs:
        parts += _draw_jobs(trace, _TOP + _ROW * len(chosen) + 20)
    for place, line in enumerate(sources):
        parts.append(_text(10, height - 14 * (len(sources) - place), line, colour=_FAINT))
    parts.append("</svg>\n")
    return "\n".join(parts)


def _market(trace: Trace) -> list[_Strip]:
    start, end = trace.header.start, trace.header.end
    strips = [_Strip(start, end) for _ in trace.pools]
    for row in trace.market():
        strips[row.pool].take(row)
    for strip in strips:
        strip.until(end)
    return strips


def _chosen(strips: list[_Strip]) -> list[int]:
    """Indices of the strips to draw, in the order of the catalogue."""
    busiest = sorted(range(len(strips)), key=lambda index: (-strips[index].rows, index))
    return sorted(index for index in busiest[:STRIPS_MAX] if strips[index].rows)


def _legend(trace: Trace, drawn: int) -> str:
    header, texts = trace.header, []
    if header.pools:
        some = f"{drawn} of {len(header.pools)}" if drawn < len(header.pools) else f"{drawn}"
        texts.append(
            f"{some} pools: price, and below it green had, red not to be had, grey not said"
        )
    if header.gaps:
        texts.append(f"grey columns: {len(header.gaps)} gaps in which nobody looked")
    return "; ".join(texts)


def _time_axis(trace: Trace, bottom: int) -> Iterator[str]:
    start, end = trace.header.start, trace.header.end
    span = max(1, end - start)
    for gap_start, gap_end in trace.header.gaps:
        x = _LABEL + (gap_start - start) * _WIDTH / span
        width = max(0.5, (gap_end - gap_start) * _WIDTH / span)
        yield (
            f'<rect x="{x:.1f}" y="{_TOP - 4}" width="{width:.1f}" height="{bottom - _TOP + 4}" '
            f'fill="{_GAP}" opacity="0.25"/>'
        )
    step = next(
        (step for step in (HOUR, 6 * HOUR, DAY, 2 * DAY, 7 * DAY, 30 * DAY) if span / step <= 12),
        365 * DAY,
    )
    at = -(-start // step) * step
    while at <= end:
        x = _LABEL + (at - start) * _WIDTH / span
        label = (
            format_instant(at)[5:16].replace("T", " ") if step < DAY else format_instant(at)[:10]
        )
        yield (
            f'<line x1="{x:.1f}" y1="{_TOP - 4}" x2="{x:.1f}" y2="{bottom + 4}" stroke="#e3e6e8"/>'
        )
        yield _text(x, bottom + 18, label, anchor="middle")
        at += step


def _draw_strip(pool: PoolInfo, strip: _Strip, top: int) -> Iterator[str]:
    known = [rate for rate in strip.low if rate != NOT_KNOWN]
    low, high = (min(known), max(strip.high)) if known else (0, 0)
    yield _text(10, top + 12, pool.id)
    prices = "no price known"
    if known:
        prices = format_rate(low) if low == high else f"{format_rate(low)} to {format_rate(high)}"
    yield _text(10, top + 27, f"{pool.gpus} x {pool.gpu}, {prices}", colour=_FAINT)
    yield f'<path d="{_price_path(strip, low, high, top)}" stroke="{_PRICE}" fill="none"/>'
    band = top + _STRIP + 2
    for first, last, colour in _runs(strip):
        yield (
            f'<rect x="{_LABEL + first}" y="{band}" width="{last - first + 1}" height="{_BAND}" '
            f'fill="{colour}"/>'
        )


def _price_path(strip: _Strip, low: int, high: int, top: int) -> str:
    """Down and up between the lowest and the highest rate of each column, joined to the next."""

    def y(rate: int) -> float:
        share = (rate - low) / (high - low) if high > low else 0.5
        return top + (_STRIP - 4) * (1 - share) + 2

    path, pen, x = [], "M", _LABEL
    for (lowest, highest), columns in groupby(zip(strip.low, strip.high, strict=True)):
        after = x + sum(1 for _ in columns)
        if lowest == NOT_KNOWN:
            pen = "M"
        else:
            swing = f"V{y(highest):.1f}" if highest != lowest else ""
            path.append(f"{pen}{x},{y(lowest):.1f}{swing}H{after}")
            pen = "L"
        x = after
    return "".join(path)


def _runs(strip: _Strip) -> Iterator[tuple[int, int, str]]:
    """(first column, last column, colour) of the band; a column that was both is red."""
    colours = [
        _SHUT if shut else _OPEN if had else _UNSAID
        for shut, had in zip(strip.shut, strip.open, strict=True)
    ]
    first = 0
    for column in range(1, _WIDTH + 1):
        if column == _WIDTH or colours[column] != colours[first]:
            yield first, column - 1, colours[first]
            first = column


def _draw_jobs(trace: Trace, top: int) -> Iterator[str]:
    """GPU-hours submitted, in sixty bars."""
    bars = [0] * 60
    start = trace.header.start
    span = max(1, trace.header.end - start)
    count = 0
    for job in trace.jobs():
        count += 1
        bar = max(0, min(len(bars) - 1, (job.at - start) * len(bars) // span))
        bars[bar] += job.gpus * job.nodes * job.duration_ns
    most = max(bars)
    yield _text(10, top + 12, f"{count} jobs: GPU-hours submitted")
    yield _text(
        10,
        top + 27,
        f"most in {format_duration(span // len(bars))}: {most / HOUR:,.0f} GPU-hours",
        colour=_FAINT,
    )
    width = _WIDTH / len(bars)
    for place, amount in enumerate(bars):
        height = amount / most * _JOBS
        yield (
            f'<rect x="{_LABEL + place * width:.1f}" y="{top + _JOBS - height:.1f}" '
            f'width="{width - 1:.1f}" height="{height:.1f}" fill="{_PRICE}"/>'
        )


def _text(
    x: float, y: float, text: str, *, size: int = 11, colour: str = "#202124", anchor: str = "start"
) -> str:
    return (
        f'<text x="{x:.1f}" y="{y}" font-size="{size}" fill="{colour}" text-anchor="{anchor}">'
        f"{escape(text)}</text>"
    )
