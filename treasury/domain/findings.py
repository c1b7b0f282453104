"""What an adapter tells about itself and its market when asked: findings of a check, scores.

Both are optional: `treasury check` calls `check()` and `policy()`, `treasury offers` calls
`scores()`, on the adapters that have them.
"""

from enum import Enum

import msgspec

from treasury.domain.ids import OfferId


class Verdict(Enum):
    """How a part of a check came out. WARNING works today and will hurt; SKIPPED was not tried."""

    FINE = "fine"
    WARNING = "warning"
    BAD = "bad"
    SKIPPED = "skipped"


class Finding(msgspec.Struct, frozen=True):
    """One thing that was looked at: `what` in a few words, how it came out, and what was found.

    remedy: what to do about it; empty where all is well.
    """

    what: str
    verdict: Verdict
    detail: str = ""
    remedy: str = ""


class Score(msgspec.Struct, frozen=True, gc=False):
    """How readily a market says it would give machines of an offer.

    value: from 0 (hardly) to 1 (readily), for sorting; scores of different markets are not
    probabilities of the same thing. raw: the market's own word. observed_at: when [ns] it said so.
    """

    offer: OfferId
    value: float
    raw: str
    observed_at: int
