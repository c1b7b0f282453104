"""Mistakes in an adapter's settings, told with their place in the configuration."""

from typing import Any

from treasury.domain.errors import BadValue
from treasury.ports import Site


def bad_setting(site: Site, field: str, value: Any, right: str) -> BadValue:
    """The error about `[provider.NAME]` `field`; a list's part is `regions[1]`."""
    return BadValue(f"provider.{site.name}.{field}", value, right)
