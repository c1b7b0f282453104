"""What no section can know alone: references, duplicates, cycles and settings that contradict."""

from collections.abc import Iterable, Iterator
from importlib.metadata import entry_points
from typing import Final

from treasury.config.decode import Problem
from treasury.config.sections import (
    BudgetSection,
    EngineSection,
    FileSection,
    JobSection,
    MarketTables,
)
from treasury.config.units import When, read_name
from treasury.domain.budget import Period
from treasury.domain.errors import BadValue, did_you_mean
from treasury.domain.money import format_money
from treasury.domain.time import NEVER, SECOND, format_duration, format_instant

# Addresses that only this machine reaches.
LOOPBACK: Final = ("127.0.0.1", "::1", "localhost")
MIN_LEASE: Final = 5 * SECOND
# The kind of provider that a trace plays.
SIMULATED: Final = "simulated"
# Where adapters of real markets are registered.
_ADAPTERS: Final = "treasury.providers"


def check(file: FileSection, markets: MarketTables) -> list[Problem]:
    """Every contradiction of a file whose sections are sound by themselves."""
    providers = (*file.provider, *markets.provider)
    return [
        *_check_engine(file.engine),
        *_check_names("provider", providers),
        *_check_names("strategy", file.strategy),
        *_check_markets(markets),
        *_check_daemon(file),
        *_check_strategies(file),
        *_check_budgets(file, providers),
        *_check_simulation(file),
        *_check_jobs(file, providers),
    ]


def _check_engine(engine: EngineSection) -> Iterator[Problem]:
    if engine.horizon < engine.accrual:
        held, metered = format_duration(engine.horizon), format_duration(engine.accrual)
        yield Problem(
            "engine.horizon",
            f"{held} is shorter than engine.accrual ({metered}): money would run out between two "
            "meterings",
        )


def _check_names(section: str, names: Iterable[str]) -> Iterator[Problem]:
    """Keys that become parts of accounts, columns and file names."""
    for name in names:
        try:
            read_name(name)
        except BadValue as error:
            yield Problem(section, str(error))


def _check_markets(markets: MarketTables) -> Iterator[Problem]:
    """What adapters there are is asked only where one is wanted: it takes a moment."""
    known: tuple[str, ...] = ()
    for name, table in markets.provider.items():
        kind = table["kind"]
        known = known or (SIMULATED, *(entry.name for entry in entry_points(group=_ADAPTERS)))
        if kind not in known:
            near = did_you_mean(str(kind), known)
            yield Problem(f"provider.{name}.kind", f'"{kind}" is no kind; {near}')


def _check_daemon(file: FileSection) -> Iterator[Problem]:
    """Whoever reaches the daemon from elsewhere does so through TLS or not at all."""
    bus, api = file.bus, file.api
    if bus.embedded and bus.host not in LOOPBACK:
        yield Problem(
            "bus.host",
            f'"{bus.host}" lets others in, and the embedded broker does not encrypt: stay at '
            '"127.0.0.1", or run Mosquitto and say "embedded = false"',
        )
    if bus.embedded and (bus.tls or not bus.port):
        key = "tls" if bus.tls else "port"
        yield Problem(f"bus.{key}", "the embedded broker has no TLS and needs a port of its own")
    if bus.ca and not bus.tls:
        yield Problem("bus.ca", 'says whose certificates are believed: it needs "tls = true"')
    if api.host not in LOOPBACK and not api.exposed:
        yield Problem(
            "api.host",
            f'"{api.host}" lets others in, and the API is not encrypted: stay at "127.0.0.1" '
            'behind a proxy that has TLS, or say "exposed = true"',
        )
    if file.daemon.lease < MIN_LEASE:
        yield Problem(
            "daemon.lease",
            f"{format_duration(file.daemon.lease)} is too short to be renewed three times in: "
            f"expected at least {format_duration(MIN_LEASE)}",
        )


def _check_strategies(file: FileSection) -> Iterator[Problem]:
    for name, table in file.strategy.items():
        kind = table.get("kind", name)
        if not isinstance(kind, str):
            text = f"{kind!r} cannot be used: expected the name of a strategy, in quotes"
            yield Problem(f"strategy.{name}.kind", text)


def _references(path: str, names: Iterable[str], known: Iterable[str], what: str) -> list[Problem]:
    """A problem for each name that is not known."""
    known = tuple(known)
    return [
        Problem(path, f'"{name}" is no {what} of this file; {did_you_mean(name, known)}')
        for name in names
        if name not in known
    ]


def _duplicates(section: str, key: str, names: Iterable[str]) -> Iterator[Problem]:
    first: dict[str, int] = {}
    for index, name in enumerate(names):
        if name in first:
            path = f"{section}[{index}].{key}"
            yield Problem(path, f'"{name}" is taken by {section}[{first[name]}] already')
        first.setdefault(name, index)


