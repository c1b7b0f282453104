"""Statements, exports and bills on spending drawn at random: always the ledger's own figures."""

import csv
import io
from decimal import Decimal

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.spending import BUDGETS, START, end_job, expenses, start_job
from tests.support.table import A, B, Table
from treasury.domain import events as e
from treasury.domain.job import JobState
from treasury.domain.money import MICRO
from treasury.domain.time import HOUR, MINUTE, SECOND
from treasury.finops.bills import BillRow
from treasury.finops.focus import focus_table
from treasury.finops.leases import Leases
from treasury.finops.plaintext import journal
from treasury.finops.postings import transactions
from treasury.finops.reconcile import reconcile
from treasury.finops.statements import Grouping, statement

# What may happen next: time passes, a price moves, a job starts, a job ends, a machine is lost.
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("wait"), st.integers(1, 3 * HOUR)),
        st.tuples(st.just("quote"), st.integers(10_000_000, 2_900_000_000)),
        st.tuples(st.just("start"), st.sampled_from(["red", "blue"])),
        st.tuples(st.just("end"), st.integers(0, 90 * SECOND)),
        st.tuples(st.just("lose"), st.integers(0, 10 * MINUTE)),
    ),
    min_size=6,
    max_size=25,
)


def drive(steps: list[tuple[str, object]]) -> Table:
    """Spending by these steps; what cannot happen then is left out."""
    table = Table(0, *BUDGETS, now=START)
    running: list[tuple[str, int]] = []
    for number, (what, value) in enumerate(steps):
        running = [(job, lease) for job, lease in running if _runs(table, job)]
        if what == "wait":
            table.turn(e.Wake(), at=table.now + int(str(value)))
        elif what == "quote":
            table.quote((A, B)[number % 2], int(str(value)))
        elif what == "start" and table.book.level(str(value)).available > 20 * MICRO:
            name = f"job-{number}"
            lease = start_job(table, name, str(value), (A, B)[number % 2], kind=f"k{number % 3}")
            running.append((name, lease))
        elif what == "end" and running:
            end_job(table, *running.pop(), later=int(str(value)))
        elif what == "lose" and running:
            _, lease = running.pop()
            table.turn(e.MachineLost(lease, table.now + int(str(value)), "gone"))
    return table


def _runs(table: Table, job: str) -> bool:
    return job in table.book.jobs and table.book.jobs[job].state is JobState.RUNNING


@settings(max_examples=100)
@given(STEPS)
def test_statements_and_exports_are_the_ledger(steps: list[tuple[str, object]]) -> None:
    """By every grouping the total is the expense accounts'; FOCUS rows are their balances; every
    exported transaction adds up to zero and leaves what the accounts have available."""
    table = drive(steps)
    accounts = expenses(table)
    total = sum(accounts.values())
    for grouping in Grouping:
        lines = statement(table.entries, (grouping,), label="kind")
        assert sum(line.amount for line in lines) == total
    billed: dict[tuple[str, str], Decimal] = {}
    for row in csv.DictReader(io.StringIO("".join(focus_table(table.entries)))):
        key = row["SubAccountId"], row["ProviderName"]
        billed[key] = billed.get(key, Decimal(0)) + Decimal(row["BilledCost"])
        quantity = Decimal(row["PricingQuantity"])
        assert Decimal(row["ContractedUnitPrice"]) * quantity == Decimal(row["ContractedCost"])
        assert Decimal(row["ListUnitPrice"]) * quantity == Decimal(row["ListCost"])
        assert row["ChargePeriodStart"] < row["ChargePeriodEnd"]
    assert billed == {key: Decimal(amount).scaleb(-6) for key, amount in accounts.items()}
    left: dict[str, int] = {}
    for item in transactions(table.entries):
        assert sum(posting.amount for posting in item.postings) == 0
        for posting in item.postings:
            left[posting.account] = left.get(posting.account, 0) + posting.amount
    for path, account in table.book.ledger.accounts.items():
        if path.startswith("assets:"):
            assert left.get(path, 0) == account.available
    assert "".join(journal(table.entries)).count(" * (") == sum(
        1 for _ in transactions(table.entries)
    )


AMOUNTS = st.decimals(min_value=-5, max_value=50, places=9, allow_nan=False, allow_infinity=False)


@settings(max_examples=100)
@given(STEPS, st.lists(st.lists(AMOUNTS, max_size=4), min_size=1, max_size=4))
def test_charges_and_adjustments_are_the_bill(
    steps: list[tuple[str, object]], imports: list[list[Decimal]]
) -> None:
    """Whatever a bill's lines say, split over whatever imports, some of them repeated or restated:
    a lease that is billed over its whole time costs what its lines add up to, rounded once."""
    table = drive(steps)
    index = Leases(table.entries, START, table.now + HOUR)
    over = [life for life in index.by_lease.values() if life.ended_at <= table.now]
    if not over:
        return
    life = over[0]
    latest: dict[str, Decimal] = {}
    for number, amounts in enumerate(imports):
        rows = []
        for place, amount in enumerate(amounts):
            # Keys come again with other amounts in later imports.
            key = f"k{(number + place) % 5}"
            latest[key] = amount
            rows = [row for row in rows if row.key != key]
            rows.append(_row(key, amount, life.granted_at, life.ended_at + 1, life.machine))
        for _ in range(2):
            leases = Leases(table.entries, START, table.now + HOUR)
            found = reconcile(rows, leases)
            first = table.book.bills + 1
            table.turn(
                *(e.BookBill(first + i, part, "x") for i, part in enumerate(found.parts)),
                at=table.now + SECOND,
            )
            explained = sum(amount for _, amount in found.causes.values())
            assert explained == found.difference
        assert found.difference == 0
    spent = statement(table.entries, (Grouping.JOB,))
    before = statement([x for x in table.entries if not _bills(x)], (Grouping.JOB,))
    added = sum(line.amount for line in spent) - sum(line.amount for line in before)
    if latest:
        total = int((sum(latest.values()) * MICRO).to_integral_value())
        assert life.charge + added == total
    table.check()


def _bills(entry: object) -> bool:
    return any(isinstance(fact, e.BillBooked) for fact in entry.facts)  # type: ignore[attr-defined]


def _row(key: str, amount: Decimal, start: int, end: int, machine: str) -> BillRow:
    return BillRow(1, key, amount, start, end, "aws", machine, "usage", None, "", {})
