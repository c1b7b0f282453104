"""`--set PATH=VALUE[,VALUE...]`: values to try for a key of the configuration."""

import re
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from copy import deepcopy
from decimal import Decimal
from itertools import product
from pathlib import Path
from typing import Any, Final, NamedTuple

from treasury.config import Config, default_path, inspect_table
from treasury.config.reader import parse, read_text
from treasury.domain.errors import BadValue, ConfigError

STRATEGY: Final = "strategy."
_PATH = re.compile(r"[\w-]+(\.[\w-]+)+")
# A value: commas inside of a list, a table or a text do not end it.
_VALUE = re.compile(r"""(?:"[^"]*"|'[^']*'|\[[^\]]*\]|\{[^}]*\}|[^,])+""")

Choice = dict[str, str]


class Override(NamedTuple):
    """A dotted key, and the texts of the values to try for it."""

    path: str
    values: tuple[str, ...]


def parse_override(text: str) -> Override:
    """`"strategy.greedy.patience=1h,6h"`. Raises BadValue."""
    path, equals, values = text.partition("=")
    path = path.strip()
    found = tuple(dict.fromkeys(filter(None, map(str.strip, _VALUE.findall(values)))))
    if not equals or not _PATH.fullmatch(path) or not found:
        raise BadValue(
            "--set", text, "KEY=VALUE[,VALUE...], such as strategy.greedy.patience=1h,6h"
        )
    return Override(path, found)


def combinations(overrides: Sequence[Override]) -> list[Choice]:
    """Every combination of values, path -> text; one empty combination without overrides."""
    paths = [override.path for override in overrides]
    return [
        dict(zip(paths, values, strict=True))
        for values in product(*(override.values for override in overrides))
    ]


class Template:
    """A configuration file whose keys can be set. path: None for the embedded default."""

    def __init__(self, path: Path | None) -> None:
        source = default_path() if path is None else path
        self.file = str(source)
        self._table = parse(read_text(source), self.file)

    def config(self, choice: Mapping[str, str]) -> Config:
        """The configuration with values chosen. Raises ConfigError."""
        table = deepcopy(self._table)
        for path, text in choice.items():
            _set(table, path, _value(text), self.file)
        config, problems = inspect_table(table, self.file)
        if config is None:
            raise ConfigError(self.file, problems[0].path, problems[0].text)
        return config


def split(overrides: Iterable[Override]) -> tuple[list[Override], dict[str, list[Override]]]:
    """Those that change the world, and those of each strategy by its name."""
    world: list[Override] = []
    own: dict[str, list[Override]] = {}
    for override in overrides:
        if override.path.startswith(STRATEGY) and override.path.count(".") == 2:
            own.setdefault(override.path.split(".")[1], []).append(override)
        else:
            world.append(override)
    return world, own


def short(choice: Mapping[str, str]) -> str:
    """A choice as a label: `"patience=1h margin=5m"`."""
    return " ".join(f"{path.rpartition('.')[2]}={text}" for path, text in choice.items())


def _value(text: str) -> Any:
    """A TOML value, or the text itself: durations and money are texts that need no quotes here."""
    try:
        return tomllib.loads(f"value = {text}", parse_float=Decimal)["value"]
    except (tomllib.TOMLDecodeError, ValueError, ArithmeticError):
        return text


def _set(table: dict[str, Any], path: str, value: Any, file: str) -> None:
    *above, last = path.split(".")
    for name in above:
        below = table.setdefault(name, {})
        if not isinstance(below, dict):
            raise ConfigError(file, path, f'"{name}" is no table: its keys cannot be set')
        table = below
    table[last] = value
