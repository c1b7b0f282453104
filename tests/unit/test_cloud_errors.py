"""What Azure and Google answer, and what it means: each code of both tables, and the traps."""

import pytest

from treasury.domain import errors as e
from treasury.domain.time import HOUR, MINUTE, SECOND
from treasury_providers.azure import errors as azure
from treasury_providers.gcp import errors as gcp

NOW = 1_900_000_000 * SECOND


@pytest.mark.parametrize("table", [azure.MEANINGS, gcp.MEANINGS])
def test_every_code_means_something_that_can_be_acted_on(table) -> None:
    """Each code becomes a ProviderError with our message, and never asks again in the past."""
    for code, meaning in table.items():
        error = meaning.to_error(f"{code}: text", NOW)
        assert isinstance(error, e.ProviderError)
        assert code in str(error)
        assert error.until is None or error.until > NOW


@pytest.mark.parametrize(
    ("status", "code", "text", "kind"),
    [
        (409, "SkuNotAvailable", "", e.NoCapacity),
        (409, "OperationNotAllowed", "exceeding approved LowPriorityCores quota", e.QuotaReached),
        (409, "OperationNotAllowed", "the disk is being attached", e.Throttled),
        (409, "SpotPriceGreaterThanProvidedMaxPrice", "", e.BidTooLow),
        (403, "AuthorizationFailed", "", e.NotPermitted),
        (401, "", "", e.NotPermitted),
        (429, "", "", e.Throttled),
        (404, "ResourceNotFound", "", e.LeaseUnknown),
        (500, "InternalServerError", "", e.OutcomeUnknown),
        (503, "TooManyRequests", "", e.OutcomeUnknown),
        (400, "SomethingNew", "", e.Declined),
    ],
)
def test_azure_answers(status: int, code: str, text: str, kind: type) -> None:
    """The code decides before the status does; a server's failure may have done it."""
    error = azure.from_answer(status, code, text, {}, NOW, changes=True)
    assert type(error) is kind


@pytest.mark.parametrize(
    ("header", "until"),
    [
        ("7", NOW + 7 * SECOND),
        ("Fri, 17 Mar 2030 17:46:50 GMT", NOW + 10 * SECOND),
        ("soon", NOW + MINUTE),
    ],
)
def test_azure_says_until_when(header: str, until: int) -> None:
    """`Retry-After` in seconds or as a date; nonsense leaves our own wait."""
    headers = {"Retry-After": header}
    error = azure.from_answer(429, "TooManyRequests", "", headers, NOW, changes=True)
    assert error.until == until


def test_what_the_azure_sdk_calls_unsent_may_have_been_sent() -> None:
    """The SDK files a connection that broke after sending under requests that were not sent: only
    a connection that was never made is Unreachable."""
    aiohttp = pytest.importorskip("aiohttp")
    az = pytest.importorskip("azure.core.exceptions")
    broken = aiohttp.ServerDisconnectedError()
    refused = aiohttp.ClientConnectorError(None, OSError("refused"))  # type: ignore[arg-type]
    dropped = az.ServiceRequestError("dropped", error=broken)
    unmade = az.ServiceRequestError("unmade", error=refused)
    late = az.ServiceResponseTimeoutError("late")
    assert isinstance(azure.from_sdk(dropped, NOW, changes=True), e.OutcomeUnknown)
    assert isinstance(azure.from_sdk(unmade, NOW, changes=True), e.Unreachable)
    assert isinstance(azure.from_sdk(late, NOW, changes=True), e.OutcomeUnknown)
    assert isinstance(azure.from_sdk(late, NOW, changes=False), e.Unreachable)


@pytest.mark.parametrize(
    ("status", "reasons", "kind"),
    [
        (403, ["rateLimitExceeded"], e.Throttled),
        (403, ["quotaExceeded"], e.QuotaReached),
        (403, ["forbidden"], e.NotPermitted),
        (403, [], e.NotPermitted),
        (404, ["notFound"], e.LeaseUnknown),
        (503, ["backendError"], e.OutcomeUnknown),
        (0, [], e.OutcomeUnknown),
        (418, ["teapot"], e.Declined),
    ],
)
def test_google_answers(status: int, reasons: list[str], kind: type) -> None:
    """Forbidden, too many calls and no quota share a status: the reason decides."""
    assert type(gcp.from_answer(status, reasons, "text", NOW, changes=True)) is kind


def test_google_connections_that_were_never_made_are_unreachable() -> None:
    """A refused connection is not sent; one that broke, or a late answer, may have been."""
    requests = pytest.importorskip("requests")
    urllib3 = pytest.importorskip("urllib3")
    new = urllib3.exceptions.NewConnectionError(None, "refused")
    refused = requests.ConnectionError(urllib3.exceptions.MaxRetryError(None, "/", new))
    broken = requests.ConnectionError(urllib3.exceptions.ProtocolError("aborted"))
    assert isinstance(gcp.from_sdk(refused, NOW, changes=True), e.Unreachable)
    assert isinstance(gcp.from_sdk(broken, NOW, changes=True), e.OutcomeUnknown)
    assert isinstance(gcp.from_sdk(requests.ReadTimeout(), NOW, changes=True), e.OutcomeUnknown)
    assert isinstance(gcp.from_sdk(requests.ReadTimeout(), NOW, changes=False), e.Unreachable)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("ZONE_RESOURCE_POOL_EXHAUSTED_WITH_DETAILS", e.NoCapacity),
        ("UNSUPPORTED_OPERATION", e.NoCapacity),
        ("QUOTA_EXCEEDED", e.QuotaReached),
        ("PERMISSIONS_ERROR", e.NotPermitted),
        ("RATE_LIMIT_EXCEEDED", e.NoCapacity),
        ("NEVER_HEARD_OF", e.NoCapacity),
    ],
)
def test_a_refused_google_operation_is_declined(code: str, kind: type) -> None:
    """What an operation refused is over: never the same call again, whatever the code."""
    sdk = pytest.importorskip("google.cloud.compute_v1")
    problem = {"errors": [{"code": code, "message": "no"}]}
    done = sdk.Operation(error=problem, http_error_status_code=503)
    error = gcp.refusal(done, NOW)
    assert type(error) is kind
    assert gcp.refusal(sdk.Operation(), NOW) is None


def test_secrets_of_an_answer_stay_out_of_the_error() -> None:
    """A service that echoes the request's token does not get it into our error."""
    token = "ya29.canary-abcdefghijklmnop"
    text = f"denied for Authorization: Bearer {token}"
    for error in (
        azure.from_answer(403, "AuthorizationFailed", text, {}, NOW, changes=True),
        gcp.from_answer(403, ["forbidden"], text, NOW, changes=True),
    ):
        assert token not in str(error)
        assert error.until == NOW + HOUR
