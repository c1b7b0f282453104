"""Azure's codes, and what to do next: the adapter's one table.

Azure answers with a code in the body; the HTTP status and the SDK's class mislead (a size that is
sold out is a 409 like a name that is taken, and a launch that failed later is a 200).
"""

from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import Any, Final

from treasury.domain.errors import (
    BidTooLow,
    LeaseUnknown,
    NoCapacity,
    NotPermitted,
    OfferGone,
    OutcomeUnknown,
    ProviderError,
    QuotaReached,
    Throttled,
    Unreachable,
)
from treasury.domain.time import DAY, HOUR, MINUTE, SECOND
from treasury_providers.common.errors import Meaning, by_status, tidy

MEANINGS: Final[Mapping[str, Meaning]] = {
    "SkuNotAvailable": Meaning(NoCapacity, HOUR),
    "AllocationFailed": Meaning(NoCapacity, HOUR),
    "ZonalAllocationFailed": Meaning(NoCapacity, HOUR),
    "OverconstrainedAllocationRequest": Meaning(NoCapacity, HOUR),
    "OverconstrainedZonalAllocationRequest": Meaning(NoCapacity, HOUR),
    "AllocationTimeout": Meaning(NoCapacity, 10 * MINUTE),
    "OperationPreempted": Meaning(NoCapacity, 10 * MINUTE),
    "SpotPriceGreaterThanProvidedMaxPrice": Meaning(BidTooLow),
    "NotAvailableForSubscription": Meaning(OfferGone, DAY),
    "InvalidAvailabilityZone": Meaning(OfferGone, DAY),
    "AvailabilityZoneNotSupported": Meaning(OfferGone, DAY),
    "LowPriorityVMsNotSupported": Meaning(OfferGone, DAY),
    "QuotaExceeded": Meaning(QuotaReached, HOUR),
    "ResourceQuotaExceeded": Meaning(QuotaReached, HOUR),
    "TooManyRequests": Meaning(Throttled, MINUTE),
    "OperationNotAllowedThrottled": Meaning(Throttled, MINUTE),
    "SubscriptionRequestsThrottled": Meaning(Throttled, MINUTE),
    "ResourceCollectionRequestsThrottled": Meaning(Throttled, MINUTE),
    # Something else is being done to this very machine or its network: the same call later.
    "Conflict": Meaning(Throttled, 10 * SECOND),
    "AnotherOperationInProgress": Meaning(Throttled, 10 * SECOND),
    "RetryableError": Meaning(Throttled, 10 * SECOND),
    "SubnetIsFull": Meaning(NoCapacity, HOUR),
    "AuthorizationFailed": Meaning(NotPermitted, HOUR),
    "LinkedAuthorizationFailed": Meaning(NotPermitted, HOUR),
    "InvalidAuthenticationToken": Meaning(NotPermitted, 10 * MINUTE),
    "ExpiredAuthenticationToken": Meaning(NotPermitted, MINUTE),
    "AuthenticationFailed": Meaning(NotPermitted, 10 * MINUTE),
    "RequestDisallowedByPolicy": Meaning(NotPermitted, DAY),
    "SubscriptionNotFound": Meaning(NotPermitted, DAY),
    "ReadOnlyDisabledSubscription": Meaning(NotPermitted, DAY),
    "ResourceGroupNotFound": Meaning(NotPermitted, DAY),
    "ResourceNotFound": Meaning(LeaseUnknown),
    "NotFound": Meaning(LeaseUnknown),
    # Our own settings (image, network, identity) are wrong there: a person has to look.
    "InvalidParameter": Meaning(NotPermitted, DAY),
    "BadRequest": Meaning(NotPermitted, DAY),
    "ImageNotFound": Meaning(NotPermitted, DAY),
    "PlatformImageNotFound": Meaning(NotPermitted, DAY),
    "InvalidResourceReference": Meaning(NotPermitted, DAY),
    "VMMarketplaceInvalidInput": Meaning(NotPermitted, DAY),
}
# `OperationNotAllowed` is Azure's word for a quota, and for a few other things.
_QUOTA_WORDS: Final = ("quota", "lowprioritycores", "cores", "limit")


def meaning_of(code: str, text: str) -> Meaning | None:
    """What a code means; None for one we have no word about."""
    if code == "OperationNotAllowed":
        lowered = text.lower()
        if any(word in lowered for word in _QUOTA_WORDS):
            return Meaning(QuotaReached, HOUR)
        return Meaning(Throttled, 10 * SECOND)
    return MEANINGS.get(code)


def from_answer(
    status: int, code: str, text: str, headers: Mapping[str, str], now: int, *, changes: bool
) -> ProviderError:
    """The error of an answer with an HTTP status; `changes`: of a call that may have done it."""
    until = _retry_after(headers, now)
    shown = f"{code or f'HTTP {status}'}: {text}"
    meaning = meaning_of(code, text)
    if meaning is not None and not (status >= 500 and meaning.error is Throttled):
        return meaning.to_error(shown, now, until=until)
    return by_status(status, shown, now, changes=changes, until=until)


def from_sdk(error: Exception, now: int, *, changes: bool) -> ProviderError:
    """The error of anything the SDK raises. A LeaseUnknown may be success: of a deletion."""
    from aiohttp import ClientConnectorError
    from azure.core import exceptions as az

    if isinstance(error, az.ClientAuthenticationError) and error.response is None:
        return NotPermitted(tidy(str(error.message)), until=now + 10 * MINUTE)
    if isinstance(error, az.HttpResponseError):
        status = int(error.status_code or 0)
        if status < 400:
            # Success that cannot be read, or broke off: the SDK files it under refusals.
            return _broken(error, changes=changes)
        code, text = _code(error)
        # The SDK types this attribute more narrowly than what it holds.
        headers = getattr(error.response, "headers", None) or {}
        return from_answer(status, code, text, headers, now, changes=changes)
    if isinstance(error, az.ServiceRequestError):
        # The SDK's word for "not sent" also covers connections that broke after sending.
        inner = error.inner_exception
        sent = not isinstance(error, az.ServiceRequestTimeoutError) and not isinstance(
            inner, ClientConnectorError
        )
        return _broken(error, changes=changes and sent)
    return _broken(error, changes=changes)


def _broken(error: Exception, *, changes: bool) -> ProviderError:
    kind = OutcomeUnknown if changes else Unreachable
    return kind(tidy(f"{type(error).__name__}: {error}"))


def _code(error: Any) -> tuple[str, str]:
    model = error.error
    if model is not None and model.code:
        return str(model.code), str(model.message or "")
    return "", str(error.message or "")


def _retry_after(headers: Mapping[str, str], now: int) -> int | None:
    """The instant [ns] of a `Retry-After` header: seconds, or a date."""
    text = headers.get("Retry-After", "") or ""
    if text.isdecimal():
        return now + int(text) * SECOND
    try:
        return int(parsedate_to_datetime(text).timestamp()) * SECOND
    except (TypeError, ValueError, IndexError):
        return None
