"""Bills beside the books: lines find their leases, differences are booked once and explained."""

import gzip
import json
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tests.support.spending import START, expenses, month
from tests.support.table import Table
from treasury.domain import events as e
from treasury.domain.money import MICRO
from treasury.domain.time import DAY, HOUR, MINUTE, format_instant
from treasury.engine.billing import VARIANCE
from treasury.finops.bills import read_bill
from treasury.finops.leases import LeaseLife, Leases
from treasury.finops.reconcile import Findings, reconcile

SAMPLE = Path(__file__).parent.parent / "data" / "focus_sample.csv"
HEAD = "id,amount,start,end,provider,resource,category,hours,owner,lease,token,cost_centre"


def bill(folder: Path, *lines: str, head: str = HEAD) -> Path:
    """A plain CSV bill."""
    path = folder / "bill.csv"
    path.write_text("\n".join((head, *lines)) + "\n", encoding="utf-8")
    return path


def line(life: LeaseLife, amount: object, *, hours: object = "", **cells: object) -> str:
    """A line of usage over a lease's whole time."""
    values = {
        "amount": amount,
        "start": format_instant(life.granted_at),
        "end": format_instant(life.ended_at + 999_999_999),
        "provider": "aws",
        "resource": life.machine,
        "hours": hours,
    } | cells
    return ",".join(str(values.get(name, "")) for name in HEAD.split(","))


def lives(table: Table) -> dict[int, LeaseLife]:
    """Every lease of a journal."""
    return Leases(table.entries, START, table.now).by_lease


def held_against(table: Table, path: Path, kind: str = "csv", **how: Any) -> Findings:
    """A bill beside a journal, and booked."""
    columns = how.pop("columns", None)
    rows = list(read_bill(kind, path, columns=columns))
    leases = Leases(table.entries, min(r.start for r in rows), max(r.end for r in rows))
    found = reconcile(rows, leases, **how)
    first = table.book.bills + 1
    inputs = [e.BookBill(first + i, part, "ann") for i, part in enumerate(found.parts)]
    table.turn(*inputs, at=table.now + DAY)
    table.check()
    return found


def usd(micros: int) -> str:
    """Decimal text of an amount."""
    return f"{Decimal(micros).scaleb(-6):f}"


def adjusted(table: Table) -> int:
    """What all adjustments come to, as the variance account says."""
    return -table.book.ledger.account(VARIANCE).balance


def test_a_bill_that_agrees_books_nothing(tmp_path: Path) -> None:
    """Every lease billed as charged: lines are recorded, no transfer is made."""
    table = month()
    known = lives(table)
    path = bill(tmp_path, *(line(life, usd(life.charge)) for life in known.values()))
    before = expenses(table)
    found = held_against(table, path)
    assert (found.difference, found.causes, found.missing, found.unmatched) == (0, {}, [], [])
    assert found.billed == found.booked == sum(life.charge for life in known.values())
    assert expenses(table) == before
    assert len(table.facts(e.BillBooked)) == 3


def test_what_differs_is_booked_once_and_adds_up(tmp_path: Path) -> None:
    """After the import charge and adjustment are the bill; importing again adds nothing."""
    table = month()
    known = lives(table)
    path = bill(tmp_path, line(known[1], "9.5"), line(known[2], "66"), line(known[3], "30.25"))
    found = held_against(table, path)
    assert found.difference == adjusted(table) != 0
    assert sum(expenses(table).values()) == 105_750_000
    assert expenses(table)["blue", "aws"] == 66 * MICRO
    again = held_against(table, path)
    assert (again.parts, again.repeated, again.difference) == ([], 3, 0)
    assert sum(expenses(table).values()) == 105_750_000
    table.check()


def test_a_restated_line_books_what_it_changed(tmp_path: Path) -> None:
    """The same line with another amount replaces the earlier one."""
    table = month()
    life = lives(table)[1]
    held_against(table, bill(tmp_path, line(life, "9.5", id="x1")))
    found = held_against(table, bill(tmp_path, line(life, "9.7", id="x1")))
    assert (found.restated, found.difference) == (1, 200_000)
    more = held_against(table, bill(tmp_path, line(life, "0.3", id="x2", category="tax")))
    assert more.causes == {"tax": (1, 300_000)}
    total = life.charge + adjusted(table)
    assert total == 10 * MICRO


def test_fractions_of_a_micro_do_not_drift(tmp_path: Path) -> None:
    """A hundred lines of a third of a micro-dollar over several imports come to their exact sum."""
    table = month()
    life = lives(table)[1]
    lines = [line(life, "0.0000003", id=f"n{i}", category="fee") for i in range(100)]
    for first in range(0, 100, 10):
        held_against(table, bill(tmp_path, *lines[first : first + 10]))
    assert adjusted(table) == 30


