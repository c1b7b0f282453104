"""What a market could have sold, for the fleet bound: machine time by step, kind of machine, price.

Never less, and never dearer, than the pretend world sells it: where the two differ, the difference
is in hindsight's favour.
"""

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from treasury.domain.ids import OfferId
from treasury.domain.job import JobSpec, Requirement
from treasury.domain.market import Offer
from treasury_simulations.market import Market, Pool
from treasury_simulations.scenario import Scenario
from treasury_simulations.simulate import market_of

# A state of a pool: [from, until), rate [nano-USD/h], machines.
State = tuple[int, int, int, int]


class Tier(NamedTuple):
    """Machine time of one kind in one step at one rate. amount: machine-ns; rate: nano-USD/h.
    level: the largest gang, as a place in `Kinds.sizes`, that its pool had room for."""

    kind: int
    step: int
    level: int
    rate: int
    amount: int


class Kinds(NamedTuple):
    """Offers told apart by what they are to the jobs. of: offer -> kind; speeds: for each
    requirement, in the order of the jobs' first use, its throughput on each kind [thousandths];
    requirement: for each job the place of its requirement; sizes: gangs that occur, rising."""

    of: dict[OfferId, int]
    speeds: list[list[int]]
    requirement: list[int]
    sizes: list[int]


def kinds_of(offers: Sequence[Offer], jobs: Sequence[JobSpec]) -> Kinds:
    """Offers of one kind serve every job alike; those that serve none are left out."""
    requirements: list[Requirement] = []
    places: list[int] = []
    known: dict[tuple[object, ...], int] = {}
    for job in jobs:
        wants = job.requirement
        key = (tuple(sorted(wants.throughput.items())), *_rest(wants))
        if key not in known:
            known[key] = len(requirements)
            requirements.append(wants)
        places.append(known[key])
    vectors: dict[tuple[int, ...], int] = {}
    of: dict[OfferId, int] = {}
    for offer in offers:
        vector = tuple(wants.speed(offer) for wants in requirements)
        if any(vector):
            of[offer.id] = vectors.setdefault(vector, len(vectors))
    speeds = [[vector[i] for vector in vectors] for i in range(len(requirements))]
    return Kinds(of, speeds, places, sorted({job.requirement.nodes for job in jobs}))


def _rest(wants: Requirement) -> tuple[object, ...]:
    return (
        wants.gpus,
        wants.nodes,
        wants.gpu_memory_gib,
        wants.providers,
        wants.regions,
        wants.tenures,
        wants.exact,
    )


def market_offers(scenario: Scenario) -> list[Offer]:
    """What the scenario's market sells."""
    return [pool.offer for pool in Market(market_of(scenario)[0], scenario.markets).pools]


def tiers(
    scenario: Scenario, kinds: Kinds, start: int, end: int, step: int, most: int
) -> list[Tier]:
    """What could be had in [start, end), cut at every `step` [ns] from `start`. most: machines of
    a pool beyond which nobody asks."""
    amounts: dict[tuple[int, int, int, int], int] = {}
    for pool, states in _histories(scenario, start, end):
        kind = kinds.of.get(pool.offer.id)
        if kind is None:
            continue
        for since, until, rate, machines in _sellable(pool, states, end):
            at = max(since, start)
            # A gang stands in one pool, or nowhere.
            level = bisect_right(kinds.sizes, machines) - 1
            while at < min(until, end) and level >= 0:
                place = (at - start) // step
                upto = min(until, end, start + (place + 1) * step)
                key = (kind, place, level, rate)
                amounts[key] = amounts.get(key, 0) + min(machines, most) * (upto - at)
                at = upto
    return [Tier(*key, amount) for key, amount in sorted(amounts.items())]


def _histories(scenario: Scenario, start: int, end: int) -> Iterator[tuple[Pool, list[State]]]:
    """Each pool's states as the pretend market itself goes through them."""
    market = Market(market_of(scenario)[0], scenario.markets)
    open_: dict[int, tuple[int, int, int]] = {}
    found: dict[int, list[State]] = {pool.index: [] for pool in market.pools}
    while market.next_at < end:
        now = market.next_at
        for pool in market.advance(now):
            before = open_.get(pool.index)
            if before is not None:
                found[pool.index].append((before[0], now, before[1], before[2]))
            open_[pool.index] = (now, pool.rate, pool.capacity)
    for index, (since, rate, machines) in open_.items():
        found[index].append((since, end, rate, machines))
    for pool in market.pools:
        # What was over before the first job came was of use to nobody.
        yield pool, [state for state in found[pool.index] if state[1] > start]


def _sellable(pool: Pool, states: list[State], end: int) -> Iterator[State]:
    """States with the machines that could be *held* in them, at the least rate that could be paid.

    A spot machine outlives its pool's capacity by the notice; other machines are never taken back.
    Where a machine keeps the rate of its grant, it may have been granted at the best one since the
    pool last could hold none.
    """
    notice = pool.offer.capabilities.notice_ns
    best, held = 0, 0
    lingering: list[tuple[int, int]] = []
    for since, until, rate, machines in states:
        at = since
        while at < until:
            lingering = [(upto, count) for upto, count in lingering if upto > at]
            upto = min([until, *(upto for upto, _ in lingering)])
            if pool.interruptible:
                held = max([machines, *(count for _, count in lingering)])
            else:
                held = max(held, machines)
            if held <= 0:
                best = 0
            elif machines > 0:
                best = min(best, rate) if best else rate
            yield at, upto, rate if pool.floating else best or rate, held
            at = upto
        if pool.interruptible and notice and machines:
            lingering.append((min(end, until + notice), machines))
