"""All pools' memories, fed by snapshots: the one thing a strategy has to carry along."""

from collections.abc import Iterable

import msgspec

from treasury.domain.ids import OfferId
from treasury.domain.plan import OfferView
from treasury.forecast.hazards import Curves, Prior, Regime, curves
from treasury.forecast.price import PriceLevel, first_price
from treasury.forecast.regime import PoolMemory, first_sight


class Pool(msgspec.Struct):
    """What is remembered of one pool; price is None until it was quoted. deepest: the most machines
    it was ever seen to have room for, -1 where the market does not say."""

    memory: PoolMemory
    price: PriceLevel | None = None
    deepest: int = -1


class Forecaster(msgspec.Struct):
    """Learns from what snapshots show and answers with hazards.

    The same snapshots in the same order give the same state, live or replayed. The state is plain
    data: `encode` writes it down, `decode` takes it up again.
    """

    prior: Prior
    pools: dict[OfferId, Pool] = {}

    def see(self, now: int, views: Iterable[OfferView]) -> None:
        """Take in the market at an instant [ns]. An offer that is quoted and neither empty nor set
        aside after a refusal is there; anything else is not."""
        for view in views:
            offer = view.offer.id
            there = view.rate >= 0 and view.depth != 0 and now >= view.quarantined_until
            self.see_pool(offer, now, there, view.rate)
            pool = self.pools[offer]
            pool.deepest = max(pool.deepest, view.depth)

    def see_pool(self, offer: OfferId, now: int, there: bool, rate: int) -> None:
        """Take in one pool at an instant [ns]. rate: nano-USD/h, -1 for none."""
        pool = self.pools.get(offer)
        if pool is None:
            pool = self.pools[offer] = Pool(first_sight(now, there))
        else:
            self._see(pool.memory, now, there)
        if rate >= 0:
            if pool.price is None:
                pool.price = first_price(now, rate)
            else:
                pool.price.see(now, rate)

    def _see(self, memory: PoolMemory, now: int, there: bool) -> None:
        if memory.counted or not memory.due(now):
            memory.see(now, there)
            return
        regime = memory.regime()
        plain = self.prior.clip(Regime(regime.loss, regime.back))
        age = max(memory.age(memory.counted_at), 1.0)
        forecast = self.prior.back_hazard(age, plain)
        memory.see(now, there)
        memory.surprise.judge(forecast, there)

    def interrupted(self, offer: OfferId) -> None:
        """A machine of a pool was taken back."""
        pool = self.pools.get(offer)
        if pool is not None:
            pool.memory.interrupted()

    def there(self, offer: OfferId) -> bool:
        """Whether capacity was there when the pool was last seen."""
        pool = self.pools.get(offer)
        return pool is not None and pool.memory.available

    def holds(self, offer: OfferId, nodes: int) -> bool:
        """Whether a gang might ever find room in a pool, by what was seen of it. A pool that has
        been empty ever since is given the benefit of the doubt."""
        pool = self.pools.get(offer)
        return pool is None or pool.deepest <= 0 or pool.deepest >= nodes

    def age(self, offer: OfferId, now: int) -> float:
        """Steps for which a pool has been in its state; 1 where nothing is known."""
        pool = self.pools.get(offer)
        return 1.0 if pool is None else pool.memory.age(now)

    def regime(self, offer: OfferId) -> Regime:
        """A pool's regime as known now; the prior's mean where nothing is known."""
        pool = self.pools.get(offer)
        return self.prior.mean if pool is None else pool.memory.regime()

    def curves(self, offer: OfferId) -> Curves:
        """A pool's hazards in its present regime."""
        return curves(self.prior, self.regime(offer))

    def long_run(self) -> Curves:
        """Hazards to which every pool's return."""
        return curves(self.prior, self.prior.mean)

    def level(self, offer: OfferId, otherwise: int) -> float:
        """A pool's price level [nano-USD/h], or `otherwise` where it was never quoted."""
        pool = self.pools.get(offer)
        return float(otherwise) if pool is None or pool.price is None else pool.price.rate()

    def encode(self) -> bytes:
        """The whole state as JSON."""
        return msgspec.json.encode(self)

    @staticmethod
    def decode(data: bytes) -> "Forecaster":
        """The state from `encode`'s bytes. Raises msgspec.DecodeError."""
        return msgspec.json.decode(data, type=Forecaster)
