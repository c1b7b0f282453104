"""From a vendor's answer to "what next": the shape of every adapter's one table of errors."""

import re
from typing import Final, NamedTuple

from treasury.domain.errors import ProviderError

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


def tidy(text: str) -> str:
    """A vendor's message on one line, without anything that looks like a secret, and not long."""
    text = _SECRETS.sub("***", " ".join(text.split()))
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}..."
