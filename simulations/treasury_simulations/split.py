"""Where a machine's time and money went: the parts sum to the bill to the micro-USD."""

from collections.abc import Iterator
from typing import Final, NamedTuple

from treasury.domain.money import RATE_NS_PER_MICRO
from treasury_simulations.machines import Machine
from treasury_simulations.meter import accrued_at, integral, micros

USEFUL: Final = 0
RESTART: Final = 1
LOST: Final = 2
IDLE: Final = 3


class Split(NamedTuple):
    """Durations [ns] and money [micro-USD] by use, both in the order useful, restart, lost, idle.

    The durations fill the time from grant to end, the money sums to `billed`; premium is the part
    of the useful money that is above the best open price.
    """

    billed: int
    time: tuple[int, int, int, int]
    money: tuple[int, int, int, int]
    premium: int


def split(machine: Machine, ended_at: int) -> Split:
    """Split a machine that ended at an instant [ns]. Running totals are rounded, not parts, so that
    nothing is lost."""
    rates = machine.rates
    time, money = [0, 0, 0, 0], [0, 0, 0, 0]
    accrued = charged = 0
    for use, start, end in _stretches(machine, ended_at):
        if start == end:
            continue
        accrued += integral(rates, start, end)
        total = micros(accrued)
        time[use] += end - start
        money[use] += total - charged
        charged = total
    capabilities = machine.pool.offer.capabilities
    billed = micros(accrued_at(rates, capabilities, machine.granted_at, ended_at))
    # What the market bills beyond the end serves nobody.
    money[IDLE] += billed - charged
    premium = sum(work.premium for work in machine.works) // RATE_NS_PER_MICRO
    return Split(
        billed,
        (time[0], time[1], time[2], time[3]),
        (money[0], money[1], money[2], money[3]),
        min(premium, money[USEFUL]),
    )


def _stretches(machine: Machine, ended_at: int) -> Iterator[tuple[int, int, int]]:
    """(use, start, end) one after the other, from grant to end."""
    at = machine.granted_at
    for work in machine.works:
        stopped_at = ended_at if work.stopped_at is None else work.stopped_at
        yield IDLE, at, work.started_at
        useful_from = min(work.useful_from, stopped_at)
        yield RESTART, work.started_at, useful_from
        kept_until = max(useful_from, min(work.kept_until, stopped_at))
        yield USEFUL, useful_from, kept_until
        yield LOST, kept_until, stopped_at
        at = stopped_at
    yield IDLE, at, ended_at
