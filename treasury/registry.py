"""Finding plug-ins by entry point: strategies, providers, runners; ours register like any other."""

from importlib.metadata import EntryPoint, entry_points
from typing import Any, Final, Literal, get_args

import msgspec

from treasury.domain.errors import BadValue, NotFound, PluginError, did_you_mean
from treasury.domain.time import parse_duration
from treasury.ports import Strategy

Group = Literal["treasury.strategies", "treasury.providers", "treasury.runners"]
GROUPS: Final = get_args(Group)


class NoSettings(msgspec.Struct, frozen=True):
    """The settings of a plug-in that has none."""


def plugins(group: Group) -> dict[str, EntryPoint]:
    """Name -> entry point, by name. Raises PluginError when two distributions claim one name."""
    found: dict[str, EntryPoint] = {}
    for entry in sorted(entry_points(group=group), key=lambda entry: (entry.name, entry.value)):
        other = found.setdefault(entry.name, entry)
        if other.value != entry.value:
            raise PluginError(
                f'two plug-ins are called "{entry.name}" in {group}: {other.value} of '
                f"{origin(other)} and {entry.value} of {origin(entry)}; remove one"
            )
    return found


def origin(entry: EntryPoint) -> str:
    """The distribution an entry point comes from, with its version."""
    return f"{entry.dist.name} {entry.dist.version}" if entry.dist else "an unknown distribution"


def load(group: Group, name: str) -> Any:
    """The object that is registered under a name. Raises NotFound, PluginError."""
    found = plugins(group)
    if name not in found:
        what = group.rpartition(".")[2]
        raise NotFound(f'no {what} plug-in is called "{name}"; {did_you_mean(name, found)}')
    entry = found[name]
    try:
        return entry.load()
    except Exception as error:
        # A stranger's module may fail in any way at all.
        raise PluginError(
            f'"{name}" of {origin(entry)} cannot be loaded from {entry.value}: '
            f"{type(error).__name__}: {error}"
        ) from error


def load_strategy(name: str, parameters: dict[str, Any]) -> Strategy:
    """A new strategy made of its parameters. Raises NotFound, PluginError, BadValue."""
    made_by = load("treasury.strategies", name)
    settings = read_settings(settings_of(made_by), parameters)
    try:
        strategy = made_by() if isinstance(settings, NoSettings) else made_by(settings)
    except Exception as error:
        raise PluginError(
            f'"{name}" of {origin(plugins("treasury.strategies")[name])} cannot be made: '
            f"{type(error).__name__}: {error}"
        ) from error
    if not isinstance(strategy, Strategy):
        raise PluginError(f'"{name}" is no strategy: it needs "name" and "propose(snapshot)"')
    return strategy


def settings_of(plugin: Any) -> type[msgspec.Struct]:
    """The Struct a plug-in reads its parameters with: its attribute `Settings`."""
    settings = getattr(plugin, "Settings", NoSettings)
    if not (isinstance(settings, type) and issubclass(settings, msgspec.Struct)):
        raise PluginError(f"{plugin!r}: its Settings are no msgspec.Struct")
    return settings


def read_settings(kind: type[msgspec.Struct], parameters: dict[str, Any]) -> msgspec.Struct:
    """Parameters as a plug-in's settings; text such as "10m" is a duration where the field is a
    whole number. Raises NotFound for an unknown name, BadValue for a value that does not fit."""
    fields = {field.name: field for field in msgspec.structs.fields(kind)}
    values: dict[str, Any] = {}
    for name, value in parameters.items():
        if name not in fields:
            raise NotFound(f'unknown parameter "{name}"; {did_you_mean(name, fields)}')
        values[name] = _read_parameter(name, value, fields[name].type)
    for name, field in fields.items():
        if field.required and name not in values:
            raise NotFound(f'parameter "{name}" is missing')
    try:
        return kind(**values)
    except ValueError as error:
        raise BadValue("parameters", parameters, str(error)) from error


def _read_parameter(name: str, value: Any, kind: Any) -> Any:
    kinds = get_args(kind) or (kind,)
    if isinstance(value, str) and int in kinds and str not in kinds:
        return parse_duration(value)
    try:
        return msgspec.convert(value, kind, strict=True)
    except msgspec.ValidationError as error:
        right = str(error).removeprefix("Expected ")
        raise BadValue(f'parameter "{name}"', value, right) from error
