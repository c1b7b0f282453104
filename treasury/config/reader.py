"""A file's bytes to a table, and a path in the table back to a line of the file."""

import re
import tomllib
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

from treasury.domain.errors import ConfigError, NotFound

# A configuration is written by hand; what is larger is some other file.
SIZE_LIMIT: Final = 256 * 1024
# tomllib's work and memory grow with the square of a key's parts: a few kilobytes of "a.a.a..."
# would stall it. No key of ours has more than five.
_KEY_DOTS: Final = 32

_QUOTED: Final = re.compile(r"\"[^\"\n]*\"|'[^'\n]*'")
_NOT_KEY: Final = re.compile(r"[^\w.\- \t]")
_HEADER: Final = re.compile(r"\s*(\[\[?)\s*([^\]]+?)\s*\]\]?\s*(?:#.*)?$")


def read_text(path: Path) -> str:
    """A configuration file's text. Raises NotFound or ConfigError."""
    try:
        with path.open("rb") as file:
            raw = file.read(SIZE_LIMIT + 1)
    except FileNotFoundError:
        raise NotFound(f"{path}: there is no such configuration file") from None
    except OSError as error:
        raise ConfigError(str(path), "", f"cannot be read: {error.strerror}") from None
    if len(raw) > SIZE_LIMIT:
        raise ConfigError(
            str(path), "", f"is larger than {SIZE_LIMIT // 1024} kB: is it a configuration?"
        )
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ConfigError(
            str(path),
            "",
            f"is not UTF-8 text (byte 0x{raw[error.start]:02x} at {error.start}): save it as UTF-8",
        ) from None


def parse(text: str, file: str) -> dict[str, Any]:
    """The table a TOML text holds, fractions as exact Decimals. Raises ConfigError."""
    for number, line in enumerate(text.splitlines(), start=1):
        if line.count(".") > _KEY_DOTS and _has_endless_key(line):
            raise ConfigError(f"{file}:{number}", "", f"a key has more than {_KEY_DOTS} dots")
    try:
        return tomllib.loads(text, parse_float=Decimal)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(file, "", f"is not TOML: {error}") from None
    except RecursionError:
        raise ConfigError(file, "", "lists or tables are nested too deeply") from None
    except (ValueError, ArithmeticError):
        # Whole numbers of thousands of digits, exponents beyond any Decimal.
        raise ConfigError(file, "", "holds a number that is too large to be read") from None


def _has_endless_key(line: str) -> bool:
    bare = _QUOTED.sub("q", line).partition("#")[0]
    return any(piece.count(".") > _KEY_DOTS for piece in _NOT_KEY.split(bare))


def find_line(text: str, path: str) -> int | None:
    """The line (from 1) that a path such as `budget[2].parent` is about, None where unsure.

    A reader's help, not a parser: it follows headers and looks for `key =` below the right one.
    """
    if not path:
        return None
    wanted, counts = _plain_path(path), dict[str, int]()
    table, depth, best = "", 0, None
    for number, line in enumerate(text.splitlines(), start=1):
        header = _HEADER.match(line)
        if header:
            table = _plain_path(header[2])
            if header[1] == "[[":
                index = counts.get(table, -1) + 1
                counts[table] = index
                table = f"{table}[{index}]"
            place = table
        else:
            key, equals, _ = line.partition("=")
            place = f"{table}.{_plain_path(key.strip())}".lstrip(".") if equals else ""
        inside = place and (wanted == place or wanted.startswith((place + ".", place + "[")))
        if inside and len(place) > depth:
            depth, best = len(place), number
    return best


def _plain_path(path: str) -> str:
    return path.replace('"', "").replace("'", "").replace(" ", "")
