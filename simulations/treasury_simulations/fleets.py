"""Fleets for the optimizer: seeded instances in which pools, quotas and budgets are scarce.

Seven providers with regions and zones, eleven accelerator models on machines of 1 to 8, spot, on
demand and own machines, heavy-tailed gangs, sweeps of identical jobs, projects below teams below
one organisation, and a part of the jobs already running where yesterday's prices put them. The
same arguments give the same instance everywhere. Prices are rounded and representative, not any
vendor's.
"""

from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from treasury.optimizer.flow.arrays import Bools, Floats, Instance, Ints, Jobs, Kinds, Offers, Rules

# Model: throughput of five workload families relative to the reference [thousandths] (0: does not
# run there), on-demand price of one accelerator [micro-USD/h].
_MODELS: Final = (
    ("T4", (180, 120, 250, 0, 0), 350_000),
    ("V100", (450, 380, 500, 300, 0), 1_100_000),
    ("L4", (330, 250, 480, 220, 0), 700_000),
    ("A10G", (420, 330, 560, 300, 0), 1_000_000),
    ("L40S", (800, 650, 1_000, 600, 350), 1_700_000),
    ("A100-40GB", (1_000, 1_000, 1_000, 800, 700), 2_200_000),
    ("A100-80GB", (1_080, 1_100, 1_050, 1_000, 1_000), 2_800_000),
    ("H100", (1_900, 2_200, 1_700, 2_300, 2_600), 4_500_000),
    ("H200", (2_000, 2_500, 1_800, 2_700, 3_100), 5_200_000),
    ("B200", (2_900, 3_800, 2_500, 4_300, 5_200), 8_500_000),
    ("MI300X", (1_500, 1_900, 1_200, 2_000, 2_200), 3_600_000),
)
_PROVIDERS: Final = 7
_REGIONS: Final = 40
_ZONES: Final = 120
_GANGS: Final = np.array([1, 2, 4, 8, 16, 32, 64, 128, 256])
_GANG_ODDS: Final = np.array([0.34, 0.17, 0.16, 0.16, 0.08, 0.045, 0.025, 0.013, 0.007])
_SPOT, _DEMAND, _OWN = 0, 1, 2
# A checkpoint's way out of its region [micro-USD per GB].
_EGRESS: Final = 60_000


@dataclass(frozen=True, slots=True)
class _Market:
    """Offers with what the rules need to know about them. gpus: accelerators of a machine."""

    offers: Offers
    model: Ints
    gpus: Ints
    tenure: Ints
    geography: Ints


