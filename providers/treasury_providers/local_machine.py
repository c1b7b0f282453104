"""A machine of this host: `python -m treasury_providers.local_machine STATE TOKEN INDEX`.

The first process of the machine. It runs the start script, adopts whatever loses its parent, plays
the market that takes machines back, and is the machine's end: with the last of its processes, or
when the market wants it, nothing of it is left. It needs no daemon and survives its death.
"""

import ctypes
import os
import signal
import subprocess
import sys
from pathlib import Path
from time import time_ns  # noqa: TID251 - a machine's clock is its own, and so is this process
from typing import Final

from treasury.domain.time import SECOND
from treasury_providers import local_processes
from treasury_providers.local_state import MARK, Machine, Process, State

# <sys/prctl.h>: orphans of our descendants become our children.
_PR_SET_CHILD_SUBREAPER: Final = 36
_SIGNALS: Final = {signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, signal.SIGHUP}


def main(arguments: list[str]) -> int:
    """Be a machine until it ends; returns at once in the process that was called."""
    root, token, index = arguments
    grant = State(Path(root)).grant(token)
    if grant is None:
        sys.exit(f"nothing was granted to {token}")
    machine = Machine(Path(root), grant, int(index))
    told, tell = os.pipe()
    if os.fork():
        # The caller waits for this byte: when it comes the machine runs.
        os.close(tell)
        return 0 if os.read(told, 1) else 1
    os.close(told)
    os.setsid()
    signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    if machine.lock() is None:
        # Somebody whose caller died has been faster: it runs all the same.
        os.write(tell, b".")
        return 0
    if machine.process() is None and machine.ended() is None:
        machine.begin(Process(os.getpid(), time_ns()))
        _boot(machine)
        os.write(tell, b".")
        os.close(tell)
        cause = _run(machine)
        local_processes.kill(machine.folder)
        machine.end(time_ns(), cause)
    return 0


def _boot(machine: Machine) -> None:
    """Run the start script as the machine's only user would, with nothing of ours but a path."""
    machine.home.mkdir(mode=0o700, exist_ok=True)
    # Where the market's warning will be, for whoever looks for it in the machine's own directory.
    (machine.home / machine.notice.name).symlink_to(machine.notice)
    environment = {
        "HOME": str(machine.home),
        "LANG": "C.UTF-8",
        "PATH": os.environ.get("PATH", os.defpath),
        MARK: str(machine.folder),
    }
    subprocess.Popen(  # noqa: S603 - the script is the daemon's own
        ["/bin/sh", str(machine.folder / "boot")],
        cwd=machine.home,
        env=environment,
        stdin=subprocess.DEVNULL,
        start_new_session=True,
        preexec_fn=_unblock,  # noqa: PLW1509 - this process has one thread
    )


def _unblock() -> None:
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)


def _run(machine: Machine) -> str:
    """Wait for the machine's end: its last process, the market, or the host. Returns why."""
    warned: tuple[int, str] | None = None
    while True:
        now = time_ns()
        if warned is None:
            warned = _wanted(machine, now)
        elif now >= warned[0]:
            return warned[1]
        wake = warned[0] if warned else _next_look(machine, now)
        if not _reap():
            return "powered off"
        received = signal.sigtimedwait(_SIGNALS, max(0, wake - now) / SECOND)
        if received is not None and received.si_signo != signal.SIGCHLD:
            return "host shut down"


def _wanted(machine: Machine, now: int) -> tuple[int, str] | None:
    """Warn the machine when the market wants it; returns when it goes [ns] and why."""
    grant = machine.grant
    if not grant.zone:
        return None
    reclaim_at = grant.reclaims[machine.index]
    if grant.path.spot_rate(grant.zone, now) > machine.bid:
        ends_at, cause = now + grant.notice, "outbid"
    elif now >= reclaim_at - grant.notice:
        ends_at, cause = max(now, reclaim_at), "interrupted"
    else:
        return None
    machine.warn(ends_at)
    return ends_at, cause


def _next_look(machine: Machine, now: int) -> int:
    """When the price or the market's mind changes next [ns]."""
    grant = machine.grant
    wake = grant.path.next_change(now)
    return min(wake, grant.reclaims[machine.index] - grant.notice) if grant.zone else wake


def _reap() -> bool:
    """Bury dead children; returns whether any process of the machine is left."""
    while True:
        try:
            pid, _ = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return False
        if pid == 0:
            return True


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
