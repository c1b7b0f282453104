"""What a running daemon tells about itself: log lines, metrics, traces.

Lives here: listeners of the shell's `Observer`, and how lines, Prometheus' page and OpenTelemetry's
spans are written. May not live here: decisions, and anything the shell would miss were it gone.
"""

from collections.abc import Callable
from typing import Any

from treasury.runtime.observer import Observer


class Chorus(Observer):
    """Several observers as one."""

    def __init__(self, *observers: Observer) -> None:
        self.observers = observers


def _each(name: str) -> Callable[..., None]:
    def tell(self: Chorus, *args: Any, **kwargs: Any) -> None:
        for observer in self.observers:
            getattr(observer, name)(*args, **kwargs)

    tell.__name__ = name
    tell.__doc__ = getattr(Observer, name).__doc__
    return tell


for _name in [name for name in vars(Observer) if not name.startswith("_")]:
    setattr(Chorus, _name, _each(_name))
