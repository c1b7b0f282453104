"""Configuration: a TOML file to frozen settings, or errors that say what to write instead.

Lives here: the sections and their units, what contradicts what, the embedded default. May not
live here: anything that acts on a setting. `reader` gets a table out of a file, `decode` walks it
along `sections`, `checks` compares sections, `settings` makes domain values of them.
"""

from pathlib import Path
from typing import Any, Final

import msgspec

from treasury.config.checks import SIMULATED, check
from treasury.config.decode import Problem, decode
from treasury.config.reader import find_line, parse, read_text
from treasury.config.sections import (
    ApiSection,
    BusSection,
    DaemonSection,
    DemandModel,
    FileSection,
    LogFormat,
    MarketTables,
    SimulationSection,
)
from treasury.config.settings import (
    Config,
    MarketSettings,
    ProviderSettings,
    StrategySettings,
    build,
)
from treasury.domain.errors import ConfigError

EXAMPLE: Final = "config.example.toml"


class Findings(msgspec.Struct, frozen=True):
    """What reading a file found: the settings, or None and every problem."""

    config: Config | None
    errors: tuple[ConfigError, ...]


def default_path() -> Path:
    """The embedded default: the example, beside this package in a checkout, inside it once
    installed."""
    package = Path(__file__).resolve().parent.parent
    inside = package / EXAMPLE
    return inside if inside.exists() else package.parent / EXAMPLE


def load_config(path: Path | None = None) -> Config:
    """The settings of a file, or the embedded default's. Raises NotFound or ConfigError."""
    findings = inspect_config(path)
    if findings.config is not None:
        return findings.config
    first, *rest = findings.errors
    more = f" (and {len(rest)} more: treasury validate {path or ''})" if rest else ""
    raise ConfigError(first.file, first.path, first.problem + more)


def inspect_config(path: Path | None = None) -> Findings:
    """Read a file and collect every problem. Raises NotFound when there is no file."""
    source = default_path() if path is None else path
    file = str(source)
    try:
        return inspect_text(read_text(source), file)
    except ConfigError as error:
        return Findings(config=None, errors=(error,))


def inspect_text(text: str, file: str) -> Findings:
    """The same for a file's text; `file` is what messages call it."""
    try:
        table = parse(text, file)
    except ConfigError as error:
        return Findings(config=None, errors=(error,))
    config, problems = inspect_table(table, file)
    errors = tuple(_at_line(problem, text, file) for problem in problems)
    return Findings(config=config, errors=errors)


def inspect_table(table: dict[str, Any], file: str) -> tuple[Config | None, list[Problem]]:
    """The same for a file's table: a configuration, or what is wrong with it."""
    table, real = split_markets(table)
    problems: list[Problem] = []
    more: list[Problem] = []
    section: FileSection | None = decode(FileSection, table, problems)
    markets: MarketTables | None = decode(MarketTables, {"provider": real}, more)
    problems += more
    if section is not None and markets is not None:
        problems = check(section, markets)
    if section is None or markets is None or problems:
        return None, problems
    return build(section, markets, file), []


def split_markets(table: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """A file's table without the providers that no trace plays, and those."""
    providers = table.get("provider")
    if not isinstance(providers, dict):
        return table, {}
    real = {
        name: item
        for name, item in providers.items()
        if isinstance(item, dict) and item.get("kind", SIMULATED) != SIMULATED
    }
    rest = {name: item for name, item in providers.items() if name not in real}
    return {**table, "provider": rest}, real


def _at_line(problem: Problem, text: str, file: str) -> ConfigError:
    line = find_line(text, problem.path)
    return ConfigError(f"{file}:{line}" if line else file, problem.path, problem.text)


__all__ = [
    "ApiSection",
    "BusSection",
    "Config",
    "DaemonSection",
    "DemandModel",
    "Findings",
    "LogFormat",
    "MarketSettings",
    "ProviderSettings",
    "SimulationSection",
    "StrategySettings",
    "default_path",
    "inspect_config",
    "inspect_text",
    "load_config",
]
