"""What a sweep's rows say: means, paired differences, and intervals that know of dependence.

Variants are compared on the same cases, pair by pair: what a hard case costs everybody drops out.
Cases that overlap in time are not independent, so whole stretches of time are drawn again, not
cases: the circular block bootstrap (Politis & Romano, 1992). Where cases do not overlap, all
cases of one trace and seed are drawn together. Percentile intervals of 95 %.
"""

from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from treasury.domain.errors import BadValue, did_you_mean
from treasury.domain.time import HOUR
from treasury_simulations.sweep.cells import HINDSIGHT, Row

REPLICATES: Final = 2_000
_TAILS: Final = (2.5, 97.5)
# Fewer blocks than this say next to nothing of how much a mean varies.
BLOCKS_MIN: Final = 8
# As long as the longest published case lasts: stretches of this length have no tick in common.
BLOCK: Final = 70 * HOUR
# What a reader takes for the yardstick, the first that was swept.
_YARDSTICKS: Final = ("uniform_progress", "on_demand")

_Array = NDArray[np.float64]


class Interval(NamedTuple):
    """An estimate with the ends of its interval, None where they cannot be told."""

    value: float
    low: float | None = None
    high: float | None = None


class Figures(msgspec.Struct, frozen=True, kw_only=True):
    """A variant over all complete cases.

    cost: mean a case [micro-USD]. versus: cost relative to the baseline's, less one. gap: part of
    the way from the baseline to hindsight that it goes. regret: cost relative to hindsight's, less
    one. The last two are None without hindsight. late: jobs that missed a deadline.
    """

    label: str
    cost: Interval
    versus: Interval | None
    gap: Interval | None
    regret: Interval | None
    jobs: int
    finished: int
    deadlines: int
    met: int
    late: int
    restarts: int
    interruptions: int


class Summary(msgspec.Struct, frozen=True, kw_only=True):
    """All variants. cases: those that every variant has run; others are left out. blocks: how many
    independent stretches the intervals stand on; block: their length [ns], None for seeds."""

    baseline: str
    figures: tuple[Figures, ...]
    cases: int
    incomplete: int
    blocks: int
    block: int | None


def baseline_of(variants: Sequence[str], asked: str = "") -> str:
    """The variant that the others are compared with. Raises BadValue."""
    names = [name for name in variants if name != HINDSIGHT]
    if asked and asked not in names:
        raise BadValue(
            "--baseline", asked, f"a variant of the sweep ({did_you_mean(asked, names)})"
        )
    found = [name for name in _YARDSTICKS if name in names]
    return asked or (found or names or [""])[0]


def complete(rows: Sequence[Row], variants: Sequence[str]) -> tuple[list[dict[str, Row]], int]:
    """For each case that has them all, variant -> row; and how many cases lack some."""
    cases: dict[str, dict[str, Row]] = {}
    for row in rows:
        cases.setdefault(row.case, {})[row.variant] = row
    whole = [found for found in cases.values() if all(name in found for name in variants)]
    return whole, len(cases) - len(whole)


def summarise(
    rows: Sequence[Row], variants: Sequence[str], baseline: str, *, block: int = 0
) -> Summary:
    """Figures of each variant but HINDSIGHT. block [ns]: length of the stretches of time; 0 for
    BLOCK, or an eighth of the time that the cases' starts span where that is shorter."""
    cases, incomplete = complete(rows, variants)
    names = [name for name in variants if name != HINDSIGHT]
    if not cases:
        return Summary(
            baseline=baseline, figures=(), cases=0, incomplete=incomplete, blocks=0, block=None
        )
    columns = {name: index + 1 for index, name in enumerate(variants)}
    table = np.array([[1.0, *(float(case[name].cost) for name in variants)] for case in cases])
    firsts = [case[names[0]] for case in cases]
    blocks = _blocks(firsts, table, block)
    figures = tuple(
        _figures(name, columns, baseline, table, blocks, [case[name] for case in cases])
        for name in names
    )
    return Summary(
        baseline=baseline,
        figures=figures,
        cases=len(cases),
        incomplete=incomplete,
        blocks=blocks.number,
        block=blocks.length,
    )


class _Blocks(NamedTuple):
    """samples: sums over samples of blocks, a row a sample, the same for every statistic, so that
    two of them do not differ by luck; number: blocks in a sample; length [ns], None for seeds."""

    samples: _Array
    number: int
    length: int | None


