"""From jobs and the offers they may take to an integer problem.

Everything is an integer: money in micro-USD over a horizon, machines as counts. A job has at most
one choice; choices of one offer share its machines; choices that spend new money share the budgets
of their cost centre and of all above it. Having no machine is worth nothing, so every gain is
measured against it.
"""

from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from treasury.domain.ids import CostCentre
from treasury.domain.money import RATE_NS_PER_MICRO, charge
from treasury.domain.plan import BudgetView, JobView
from treasury.domain.time import HOUR, MINUTE
from treasury.optimizer.deadline import time_on
from treasury.optimizer.market import Arc, Fit, Market

# A unit of work is taken to be worth a quarter more than it costs on demand: people submit jobs
# that pay.
_SURPLUS: Final = (5, 4)
# Each step of priority doubles what an hour is worth; beyond this many steps nothing is gained.
_STEPS_MAX: Final = 10
# Hours in the queue that make a job half as dear again: among equals the first come is first
# served.
_AGED: Final = 24


class Terms(msgspec.Struct, frozen=True, kw_only=True):
    """How money and time are weighed.

    horizon: over which gains are counted, and money is spent [ns]. payback: within what time a move
    must gain its cost; spot_payback: one from spot to spot, whose prices differ for a while only
    [ns]. margin: how much more than its cost it must gain, in thousandths. columns: choices the
    solver is given at most; per_job: of one job.
    """

    horizon: int = 4 * HOUR
    payback: int = HOUR
    spot_payback: int = 30 * MINUTE
    margin: int = 500
    columns: int = 2_000
    per_job: int = 8


class Candidate(msgspec.Struct, frozen=True, gc=False):
    """A job to be decided on. arcs: what it may take. held: what it holds, if anything, which is
    not in `arcs`. bound: it must keep a machine. urgent: it must not wait. ahead: kept from the
    solver last when there are too many, the lowest first."""

    view: JobView
    fit: Fit
    arcs: tuple[Arc, ...]
    held: Arc | None = None
    bound: bool = False
    urgent: bool = False


class Choice(msgspec.Struct, frozen=True, gc=False):
    """One way for a job. job: its place in `Problem.candidates`. gain, spend: micro-USD over the
    horizon, spend only what is not held yet. stays: it is what the job holds already."""

    job: int
    arc: Arc
    nodes: int
    gain: int
    spend: int
    stays: bool = False


class Row(msgspec.Struct, frozen=True, gc=False):
    """A limit that choices share: the sum of weights of those chosen may not exceed it."""

    limit: int
    choices: tuple[int, ...]
    weights: tuple[int, ...]
    centre: CostCentre | None = None


class Problem(msgspec.Struct, frozen=True):
    """An integer problem. by_job: for each candidate the indices of its choices, the best first.
    left_over: candidates the solver is not asked about."""

    candidates: tuple[Candidate, ...]
    choices: tuple[Choice, ...]
    by_job: tuple[tuple[int, ...], ...]
    rows: tuple[Row, ...]
    left_over: tuple[Candidate, ...] = ()

    def figures(self) -> tuple[object, ...]:
        """What a solver sees, and nothing else: equal figures have equal solutions."""
        return (
            self.by_job,
            tuple([candidate.bound for candidate in self.candidates]),
            tuple([(choice.gain, choice.nodes, choice.stays) for choice in self.choices]),
            self.rows,
        )


def unit_price(rate: int, speed: int) -> int:
    """What an hour of reference work costs on one machine [nano-USD]."""
    return rate * 1_000 // speed


