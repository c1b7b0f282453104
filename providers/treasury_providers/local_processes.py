"""Which processes belong to a machine of this host, and how all of them are ended for good.

A process belongs to a machine when it carries the machine's mark in its environment, or descends
from one that does: the machine's first process adopts those whose parents die.
"""

import os
import signal
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Final

from treasury_providers.local_state import MARK

_PROC: Final = Path("/proc")
# Each round kills what the last one's victims had started before they died.
_ROUNDS: Final = 1_000


def belonging(folder: Path) -> list[int]:
    """Living processes of the machine with this directory, rising; without the present one."""
    mark = f"{MARK}={folder}".encode()
    parents: dict[int, int] = {}
    marked: list[int] = []
    for entry in _PROC.iterdir():
        if not entry.name.isdigit():
            continue
        # Processes come and go while we look, and others' are not ours to read.
        with suppress(OSError):
            parent = _parent(entry)
            if parent is None:
                continue
            pid = int(entry.name)
            parents[pid] = parent
            if mark in (entry / "environ").read_bytes().split(b"\0"):
                marked.append(pid)
    ours = _descendants(marked, parents)
    ours.discard(os.getpid())
    return sorted(ours)


def _parent(entry: Path) -> int | None:
    """A process's parent; None for one that is dead and only waits to be noticed."""
    # The name is in parentheses and may hold anything.
    fields = (entry / "stat").read_text(errors="replace").rpartition(")")[2].split()
    return None if fields[0] in {"Z", "X"} else int(fields[1])


def _descendants(roots: Iterable[int], parents: dict[int, int]) -> set[int]:
    children: dict[int, list[int]] = {}
    for pid, parent in parents.items():
        children.setdefault(parent, []).append(pid)
    found: set[int] = set()
    waiting = list(roots)
    while waiting:
        pid = waiting.pop()
        if pid not in found:
            found.add(pid)
            waiting += children.get(pid, ())
    return found


def kill(folder: Path) -> bool:
    """End every process of a machine but the present one, without a warning. Returns whether none
    is left."""
    for _ in range(_ROUNDS):
        handles = {pid: handle for pid in belonging(folder) if (handle := _handle(pid)) is not None}
        if not handles:
            return not belonging(folder)
        try:
            # A handle is of one process only: a number that another process has by now is not hit.
            for pid in belonging(folder):
                if pid in handles:
                    with suppress(OSError):
                        signal.pidfd_send_signal(handles[pid], signal.SIGKILL)
        finally:
            for handle in handles.values():
                os.close(handle)
    return False


def _handle(pid: int) -> int | None:
    try:
        return os.pidfd_open(pid)
    except OSError:
        return None


__all__ = ["belonging", "kill"]
