"""Topics: where each message is published. `treasury/v1/<installation>/...`; v1 names the schemas.

A level of a topic is data of ours (an installation, a lease's number, a provider): names that
would mean something to a broker are refused.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from treasury.bus.fields import MessageError

VERSION = "v1"
# What may stand between two slashes: no wildcard, no `$`, no empty level.
LEVEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
# Who says what about a machine: control writes the first three, the machine the last two.
CHANNELS = ("order", "ack", "secret", "report", "log")
FROM_CONTROL = CHANNELS[:3]
FROM_NODE = CHANNELS[3:]


def level(name: str) -> str:
    """A name as one level of a topic. Raises MessageError."""
    if not LEVEL.fullmatch(name):
        raise MessageError(f"{name[:64]!r} cannot be a level of a topic: expected {LEVEL.pattern}")
    return name


@dataclass(frozen=True)
class Topics:
    """The topics of one installation."""

    installation: str

    def __post_init__(self) -> None:
        level(self.installation)

    @property
    def root(self) -> str:
        """What all of them begin with."""
        return f"treasury/{VERSION}/{self.installation}"

    def node(self, lease: int, channel: str) -> str:
        """One channel of one machine."""
        return f"{self.root}/node/{lease}/{channel}"

    def nodes(self, channel: str) -> str:
        """A subscription to one channel of all machines."""
        return f"{self.root}/node/+/{channel}"

    def prices(self, provider: str) -> str:
        """The price ticks of a provider."""
        return f"{self.root}/prices/{level(provider)}"

    @property
    def events(self) -> str:
        """What has been decided, turn by turn."""
        return f"{self.root}/events"

    @property
    def status(self) -> str:
        """Who leads, retained; also the last will."""
        return f"{self.root}/status"

    def parse(self, topic: str) -> tuple[int, str] | None:
        """(lease, channel) of a machine's topic of this installation; None for any other."""
        head = f"{self.root}/node/"
        if not topic.startswith(head):
            return None
        lease, _, channel = topic[len(head) :].partition("/")
        # int() also takes "1_0", " 1" and other alphabets' digits.
        if channel not in CHANNELS or not re.fullmatch(r"[0-9]{1,18}", lease, re.ASCII):
            return None
        return int(lease), channel
