"""Names of machines where a market lets us choose them: the request can be read off the name.

A name that follows from the token makes creating it twice impossible, and what is left of a machine
that is gone (an entry in a log, an operation) still tells whose it was.
"""

import hashlib
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Final

from treasury.domain.commands import Acquire
from treasury.domain.ids import LeaseId, PlacementId, Token
from treasury_providers.common.tags import Marked, owner_value

NAME_MAX: Final = 63
_NAME: Final = re.compile(r"tr-([0-9a-f]{6})-(\d{1,10})-(\d{1,10})-([a-z0-9]{1,32})", re.ASCII)
_TOKEN: Final = re.compile(r"[a-z0-9]{1,32}", re.ASCII)


class Making:
    """Names of machines that requests without an outcome are making just now."""

    def __init__(self) -> None:
        self._count: dict[str, int] = {}

    def __contains__(self, name: str) -> bool:
        return name in self._count

    @contextmanager
    def these(self, names: Sequence[str]) -> Iterator[None]:
        """For as long as their request lasts; a repeated one may last beside the first."""
        for name in names:
            self._count[name] = self._count.get(name, 0) + 1
        try:
            yield
        finally:
            for name in names:
                self._count[name] -= 1
                if not self._count[name]:
                    del self._count[name]


def machine_name(installation: str, request: Acquire, index: int) -> str:
    """`tr-<owner>-<lease>-<placement>-<token>`: fits every market's rule for names."""
    token = _short(request.token)
    name = f"tr-{_owner(installation)}-{request.leases[index]}-{request.placement}-{token}"
    if len(name) > NAME_MAX:
        # Ten-digit numbers on both sides: still unique by the lease, only not readable any more.
        digest = hashlib.blake2b(name.encode(), digest_size=16).hexdigest()
        name = f"tr-{_owner(installation)}-{digest}"
    return name


def read_name(installation: str, name: str) -> Marked | None:
    """The request a machine of this installation was made for; None for other names."""
    match = _NAME.fullmatch(name)
    if match is None or match[1] != _owner(installation):
        return None
    return Marked((LeaseId(int(match[2])),), PlacementId(int(match[3])), Token(match[4]))


def _owner(installation: str) -> str:
    return hashlib.blake2b(owner_value(installation).encode(), digest_size=3).hexdigest()


def _short(token: str) -> str:
    if _TOKEN.fullmatch(token):
        return token
    return hashlib.blake2b(token.encode(), digest_size=16).hexdigest()
