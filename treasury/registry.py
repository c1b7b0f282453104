"""Finding plug-ins by entry point: strategies, providers, runners; ours register like any other."""

import re
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Final, Literal, get_args

import msgspec

from treasury.domain.errors import (
    BadValue,
    ConfigError,
    NotFound,
    PluginError,
    UserError,
    did_you_mean,
)
from treasury.domain.time import parse_duration
from treasury.ports import Provider, Site, Strategy

Group = Literal["treasury.strategies", "treasury.providers", "treasury.runners"]
GROUPS: Final = get_args(Group)
# Keys whose values no message may show.
_SECRET: Final = re.compile(r"token|secret|password|credential", re.IGNORECASE)


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


def load_provider(kind: str, table: dict[str, Any], site: Site, file: str) -> Provider:
    """A new provider made of the keys of its `[provider.NAME]`. Raises ConfigError with the path of
    a key, PluginError, NotFound."""
    made_by = load("treasury.providers", kind)
    path = f"provider.{site.name}"
    settings = read_table(settings_of(made_by), table, path, file)
    try:
        provider: Provider = made_by(settings, site)
    except UserError:
        raise
    except Exception as error:
        raise PluginError(
            f'{file}: {path}: "{kind}" of {origin(plugins("treasury.providers")[kind])} cannot be '
            f"made: {type(error).__name__}: {error}"
        ) from error
    return provider


def check_provider(kind: str, table: dict[str, Any], name: str, file: str) -> None:
    """Raise what `load_provider` would about the keys, making nothing."""
    read_table(settings_of(load("treasury.providers", kind)), table, f"provider.{name}", file)


def load_runner(name: str) -> Any:
    """The class or function that is registered as a runner. Raises NotFound, PluginError."""
    return load("treasury.runners", name)


def read_table(
    kind: type[msgspec.Struct], table: dict[str, Any], path: str, file: str
) -> msgspec.Struct:
    """A table of the configuration as a plug-in's settings. Raises ConfigError for the first key
    that is unknown, missing or wrong."""
    fields = {field.name: field for field in msgspec.structs.fields(kind)}
    values: dict[str, Any] = {}
    for key, value in table.items():
        if key not in fields:
            raise ConfigError(file, f"{path}.{key}", f"unknown key; {did_you_mean(key, fields)}")
        try:
            values[key] = _read_parameter(key, value, fields[key].type)
        except BadValue as error:
            shown = "a value that is not shown" if _SECRET.search(key) else repr(error.value)
            problem = f"{shown} cannot be used: expected {_in_words(error.right)}"
            raise ConfigError(file, f"{path}.{key}", problem) from error
    for key, field in fields.items():
        if field.required and key not in values:
            raise ConfigError(file, path, f'"{key}" is missing')
    try:
        return kind(**values)
    except (ValueError, BadValue) as error:
        raise ConfigError(file, path, str(error)) from error


# What msgspec calls the kinds of values, and what people do.
_WORDS: Final = {
    "`array`": "a list",
    "`object`": "a table",
    "`str`": "text in quotes",
    "`int`": "a whole number",
    "`float`": "a number",
    "`bool`": "true or false",
}


def _in_words(right: str) -> str:
    right = right.partition(", got ")[0]
    for theirs, ours in _WORDS.items():
        right = right.replace(theirs, ours)
    return right


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
