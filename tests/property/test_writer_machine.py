"""The writer against a model of plain dicts, whatever is asked of it in whatever order."""

import asyncio
import shutil
import tempfile
from collections import defaultdict
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from treasury.ledger import chart
from treasury.ledger.request import (
    Outcome,
    Receipt,
    RefusalCode,
    TransferRequest,
    direct,
    expire,
    hold,
    post,
    reverse,
    void,
)
from treasury.store.database import open_database
from treasury.store.ledger_reader import LedgerReader
from treasury.store.ledger_verify import verify_ledger
from treasury.store.writer import LedgerWriter

WALLETS = [chart.wallet(name) for name in ("a", "b")]
PLACES = [*WALLETS, chart.expense("a", "aws"), chart.FUNDING]
GRANT = 100
AMOUNTS = st.integers(min_value=1, max_value=60)
# Which earlier transfer is meant, counted from the newest.
PICKS = st.integers(min_value=0, max_value=6)
# Most requests go alone; some wait for others and go as a chain. Some use an id again.
WAITS = st.integers(min_value=0, max_value=3).map(lambda number: number == 0)
AGAIN = st.integers(min_value=0, max_value=9).map(lambda number: number == 0)


class Books:
    """The model: what is left of each account, what is held, what was undone, what was asked."""

    def __init__(self) -> None:
        self.left: dict[str, int] = defaultdict(int)
        self.asked: dict[str, tuple[TransferRequest, ...]] = {}
        self.moves: dict[str, tuple[str, str, str, int]] = {}
        self.ended: set[str] = set()

    def copy(self) -> "Books":
        """Another with the same in it."""
        other = Books()
        other.left.update(self.left)
        other.asked, other.moves = dict(self.asked), dict(self.moves)
        other.ended = set(self.ended)
        return other

    def do(self, request: TransferRequest) -> bool:
        """Whether the request can be done; it is, if so."""
        kind, amount = request.kind.value, request.amount
        if not request.refers:
            debit, credit = request.debit, request.credit
            if credit in WALLETS and amount > self.left[credit]:
                return False
            self.left[credit] -= amount
            if kind == "direct":
                self.left[debit] += amount
            self.moves[request.id] = kind, debit, credit, amount
            return True
        if request.refers not in self.moves or request.refers in self.ended:
            return False
        of, debit, credit, held = self.moves[request.refers]
        if kind == "reversal":
            if (
                of not in {"direct", "post"}
                or not held
                or (debit in WALLETS and held > self.left[debit])
            ):
                return False
            debit, credit, amount = credit, debit, held
        elif of != "hold" or amount > held:
            return False
        else:
            self.left[credit] += held
        if kind in {"reversal", "post"}:
            self.left[credit] -= amount
            self.left[debit] += amount
        self.ended.add(request.refers)
        self.moves[request.id] = kind, debit, credit, amount
        return True


