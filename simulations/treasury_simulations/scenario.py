"""A scenario: everything that decides a replay's outcome besides the strategy and the trace's data."""

import msgspec

from treasury.domain.budget import Budget
from treasury.domain.job import JobSpec
from treasury.domain.market import Capabilities
from treasury.domain.settings import EngineSettings


class MarketModel(msgspec.Struct, frozen=True, kw_only=True):
    """How a pretend provider behaves where the trace does not say.

    depth: machines a pool holds where the trace only says "available". refusal_per_mille: of
    a thousand requests, how many are refused though capacity exists. quota: most machines we may hold at
    this provider at once, 0 for no limit.
    """

    capabilities: Capabilities
    depth: int = 4
    refusal_per_mille: int = 0
    quota: int = 0


class Scenario(msgspec.Struct, frozen=True, kw_only=True):
    """What a replay is given. trace: a file's path or the name of a bundled trace.

    settings.origin is the trace's first instant; jobs are in order of submission, then id; markets
    hold one model for each provider that the trace or the configuration names.
    """

    settings: EngineSettings
    budgets: tuple[Budget, ...]
    jobs: tuple[JobSpec, ...]
    trace: str
    markets: dict[str, MarketModel]
    seed: int = 0
    title: str = ""