def _blocks(firsts: Sequence[Row], table: _Array, block: int) -> _Blocks:
    starts = [row.start for row in firsts]
    if any(start is None for start in starts):
        labels: dict[str, int] = {}
        which = [labels.setdefault(row.block, len(labels)) for row in firsts]
        sums = np.zeros((len(labels), table.shape[1]))
        np.add.at(sums, which, table)
        return _Blocks(_drawn(sums, len(labels)), len(labels), None)
    instants = np.array(starts, dtype=np.int64)
    first = int(instants.min())
    # The circle closes one mean gap after the last start.
    unique = np.unique(instants)
    span = int(unique[-1]) - first
    span += max(1, span // max(1, len(unique) - 1))
    block = min(block, span) if block else min(BLOCK, span // BLOCKS_MIN or span)
    whole = np.array([table[instants == at].sum(axis=0) for at in unique])
    sums = np.empty_like(whole)
    for index, at in enumerate(unique):
        sums[index] = whole[(unique - at) % span < block].sum(axis=0)
    count = -(-span // block)
    return _Blocks(_drawn(sums, count), count, block)


def _drawn(sums: _Array, count: int) -> _Array:
    """Sums of samples of so many blocks, drawn with replacement."""
    dice = np.random.Generator(np.random.PCG64(1))
    samples = [sums[dice.integers(0, len(sums), count)].sum(axis=0) for _ in range(REPLICATES)]
    return np.array(samples)


def _figures(
    name: str,
    columns: dict[str, int],
    baseline: str,
    table: _Array,
    blocks: _Blocks,
    rows: Sequence[Row],
) -> Figures:
    own, base, best = columns[name], columns[baseline], columns.get(HINDSIGHT)

    def estimate(of: Callable[[_Array], _Array]) -> Interval:
        return _interval(of, table, blocks)

    def gap(sums: _Array) -> _Array:
        room = sums[:, base] - sums[:, best or 0]
        return (sums[:, base] - sums[:, own]) / np.where(room > 0, room, np.nan)

    return Figures(
        label=name,
        cost=estimate(lambda sums: sums[:, own] / sums[:, 0]),
        versus=None if own == base else estimate(lambda sums: sums[:, own] / sums[:, base] - 1),
        gap=None if best is None or own == base else estimate(gap),
        regret=None if best is None else estimate(lambda sums: sums[:, own] / sums[:, best] - 1),
        jobs=sum(row.jobs for row in rows),
        finished=sum(row.finished for row in rows),
        deadlines=sum(row.deadlines for row in rows),
        met=sum(row.met for row in rows),
        late=sum(row.late for row in rows),
        restarts=sum(row.starts for row in rows),
        interruptions=sum(row.interruptions for row in rows),
    )


def _interval(of: Callable[[_Array], _Array], table: _Array, blocks: _Blocks) -> Interval:
    """A statistic of sums over cases, and its percentiles over samples of blocks."""
    with np.errstate(divide="ignore", invalid="ignore"):
        value = float(of(table.sum(axis=0, keepdims=True))[0])
        samples = of(blocks.samples)
    if blocks.number < 2:
        return Interval(value)
    known = samples[np.isfinite(samples)]
    if len(known) < REPLICATES // 2:
        return Interval(value)
    low, high = np.percentile(known, _TAILS)
    return Interval(value, float(low), float(high))


def regrets(rows: Sequence[Row], variants: Sequence[str]) -> dict[str, list[float]]:
    """For each variant the cost of each case relative to hindsight's, less one, in rising order;
    empty without hindsight."""
    if HINDSIGHT not in variants:
        return {}
    cases, _ = complete(rows, variants)
    known = [case for case in cases if case[HINDSIGHT].cost > 0]
    return {
        name: sorted(case[name].cost / case[HINDSIGHT].cost - 1 for case in known)
        for name in variants
        if name != HINDSIGHT
    }


def facets(rows: Sequence[Row], axes: Sequence[str], most: int = 12) -> list[str]:
    """The axes a chart can be split by, at most two: with few values, and neither time nor luck."""
    counts = {name: len({row.axes[name] for row in rows}) for name in axes}
    wanted = [n for n in axes if n not in {"seed", "window", "zone"} and 1 < counts[n] <= most]
    return wanted[:2]
