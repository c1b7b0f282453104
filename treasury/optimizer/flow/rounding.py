"""From the average of best responses to a plan in integers.

The responses of the last iterations, averaged, approach the relaxation. Where a class is on an arc
for most of the time it is put there, in order of what it gains beyond the prices; the rest is
filled at the prices. Nearly as good as rounding the relaxation itself, at a hundredth of its cost.
"""

from typing import Final

import numpy as np

from treasury.optimizer.flow.arrays import Ints
from treasury.optimizer.flow.classes import Flow
from treasury.optimizer.flow.columns import Ranking
from treasury.optimizer.flow.fill import Residual, fill, grant
from treasury.optimizer.flow.prices import Priced

# Shares of the time on an arc from which on a job is put there: which is best differs from fleet to
# fleet, and trying costs little.
THRESHOLDS: Final = (0.3, 0.5, 0.7)


def rounded(flow: Flow, ranking: Ranking, priced: Priced, threshold: float) -> Residual:
    """A plan from the average response, rounded up from `threshold` on."""
    plan = Residual(flow)
    if len(priced.average):
        arcs = np.flatnonzero(priced.average >= threshold)
        wish = np.floor(priced.average[arcs] + 1.0 - threshold).astype(np.int64)
        settle(flow, plan, priced, arcs, wish)
    fill(flow, plan, ranking, priced.score, columns=priced.columns, rankings=0)
    return plan


def settle(flow: Flow, plan: Residual, priced: Priced, arcs: Ints, wish: Ints) -> None:
    """Put so many jobs on these arcs, as far as they fit: what gains most beyond its prices, beside
    its worth, goes first."""
    gain = priced.score[arcs] / np.maximum(1.0, np.abs(flow.net[arcs]))
    order = np.argsort(-gain, kind="stable")
    arcs, wish = arcs[order], wish[order]
    while len(arcs):
        wish = np.minimum(wish, _left(flow, plan, arcs, wish))
        granted = grant(flow, plan, arcs, wish)
        some = granted > 0
        if not some.any():
            return
        plan.take(arcs[some], granted[some])
        wish = wish - granted
        arcs, wish = arcs[wish > 0], wish[wish > 0]


def _left(flow: Flow, plan: Residual, arcs: Ints, wish: Ints) -> Ints:
    """How many jobs of its class are left to each arc after the wishes before it."""
    owner = flow.owner[arcs]
    order = np.argsort(owner, kind="stable")
    total = np.cumsum(wish[order]) - wish[order]
    ranked = owner[order]
    before = total - total[np.searchsorted(ranked, ranked)]
    out = np.empty(len(arcs), dtype=np.int64)
    out[order] = np.maximum(0, plan.left[ranked] - before)
    return out
