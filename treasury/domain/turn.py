"""What one turn of the engine wrote: facts, transfers and commands that stand or fall together."""

import msgspec

from treasury.domain.events import Fact
from treasury.domain.plan import Approved
from treasury.domain.transfer import Transfer


class Entry(msgspec.Struct, frozen=True):
    """A turn as journalled. seq: gapless from 1. at: the instant [ns] it was decided for.

    propose: the snapshot version a strategy is to be asked about after the commit, if any.
    """

    seq: int
    at: int
    facts: tuple[Fact, ...]
    transfers: tuple[Transfer, ...]
    commands: tuple[Approved, ...]
    propose: int | None = None


class Turn(msgspec.Struct, frozen=True):
    """`engine.step`'s answer: the entry to commit and when to call again at the latest [ns]."""

    entry: Entry
    wake_at: int