def worth(candidate: Candidate, cheapest: int, now: int) -> int:
    """What an hour of a job's reference work is worth on each machine [nano-USD].

    A little more than on demand costs; where there is no on-demand, than twice what is cheapest;
    what its owner says, for a job without a deadline; at least twice on-demand when it must not
    wait. Doubled with each step of priority.
    """
    view, fit = candidate.view, candidate.fit
    spec, reference = view.spec, fit.reference
    usual = 2 * cheapest if reference is None else unit_price(reference.rate, reference.speed)
    base = usual * _SURPLUS[0] // _SURPLUS[1]
    if spec.value and spec.deadline is None:
        left = max(view.work_left(now), HOUR)
        base = spec.value * 1_000 * HOUR // (left * fit.nodes)
    if candidate.urgent:
        base = max(base, 2 * usual)
    if candidate.held is None:
        base += base * min(_AGED, (now - view.queued_at) // HOUR) // (2 * _AGED)
    steps = max(-_STEPS_MAX, min(_STEPS_MAX, spec.priority))
    return base << steps if steps >= 0 else base >> -steps


def build(
    market: Market,
    candidates: Sequence[Candidate],
    budgets: Mapping[CostCentre, BudgetView],
    money: Mapping[CostCentre, int],
    terms: Terms,
) -> Problem:
    """The problem of some candidates, the most urgent first where there are too many.

    money: what this plan leaves to a cost centre [micro-USD] where it is less than its view says.
    """
    taken: list[Candidate] = []
    left_over: list[Candidate] = []
    choices: list[Choice] = []
    by_job: list[tuple[int, ...]] = []
    for candidate in candidates:
        mine = _choices(len(taken), candidate, market.now, terms)
        if len(choices) + len(mine) > terms.columns:
            left_over.append(candidate)
            continue
        by_job.append(tuple(range(len(choices), len(choices) + len(mine))))
        choices.extend(mine)
        taken.append(candidate)
    rows = [*_capacities(market, taken, choices), *_budgets(taken, choices, budgets, money)]
    return Problem(tuple(taken), tuple(choices), tuple(by_job), tuple(rows), tuple(left_over))


def _choices(job: int, candidate: Candidate, now: int, terms: Terms) -> list[Choice]:
    """A job's choices that are worth more than having no machine, the best first."""
    view, held, nodes = candidate.view, candidate.held, candidate.fit.nodes
    spec = view.spec
    left = view.work_left(now)
    prices = [unit_price(arc.rate, arc.speed) for arc in candidate.arcs]
    if held is not None:
        prices.append(unit_price(held.rate, held.speed))
    if not prices:
        return []
    value = worth(candidate, min(prices), now)
    scale = nodes * terms.horizon
    # What is paid once must come in before the job ends; the last minute bounds the figures.
    lasts = terms.payback if held is None or not held.spot else terms.spot_payback
    stay = max(MINUTE, min(left, lasts))

    def gain(arc: Arc) -> int:
        return (value - unit_price(arc.rate, arc.speed)) * scale // RATE_NS_PER_MICRO

    def once(rate: int, arc: Arc) -> int:
        price = charge(rate * nodes, spec.start_overhead + arc.lead)
        return price * (1_000 + terms.margin) // 1_000 * terms.horizon // stay

    found = []
    # What a job without a machine pays to start again is saved by the one that keeps its own.
    saved = 0 if held is None else once(held.rate, held)
    for arc in candidate.arcs:
        rate = arc.rate if held is None else arc.rate + held.rate
        spend = charge(arc.rate * nodes, min(terms.horizon, time_on(left, arc.speed)))
        switch = 0 if held is None else once(rate, arc)
        found.append(Choice(job, arc, nodes, gain(arc) + saved - switch, spend))
    if held is not None:
        found.append(Choice(job, held, nodes, gain(held) + saved, 0, stays=True))
    if not candidate.bound:
        found = [choice for choice in found if choice.gain > 0]
    found.sort(key=lambda choice: (-choice.gain, choice.arc.index))
    kept = found[: terms.per_job]
    return kept + [choice for choice in found[terms.per_job :] if choice.stays]


def _capacities(
    market: Market, candidates: Sequence[Candidate], choices: Sequence[Choice]
) -> list[Row]:
    """A row for each offer that could be asked for more machines than it has."""
    room = list(market.free)
    for candidate in candidates:
        if candidate.held is not None:
            room[candidate.held.index] += candidate.fit.nodes
    asked: dict[int, list[int]] = {}
    for index, choice in enumerate(choices):
        asked.setdefault(choice.arc.index, []).append(index)
    rows = []
    for offer in sorted(asked):
        weights = tuple([choices[index].nodes for index in asked[offer]])
        if sum(weights) > room[offer]:
            rows.append(Row(room[offer], tuple(asked[offer]), weights))
    return rows


def _budgets(
    candidates: Sequence[Candidate],
    choices: Sequence[Choice],
    budgets: Mapping[CostCentre, BudgetView],
    money: Mapping[CostCentre, int],
) -> list[Row]:
    """A row for each cost centre whose jobs, and those below it, could ask for more than it has."""
    asked: dict[CostCentre, list[int]] = {}
    chains: dict[CostCentre, tuple[CostCentre, ...]] = {}
    for index, choice in enumerate(choices):
        if choice.spend <= 0:
            continue
        centre = candidates[choice.job].view.spec.cost_centre
        if centre not in chains:
            chains[centre] = _chain(centre, budgets)
        for above in chains[centre]:
            asked.setdefault(above, []).append(index)
    rows = []
    for centre in sorted(asked):
        limit = max(0, money.get(centre, budgets[centre].available))
        weights = tuple([choices[index].spend for index in asked[centre]])
        if sum(weights) > limit:
            rows.append(Row(limit, tuple(asked[centre]), weights, centre))
    return rows


def _chain(centre: CostCentre, budgets: Mapping[CostCentre, BudgetView]) -> tuple[CostCentre, ...]:
    """A cost centre and all above it that have a budget."""
    chain: list[CostCentre] = []
    at: CostCentre | None = centre
    while at is not None and at in budgets and at not in chain:
        chain.append(at)
        at = budgets[at].parent
    return tuple(chain)
