"""What goes in, as arrays: jobs, kinds of jobs, offers and rules, checked before they are believed.

Money is micro-USD an hour, time whole seconds, hazards interruptions per million machine-hours.
A kind says what fits: jobs with the same requirement share one. -1 stands for "none" in indices.
"""

from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from treasury.domain.errors import BadValue

Ints: TypeAlias = NDArray[np.int64]
Small: TypeAlias = NDArray[np.int32]
Floats: TypeAlias = NDArray[np.float64]
Bools: TypeAlias = NDArray[np.bool_]

# Each product in a score stays below 2^62, and so does each sum over a fleet: see `_fits_in_words`.
WORD: Final = float(2**62)
# "Any amount": above whatever a fleet can use, small enough to be added up.
AMPLE: Final = 2**50
SPEED_UNIT: Final = 1_000
HOUR_S: Final = 3_600


@dataclass(frozen=True, slots=True)
class Kinds:
    """What fits where. Shapes [kinds, offers].

    speed: thousandths of the reference throughput, 0 where the offer does not serve the kind.
    machines: machines of the offer that one job takes (its gang), all or nothing.
    """

    speed: Small
    machines: Small


@dataclass(frozen=True, slots=True)
class Jobs:
    """Jobs in queue order. Shapes [jobs].

    value: what an hour at the reference throughput is worth, priority and urgency included.
    restart: a start's time without useful work [s]. interval: between checkpoints [s]. home:
    region of the checkpoint. transfer: price of moving it out of there [micro-USD]. centre: index
    of the paying cost centre. group: anti-affinity. incumbent: the offer it runs on.
    """

    kind: Ints
    value: Ints
    restart: Ints
    interval: Ints
    home: Ints
    transfer: Ints
    centre: Ints
    group: Ints
    incumbent: Ints

    def __len__(self) -> int:
        return len(self.kind)


@dataclass(frozen=True, slots=True)
class Offers:
    """Pools. Shapes [offers].

    rate: expected price of a machine. committed: the most it may cost (the bid), what budgets are
    charged. capacity: machines we could hold, those of the jobs at hand included. hazard: see the
    module. quota: index of the quota the offer counts against. weight: what one machine counts
    there (accelerators).
    """

    rate: Ints
    committed: Ints
    capacity: Ints
    hazard: Ints
    quota: Ints
    weight: Ints
    zone: Ints
    region: Ints

    def __len__(self) -> int:
        return len(self.rate)


@dataclass(frozen=True, slots=True)
class Rules:
    """Limits.

    quota: most per quota. parent: the cost centre above each cost centre. limit: most each may
    burn an hour, everything below it included. spread: most jobs of each group in one zone.
    churn_limit: running jobs that may be moved or stopped in one plan; each one more costs
    churn_price. residence: seconds over which a move's one-off cost is spread; as short as prices
    last, never the length of a job. loss_cap: most of a job's value that interruptions are taken
    to destroy [ppm]. by_work: worth is counted by the hour of work at the reference throughput, not
    by the hour on the machine: right where all work will be done, and only its price is open.
    """

    quota: Ints
    parent: Ints
    limit: Ints
    spread: Ints
    churn_limit: int = AMPLE
    churn_price: int = 0
    residence: int = 1_800
    loss_cap: int = 900_000
    by_work: bool = False


@dataclass(frozen=True, slots=True)
class Instance:
    """One allocation problem as given."""

    jobs: Jobs
    kinds: Kinds
    offers: Offers
    rules: Rules


