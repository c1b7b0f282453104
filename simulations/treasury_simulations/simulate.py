"""One strategy over one scenario: the world, the production engine, the record of what happened."""

import gc
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from time import perf_counter
from typing import Any, cast

from treasury.domain.time import NEVER
from treasury.ports import Store, Strategy
from treasury.store import MemoryStore
from treasury_simulations.driver import Check, Driver, Progress
from treasury_simulations.market import MarketTrace
from treasury_simulations.record import RunRecord
from treasury_simulations.recorder import Recorder
from treasury_simulations.scenario import Scenario
from treasury_simulations.world import World

# Values made between two looks of the garbage collector.
_COLLECT_EVERY = 200_000


def simulate(
    scenario: Scenario,
    strategy: Strategy,
    *,
    store: Store | None = None,
    progress: Progress | None = None,
    checks: Sequence[Check] = (),
) -> RunRecord:
    """Replay a scenario through the production engine with one strategy.

    store: where the journal goes; without one its hash alone is kept. progress: called with
    (done, total) about a thousand times. checks: look on and raise InvariantBroken at the first
    turn that is wrong. Raises TraceError for a trace that cannot be read, StoreError for a turn
    that cannot be committed: nothing of that turn has reached the world.
    """
    began = perf_counter()
    trace, name = market_of(scenario)
    world = World(trace, scenario.markets, scenario.jobs, scenario.seed)
    recorder = Recorder(world, scenario.jobs)
    driver = Driver(
        world,
        strategy,
        MemoryStore(keep=False) if store is None else store,
        recorder.see,
        checks,
        progress,
    )
    start, end = _span(trace, world, scenario)
    with _seldom_collected():
        last = driver.run(scenario.settings, scenario.budgets, scenario.jobs, start, end)
    return recorder.record(
        strategy=strategy.name,
        seed=scenario.seed,
        trace=name,
        span=(start, last),
        journal_hash=driver.journal_hash,
        wall_seconds=perf_counter() - began,
        strategy_errors=driver.strategy_errors,
    )


def market_of(scenario: Scenario) -> tuple[MarketTrace, str]:
    """The scenario's market and its name: a trace file, a bundled trace, or a market in memory put
    in the place of a file's path."""
    given: Any = scenario.trace
    if isinstance(given, str):
        from treasury_simulations.traces import open_trace

        return cast(MarketTrace, open_trace(given)), given
    return given, str(getattr(given, "name", "in memory"))


@contextmanager
def _seldom_collected() -> Iterator[None]:
    """A replay makes many values and next to no cycles: at its usual pace the collector would take
    a fifth of the time to find nothing."""
    before = gc.get_threshold()
    gc.set_threshold(_COLLECT_EVERY, *before[1:])
    try:
        yield
    finally:
        gc.set_threshold(*before)


def _span(trace: MarketTrace, world: World, scenario: Scenario) -> tuple[int, int]:
    """First and last instant [ns] of the replay: the trace's, or where it names none its first row
    and never."""
    header = getattr(trace, "header", None)
    if header is not None:
        return header.start, header.end
    first = min(world.next_at, *(spec.submitted_at for spec in scenario.jobs[:1]), NEVER)
    return first, getattr(trace, "end", NEVER)
