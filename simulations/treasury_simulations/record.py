"""What a replay leaves behind, as plain data: the report, the table and the tests read this.

Money in micro-USD, rates in nano-USD/h, instants and durations in ns. Built by
`treasury_simulations.recorder` from the journal and the world's meter, never from the engine's
state.
"""

import msgspec


class JobOutcome(msgspec.Struct, frozen=True, kw_only=True):
    """One job from submission to its end (or the end of the replay)."""

    id: str
    cost_centre: str
    priority: int
    gpus: int
    nodes: int
    work: int
    submitted_at: int
    deadline: int | None
    first_start: int | None
    ended_at: int | None
    state: str
    late: bool
    cost: int
    waited: int
    lost_work: int
    starts: int
    interruptions: int
    preemptions: int
    migrations: int
    last_reason: str = ""


class LeaseOutcome(msgspec.Struct, frozen=True, kw_only=True):
    """One machine from grant to release. The four durations fill [granted_at, ended_at): useful
    (work that counted), restart (start overhead), lost (work thrown away), idle (the rest).

    billed: what the world's meter says. premium: part of `billed` for useful work that is above
    the best open price of an offer that fitted the job at that instant.
    """

    id: int
    job: str
    cost_centre: str
    placement: int
    offer: str
    provider: str
    pool: str
    tenure: str
    gpu: str
    gpus: int
    granted_at: int
    ended_at: int
    end_cause: str
    billed: int
    useful: int
    restart: int
    lost: int
    idle: int
    premium: int


class Waste(msgspec.Struct, frozen=True, kw_only=True):
    """Where the money went [micro-USD]. The parts and `useful` sum exactly to `paid`.

    unallocated: billed for machines no job was ever bound to. idle: bound, but neither starting nor
    working, billing steps rounded up included.
    """

    paid: int
    useful: int
    premium: int
    restart: int
    lost_work: int
    idle: int
    unallocated: int


class BudgetSeries(msgspec.Struct, frozen=True, kw_only=True):
    """A budget over time: parallel arrays, one point a change (thinned)."""

    cost_centre: str
    limit: int
    at: list[int]
    available: list[int]
    held: list[int]
    spent: list[int]


class PriceSeries(msgspec.Struct, frozen=True, kw_only=True):
    """An offer over time: parallel arrays; rate -1 where not sold, depth -1 where not said."""

    offer: str
    gpus: int
    at: list[int]
    rate: list[int]
    depth: list[int]


class RunRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One strategy over one trace."""

    strategy: str
    seed: int
    trace: str
    started_at: int
    ended_at: int
    journal_hash: str
    turns: int
    wall_seconds: float
    jobs: list[JobOutcome]
    leases: list[LeaseOutcome]
    waste: Waste
    budgets: list[BudgetSeries]
    prices: list[PriceSeries]
    refusals: dict[str, int]


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """Several strategies over the same trace, configuration, jobs and seed."""

    title: str
    trace: str
    source: str
    licence: str
    runs: list[RunRecord]
