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
AMOUNTS = st.integers(min_value=1, max_value=60)
# Ids come from a small pool, so that they are often used again.
IDS = st.integers(min_value=0, max_value=40).map("t{}".format)


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

    def submit(self, chain: tuple[TransferRequest, ...]) -> None:
        """Ask the writer and the model; they must agree, and a refusal must leave no trace."""
        answer: Outcome = self.loop.run_until_complete(self.writer.submit(chain))
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

    @rule(name=IDS, debit=st.sampled_from(PLACES), credit=st.sampled_from(PLACES), amount=AMOUNTS)
    def direct(self, name: str, debit: str, credit: str, amount: int) -> None:
        """Move money."""
        if debit != credit:
            self.add(direct(name, debit, credit, amount, event_at=0, reason="test"))

    @rule(name=IDS, credit=st.sampled_from(PLACES[:2]), amount=AMOUNTS)
    def hold(self, name: str, credit: str, amount: int) -> None:
        """Reserve money."""
        self.add(hold(name, PLACES[2], credit, amount, event_at=0, reason="test"))

    @rule(name=IDS, of=IDS, amount=st.integers(min_value=0, max_value=60))
    def post(self, name: str, of: str, amount: int) -> None:
        """Use a hold, or what is none."""
        self.add(post(name, of, amount, event_at=0, reason="test"))

    @rule(name=IDS, of=IDS, end=st.sampled_from([void, expire, reverse]))
    def end(self, name: str, of: str, end: type[TransferRequest]) -> None:
        """Free a hold or undo a transfer, or what is none."""
        self.add(end(name, of, event_at=0, reason="test"))  # type: ignore[call-arg]

    def add(self, request: TransferRequest) -> None:
        """Requests gather into a chain until one is sent off."""
        if all(request.id != other.id for other in self.pending):
            self.pending.append(request)

    @rule()
    def send(self) -> None:
        """What has gathered, as a chain."""
        chain, self.pending = tuple(self.pending), []
        if chain:
            self.submit(chain)

    @rule(pick=st.integers(min_value=0))
    def again(self, pick: int) -> None:
        """Something that was done before, once more."""
        if self.books.asked:
            names = sorted(self.books.asked)
            self.submit(self.books.asked[names[pick % len(names)]])

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
TestWriter.settings = settings(max_examples=25, stateful_step_count=40, deadline=None)
