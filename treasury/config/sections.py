"""The sections of a configuration file as a person writes them; each field is a key.

A field's annotation says how its text is read (`units`), its default is what a missing key means.
"""

from enum import Enum

import msgspec

from treasury.config.units import (
    Count,
    Day,
    Duration,
    Gpu,
    Hours,
    Instant,
    Money,
    Name,
    PerMille,
    Port,
    Positive,
    Rate,
    Share,
    Slack,
    Span,
    Throughput,
    Weights,
    When,
    Zone,
)
from treasury.domain.budget import Mode, Period
from treasury.domain.market import Tenure
from treasury.domain.settings import EngineSettings
from treasury.domain.time import DAY, MINUTE, SECOND

_ENGINE = EngineSettings()


class LogFormat(Enum):
    """How log lines are written: for people, or one JSON object each."""

    TEXT = "text"
    JSON = "json"


class EngineSection(msgspec.Struct, frozen=True, kw_only=True):
    """`[engine]`: how the engine behaves."""

    installation: Name = _ENGINE.installation
    tick: Span = _ENGINE.tick
    accrual: Span = _ENGINE.accrual
    horizon: Span = _ENGINE.horizon
    quarantine: Duration = _ENGINE.quarantine
    quote_age_max: Duration = _ENGINE.quote_age_max
    quote_jump: Count = _ENGINE.quote_jump
    boot_limit: Span = _ENGINE.boot_limit
    stop_limit: Span = _ENGINE.stop_limit


class WindowSection(msgspec.Struct, frozen=True, kw_only=True):
    """One of a budget's `windows`: hours of the week in UTC."""

    hours: Hours
    days: tuple[Day, ...] = ()


class BudgetSection(msgspec.Struct, frozen=True, kw_only=True):
    """`[[budget]]`: what one cost centre may spend."""

    cost_centre: Name
    amount: Money
    period: Period = Period.ONCE
    parent: Name = ""
    zone: Zone = "UTC"
    window: Duration = 0
    starts_at: Instant | None = None
    ends_at: Instant | None = None
    carry: Share = 0
    job_cap: Money = 0
    day_cap: Money = 0
    burn_cap: Rate = 0
    front_load: Share = 0
    soft: Share = 0
    reserve: Money = 0
    reserve_priority: int = 0
    ceiling: Rate = 0
    approve_above: Money = 0
    borrow: Money = 0
    providers: tuple[Name, ...] = ()
    regions: tuple[str, ...] = ()
    tenures: tuple[Tenure, ...] = ()
    windows: tuple[WindowSection, ...] = ()
    mode: Mode = Mode.ENFORCE


class ProviderSection(msgspec.Struct, frozen=True, kw_only=True):
    """`[provider.NAME]`: a market, by its numbers."""

    kind: str = "simulated"
    bids: bool = False
    floating: bool = False
    notice: Duration = 0
    grant_delay: Duration = 0
    boot: Duration = 0
    billing_step: Span = 1_000_000_000
    billing_minimum: Duration = 60_000_000_000
    listing_lag: Duration = 0
    gang_max: Positive = 1_000
    depth: Positive = 4
    refusals: PerMille = 0
    quota: Count = 0


class DeadlineSection(msgspec.Struct, frozen=True, kw_only=True):
    """`simulation.demand.deadlines`: which jobs of a jobs trace get a deadline, and how tight."""

    share: Share
    slack: Slack


class DemandModel(msgspec.Struct, frozen=True, kw_only=True):
    """`[simulation.demand]`: how the rows of a jobs trace become jobs.

    throughput and deadlines' slack in thousandths, priorities: weight in thousandths; value in
    nano-USD per reference GPU-hour; limit 0 for all rows; gpus_per_node 0 to keep the rows'.
    """

    throughput: Throughput = msgspec.field(default_factory=lambda: {"V100": 1_000})
    cost_centres: dict[str, Name] = {}
    limit: Count = 0
    align: bool = True
    gpus_per_node: Count = 0
    start_overhead: Duration = 0
    checkpoint_interval: Duration = 0
    deadlines: DeadlineSection | None = None
    priorities: Weights = msgspec.field(default_factory=lambda: {0: 1_000})
    value: Rate = 0
    interruptible: bool = True


class SimulationSection(msgspec.Struct, frozen=True, kw_only=True):
    """`[simulation]`: what is replayed, and where the results go."""

    title: str = ""
    trace: str = ""
    jobs: str = ""
    strategies: tuple[Name, ...] = ()
    seed: Count = 0
    out: str = "out"
    demand: DemandModel = DemandModel()


class JobSection(msgspec.Struct, frozen=True, kw_only=True):
    """`[[job]]`: one job, beside or instead of a jobs trace."""

    id: Name
    cost_centre: Name
    work: Span
    gpu: Gpu = ""
    throughput: Throughput = {}
    gpus: Positive = 1
    nodes: Positive = 1
    start_overhead: Duration = 0
    checkpoint_interval: Duration = 0
    submit_at: Instant = When(ns=0, relative=True)
    deadline: Instant | None = None
    priority: int = 0
    value: Money = 0
    max_rate: Rate = 0
    providers: tuple[Name, ...] = ()
    regions: tuple[str, ...] = ()
    tenures: tuple[Tenure, ...] = ()
    interruptible: bool = True
    labels: dict[str, str] = {}


class DaemonSection(msgspec.Struct, frozen=True, kw_only=True):
    """`[daemon]`: how `treasury run` works."""

    db: str = "treasury.db"
    state: str = "treasury-state"
    secrets: str = ""
    strategy: Name = "optimal"
    conduct: Mode = Mode.ENFORCE
    plan_limit: Span = MINUTE
    quiet_after: Span = 10 * MINUTE
    memory: Duration = 14 * DAY
    launches_per_hour: Count = 0
    lease: Span = 15 * SECOND
    grace: Duration = 10 * SECOND
    log: LogFormat = LogFormat.TEXT
    traces: str = ""


class BusSection(msgspec.Struct, frozen=True, kw_only=True):
    """`[bus]`: the broker between the daemon and its machines."""

    embedded: bool = True
    host: str = "127.0.0.1"
    port: Port = 1_883
    tls: bool = False
    ca: str = ""
    advertise: str = ""


class ApiSection(msgspec.Struct, frozen=True, kw_only=True):
    """`[api]`: where the HTTP API listens."""

    host: str = "127.0.0.1"
    port: Port = 8_750
    hosts: tuple[str, ...] = ()
    exposed: bool = False
    advertise: str = ""


class MarketTables(msgspec.Struct, frozen=True, kw_only=True):
    """Every `[provider.NAME]` that is not simulated: its adapter reads the keys beside `kind`."""

    provider: dict[str, dict[str, object]] = {}


class FileSection(msgspec.Struct, frozen=True, kw_only=True):
    """A whole configuration file but for its `MarketTables`."""

    engine: EngineSection = EngineSection()
    budget: tuple[BudgetSection, ...] = ()
    provider: dict[str, ProviderSection] = {}
    strategy: dict[str, dict[str, object]] = {}
    daemon: DaemonSection = DaemonSection()
    bus: BusSection = BusSection()
    api: ApiSection = ApiSection()
    simulation: SimulationSection = SimulationSection()
    job: tuple[JobSection, ...] = ()
