"""What an importer hands over, and helpers that several importers share."""

from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Final

import msgspec

from treasury_simulations.traces.model import (
    NOT_KNOWN,
    MarketRow,
    PoolInfo,
    Row,
    TraceHeader,
)

# Reasons rows are left out for; keys of `TraceHeader.dropped`.
PRICE_NOT_POSITIVE: Final = "price not above zero"
DURATION_NOT_POSITIVE: Final = "duration not above zero"
GPUS_NOT_POSITIVE: Final = "GPUs not above zero"
SHAPE_UNKNOWN: Final = "machine type of unknown shape"
SUPERSEDED: Final = "superseded by a later line for the same time"
DOES_NOT_RUN: Final = "throughput not above zero"


class Draft(msgspec.Struct):
    """A trace in memory: a complete header, and rows in order of time within each kind."""

    header: TraceHeader
    rows: list[Row]


class Tally:
    """Counts why rows were left out."""

    def __init__(self) -> None:
        self._counts: dict[str, int] = {}

    def drop(self, why: str, count: int = 1) -> None:
        """One more row left out."""
        self._counts[why] = self._counts.get(why, 0) + count

    def counts(self) -> dict[str, int]:
        """Reason -> rows, by reason."""
        return dict(sorted(self._counts.items()))


class Changes:
    """Market rows of which only changes are kept, and the catalogue they refer to."""

    def __init__(self) -> None:
        self.rows: list[MarketRow] = []
        self.pools: list[PoolInfo] = []
        self._index: dict[str, int] = {}
        self._state: dict[int, tuple[int, int]] = {}

    def pool(self, pool: PoolInfo) -> int:
        """Index of a pool, added where it is new."""
        if pool.id not in self._index:
            self._index[pool.id] = len(self.pools)
            self.pools.append(pool)
        return self._index[pool.id]

    def set(self, at: int, pool: int, rate: int, depth: int) -> None:
        """The pool's state from `at` on; a row is kept when it differs from the one before."""
        if self._state.get(pool) != (rate, depth):
            self._state[pool] = (rate, depth)
            self.rows.append(MarketRow(at, pool, rate, depth))

    def withdraw(self, at: int, pool: PoolInfo) -> None:
        """The pool is no longer sold; nothing happens where it never was."""
        if pool.id in self._index:
            self.set(at, self._index[pool.id], NOT_KNOWN, 0)


def gaps_between(instants: Sequence[int], longest: int) -> tuple[tuple[int, int], ...]:
    """Spans [ns) between neighbouring observations that are longer than `longest` [ns]."""
    return tuple((a, b) for a, b in pairwise(instants) if b - a > longest)


def used_pools(
    pools: Sequence[PoolInfo], rows: Iterable[MarketRow], wanted: Sequence[int]
) -> tuple[list[PoolInfo], list[MarketRow]]:
    """The wanted pools, numbered afresh in the order given, and their rows."""
    renumbered = {old: new for new, old in enumerate(wanted)}
    kept = [row._replace(pool=renumbered[row.pool]) for row in rows if row.pool in renumbered]
    return [pools[index] for index in wanted], kept
