"""What if: the same instance with another budget, a price cap, or without some offers, solved again
from the prices of the plan at hand."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from treasury.domain.errors import BadValue
from treasury.optimizer.flow.arrays import Bools, Instance
from treasury.optimizer.flow.engine import FlowEngine, FlowPlan, Settings


@dataclass(frozen=True, slots=True)
class Change:
    """What to change. budgets: cost centre -> more (or less) it may burn [micro-USD/h]. price_cap:
    most a machine may cost [micro-USD/h]. without: offers that are not to be had [offers]."""

    budgets: Mapping[int, int] | None = None
    price_cap: int | None = None
    without: Bools | None = None


@dataclass(frozen=True, slots=True)
class Difference:
    """What came of it. value: more or less worth [micro-USD/h]; started, stopped, moved: jobs by
    index."""

    plan: FlowPlan
    value: int
    started: tuple[int, ...]
    stopped: tuple[int, ...]
    moved: tuple[int, ...]


def changed(instance: Instance, change: Change) -> Instance:
    """The instance with a change. Raises BadValue for a cost centre that is not there, or a budget
    that would fall below 0."""
    rules, offers = instance.rules, instance.offers
    limit = rules.limit.copy()
    for centre, more in (change.budgets or {}).items():
        if not 0 <= centre < len(limit):
            raise BadValue("budgets: cost centre", centre, f"one of 0 to {len(limit) - 1}")
        if limit[centre] + more < 0:
            raise BadValue(f"budgets: {centre}", more, f"at least {-int(limit[centre])}")
        limit[centre] += more
    closed = np.zeros(len(offers), dtype=np.bool_)
    if change.without is not None:
        if change.without.shape != closed.shape:
            raise BadValue("without", change.without.shape, f"one flag for each of {len(offers)}")
        closed |= change.without
    if change.price_cap is not None:
        closed |= offers.rate > change.price_cap
    capacity = np.where(closed, 0, offers.capacity)
    return replace(
        instance,
        offers=replace(offers, capacity=capacity),
        rules=replace(rules, limit=limit),
    )


def what_if(plan: FlowPlan, change: Change, settings: Settings | None = None) -> Difference:
    """Solve the plan's instance with a change, and compare. Raises BadValue as `changed` does."""
    engine = FlowEngine(settings)
    engine.start_from(plan)
    other = engine.plan(changed(plan.flow.instance, change))
    was, now = plan.placed >= 0, other.placed >= 0
    moved = was & now & (plan.placed != other.placed)
    return Difference(
        other,
        other.certificate.value - plan.certificate.value,
        tuple(np.flatnonzero(~was & now).tolist()),
        tuple(np.flatnonzero(was & ~now).tolist()),
        tuple(np.flatnonzero(moved).tolist()),
    )
