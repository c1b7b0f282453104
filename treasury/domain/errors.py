"""Every error of ours, typed by what the caller should do next.

TreasuryError
├── UserError                  a person can mend it; the command line prints it without a traceback
│   ├── BadValue               a value that cannot be taken: says which, what it was, what is right
│   ├── ConfigError            a setting: file, path, value, nearest valid name
│   ├── TraceError             a trace or data file that is truncated, corrupt or out of order
│   ├── NotFound               a job, offer, strategy or file that is not there
│   ├── PluginError            a plug-in that cannot be loaded or made: names its distribution
│   └── StoreError             a database that cannot be used: older, newer, locked, full
│       └── Deposed            another process leads now: this one may not write
├── ProviderError              what a market answered
│   ├── Declined               it did not happen: try elsewhere
│   │   ├── NoCapacity         nothing to be had in `scope` until `until`
│   │   ├── QuotaReached       our own limit there
│   │   ├── BidTooLow          the market clears above our bid
│   │   ├── OfferGone          no longer sold
│   │   └── NotPermitted       credentials or policy
│   ├── Unreachable            not sent: the same call again later
│   ├── Throttled              not sent: the same call again after `until`
│   ├── OutcomeUnknown         may have happened: never repeated blindly
│   └── LeaseUnknown           the market does not know the lease
└── InvariantBroken            our own mistake: stop before money moves
"""

from collections.abc import Iterable
from typing import Any


class TreasuryError(Exception):
    """The root of every error raised on purpose."""


class UserError(TreasuryError):
    """Something a person can mend. Shown as one message, exit code 2."""


class BadValue(UserError):
    """A value that cannot be taken. `what` names it, `right` says what would do."""

    def __init__(self, what: str, value: Any, right: str) -> None:
        self.what, self.value, self.right = what, value, right
        super().__init__(f"{what} {value!r} cannot be used: expected {right}")


class ConfigError(UserError):
    """A setting that cannot be used; the message holds file, path, value and what would do."""

    def __init__(self, file: str, path: str, problem: str) -> None:
        self.file, self.path, self.problem = file, path, problem
        super().__init__(f"{file}: {path}: {problem}" if path else f"{file}: {problem}")


class TraceError(UserError):
    """A trace or data file that cannot be read; the message names the file and the place."""


class NotFound(UserError):
    """Something that was asked for by name and is not there."""


class PluginError(UserError):
    """A strategy, provider or runner that is registered and cannot be loaded or made."""


class StoreError(UserError):
    """A database that cannot be used as it is. Nothing was written."""


class Deposed(StoreError):
    """Another process took over the lease: this one wrote nothing and must stop."""


class ProviderError(TreasuryError):
    """What a market answered. `until` is an instant [ns] before which asking again is useless."""

    def __init__(self, message: str = "", *, until: int | None = None) -> None:
        self.until = until
        super().__init__(message or type(self).__name__)


class Declined(ProviderError):
    """It did not happen: the hold can be voided and another offer tried."""


class NoCapacity(Declined):
    """Nothing to be had there now."""


class QuotaReached(Declined):
    """Our own limit at that market is used up."""


class BidTooLow(Declined):
    """The market clears above our bid."""


class OfferGone(Declined):
    """The offer is no longer sold."""


class NotPermitted(Declined):
    """Credentials or a policy forbid it."""


class Unreachable(ProviderError):
    """The request was not sent: repeat the same call later."""


class Throttled(ProviderError):
    """The request was not taken: repeat the same call after `until`."""


class OutcomeUnknown(ProviderError):
    """It may have happened: the hold stays and reconciliation finds out."""


class LeaseUnknown(ProviderError):
    """The market does not know the lease."""


class InvariantBroken(TreasuryError):
    """A law of our own was about to be broken. The process stops; start-up is recovery."""


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """The end of a message about an unknown name: the nearest known one, or what there is."""
    import difflib

    names = sorted(known)
    folded = {name.casefold(): name for name in names}
    near = difflib.get_close_matches(word.casefold(), folded, n=1, cutoff=0.6)
    if near:
        return f'did you mean "{folded[near[0]]}"?'
    return f"known: {', '.join(names)}" if names else "there is none"
