"""Statements and outlooks: their totals are the ledger's, at any instant."""

import csv
import io
import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from tests.support.spending import START, expenses, keep, month, start_job, wait
from tests.support.table import A, Table
from treasury.cli.ledger import cli
from treasury.domain import events as e
from treasury.domain.bill import BilledLine, BillPart
from treasury.domain.budget import Budget, Mode, Period
from treasury.domain.errors import BadValue, NotFound
from treasury.domain.money import MICRO, NANO
from treasury.domain.time import DAY, HOUR, parse_instant
from treasury.engine import replay
from treasury.finops.outlook import outlook
from treasury.finops.statements import Grouping, Journal, statement

TABLE = month()


@pytest.mark.parametrize("grouping", list(Grouping))
def test_totals_equal_the_expense_accounts(grouping: Grouping) -> None:
    """Whatever lines are totals of, they add up to what the expense accounts hold."""
    lines = statement(TABLE.entries, (grouping,), label="team")
    assert sum(line.amount for line in lines) == sum(expenses(TABLE).values()) > 0


def test_a_line_of_a_cost_centre_is_its_account() -> None:
    """Centre and provider together are the ledger's accounts, one for one."""
    lines = statement(TABLE.entries, (Grouping.COST_CENTRE, Grouping.PROVIDER))
    assert {line.key: line.amount for line in lines} == expenses(TABLE)


def test_jobs_offers_and_labels_are_told_apart() -> None:
    """Each charge goes to the job, offer and label of the lease it is for."""
    by_job = {line.key[0]: line.amount for line in statement(TABLE.entries, (Grouping.JOB,))}
    assert set(by_job) == {"train", "tune", "serve"}
    by_team = statement(TABLE.entries, (Grouping.LABEL,), label="team")
    assert {line.key[0]: line.amount for line in by_team} == {
        "vision": by_job["train"] + by_job["serve"],
        "speech": by_job["tune"],
    }
    by_stage = statement(TABLE.entries, (Grouping.LABEL,), label="stage")
    assert {line.key[0] for line in by_stage} == {"dev", "(none)"}


def test_periods_part_the_whole() -> None:
    """Two statements that meet at an instant add up to the one over both."""
    cut = START + 7 * HOUR
    whole = statement(TABLE.entries, (Grouping.JOB,))
    before = statement(TABLE.entries, (Grouping.JOB,), end=cut)
    after = statement(TABLE.entries, (Grouping.JOB,), start=cut)
    assert 0 < sum(line.amount for line in before) < sum(line.amount for line in whole)
    assert sum(line.amount for line in (*before, *after)) == sum(line.amount for line in whole)


def test_as_of_is_what_was_known_then() -> None:
    """A statement as of an instant equals the ledger as it stood at that instant."""
    for seq in (10, 25, len(TABLE.entries)):
        entries = TABLE.entries[:seq]
        at = entries[-1].at
        known = [entry for entry in TABLE.entries if entry.at <= at]
        books = replay(known).ledger.accounts
        lines = statement(TABLE.entries, (Grouping.COST_CENTRE,), as_of=at)
        assert sum(line.amount for line in lines) == sum(
            account.balance for path, account in books.items() if path.startswith("expenses:")
        )


def test_memory_holds_what_runs() -> None:
    """After the last machine is gone nothing is remembered of any."""
    journal = Journal()
    assert list(journal.charges(TABLE.entries))
    assert (journal._jobs, journal._leases, journal._placements) == ({}, {}, {})


def test_a_difference_to_a_bill_is_on_the_statement() -> None:
    """A booked bill shows under its lease's job and label, in the time it is for."""
    table = month()
    part = BillPart(
        provider="aws",
        cost_centre="red",
        lines=(BilledLine("k", "1"),),
        covered=((START, START + HOUR),),
        total="1",
        billed=MICRO,
        booked=0,
        difference=MICRO,
        lease=1,
        job="train",
        labels=(("team", "vision"),),
    )
    before = {line.key: line.amount for line in statement(table.entries, (Grouping.JOB,))}
    table.turn(e.BookBill(1, part, "ann"), at=table.now + DAY)
    after = statement(table.entries, (Grouping.JOB,), end=START + HOUR)
    assert {line.key: line.amount for line in after} == {("train",): MICRO}
    whole = {line.key: line.amount for line in statement(table.entries, (Grouping.JOB,))}
    assert whole == before | {("train",): before["train",] + MICRO}
    assert sum(whole.values()) == sum(expenses(table).values())
    table.check()


