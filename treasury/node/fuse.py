"""The fuse: a dead-man's lease on the machine's forward clock.

Nobody may be able to reach a machine, and the machine still has to end before the money held for
it does. An order extends the fuse by a duration that counts from a pulse of the machine's own: the
control cannot have written the order before it heard the pulse, so that an order that waited in a
broker for an hour extends nothing. Instants are ns of the machine's forward clock.
"""

from __future__ import annotations

from typing import Any

# How much of a fuse is kept to save the work before the machine ends: a fourth, at most this.
_LEAD_MAX = 120_000_000_000


class Fuse:
    """When this machine ends by itself. `boot` names this start of the machine."""

    def __init__(self, boot: str, deadline: int, span: int) -> None:
        self.boot, self.deadline, self.span = boot, deadline, span

    @classmethod
    def lit(cls, boot: str, now: int, wall: int, span: int, kept: Any) -> Fuse:
        """The fuse of an agent that starts: what was `kept` before goes on burning.

        After a restart of the machine the forward clock is another one; then the wall clock may
        shorten the fuse and never lengthen it.
        """
        fresh = cls(boot, now + span, span)
        if not isinstance(kept, dict):
            return fresh
        try:
            deadline, span_kept, at_wall = (int(kept[k]) for k in ("deadline", "span", "wall"))
        except (KeyError, TypeError, ValueError):
            return fresh
        if kept.get("boot") == boot:
            return cls(boot, deadline, span_kept)
        return cls(boot, now + max(0, min(span, at_wall - wall)), span)

    def kept(self, now: int, wall: int) -> dict[str, Any]:
        """What a later agent on this machine has to know."""
        left = self.deadline - now
        return {
            "boot": self.boot,
            "deadline": self.deadline,
            "span": self.span,
            "wall": wall + left,
        }

    def pulse(self, now: int) -> str:
        """An instant of this clock for the control to count from."""
        return f"{self.boot}-{now}"

    def extend(self, heard: str | None, fuse_ns: int, now: int) -> bool:
        """Take an order's fuse; whether it counted. It may also be shorter than before."""
        if heard is None:
            return False
        boot, _, instant = heard.partition("-")
        sent = int(instant)
        if boot != self.boot or sent > now:
            return False
        self.deadline, self.span = sent + fuse_ns, fuse_ns
        return True

    def closing(self, now: int) -> bool:
        """Whether it is time to stop the work, so that it is saved by the deadline."""
        return now >= self.deadline - min(_LEAD_MAX, self.span // 4)

    def blown(self, now: int) -> bool:
        """Whether the machine must end."""
        return now >= self.deadline
