"""Vendors' SDKs: extras of the distribution, imported when an adapter first needs them."""

from importlib import import_module
from importlib.util import find_spec
from typing import Any

from treasury.domain.errors import PluginError


def need_sdk(package: str, extra: str) -> None:
    """Make sure, without importing it, that a top-level package is there. Raises PluginError."""
    if find_spec(package) is None:
        raise _missing(package, extra)


def load_sdk(module: str, extra: str) -> Any:
    """The imported module. Raises PluginError, which says what to install, when it is missing."""
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        raise _missing((error.name or module).partition(".")[0], extra) from error


def _missing(package: str, extra: str) -> PluginError:
    return PluginError(
        f'the "{extra}" market needs the Python package "{package}", which is not installed: '
        f"pip install 'spot-treasury[{extra}]'"
    )
