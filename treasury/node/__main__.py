"""`python -m treasury.node CONFIG`, or `python node.pyz CONFIG`: run the node agent."""

from __future__ import annotations

import fcntl
import sys
from dataclasses import replace
from pathlib import Path

from treasury.bus.fields import MessageError, decode
from treasury.bus.messages import NodeConfig


def main(arguments: list[str]) -> int:
    """0 when the machine has gone back, 2 for a configuration that cannot be used, 3 when another
    agent runs with the same state directory."""
    if len(arguments) != 1:
        sys.stderr.write("usage: python -m treasury.node CONFIG\n")
        return 2
    try:
        config = decode(NodeConfig, Path(arguments[0]).read_bytes())
    except OSError as error:
        sys.stderr.write(f"error: {arguments[0]}: {error.strerror}\n")
        return 2
    except MessageError as error:
        sys.stderr.write(f"error: {arguments[0]}: {error}\n")
        return 2
    # Only now: a wrong file is named even where paho-mqtt is missing.
    from treasury.node.agent import serve
    from treasury.node.clock import NodeClock, boot_identity, new_identity

    home = Path(arguments[0]).resolve().parent
    notice_file = str(home / config.notice_file) if config.notice_file else ""
    config = replace(config, state=str(home / config.state), notice_file=notice_file)
    state = Path(config.state)
    state.mkdir(parents=True, exist_ok=True, mode=0o700)
    with (state / "agent.lock").open("ab") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            sys.stderr.write(f"error: {config.state}: another node agent is running there\n")
            return 3
        serve(config, boot_identity(), new_identity(), NodeClock())
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
