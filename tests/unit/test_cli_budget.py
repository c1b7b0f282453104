"""`treasury budget`, `approve` and `bill`: changes by hand on a database, and how they leave."""

import csv
import io
import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from tests.support.spending import START, keep, month
from tests.support.table import A, Table
from treasury.cli import approve, bill, budget
from treasury.domain import events as e
from treasury.domain.budget import Budget, Mode, Period
from treasury.domain.errors import BadValue, NotFound, StoreError, UserError
from treasury.domain.money import MICRO, NANO
from treasury.domain.plan import Place
from treasury.domain.time import HOUR, format_instant, parse_instant
from treasury.engine import Book, replay
from treasury.store import SqlStore

SAMPLE = Path(__file__).parent.parent / "data" / "focus_sample.csv"
NOW = format_instant(START + 60 * HOUR)


@pytest.fixture
def db(tmp_path: Path) -> Path:
    """A month's database with one machine running, and nobody writing to it."""
    return keep(month(ends=False), tmp_path / "t.db")


def run(verb: object, *arguments: object, code: int = 0) -> Result:
    """The verb's result, which must leave with `code`; a user's mistake is raised."""
    result = CliRunner().invoke(verb.cli, [str(word) for word in arguments])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == code, result.output
    return result


def change(db: Path, *arguments: object, code: int = 0) -> Result:
    """A change of a budget at an instant of its own month."""
    return run(budget, *arguments, "--db", db, "--at", NOW, "--by", "ann", code=code)


def book(db: Path) -> Book:
    """The book that the journal describes."""
    store = SqlStore.open(db, read_only=True)
    try:
        return replay(store.entries())
    finally:
        store.close()


def test_the_table_is_a_tree_with_every_figure(db: Path) -> None:
    """Centres below others are indented; JSON has the engine's whole numbers."""
    lines = run(budget, "--db", db).stdout.splitlines()
    assert [line.split()[0] for line in lines[2:]] == ["org", "red", "blue"]
    assert [len(line) - len(line.lstrip()) for line in lines[2:]] == [0, 2, 2]
    for column in ("limit", "held", "spent", "available", "burn", "runs out at", "forecast"):
        assert column in lines[1]
    rows = json.loads(run(budget, "--db", db, "-o", "json").stdout)
    level = book(db).level("red")
    assert (rows[1]["spent"], rows[1]["available"]) == (level.spent, level.available)
    early = run(budget, "--db", db, "--as-of", format_instant(START + HOUR), "-o", "csv").stdout
    assert next(csv.DictReader(io.StringIO(early)))["spent"] == str(MICRO)


def test_a_top_up_is_there_afterwards(db: Path) -> None:
    """The wallet has the money, the journal says who gave it, and every law holds."""
    before = book(db).level("blue").available
    change(db, "top-up", "blue", "50.5USD")
    after = book(db)
    assert after.level("blue").available == before + 50_500_000
    shown = run(budget, "--db", db, "-o", "json").stdout
    assert json.loads(shown)[2]["limit"] == 350_500_000
    change(db, "top-up", "blue", "-50.5 USD")
    assert book(db).level("blue").available == before


def test_a_change_that_cannot_be_made_leaves_with_1_and_figures(db: Path) -> None:
    """What is not there cannot be taken or moved: one line of figures, kept in the journal."""
    taken = change(db, "top-up", "red", "-900USD", code=1)
    level = book(db).level("red")
    assert f"red has {level.available / 1e6:.2f} USD" in taken.stderr
    assert "limit 200.00 USD" in taken.stderr
    moved = change(db, "move", "red", "blue", "900USD", code=1)
    assert moved.stderr.startswith("refused: blue 900.00 USD from red: red has")
    assert book(db).level("blue").limit == 300 * MICRO
    rows = json.loads(run(budget, "refusals", "--db", db, "-o", "json").stdout)
    assert {(row["cost_centre"], row["why"], row["asked"]) for row in rows} == {
        ("red", "change", 900 * MICRO),
        ("blue", "change", 900 * MICRO),
    }


def test_money_moves_and_centres_freeze(db: Path) -> None:
    """A move takes from one and gives to the other; freezing twice says so."""
    change(db, "move", "blue", "red", "100USD")
    assert book(db).level("red").limit == 300 * MICRO
    assert "blue: frozen" in change(db, "freeze", "blue").stdout
    assert book(db).budgets["blue"].frozen
    assert "frozen already" in change(db, "freeze", "blue").stdout
    assert "frozen" in run(budget, "--db", db).stdout
    change(db, "thaw", "blue")
    assert not book(db).budgets["blue"].frozen


def test_mistakes_name_what_would_be_right(db: Path) -> None:
    """Centre, amount, instant and database are each named; nothing is written."""
    before = book(db).seq
    with pytest.raises(NotFound, match='did you mean "blue"'):
        change(db, "top-up", "bleu", "1USD")
    for amount in ("NaN", "1e30USD", "inf USD", "5 EUR", "1.0000001USD"):
        with pytest.raises(BadValue, match=r"AMOUNT|money"):
            change(db, "top-up", "blue", amount)
    with pytest.raises(BadValue, match="--at"):
        run(budget, "freeze", "blue", "--db", db, "--at", "soon")
    with pytest.raises(StoreError):
        run(budget, "freeze", "blue", "--db", db.with_name("other.db"))
    assert not db.with_name("other.db").exists()
    with pytest.raises(UserError, match="time does not go back"):
        run(budget, "freeze", "blue", "--db", db, "--at", format_instant(START))
    assert book(db).seq == before