def _check_budgets(file: FileSection, providers: tuple[str, ...]) -> Iterator[Problem]:
    names = tuple(budget.cost_centre for budget in file.budget)
    yield from _duplicates("budget", "cost_centre", names)
    for index, budget in enumerate(file.budget):
        path = f"budget[{index}]"
        if budget.parent:
            yield from _references(f"{path}.parent", [budget.parent], names, "cost centre")
        yield from _references(f"{path}.providers", budget.providers, providers, "[provider.NAME]")
        if budget.reserve > budget.amount:
            yield Problem(
                f"{path}.reserve",
                f"{format_money(budget.reserve)} is more than the whole amount "
                f"({format_money(budget.amount)})",
            )
        if budget.borrow and not budget.parent:
            text = "there are no siblings to borrow from without a parent"
            yield Problem(f"{path}.borrow", text)
        yield from _check_period(budget, path)
    yield from _cycles(file.budget)


# Which periods a key says something about; elsewhere it would be ignored without a word.
_CALENDAR = (Period.DAY, Period.WEEK, Period.MONTH)
_PERIOD_KEYS = {
    "window": (Period.ROLLING,),
    "starts_at": (Period.FIXED,),
    "ends_at": (Period.FIXED,),
    "carry": _CALENDAR,
    "front_load": (*_CALENDAR, Period.FIXED),
}


def _check_period(budget: BudgetSection, path: str) -> Iterator[Problem]:
    for key, periods in _PERIOD_KEYS.items():
        given = bool(getattr(budget, key))
        if given and budget.period not in periods:
            named = " or ".join(f'"{period.value}"' for period in periods)
            yield Problem(f"{path}.{key}", f"needs a period of {named}")
    if budget.period is Period.ROLLING and not budget.window:
        yield Problem(f"{path}.window", 'is missing: how long is the rolling period, "30d"?')
    if budget.period is Period.FIXED:
        starts, ends = budget.starts_at, budget.ends_at
        if starts is None or ends is None:
            yield Problem(path, 'a fixed period needs "starts_at" and "ends_at"')
        elif starts.relative or ends.relative:
            yield Problem(path, "a fixed period needs instants, not offsets")
        elif too_far := [*_far(f"{path}.starts_at", starts), *_far(f"{path}.ends_at", ends)]:
            yield from too_far
        elif ends.ns <= starts.ns:
            yield Problem(
                f"{path}.ends_at",
                f"{format_instant(ends.ns)} is not after its start at {format_instant(starts.ns)}",
            )


def _cycles(budgets: tuple[BudgetSection, ...]) -> Iterator[Problem]:
    """One problem for each ring of parents, at its first member."""
    parents = {budget.cost_centre: budget.parent for budget in budgets}
    seen: set[str] = set()
    for index, budget in enumerate(budgets):
        trail: list[str] = []
        name = budget.cost_centre
        while name in parents and name not in trail and name not in seen:
            trail.append(name)
            name = parents[name]
        if name in trail:
            ring = " -> ".join([*trail[trail.index(name) :], name])
            yield Problem(f"budget[{index}].parent", f"cost centres go round in a circle: {ring}")
        seen.update(trail)


def _check_simulation(file: FileSection) -> Iterator[Problem]:
    simulation = file.simulation
    names = tuple(budget.cost_centre for budget in file.budget)
    for group, centre in simulation.demand.cost_centres.items():
        key = group if group.isidentifier() else f'"{group}"'
        path = f"simulation.demand.cost_centres.{key}"
        yield from _references(path, [centre], names, "cost centre")
    yield from _duplicates("simulation.strategies", "name", simulation.strategies)


def _check_jobs(file: FileSection, providers: tuple[str, ...]) -> Iterator[Problem]:
    names = tuple(budget.cost_centre for budget in file.budget)
    yield from _duplicates("job", "id", (job.id for job in file.job))
    for index, job in enumerate(file.job):
        path = f"job[{index}]"
        yield from _references(f"{path}.cost_centre", [job.cost_centre], names, "cost centre")
        yield from _references(f"{path}.providers", job.providers, providers, "[provider.NAME]")
        if bool(job.gpu) == bool(job.throughput):
            yield Problem(
                path, 'needs either "gpu" (one model) or "throughput" (several, with their speeds)'
            )
        yield from _check_deadline(job, path)


def _far(path: str, when: When | None) -> Iterator[Problem]:
    """An instant that no journal can keep: instants are counted in 64 bits."""
    if when is not None and not when.relative and not 0 <= when.ns < NEVER:
        yield Problem(path, "expected an instant from 1970 to 2116")


def _check_deadline(job: JobSection, path: str) -> Iterator[Problem]:
    """A deadline that can be compared with the submission already has to come after it."""
    deadline, submission = job.deadline, job.submit_at
    too_far = [*_far(f"{path}.submit_at", submission), *_far(f"{path}.deadline", deadline)]
    if too_far:
        yield from too_far
        return
    if deadline is None:
        return
    if deadline.relative and deadline.ns == 0:
        yield Problem(f"{path}.deadline", '"+0s" leaves no time: expected an offset above 0')
    if not deadline.relative and not submission.relative and deadline.ns <= submission.ns:
        yield Problem(
            f"{path}.deadline",
            f"{format_instant(deadline.ns)} is not after the submission at "
            f"{format_instant(submission.ns)}",
        )
