"""What a seed draws: markets, jobs, budgets, settings and a strategy, all small, all different."""

from random import Random
from typing import Any, Final

import msgspec

from treasury.domain.budget import Budget, Period
from treasury.domain.hardware import Shape
from treasury.domain.ids import CostCentre, JobId, ProviderName
from treasury.domain.job import JobSpec, Requirement
from treasury.domain.market import Capabilities, Offer, Tenure, offer_id
from treasury.domain.money import MICRO, NANO
from treasury.domain.settings import EngineSettings
from treasury.domain.task import Task
from treasury.domain.time import HOUR, MINUTE, SECOND
from treasury_simulations.storm.cloud import Cloud, Pool

# An instant in the past, so that nothing in a storm depends on today.
EPOCH: Final = 1_700_000_000 * SECOND
OWNER: Final = "storm"
_MODELS: Final = ("A100-80GB", "H100")
STRATEGIES: Final = ("greedy", "on_demand", "uniform_progress")


class Swarm(msgspec.Struct, frozen=True):
    """One seed's scenario. jobs: by submission, whose instants count from `EPOCH`. heartbeat: of
    the machines' agents [ns]. controls: how many control nodes there are. lease: how long a leader
    may be silent [ns]; mostly longer than a real one's: renewing it costs most of a quiet day."""

    seed: int
    settings: EngineSettings
    budgets: tuple[Budget, ...]
    jobs: tuple[JobSpec, ...]
    strategy: str
    heartbeat: int
    controls: int
    lease: int


def draw(seed: int, hours: int) -> Swarm:
    """The scenario of a seed, with work for some hours."""
    dice = Random(f"{seed}/swarm")  # noqa: S311 - seeded: a storm can be repeated
    accrual = dice.choice((10 * MINUTE, 30 * MINUTE, HOUR))
    settings = EngineSettings(
        installation=OWNER,
        origin=EPOCH,
        tick=dice.choice((MINUTE, 5 * MINUTE, 10 * MINUTE, 20 * MINUTE)),
        accrual=accrual,
        horizon=accrual + dice.choice((20 * MINUTE, HOUR)),
        quarantine=dice.choice((MINUTE, 10 * MINUTE)),
        quote_age_max=dice.choice((0, 30 * MINUTE)),
    )
    return Swarm(
        seed=seed,
        settings=settings,
        budgets=_budgets(dice, hours),
        jobs=_jobs(dice, hours),
        strategy=dice.choice(STRATEGIES),
        heartbeat=dice.choice((2 * MINUTE, 4 * MINUTE)),
        controls=dice.choice((1, 2, 2)),
        lease=dice.choice((40 * SECOND, 6 * MINUTE)),
    )


def _budgets(dice: Random, hours: int) -> tuple[Budget, ...]:
    rich = dice.choice((200, 1_000, 5_000)) * MICRO * -(-hours // 24)
    return (
        Budget(cost_centre=CostCentre("lab"), amount=rich),
        Budget(cost_centre=CostCentre("red"), parent=CostCentre("lab"), amount=rich * 2 // 3),
        Budget(
            cost_centre=CostCentre("blue"),
            parent=CostCentre("lab"),
            amount=dice.choice((20, 400)) * MICRO,
            period=Period.DAY,
            burn_cap=dice.choice((0, 60 * NANO)),
        ),
    )


def _jobs(dice: Random, hours: int) -> tuple[JobSpec, ...]:
    jobs = [
        _job(dice, index, EPOCH + dice.randrange(hours * HOUR * 2 // 3))
        for index in range(dice.randint(4, 8 + hours // 2))
    ]
    return tuple(sorted(jobs, key=lambda job: job.submitted_at))


def _job(dice: Random, index: int, at: int) -> JobSpec:
    deadline = dice.choice((None, at + dice.randrange(12 * HOUR, 40 * HOUR)))
    models = {model: dice.choice((600, 1_000)) for model in _MODELS[: dice.randint(1, 2)]}
    return JobSpec(
        id=JobId(f"job-{index}"),
        cost_centre=CostCentre(dice.choice(("red", "red", "blue"))),
        requirement=Requirement(models, gpus=dice.choice((1, 1, 8)), nodes=dice.choice((1, 1, 3))),
        work=dice.randrange(20 * MINUTE, 10 * HOUR),
        submitted_at=at,
        start_overhead=dice.choice((0, 5 * MINUTE)),
        checkpoint_interval=dice.choice((0, 15 * MINUTE)),
        deadline=deadline,
        priority=dice.choice((0, 0, 5)),
        task=Task(command=("work",), retries=dice.choice((0, 2))),
    )


def clouds(swarm: Swarm) -> list[Cloud]:
    """Three markets of different kinds: one with tokens and a warning, one whose listing lags, one
    that takes bids and knows neither tokens nor warnings."""
    dice = Random(f"{swarm.seed}/clouds")  # noqa: S311 - seeded: a storm can be repeated
    kinds: tuple[tuple[str, dict[str, Any]], ...] = (
        ("alpha", {"notice_ns": 2 * MINUTE, "grant_delay_ns": 20 * SECOND, "boot_ns": MINUTE}),
        ("beta", {"listing_lag_ns": 90 * SECOND, "boot_ns": 3 * MINUTE, "notice_ns": 30 * SECOND}),
        (
            "gamma",
            {
                "bids": True,
                "honours_tokens": False,
                "billing_step_ns": MINUTE,
                "listing_lag_ns": MINUTE,
            },
        ),
    )
    return [_cloud(name, Capabilities(**how), dice, swarm.seed) for name, how in kinds]


def _cloud(name: str, capabilities: Capabilities, dice: Random, seed: int) -> Cloud:
    pools = []
    for index in range(dice.randint(1, 3)):
        spot = index > 0 or dice.random() < 0.5
        tenure = Tenure.SPOT if spot else Tenure.ON_DEMAND
        gpus, model = dice.choice((1, 8)), dice.choice(_MODELS)
        base = dice.randint(10, 40) * NANO // 10 * gpus // (3 if spot else 1)
        instance = f"{model.lower()}x{gpus}-{index}"
        offer = Offer(
            offer_id(name, "r1", f"z{index}", instance, tenure),
            ProviderName(name),
            "r1",
            f"z{index}",
            Shape(model, gpus, 80, instance),
            tenure,
            capabilities,
        )
        capacity = dice.randint(1, 8) if spot else 20
        pools.append(Pool(offer, base, base, capacity))
    own = Random(f"{seed}/{name}")  # noqa: S311 - seeded: a storm can be repeated
    return Cloud(name, pools, own, OWNER)
