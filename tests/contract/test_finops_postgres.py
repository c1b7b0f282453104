"""Budgets, statements, exports and bills on PostgreSQL say what they say on SQLite."""

from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner

from tests.support.spending import START, keep, month
from treasury.cli.main import cli
from treasury.domain.time import HOUR, format_instant
from treasury.store import SqlStore

SAMPLE = Path(__file__).parent.parent / "data" / "focus_sample.csv"
AT = ("--at", format_instant(START + 60 * HOUR), "--by", "ann")


@pytest.fixture
def databases(postgres: Callable[[], str], tmp_path: Path) -> tuple[str, str]:
    """The same journal in both."""
    url = postgres()
    table = month(ends=False)
    store = SqlStore.open(url)
    for entry in table.entries:
        store.append(entry)
    store.close()
    return url, str(keep(table, tmp_path / "t.db"))


def run(db: str, *words: object) -> str:
    """What a verb prints."""
    result = CliRunner().invoke(cli, [*map(str, words), "--db", db])
    assert result.exception is None, result.output
    return result.stdout


def test_every_verb_agrees(databases: tuple[str, str]) -> None:
    """Changes, a bill and every reading, in the same order on both databases."""
    for words in (
        ("budget", "top-up", "blue", "50USD", *AT),
        ("budget", "move", "blue", "red", "20USD", *AT),
        ("budget", "freeze", "blue", *AT),
        ("bill", "import", "focus", SAMPLE, "--unmatched", "org", "-o", "json", *AT),
        ("budget", "-o", "json"),
        ("budget", "refusals", "-o", "json"),
        ("ledger", "statement", "--by", "cost_centre,provider,job,label:team", "-o", "csv"),
        ("ledger", "verify", "-o", "json"),
        *(
            ("ledger", "export", "--format", kind, "--out", "-")
            for kind in ("focus", "hledger", "beancount", "csv")
        ),
    ):
        ours, reference = (run(db, *words) for db in databases)
        assert ours == reference, words