def check(instance: Instance) -> None:
    """Refuse what no plan could be made of: shapes that disagree, indices that point nowhere,
    negative amounts, cost centres above themselves, numbers whose products leave 62 bits.

    Raises BadValue, which names the array, the value and what would do.
    """
    jobs, kinds, offers, rules = instance.jobs, instance.kinds, instance.offers, instance.rules
    for name, table in (("kinds.speed", kinds.speed), ("kinds.machines", kinds.machines)):
        if table.ndim != 2 or table.shape[1] != len(offers):
            raise BadValue(name, table.shape, f"a table with {len(offers)} columns, one an offer")
    if kinds.speed.shape != kinds.machines.shape:
        raise BadValue("kinds.machines", kinds.machines.shape, f"{kinds.speed.shape}, as speed")
    _columns("jobs", jobs, len(jobs))
    _columns("offers", offers, len(offers))
    regions = int(offers.region.max(initial=-1)) + 1
    for name, index, size, none in (
        ("jobs.kind", jobs.kind, len(kinds.speed), False),
        ("jobs.centre", jobs.centre, len(rules.limit), True),
        ("jobs.group", jobs.group, len(rules.spread), True),
        ("jobs.incumbent", jobs.incumbent, len(offers), True),
        ("jobs.home", jobs.home, max(regions, int(jobs.home.max(initial=-1)) + 1), True),
        ("offers.quota", offers.quota, len(rules.quota), True),
        ("offers.zone", offers.zone, int(offers.zone.max(initial=-1)) + 1, False),
        ("rules.parent", rules.parent, len(rules.limit), True),
    ):
        _in_range(name, index, -1 if none else 0, size - 1)
    for name, amounts in (
        ("kinds.speed", kinds.speed),
        ("jobs.value", jobs.value),
        ("jobs.restart", jobs.restart),
        ("jobs.interval", jobs.interval),
        ("jobs.transfer", jobs.transfer),
        ("offers.rate", offers.rate),
        ("offers.committed", offers.committed),
        ("offers.capacity", offers.capacity),
        ("offers.hazard", offers.hazard),
        ("offers.weight", offers.weight),
        ("rules.quota", rules.quota),
        ("rules.limit", rules.limit),
        ("rules.spread", rules.spread),
    ):
        _in_range(name, amounts, 0, 2**62)
    if (kinds.machines[kinds.speed > 0] <= 0).any():
        raise BadValue("kinds.machines", 0, "at least 1 machine wherever the speed is above 0")
    for name, number, least in (
        ("rules.residence", rules.residence, 1),
        ("rules.churn_limit", rules.churn_limit, 0),
        ("rules.churn_price", rules.churn_price, 0),
        ("rules.loss_cap", rules.loss_cap, 0),
    ):
        if not least <= number <= AMPLE:
            raise BadValue(name, number, f"between {least} and {AMPLE}")
    _acyclic(rules.parent)
    _fits_in_words(instance)


def _columns(name: str, table: Jobs | Offers, length: int) -> None:
    for field in table.__dataclass_fields__:
        column: NDArray[Any] = getattr(table, field)
        if column.shape != (length,):
            raise BadValue(f"{name}.{field}", column.shape, f"one column of {length}")
        if not np.issubdtype(column.dtype, np.integer):
            raise BadValue(f"{name}.{field}", str(column.dtype), "integers")


def _in_range(name: str, values: NDArray[Any], low: int, high: int) -> None:
    bad = np.flatnonzero((values.reshape(-1) < low) | (values.reshape(-1) > high))
    if len(bad):
        value = int(values.reshape(-1)[bad[0]])
        raise BadValue(f"{name}[{int(bad[0])}]", value, f"between {low} and {high}")


def _acyclic(parent: Ints) -> None:
    above = parent.copy()
    for _ in range(len(parent)):
        if (above < 0).all():
            return
        above = np.where(above >= 0, parent[above], -1)
    if (above >= 0).any():
        at = int(np.flatnonzero(above >= 0)[0])
        raise BadValue(f"rules.parent[{at}]", int(parent[at]), "a tree: no centre above itself")


def _fits_in_words(instance: Instance) -> None:
    """Bound every product of `classes.score_arcs`, and the sum over the fleet, by floats."""
    jobs, kinds, offers, rules = instance.jobs, instance.kinds, instance.offers, instance.rules

    def top(values: NDArray[Any]) -> float:
        return float(values.max(initial=0))

    machines = top(kinds.machines)
    gross = top(jobs.value) * max(1.0, top(kinds.speed))
    price = max(top(offers.rate), top(offers.committed)) * machines
    stop = top(jobs.restart) + top(jobs.interval)
    # An hour of work takes a thousand hours on the slowest machine there is.
    longest = float(SPEED_UNIT) if rules.by_work else 1.0
    jobs_at_once = max(1, len(jobs))
    worth = float(jobs.value.sum(dtype=np.float64)) * max(1.0, top(kinds.speed)) / SPEED_UNIT
    moving = float(jobs.transfer.sum(dtype=np.float64)) * HOUR_S
    for name, size in (
        ("jobs.value", gross * 1e6 / SPEED_UNIT * (1 + stop / HOUR_S)),
        ("jobs.value", gross * max(1.0, stop)),
        ("jobs.value over all jobs", longest * worth * (1 + stop / rules.residence)),
        ("offers.rate", longest * price * (jobs_at_once + stop)),
        ("offers.hazard", top(offers.hazard) * machines * max(1.0, stop)),
        ("offers.weight", top(offers.weight) * machines * jobs_at_once),
        ("jobs.transfer", longest * max(moving, top(jobs.transfer) * HOUR_S)),
        ("rules.churn_price", float(rules.churn_price) * jobs_at_once),
    ):
        if size >= WORD:
            raise BadValue(name, f"{size:.3g} at its largest", "products below 2^62 = 4.6e18")
