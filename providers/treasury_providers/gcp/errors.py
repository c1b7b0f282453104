"""Google's codes, and what to do next: the adapter's one table.

A launch that is refused is answered with 200 and an operation; the refusal stands inside the
operation when it is done. Too many calls are a 403, like everything that is forbidden.
"""

from collections.abc import Mapping
from typing import Any, Final

from treasury.domain.errors import (
    Declined,
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
    "ZONE_RESOURCE_POOL_EXHAUSTED": Meaning(NoCapacity, 10 * MINUTE),
    "ZONE_RESOURCE_POOL_EXHAUSTED_WITH_DETAILS": Meaning(NoCapacity, 10 * MINUTE),
    "REGION_RESOURCE_POOL_EXHAUSTED": Meaning(NoCapacity, 30 * MINUTE),
    "GPU_STOCKOUT": Meaning(NoCapacity, 10 * MINUTE),
    "STOCKOUT": Meaning(NoCapacity, 10 * MINUTE),
    "resource_availability": Meaning(NoCapacity, 10 * MINUTE),
    "insufficientCapacity": Meaning(NoCapacity, 10 * MINUTE),
    "VM_MIN_COUNT_NOT_REACHED": Meaning(NoCapacity, 10 * MINUTE),
    "RESOURCE_NOT_READY": Meaning(NoCapacity, MINUTE),
    # Taken back while it was being made.
    "UNSUPPORTED_OPERATION": Meaning(NoCapacity, 5 * MINUTE),
    "QUOTA_EXCEEDED": Meaning(QuotaReached, HOUR),
    "quotaExceeded": Meaning(QuotaReached, HOUR),
    "QUOTA_LIMIT_EXCEEDED": Meaning(QuotaReached, HOUR),
    "rateLimitExceeded": Meaning(Throttled, MINUTE),
    "userRateLimitExceeded": Meaning(Throttled, MINUTE),
    "RATE_LIMIT_EXCEEDED": Meaning(Throttled, MINUTE),
    "RESOURCE_OPERATION_RATE_EXCEEDED": Meaning(Throttled, 30 * SECOND),
    "resourceNotReady": Meaning(Throttled, 10 * SECOND),
    "resourceInUseByAnotherResource": Meaning(Throttled, 10 * SECOND),
    "IP_SPACE_EXHAUSTED": Meaning(NoCapacity, HOUR),
    "IP_SPACE_EXHAUSTED_WITH_DETAILS": Meaning(NoCapacity, HOUR),
    "INVALID_MACHINE_TYPE": Meaning(OfferGone, DAY),
    "accessNotConfigured": Meaning(NotPermitted, HOUR),
    "forbidden": Meaning(NotPermitted, HOUR),
    "required": Meaning(NotPermitted, DAY),
    "PERMISSIONS_ERROR": Meaning(NotPermitted, HOUR),
    "CONDITION_NOT_MET": Meaning(NotPermitted, DAY),
    "conditionNotMet": Meaning(NotPermitted, DAY),
    # Our own settings (image, network, account) are wrong there: a person has to look.
    "invalid": Meaning(NotPermitted, DAY),
    "badRequest": Meaning(NotPermitted, DAY),
    "INVALID_FIELD_VALUE": Meaning(NotPermitted, DAY),
    "notFound": Meaning(LeaseUnknown),
    "RESOURCE_NOT_FOUND": Meaning(LeaseUnknown),
}


def from_sdk(error: Exception, now: int, *, changes: bool) -> ProviderError:
    """The error of anything the SDK raises. A LeaseUnknown may be success: of a deletion."""
    from google.api_core.exceptions import GoogleAPICallError
    from google.auth.exceptions import GoogleAuthError, TransportError
    from requests.exceptions import RequestException

    if isinstance(error, GoogleAPICallError):
        status, reasons = int(error.code or 0), _reasons(error)
        return from_answer(status, reasons, str(error.message), now, changes=changes)
    if isinstance(error, TransportError):
        return Unreachable(tidy(f"sign-in: {error}"))
    if isinstance(error, GoogleAuthError):
        return NotPermitted(tidy(f"sign-in: {error}"), until=now + 10 * MINUTE)
    sent = not isinstance(error, RequestException) or _was_sent(error)
    kind = OutcomeUnknown if changes and sent else Unreachable
    return kind(tidy(f"{type(error).__name__}: {error}"))


def from_answer(
    status: int, reasons: list[str], text: str, now: int, *, changes: bool
) -> ProviderError:
    """The error of an HTTP answer that gives these reasons."""
    shown = f"{reasons[0] if reasons else f'HTTP {status}'}: {text}"
    for reason in reasons:
        meaning = MEANINGS.get(reason)
        if meaning is not None:
            return meaning.to_error(shown, now)
    return by_status(status, shown, now, changes=changes)


def refusal(operation: Any, now: int) -> ProviderError | None:
    """Why an operation that is done did not do it; None where it did. Never a Throttled: what was
    refused is over, and asking again is a new request."""
    errors = list(operation.error.errors)
    if not errors and not operation.http_error_status_code:
        return None
    codes = [str(error.code) for error in errors]
    for error in errors:
        codes.extend(str(detail.error_info.reason) for detail in error.error_details)
    text = "; ".join(str(error.message) for error in errors) or operation.http_error_message
    shown = f"{codes[0] if codes else operation.http_error_status_code}: {text}"
    for code in codes:
        meaning = MEANINGS.get(code)
        if meaning is not None and issubclass(meaning.error, Declined):
            return meaning.to_error(shown, now)
    return NoCapacity(tidy(shown), until=now + 10 * MINUTE)


def _reasons(error: Any) -> list[str]:
    return [
        str(item["reason"])
        for item in error.errors or ()
        if isinstance(item, Mapping) and item.get("reason")
    ]


def _was_sent(error: Exception) -> bool:
    """Whether a request may have reached the other side before it failed."""
    from requests.exceptions import ConnectTimeout, ProxyError, SSLError
    from urllib3.exceptions import ConnectTimeoutError, NameResolutionError, NewConnectionError

    if isinstance(error, ConnectTimeout | ProxyError | SSLError):
        return False
    inner = error.args[0] if error.args else None
    reason = getattr(inner, "reason", inner)
    unsent = (NewConnectionError, NameResolutionError, ConnectTimeoutError)
    return not isinstance(reason, unsent)
