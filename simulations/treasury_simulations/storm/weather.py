"""Weather: which faults a storm has, how likely each is, and when the storm ends.

Each seed draws a swarm: most faults are off, some are on with a strength of their own, so that
storms differ in kind and not only in luck.
"""

from collections.abc import Iterable, Mapping
from random import Random
from typing import Final

from treasury.domain.time import HOUR, MINUTE, SECOND

# Chance of striking at each opportunity, in millionths, at full strength. The opportunities differ:
# a call, a listing, a message, a step of a process, a minute.
CALLS: Final = {
    "late_answer": 80_000,
    "lost_request": 80_000,
    "reset_after_send": 60_000,
    "server_error": 80_000,
    "throttled": 100_000,
    "garbled_answer": 40_000,
    "unreachable": 60_000,
    "slow_call": 60_000,
    "release_fails": 50_000,
    "release_forbidden": 60_000,
    "slow_shutdown": 150_000,
    "expired_credentials": 5_000,
    "token_forgotten": 30_000,
    "twin_machine": 30_000,
}
LISTINGS: Final = {
    "listing_lags": 300_000,
    "listing_fails": 100_000,
    "listing_flickers": 20_000,
    "listing_zombie": 50_000,
}
MARKETS: Final = {
    "no_capacity": 100_000,
    "quota": 30_000,
    "interrupted_without_notice": 5_000,
    "pool_taken": 600,
    "price_spike": 1_000,
    "bad_quotes": 50_000,
    "feed_quiet": 2_000,
    "notice_twice": 200_000,
    "notice_lost": 200_000,
    "foreign_delete": 500,
    "human_launch": 200,
}
MESSAGES: Final = {
    "message_lost": 50_000,
    "message_twice": 100_000,
    "message_late": 100_000,
    "broker_down": 1_000,
    "node_dies": 500,
    "node_never_boots": 30_000,
}
PROCESS: Final = {
    "killed": 20,
    "killed_before_call": 2_000,
    "killed_after_call": 20_000,
    "paused": 1_500,
    "cut_off": 500,
    "all_dead": 150,
    "clock_jump": 500,
}
STORE: Final = {
    "commit_fails": 3_000,
    "commit_answer_lost": 3_000,
    "commit_then_killed": 1_000,
    "store_down": 300,
    "slow_commit": 5_000,
}
PEOPLE: Final = {
    "budget_cut": 500,
    "budget_frozen": 500,
    "job_cancelled": 1_000,
    "job_preempted": 500,
    "job_moved": 500,
    "provider_drained": 300,
    "conduct_changed": 300,
    "resubmitted": 500,
    "strategy_hostile": 100_000,
    "strategy_fails": 100_000,
}
FAULTS: Final[Mapping[str, int]] = {
    **CALLS,
    **LISTINGS,
    **MARKETS,
    **MESSAGES,
    **PROCESS,
    **STORE,
    **PEOPLE,
}
_MILLION: Final = 1_000_000
_OFTEN: Final = 900_000
# The share of faults a swarm has, in percent, and how strong each is.
_SHARES: Final = (0, 5, 15, 30, 60)
_STRENGTHS: Final = (100, 300, 1_000)


class Weather:
    """The faults of one storm. struck: how often each has struck so far.

    only: these faults alone, and often. calm: nothing strikes any more.
    """

    def __init__(self, seed: int, only: Iterable[str] = (), without: Iterable[str] = ()) -> None:
        self._dice = Random(f"{seed}/weather")  # noqa: S311 - seeded: a storm can be repeated
        self.calm = False
        self.struck: dict[str, int] = {}
        self.odds = self._draw(tuple(only))
        for name in without:
            self.odds.pop(name, None)

    def _draw(self, only: tuple[str, ...]) -> dict[str, int]:
        if only:
            return {name: min(10 * FAULTS[name], _OFTEN) for name in only}
        share = self._dice.choice(_SHARES)
        odds = {}
        for name, odd in FAULTS.items():
            # Drawn for each fault, so that leaving one out does not change the others.
            on = self._dice.randrange(100) < share
            strength = self._dice.choice(_STRENGTHS)
            if on:
                odds[name] = odd * strength // 1_000
        return odds

    def strikes(self, name: str) -> bool:
        """Whether a fault strikes at this opportunity."""
        odd = self.odds.get(name, 0)
        if not odd or self.calm or self._dice.randrange(_MILLION) >= odd:
            return False
        self.struck[name] = self.struck.get(name, 0) + 1
        return True

    def latency(self) -> int:
        """How long a call takes [ns]: mostly little, sometimes much."""
        if self.strikes("slow_call"):
            return self._dice.randrange(90 * SECOND)
        return self._dice.randrange(SECOND)

    def span(self, most: int) -> int:
        """How long something lasts [ns]: at most `most`, shorter more often."""
        return min(self._dice.randrange(1, most), self._dice.randrange(1, most))

    def pick(self, below: int) -> int:
        """A number in [0, below)."""
        return self._dice.randrange(below)


# How long what is down stays down at most.
OUTAGE: Final = 4 * HOUR
PAUSE: Final = 20 * MINUTE
