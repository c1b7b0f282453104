"""Stands between the agent and a program, so that the agent may die and the program not notice.

    wrapper.py EXIT_FILE PID_FILE LOG_FILE LOG_BYTES -- PROGRAM [ARGUMENT...]

It leads the program's process group, writes its own number to PID_FILE, pumps the program's output
into LOG_FILE (kept below LOG_BYTES, one older file beside it), writes the exit code, and whether
anybody asked the group to end, to EXIT_FILE, and ends whatever of the group is left. It is copied
to the agent's state directory and run from there: the agent's own files may be replaced meanwhile.
The agent passes a locked file in, which stays locked as long as this process lives.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import IO

# How long the output of what a program left behind is waited for after its end.
_DRAIN_S = 2.0
_CANNOT_START = 127


def _write(path: Path, value: object) -> None:
    fresh = path.with_name(f".{path.name}.new")
    with fresh.open("w", encoding="utf-8") as file:
        json.dump(value, file)
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)


def _pump(stream: IO[bytes], path: Path, most: int) -> None:
    """Copy to a file of at most `most` bytes; a full one becomes `.1`, in place of the last."""
    file = path.open("ab", buffering=0)
    while True:
        chunk = os.read(stream.fileno(), 65_536)
        if not chunk:
            return
        try:
            if file.tell() + len(chunk) > most:
                file.close()
                path.replace(path.with_name(f"{path.name}.1"))
                file = path.open("ab", buffering=0)
            file.write(chunk)
        except OSError:
            # A full disk costs lines, never the program: its pipe is still emptied.
            continue


def main(arguments: list[str]) -> None:
    """Run the program to its end."""
    exit_file, pid_file, log_file, most = arguments[:4]
    program = arguments[5:]
    told: list[int] = []
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        # A function, not SIG_IGN: what is ignored would be ignored by the program, too.
        signal.signal(number, lambda number, _frame: told.append(number))
    _write(Path(pid_file), {"pid": os.getpid()})
    try:
        process = subprocess.Popen(  # noqa: S603 - the job's own command is what we are for
            program, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
    except OSError as error:
        _write(Path(exit_file), {"code": _CANNOT_START, "error": f"{program[0]}: {error.strerror}"})
        return
    if told:
        # It came between our beginning and the program's.
        process.terminate()
    if process.stdout is None:
        raise AssertionError("a pipe was asked for")
    pump = threading.Thread(
        target=_pump, args=(process.stdout, Path(log_file), int(most)), daemon=True
    )
    pump.start()
    code = process.wait()
    pump.join(_DRAIN_S)
    _write(Path(exit_file), {"code": code, "told": bool(told)})
    # Children that the program left in its group; this process is of the group, too.
    os.killpg(0, signal.SIGKILL)


if __name__ == "__main__":
    main(sys.argv[1:])
