"""Random small markets and jobs, and a strategy that means no good, all drawn from one seed."""

from random import Random
from typing import Any

from tests.support.worlds import MemoryTrace, Row, job, pool
from treasury.domain.budget import Budget, Mode, Period
from treasury.domain.job import JobSpec, Requirement
from treasury.domain.market import Capabilities, Tenure
from treasury.domain.money import MICRO, NANO
from treasury.domain.plan import LeftOut, Migrate, Place, Plan, Preempt, Rebid, Snapshot, Why
from treasury.domain.settings import EngineSettings
from treasury.domain.time import HOUR, MINUTE, SECOND
from treasury_simulations.scenario import MarketModel, Scenario

SPAN = 60 * HOUR
PROVIDERS = ("aws", "vast")


def chaos(seed: int) -> Scenario:
    """A scenario of up to five pools and eight jobs in which everything that can vary does."""
    dice = Random(seed)
    trace: Any = _trace(dice)
    settings = EngineSettings(
        tick=dice.choice((MINUTE, 10 * MINUTE, 37 * MINUTE)),
        accrual=dice.choice((20 * MINUTE, HOUR)),
        horizon=dice.choice((HOUR, 3 * HOUR)),
        quarantine=dice.choice((1, 10 * MINUTE)),
        quote_jump=0,
    )
    return Scenario(
        settings=settings,
        budgets=_budgets(dice),
        jobs=_jobs(dice),
        trace=trace,
        markets={provider: _model(dice) for provider in PROVIDERS},
        seed=seed,
    )


def _trace(dice: Random) -> MemoryTrace:
    tenures = [Tenure.SPOT, Tenure.SPOT, Tenure.ON_DEMAND]
    pools = [
        pool(
            f"z{i}",
            dice.choice(tenures),
            dice.choice(PROVIDERS),
            dice.choice(("V100", "A100-40GB")),
            dice.choice((1, 1, 4)),
        )
        for i in range(dice.randint(1, 5))
    ]
    rows: list[Row] = []
    for index in range(len(pools)):
        at = dice.choice((0, 0, 0, 7 * MINUTE))
        base = dice.randint(1, 40) * NANO // 10
        while at < SPAN:
            rate = -1 if dice.random() < 0.1 else base * dice.randint(50, 200) // 100 + 1
            rows.append((at, index, rate, dice.choice((-1, 0, 1, 2, 5))))
            at += dice.choice((1, 10 * MINUTE, HOUR + 1, 9 * HOUR, dice.randint(1, 20 * HOUR)))
    rows.sort(key=lambda row: row[0])
    return MemoryTrace(pools, rows, end=SPAN)


def _model(dice: Random) -> MarketModel:
    capabilities = Capabilities(
        bids=dice.random() < 0.4,
        floating=dice.random() < 0.5,
        notice_ns=dice.choice((0, 30 * SECOND, 2 * MINUTE, 3 * HOUR)),
        grant_delay_ns=dice.choice((0, 0, 45 * SECOND, 20 * MINUTE)),
        boot_ns=dice.choice((0, 0, 3 * MINUTE, HOUR)),
        billing_step_ns=dice.choice((1, SECOND, MINUTE, HOUR)),
        billing_minimum_ns=dice.choice((0, MINUTE, 90 * MINUTE)),
        gang_max=dice.choice((1, 2, 1_000)),
    )
    return MarketModel(
        capabilities=capabilities,
        depth=dice.choice((-1, 1, 3)),
        refusal_per_mille=dice.choice((0, 0, 200)),
        quota=dice.choice((0, 0, 3)),
    )


