"""How the engine behaves, as recorded in the journal: a run can be replayed without its files."""

import msgspec

from treasury.domain.time import HOUR, MINUTE


class EngineSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Durations in ns.

    tick: the grid, counted from origin, on which plans are made. accrual: how often a running
    lease is metered. horizon: how far ahead money is held; at least accrual. quarantine: how
    long an offer that refused is left alone. quote_age_max: older quotes are not traded on (0
    for any age). quote_jump: a rate that moves by more than this factor at once is taken for
    absurd (0 to accept). boot_limit: a granted machine that is not ready by then is given back; at
    least twice the market's own boot time counts. stop_limit: a job that has not stopped by then,
    its own grace besides, loses its machines.
    """

    installation: str = "treasury"
    origin: int = 0
    tick: int = MINUTE
    accrual: int = HOUR
    horizon: int = 2 * HOUR
    quarantine: int = 10 * MINUTE
    quote_age_max: int = 0
    quote_jump: int = 100
    boot_limit: int = 15 * MINUTE
    stop_limit: int = 10 * MINUTE
