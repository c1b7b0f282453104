"""HTML from values. Every text on its way to the page is escaped: names are the user's."""

from collections.abc import Iterable, Sequence
from html import escape

import msgspec

from treasury.domain.money import format_money
from treasury.domain.time import HOUR, format_duration, to_datetime

UNKNOWN = "–"


class Cell(msgspec.Struct, frozen=True):
    """A table's cell: plain text, how it is set (`num`, `best`, `sum`, `mono`, `bad`), what is
    behind it on hover, and a colour shown before it."""

    text: str
    kind: str = ""
    hover: str = ""
    swatch: str = ""


def money(micros: int | None) -> Cell:
    """An amount to the cent; the exact one on hover."""
    if micros is None:
        return Cell(UNKNOWN, "num")
    return Cell(format_money(micros), "num", format_money(micros, places=6))


def count(value: int) -> Cell:
    """A whole number."""
    return Cell(f"{value:,}", "num")


def share(value: float | None) -> Cell:
    """A part of one as a percentage."""
    return Cell(percent(value), "num")


def gpu_hours(gpu_ns: int) -> Cell:
    """GPU time [GPU-ns] in GPU-hours."""
    return Cell(f"{gpu_ns / HOUR:,.1f}", "num", f"{gpu_ns / HOUR:,.4f} GPU-h")


def duration(ns: int | None) -> Cell:
    """A duration by its two largest units."""
    return Cell(UNKNOWN if ns is None else format_duration(ns), "num")


def instant(ns: int | None) -> Cell:
    """An instant to the minute, UTC."""
    return Cell(UNKNOWN if ns is None else utc(ns), "num when")


def percent(value: float | None) -> str:
    """`"61.3 %"`; a dash where unknown."""
    return UNKNOWN if value is None else f"{100 * value:.1f} %"


def utc(ns: int) -> str:
    """`"2026-01-31 06:30"`."""
    return to_datetime(ns).strftime("%Y-%m-%d %H:%M")


def table(head: Sequence[str | Cell], rows: Iterable[Sequence[Cell]], *, caption: str = "") -> str:
    """A table that scrolls by itself where the page is narrow; first cells are headings."""
    heads = "".join(f'<th scope="col"{_attributes(c)}>{_inner(c)}</th>' for c in map(_cell, head))
    body = "".join(f"<tr>{_row(row)}</tr>" for row in rows)
    title = f"<caption>{escape(caption)}</caption>" if caption else ""
    return (
        f'<div class="scroll"><table>{title}<thead><tr>{heads}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )


def _row(cells: Sequence[Cell]) -> str:
    first, *others = cells
    heading = f'<th scope="row"{_attributes(first)}>{_inner(first)}</th>'
    return heading + "".join(f"<td{_attributes(cell)}>{_inner(cell)}</td>" for cell in others)


def _cell(value: str | Cell) -> Cell:
    return value if isinstance(value, Cell) else Cell(value)


def _attributes(cell: Cell) -> str:
    kind = f' class="{escape(cell.kind)}"' if cell.kind else ""
    return kind + (f' title="{escape(cell.hover)}"' if cell.hover else "")


def _inner(cell: Cell) -> str:
    return (dot(cell.swatch) if cell.swatch else "") + escape(cell.text)


def dot(colour: str) -> str:
    """A small square of a colour."""
    return f'<i class="dot" style="background:{escape(colour)}"></i>'


def legend(entries: Iterable[tuple[str, str]]) -> str:
    """Colours and what they stand for, from (colour, text)."""
    items = "".join(f"<li>{dot(colour)}{escape(text)}</li>" for colour, text in entries)
    return f'<ul class="legend">{items}</ul>'


def card(title: str, value: str, note: str, *, tone: str = "") -> str:
    """A key figure."""
    return (
        f'<div class="card {escape(tone)}"><h3>{escape(title)}</h3>'
        f'<p class="value">{escape(value)}</p><p class="note">{escape(note)}</p></div>'
    )


def note(text: str) -> str:
    """A sentence about how to read what is beside it."""
    return f'<p class="hint">{escape(text)}</p>'


def nothing(text: str) -> str:
    """What stands where there is nothing to draw."""
    return f'<p class="nothing">{escape(text)}</p>'


def switch(name: str, choices: Sequence[tuple[str, str]], label: str) -> str:
    """Buttons of which one is chosen; all switches of one name move together. A lone choice needs
    no button."""
    if len(choices) < 2:
        return ""
    buttons = "".join(
        f'<button type="button" data-value="{escape(value)}" aria-pressed="false">'
        f"{escape(text)}</button>"
        for value, text in choices
    )
    return (
        f'<div class="switch" role="group" aria-label="{escape(label)}" '
        f'data-switch="{escape(name)}"><span>{escape(label)}</span>{buttons}</div>'
    )


def chosen(name: str, value: str, inner: str) -> str:
    """A part of the page that is shown while a switch stands on `value`."""
    return f'<div data-when="{escape(name)}" data-is="{escape(value)}" hidden>{inner}</div>'


def section(identifier: str, title: str, inner: str) -> str:
    """A section with its heading."""
    return f'<section id="{escape(identifier)}"><h2>{escape(title)}</h2>{inner}</section>'
