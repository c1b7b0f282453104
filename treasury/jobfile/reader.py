"""A file, or what `--set` adds to it, as a table; and a path in the table back to its line."""

import json
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any, Final, NoReturn

import msgspec

from treasury.config.reader import SIZE_LIMIT, find_line, parse
from treasury.domain.errors import BadValue, ConfigError, NotFound

_YAML: Final = (".yaml", ".yml")
_KINDS: Final = (".toml", *_YAML, ".json")
_NESTING: Final = 24


class Source(msgspec.Struct, frozen=True):
    """A job's document. file: what messages call it; lines: the line of each path, where the
    format says; text: a TOML file's, to find lines in."""

    file: str
    table: dict[str, Any]
    lines: dict[str, int] = {}
    text: str = ""

    def where(self, path: str) -> str:
        """The file, with the line a path is about where it is known."""
        line = find_line(self.text, path) if self.text else None
        while path and line is None and self.lines:
            line = self.lines.get(path)
            path = path[: max(path.rfind("."), path.rfind("["), 0)]
        return self.file if line is None else f"{self.file}:{line}"


def read_file(path: Path) -> Source:
    """A job file by its suffix, `-` for YAML on standard input. Raises NotFound, ConfigError."""
    if str(path) == "-":
        return read_text(sys.stdin.buffer.read(SIZE_LIMIT + 1), "<stdin>", ".yaml")
    if path.suffix.lower() not in _KINDS:
        known = ", ".join(_KINDS)
        raise ConfigError(str(path), "", f"has no suffix that is known: a job file ends in {known}")
    try:
        with path.open("rb") as file:
            raw = file.read(SIZE_LIMIT + 1)
    except FileNotFoundError:
        raise NotFound(f"{path}: there is no such job file") from None
    except OSError as error:
        raise ConfigError(str(path), "", f"cannot be read: {error.strerror}") from None
    return read_text(raw, str(path), path.suffix.lower())


def read_text(raw: bytes, file: str, kind: str) -> Source:
    """A document's bytes; kind: `.toml`, `.yaml` or `.json`. Raises ConfigError."""
    if len(raw) > SIZE_LIMIT:
        raise ConfigError(file, "", f"is larger than {SIZE_LIMIT // 1024} KiB: is it a job?")
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        place = f"byte 0x{raw[error.start]:02x} at {error.start}"
        raise ConfigError(file, "", f"is not UTF-8 text ({place}): save it as UTF-8") from None
    if kind in _YAML:
        from treasury.jobfile.yaml import parse_yaml

        table, lines = parse_yaml(text, file)
        return Source(file=file, table=table, lines=lines)
    if kind == ".json":
        return Source(file=file, table=_parse_json(text, file))
    return Source(file=file, table=parse(text, file), text=text)


def with_settings(source: Source, settings: tuple[str, ...]) -> Source:
    """The document with `key=value`s put in, such as `env.LR=0.1` or `resources.gpu=H100:8`.

    A value that is JSON (a number, true, a list) is taken as such, anything else as text. Raises
    BadValue.
    """
    table = source.table
    for setting in settings:
        key, sign, text = setting.partition("=")
        parts = key.strip().split(".")
        if not sign or not all(parts) or len(parts) > _NESTING:
            raise BadValue("--set", setting[:80], "KEY=VALUE, such as env.LR=0.1")
        table = _put(table, parts, _setting(text), setting)
    return msgspec.structs.replace(source, table=table)


def _put(table: dict[str, Any], parts: list[str], value: Any, setting: str) -> dict[str, Any]:
    """A copy along the path: values that an alias shares stay as they are elsewhere."""
    first, *rest = parts
    if rest:
        below = table.get(first)
        if below is None:
            below = {}
        if not isinstance(below, dict):
            right = f"a key that is there: {first!r} holds no keys"
            raise BadValue("--set", setting[:80], right)
        value = _put(below, rest, value, setting)
    return {**table, first: value}


def _setting(text: str) -> Any:
    try:
        return _decode(text)
    except (ValueError, ArithmeticError, RecursionError):
        return text


def _parse_json(text: str, file: str) -> dict[str, Any]:
    try:
        table = _decode(text)
    except json.JSONDecodeError as error:
        raise ConfigError(f"{file}:{error.lineno}", "", f"is not JSON: {error.msg}") from None
    except RecursionError:
        raise ConfigError(file, "", "lists or tables are nested too deeply") from None
    except (ValueError, ArithmeticError) as error:
        raise ConfigError(file, "", str(error)) from None
    if not isinstance(table, dict):
        raise ConfigError(file, "", "holds no table: an object with keys and values is needed")
    return table


def _decode(text: str) -> Any:
    """JSON with exact fractions, without what JSON does not have, and no key twice."""
    value = json.loads(
        text,
        parse_float=Decimal,
        parse_int=_whole,
        parse_constant=_refuse_constant,
        object_pairs_hook=_unique,
    )
    _check_depth(value, 0)
    return value


def _whole(digits: str) -> int:
    if len(digits) > 19:
        raise ValueError("holds a number that is too large to be read")
    return int(digits)


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"holds {name}, which is no number")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    table = dict(pairs)
    if len(table) != len(pairs):
        raise ValueError("has a key twice in one object")
    return table


def _check_depth(value: Any, depth: int) -> None:
    if depth > _NESTING:
        raise ValueError(f"is nested more than {_NESTING} deep")
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        for item in value:
            _check_depth(item, depth + 1)
