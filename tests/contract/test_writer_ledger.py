"""The shared ledger's writer on each database: what it grants, refuses, repeats and survives."""

import asyncio
import math
import uuid
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.support.books import turns
from tests.support.postgres import TestDatabase
from treasury.domain.errors import BadValue, Deposed, StoreError
from treasury.ledger import chart
from treasury.ledger.chains import exchange, hold_levels, part, post_levels, roll, void_levels
from treasury.ledger.judge import Judge
from treasury.ledger.request import (
    Outcome,
    Rate,
    Receipt,
    Refusal,
    RefusalCode,
    TransferRequest,
    direct,
    expire,
    hold,
    post,
    reverse,
    void,
)
from treasury.store import SqlStore
from treasury.store.database import open_database
from treasury.store.ledger_reader import LedgerReader
from treasury.store.ledger_verify import LedgerVerification, verify_ledger
from treasury.store.verify import verify
from treasury.store.writer import LedgerWriter

WALLET, EXPENSE = chart.wallet("red"), chart.expense("red", "aws")
GRANT = 1_000_000


def fund(amount: int = GRANT, name: str = "fund", wallet: str = WALLET) -> TransferRequest:
    """Money for a wallet."""
    return direct(name, wallet, chart.FUNDING, amount, event_at=1, reason="fund")


def take(name: str, amount: int) -> TransferRequest:
    """A hold on the wallet."""
    return hold(name, EXPENSE, WALLET, amount, event_at=2, reason="hold", subject="job-1")


def use(name: str, of: str, amount: int) -> TransferRequest:
    """A post of a hold."""
    return post(name, of, amount, event_at=3, reason="metered")


def code(outcome: Outcome) -> str:
    """A refusal's code, "" for a receipt."""
    return outcome.code.value if isinstance(outcome, Refusal) else ""


@pytest.fixture
async def writer(database: TestDatabase) -> AsyncIterator[LedgerWriter]:
    """A writer on an empty database, with money in one wallet."""
    made = await LedgerWriter.open(database.url, durable=False)
    assert code(await made.submit(fund())) == ""
    yield made
    await made.close()


def verified(database: TestDatabase) -> LedgerVerification:
    """The whole verification."""
    opened = open_database(database.url, durable=False, read_only=True)
    try:
        return verify_ledger(LedgerReader(opened))
    finally:
        opened.close()


def counters(database: TestDatabase, path: str) -> tuple[int, ...]:
    """Debits pending and posted, credits pending and posted of an account."""
    columns = "debit_pending, debit_posted, credit_pending, credit_posted"
    rows = database.run(f"SELECT {columns} FROM ledger_accounts WHERE path = '{path}'")
    return rows[0] if rows else ()


async def test_money_is_held_used_and_freed(writer: LedgerWriter, database: TestDatabase) -> None:
    """Each kind moves the counters as the model says, and the books verify."""
    for request in (take("a", 500), take("b", 300), take("c", 200), take("d", 100)):
        assert isinstance(await writer.submit(request), Receipt)
    assert counters(database, WALLET) == (0, GRANT, 1_100, 0)
    answers = [
        await writer.submit(use("pa", "a", 450)),
        await writer.submit(void("vb", "b", event_at=3, reason="declined")),
        await writer.submit(expire("ec", "c", event_at=3, reason="late")),
        await writer.submit(use("pd", "d", 0)),
        await writer.submit(reverse("ra", "pa", event_at=4, reason="bill")),
    ]
    assert [code(answer) for answer in answers] == [""] * 5
    assert [answer.seq for answer in answers if isinstance(answer, Receipt)] == [6, 7, 8, 9, 10]
    assert counters(database, WALLET) == (0, GRANT + 450, 0, 450)
    assert counters(database, EXPENSE) == (0, 450, 0, 450)
    await writer.seal()
    result = verified(database)
    assert (result.transfers, result.unsealed, result.findings) == (10, 0, ())


