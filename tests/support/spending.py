"""A month of spending on two markets' machines, for tests of statements, exports and bills."""

from pathlib import Path

from tests.support.table import A, B, Table
from treasury.domain import events as e
from treasury.domain.budget import Budget, Period
from treasury.domain.commands import Acquire
from treasury.domain.job import JobSpec, Requirement
from treasury.domain.money import MICRO, NANO
from treasury.domain.plan import Place
from treasury.domain.time import HOUR, MINUTE, SECOND, parse_instant
from treasury.store import SqlStore

START = parse_instant("2026-03-02T12:00:00Z")
BUDGETS = (
    Budget(cost_centre="org", amount=1_000 * MICRO, period=Period.MONTH),
    Budget(cost_centre="red", parent="org", amount=200 * MICRO, period=Period.MONTH),
    Budget(cost_centre="blue", parent="org", amount=300 * MICRO, period=Period.MONTH),
)


def start_job(table: Table, name: str, centre: str, offer=A, **labels: str) -> int:
    """A job with labels on one machine of an offer, from the next minute on; its lease."""
    table.now = -(-table.now // MINUTE) * MINUTE
    spec = JobSpec(
        id=name,
        cost_centre=centre,
        requirement=Requirement({"V100": 1000}),
        work=1_000 * HOUR,
        submitted_at=table.now,
        labels=labels,
    )
    table.turn(e.SubmitJob(spec))
    table.plan(Place(name, offer.id, 3 * NANO))
    lease = next(c for c in table.commands if isinstance(c, Acquire)).leases[0]
    table.grant(table.book.offers[offer.id].rate)
    table.begin()
    return lease


def end_job(table: Table, name: str, lease: int, *, later: int = 30 * SECOND) -> None:
    """The job is done and its machine goes back `later` ns after that."""
    table.turn(e.WorkEnded(name, table.book.jobs[name].placement, table.now))
    table.turn(e.MachineReleased(lease, table.now + later), at=table.now + later)


def wait(table: Table, hours: int) -> None:
    """Hours pass, metered one by one."""
    for _ in range(hours):
        table.turn(e.Wake(), at=table.now + HOUR)


def month(*, ends: bool = True) -> Table:
    """Three jobs: two of red on spot machines, one of blue; prices move; the last goes on where
    `ends` is False."""
    table = Table(0, *BUDGETS, now=START)
    first = start_job(table, "train", "red", A, team="vision", stage="dev")
    wait(table, 5)
    table.quote(A, NANO + 1_000_003)
    second = start_job(table, "tune", "blue", B, team="speech")
    wait(table, 3)
    table.turn(e.Wake(), at=table.now + 17 * MINUTE + 1_234_567)
    end_job(table, "train", first)
    third = start_job(table, "serve", "red", A, team="vision")
    wait(table, 30)
    end_job(table, "tune", second)
    if ends:
        end_job(table, "serve", third, later=11 * MINUTE)
    return table


def keep(table: Table, path: Path) -> Path:
    """A database of a table's journal."""
    store = SqlStore.open(path, durable=False)
    for entry in table.entries:
        store.append(entry)
    store.close()
    return path


def expenses(table: Table) -> dict[tuple[str, str], int]:
    """What the expense accounts hold, by cost centre and provider, adjustments included."""
    found: dict[tuple[str, str], int] = {}
    for path, account in table.book.ledger.accounts.items():
        if path.startswith("expenses:") and account.balance:
            _, _, centre, provider = path.split(":")
            found[centre, provider] = found.get((centre, provider), 0) + account.balance
    return found


__all__ = ["BUDGETS", "START", "end_job", "expenses", "keep", "month", "start_job", "wait"]