def test_a_database_that_an_agent_writes_to_is_refused(db: Path) -> None:
    """While another process leads, a change is one clear message; reading goes on."""
    store = SqlStore.open(db)
    try:
        assert store.lead("the agent")
        with pytest.raises(StoreError, match="'the agent' writes to it"):
            change(db, "top-up", "blue", "1USD")
        run(budget, "--db", db)
    finally:
        store.close()
    change(db, "top-up", "blue", "1USD")


def test_what_is_due_comes_before_a_change(db: Path) -> None:
    """A top-up in April is April's, on a database last written to in March."""
    april = "2026-04-02T00:00:00Z"
    run(budget, "top-up", "blue", "7USD", "--db", db, "--at", april)
    level = book(db).level("blue")
    assert (level.limit, level.spent) == (307 * MICRO, 0)
    assert level.start == parse_instant("2026-04-01T00:00:00Z")


def test_approve_lets_a_dear_job_be_planned(tmp_path: Path) -> None:
    """A job above the threshold waits, is approved once, and the engine remembers."""
    dear = Budget(cost_centre="t", amount=100 * MICRO, approve_above=MICRO)
    table = Table(0, dear, now=START)
    table.submit("big", cost_centre="t")
    table.plan(Place("big", A.id, 3 * NANO))
    db = keep(table, tmp_path / "t.db")
    rows = json.loads(run(budget, "refusals", "--db", db, "-o", "json").stdout)
    assert [(row["why"], row["enforced"], row["jobs"]) for row in rows] == [("approval", True, 1)]
    assert "approved" in run(approve, "big", "--db", db, "--at", NOW).stdout
    assert book(db).jobs["big"].approved
    assert "already" in run(approve, "big", "--db", db, "--at", NOW).stdout
    with pytest.raises(NotFound, match='did you mean "big"'):
        run(approve, "bgi", "--db", db, "--at", NOW)


def test_refusals_of_budgets_that_watch(tmp_path: Path) -> None:
    """What an observing budget let through is counted with the money it asked for."""
    watched = Budget(cost_centre="t", amount=MICRO, mode=Mode.OBSERVE, period=Period.MONTH)
    table = Table(0, watched, now=START)
    for name in ("a", "b"):
        table.submit(name, cost_centre="t")
        table.plan(Place(name, A.id, 3 * NANO))
        table.grant(NANO)
    db = keep(table, tmp_path / "t.db")
    (row,) = json.loads(run(budget, "refusals", "--db", db, "-o", "json").stdout)
    tolerated = table.facts(e.RefusalTolerated)
    assert (row["enforced"], row["count"], row["jobs"]) == (False, 2, 2)
    assert row["asked"] == sum(fact.asked for fact in tolerated) > 0
    assert run(budget, "refusals", "--db", db, "--from", NOW).stdout.count("\n") == 2


def bill_import(db: Path, *arguments: object) -> Result:
    """A bill held against a database."""
    return run(bill, "import", *arguments, "--db", db, "--at", NOW)


def test_a_bill_is_imported_once(db: Path) -> None:
    """A dry run writes nothing; the import does; repeating it changes nothing."""
    before = book(db).seq
    words = ("focus", SAMPLE, "--unmatched", "org", "-o", "json")
    dry = bill_import(db, *words, "--dry-run")
    assert book(db).seq == before
    real = bill_import(db, *words)
    assert json.loads(real.stdout) == json.loads(dry.stdout)
    assert "would be booked" in dry.stderr
    total = json.loads(real.stdout)[-1]["amount"]
    variance = book(db).ledger.account("equity:variance").balance
    assert variance == -total != 0
    again = bill_import(db, *words)
    assert json.loads(again.stdout)[-1]["amount"] == 0
    assert "27 known already" in again.stderr
    assert book(db).ledger.account("equity:variance").balance == variance


def test_what_no_lease_answers_to_is_listed(db: Path) -> None:
    """Without a centre that pays, nothing is booked and the lines are shown."""
    result = bill_import(db, "focus", SAMPLE)
    assert "not booked: 415.654302 USD" in result.stderr
    assert "line 2: 1.224000 USD i-0a1b2c3d4e5f60718" in result.stderr
    assert book(db).bills == 0
    with pytest.raises(NotFound, match="--unmatched"):
        bill_import(db, "focus", SAMPLE, "--unmatched", "nobody")


def test_details_show_each_lease(db: Path, tmp_path: Path) -> None:
    """One row a lease: billed, charged, difference and what explains it."""
    path = tmp_path / "b.csv"
    times = f"{format_instant(START)},{format_instant(START + 9 * HOUR)}"
    path.write_text(f"sum,start,end,resource\n9.99,{times},i-1\n")
    words = ("csv", path, "--provider", "aws", "--map", "amount=sum", "--details")
    shown = bill_import(db, *words).stdout.splitlines()
    assert shown[2].split()[:5] == ["1", "i-1", "train", "red", "aws"]
    assert "9.990000 USD" in shown[2]
    with pytest.raises(BadValue, match="FIELD=COLUMN"):
        bill_import(db, "csv", path, "--map", "amount")


@pytest.mark.parametrize("content", ["", "amount,start,end\n"])
def test_an_empty_bill_is_said_to_be_empty(db: Path, tmp_path: Path, content: str) -> None:
    """No columns and no lines are each a user's mistake that names the file."""
    path = tmp_path / "empty.csv"
    path.write_text(content)
    with pytest.raises(UserError, match=r"empty\.csv"):
        bill_import(db, "csv", path, "--provider", "aws")