def _budgets(dice: Random) -> tuple[Budget, ...]:
    def amount() -> int:
        return dice.choice((0, 20, 500, 5_000, 5_000)) * MICRO

    period = dice.choice((Period.ONCE, Period.ONCE, Period.DAY, Period.WEEK))
    mode = dice.choice((Mode.ENFORCE, Mode.ENFORCE, Mode.ENFORCE, Mode.RECOMMEND, Mode.OBSERVE))
    return (
        Budget(cost_centre="org", amount=amount() + 20 * MICRO, period=period),
        Budget(
            cost_centre="team",
            parent="org",
            amount=amount(),
            period=period,
            carry=dice.choice((0, 500)),
            mode=mode,
            front_load=dice.choice((0, 0, 300)),
            job_cap=dice.choice((0, 0, 30 * MICRO)),
        ),
        Budget(
            cost_centre="lab",
            parent="org",
            amount=amount(),
            borrow=dice.choice((0, 0, 50 * MICRO)),
            day_cap=dice.choice((0, 0, 40 * MICRO)),
            ceiling=dice.choice((0, 0, 2 * NANO)),
            burn_cap=dice.choice((0, 0, 6 * NANO)),
        ),
    )


def _jobs(dice: Random) -> tuple[JobSpec, ...]:
    jobs = []
    for number in range(dice.randint(1, 8)):
        at = dice.choice((0, 0, dice.randint(0, SPAN)))
        requirement = Requirement(
            {"V100": dice.choice((700, 1_000)), "A100-40GB": dice.choice((1_000, 2_333))},
            gpus=dice.choice((1, 1, 2)),
            nodes=dice.choice((1, 1, 1, 2, 3)),
        )
        jobs.append(
            job(
                f"job-{number}",
                at=at,
                requirement=requirement,
                cost_centre=dice.choice(("team", "lab", "org")),
                work=dice.choice((1, HOUR, 5 * HOUR, 17 * HOUR + 3)),
                start_overhead=dice.choice((0, 6 * MINUTE, HOUR)),
                checkpoint_interval=dice.choice((0, 30 * MINUTE, 4 * HOUR)),
                deadline=dice.choice((None, at + 12 * HOUR, at + 40 * HOUR)),
                priority=dice.choice((0, 0, 5)),
                max_rate=dice.choice((0, 0, 4 * NANO)),
            )
        )
    return tuple(sorted(jobs, key=lambda spec: (spec.submitted_at, spec.id)))


class Hostile:
    """A strategy that places, moves, stops and rebids at random, names what does not exist, answers
    with nonsense and fails. Seeded, so that a replay of it can be repeated."""

    name = "hostile"

    def __init__(self, seed: int) -> None:
        self._dice = Random(f"hostile/{seed}")

    def propose(self, snapshot: Snapshot) -> Plan:
        dice = self._dice
        if dice.random() < 0.05:
            raise RuntimeError("no plan today")
        if dice.random() < 0.05:
            nonsense: Any = dice.choice((None, "a plan", Plan(snapshot.version, (None,))))
            return nonsense
        jobs = [view.spec.id for view in snapshot.jobs] + ["nobody"]
        offers = [view.offer.id for view in snapshot.offers] + ["nowhere"]
        actions: list[Any] = []
        for _ in range(dice.randint(0, 9)):
            name, offer = dice.choice(jobs), dice.choice(offers)
            bid = dice.choice((0, -1, NANO, 3 * NANO, 9 * NANO, 50 * NANO, 10**17))
            actions.append(
                dice.choice(
                    (
                        Place(name, offer, bid),
                        Place(name, offer, 9 * NANO),
                        Place(name, offer, 9 * NANO),
                        Migrate(name, offer, 9 * NANO),
                        Migrate(name, offer, 9 * NANO),
                        Preempt(name, "because"),
                        Rebid(name, bid),
                    )
                )
            )
        version = snapshot.version + dice.choice((0, 0, 0, 0, -1, 1))
        left_out = (LeftOut(dice.choice(jobs), Why.WAITS, "later", dice.choice(offers)),)
        review_at = snapshot.now + dice.choice((1, MINUTE, HOUR, 9 * HOUR))
        return Plan(version, tuple(actions), left_out, review_at)


__all__ = ["SPAN", "Hostile", "chaos"]
