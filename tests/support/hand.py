"""A world played by hand: commands go in at chosen instants, what it tells is kept."""

from typing import Any, TypeVar

from tests.support.worlds import PLAIN, MemoryTrace, job, pool
from treasury.domain.commands import Acquire, ChangeBid, Release, StartWork, StopWork
from treasury.domain.events import Input
from treasury.domain.ids import request_token
from treasury.domain.job import JobSpec
from treasury.domain.market import Capabilities
from treasury.domain.money import NANO
from treasury.domain.time import NEVER
from treasury_simulations.meter import bill
from treasury_simulations.scenario import MarketModel
from treasury_simulations.world import World

Told = TypeVar("Told", bound=Input)
HIGH = 100 * NANO


def plain(**fields: Any) -> Capabilities:
    """Capabilities that delay and round nothing, but for the `fields` given."""
    return Capabilities(**{"billing_step_ns": 1, "billing_minimum_ns": 0, **fields})


class Hand:
    """A world with one market model. told: every input so far, in order."""

    def __init__(
        self,
        trace: MemoryTrace,
        *jobs: JobSpec,
        capabilities: Capabilities = PLAIN,
        seed: int = 0,
        **model: Any,
    ) -> None:
        models = {
            data.provider: MarketModel(capabilities=capabilities, **model) for data in trace.pools
        }
        self.world = World(trace, models, jobs or (job(),), seed)
        self.now = 0
        self.told: list[Input] = []
        self._placement = self._lease = 0

    def to(self, instant: int) -> list[Input]:
        """Go on to an instant, through everything before; returns what was told on the way."""
        told: list[Input] = []
        while self.world.next_at <= instant:
            self.now = self.world.next_at
            told += self.world.advance(self.now)
        self.now = instant
        told += self.world.advance(instant)
        self.told += told
        return told

    def end(self) -> list[Input]:
        """Go on until nothing happens any more."""
        told: list[Input] = []
        while self.world.next_at < NEVER:
            told += self.to(self.world.next_at)
        return told

    def acquire(
        self, offer: Any, nodes: int = 1, *, bid: int = HIGH, token: str = ""
    ) -> tuple[int, tuple[int, ...], list[Input]]:
        """Ask for machines of a pool now; its placement, its leases, and what was told at once."""
        self._placement += 1
        leases = tuple(range(self._lease + 1, self._lease + 1 + nodes))
        self._lease += nodes
        token = token or request_token("test", self._placement, 1)
        name = offer if isinstance(offer, str) else offer.id
        command = Acquire("aws", name, self._placement, leases, bid, token)
        return self._placement, leases, self.order(command)

    def order(self, command: Any) -> list[Input]:
        """Send a command now; returns what was told at once."""
        self.world.execute(command, self.now)
        return self.to(self.now)

    def start(
        self, placement: int, leases: tuple[int, ...], name: str = "j", done: int = 0
    ) -> list[Input]:
        """Start a job on machines."""
        return self.order(StartWork("aws", name, placement, leases, done))

    def stop(self, placement: int, name: str = "j") -> list[Input]:
        """Checkpoint and stop a job."""
        return self.order(StopWork("aws", name, placement))

    def release(self, lease: int) -> list[Input]:
        """Give a machine back."""
        return self.order(Release("aws", lease))

    def rebid(self, lease: int, bid: int) -> list[Input]:
        """Change a machine's bid."""
        return self.order(ChangeBid("aws", lease, bid))

    def work(self, offer: Any, nodes: int = 1, **how: Any) -> tuple[int, tuple[int, ...]]:
        """Acquire machines and start the job `j` on them; both must succeed at once."""
        placement, leases, _ = self.acquire(offer, nodes, **how)
        self.start(placement, leases)
        return placement, leases

    def bills(self) -> dict[int, int]:
        """What each machine that ended costs [micro-USD]."""
        return {
            m.lease: bill(m.rates, m.pool.offer.capabilities, m.granted_at, m.ended_at)
            for m in self.world.finished
            if m.ended_at is not None
        }


def only(told: list[Input], kind: type[Told]) -> Told:
    """The one input of a kind among those told."""
    found = [event for event in told if isinstance(event, kind)]
    assert len(found) == 1, told
    return found[0]


def flat(rate: int = NANO, depth: int = 4, **fields: Any) -> MemoryTrace:
    """One pool whose price and room never change."""
    return MemoryTrace((pool(**fields),), ((0, 0, rate, depth),))


__all__ = ["HIGH", "Hand", "flat", "only", "plain"]
