"""What this host pretends to be, as a configuration says it."""

from typing import Final

import msgspec

from treasury.domain.errors import BadValue
from treasury.domain.money import parse_rate
from treasury.domain.time import DAY, MINUTE, NEVER, SECOND

# The names of spot pools, in order.
ZONES: Final = "abcdefghijklmnopqrstuvwxyz"


class LocalSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What this host pretends to be. Durations in ns, shares in thousandths.

    slots: machines of each pool. zones: spot pools; one more is on demand. gpu, gpus: what each
    machine pretends to have. on_demand: rate of the pool that never takes machines back. spot: the
    mean spot rate as a share of it; volatility: how far that swings; squeezes: share of the time
    in which spot is dearer than on demand. life: how long the market leaves a spot machine alone
    on average, 0 for ever. notice: its warning. tick: how long a price stands. billing_step,
    billing_minimum: what is billed is rounded up to. remember: how long a machine that is gone
    stays listed. seed: decides prices and interruptions. origin: the instant [ns] from which prices
    follow the seed.
    """

    slots: int = 4
    zones: int = 2
    gpu: str = "H100"
    gpus: int = 1
    on_demand: str = "4.00 USD/h"
    spot: int = 350
    volatility: int = 300
    squeezes: int = 30
    life: int = 0
    notice: int = 30 * SECOND
    tick: int = 30 * SECOND
    billing_step: int = SECOND
    billing_minimum: int = 0
    remember: int = 7 * DAY
    seed: int = 1
    origin: int = 0

    def __post_init__(self) -> None:
        limits = {
            "slots": (1, 1_000),
            "zones": (1, len(ZONES)),
            "gpus": (1, 64),
            "spot": (1, 1_000),
            "volatility": (0, 900),
            "squeezes": (0, 1_000),
            "life": (0, NEVER),
            "notice": (0, DAY),
            "tick": (SECOND // 10, DAY),
            "billing_step": (1, DAY),
            "billing_minimum": (0, DAY),
            "remember": (MINUTE, NEVER),
            "seed": (-(2**63), 2**63),
            "origin": (0, NEVER),
        }
        for name, (least, most) in limits.items():
            if not least <= getattr(self, name) <= most:
                raise BadValue(name, getattr(self, name), f"{least} to {most}")
        if parse_rate(self.on_demand) <= 0:
            raise BadValue("on_demand", self.on_demand, "a rate above zero")


__all__ = ["ZONES", "LocalSettings"]
