"""Pretend clouds for storms: each with its own truth, its own meter and no idea of the agent.

Nothing here fails on purpose: what goes wrong on the way to a cloud is `port`'s business.
"""

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from random import Random
from typing import Final

from treasury.domain.commands import Acquire
from treasury.domain.errors import BidTooLow, NoCapacity, OfferGone, QuotaReached
from treasury.domain.events import LeaseSeen
from treasury.domain.ids import LeaseId, OfferId, PlacementId, Token
from treasury.domain.market import Offer, Quote, Tenure
from treasury.domain.time import HOUR, MINUTE, SECOND
from treasury_simulations.meter import bill, integral, micros

# How long a cloud still lists a machine that has ended, and remembers a request's token.
LISTED_AFTER_END: Final = HOUR
# Machines of one request do not boot at one instant.
_BOOT_SPREAD: Final = 2 * MINUTE
TOKENS_KEPT: Final = 24 * HOUR


@dataclass(slots=True, eq=False)
class Machine:
    """One machine as it truly is. Instants in ns, rates in nano-USD/h.

    noticed: when the market will take it. stops_at: when it will have shut down. owner: the
    installation whose tag it carries. by_hand: nobody asked for it. told: how often
    a listing with its end was delivered to somebody who could have written it down.
    """

    name: str
    lease: LeaseId
    placement: PlacementId
    token: Token
    offer: Offer
    bid: int
    granted_at: int
    rates: list[tuple[int, int]]
    ready_at: int
    owner: str
    ended_at: int | None = None
    cause: str = ""
    noticed: int | None = None
    stops_at: int | None = None
    by_hand: bool = False
    told: int = 0

    def cost(self, now: int) -> int:
        """What it has cost [micro-USD]: its bill once it has ended, the exact time until then."""
        if self.ended_at is None:
            return micros(integral(self.rates, self.granted_at, max(now, self.granted_at)))
        return bill(self.rates, self.offer.capabilities, self.granted_at, self.ended_at)


@dataclass(slots=True, eq=False)
class Pool:
    """An offer's true rate [nano-USD/h] and how many machines it could carry."""

    offer: Offer
    base: int
    rate: int
    capacity: int
    machines: dict[str, Machine] = field(default_factory=dict)


@dataclass(slots=True)
class _Answer:
    at: int
    machines: tuple[Machine, ...]