async def test_refusals_say_what_is_wrong(writer: LedgerWriter, database: TestDatabase) -> None:
    """Every mistake that depends on the books has its code, and leaves no trace in them."""
    for request in (take("a", 500), take("b", 300), use("pa", "a", 500)):
        await writer.submit(request)
    before = database.run("SELECT * FROM ledger_accounts ORDER BY path")
    euro = direct("x", WALLET, chart.FUNDING, 1, event_at=1, reason="x", currency="EUR")
    cases: list[tuple[TransferRequest, RefusalCode]] = [
        (take("x", GRANT), RefusalCode.OVERDRAFT),
        (euro, RefusalCode.CURRENCY),
        (use("x", "nothing", 1), RefusalCode.UNKNOWN),
        (use("x", "fund", 1), RefusalCode.NOT_A_HOLD),
        (use("x", "a", 1), RefusalCode.RESOLVED),
        (void("x", "a", event_at=1, reason="x"), RefusalCode.RESOLVED),
        (use("x", "b", 301), RefusalCode.EXCEEDS_HOLD),
        (reverse("x", "b", event_at=1, reason="x"), RefusalCode.NOT_REVERSIBLE),
        (reverse("x", "fund", event_at=1, reason="x"), RefusalCode.OVERDRAFT),
        (take("a", 501), RefusalCode.DIFFERS),
        (use("pa", "b", 300), RefusalCode.DIFFERS),
    ]
    for request, expected in cases:
        assert code(await writer.submit(request)) == expected.value, request
    refusal = await writer.submit(take("x", GRANT))
    assert isinstance(refusal, Refusal)
    assert (refusal.account, refusal.asked) == (WALLET, GRANT)
    assert (refusal.limit, refusal.spent, refusal.held) == (GRANT, 500, 300)
    assert "0.999200 USD left" in refusal.message
    assert database.run("SELECT * FROM ledger_accounts ORDER BY path") == before
    assert verified(database).findings == ()


async def test_an_id_is_done_once(writer: LedgerWriter, database: TestDatabase) -> None:
    """The same request again, also beside itself in one batch, has the first answer."""
    name = str(uuid.UUID(int=7))
    answers = await asyncio.gather(*(writer.submit(take(name, 10)) for _ in range(50)))
    again = await writer.submit(take(name, 10))
    assert {answer.seq for answer in (*answers, again) if isinstance(answer, Receipt)} == {2}
    assert sorted(answer.existed for answer in answers if isinstance(answer, Receipt)) == (
        [False] + [True] * 49
    )
    chain = (take("c0", 1), take("c1", 2))
    first = await writer.submit(chain)
    second = await writer.submit(chain)
    assert isinstance(first, Receipt) and isinstance(second, Receipt)
    assert (second.seq, second.count, second.existed) == (first.seq, 2, True)
    wrong = [chain[:1], chain[1:], chain[::-1], (*chain, take("c2", 1)), (take("c3", 1), *chain)]
    codes = [code(await writer.submit(attempt)) for attempt in wrong]
    assert set(codes) <= {"differs", "linked"} and "" not in codes
    assert counters(database, WALLET) == (0, GRANT, 13, 0)


async def test_a_chain_stands_or_falls_together(
    writer: LedgerWriter, database: TestDatabase
) -> None:
    """A chain whose last part is refused leaves nothing, not even the accounts it would open."""
    await writer.submit(take("open", 100))
    before = database.run("SELECT * FROM ledger_accounts ORDER BY path")
    other = chart.wallet("blue")
    chain = (
        fund(500, "f", other),
        use("p", "open", 60),
        take("h", 5),
        void("v", "h", event_at=1, reason="x"),
        take("over", GRANT),
    )
    refusal = await writer.submit(chain)
    assert isinstance(refusal, Refusal) and refusal.id == "over"
    assert database.run("SELECT * FROM ledger_accounts ORDER BY path") == before
    assert isinstance(await writer.submit(chain[:4]), Receipt)
    assert counters(database, WALLET) == (0, GRANT, 0, 60)
    assert verified(database).findings == ()


async def test_every_level_of_a_tree_must_agree(
    writer: LedgerWriter, database: TestDatabase
) -> None:
    """A hold on a leaf needs room at the team and at the organisation, and posts at all of them."""
    for level, amount in (("team", 400), ("org", 300)):
        limit = direct(
            level, chart.limit(level), chart.LIMIT_FUNDING, amount, event_at=1, reason="l"
        )
        await writer.submit(limit)
    above = ("team", "org")

    def ask(name: str, amount: int) -> tuple[TransferRequest, ...]:
        return hold_levels(name, "red", above, "aws", amount, event_at=2, reason="hold")

    assert isinstance(await writer.submit(ask("h1", 250)), Receipt)
    refusal = await writer.submit(ask("h2", 60))
    assert isinstance(refusal, Refusal)
    assert (refusal.account, refusal.id) == (chart.limit("org"), part("h2", 2))
    used = post_levels("p1", "h1", 3, 100, event_at=3, reason="metered")
    assert isinstance(await writer.submit(roll(used, ask("h3", 200))), Receipt)
    assert counters(database, chart.limit("org")) == (0, 300, 200, 100)
    freed = void_levels("v3", "h3", 3, event_at=4, reason="done")
    assert isinstance(await writer.submit(freed), Receipt)
    assert counters(database, chart.used("org")) == (0, 100, 0, 0)
    assert verified(database).findings == ()


