"""Printing tables: aligned text for people, JSON and CSV for programs.

Every verb that prints a table goes through `emit`, so that `-o` means the same everywhere. Text
goes to stdout, colour only where a terminal shows it and `NO_COLOR` is unset.
"""

import csv
import io
import json
import os
import re
import sys
import unicodedata
from collections.abc import Callable, Sequence
from enum import Enum
from pathlib import Path
from typing import Any, Final, TextIO, TypeVar

import click

TABLE: Final = "table"
FORMATS: Final = (TABLE, "json", "csv")
# What a person sees where a value is not known; 0 would be a lie.
UNKNOWN: Final = "-"

# "12", "-3.5", "1,234.50 USD", "2.1000 USD/h", "97 %", "1d 12h": columns of these align right.
_NUMBER = re.compile(r"[-+]?\d[\d,]*(\.\d+)?( ?(%|x|GiB|[A-Z]{3}(/h)?))?|-?(\d[\d.]*(d|h|m|s) ?)+")

AnyFunction = TypeVar("AnyFunction", bound=Callable[..., Any])


def output_option(function: AnyFunction) -> AnyFunction:
    """Decorate a command with `-o/--output table|json|csv`; its parameter is `output`."""
    return click.option(
        "-o",
        "--output",
        type=click.Choice(FORMATS),
        default=TABLE,
        show_default=True,
        help="How to print tables.",
    )(function)


def config_option(
    text: str = "A configuration file.",
) -> Callable[[AnyFunction], AnyFunction]:
    """`-c/--config FILE`, TREASURY_CONFIG, or the embedded one; its parameter is `config_file`."""
    return click.option(
        "-c",
        "--config",
        "config_file",
        type=click.Path(path_type=Path),
        envvar="TREASURY_CONFIG",
        show_envvar=True,
        help=f"{text}  [default: the embedded one]",
    )


def wants_colour(stream: TextIO) -> bool:
    """Whether a stream shows colour: it is a terminal and `NO_COLOR` is unset or empty."""
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def style(text: str, stream: TextIO, **how: Any) -> str:
    """`click.style` where the stream shows colour, the plain text elsewhere."""
    return click.style(text, **how) if wants_colour(stream) else text


def emit(
    columns: Sequence[str],
    rows: Sequence[Sequence[object]],
    output: str,
    *,
    title: str = "",
) -> None:
    """Print rows to stdout as `output`: an aligned table, a JSON list of objects, or CSV.

    None is "not known": `-` in a table, null in JSON, empty in CSV. `title` is printed above a
    table only: JSON and CSV hold data alone.
    """
    if output == "json":
        items = [dict(zip(columns, map(_plain, row), strict=True)) for row in rows]
        click.echo(json.dumps(items, indent=2, ensure_ascii=False))
    elif output == "csv":
        buffer = io.StringIO()
        writer = csv.writer(buffer, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows([_csv_cell(cell) for cell in row] for row in rows)
        click.echo(buffer.getvalue(), nl=False)
    else:
        click.echo(_table(columns, rows, title), nl=False)


def _table(columns: Sequence[str], rows: Sequence[Sequence[object]], title: str) -> str:
    cells = [[_cell(value) for value in row] for row in rows]
    widths = [_width(name) for name in columns]
    for row in cells:
        for index, text in enumerate(row):
            widths[index] = max(widths[index], _width(text))
    right = [_aligns_right([row[index] for row in cells]) for index in range(len(columns))]

    def line(texts: Sequence[str]) -> str:
        padded = (
            _pad(text, width, to_right)
            for text, width, to_right in zip(texts, widths, right, strict=True)
        )
        return "  ".join(padded).rstrip()

    lines = [style(title, sys.stdout, bold=True)] if title else []
    lines.append(style(line(columns), sys.stdout, bold=True))
    lines.extend(line(row) for row in cells)
    return "\n".join(lines) + "\n"


def _cell(value: object) -> str:
    """A cell's text; control characters are shown, so that a name cannot drive the terminal."""
    if value is None:
        return UNKNOWN
    if isinstance(value, bool):
        return "yes" if value else "no"
    text = str(_plain(value))
    return "".join(char if char.isprintable() else repr(char)[1:-1] for char in text)


def _csv_cell(value: object) -> object:
    return "" if value is None else _plain(value)


def _plain(value: object) -> object:
    """What JSON can say: numbers, text, truth and null as they are, the rest as text."""
    if isinstance(value, Enum):
        value = value.value
    if isinstance(value, list | tuple):
        return ", ".join(str(_plain(item)) for item in value)
    return value if value is None or isinstance(value, bool | int | float | str) else str(value)


def _aligns_right(texts: Sequence[str]) -> bool:
    known = [text for text in texts if text != UNKNOWN]
    return bool(known) and all(_NUMBER.fullmatch(text) for text in known)


def _width(text: str) -> int:
    """Columns on a terminal: wide characters take two, combining ones none."""
    if text.isascii():
        return len(text)
    return sum(
        0 if unicodedata.combining(char) else 2 if unicodedata.east_asian_width(char) in "WF" else 1
        for char in text
    )


def _pad(text: str, width: int, to_right: bool) -> str:
    fill = " " * (width - _width(text))
    return fill + text if to_right else text + fill
