"""A book with a market that answers by hand, for tests of the engine."""

from treasury.domain import events as e
from treasury.domain.budget import Budget
from treasury.domain.commands import Acquire, Command, StartWork
from treasury.domain.hardware import Shape
from treasury.domain.job import JobSpec, Requirement
from treasury.domain.market import Capabilities, Offer, Quote, Tenure, offer_id
from treasury.domain.money import MICRO, NANO
from treasury.domain.plan import Action, Place, Plan
from treasury.domain.settings import EngineSettings
from treasury.domain.time import HOUR, MINUTE
from treasury.domain.turn import Entry, Turn
from treasury.engine import Book, replay, step

CAPABILITIES = Capabilities(billing_step_ns=MINUTE, billing_minimum_ns=MINUTE, floating=True)


def offer(zone: str, tenure: Tenure = Tenure.SPOT) -> Offer:
    """A V100 machine of one zone."""
    return Offer(
        offer_id("aws", "us", zone, "p3", tenure),
        "aws",
        "us",
        zone,
        Shape("V100", 1, 16, "p3"),
        tenure,
        CAPABILITIES,
    )


A, B = offer("a"), offer("b")


class Table:
    """A book with a market to answer for: keeps entries and the commands of the last turn."""

    def __init__(self, amount: int = 100 * MICRO, *budgets: Budget, now: int = 0) -> None:
        self.book = Book()
        self.entries: list[Entry] = []
        self.commands: list[Command] = []
        self.now = now
        budgets = budgets or (
            Budget(cost_centre="org", amount=10 * amount),
            Budget(cost_centre="team", parent="org", amount=amount),
        )
        settings = EngineSettings(tick=MINUTE, accrual=HOUR, horizon=2 * HOUR)
        self.turn(e.Configure(settings, budgets), e.ListOffers("aws", (A, B)))
        self.quote(A, 1 * NANO)
        self.quote(B, 2 * NANO)

    def turn(self, *batch: e.Input, at: int | None = None) -> Turn:
        if at is not None:
            self.now = at
        turn = step(self.book, batch, self.now)
        self.entries.append(turn.entry)
        self.commands = [approved.command for approved in turn.entry.commands]
        return turn

    def facts(self, kind: type) -> list[e.Fact]:
        return [f for entry in self.entries for f in entry.facts if isinstance(f, kind)]

    def quote(self, what: Offer, rate: int, depth: int = 5) -> None:
        """The market says what it asks and how many it has."""
        self.turn(e.SeeQuotes((Quote(what.id, rate, depth, self.now, self.now),)))

    def submit(
        self, job: str = "j", nodes: int = 1, cost_centre: str = "team", **fields: object
    ) -> None:
        spec = JobSpec(
            id=job,
            cost_centre=cost_centre,
            requirement=Requirement({"V100": 1000}, nodes=nodes),
            work=10 * HOUR,
            submitted_at=self.now,
            **fields,
        )
        self.turn(e.SubmitJob(spec))

    def plan(self, *actions: Action) -> None:
        self.turn(e.Propose(Plan(self.book.plan_version, actions)))

    def grant(self, rate: int) -> None:
        acquire = next(c for c in self.commands if isinstance(c, Acquire))
        machines = tuple(f"i-{lease}" for lease in acquire.leases)
        ready = [e.MachineReady(lease, self.now) for lease in acquire.leases]
        self.turn(
            e.AcquireGranted(acquire.token, acquire.placement, machines, self.now, rate), *ready
        )

    def begin(self) -> None:
        start = next(c for c in self.commands if isinstance(c, StartWork))
        self.turn(e.WorkBegan(start.job, start.placement, self.now))

    def run(self, job: str = "j") -> None:
        self.submit(job)
        self.plan(Place(job, A.id, 3 * NANO))
        self.grant(1 * NANO)
        self.begin()

    def check(self) -> None:
        assert replay(self.entries).digest() == self.book.digest()
