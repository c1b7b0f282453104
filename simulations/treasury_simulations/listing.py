"""What a provider lists as ours: its truth, some time ago."""

from collections import deque
from collections.abc import Iterable

from treasury.domain.events import LeaseSeen, SeeLeases
from treasury_simulations.machines import Machine
from treasury_simulations.market import Provider


class Listing:
    """Remembers machines that ended for as long as some provider may still list them."""

    __slots__ = ("_gone", "_lag")

    def __init__(self, providers: Iterable[Provider]) -> None:
        lags = [provider.model.capabilities.listing_lag_ns for provider in providers]
        self._lag = max(lags, default=0)
        self._gone: deque[tuple[int, Machine]] = deque()

    def end(self, machine: Machine, now: int) -> None:
        """A machine ended at an instant [ns]."""
        if not self._lag:
            return
        gone = self._gone
        while gone and gone[0][0] <= now - self._lag:
            gone.popleft()
        gone.append((now, machine))

    def seen(self, provider: Provider, machines: Iterable[Machine], now: int) -> SeeLeases:
        """A provider's listing at an instant [ns], as of its lag before; `machines` are all that
        are held now."""
        as_of = now - provider.model.capabilities.listing_lag_ns
        gone = [machine for ended_at, machine in self._gone if ended_at > as_of]
        seen = [
            LeaseSeen(
                machine.lease,
                machine.gang.placement,
                machine.name,
                machine.granted_at,
                machine.rates[0][1],
                machine.gang.token,
                ready=machine.ready,
            )
            for machine in [*gone, *machines]
            if machine.pool.provider is provider and machine.granted_at <= as_of
        ]
        seen.sort(key=lambda lease: lease.lease)
        return SeeLeases(provider.name, tuple(seen), as_of)
