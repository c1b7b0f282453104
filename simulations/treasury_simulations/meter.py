"""The world's own meter: what a machine costs by the published rule, as an exact integral.

A charge is the sum of rate x time from the grant to the end, with the end rounded up to the
market's minimum and step at the rate then in force, rounded up once to a whole micro-USD. Nothing
here looks at what the engine has booked.
"""

from bisect import bisect_right
from collections.abc import Sequence

from treasury.domain.market import Capabilities
from treasury.domain.money import RATE_NS_PER_MICRO

# (since [ns], rate [nano-USD/h]) with rising instants; each rate holds until the next.
Rates = Sequence[tuple[int, int]]


def integral(rates: Rates, start: int, end: int) -> int:
    """Sum of rate x time [nano-USD/h x ns] over [start, end), both ns; `start` is not before the
    first rate."""
    if len(rates) == 1:
        return rates[0][1] * (end - start)
    index = max(0, bisect_right(rates, start, key=_since) - 1)
    total, at, rate = 0, start, rates[index][1]
    for since, following in rates[index + 1 :]:
        if since >= end:
            break
        total += rate * (since - at)
        at, rate = since, following
    return total + rate * (end - at)


def _since(point: tuple[int, int]) -> int:
    return point[0]


def billed_span(capabilities: Capabilities, held_ns: int) -> int:
    """Time billed [ns] for a machine held for a time [ns]: at least the minimum, in whole steps."""
    step = max(1, capabilities.billing_step_ns)
    return -(-max(held_ns, capabilities.billing_minimum_ns) // step) * step


def micros(accrued: int) -> int:
    """Micro-USD for a sum of rate x time [nano-USD/h x ns], rounded up."""
    return -(-accrued // RATE_NS_PER_MICRO)


def accrued_at(rates: Rates, capabilities: Capabilities, granted_at: int, ended_at: int) -> int:
    """Sum of rate x time [nano-USD/h x ns] of a machine held over [granted_at, ended_at): the
    time billed beyond the end is priced at the last rate."""
    held = ended_at - granted_at
    tail = billed_span(capabilities, held) - held
    return integral(rates, granted_at, ended_at) + rates[-1][1] * tail


def bill(rates: Rates, capabilities: Capabilities, granted_at: int, ended_at: int) -> int:
    """What a machine held over [granted_at, ended_at) costs [micro-USD]."""
    return micros(accrued_at(rates, capabilities, granted_at, ended_at))
