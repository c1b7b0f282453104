"""What the rest of the house gets from a configuration: domain values, ready to use."""

from typing import Any

import msgspec

from treasury.config.sections import (
    ApiSection,
    BudgetSection,
    BusSection,
    DaemonSection,
    FileSection,
    JobSection,
    MarketTables,
    ProviderSection,
    SimulationSection,
    WindowSection,
)
from treasury.config.units import DAYS
from treasury.domain.budget import Budget, Window
from treasury.domain.errors import ConfigError
from treasury.domain.ids import CostCentre, JobId
from treasury.domain.job import REFERENCE_THROUGHPUT, JobSpec, Requirement
from treasury.domain.market import Capabilities
from treasury.domain.settings import EngineSettings
from treasury.domain.time import format_instant


class ProviderSettings(msgspec.Struct, frozen=True, kw_only=True):
    """A provider as configured. depth: machines of a pool where a trace only says "available";
    refusal_per_mille: requests of a thousand that are refused; quota: most machines, 0 for any."""

    kind: str
    capabilities: Capabilities
    depth: int
    refusal_per_mille: int
    quota: int


class MarketSettings(msgspec.Struct, frozen=True):
    """A real provider as configured: the registered kind, and settings its own class will read."""

    kind: str
    parameters: dict[str, Any]


class StrategySettings(msgspec.Struct, frozen=True):
    """A strategy as configured: the registered name, and parameters its own class will read."""

    kind: str
    parameters: dict[str, Any]


class Config(msgspec.Struct, frozen=True, kw_only=True):
    """A whole configuration. file: what messages call it. providers are those a trace plays,
    markets the real ones. jobs keep their offsets until a
    simulation's start is known (`job_specs`)."""

    file: str
    engine: EngineSettings
    budgets: tuple[Budget, ...]
    providers: dict[str, ProviderSettings]
    markets: dict[str, MarketSettings]
    strategies: dict[str, StrategySettings]
    daemon: DaemonSection
    bus: BusSection
    api: ApiSection
    simulation: SimulationSection
    jobs: tuple[JobSection, ...]

    def job_specs(self, start: int) -> tuple[JobSpec, ...]:
        """The `[[job]]`s, offsets counted from `start` [ns]. Raises ConfigError for a deadline
        that is not after its submission."""
        return tuple(
            _job_spec(self.file, f"job[{index}]", job, start) for index, job in enumerate(self.jobs)
        )


def build(section: FileSection, markets: MarketTables, file: str) -> Config:
    """The settings of a file that passed its checks."""
    return Config(
        file=file,
        engine=EngineSettings(**msgspec.structs.asdict(section.engine)),
        budgets=tuple(_budget(budget) for budget in section.budget),
        providers={name: _provider(item) for name, item in section.provider.items()},
        markets={name: _market(table) for name, table in markets.provider.items()},
        strategies={name: _strategy(name, item) for name, item in section.strategy.items()},
        daemon=section.daemon,
        bus=section.bus,
        api=section.api,
        simulation=section.simulation,
        jobs=section.job,
    )


def _budget(section: BudgetSection) -> Budget:
    starts_at, ends_at = section.starts_at, section.ends_at
    return Budget(
        cost_centre=CostCentre(section.cost_centre),
        amount=section.amount,
        period=section.period,
        parent=CostCentre(section.parent) if section.parent else None,
        zone=section.zone,
        window=section.window,
        starts_at=0 if starts_at is None else starts_at.ns,
        ends_at=0 if ends_at is None else ends_at.ns,
        carry=section.carry,
        job_cap=section.job_cap,
        day_cap=section.day_cap,
        burn_cap=section.burn_cap,
        front_load=section.front_load,
        soft=section.soft,
        reserve=section.reserve,
        reserve_priority=section.reserve_priority,
        ceiling=section.ceiling,
        approve_above=section.approve_above,
        borrow=section.borrow,
        providers=section.providers,
        regions=section.regions,
        tenures=tuple(tenure.value for tenure in section.tenures),
        windows=tuple(_window(window) for window in section.windows),
        mode=section.mode,
    )


def _window(section: WindowSection) -> Window:
    return Window(
        days=tuple(sorted(set(section.days))) or tuple(range(len(DAYS))),
        start_hour=section.hours[0],
        end_hour=section.hours[1],
    )


def _provider(section: ProviderSection) -> ProviderSettings:
    return ProviderSettings(
        kind=section.kind,
        capabilities=Capabilities(
            bids=section.bids,
            floating=section.floating,
            notice_ns=section.notice,
            grant_delay_ns=section.grant_delay,
            boot_ns=section.boot,
            billing_step_ns=section.billing_step,
            billing_minimum_ns=section.billing_minimum,
            listing_lag_ns=section.listing_lag,
            gang_max=section.gang_max,
        ),
        depth=section.depth,
        refusal_per_mille=section.refusals,
        quota=section.quota,
    )


def _market(table: dict[str, Any]) -> MarketSettings:
    parameters = {key: value for key, value in table.items() if key != "kind"}
    return MarketSettings(kind=str(table["kind"]), parameters=parameters)


def _strategy(name: str, table: dict[str, Any]) -> StrategySettings:
    """`kind` names the registered strategy, so that one may be compared with itself."""
    parameters = {key: value for key, value in table.items() if key != "kind"}
    return StrategySettings(kind=str(table.get("kind", name)), parameters=parameters)


def _job_spec(file: str, path: str, job: JobSection, start: int) -> JobSpec:
    submitted_at = job.submit_at.after(start)
    deadline = None if job.deadline is None else job.deadline.after(submitted_at)
    if deadline is not None and deadline <= submitted_at:
        raise ConfigError(
            file,
            f"{path}.deadline",
            f"{format_instant(deadline)} is not after the submission at "
            f"{format_instant(submitted_at)}",
        )
    return JobSpec(
        id=JobId(job.id),
        cost_centre=CostCentre(job.cost_centre),
        requirement=Requirement(
            throughput=job.throughput or {job.gpu: REFERENCE_THROUGHPUT},
            gpus=job.gpus,
            nodes=job.nodes,
            providers=job.providers,
            regions=job.regions,
            tenures=tuple(tenure.value for tenure in job.tenures),
        ),
        work=job.work,
        submitted_at=submitted_at,
        start_overhead=job.start_overhead,
        checkpoint_interval=job.checkpoint_interval,
        deadline=deadline,
        priority=job.priority,
        value=job.value,
        max_rate=job.max_rate,
        interruptible=job.interruptible,
        labels=dict(job.labels),
    )
