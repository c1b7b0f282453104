"""Nothing is overspent at any level at any instant, however many race for it."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support import race
from treasury.store.database import open_database
from treasury.store.ledger_reader import LedgerReader
from treasury.store.ledger_verify import verify_ledger
from treasury.store.writer import LedgerWriter

KINDS = [("sqlite", 14_000), pytest.param("postgres", 6_000, marks=pytest.mark.sockets)]


@pytest.mark.parametrize(("kind", "holds"), KINDS)
async def test_racing_holds_never_overspend_a_tree(
    kind: str, holds: int, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """Hundreds of callers race for nine wallets below three teams below one organisation: every
    level refuses some, none is ever above its limit, and the books verify."""
    make: Callable[[], str] = (
        (lambda: str(tmp_path / "t.db"))
        if kind == "sqlite"
        else request.getfixturevalue("postgres")
    )
    url = make()
    async with await LedgerWriter.open(url, durable=False) as writer:
        result = await race.run(writer, holds, callers=400, seed=1)
    assert result.granted + result.refused.total() == holds
    assert result.granted > holds // 20
    assert set(result.refused) == {"assets2", "limit1", "limit0"}
    database = open_database(url, durable=False, read_only=True)
    try:
        reader = LedgerReader(database)
        assert race.overspent(reader.transfers()) == []
        verified = verify_ledger(reader)
    finally:
        database.close()
    assert (verified.findings, verified.unsealed) == ((), 0)


def test_the_model_sees_an_overspent_instant() -> None:
    """A hold beyond what is left is noticed, also when it is freed at once."""
    from treasury.ledger import chart
    from treasury.ledger.judge import Written

    def row(seq: int, kind: str, debit: str, credit: str, refers: int | None = None) -> Written:
        return Written(
            seq, str(seq), kind, debit, credit, 10, "USD", refers, seq, 0, 0, 0, 1, "", "", None
        )

    wallet, expense = chart.wallet("a"), chart.expense("a", "aws")
    rows = [
        row(1, "direct", wallet, chart.FUNDING),
        row(2, "hold", expense, wallet),
        row(3, "hold", expense, wallet),
        row(4, "void", expense, wallet, 3),
    ]
    assert race.overspent(rows) == [f"{wallet} at transfer 3: -10"]
