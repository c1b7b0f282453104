"""The values of secrets: read on the control node when work is handed to a machine, and kept
nowhere. A job names them; neither its file nor the journal, the API or a log ever holds one."""

import stat
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from treasury.domain.errors import NotFound, UserError
from treasury.jobfile.units import read_secrets

# Only variables that are meant for jobs: the daemon's own credentials are in its environment, too.
PREFIX: Final = "TREASURY_SECRET_"
_SIZE_LIMIT: Final = 64 * 1024


def secret_values(
    names: Sequence[str], source: Path | None, environment: Mapping[str, str]
) -> dict[str, str]:
    """The values of secrets by name.

    source: a directory with a file for each name, or a file of `NAME=value` lines that nobody else
    may read, or None for the variables `TREASURY_SECRET_NAME` of the environment. Raises NotFound
    that names the first one that is missing, and UserError for a source that cannot be used.
    """
    wanted = read_secrets(list(names))
    if not wanted:
        return {}
    if source is None:
        found = {name: environment.get(f"{PREFIX}{name}") for name in wanted}
        place = f"set {PREFIX}NAME in the daemon's environment"
    elif source.is_dir():
        found = {name: _file(source / name) for name in wanted}
        place = f"write a file of its name into {source}"
    else:
        lines = _lines(source)
        found = {name: lines.get(name) for name in wanted}
        place = f"write a line NAME=value into {source}"
    values = {name: value for name, value in found.items() if value is not None}
    missing = [name for name in wanted if name not in values]
    if missing:
        raise NotFound(f"secret {missing[0]} has no value on the control node: {place}")
    return values


def _file(path: Path) -> str | None:
    """A file's text without the line break that editors put at its end."""
    try:
        with path.open("rb") as file:
            return file.read(_SIZE_LIMIT).decode().removesuffix("\n")
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        # Neither says anything of the contents.
        raise UserError(f"{path}: cannot be read as text: {type(error).__name__}") from None


def _lines(path: Path) -> dict[str, str]:
    try:
        mode = path.stat().st_mode
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}") from None
    if stat.S_IMODE(mode) & 0o077:
        raise UserError(f"{path}: others may read it: chmod 600 {path}")
    found = {}
    for line in (_file(path) or "").splitlines():
        name, sign, value = line.partition("=")
        if sign and not name.lstrip().startswith("#"):
            found[name.strip()] = value
    return found