async def test_money_changes_its_currency_on_a_bridge(
    writer: LedgerWriter, database: TestDatabase
) -> None:
    """Both sides, the rate with its source and time, and the cents rounded away are booked."""
    rate = Rate("USD", "EUR", 8_571, 10_000, "ecb", 7)
    euros = chart.wallet("red-eur")
    chain = exchange(
        "fx", euros, WALLET, 123_457, rate, event_at=8, reason="exchange", settled=100_000
    )
    assert isinstance(await writer.submit(chain), Receipt)
    exact = 123_457 * 8_571 // 10_000
    assert counters(database, euros) == (0, exact, 0, exact - 100_000)
    assert counters(database, chart.rounding("EUR")) == (0, exact - 100_000, 0, 0)
    assert counters(database, chart.liquidity("USD")) == (0, 123_457, 0, 0)
    kept = database.run("SELECT DISTINCT rate FROM ledger_transfers WHERE rate IS NOT NULL")
    assert len(kept) == 1 and '"source":"ecb"' in kept[0][0] and '"at":7' in kept[0][0]
    assert verified(database).findings == ()
    with pytest.raises(BadValue, match="enough for one micro-EUR"):
        exchange("f2", euros, WALLET, 1, rate, event_at=8, reason="exchange")


BAD: list[tuple[dict[str, Any], str]] = [
    ({"amount": math.nan}, "amount nan"),
    ({"amount": math.inf}, "amount inf"),
    ({"amount": 1e30}, "amount 1e[+]30"),
    ({"amount": -0.0}, "amount -0.0"),
    ({"amount": True}, "amount True"),
    ({"amount": 0}, "amount 0"),
    ({"amount": -5}, "amount -5"),
    ({"amount": 10**30}, "amount 1000"),
    ({"currency": "XYZ"}, "currency 'XYZ'"),
    ({"currency": "usd"}, "currency 'usd'"),
    ({"debit": WALLET}, "another account than debit"),
    ({"id": ""}, "id ''"),
    ({"id": "a\x00b"}, "id 'a"),
    ({"id": "x" * 129}, "1 to 128 printable"),
    ({"reason": "\ud800"}, "reason"),
    ({"event_at": 1.5}, "event_at 1.5"),
    ({"event_at": -1}, "event_at -1"),
    ({"refers": "fund"}, "refers 'fund'"),
    ({"kind": "hold"}, "kind 'hold'"),
]


@pytest.mark.parametrize(("change", "message"), BAD)
async def test_nonsense_is_refused_before_it_waits(change: dict[str, Any], message: str) -> None:
    """What no books could take is an error that names the field and its value."""
    import msgspec

    from treasury.ledger.request import check

    with pytest.raises(BadValue, match=message):
        check([msgspec.structs.replace(take("a", 1), **change)])


class Blind(Judge):
    """A judge whose own checks of money and of holds are gone."""

    def _fits(self, *_: Any) -> None:
        return None


