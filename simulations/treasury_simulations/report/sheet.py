"""The charts of a page and their data, on the way to the browser.

A chart's data does not travel in the plotting library's own form: a `Sheet` collects plain
columns, often one set a strategy, and the page's script puts the chosen set in place. So a strategy
is switched without a second chart, and a name that occurs a thousand times is sent once.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

from bokeh.embed import json_item
from bokeh.models import ColumnDataSource
from bokeh.models.ui import UIElement

from treasury.domain.time import SECOND

# A column in one of the forms that the page's script unpacks.
Column = Sequence[float | int | str | None] | Mapping[str, Any]
Columns = Mapping[str, Column]
# The variant of a source that does not depend on what is chosen.
ALWAYS = "*"


class Sheet:
    """Collects charts, their data and switched axes. origin: the instant [ns] times count from."""

    def __init__(self, origin: int) -> None:
        self.origin = origin
        self._items: list[dict[str, Any]] = []
        self._sources: dict[str, dict[str, Columns]] = {}
        self._rows: dict[str, dict[str, list[str]]] = {}

    def source(self, name: str, variants: Mapping[str, Columns]) -> ColumnDataSource:
        """An empty source that the page fills with a variant: `"*"`, or the number of the run."""
        self._sources[name] = dict(variants)
        columns = next(iter(variants.values()))
        return ColumnDataSource(data={key: [] for key in columns}, name=name)

    def rows(self, name: str, variants: Mapping[str, list[str]]) -> None:
        """Row labels of a chart, by variant: the page numbers the rows and scales the axis."""
        self._rows[name] = dict(variants)

    def chart(self, model: UIElement, describes: str) -> str:
        """The place of a chart in the page. describes: what it shows, for who cannot see it."""
        target = f"chart-{len(self._items) + 1}"
        item: dict[str, Any] = dict(json_item(model, target=target))  # type: ignore[arg-type]
        self._items.append(_renumbered(item))
        return (
            f'<div class="chart" id="{target}" role="img" aria-label="{escape(describes)}"></div>'
        )

    def times(self, instants: Iterable[int]) -> Column:
        """Instants [ns], sent as whole seconds since the origin."""
        return {"time": self._seconds(instants)}

    def maybe_times(self, instants: Iterable[int | None]) -> Column:
        """Instants [ns], None for a place that stays empty."""
        return {"time": [None if at is None else (at - self.origin) // SECOND for at in instants]}

    def line_times(self, series: Iterable[Iterable[int]]) -> Column:
        """Instants [ns] of several lines."""
        return {"times": [self._seconds(instants) for instants in series]}

    def step_times(self, series: Iterable[Iterable[int]]) -> Column:
        """Instants [ns] of several step lines; each value holds until the next instant."""
        return {"step_times": [self._seconds(instants) for instants in series]}

    def _seconds(self, instants: Iterable[int]) -> list[int]:
        return [(instant - self.origin) // SECOND for instant in instants]

    def payload(self, **more: object) -> str:
        """Everything the page's script needs, as JSON that is safe inside a script element."""
        content = {
            "origin_ms": self.origin // 1_000_000,
            "items": self._items,
            "sources": self._sources,
            "rows": self._rows,
            **more,
        }
        text = json.dumps(content, separators=(",", ":"), allow_nan=False)
        return text.replace("<", "\\u003c")


def words(values: Iterable[str | float]) -> Column:
    """Values that repeat: each once, and its number at each place."""
    numbers: dict[str | float, int] = {}
    codes = [numbers.setdefault(value, len(numbers)) for value in values]
    return {"words": list(numbers), "codes": codes}


def amounts(micros: Iterable[int]) -> Column:
    """Amounts [micro-USD]; the page draws them in USD."""
    return {"micro": list(micros)}


def lines(series: Iterable[Sequence[float]]) -> Column:
    """Positions of several lines."""
    return {"lines": [list(values) for values in series]}


def step_positions(series: Iterable[Sequence[float]]) -> Column:
    """Positions of several step lines that are not instants."""
    return {"step_positions": [list(values) for values in series]}


def steps(series: Iterable[Sequence[float | None]]) -> Column:
    """Values of several step lines, None for a gap; see `Sheet.step_times`."""
    return {"step_values": [list(values) for values in series]}


def _renumbered(item: dict[str, Any]) -> dict[str, Any]:
    """The library numbers models through the life of the process; counted from one in each chart
    instead, the same comparison gives the same bytes."""
    numbers: dict[str, str] = {}

    def walk(node: Any) -> Any:
        if isinstance(node, dict):
            return {
                key: numbers.setdefault(value, f"m{len(numbers) + 1}")
                if key in {"id", "root_id"} and isinstance(value, str)
                else walk(value)
                for key, value in node.items()
            }
        return [walk(child) for child in node] if isinstance(node, list) else node

    renumbered: dict[str, Any] = walk(item)
    return renumbered