def test_hours_steps_and_rates_are_told_apart(tmp_path: Path) -> None:
    """A bill by whole hours is a rounding step, more time is hours, another price is the rate; the
    causes add up to the difference."""
    table = month()
    known = lives(table)
    life = known[1]
    held = life.ended_at - life.granted_at
    whole = -(-held // HOUR)
    rate = Decimal(life.charge) * HOUR / (-(-held // MINUTE) * MINUTE) / MICRO
    stepped = held_against(table, bill(tmp_path, line(life, f"{rate * whole:.9f}", hours=whole)))
    assert set(stepped.causes) <= {"rounding step", "rate"}
    assert stepped.causes["rounding step"][1] > 30 * abs(stepped.causes.get("rate", (0, 0))[1])
    more = held_against(
        table, bill(tmp_path, line(known[2], usd(known[2].charge * 2), hours=Decimal("67.5")))
    )
    assert more.causes["hours"][1] > 0
    dearer = held_against(
        table, bill(tmp_path, line(known[3], usd(known[3].charge * 3), hours=_hours(known[3])))
    )
    assert dearer.causes["rate"][1] > known[3].charge
    for found in (stepped, more, dearer):
        assert sum(amount for _, amount in found.causes.values()) == found.difference


def _hours(life: LeaseLife) -> Decimal:
    return Decimal(-(-(life.ended_at - life.granted_at) // MINUTE)) / 60


def test_a_bill_up_to_a_months_end_is_held_against_that_part(tmp_path: Path) -> None:
    """Two bills that meet within a lease book nothing when each asks for its part."""
    table = month()
    life = lives(table)[1]
    cut = START + 4 * HOUR
    first = life.charged(cut)
    assert 0 < first < life.charge
    one = line(life, usd(first), id="a", end=format_instant(cut))
    two = line(life, usd(life.charge - first), id="b", start=format_instant(cut))
    assert held_against(table, bill(tmp_path, one)).difference == 0
    assert held_against(table, bill(tmp_path, two)).difference == 0
    assert adjusted(table) == 0


def test_a_bill_ahead_of_the_meter_is_set_right_later(tmp_path: Path) -> None:
    """A running machine billed further than it is metered: the next import books the rest back."""
    table = month(ends=False)
    life = lives(table)[3]
    until = table.now + HOUR
    assert life.ended_at > until
    rate = table.book.offers[life.offer].rate
    full = -(-rate * (until - life.granted_at) // (3_600 * 10**12))
    path = bill(tmp_path, line(life, usd(full), end=format_instant(until)))
    ahead = held_against(table, path)
    assert ahead.difference > 0
    table.turn(e.Wake(), at=table.now)
    held_against(table, path)
    assert abs(adjusted(table)) <= 1


@pytest.mark.parametrize(
    "cells",
    [
        {"resource": "", "lease": "lease-1", "owner": "treasury"},
        {"resource": "", "token": "TOKEN"},
        {"resource": "arn:aws:ec2:us-east-1:111122223333:instance/i-1"},
        {"resource": "/subscriptions/0/virtualMachines/i-1"},
        {"resource": "projects:i-1"},
    ],
)
def test_lines_find_their_lease(tmp_path: Path, cells: dict[str, str]) -> None:
    """By lease tag, by request token, or by the machine's name within a longer one."""
    table = month()
    life = lives(table)[1]
    if "token" in cells:
        cells = cells | {"token": life.token}
    found = held_against(table, bill(tmp_path, line(life, "20", **cells)))
    assert [part.lease for part in found.parts] == [1]


def test_a_machines_name_counts_within_its_time(tmp_path: Path) -> None:
    """The same name a month later is another machine; another installation's tag is not ours."""
    table = month()
    life = lives(table)[1]
    later = format_instant(life.ended_at + 2 * HOUR), format_instant(life.ended_at + 3 * HOUR)
    path = bill(
        tmp_path,
        line(life, "1", start=later[0], end=later[1]),
        line(life, "2", owner="somebody-else"),
    )
    found = held_against(table, path)
    assert (found.matched, len(found.unmatched), found.foreign) == (0, 1, 1)
    assert adjusted(table) == 0


def test_lines_without_a_lease_are_listed_or_paid(tmp_path: Path) -> None:
    """Nobody pays for what no lease answers to unless a centre is named, by option or by tag."""
    table = month()
    life = lives(table)[1]
    lines = [
        line(life, "3", resource="vol-1", id="v"),
        line(life, "4", resource="vol-2", id="w", cost_centre="blue"),
    ]
    listed = held_against(table, bill(tmp_path, *lines))
    assert [left.amount for left in listed.unmatched] == [3 * MICRO]
    paid = held_against(table, bill(tmp_path, *lines), unmatched="red")
    assert (paid.repeated, paid.difference) == (1, 3 * MICRO)
    assert paid.causes == {"unmatched line": (1, 3 * MICRO)}
    assert adjusted(table) == 7 * MICRO
    assert held_against(table, bill(tmp_path, *lines), unmatched="org").parts == []


def test_leases_that_are_not_on_the_bill(tmp_path: Path) -> None:
    """They are listed; a final bill makes them cost nothing; a late line brings the cost back."""
    table = month()
    known = lives(table)
    lines = [line(known[i], usd(known[i].charge), id=str(i)) for i in (2, 3)]
    lines.append(line(known[2], "0", id="z", start=format_instant(START)))
    listed = held_against(table, bill(tmp_path, *lines))
    assert [life.lease for life in listed.missing] == [1]
    assert adjusted(table) == 0
    final = held_against(table, bill(tmp_path, *lines), final=True)
    assert final.causes == {"lease not on the bill": (1, -known[1].charge)}
    assert held_against(table, bill(tmp_path, *lines), final=True).parts == []
    late = held_against(table, bill(tmp_path, line(known[1], usd(known[1].charge))))
    assert late.difference == known[1].charge
    assert adjusted(table) == 0


def test_a_part_worked_out_against_other_books_is_refused(tmp_path: Path) -> None:
    """The same part delivered twice is booked once, and the second is written down."""
    table = month()
    found = held_against(table, bill(tmp_path, line(lives(table)[1], "20")))
    table.turn(e.BookBill(1, found.parts[0], "ann"))
    assert len(table.facts(e.BillBooked)) == 1
    assert "was not booked" in table.facts(e.Discrepancy)[-1].what


def test_the_sample_is_booked_and_exported_whole(tmp_path: Path) -> None:
    """A FOCUS file of three providers: imported, the expense accounts are its sum; exported, the
    rows are; the ledger balances."""
    import csv
    import io

    from treasury.finops.focus import focus_table

    table = month()
    before = sum(expenses(table).values())
    found = held_against(table, SAMPLE, "focus", unmatched="org")
    rows = list(csv.DictReader(io.StringIO(SAMPLE.read_text(encoding="utf-8"))))
    total = sum(Decimal(row["BilledCost"]) for row in rows)
    assert (found.lines, len(found.unmatched)) == (len(rows), 0)
    assert abs(adjusted(table) - total * MICRO) < 2
    exported = list(csv.DictReader(io.StringIO("".join(focus_table(table.entries)))))
    assert sum(Decimal(row["BilledCost"]) for row in exported) == Decimal(
        before + adjusted(table)
    ).scaleb(-6)
    assert sum(account.balance for account in table.book.ledger.accounts.values()) == 0
    assert held_against(table, SAMPLE, "focus", unmatched="org").parts == []


def cur(folder: Path, rows: Sequence[dict[str, str]], *, packed: bool = False) -> Path:
    """A Cost and Usage Report 2.0."""
    import csv
    import io

    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, list(rows[0]))
    writer.writeheader()
    writer.writerows(rows)
    path = folder / ("cur.csv.gz" if packed else "cur.csv")
    data = buffer.getvalue().encode()
    path.write_bytes(gzip.compress(data) if packed else data)
    return path


@pytest.mark.parametrize("packed", [False, True])
def test_a_cost_and_usage_report_is_read(tmp_path: Path, packed: bool) -> None:
    """Hourly lines with tags in a map, whose own ids change with each version, are known again."""
    table = month()
    life = lives(table)[1]

    def version(number: int) -> Path:
        rows = [
            {
                "identity_line_item_id": f"v{number}-{hour}",
                "bill_invoice_id": "",
                "bill_payer_account_id": "111122223333",
                "line_item_line_item_type": "Usage",
                "line_item_usage_start_date": format_instant(START + hour * HOUR),
                "line_item_usage_end_date": format_instant(START + (hour + 1) * HOUR),
                "line_item_resource_id": "",
                "line_item_unblended_cost": "1.1000000000",
                "line_item_usage_amount": "1.0",
                "line_item_currency_code": "USD",
                "pricing_unit": "Hrs",
                "resource_tags": json.dumps({"user_treasury_lease": "1"}),
            }
            for hour in range(9)
        ]
        return cur(tmp_path, rows, packed=packed)

    found = held_against(table, version(1), "aws-cur")
    assert [(part.lease, part.billed) for part in found.parts] == [(1, 9_900_000)]
    assert life.charge + adjusted(table) == 9_900_000
    assert held_against(table, version(2), "aws-cur").parts == []
