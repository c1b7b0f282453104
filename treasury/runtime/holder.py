"""What a process calls itself when it leads, and whether the one of such a name is gone for good.

A leader that was killed leaves its lease behind. Where its name says that it was a process of this
very host, since its last start and under the same numbering of processes, the kernel can tell that
it is gone; anything less than certain is left for the lease's end.
"""

import os
import re
import socket
from pathlib import Path
from typing import Final

_BOOT: Final = Path("/proc/sys/kernel/random/boot_id")
# Containers of one host may have one host name; they have not one numbering.
_NUMBERING: Final = Path("/proc/self/ns/pid")
_NAME: Final = re.compile(r"(?P<host>\S+) process (?P<pid>[1-9]\d{0,9}) \S+ since (?P<start>\S+)")


def holder_name(token: str) -> str:
    """This process's name for people. token: tells it from another one of the same number."""
    since = _start()
    name = f"{socket.gethostname()} process {os.getpid()} {token}"
    return f"{name} since {since}" if since else name


def gone(holder: str) -> bool:
    """Whether the process of a name was one of this host and certainly runs no more."""
    known = _NAME.fullmatch(holder)
    since = _start()
    if known is None or not since or known["start"] != since:
        return False
    if known["host"] != socket.gethostname():
        return False
    try:
        os.kill(int(known["pid"]), 0)
    except ProcessLookupError:
        return True
    except OSError:
        return False
    return False


def _start() -> str:
    """Names this start of this host and its numbering of processes; "" where nobody can tell."""
    try:
        boot = _BOOT.read_text(encoding="ascii").strip()
        return f"{boot}/{_NUMBERING.readlink()}" if boot else ""
    except OSError:
        return ""
