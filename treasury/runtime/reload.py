"""A configuration that changes while the daemon runs: read, compared, taken whole or not at all."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

import msgspec

from treasury.domain.budget import Budget
from treasury.domain.errors import ConfigError, UserError
from treasury.domain.events import Configure, Discrepancy
from treasury.domain.ids import CostCentre
from treasury.domain.money import format_money, format_rate
from treasury.domain.settings import EngineSettings
from treasury.domain.time import SECOND, format_duration
from treasury.ports import Clock, Offload, Strategy
from treasury.runtime.agent import Agent
from treasury.runtime.observer import Observer
from treasury.runtime.planner import Planner

# How often the file is looked at.
LOOK: Final = 2 * SECOND

_MONEY: Final = ("amount", "job_cap", "day_cap", "reserve", "approve_above", "borrow")
_RATES: Final = ("burn_cap", "ceiling")
_COUNTS: Final = ("quote_jump", "origin")


class Wanted(msgspec.Struct, frozen=True):
    """What a configuration asks of a daemon. strategy: its name and parameters as text, the same
    for the same strategy; make_strategy: a new one. fixed: what only a restart can change, as text
    by key."""

    file: str
    settings: EngineSettings
    budgets: tuple[Budget, ...]
    strategy: str
    make_strategy: Callable[[], Strategy]
    fixed: Mapping[str, str] = {}


def differences(old: Wanted, new: Wanted) -> tuple[str, ...]:
    """What changes, one line a change, in the words of the configuration."""
    return (
        *_fields("engine", old.settings, new.settings),
        *_budgets(old.budgets, new.budgets),
        *([] if old.strategy == new.strategy else [f"strategy: {old.strategy} -> {new.strategy}"]),
        *[
            f"{key}: needs a restart"
            for key in sorted(old.fixed.keys() | new.fixed.keys())
            if old.fixed.get(key) != new.fixed.get(key)
        ],
    )


def _budgets(old: tuple[Budget, ...], new: tuple[Budget, ...]) -> Iterator[str]:
    before: dict[CostCentre, Budget] = {budget.cost_centre: budget for budget in old}
    after = {budget.cost_centre: budget for budget in new}
    for centre, budget in after.items():
        if centre not in before:
            yield f"budget {centre}: added, {format_money(budget.amount)} {budget.period.value}"
        else:
            yield from _fields(f"budget {centre}", before[centre], budget)
    for centre in before:
        if centre not in after:
            yield f"budget {centre}: removed"


def _fields(what: str, old: msgspec.Struct, new: msgspec.Struct) -> Iterator[str]:
    for name in old.__struct_fields__:
        before, after = getattr(old, name), getattr(new, name)
        if before != after:
            yield f"{what}.{name}: {_text(name, before)} -> {_text(name, after)}"


def _text(name: str, value: Any) -> str:
    if name in _MONEY:
        return format_money(value)
    if name in _RATES:
        return format_rate(value)
    if type(value) is int and name not in _COUNTS and abs(value) >= SECOND:
        return format_duration(value)
    return str(getattr(value, "value", value))


class Reloader:
    """wanted: what is in force. read: the configuration as it is now, blocking; raises UserError.
    fingerprint: changes when the file does, blocking."""

    def __init__(
        self,
        wanted: Wanted,
        read: Callable[[], Wanted],
        fingerprint: Callable[[], object],
        agent: Agent,
        planner: Planner,
        clock: Clock,
        offload: Offload,
        observer: Observer,
    ) -> None:
        self.wanted = wanted
        self._read, self._fingerprint = read, fingerprint
        self._agent, self._planner, self._clock = agent, planner, clock
        self._offload, self._observer = offload, observer

    async def run(self) -> None:
        """Take the file's changes until cancelled; a file with a mistake changes nothing."""
        seen = await self._offload.run(self._fingerprint)
        while True:
            await self._clock.sleep_until(self._clock.now() + LOOK)
            found = await self._offload.run(self._fingerprint)
            if found == seen:
                continue
            seen = found
            try:
                await self.reload()
            except UserError:
                # Reported already; the old configuration stands.
                continue

    async def reload(self) -> tuple[str, ...]:
        """Take the configuration as it is now: what changed, one line a change. Raises UserError
        and changes nothing when it has a mistake or would orphan money that is held."""
        try:
            wanted = await self._offload.run(self._read)
            changes = await self._take(wanted)
        except UserError as error:
            self._observer.reload_failed(error)
            raise
        if changes:
            self._observer.reloaded(changes)
        return changes

    async def _take(self, wanted: Wanted) -> tuple[str, ...]:
        old = self.wanted
        if wanted.settings.installation != old.settings.installation:
            raise ConfigError(
                wanted.file,
                "engine.installation",
                f'"{wanted.settings.installation}" is not "{old.settings.installation}": machines '
                "carry the old name; it cannot change while the daemon runs",
            )
        changes = differences(old, wanted)
        strategy = wanted.make_strategy() if wanted.strategy != old.strategy else None
        await configure(self._agent, wanted)
        if strategy is not None:
            self._planner.exchange(strategy)
        self.wanted = wanted
        return changes


async def configure(agent: Agent, wanted: Wanted) -> None:
    """Have the book take settings and budgets, where they differ from its own. Raises ConfigError
    when it refuses."""
    book = agent.book
    held = tuple(record.budget for record in book.budgets.values())
    if (book.settings, held) == (wanted.settings, wanted.budgets):
        return
    entry = await agent.submit(Configure(wanted.settings, wanted.budgets))
    for fact in entry.facts:
        if isinstance(fact, Discrepancy) and fact.what.startswith("configuration refused"):
            raise ConfigError(wanted.file, "budget", fact.what)
