"""The other side of an adapter under test: a pretend market that does as it is told.

A counterpart keeps a truth of its own (machines, their times, what they cost) that the cases hold
against what the adapter says. It is driven from the test; the adapter reaches it only through its
SDK or the network, as it would the real one.
"""

from collections.abc import Sequence
from enum import Enum
from typing import Protocol

import msgspec

from treasury.domain.ids import OfferId
from treasury.ports import Clock


class Operation(Enum):
    """What the adapter may ask of a market."""

    ACQUIRE = "acquire"
    RELEASE = "release"
    LIST = "list"
    QUOTE = "quote"
    OFFERS = "offers"


class Fault(Enum):
    """How the market answers instead of as usual.

    NO_CAPACITY, QUOTA, THROTTLED, FORBIDDEN, UNAVAILABLE (5xx): nothing was done. LOST_ANSWER: it
    was done, and the answer never arrives. HALF_PAGE: the listing breaks off after its first page.
    GARBAGE: a body that cannot be read, nothing was done.
    """

    NO_CAPACITY = "no_capacity"
    QUOTA = "quota"
    THROTTLED = "throttled"
    FORBIDDEN = "forbidden"
    UNAVAILABLE = "unavailable"
    LOST_ANSWER = "lost_answer"
    HALF_PAGE = "half_page"
    GARBAGE = "garbage"


class Made(msgspec.Struct, frozen=True):
    """One machine as the market itself remembers it, gone ones included.

    charge: what it has cost so far [micro-USD], by the market's own meter. ended_at [ns]: None
    while it runs. tags: as they were given.
    """

    machine: str
    offer: OfferId
    tags: dict[str, str]
    granted_at: int
    ended_at: int | None
    charge: int


class Counterpart(Protocol):
    """A market whose behaviour a test decides.

    secrets: texts that must never leave the adapter in an error or a log line. can: the names of
    the methods and faults it supports, such as "interrupt", "set_rate", "half_page"; a case that
    needs another is left out.
    """

    clock: Clock
    secrets: Sequence[str]
    can: frozenset[str]

    def machines(self) -> Sequence[Made]:
        """Every machine ever made, other people's included."""
        ...

    def set_rate(self, offer: OfferId, rate: int) -> None:
        """What the market asks from now on [nano-USD/h]; running machines float with it."""
        ...

    def set_depth(self, offer: OfferId, machines: int) -> None:
        """How many more machines can be had; -1 for no limit."""
        ...

    def set_lag(self, duration: int) -> None:
        """Show and drop machines in listings so late [ns]."""
        ...

    def fail(self, operation: Operation, fault: Fault, times: int = 1) -> None:
        """Answer the next `times` calls of an operation with a fault."""
        ...

    def heal(self) -> None:
        """Forget faults and lag that were asked for and not met yet."""
        ...

    async def interrupt(self, machine: str, *, notices: int = 1) -> int:
        """Warn that a machine is taken, `notices` times, and take it when the notice is over:
        returns that instant [ns]. With "notices" in `can` the adapter hears of it; elsewhere only
        the machine does."""
        ...

    async def add_foreign(self, offer: OfferId) -> str:
        """Start a machine for somebody else, with another owner's tags; returns its name."""
        ...
