"""Markets in memory and scenarios on them, for tests of the world and the replay."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from treasury.domain.budget import Budget
from treasury.domain.job import JobSpec, Requirement
from treasury.domain.market import Capabilities, Tenure
from treasury.domain.money import MICRO, NANO
from treasury.domain.settings import EngineSettings
from treasury.domain.time import DAY, HOUR, MINUTE, NEVER
from treasury_simulations.scenario import MarketModel, Scenario
from treasury_simulations.traces import PoolInfo, make_pool

Row = tuple[int, int, int, int]
# Billed by the ns: what is held is what is paid.
PLAIN = Capabilities(billing_step_ns=1, billing_minimum_ns=0)


class MemoryTrace:
    """A market in memory: pools, and rows (at, pool, rate, depth)."""

    def __init__(
        self, pools: Iterable[PoolInfo], rows: Iterable[Row], end: int = NEVER, name: str = "memory"
    ) -> None:
        self.pools = tuple(pools)
        self.rows = tuple(rows)
        self.end = end
        self.name = name

    def market(self) -> Iterator[Row]:
        return iter(self.rows)


def pool(
    zone: str = "a",
    tenure: Tenure = Tenure.SPOT,
    provider: str = "aws",
    gpu: str = "V100",
    gpus: int = 1,
) -> PoolInfo:
    """A pool of one-GPU machines, by default of one provider, apart from the others by zone."""
    return make_pool(provider, "us", zone, f"{gpu}x{gpus}", gpu, gpus, tenure)


def job(name: str = "j", *, nodes: int = 1, gpus: int = 1, at: int = 0, **fields: Any) -> JobSpec:
    """Ten hours of work on a V100, an A100 is twice as fast; `fields` say otherwise."""
    fields.setdefault("cost_centre", "team")
    fields.setdefault("work", 10 * HOUR)
    fields.setdefault(
        "requirement",
        Requirement({"V100": 1_000, "A100-40GB": 2_000}, gpus=gpus, nodes=nodes),
    )
    return JobSpec(id=name, submitted_at=at, **fields)


def scenario(
    trace: Any,
    *jobs: JobSpec,
    model: MarketModel | None = None,
    markets: Mapping[str, MarketModel] | None = None,
    budgets: tuple[Budget, ...] = (),
    **settings: Any,
) -> Scenario:
    """A scenario on a market, with one model for every provider unless `markets` says otherwise."""
    model = model or MarketModel(capabilities=PLAIN)
    settings.setdefault("tick", 10 * MINUTE)
    return Scenario(
        settings=EngineSettings(**settings),
        budgets=budgets or (Budget(cost_centre="team", amount=10_000 * MICRO),),
        jobs=tuple(sorted(jobs, key=lambda spec: (spec.submitted_at, spec.id))),
        trace=trace,
        markets=dict(markets or {p.provider: model for p in trace.pools}),
    )


def steady(days: int = 10) -> MemoryTrace:
    """One spot pool at 1 USD/h and one on-demand pool at 3 USD/h, with room for four each."""
    return MemoryTrace(
        (pool("a"), pool("a", Tenure.ON_DEMAND)),
        ((0, 0, NANO, 4), (0, 1, 3 * NANO, 4)),
        end=days * DAY,
    )


__all__ = ["PLAIN", "MemoryTrace", "Row", "job", "pool", "scenario", "steady"]
