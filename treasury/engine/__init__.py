"""The decision core: one pure step over the book.

Lives here: the book (state), `reduce` (the only way it changes), `step` (inputs to facts,
transfers and commands), planning, lifecycle, migration, metering, reconciliation. May not live
here: clocks, sockets, randomness, databases, logs, and any question whether this is a
simulation.
"""

from treasury.engine.book import Book
from treasury.engine.core import step
from treasury.engine.planning import snapshot
from treasury.engine.recall import Recalled, Recollection, recall
from treasury.engine.reduce import replay

__all__ = ["Book", "Recalled", "Recollection", "recall", "replay", "snapshot", "step"]
