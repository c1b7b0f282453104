"""Whether a body is what Azure's API takes, by the SDK's own models: unknown keys are refused, as
is a value of the wrong kind."""

import types
import typing
from collections.abc import Mapping
from datetime import datetime
from enum import Enum
from functools import cache
from typing import Any


@cache
def _fields(model: type) -> dict[str, Any]:
    """Key on the wire -> type hint, of one of the SDK's models."""
    from azure.mgmt.compute import models

    # The SDK completes a model's description when the first of it is made.
    model({})
    hints = {}
    for kind in reversed(model.__mro__):
        hints.update(
            typing.get_type_hints(kind, None, {"_models": models, **vars(typing)})
            if kind.__module__.startswith("azure.mgmt.compute")
            else {}
        )
    return {
        field._rest_name: hints.get(name, Any) for name, field in model._attr_to_rest_field.items()
    }


def problems(model: type, body: object, path: str = "") -> list[str]:
    """What is wrong with a body, each with its path."""
    if not isinstance(body, Mapping):
        return [f"{path}: not an object"]
    fields = _fields(model)
    found = []
    for key, value in body.items():
        where = f"{path}.{key}" if path else str(key)
        if key in fields:
            found.extend(_value(fields[key], value, where))
        else:
            found.append(f"{where}: unknown")
    return found


def _value(hint: Any, value: object, path: str) -> list[str]:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        tried = [_value(part, value, path) for part in arguments if part is not type(None)]
        return min(tried, key=len)
    if origin is list:
        if not isinstance(value, list):
            return [f"{path}: not a list"]
        return [
            problem
            for index, item in enumerate(value)
            for problem in _value(arguments[0], item, f"{path}[{index}]")
        ]
    if origin is dict:
        if not isinstance(value, Mapping):
            return [f"{path}: not an object"]
        return [
            problem
            for key, item in value.items()
            for problem in _value(arguments[1], item, f"{path}.{key}")
        ]
    if (
        isinstance(hint, type)
        and hint.__module__.startswith("azure.")
        and not issubclass(hint, Enum)
    ):
        return problems(hint, value, path)
    return _plain(hint, value, path)


def _plain(hint: Any, value: object, path: str) -> list[str]:
    if isinstance(hint, type) and issubclass(hint, Enum):
        known = [member.value for member in hint]
        return [] if value in known else [f"{path}: {value!r} is none of {known}"]
    if hint is float:
        right = isinstance(value, int | float) and not isinstance(value, bool)
        return [] if right else [f"{path}: not a number"]
    kinds = {str: str, int: int, bool: bool, datetime: str}
    if hint in kinds and type(value) is not kinds[hint]:
        return [f"{path}: {value!r} is no {hint.__name__}"]
    return []