def fleet(jobs: int, offers: int, seed: int = 1) -> Instance:
    """An instance of about these sizes."""
    dice = np.random.Generator(np.random.PCG64([seed, jobs, offers]))
    market = _market(dice, offers)
    kinds = _kinds(market)
    work = _jobs(dice, jobs)
    market = _scaled(market, int(_GANGS[work.kind // 10 % len(_GANGS)].sum()))
    rules, quota = _rules(dice, market, kinds, work)
    given = replace(market.offers, quota=quota)
    return _running(dice, Instance(work, kinds, given, rules))


def repriced(
    instance: Instance, share: float, seed: int, spread: float = 0.2
) -> tuple[Instance, Ints]:
    """The instance after a share of its offers changed price, and which did."""
    dice = np.random.Generator(np.random.PCG64([seed, 7]))
    offers = instance.offers
    count = max(1, round(share * len(offers)))
    which = np.sort(dice.choice(len(offers), size=count, replace=False)).astype(np.int64)
    rate = offers.rate.copy()
    factor = np.exp(dice.normal(0, spread, count))
    rate[which] = np.maximum(1, (rate[which] * factor).astype(np.int64))
    committed = np.maximum(offers.committed, rate)
    return replace(instance, offers=replace(offers, rate=rate, committed=committed)), which


def _market(dice: np.random.Generator, size: int) -> _Market:
    model = dice.choice(len(_MODELS), size, p=_odds(np.linspace(1.0, 1.6, len(_MODELS))))
    tenure = dice.choice(3, size, p=(0.62, 0.363, 0.017))
    zone = dice.integers(0, _ZONES, size)
    region = zone % _REGIONS
    gpus = np.array([1, 2, 4, 8])[dice.choice(4, size, p=(0.3, 0.15, 0.2, 0.35))]
    demand = np.array([row[2] for row in _MODELS])[model] * np.exp(dice.normal(0, 0.15, size))
    factor = np.select(
        [tenure == _SPOT, tenure == _DEMAND], [np.exp(dice.normal(-1.0, 0.35, size)), 1.0], 0.25
    )
    rate = np.maximum(1_000, demand * factor * gpus).astype(np.int64) // 100 * 100
    ceiling = (demand * gpus).astype(np.int64)
    committed = np.where(
        tenure == _SPOT, np.minimum(rate * 5 // 4, np.maximum(rate, ceiling)), rate
    )
    capacity = np.maximum(1, np.exp(dice.normal(2.2, 1.1, size))).astype(np.int64)
    hazard = np.where(tenure == _SPOT, np.exp(dice.normal(np.log(40_000), 0.8, size)), 500)
    none = np.full(size, -1, dtype=np.int64)
    offers = Offers(
        rate, committed, capacity, hazard.astype(np.int64), none, gpus.astype(np.int64),
        zone.astype(np.int64), region.astype(np.int64),
    )  # fmt: skip
    return _Market(offers, model, gpus, tenure, region % 4)


def _odds(weights: Floats) -> Floats:
    odds: Floats = weights / weights.sum()
    return odds


def _kinds(market: _Market) -> Kinds:
    """One kind for each family (5), gang (9), interruptible or not (2) and geography (5)."""
    speeds = np.array([row[1] for row in _MODELS], dtype=np.int64).T[:, market.model]
    index = np.arange(len(_GANGS) * 50)
    family, gang, rest = index // 90, _GANGS[index // 10 % len(_GANGS)], index % 10
    geography, firm = rest // 2, rest % 2
    speed = speeds[family]
    speed = np.where((geography[:, None] < 4) & (geography[:, None] != market.geography), 0, speed)
    speed = np.where((firm[:, None] == 1) & (market.tenure == _SPOT), 0, speed)
    machines = -(-gang[:, None] // market.gpus)
    return Kinds(speed.astype(np.int32), machines.astype(np.int32))


def _jobs(dice: np.random.Generator, size: int) -> Jobs:
    """Templates, a quarter of them sweeps of about 15 copies, until there are enough jobs."""
    sweep = dice.random(size) < 0.25
    copies = np.where(sweep, 2 + dice.geometric(1 / 13, size), 1)
    templates = int(np.searchsorted(np.cumsum(copies), size)) + 1
    copies = copies[:templates]
    copies[-1] -= int(copies.sum()) - size
    gang = dice.choice(len(_GANGS), templates, p=_GANG_ODDS)
    # The largest gangs come alone.
    gang = np.where(copies > 1, np.minimum(gang, 4), gang)
    family = dice.integers(0, 5, templates)
    firm = (dice.random(templates) < 0.12).astype(np.int64)
    geography = np.where(dice.random(templates) < 0.25, dice.integers(0, 4, templates), 4)
    kind = family * 90 + gang * 10 + geography * 2 + firm
    priority = np.array([600, 1_000, 1_600, 3_000])[
        dice.choice(4, templates, p=(0.3, 0.4, 0.2, 0.1))
    ]
    urgency = np.where(dice.random(templates) < 0.4, dice.integers(1_000, 2_500, templates), 1_000)
    worth = np.exp(dice.normal(np.log(2_600_000), 0.45, templates))
    value = (worth * _GANGS[gang] * priority / 1_000 * urgency / 1_000).astype(np.int64)
    restart = dice.choice(np.array([60, 180, 300, 600]), templates)
    interval = dice.choice(np.array([300, 600, 1_800]), templates)
    home = np.where(dice.random(templates) < 0.5, dice.integers(0, _REGIONS, templates), -1)
    size_gb = dice.choice(np.array([1, 5, 20, 80]), templates)
    projects = _projects(size)
    zipf = 1 / np.arange(1, projects + 1) ** 0.8
    teams, _ = _tree(projects)
    centre = 1 + teams + dice.choice(projects, templates, p=_odds(zipf))
    group = np.where((copies > 1) & (dice.random(templates) < 0.5), np.arange(templates), -1)
    columns = (
        kind, value, restart, interval, home, size_gb * _EGRESS, centre, group,
        np.full(templates, -1),
    )  # fmt: skip
    order = dice.permutation(np.repeat(np.arange(templates), copies))
    return Jobs(*(column.astype(np.int64)[order] for column in columns))


def _projects(jobs: int) -> int:
    return max(3, jobs // 50)


def _tree(projects: int) -> tuple[int, Ints]:
    """How many teams, and the parent of each centre: organisation, then teams, then projects."""
    teams = max(2, projects // 6)
    below = np.arange(projects, dtype=np.int64) % teams + 1
    return teams, np.concatenate(([-1], np.zeros(teams, dtype=np.int64), below)).astype(np.int64)


def _scaled(market: _Market, demand: int) -> _Market:
    """Pools scaled so that there are as many accelerators as are asked for."""
    offers = market.offers
    supply = int((offers.capacity * market.gpus).sum())
    capacity = np.maximum(1, offers.capacity * demand // supply)
    return replace(market, offers=replace(offers, capacity=capacity))


def _rules(
    dice: np.random.Generator, market: _Market, kinds: Kinds, jobs: Jobs
) -> tuple[Rules, Ints]:
    offers = market.offers
    # A quota for each region, generation of accelerators and tenure; own machines have none.
    key = (offers.region * 4 + market.model // 3) * 2 + (market.tenure == _SPOT)
    names, quota = np.unique(key, return_inverse=True)
    size = np.bincount(quota, weights=offers.capacity * market.gpus)
    most = np.maximum(8, size * dice.uniform(0.4, 1.3, len(names))).astype(np.int64)
    quota = np.where(market.tenure == _OWN, -1, quota).astype(np.int64)
    projects = _projects(len(jobs))
    teams, parent = _tree(projects)
    cheap = _cheapest_burn(kinds, offers, jobs.kind)
    wanted = np.bincount(jobs.centre, weights=cheap, minlength=len(parent))
    limit = wanted * np.exp(dice.normal(0.5, 0.6, len(parent)))
    below = parent[1 + teams :]
    limit[1 : 1 + teams] = 0.8 * np.bincount(below, limit[1 + teams :], len(parent))[1 : 1 + teams]
    limit[0] = 0.75 * limit[1 : 1 + teams].sum()
    groups = int(jobs.group.max(initial=-1)) + 1
    spread = dice.integers(2, 6, groups).astype(np.int64)
    rules = Rules(most, parent, np.maximum(1, limit).astype(np.int64), spread)
    return rules, quota


def _cheapest_burn(kinds: Kinds, offers: Offers, kind: Ints) -> Floats:
    """What each job would burn on the tenth of its offers that do its work for the least."""
    burn = kinds.machines * offers.committed.astype(np.float64)
    price = np.where(kinds.speed > 0, burn / np.maximum(kinds.speed, 1), np.inf)
    at = np.argsort(price, axis=1, kind="stable")[:, len(offers) // 10]
    typical = np.take_along_axis(burn, at[:, None], axis=1)[:, 0]
    out: Floats = typical.astype(np.float64)[kind]
    return out


def _running(dice: np.random.Generator, instance: Instance) -> Instance:
    """The same with about four jobs in ten running where other prices put them."""
    from treasury.optimizer.flow.classes import build
    from treasury.optimizer.flow.columns import Ranking
    from treasury.optimizer.flow.fill import Residual, fill, place

    some: Bools = dice.random(len(instance.jobs)) < 0.5
    offers = instance.offers
    rate = (offers.rate * np.exp(dice.normal(0, 0.3, len(offers)))).astype(np.int64)
    perturbed = replace(offers, rate=np.maximum(1, rate))
    jobs = instance.jobs
    chosen = Jobs(*(getattr(jobs, name)[some] for name in jobs.__dataclass_fields__))
    flow = build(replace(instance, jobs=chosen, offers=perturbed))
    residual = Residual(flow)
    fill(flow, residual, Ranking(flow))
    incumbent = jobs.incumbent.copy()
    incumbent[some] = place(flow, residual.counts)
    running = int((incumbent >= 0).sum())
    churn = replace(instance.rules, churn_limit=max(1, running * 8 // 100), churn_price=2_000_000)
    return replace(instance, jobs=replace(jobs, incumbent=incumbent), rules=churn)