async def test_the_constraint_alone_holds_the_line(
    writer: LedgerWriter, database: TestDatabase
) -> None:
    """With the writer's check taken away the database refuses the overspending request, that one
    alone, and the other callers of its batch have their money."""
    writer._commits.judge = Blind
    requests = [take(f"h{n}", GRANT // 4 + (n == 2) * GRANT) for n in range(5)]
    answers = await asyncio.gather(*map(writer.submit, requests))
    assert [code(answer) for answer in answers] == ["", "", "constraint", "", ""]
    assert "no_overspend" in getattr(answers[2], "message", "")
    assert counters(database, WALLET) == (0, GRANT, GRANT, 0)
    assert verified(database).findings == ()


async def test_the_check_alone_holds_the_line(database: TestDatabase) -> None:
    """With every constraint on money taken away the writer refuses what would overspend."""
    async with await LedgerWriter.open(database.url, durable=False) as writer:
        if database.kind == "postgres":
            names = ("ledger_no_overspend", "ledger_no_negative_counter")
            drops = ", ".join(f"DROP CONSTRAINT {name}" for name in names)
            database.run(f"ALTER TABLE ledger_accounts {drops}")
        else:
            blind = "PRAGMA ignore_check_constraints = ON"
            await writer._database.transact(lambda c: c.exec_driver_sql(blind), writes=True)
        await writer.submit(fund())
        answers = await asyncio.gather(*(writer.submit(take(f"h{n}", 3)) for n in range(400)))
        assert {code(answer) for answer in answers} == {""}
        assert code(await writer.submit(take("x", GRANT))) == "overdraft"
    assert verified(database).findings == ()


async def test_callers_may_go_at_any_time(writer: LedgerWriter, database: TestDatabase) -> None:
    """Cancelled callers leave neither an open transaction nor a stuck queue, and whatever was done
    for them is whole."""
    tasks = [asyncio.create_task(writer.submit(take(f"h{n}", 1))) for n in range(300)]
    for place, task in enumerate(tasks):
        if place % 3 == 0:
            await asyncio.sleep(0)
        if place % 2:
            task.cancel()
    answers = await asyncio.gather(*tasks, return_exceptions=True)
    assert all(isinstance(answer, Receipt) for answer in answers[::2])
    assert isinstance(await writer.submit(take("after", 1)), Receipt)
    held = counters(database, WALLET)[2]
    assert 151 <= held <= 301
    await writer.seal()
    assert verified(database).findings == ()
    if database.kind == "postgres":
        idle = "state = 'idle in transaction' AND datname = current_database()"
        assert database.run(f"SELECT count(*) FROM pg_stat_activity WHERE {idle}") == [(0,)]


async def test_the_journal_is_written_on_the_same_loop(
    writer: LedgerWriter, database: TestDatabase
) -> None:
    """Turns are appended, blocking the loop, while transfers are in flight: neither waits for the
    other in vain."""
    tasks = [asyncio.create_task(writer.submit(take(f"h{n}", 1))) for n in range(60)]
    store = SqlStore.open(database.url, durable=False)
    for turn in turns(30):
        store.append(turn)
        tasks.append(asyncio.create_task(writer.submit(take(f"t{turn.seq}", 1))))
        await asyncio.sleep(0)
    assert all(isinstance(answer, Receipt) for answer in await asyncio.gather(*tasks))
    assert verify(store).findings == ()
    store.close()
    assert verified(database).findings == ()


async def test_the_line_is_bounded(database: TestDatabase) -> None:
    """More callers than the queue holds wait for a place, and all of them are served."""
    async with await LedgerWriter.open(database.url, durable=False, queue=8) as writer:
        await writer.submit(fund())
        lengths: list[int] = []

        async def ask(number: int) -> Outcome:
            answer = writer.submit(take(f"h{number}", 1))
            lengths.append(len(writer._queue))
            return await answer

        answers = await asyncio.gather(*(ask(number) for number in range(200)))
        assert all(isinstance(answer, Receipt) for answer in answers)
        assert max(lengths) <= 8
        assert counters(database, WALLET)[2] == 200


async def test_a_closed_writer_says_so(writer: LedgerWriter) -> None:
    """Those in line are answered, those after it are told."""
    waiting = asyncio.create_task(writer.submit(take("h", 1)))
    await asyncio.sleep(0)
    await writer.close()
    assert isinstance(await waiting, Receipt)
    with pytest.raises(StoreError, match="its writer is closed"):
        await writer.submit(take("i", 1))


async def test_a_deposed_writer_writes_nothing(
    writer: LedgerWriter, database: TestDatabase
) -> None:
    """When another one took the lease, each caller has the error and the books are as they were."""
    with pytest.raises(StoreError, match="'writer' leads its ledger"):
        await LedgerWriter.open(database.url, durable=False, wait=False)
    database.run("UPDATE lease SET expires_at = 0")
    other = await LedgerWriter.open(database.url, durable=False, holder="other", wait=False)
    answers = await asyncio.gather(
        *(writer.submit(take(f"h{n}", 1)) for n in range(3)), return_exceptions=True
    )
    assert [type(answer) for answer in answers] == [Deposed] * 3
    with pytest.raises(Deposed):
        await writer.submit(take("h", 1))
    assert counters(database, WALLET) == (0, GRANT, 0, 0)
    assert isinstance(await other.submit(take("h", 1)), Receipt)
    assert other.epoch == writer.epoch + 1 or other.epoch == 2
    await other.close()


async def test_a_clock_that_goes_back_changes_no_order(
    writer: LedgerWriter, database: TestDatabase
) -> None:
    """After the clock was set back a day, what is recorded later is not dated earlier."""
    await writer.submit(take("a", 1))
    seq, at = writer._commits._tip or (0, 0)
    day = 86_400 * 10**9
    writer._commits._tip = seq, at + day
    later = await writer.submit(take("b", 1))
    assert isinstance(later, Receipt) and later.recorded_at == at + day
    assert verified(database).findings == ()
