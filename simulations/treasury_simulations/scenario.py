"""A scenario: what decides a replay's outcome besides the strategy and the trace's data."""

from typing import TYPE_CHECKING

import msgspec

from treasury.config import Config
from treasury.domain.budget import Budget
from treasury.domain.errors import BadValue, ConfigError, TraceError
from treasury.domain.job import JobSpec
from treasury.domain.market import Capabilities, Offer
from treasury.domain.settings import EngineSettings
from treasury.domain.time import format_instant

if TYPE_CHECKING:
    from treasury_simulations.traces import Trace


class MarketModel(msgspec.Struct, frozen=True, kw_only=True):
    """How a pretend provider behaves where the trace does not say.

    depth: machines a pool holds where the trace only says "available". refusal_per_mille: of
    a thousand requests, how many are refused though capacity exists. quota: most machines we may
    hold at this provider at once, 0 for no limit.
    """

    capabilities: Capabilities
    depth: int = 4
    refusal_per_mille: int = 0
    quota: int = 0


class Scenario(msgspec.Struct, frozen=True, kw_only=True):
    """What a replay is given. trace: a file's path or the name of a bundled trace.

    settings.origin is the trace's first instant; jobs are in order of submission, then id; markets
    hold one model for each provider of the trace. notes: what a person should know about how it
    was made; the replay does not look at them.
    """

    settings: EngineSettings
    budgets: tuple[Budget, ...]
    jobs: tuple[JobSpec, ...]
    trace: str
    markets: dict[str, MarketModel]
    seed: int = 0
    title: str = ""
    notes: tuple[str, ...] = ()


def build_scenario(config: Config, trace: str = "", jobs: str = "") -> Scenario:
    """The scenario of a configuration. trace, jobs: files or bundled names that replace those of
    its `[simulation]`. Raises ConfigError, TraceError."""
    from treasury_simulations.traces import open_trace

    simulation = config.simulation
    trace, jobs = trace or simulation.trace, jobs or simulation.jobs
    if not trace:
        raise ConfigError(config.file, "simulation.trace", "is missing: which market to replay?")
    market = open_trace(trace)
    if "market" not in market.header.kinds:
        raise TraceError(f"{trace}: holds {_kinds(market)}, but no market to replay")
    notes: list[str] = []
    specs = list(config.job_specs(market.header.start))
    if jobs:
        specs += _drawn(config, market, jobs, notes)
    if not specs:
        raise ConfigError(
            config.file, "simulation.jobs", "is missing, and there is no [[job]]: nothing to run"
        )
    _check_ids(config, specs)
    return Scenario(
        settings=msgspec.structs.replace(config.engine, origin=market.header.start),
        budgets=config.budgets,
        jobs=tuple(sorted(specs, key=lambda spec: (spec.submitted_at, spec.id))),
        trace=trace,
        markets=_markets(config, market, notes),
        seed=simulation.seed,
        title=simulation.title or f"{jobs or 'jobs'} on {trace}",
        notes=tuple(notes),
    )


def offers_of(scenario: Scenario) -> tuple[Offer, ...]:
    """What the scenario's market sells, whatever it costs and whenever."""
    from treasury_simulations.traces import open_trace

    return tuple(
        Offer(
            id=pool.id,
            provider=pool.provider,
            region=pool.region,
            zone=pool.zone,
            shape=pool.shape(),
            tenure=pool.tenure,
            capabilities=scenario.markets[pool.provider].capabilities,
        )
        for pool in open_trace(scenario.trace).pools
    )


def _drawn(config: Config, market: "Trace", jobs: str, notes: list[str]) -> tuple[JobSpec, ...]:
    """The jobs of a jobs trace that fall into the market's span."""
    from treasury_simulations.demand import draw_jobs, shift
    from treasury_simulations.traces import open_trace

    demand, path = config.simulation.demand, "simulation.demand"
    source = open_trace(jobs)
    if "jobs" not in source.header.kinds:
        raise TraceError(f"{jobs}: holds {_kinds(source)}, but no jobs")
    start, end = market.header.start, market.header.end
    rows = shift(source.jobs(), start) if demand.align else source.jobs()
    try:
        drawn = draw_jobs(rows, demand, config.simulation.seed)
    except BadValue as error:
        raise ConfigError(config.file, f"{path}.cost_centres", str(error)) from error
    inside = tuple(job for job in drawn if start <= job.submitted_at < end)
    if not inside:
        raise ConfigError(
            config.file,
            f"{path}.align",
            f"none of the {len(drawn)} jobs of {jobs} is submitted between "
            f"{format_instant(start)} and {format_instant(end)}, the market's span",
        )
    if len(inside) < len(drawn):
        outside = len(drawn) - len(inside)
        notes.append(f"{outside} of {len(drawn)} jobs are submitted outside the market's span")
    return inside


def _check_ids(config: Config, specs: list[JobSpec]) -> None:
    seen: set[str] = set()
    for spec in specs:
        if spec.id in seen:
            raise ConfigError(config.file, "job", f'two jobs are called "{spec.id}"')
        seen.add(spec.id)


def _markets(config: Config, market: "Trace", notes: list[str]) -> dict[str, MarketModel]:
    """A model for each provider of the trace, by name."""
    markets: dict[str, MarketModel] = {}
    for name in sorted({pool.provider for pool in market.pools}):
        settings = config.providers.get(name)
        if settings is None:
            notes.append(f"provider {name} is not configured: plain capabilities are assumed")
            markets[name] = MarketModel(capabilities=Capabilities())
        else:
            markets[name] = MarketModel(
                capabilities=settings.capabilities,
                depth=settings.depth,
                refusal_per_mille=settings.refusal_per_mille,
                quota=settings.quota,
            )
    return markets


def _kinds(trace: "Trace") -> str:
    return ", ".join(trace.header.kinds) or "nothing"
