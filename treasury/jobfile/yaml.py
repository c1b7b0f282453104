"""YAML as far as a job needs it, with limits: tables, lists and scalars of one document.

Built from the parser's events, not by a loader: nothing is constructed by name, numbers stay exact,
"no" and "on" stay text, a key that is there twice is an error, and each value keeps its line.
"""

import re
from collections.abc import Iterator
from decimal import Decimal
from typing import Any, Final, NoReturn

from treasury.domain.errors import ConfigError

# No job nests deeper than six.
_DEPTH: Final = 24
# Values after aliases are followed: a file of a few lines may stand for billions.
_VALUES: Final = 10_000
_INT: Final = re.compile(r"[-+]?(0|[1-9][0-9]{0,17})", re.ASCII)
_FRACTION: Final = re.compile(
    r"[-+]?([0-9]{1,32}\.[0-9]{0,32}|\.[0-9]{1,32}|[0-9]{1,32}(?=[eE]))([eE][-+]?[0-9]{1,4})?",
    re.ASCII,
)
_WORDS: Final = {
    "": None,
    "~": None,
    "null": None,
    "Null": None,
    "NULL": None,
    "true": True,
    "True": True,
    "TRUE": True,
    "false": False,
    "False": False,
    "FALSE": False,
}
_TEXT_TAGS: Final = (None, "!", "tag:yaml.org,2002:str")


def parse_yaml(text: str, file: str) -> tuple[dict[str, Any], dict[str, int]]:
    """The table of a YAML text, fractions as exact Decimals, and the line of each path such as
    `resources.any_of[0]`. Raises ConfigError."""
    import yaml

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    builder = _Builder(yaml.parse(text, Loader=loader), file)
    try:
        return builder.document(), builder.lines
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"{file}:{mark.line + 1}" if mark else file
        raise ConfigError(where, "", f"is not YAML: {error.problem or error.context}") from None
    except yaml.YAMLError as error:
        # The reader's errors quote characters that cannot be printed.
        reason = getattr(error, "reason", "it cannot be read")
        raise ConfigError(file, "", f"is not YAML: {reason}") from None


class _Builder:
    """Values out of one stream of events."""

    def __init__(self, events: Iterator[Any], file: str) -> None:
        self.lines: dict[str, int] = {}
        self._events, self._file = events, file
        # A finished anchor's value and how many values it stands for.
        self._anchors: dict[str, tuple[Any, int]] = {}
        self._count = 0

    def document(self) -> dict[str, Any]:
        """The one document, which is a table."""
        kind, event = self._next()
        while kind in ("StreamStart", "DocumentStart"):
            kind, event = self._next()
        if kind == "StreamEnd":
            return {}
        value = self._value(kind, event, "", 0)
        table: dict[str, Any] = {} if value is None else value
        if not isinstance(table, dict):
            self._refuse(event, "holds no table: write keys and values, such as `gpu: H100:8`")
        while kind != "StreamEnd":
            kind, event = self._next()
            if kind == "DocumentStart":
                self._refuse(event, "holds more than one document: one file is one job")
        return table

    def _next(self) -> tuple[str, Any]:
        event = next(self._events)
        return type(event).__name__.removesuffix("Event"), event

    def _value(self, kind: str, event: Any, path: str, depth: int) -> Any:
        self._count += 1
        if self._count > _VALUES:
            self._refuse(event, f"holds more than {_VALUES} values, aliases followed")
        if depth > _DEPTH:
            self._refuse(event, f"is nested more than {_DEPTH} deep")
        if path:
            self.lines.setdefault(path, event.start_mark.line + 1)
        if kind == "Alias":
            return self._alias(event)
        before = self._count
        if kind == "MappingStart":
            self._check_tag(event, (None, "!", "tag:yaml.org,2002:map"))
            value: Any = self._table(path, depth)
        elif kind == "SequenceStart":
            self._check_tag(event, (None, "!", "tag:yaml.org,2002:seq"))
            value = self._list(path, depth)
        else:
            self._check_tag(event, _TEXT_TAGS)
            plain = event.implicit[0] and event.tag is None
            value = _scalar(event.value) if plain else event.value
        if event.anchor:
            self._anchors[event.anchor] = (value, self._count - before + 1)
        return value

    def _alias(self, event: Any) -> Any:
        if event.anchor not in self._anchors:
            self._refuse(event, f"*{event.anchor} names no value that was given before")
        value, size = self._anchors[event.anchor]
        self._count += size
        if self._count > _VALUES:
            self._refuse(event, f"holds more than {_VALUES} values, aliases followed")
        return value

    def _table(self, path: str, depth: int) -> dict[str, Any]:
        table: dict[str, Any] = {}
        while True:
            kind, event = self._next()
            if kind == "MappingEnd":
                return table
            if kind != "Scalar":
                self._refuse(event, "has a key that is no plain text")
            key = event.value
            if key in table:
                self._refuse(event, f"has the key {key[:60]!r} twice in one table")
            if key == "<<":
                self._refuse(event, "has a merge key (<<), which is not taken: write the keys out")
            self._check_tag(event, _TEXT_TAGS)
            kind, event = self._next()
            table[key] = self._value(kind, event, f"{path}.{key}" if path else key, depth + 1)

    def _list(self, path: str, depth: int) -> list[Any]:
        items: list[Any] = []
        while True:
            kind, event = self._next()
            if kind == "SequenceEnd":
                return items
            items.append(self._value(kind, event, f"{path}[{len(items)}]", depth + 1))

    def _check_tag(self, event: Any, allowed: tuple[str | None, ...]) -> None:
        if event.tag not in allowed:
            self._refuse(event, f"has the tag {event.tag[:60]!r}; tags are not taken")

    def _refuse(self, event: Any, problem: str) -> NoReturn:
        raise ConfigError(f"{self._file}:{event.start_mark.line + 1}", "", problem)


def _scalar(text: str) -> Any:
    """A plain scalar's value: null, truth, a number, or the text itself."""
    if text in _WORDS:
        return _WORDS[text]
    if _INT.fullmatch(text):
        return int(text)
    return Decimal(text) if _FRACTION.fullmatch(text) else text
