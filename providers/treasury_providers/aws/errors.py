"""The one table from AWS's error codes to what to do next.

Codes: EC2's API error reference, and what its SDK was seen to raise. A launch whose code is not
here counts as declined when AWS calls it the caller's fault (4xx), and as unknown otherwise.
"""

from typing import Any, Final

from treasury.domain.errors import (
    BidTooLow,
    Declined,
    LeaseUnknown,
    NoCapacity,
    NotPermitted,
    OfferGone,
    OutcomeUnknown,
    ProviderError,
    QuotaReached,
    Throttled,
    TreasuryError,
    Unreachable,
)
from treasury.domain.time import HOUR, MINUTE, SECOND
from treasury_providers.common.errors import Meaning, tidy

_DRY: Final = Meaning(NoCapacity, 3 * MINUTE)
_QUOTA: Final = Meaning(QuotaReached, HOUR)
_SLOWER: Final = Meaning(Throttled, 5 * SECOND)
_FORBIDDEN: Final = Meaning(NotPermitted, HOUR)

TABLE: Final = {
    "InsufficientInstanceCapacity": _DRY,
    "InsufficientHostCapacity": _DRY,
    "InsufficientReservedInstanceCapacity": _DRY,
    "InsufficientCapacity": _DRY,
    "ReservationCapacityExceeded": _DRY,
    "UnfulfillableCapacity": _DRY,
    "InsufficientFreeAddressesInSubnet": Meaning(NoCapacity, 10 * MINUTE),
    "Unsupported": Meaning(OfferGone),
    "SpotMaxPriceTooLow": Meaning(BidTooLow),
    "MaxSpotInstanceCountExceeded": _QUOTA,
    "MaxSpotFleetRequestCountExceeded": _QUOTA,
    "VcpuLimitExceeded": _QUOTA,
    "InstanceLimitExceeded": _QUOTA,
    "VolumeLimitExceeded": _QUOTA,
    "RequestLimitExceeded": _SLOWER,
    "RequestThrottled": _SLOWER,
    "Throttling": _SLOWER,
    "ThrottlingException": _SLOWER,
    "ThrottledException": _SLOWER,
    "TooManyRequestsException": _SLOWER,
    "EC2ThrottledException": _SLOWER,
    # Placement scores: too many different questions in a day.
    "MaxConfigLimitExceeded": Meaning(Throttled, HOUR),
    # A machine was made with this token by a request that looked different: the listing tells.
    "IdempotentParameterMismatch": Meaning(OutcomeUnknown),
    "IdempotentInstanceTerminated": Meaning(NoCapacity),
    "InvalidInstanceID.NotFound": Meaning(LeaseUnknown),
    "InvalidInstanceID.Malformed": Meaning(LeaseUnknown),
    "UnauthorizedOperation": _FORBIDDEN,
    "AccessDenied": _FORBIDDEN,
    "AccessDeniedException": _FORBIDDEN,
    "AuthFailure": _FORBIDDEN,
    "SignatureDoesNotMatch": _FORBIDDEN,
    "InvalidClientTokenId": _FORBIDDEN,
    "UnrecognizedClientException": _FORBIDDEN,
    "ExpiredToken": _FORBIDDEN,
    "ExpiredTokenException": _FORBIDDEN,
    "RequestExpired": _FORBIDDEN,
    "OptInRequired": _FORBIDDEN,
    "PendingVerification": _FORBIDDEN,
    "Blocked": _FORBIDDEN,
}

# botocore's exceptions, by name so that this module needs no SDK. Nothing had been sent:
_NOT_SENT: Final = frozenset({
    "EndpointConnectionError",
    "ConnectTimeoutError",
    "ProxyConnectionError",
})  # fmt: skip
_NO_CREDENTIALS: Final = frozenset({
    "NoCredentialsError",
    "PartialCredentialsError",
    "CredentialRetrievalError",
    "ProfileNotFound",
    "TokenRetrievalError",
    "SSOTokenLoadError",
    "UnauthorizedSSOTokenError",
    "NoAuthTokenError",
    "LoginRefreshRequired",
})  # fmt: skip
_MISTAKES: Final = frozenset({"ParamValidationError", "NoRegionError", "InvalidRegionError"})


def translate(error: Exception, now: int, *, changes: bool) -> TreasuryError:
    """Our error for what the SDK raised at `now` [ns]; one of ours stays what it is. changes: the
    call would have made or ended a machine, so that no clear answer means that it may have."""
    if isinstance(error, TreasuryError):
        return error
    response: dict[str, Any] | None = getattr(error, "response", None)
    if isinstance(response, dict) and "Error" in response:
        return _from_code(response, now, changes=changes)
    name = type(error).__name__
    text = tidy(f"{name}: {error}")
    if name in _NOT_SENT:
        return Unreachable(text)
    if name in _NO_CREDENTIALS:
        return _FORBIDDEN.to_error(text, now)
    if name in _MISTAKES:
        return Declined(text)
    return OutcomeUnknown(text) if changes else Unreachable(text)


def _from_code(response: dict[str, Any], now: int, *, changes: bool) -> ProviderError:
    code = str(response["Error"].get("Code", ""))
    text = f"{code}: {response['Error'].get('Message', '')}"
    meaning = TABLE.get(code)
    if meaning is not None:
        return meaning.to_error(text, now)
    status = response.get("ResponseMetadata", {}).get("HTTPStatusCode", 500)
    if status in (429, 503) and code in {"", "429", "503"}:
        return _SLOWER.to_error(text, now)
    if 400 <= status < 500:
        return Declined(tidy(text))
    return OutcomeUnknown(tidy(text)) if changes else Unreachable(tidy(text))
