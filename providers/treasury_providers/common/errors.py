"""From a vendor's answer to "what next": the shape of every adapter's one table of errors."""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final, NamedTuple

from treasury.domain.errors import (
    Declined,
    LeaseUnknown,
    NotPermitted,
    OutcomeUnknown,
    ProviderError,
    Throttled,
    TreasuryError,
    Unreachable,
)
from treasury.domain.time import MINUTE
from treasury.ports import Clock

# What a vendor's message may hold that is not for logs: signatures, keys, tokens, long blobs.
_SECRETS = re.compile(
    r"(?i)(?:(?<=bearer )|(?<=authorization: )|(?<=password=)|(?<=secret=)|(?<=token=)|(?<=key=)"
    r"|(?<=signature=)|(?<=sig=))[^\s&,;\"']+"
    r"|\b(?:AKIA|ASIA)[A-Z0-9]{12,}\b|\bya29\.[\w.-]+|\beyJ[\w.-]{20,}|[A-Za-z0-9+/=_-]{60,}"
)
_LONGEST: Final = 300


class Meaning(NamedTuple):
    """What a vendor's code means to us. wait: how long [ns] asking again is useless, 0 where the
    agent's own quarantine does."""

    error: type[ProviderError]
    wait: int = 0

    def to_error(self, text: str, now: int, *, until: int | None = None) -> ProviderError:
        """The error to raise at `now` [ns]; `until` [ns] where the vendor said so itself."""
        if until is None and self.wait:
            until = now + self.wait
        return self.error(tidy(text), until=until)


@contextmanager
def translated(
    clock: Clock, meaning: Callable[..., ProviderError], *, changes: bool
) -> Iterator[None]:
    """Whatever an SDK raises inside, as our errors: those of `meaning(error, now, changes=...)`.
    changes: the call may have done something."""
    try:
        yield
    except TreasuryError:
        raise
    except Exception as error:  # noqa: BLE001 - parsers and HTTP libraries raise anything
        # Without its cause: what the SDK raised may quote a request with its secrets.
        raise meaning(error, clock.now(), changes=changes) from None


def by_status(
    status: int, text: str, now: int, *, changes: bool, until: int | None = None
) -> ProviderError:
    """What an HTTP status means where the code beside it says nothing to us. until: when [ns] the
    vendor wants to be asked again, None where it did not say."""
    shown = tidy(text)
    if status == 429:
        return Throttled(shown, until=until or now + MINUTE)
    if status in (401, 403):
        return NotPermitted(shown, until=now + 10 * MINUTE)
    if status == 404:
        return LeaseUnknown(shown)
    if status >= 500 or status in (0, 408):
        kind = OutcomeUnknown if changes else Unreachable
        return kind(shown, until=until)
    return (Declined if changes else Unreachable)(shown, until=until)


def tidy(text: str) -> str:
    """A vendor's message on one line, without anything that looks like a secret, and not long."""
    text = _SECRETS.sub("***", " ".join(text.split()))
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}..."
