"""The checkers bite: each finds the fault that was planted for it, in an otherwise sound replay."""

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from tests.support.plans import Scripted, cheapest
from tests.support.worlds import MemoryTrace, job, pool, scenario
from treasury.domain import events as e
from treasury.domain.commands import Release
from treasury.domain.errors import InvariantBroken
from treasury.domain.money import MICRO, NANO
from treasury.domain.time import HOUR
from treasury.domain.transfer import Transfer, TransferKind
from treasury.domain.turn import Entry
from treasury.engine import Book
from treasury_simulations.checked_books import BooksBalance
from treasury_simulations.checkers import (
    HeldWhileBilled,
    LegalMoves,
    MeterAgrees,
    OnlyApproved,
    PlacedOnce,
    ReplayAgrees,
    all_checks,
)
from treasury_simulations.driver import Check
from treasury_simulations.simulate import simulate
from treasury_simulations.world import World

Change = Callable[[Entry], Entry]


class Tampered:
    """Shows a check other turns than were committed."""

    def __init__(self, check: Check, change: Change) -> None:
        self.check, self.change = check, change

    def begin(self, world: World, book: Book) -> None:
        self.check.begin(world, book)

    def see(self, entry: Entry) -> None:
        self.check.see(self.change(entry))

    def finish(self) -> None:
        self.check.finish()


def sound(*checks: Check) -> None:
    """A job that is interrupted once, migrates never, and ends well."""
    rows = ((0, 0, NANO, 1), (2 * HOUR, 0, NANO, 0), (3 * HOUR, 0, NANO, 1))
    given = scenario(MemoryTrace((pool(),), rows), job(work=4 * HOUR))
    record = simulate(given, Scripted(cheapest), checks=checks)
    assert (record.jobs[0].state, record.waste.paid) == ("finished", 4 * MICRO)


def transfers(change: Callable[[Transfer], Transfer | None]) -> Change:
    """Every transfer changed, or left out where the change is None."""

    def changed(entry: Entry) -> Entry:
        made = tuple(t for t in map(change, entry.transfers) if t is not None)
        return msgspec.structs.replace(entry, transfers=made)

    return changed


def facts(change: Callable[[Any], tuple[Any, ...]]) -> Change:
    """Every fact replaced by any number of others."""

    def changed(entry: Entry) -> Entry:
        made = tuple(fact for old in entry.facts for fact in change(old))
        return msgspec.structs.replace(entry, facts=made)

    return changed


def amounts(kind: TransferKind, by: int) -> Change:
    """Transfers of a kind with another amount."""
    return transfers(
        lambda t: msgspec.structs.replace(t, amount=t.amount + by) if t.kind is kind else t
    )


def without(kind: TransferKind) -> Change:
    """No transfers of a kind."""
    return transfers(lambda t: None if t.kind is kind else t)


def dropped(kind: type) -> Change:
    """No facts of a kind."""
    return facts(lambda fact: () if isinstance(fact, kind) else (fact,))


def doubled(kind: type) -> Change:
    """Each fact of a kind twice."""
    return facts(lambda fact: (fact, fact) if isinstance(fact, kind) else (fact,))


def _charged_ahead(fact: Any) -> tuple[Any, ...]:
    if isinstance(fact, e.LeaseMetered) and fact.holds and fact.charge:
        return (msgspec.structs.replace(fact, charge=fact.charge + 1),)
    return (fact,)


def _settled_early(fact: Any) -> tuple[Any, ...]:
    if isinstance(fact, e.LeaseReady):
        return (fact, e.LeaseEnded(fact.lease, fact.at, lost=False, cause="planted"))
    return (fact,)


def _unapproved(entry: Entry) -> Entry:
    return msgspec.structs.replace(entry, commands=tuple(a.command for a in entry.commands))


def _silent(entry: Entry) -> Entry:
    return msgspec.structs.replace(entry, commands=())


FAULTS: list[tuple[Check, Change, str]] = [
    (BooksBalance(1), amounts(TransferKind.POST, 100 * MICRO), "takes more than"),
    (BooksBalance(1), amounts(TransferKind.HOLD, 20_000 * MICRO), "overdraws"),
    (BooksBalance(1), amounts(TransferKind.DIRECT, 1), "not what the transfers say"),
    (BooksBalance(1), amounts(TransferKind.DIRECT, -(10**15)), "moves nothing"),
    (BooksBalance(1), without(TransferKind.HOLD), "not what the transfers say"),
    (BooksBalance(10**9), without(TransferKind.HOLD), "resolves no open hold"),
    (BooksBalance(10**9), without(TransferKind.POST), "not what the transfers say"),
    (MeterAgrees(), amounts(TransferKind.POST, -1), "posted .* the bill is"),
    (MeterAgrees(), facts(_charged_ahead), "was charged"),
    (MeterAgrees(), facts(_settled_early), "settled while the market bills it"),
    (MeterAgrees(), dropped(e.LeaseEnded), "never ended"),
    (PlacedOnce(), doubled(e.PlacementOpened), "besides"),
    (PlacedOnce(), dropped(e.PlacementClosed), "besides"),
    (HeldWhileBilled(1), without(TransferKind.HOLD), "nothing is held for it"),
    (HeldWhileBilled(10**9), without(TransferKind.POST), "held at the end"),
    (OnlyApproved(), _unapproved, "was not approved"),
    (OnlyApproved(), _silent, "the world received"),
    (LegalMoves(), dropped(e.JobRequeued), "j went from running to acquiring"),
    (LegalMoves(), doubled(e.LeaseReady), "lease 1 went from ready to ready"),
    (LegalMoves(), dropped(e.JobEnded), "not over at the end"),
    (LegalMoves(), doubled(e.JobQueued), "queued twice"),
    (ReplayAgrees(1), dropped(e.Quoted), "rebuilds another book"),
]


@pytest.mark.parametrize(("check", "change", "found"), FAULTS)
def test_a_planted_fault_is_found(check: Check, change: Change, found: str) -> None:
    """The check that is meant for it stops the replay and says what is wrong."""
    with pytest.raises(InvariantBroken, match=found):
        sound(Tampered(check, change))


def test_the_sound_replay_passes_all_checks() -> None:
    """Nothing is found where nothing was planted, looked at every turn or now and then."""
    sound(*all_checks())
    sound(*all_checks(every=7))


def test_a_command_from_nowhere_is_found() -> None:
    """A release that no turn approved, sent behind the engine's back, stops the replay."""

    class Rogue:
        def begin(self, world: World, book: Book) -> None:
            del book
            self.world = world

        def see(self, entry: Entry) -> None:
            if entry.seq == 5:
                self.world.execute(Release("aws", 77), entry.at)

        def finish(self) -> None:
            pass

    with pytest.raises(InvariantBroken, match="the world received"):
        sound(Rogue(), OnlyApproved())
