"""Strict values for messages: what a field may hold, checked while decoding.

A message is a frozen dataclass whose fields are made with `part(kind)`. Decoding refuses unknown
and missing fields, wrong types (a bool is no integer), NaN, duplicate keys, oversized payloads and
text that no process could be given; the one error is MessageError. The same kinds give the JSON
schema. Runs on Python 3.9 with the standard library only.
"""

from __future__ import annotations

import json
import re
from dataclasses import MISSING, dataclass, field, fields
from typing import Any, NoReturn, TypeVar

# A message larger than this is not ours; brokers are set up to refuse it, too.
SIZE_MAX = 65_536
# Integers stay within what a signed 64-bit column holds.
INT_MAX = 2**63 - 1

M = TypeVar("M")


class MessageError(ValueError):
    """Bytes that are no message of ours; says which field, and what was expected there."""


@dataclass(frozen=True)
class Int:
    """An integer between two bounds, both included."""

    least: int = 0
    most: int = INT_MAX

    def take(self, value: Any, place: str) -> int:
        """The value, checked."""
        if type(value) is not int:
            raise MessageError(f"{place}: expected an integer")
        if not self.least <= value <= self.most:
            raise MessageError(f"{place}: expected {self.least} to {self.most}")
        return value

    def give(self, value: Any) -> Any:
        """The value as JSON."""
        return value

    def schema(self) -> dict[str, Any]:
        """Its JSON schema."""
        return {"type": "integer", "minimum": self.least, "maximum": self.most}


@dataclass(frozen=True)
class Flag:
    """True or false."""

    def take(self, value: Any, place: str) -> bool:
        """The value, checked."""
        if type(value) is not bool:
            raise MessageError(f"{place}: expected true or false")
        return value

    def give(self, value: Any) -> Any:
        """The value as JSON."""
        return value

    def schema(self) -> dict[str, Any]:
        """Its JSON schema."""
        return {"type": "boolean"}


@dataclass(frozen=True)
class Text:
    """Text of at most `most` characters without NUL, matching `pattern` in full where given."""

    most: int = 256
    pattern: str = ""

    def take(self, value: Any, place: str) -> str:
        """The value, checked."""
        if type(value) is not str:
            raise MessageError(f"{place}: expected text")
        if len(value) > self.most:
            raise MessageError(f"{place}: expected at most {self.most} characters")
        # Neither half a surrogate pair nor NUL can be handed to a process or a file.
        if "\0" in value or (not value.isascii() and _halved(value)):
            raise MessageError(f"{place}: expected text without NUL or lone surrogates")
        if self.pattern and not re.fullmatch(self.pattern, value):
            raise MessageError(f"{place}: expected {self.pattern}")
        return value

    def give(self, value: Any) -> Any:
        """The value as JSON."""
        return value

    def schema(self) -> dict[str, Any]:
        """Its JSON schema."""
        found: dict[str, Any] = {"type": "string", "maxLength": self.most}
        if self.pattern:
            found["pattern"] = f"^(?:{self.pattern})$"
        return found


@dataclass(frozen=True)
class Maybe:
    """A value or null."""

    kind: Any

    def take(self, value: Any, place: str) -> Any:
        """The value, checked."""
        return None if value is None else self.kind.take(value, place)

    def give(self, value: Any) -> Any:
        """The value as JSON."""
        return None if value is None else self.kind.give(value)

    def schema(self) -> dict[str, Any]:
        """Its JSON schema."""
        return {"anyOf": [self.kind.schema(), {"type": "null"}]}


@dataclass(frozen=True)
class ListOf:
    """At most `most` values of a kind, as a tuple."""

    kind: Any
    most: int = 1_024

    def take(self, value: Any, place: str) -> tuple[Any, ...]:
        """The value, checked."""
        if type(value) not in (list, tuple):
            raise MessageError(f"{place}: expected a list")
        if len(value) > self.most:
            raise MessageError(f"{place}: expected at most {self.most} items")
        return tuple(self.kind.take(item, f"{place}[{i}]") for i, item in enumerate(value))

    def give(self, value: Any) -> Any:
        """The value as JSON."""
        return [self.kind.give(item) for item in value]

    def schema(self) -> dict[str, Any]:
        """Its JSON schema."""
        return {"type": "array", "items": self.kind.schema(), "maxItems": self.most}