class WriterMachine(RuleBasedStateMachine):
    """Requests one by one, in chains and again."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.loop = asyncio.new_event_loop()
        self.url = str(self.folder / "t.db")
        opened = LedgerWriter.open(self.url, durable=False)
        self.writer = self.loop.run_until_complete(opened)
        self.books = Books()
        self.pending: list[TransferRequest] = []
        self.batch: list[tuple[TransferRequest, ...]] = []
        self.names = 0
        for wallet in WALLETS:
            self.names += 1
            fund = direct(f"t{self.names}", wallet, chart.FUNDING, GRANT, event_at=0, reason="fund")
            self.submit((fund,))

    def submit(self, *chains: tuple[TransferRequest, ...]) -> None:
        """Ask the writer for all of them in one batch, the model for one after the other; they must
        agree on each, and a refusal must leave no trace."""

        async def ask() -> list[Outcome]:
            return await asyncio.gather(*map(self.writer.submit, chains))

        for chain, answer in zip(chains, self.loop.run_until_complete(ask()), strict=True):
            self.judge(chain, answer)

    def judge(self, chain: tuple[TransferRequest, ...], answer: Outcome) -> None:
        """The model's opinion of one answer. It is the writer's own check that must refuse: the
        constraints behind it are there for nothing else than its mistakes."""
        assert getattr(answer, "code", None) is not RefusalCode.CONSTRAINT, answer
        taken = [request.id for request in chain if request.id in self.books.moves]
        if taken:
            same = self.books.asked.get(chain[0].id) == chain
            assert isinstance(answer, Receipt) == same, answer
            assert not same or getattr(answer, "existed", False)
            return
        trial = self.books.copy()
        possible = all(trial.do(request) for request in chain)
        assert isinstance(answer, Receipt) == possible, (chain, answer)
        if possible:
            assert not getattr(answer, "existed", True)
            trial.asked[chain[0].id] = chain
            self.books = trial

    @rule(
        debit=st.sampled_from(PLACES),
        credit=st.sampled_from(PLACES),
        amount=AMOUNTS,
        waits=WAITS,
        again=AGAIN,
    )
    def direct(self, debit: str, credit: str, amount: int, waits: bool, again: bool) -> None:
        """Move money."""
        if debit != credit:
            name = self.name(again)
            self.add(direct(name, debit, credit, amount, event_at=0, reason="test"), waits)

    @rule(credit=st.sampled_from(WALLETS), amount=AMOUNTS, waits=WAITS, again=AGAIN)
    def hold(self, credit: str, amount: int, waits: bool, again: bool) -> None:
        """Reserve money."""
        name = self.name(again)
        self.add(hold(name, PLACES[2], credit, amount, event_at=0, reason="test"), waits)

    @rule(pick=PICKS, share=st.integers(min_value=0, max_value=5), waits=WAITS)
    def post(self, pick: int, share: int, waits: bool) -> None:
        """Use a part of something, all of it, or a little more."""
        of = self.earlier(pick)
        amount = self.books.moves[of][3] * share // 4 if of in self.books.moves else share
        self.add(post(self.name(False), of, amount, event_at=0, reason="test"), waits)

    @rule(pick=PICKS, end=st.sampled_from(["void", "expire", "reverse"]), waits=WAITS)
    def end(self, pick: int, end: str, waits: bool) -> None:
        """Free a hold or undo a transfer, or what is none."""
        ends = {"void": void, "expire": expire, "reverse": reverse}
        name, of = self.name(False), self.earlier(pick)
        self.add(ends[end](name, of, event_at=0, reason="test"), waits)

    def name(self, again: bool) -> str:
        """An id that is new, or one that is taken."""
        if again and self.books.moves:
            return list(self.books.moves)[-1]
        self.names += 1
        return f"t{self.names}"

    def earlier(self, pick: int) -> str:
        """The id of something done before, or gathered for the chain in hand."""
        waiting = [request.id for chain in (*self.batch, self.pending) for request in chain]
        names = [*self.books.moves, *waiting]
        return names[-1 - pick] if pick < len(names) else "nothing"

    def add(self, request: TransferRequest, waits: bool) -> None:
        """Send it, with those that have waited for it."""
        if any(request.id == other.id for other in self.pending):
            return
        self.pending.append(request)
        if not waits or len(self.pending) > 3:
            self.batch.append(tuple(self.pending))
            self.pending = []
        if len(self.batch) > 3:
            self.send()

    @rule()
    def send(self) -> None:
        """Everything that has gathered, as one batch."""
        chains, self.batch = self.batch, []
        self.submit(*chains)

    @rule(pick=st.integers(min_value=0))
    def again(self, pick: int) -> None:
        """Something that was done before, once more."""
        if self.books.asked:
            names = sorted(self.books.asked)
            self.batch.append(self.books.asked[names[pick % len(names)]])

    @invariant()
    def nothing_is_overspent(self) -> None:
        """No wallet of the model is below nothing."""
        assert all(self.books.left[wallet] >= 0 for wallet in WALLETS)

    def teardown(self) -> None:
        """The database says what the model says, and verifies."""
        self.loop.run_until_complete(self.writer.close())
        self.loop.close()
        database = open_database(self.url, durable=False, read_only=True)
        reader = LedgerReader(database)
        accounts = reader.accounts()
        for wallet in WALLETS:
            kept = accounts[wallet].available if wallet in accounts else 0
            assert kept == self.books.left[wallet]
        assert verify_ledger(reader).findings == ()
        database.close()
        shutil.rmtree(self.folder)


TestWriter = WriterMachine.TestCase
TestWriter.settings = settings(max_examples=40, stateful_step_count=60, deadline=None)
