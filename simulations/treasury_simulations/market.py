"""The pretend markets: what each pool costs and how many machines it holds, by the trace."""

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final, Protocol

from treasury.domain.errors import NotFound, TraceError
from treasury.domain.events import ListOffers, SeeQuotes
from treasury.domain.hardware import Shape
from treasury.domain.ids import ProviderName
from treasury.domain.market import Offer, Quote, Tenure, offer_id
from treasury.domain.time import NEVER
from treasury_simulations.scenario import MarketModel

if TYPE_CHECKING:
    from treasury_simulations.machines import Machine
    from treasury_simulations.openings import BestPrice

# More machines than anybody asks for: the room of a pool that has no limit.
UNLIMITED: Final = 1 << 40


class PoolData(Protocol):
    """A pool as a trace describes it. gpu_memory_gib: per accelerator, 0 where unknown."""

    provider: Any
    region: str
    zone: str
    instance: str
    gpu: str
    gpus: int
    gpu_memory_gib: int
    tenure: Any


class MarketTrace(Protocol):
    """What a world needs of a trace; a trace file and a list in memory both will do. Without a
    `header` depths are counts, and the trace spans its rows."""

    pools: Any

    def market(self) -> Iterable[tuple[int, int, int, int]]:
        """Rows (at [ns], index of the pool, rate [nano-USD/h per machine] or -1 where it is not
        sold, machines it holds or -1 where nobody says), instants never falling."""
        ...


class Provider:
    """A pretend provider. held: machines of all its pools that we hold."""

    __slots__ = ("held", "model", "name", "pools")

    def __init__(self, name: str, model: MarketModel) -> None:
        self.name = ProviderName(name)
        self.model = model
        self.pools: list[Pool] = []
        self.held = 0


class Pool:
    """A pool's truth. rate: -1 before the first price. capacity: machines we could hold, ours
    included. staying: those we hold that nobody has announced to take."""

    __slots__ = (
        "capacity",
        "floating",
        "index",
        "interruptible",
        "machines",
        "offer",
        "provider",
        "quoted",
        "rate",
        "staying",
        "watchers",
    )

    def __init__(self, index: int, data: PoolData, provider: Provider) -> None:
        tenure = Tenure(data.tenure)
        capabilities = provider.model.capabilities
        self.index = index
        self.provider = provider
        self.offer = Offer(
            id=offer_id(data.provider, data.region, data.zone, data.instance, tenure),
            provider=provider.name,
            region=data.region,
            zone=data.zone,
            shape=Shape(data.gpu, data.gpus, data.gpu_memory_gib, data.instance),
            tenure=tenure,
            capabilities=capabilities,
        )
        self.floating = capabilities.floating
        # Only spot machines are taken back; elsewhere a lack of capacity refuses newcomers.
        self.interruptible = tenure is Tenure.SPOT
        self.rate = -1
        self.capacity = 0
        self.quoted = (-1, 0)
        self.staying = 0
        self.machines: dict[int, Machine] = {}
        self.watchers: list[BestPrice] = []

    def free(self) -> int:
        """Machines that could be had now."""
        return self.capacity - self.staying

    def note(self, now: int) -> None:
        """Tell those who follow the best open price that rate or room has changed."""
        for watcher in self.watchers:
            watcher.update(self, now)


class Market:
    """All pools, moved on by the trace. next_at: instant [ns] of the next row, NEVER after the
    last."""

    __slots__ = ("_binary", "_row", "_rows", "next_at", "pools", "providers")

    def __init__(self, trace: MarketTrace, markets: Mapping[str, MarketModel]) -> None:
        header = getattr(trace, "header", None)
        # There a depth of 1 says "at least one": how many is the model's to say.
        self._binary = header is not None and header.depth_kind == "binary"
        self.providers: dict[str, Provider] = {}
        self.pools: list[Pool] = []
        for index, data in enumerate(trace.pools):
            if data.provider not in markets:
                raise NotFound(f"the trace names the provider {data.provider}, which has no market")
            provider = self.providers.get(data.provider)
            if provider is None:
                provider = Provider(data.provider, markets[data.provider])
                self.providers[data.provider] = provider
            pool = Pool(index, data, provider)
            provider.pools.append(pool)
            self.pools.append(pool)
        self._rows: Iterator[tuple[int, int, int, int]] = iter(trace.market())
        self._row = next(self._rows, None)
        self.next_at = NEVER if self._row is None else self._row[0]

    def catalogue(self) -> list[ListOffers]:
        """What every provider sells, provider by provider."""
        return [
            ListOffers(provider.name, tuple(pool.offer for pool in provider.pools))
            for provider in self.providers.values()
        ]

    def advance(self, now: int) -> list[Pool]:
        """Take every row up to an instant [ns]; returns the pools whose quote is another now."""
        touched: dict[int, Pool] = {}
        row = self._row
        while row is not None and row[0] <= now:
            at, index, rate, depth = row
            pool = self.pools[index]
            if rate < 0:
                pool.capacity = 0
            else:
                pool.rate = rate
                if depth < 0 or (depth and self._binary):
                    depth = pool.provider.model.depth
                pool.capacity = UNLIMITED if depth < 0 else depth
            touched[index] = pool
            row = self._row = next(self._rows, None)
            if row is not None and row[0] < at:
                raise TraceError(f"a market row of {row[0]} ns follows one of {at} ns")
        self.next_at = NEVER if row is None else row[0]
        changed = []
        for pool in touched.values():
            quoted = (pool.rate, pool.capacity)
            if quoted != pool.quoted:
                pool.quoted = quoted
                changed.append(pool)
        return changed


def quotes(pools: list[Pool], now: int) -> SeeQuotes | None:
    """Quotes of pools as they are now; a pool that never had a price has none to give."""
    said = tuple(
        Quote(
            pool.offer.id,
            pool.rate,
            -1 if pool.capacity == UNLIMITED else pool.capacity,
            now,
            now,
        )
        for pool in pools
        if pool.rate >= 0
    )
    return SeeQuotes(said) if said else None