@dataclass(frozen=True)
class MapOf:
    """At most `most` named values of a kind."""

    kind: Any
    most: int = 1_024
    name: Text = Text(256, r"[A-Za-z_][A-Za-z0-9_]*")

    def take(self, value: Any, place: str) -> dict[str, Any]:
        """The value, checked."""
        if type(value) is not dict:
            raise MessageError(f"{place}: expected an object")
        if len(value) > self.most:
            raise MessageError(f"{place}: expected at most {self.most} entries")
        return {
            self.name.take(name, f"{place} key"): self.kind.take(item, f"{place}.{name}")
            for name, item in value.items()
        }

    def give(self, value: Any) -> Any:
        """The value as JSON."""
        return {name: self.kind.give(item) for name, item in value.items()}

    def schema(self) -> dict[str, Any]:
        """Its JSON schema."""
        return {
            "type": "object",
            "additionalProperties": self.kind.schema(),
            "propertyNames": self.name.schema(),
            "maxProperties": self.most,
        }


@dataclass(frozen=True)
class Part:
    """Another message inside this one."""

    of: type

    def take(self, value: Any, place: str) -> Any:
        """The value, checked."""
        return value if isinstance(value, self.of) else build(self.of, value, place)

    def give(self, value: Any) -> Any:
        """The value as JSON."""
        return plain(value)

    def schema(self) -> dict[str, Any]:
        """Its JSON schema."""
        return schema(self.of)


@dataclass(frozen=True)
class Anything:
    """JSON of any shape: what a richer codec wrote and a richer one will read."""

    def take(self, value: Any, place: str) -> Any:
        """The value, unchecked."""
        del place
        return value

    def give(self, value: Any) -> Any:
        """The value as JSON."""
        return value

    def schema(self) -> dict[str, Any]:
        """Its JSON schema."""
        return {}


def part(kind: Any, *, young: bool = False, **default: Any) -> Any:
    """A dataclass field of a kind: `part(Int())`, `part(Text(), default="")`. young: added later,
    and left out at its default, so that decoders that do not know it take the message."""
    return field(metadata={"kind": kind, "young": young}, **default)


def _required(item: Any) -> bool:
    return item.default is MISSING and item.default_factory is MISSING


def build(of: type[M], value: Any, place: str = "message") -> M:
    """A message from plain JSON values. Raises MessageError."""
    if type(value) is not dict:
        raise MessageError(f"{place}: expected an object")
    known = {item.name: item for item in fields(of)}  # type: ignore[arg-type]
    for name in value:
        if name not in known:
            raise MessageError(f"{place}: unknown field {str(name)[:64]!r}")
    taken = {}
    for name, item in known.items():
        if name in value:
            taken[name] = item.metadata["kind"].take(value[name], f"{place}.{name}")
        elif _required(item):
            raise MessageError(f"{place}: {name} is missing")
    return of(**taken)


def plain(message: Any) -> dict[str, Any]:
    """A message as plain JSON values."""
    return {
        item.name: item.metadata["kind"].give(getattr(message, item.name))
        for item in fields(message)
        if not item.metadata["young"] or getattr(message, item.name) != item.default
    }


def schema(of: type) -> dict[str, Any]:
    """The JSON schema of a message."""
    items = fields(of)
    return {
        "type": "object",
        "title": of.__name__,
        "description": (of.__doc__ or "").split("\n\n")[0].replace("\n", " ").strip(),
        "properties": {item.name: item.metadata["kind"].schema() for item in items},
        "required": [item.name for item in items if _required(item)],
        "additionalProperties": False,
    }


def encode(message: Any) -> bytes:
    """The bytes of a message. Raises MessageError for one that no decoder would take."""
    build(type(message), plain(message))
    payload = json.dumps(plain(message), ensure_ascii=False, separators=(",", ":")).encode()
    if len(payload) > SIZE_MAX:
        raise MessageError(f"message: {len(payload)} bytes, expected at most {SIZE_MAX}")
    return payload


def decode(of: type[M], payload: bytes) -> M:
    """The message in some bytes. Raises MessageError, and nothing else."""
    if len(payload) > SIZE_MAX:
        raise MessageError(f"message: {len(payload)} bytes, expected at most {SIZE_MAX}")
    try:
        value = json.loads(
            payload.decode(), parse_constant=_no_constant, object_pairs_hook=_no_duplicates
        )
    except MessageError:
        raise
    except (ValueError, RecursionError) as error:
        raise MessageError(f"message: no JSON: {str(error)[:100]}") from error
    return build(of, value)


def _no_constant(name: str) -> NoReturn:
    raise MessageError(f"message: {name} is no number of ours")


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise MessageError("message: a name occurs twice in one object")
    return found


def _halved(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return True
    return False
