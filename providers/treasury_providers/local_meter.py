"""The market's own meter: what each machine of this host costs by the published rule.

It reads what the machines left on disk, so that it can be read when nothing runs any more, and
looks at nothing the daemon has booked. A machine costs the exact sum of rate x time from its grant
to its end, the end rounded up to the market's minimum and step, rounded up once to a whole
micro-USD.
"""

from pathlib import Path

import msgspec

from treasury.domain.ids import LeaseId
from treasury.domain.money import charge
from treasury_providers.local_state import Machine, State


class Metered(msgspec.Struct, frozen=True, kw_only=True):
    """A machine as the market bills it. rates: (since [ns], nano-USD/h), rising. ended_at: None
    while it runs. cost: micro-USD, None while it runs."""

    lease: LeaseId
    machine: str
    granted_at: int
    rates: tuple[tuple[int, int], ...]
    ended_at: int | None
    cause: str
    cost: int | None


def read(root: Path) -> tuple[Metered, ...]:
    """Every machine that the state under a directory remembers, oldest grant first."""
    return tuple(meter(machine) for machine in State(root).machines())


def meter(machine: Machine) -> Metered:
    """One machine's bill so far."""
    grant, ended = machine.grant, machine.ended()
    cost = None
    if ended is not None:
        # A clock that was set back between the two does not make a machine cheaper than free.
        held = max(0, ended.at - grant.granted_at)
        billed = -(-max(held, grant.minimum) // grant.step) * grant.step
        cost = charge(grant.rate, billed)
    return Metered(
        lease=machine.lease,
        machine=machine.name,
        granted_at=grant.granted_at,
        rates=((grant.granted_at, grant.rate),),
        ended_at=None if ended is None else max(ended.at, grant.granted_at),
        cause="" if ended is None else ended.cause,
        cost=cost,
    )


__all__ = ["Metered", "meter", "read"]
