"""What our machines carry, so that they can be found, attributed and told from other people's.

Every value keeps to `[a-z0-9-]{1,63}`: the narrowest rule among the markets (Google's labels).
"""

import hashlib
import re
from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from treasury.domain.commands import Acquire
from treasury.domain.ids import LeaseId, PlacementId, Token

OWNER: Final = "treasury-owner"
LEASE: Final = "treasury-lease"
PLACEMENT: Final = "treasury-placement"
TOKEN: Final = "treasury-token"  # noqa: S105 - the name of a tag
OFFER: Final = "treasury-offer"

VALUE_MAX: Final = 63
_PLAIN = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?", re.ASCII)
_OTHER = re.compile(r"[^a-z0-9]+", re.ASCII)
_SPAN = re.compile(r"(\d+)(?:-(\d+))?", re.ASCII)


class Marked(msgspec.Struct, frozen=True):
    """What a machine's tags say. leases: of the whole request, in the order of its machines."""

    leases: tuple[LeaseId, ...]
    placement: PlacementId
    token: Token


def tag_value(text: str) -> str:
    """`text` itself where it is a tag's value already, else its plain letters and a hash."""
    if _PLAIN.fullmatch(text):
        return text
    digest = hashlib.blake2b(text.encode(), digest_size=5).hexdigest()
    plain = _OTHER.sub("-", text.lower()).strip("-")[: VALUE_MAX - len(digest) - 1].strip("-")
    return f"{plain}-{digest}" if plain else f"x-{digest}"


def owner_value(installation: str) -> str:
    """The owner tag's value: what carries another one is not ours."""
    return tag_value(installation)


def request_tags(installation: str, request: Acquire) -> dict[str, str]:
    """The tags of all machines of a request; a market that tags machines one by one overwrites
    `treasury-lease` with `write_leases([lease])`."""
    return {
        OWNER: owner_value(installation),
        LEASE: write_leases(request.leases),
        PLACEMENT: str(request.placement),
        TOKEN: tag_value(request.token),
        OFFER: tag_value(request.offer),
    }


def read_tags(installation: str, tags: Mapping[str, str]) -> Marked | None:
    """What the tags of a machine of this installation say; None for anybody else's, and for one
    whose tags were damaged: it cannot be attributed, so it is not ours to stop."""
    if tags.get(OWNER) != owner_value(installation):
        return None
    placement, token = tags.get(PLACEMENT, ""), tags.get(TOKEN, "")
    leases = read_leases(tags.get(LEASE, ""))
    if not leases or not placement.isdecimal() or not token:
        return None
    return Marked(leases, PlacementId(int(placement)), Token(token))


def write_leases(leases: Sequence[LeaseId]) -> str:
    """Lease numbers as a tag's value: `17`, `17-20`, `17-20x25`."""
    spans: list[list[int]] = []
    for lease in leases:
        if spans and lease == spans[-1][1] + 1:
            spans[-1][1] = lease
        else:
            spans.append([lease, lease])
    return "x".join(str(a) if a == b else f"{a}-{b}" for a, b in spans)


def read_leases(text: str) -> tuple[LeaseId, ...]:
    """The numbers of `write_leases`; empty for anything else."""
    leases: list[LeaseId] = []
    for part in text.split("x"):
        match = _SPAN.fullmatch(part)
        if match is None:
            return ()
        first, last = int(match[1]), int(match[2] or match[1])
        # A damaged tag must not make a list of billions.
        if not first <= last < first + 100_000:
            return ()
        leases.extend(LeaseId(number) for number in range(first, last + 1))
    return tuple(leases)
