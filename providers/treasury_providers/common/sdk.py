"""Vendors' SDKs: extras of the distribution, imported when an adapter first needs them."""

from importlib import import_module
from typing import Any

from treasury.domain.errors import PluginError


def load_sdk(module: str, extra: str) -> Any:
    """The imported module. Raises PluginError, which says what to install, when it is missing."""
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        missing = (error.name or module).partition(".")[0]
        raise PluginError(
            f'the "{extra}" market needs the Python package "{missing}", which is not installed: '
            f"pip install 'spot-treasury[{extra}]'"
        ) from error
