"""How a set of pools evolves, as a Markov chain small enough for dynamic programming.

The joint state of many pools is too large; what a job has to know is much less:

- waiting or on demand: the best pool that is there and the age of its capacity, or that none is
  and for how long: n x classes + classes states
- on spot: the pool, the age of its capacity, and whether another pool is there to hop to:
  n x classes x 2 states

Pools are taken to be independent given their regimes. With a single pool the chain is exact.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from treasury.forecast.hazards import AGES, WIDTHS, Curves, occupancy

Array = NDArray[np.float32]
CLASSES = len(AGES)


class Chain(NamedTuple):
    """Transitions of one step, rows from, columns to.

    market: between the states of a job that is not on spot. stays: between those of a job that
    keeps its machine, by pool. met: from those of a job that loses it, to meeting another pool (0)
    or none (1), by pool. other: probability that another pool is there, by pool. hop: what is then
    met there, by pool, over the market's states with capacity.
    """

    market: Array
    stays: Array
    met: Array
    other: Array
    hop: Array

    def towards(self, later: "Chain", weight: float) -> "Chain":
        """A mixture of both chains, with `weight` on this one."""
        share = np.float32(weight)
        rest = np.float32(1.0 - weight)
        mixed = [share * one + rest * two for one, two in zip(self, later, strict=True)]
        return Chain(*mixed)


def mean_run(loss: Sequence[float]) -> float:
    """Expected steps from the return of capacity to its loss."""
    return sum(occupancy(loss))


def _ageing() -> NDArray[np.float64]:
    """From class to class of age in one step."""
    shift = np.zeros((CLASSES, CLASSES))
    for at in range(CLASSES):
        onward = 1.0 / WIDTHS[at] if at < CLASSES - 1 else 0.0
        shift[at, at] = 1.0 - onward
        if onward:
            shift[at, at + 1] = onward
    return shift


_SHIFT = _ageing()


def build_chain(pools: Sequence[Curves]) -> Chain:
    """The chain of pools in order of preference, best first."""
    count = len(pools)
    loss = np.array([pool.loss for pool in pools])
    back = np.array([pool.back for pool in pools])
    there = np.array([occupancy(pool.loss) for pool in pools])
    gone = np.array([occupancy(pool.back) for pool in pools])
    share = there.sum(1) / (there.sum(1) + gone.sum(1))
    ages = there / there.sum(1, keepdims=True)
    mean_back = (back * gone).sum(1) / gone.sum(1)
    other, hop = _elsewhere(share, ages)
    stays = np.zeros((count, CLASSES * 2, CLASSES * 2))
    met = np.zeros((count, CLASSES * 2, 2))
    for pool in range(count):
        turn = _turns(pool, mean_back, float(other[pool]))
        keeps = (1.0 - loss[pool])[:, None] * _SHIFT
        stays[pool] = (keeps[:, None, :, None] * turn[:, None]).reshape(stays[pool].shape)
        met[pool] = (loss[pool][:, None, None] * turn[:, ::-1]).reshape(met[pool].shape)
    return Chain(
        _market(loss, back, mean_back, other, hop).astype(np.float32),
        stays.astype(np.float32),
        met.astype(np.float32),
        other.astype(np.float32),
        hop.astype(np.float32),
    )


@lru_cache(maxsize=16)
def steady_chain(pool: Curves, count: int) -> Chain:
    """The chain of so many pools that are all alike: the long run's. Not to be written to."""
    return build_chain([pool] * count)


def _elsewhere(
    share: NDArray[np.float64], ages: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """For each pool: whether another is there in the long run, and which is then the best of
    them."""
    count = len(share)
    other = np.zeros(count)
    hop = np.zeros((count, count * CLASSES))
    for pool in range(count):
        none = 1.0
        for best in range(count):
            if best == pool:
                continue
            hop[pool, best * CLASSES : (best + 1) * CLASSES] = none * share[best] * ages[best]
            none *= 1.0 - share[best]
        other[pool] = 1.0 - none
        if other[pool] > 0.0:
            hop[pool] /= other[pool]
    return other, hop


def _market(
    loss: NDArray[np.float64],
    back: NDArray[np.float64],
    mean_back: NDArray[np.float64],
    other: NDArray[np.float64],
    hop: NDArray[np.float64],
) -> NDArray[np.float64]:
    count = len(loss)
    none = count * CLASSES
    market = np.zeros((none + CLASSES, none + CLASSES))
    for pool in range(count):
        rows = slice(pool * CLASSES, (pool + 1) * CLASSES)
        same = 1.0
        for better in range(pool):
            market[rows, better * CLASSES] += (1.0 - loss[pool]) * same * mean_back[better]
            same *= 1.0 - mean_back[better]
        market[rows, rows] += (1.0 - loss[pool])[:, None] * _SHIFT * same
        market[rows, :none] += (loss[pool] * other[pool])[:, None] * hop[pool]
        market[rows, none] += loss[pool] * (1.0 - other[pool])
    still = np.ones(CLASSES)
    for pool in range(count):
        market[none:, pool * CLASSES] += still * back[pool]
        still = still * (1.0 - back[pool])
    market[none:, none:] += still[:, None] * _SHIFT
    return market


def _turns(pool: int, mean_back: NDArray[np.float64], other: float) -> NDArray[np.float64]:
    """Transitions between "no other pool is there" (0) and "another is" (1)."""
    come = 1.0 - float(np.prod(np.delete(1.0 - mean_back, pool)))
    # In the long run as many turns lead one way as the other.
    go = min(0.9, come * (1.0 - other) / other) if other > 0.0 else 1.0
    return np.array([[1.0 - come, come], [go, 1.0 - go]])
