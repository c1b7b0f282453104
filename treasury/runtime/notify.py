"""Telling systemd how we are, by its own protocol: one datagram to the socket it names."""

import socket
from collections.abc import Callable, Mapping
from contextlib import suppress

from treasury.domain.time import SECOND

_MICRO_NS = 1_000


def notifier(environment: Mapping[str, str]) -> Callable[[str], None]:
    """What sends a state such as "READY=1"; nothing happens where systemd did not start us."""
    address = environment.get("NOTIFY_SOCKET", "")
    if not address:
        return lambda _state: None
    # "@" stands for the null byte of an abstract address.
    target = "\0" + address[1:] if address.startswith("@") else address

    def send(state: str) -> None:
        # systemd may be gone or restarting; that is no reason to stop.
        with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as door:
            door.connect(target)
            door.sendall(state.encode())

    return send


def watchdog(environment: Mapping[str, str]) -> int:
    """How often [ns] systemd wants to hear from us, 0 for never: half of what it allows."""
    text = environment.get("WATCHDOG_USEC", "")
    if not (text.isascii() and text.isdigit()):
        return 0
    return max(SECOND // 10, int(text) * _MICRO_NS // 2) if int(text) else 0
