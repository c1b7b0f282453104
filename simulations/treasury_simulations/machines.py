"""Machines and the work on them, as they truly are in the pretend world."""

from treasury.domain.ids import LeaseId, PlacementId, Token
from treasury.domain.job import REFERENCE_THROUGHPUT, JobSpec
from treasury_simulations.market import Pool


class Work:
    """A job at work on a gang: [started_at, useful_from) is overhead, then useful work follows.

    base: reference ns done before. stopped_at: None while it goes on. kept_until: what was done
    after this instant is lost. premium: what was paid for a machine of the gang above the best
    open price [nano-USD/h x ns].
    """

    __slots__ = (
        "base",
        "follower",
        "kept_until",
        "premium",
        "spec",
        "speed",
        "started_at",
        "stopped_at",
        "useful_from",
    )

    def __init__(self, spec: JobSpec, speed: int, base: int, now: int) -> None:
        self.spec = spec
        self.speed = speed
        self.base = base
        self.started_at = now
        self.useful_from = now + spec.start_overhead
        self.stopped_at: int | None = None
        self.kept_until = 0
        self.premium = 0
        self.follower = 0

    def done(self, now: int) -> int:
        """Reference ns of the job done at an instant, the job's whole work at most."""
        if now <= self.useful_from:
            return self.base
        return min(
            self.spec.work,
            self.base + (now - self.useful_from) * self.speed // REFERENCE_THROUGHPUT,
        )

    def ends_at(self) -> int:
        """When all work is done, rounded up to a whole ns."""
        left = self.spec.work - self.base
        return self.useful_from + -(-left * REFERENCE_THROUGHPUT // self.speed)

    def checkpoint_before(self, now: int) -> int:
        """Instant of the last periodic checkpoint, `useful_from` where there was none yet."""
        interval = self.spec.checkpoint_interval
        if interval <= 0 or now <= self.useful_from:
            return max(now, self.useful_from)
        return now - (now - self.useful_from) % interval


class Gang:
    """The machines of one placement and what runs on them. size: how many were granted; machines:
    those that are left."""

    __slots__ = ("machines", "placement", "pool", "size", "token", "work")

    def __init__(self, placement: PlacementId, pool: Pool, token: Token, size: int) -> None:
        self.placement = placement
        self.size = size
        self.pool = pool
        self.token = token
        self.machines: dict[LeaseId, Machine] = {}
        self.work: Work | None = None


class Machine:
    """One machine from grant to end. rates: (since [ns], nano-USD/h) as billed. leaving_at: when
    the market has announced to take it, None where it has not."""

    __slots__ = (
        "bid",
        "cause",
        "ended_at",
        "gang",
        "granted_at",
        "lease",
        "leaving_at",
        "name",
        "pool",
        "rates",
        "ready",
        "works",
    )

    def __init__(
        self, lease: LeaseId, name: str, gang: Gang, bid: int, granted_at: int, rate: int
    ) -> None:
        self.lease = lease
        self.name = name
        self.gang = gang
        self.pool = gang.pool
        self.bid = bid
        self.granted_at = granted_at
        self.rates: list[tuple[int, int]] = [(granted_at, rate)]
        self.ready = False
        self.leaving_at: int | None = None
        self.ended_at: int | None = None
        self.cause = ""
        self.works: list[Work] = []
