"""Tables to frozen values: one walk that collects every problem with its path and value."""

import math
import re
from decimal import Decimal
from enum import Enum
from types import NoneType, UnionType
from typing import Annotated, Any, Final, Union, get_args, get_origin

import msgspec

from treasury.config.units import Leaf, is_number, plain
from treasury.domain.errors import BadValue, did_you_mean

# What stands for a value that could not be read; a problem was noted for it.
_BAD: Final = object()
_SECRET: Final = re.compile(r"token|secret|password|credential|key", re.IGNORECASE)


class Problem(msgspec.Struct, frozen=True):
    """Something wrong at a dotted path, such as `budget[2].parent`."""

    path: str
    text: str


def decode(kind: Any, table: dict[str, Any], problems: list[Problem]) -> Any:
    """`table` as a `kind` (a Struct), or None when there are problems, which are noted."""
    value = _read(kind, table, "", problems)
    return None if problems else value


def _read(kind: Any, value: Any, path: str, problems: list[Problem]) -> Any:
    """One value as `kind`; _BAD after noting why not."""
    origin, arguments = get_origin(kind), get_args(kind)
    if origin in (UnionType, Union):
        (kind,) = (part for part in arguments if part is not NoneType)
        return _read(kind, value, path, problems)
    if origin is Annotated:
        leaf = next(part for part in arguments if isinstance(part, Leaf))
        try:
            return leaf.read(value)
        except BadValue as error:
            return _note(problems, path, str(error))
    if origin is tuple:
        return _read_list(arguments[0], value, path, problems)
    if origin is dict:
        return _read_table(arguments[1], value, path, problems)
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        return _read_struct(kind, value, path, problems)
    if isinstance(kind, type) and issubclass(kind, Enum):
        return _read_enum(kind, value, path, problems)
    return _read_plain(kind, value, path, problems)


def _read_struct(kind: type[msgspec.Struct], value: Any, path: str, problems: list[Problem]) -> Any:
    if not isinstance(value, dict):
        return _note(problems, path, f"{plain(value)!r} cannot be used: expected a table")
    fields = {field.name: field for field in msgspec.structs.fields(kind)}
    read: dict[str, Any] = {}
    for key, item in value.items():
        where = _join(path, key)
        if key in fields:
            read[key] = _read(fields[key].type, item, where, problems)
        else:
            shown = "" if isinstance(item, dict | list) else f" (value {_shown(key, item)})"
            _note(problems, where, f"unknown key{shown}; {did_you_mean(key, fields)}")
    for name, field in fields.items():
        if field.required and name not in value:
            read[name] = _note(problems, path, f'"{name}" is missing')
    return _BAD if any(item is _BAD for item in read.values()) else kind(**read)


def _read_list(kind: Any, value: Any, path: str, problems: list[Problem]) -> Any:
    if not isinstance(value, list):
        return _note(problems, path, f"{plain(value)!r} cannot be used: expected a list")
    read = [_read(kind, item, f"{path}[{index}]", problems) for index, item in enumerate(value)]
    return _BAD if any(item is _BAD for item in read) else tuple(read)


def _read_table(kind: Any, value: Any, path: str, problems: list[Problem]) -> Any:
    if not isinstance(value, dict):
        return _note(problems, path, f"{plain(value)!r} cannot be used: expected a table")
    read = {key: _read(kind, item, _join(path, key), problems) for key, item in value.items()}
    return _BAD if any(item is _BAD for item in read.values()) else read


def _read_enum(kind: type[Enum], value: Any, path: str, problems: list[Problem]) -> Any:
    known = [str(member.value) for member in kind]
    if isinstance(value, str) and value in known:
        return kind(value)
    text = f"{plain(value)!r} cannot be used: expected one of {', '.join(known)}"
    return _note(problems, path, text)


def _read_plain(kind: Any, value: Any, path: str, problems: list[Problem]) -> Any:
    """Booleans, whole numbers, text, and what is kept as it is (`object`)."""
    if kind is object:
        return _free(value, path, problems)
    words = {bool: "true or false", int: "a whole number", str: "text in quotes"}
    if type(value) is kind and not (kind is int and abs(value) >= 2**31):
        return value
    return _note(problems, path, f"{plain(value)!r} cannot be used: expected {words[kind]}")


def _free(value: Any, path: str, problems: list[Problem]) -> Any:
    """A value of a table whose keys belong to somebody else: numbers only have to be finite."""
    if isinstance(value, Decimal):
        number = float(value)
        if not math.isfinite(number):
            return _note(problems, path, f"{value} cannot be used: expected a finite number")
        return number
    if isinstance(value, list):
        items = [_free(item, f"{path}[{index}]", problems) for index, item in enumerate(value)]
        return _BAD if any(item is _BAD for item in items) else items
    if isinstance(value, dict):
        table = {key: _free(item, _join(path, key), problems) for key, item in value.items()}
        return _BAD if any(item is _BAD for item in table.values()) else table
    return value


def _join(path: str, key: str) -> str:
    """A dotted path; a key that is no bare key is quoted, as in the file."""
    shown = key if re.fullmatch(r"[\w-]+", key, re.ASCII) else f'"{key[:60]}"'
    return f"{path}.{shown}" if path else shown


def _shown(key: str, value: Any) -> str:
    """A value in a message; never that of a key that sounds secret."""
    if _SECRET.search(key) and not is_number(value):
        return "not shown"
    return repr(plain(value))


def _note(problems: list[Problem], path: str, text: str) -> Any:
    problems.append(Problem(path=path, text=text))
    return _BAD
