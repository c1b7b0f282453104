"""A machine's clocks and identities, read in this one place and handed to everything else."""

from __future__ import annotations

import time
from pathlib import Path

_KERNEL = Path("/proc/sys/kernel/random")


class NodeClock:
    """Two clocks, ns: `boot` only goes forward and counts suspended time; `wall` is UTC."""

    def boot(self) -> int:
        """Time since the machine started; nobody can set it."""
        return time.clock_gettime_ns(time.CLOCK_BOOTTIME)

    def wall(self) -> int:
        """UTC as this machine believes it."""
        return time.clock_gettime_ns(time.CLOCK_REALTIME)


def boot_identity() -> str:
    """Names this start of the machine: 32 hexadecimal digits."""
    return (_KERNEL / "boot_id").read_text().strip().replace("-", "")


def new_identity() -> str:
    """A name that nobody else has drawn: 32 hexadecimal digits, by the kernel's dice."""
    return (_KERNEL / "uuid").read_text().strip().replace("-", "")
