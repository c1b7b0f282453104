"""Identifiers are types, so that a lease cannot be passed where a job is meant.

`JobId`, `OfferId` and `CostCentre` are names given by people or markets; `LeaseId`, `HoldId` and
`PlacementId` are numbers drawn from the book's counters, so that replaying the journal draws the
same ones.
"""

import hashlib
from typing import NewType

JobId = NewType("JobId", str)
OfferId = NewType("OfferId", str)
CostCentre = NewType("CostCentre", str)
ProviderName = NewType("ProviderName", str)
LeaseId = NewType("LeaseId", int)
PlacementId = NewType("PlacementId", int)
HoldId = NewType("HoldId", int)
Token = NewType("Token", str)


def request_token(installation: str, placement: PlacementId, attempt: int) -> Token:
    """The idempotency key of one acquire request: a hash, so that a retry repeats it exactly."""
    text = f"{installation}/{placement}/{attempt}"
    return Token(hashlib.blake2b(text.encode(), digest_size=16).hexdigest())