def test_the_verb_prints_what_programs_and_people_need(tmp_path: Path) -> None:
    """JSON and CSV have whole micro-units, the table a total; centres below can be included."""
    db = str(keep(TABLE, tmp_path / "t.db"))
    run = CliRunner().invoke
    rows = json.loads(run(cli, ["statement", "--db", db, "--by", "job", "-o", "json"]).stdout)
    assert sum(row["amount"] for row in rows) == sum(expenses(TABLE).values())
    text = run(cli, ["statement", "--db", db, "--cost-centre", "red", "-o", "csv"]).stdout
    assert [row["cost_centre"] for row in csv.DictReader(io.StringIO(text))] == ["red"]
    shown = run(cli, ["statement", "--db", db, "--cost-centre", "org", "--below"]).stdout
    total = sum(expenses(TABLE).values())
    assert shown.splitlines()[-1].split()[:2] == ["total", f"{total // MICRO}.{total % MICRO:06d}"]
    with pytest.raises(NotFound, match='did you mean "red"'):
        run(cli, ["statement", "--db", db, "--cost-centre", "rad"], catch_exceptions=False)
    with pytest.raises(BadValue, match="label:NAME"):
        run(cli, ["statement", "--db", db, "--by", "label"], catch_exceptions=False)


def test_the_outlook_has_the_engines_figures() -> None:
    """Limit, spent, held and available are the book's, parents come before their children, and
    what is available divided by what runs gives the instant it is used up."""
    table = month(ends=False)
    book, rows = outlook(table.entries)
    assert [(row.cost_centre, row.depth) for row in rows] == [("org", 0), ("red", 1), ("blue", 1)]
    for row in rows:
        level = table.book.level(row.cost_centre)
        assert (row.limit, row.spent, row.held) == (level.limit, level.spent, level.held)
        assert row.available == level.available
    red = rows[1]
    rate = table.book.offers[A.id].rate
    assert red.burn == rows[0].burn == rate
    assert red.runs_out_at == book.now + red.available * 3_600 * 10**12 // rate
    assert rows[2].runs_out_at is None


def test_a_steady_burn_is_forecast_exactly() -> None:
    """One machine at 1 USD an hour since ten days: the month ends at 24 USD a day, give or take
    nothing."""
    start = parse_instant("2026-03-01T00:00:00Z")
    table = Table(0, Budget(cost_centre="t", amount=900 * MICRO, period=Period.MONTH), now=start)
    start_job(table, "j", "t")
    wait(table, 240)
    row = outlook(table.entries)[1][0]
    assert (row.forecast, row.low, row.high) == (744 * MICRO,) * 3
    assert (row.spent, row.end) == (240 * MICRO, start + 31 * DAY)
    early = outlook(table.entries, start + 2 * DAY)[1][0]
    assert (early.spent, early.forecast, early.low) == (48 * MICRO, 744 * MICRO, None)


def test_a_budget_without_end_has_no_forecast() -> None:
    """ONCE never ends, and an unspent budget has nothing to forecast from."""
    table = Table(0, Budget(cost_centre="t", amount=MICRO, mode=Mode.OBSERVE))
    row = outlook(table.entries)[1][0]
    assert (row.forecast, row.low, row.high, row.mode) == (None, None, None, "observe")
    table.quote(A, NANO)
    assert outlook(table.entries)[1][0].runs_out_at is None


def test_labels_come_from_the_configuration(tmp_path: Path) -> None:
    """A job's `labels` are its specification's; one that is no text is refused with its place."""
    from treasury.config import load_config
    from treasury.domain.errors import ConfigError

    path = tmp_path / "c.toml"
    text = """
        [[budget]]
        cost_centre = "t"
        amount = "10 USD"
        [[job]]
        id = "j"
        cost_centre = "t"
        work = "1h"
        gpu = "V100"
        labels = { team = "vision", stage = %s }
    """
    path.write_text(text % '"dev"')
    (spec,) = load_config(path).job_specs(0)
    assert spec.labels == {"team": "vision", "stage": "dev"}
    path.write_text(text % "3")
    with pytest.raises(ConfigError, match=r"job\[0\]\.labels"):
        load_config(path)