class Cloud:
    """One market. ended: called with each machine that ends. history: every machine there ever
    was, in order of its grant."""

    def __init__(self, name: str, pools: Iterable[Pool], dice: Random, owner: str) -> None:
        self.name = name
        self.pools: dict[OfferId, Pool] = {pool.offer.id: pool for pool in pools}
        self.machines: dict[str, Machine] = {}
        self.history: list[Machine] = []
        self.quota = 1_000
        self.began: list[Callable[[Machine], None]] = []
        self.ended: list[Callable[[Machine], None]] = []
        self._owner = owner
        self._dice = dice
        self._answers: dict[Token, _Answer] = {}
        self._gone: deque[Machine] = deque()
        self._serial = 0
        self._granted: set[PlacementId] = set()
        # What was granted twice, and not by a fault of this market's.
        self.doubled: list[str] = []

    # --- what it is asked ------------------------------------------------------------------------

    def create(self, request: Acquire, now: int) -> tuple[Machine, ...]:
        """Grant all machines of a request or none. The same token has the same answer."""
        known = self._answers.get(request.token)
        if known is not None and now - known.at < TOKENS_KEPT:
            return known.machines
        pool = self.pools.get(request.offer)
        if pool is None:
            raise OfferGone(request.offer)
        count = len(request.leases)
        capabilities = pool.offer.capabilities
        if len(self.machines) + count > self.quota:
            raise QuotaReached(self.name)
        if capabilities.bids and request.bid < pool.rate:
            raise BidTooLow(request.offer)
        if len(pool.machines) + count > pool.capacity:
            raise NoCapacity(request.offer)
        made = tuple(
            self._make(pool, lease, request.placement, request.token, request.bid, now)
            for lease in request.leases
        )
        self._granted.add(request.placement)
        if capabilities.honours_tokens:
            self._answers[request.token] = _Answer(now, made)
        return made

    def forget(self, token: Token) -> None:
        """A token is forgotten before its time."""
        answer = self._answers.pop(token, None)
        if answer is not None and answer.machines:
            # That a repeated request is granted again is now the market's fault.
            self._granted.discard(answer.machines[0].placement)

    def twin(self, request: Acquire, now: int) -> None:
        """A request is granted once more than it was asked for."""
        pool = self.pools[request.offer]
        lease, placement, token = request.leases[0], request.placement, request.token
        self._make(pool, lease, placement, token, request.bid, now, by_hand=True).by_hand = False

    def by_hand(self, lease: LeaseId, now: int) -> None:
        """Somebody starts a machine under our tag."""
        pool = next(iter(self.pools.values()))
        name = f"by-hand-{lease}"
        self._make(pool, lease, PlacementId(0), Token(name), pool.rate, now, by_hand=True)

    def _make(
        self,
        pool: Pool,
        lease: LeaseId,
        placement: PlacementId,
        token: Token,
        bid: int,
        now: int,
        *,
        by_hand: bool = False,
    ) -> Machine:
        self._serial += 1
        if placement in self._granted and not by_hand:
            self.doubled.append(f"{self.name} was asked twice for placement {placement}")
        capabilities = pool.offer.capabilities
        granted_at = now + capabilities.grant_delay_ns
        machine = Machine(
            name=f"{self.name}-{self._serial}",
            lease=lease,
            placement=placement,
            token=token,
            offer=pool.offer,
            bid=bid,
            granted_at=granted_at,
            rates=[(granted_at, pool.rate)],
            ready_at=granted_at + capabilities.boot_ns + self._dice.randrange(_BOOT_SPREAD),
            owner=self._owner,
            by_hand=by_hand,
        )
        self.machines[machine.name] = pool.machines[machine.name] = machine
        self.history.append(machine)
        for tell in self.began:
            tell(machine)
        return machine

    def stop(self, lease: LeaseId, name: str, now: int, later: int = 0) -> None:
        """End a machine, by its name or by the lease it is tagged with, now or `later` [ns]: until
        then it shuts down and is billed. Already gone is success."""
        machine = self.machines.get(name)
        if machine is None and not name:
            machine = next((m for m in self.machines.values() if m.lease == lease), None)
        if machine is None:
            return
        if later and machine.stops_at is None:
            machine.stops_at = now + later
        elif not later:
            self.end(machine, now, "released")

    def end(self, machine: Machine, now: int, cause: str) -> None:
        """A machine ends, whoever wants it."""
        if machine.ended_at is not None:
            return
        machine.ended_at = max(now, machine.granted_at)
        machine.cause = cause
        del self.machines[machine.name]
        del self.pools[machine.offer.id].machines[machine.name]
        self._gone.append(machine)
        for tell in self.ended:
            tell(machine)

    def rebid(self, lease: LeaseId, bid: int, now: int) -> bool:
        """Change a machine's bid; whether there is such a machine. Outbid ones are taken."""
        machine = next((m for m in self.machines.values() if m.lease == lease), None)
        if machine is None:
            return False
        machine.bid = bid
        self._outbid(self.pools[machine.offer.id], now)
        return True

    def listing(self, now: int, as_of: int) -> list[LeaseSeen]:
        """Everything that carried the owner's tag at `as_of` [ns]: what lived, and what had ended a
        while before."""
        while self._gone and (self._gone[0].ended_at or 0) < now - LISTED_AFTER_END:
            self._gone.popleft()
        seen = []
        for machine in (*self._gone, *self.machines.values()):
            if machine.owner != self._owner or machine.granted_at > as_of:
                continue
            ended_at = machine.ended_at
            if ended_at is not None and ended_at > as_of:
                ended_at = None
            seen.append(
                LeaseSeen(
                    machine.lease,
                    machine.placement,
                    machine.name,
                    machine.granted_at,
                    machine.rates[-1][1],
                    machine.token,
                    ready=False,
                    ended_at=ended_at,
                    cause="" if ended_at is None else machine.cause,
                )
            )
        return seen

    def tell(self, seen: list[LeaseSeen]) -> None:
        """Note which ends a listing has told."""
        ended = {item.machine for item in seen if item.ended_at is not None}
        for machine in self._gone:
            if machine.name in ended:
                machine.told += 1

    def quotes(self, now: int) -> list[Quote]:
        """Present rates and depths."""
        return [
            Quote(pool.offer.id, pool.rate, pool.capacity, now, now) for pool in self.pools.values()
        ]

    # --- what it does by itself ------------------------------------------------------------------

    def move(self, now: int) -> list[tuple[Machine, int]]:
        """Let prices and capacity move; returns machines that were given notice, and until when."""
        noticed = []
        for pool in self.pools.values():
            if pool.offer.tenure is not Tenure.SPOT:
                continue
            step = self._dice.randint(-pool.base // 10, pool.base // 10)
            pool.rate = min(max(pool.rate + step, pool.base // 3), pool.base * 3)
            pool.capacity = min(max(pool.capacity + self._dice.choice((-1, 0, 0, 0, 1)), 0), 12)
            if pool.offer.capabilities.floating:
                for machine in pool.machines.values():
                    machine.rates.append((now, pool.rate))
            noticed += self._outbid(pool, now)
            excess = sum(m.noticed is None for m in pool.machines.values()) - pool.capacity
            if excess > 0:
                staying = [m for m in pool.machines.values() if m.noticed is None]
                for machine in self._dice.sample(staying, excess):
                    noticed += self._take(machine, now, "capacity")
        return noticed

    def take_pool(self, offer: OfferId, now: int) -> list[tuple[Machine, int]]:
        """Take every machine of a pool at once."""
        taken = []
        for machine in list(self.pools[offer].machines.values()):
            if machine.noticed is None:
                taken += self._take(machine, now, "capacity")
        return taken

    def due(self, now: int) -> None:
        """End the machines whose notice has run out, and those that have shut down."""
        for machine in list(self.machines.values()):
            if machine.noticed is not None and machine.noticed <= now:
                self.end(machine, machine.noticed, "interrupted")
            elif machine.stops_at is not None and machine.stops_at <= now:
                self.end(machine, machine.stops_at, "released")

    def _outbid(self, pool: Pool, now: int) -> list[tuple[Machine, int]]:
        if not pool.offer.capabilities.bids:
            return []
        taken = []
        for machine in list(pool.machines.values()):
            if machine.bid < pool.rate and machine.noticed is None:
                taken += self._take(machine, now, "outbid")
        return taken

    def _take(self, machine: Machine, now: int, cause: str) -> list[tuple[Machine, int]]:
        machine.cause = cause
        machine.noticed = now + machine.offer.capabilities.notice_ns
        if machine.noticed <= now:
            self.end(machine, now, cause)
            return []
        return [(machine, machine.noticed)]


# How often prices and capacities move.
MOVE_EVERY: Final = 10 * MINUTE
# A machine's notice is looked at this often.
DUE_EVERY: Final = 30 * SECOND
