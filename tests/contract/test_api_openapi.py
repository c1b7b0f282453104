"""The OpenAPI document: valid, complete, and what a stranger's generator can do with it."""

import json
from collections.abc import Iterator

import hypothesis
import pytest
import schemathesis

from tests.support.api import ADMIN, START, served
from tests.support.table import Table
from treasury.web.openapi import document
from treasury.web.table import ROUTES


def test_the_document_has_every_operation() -> None:
    """Each route is there with its parameters, body, answers and errors; no reference dangles."""
    text = document(ROUTES)
    found = json.loads(text)
    assert found["openapi"] == "3.1.0"
    for route in ROUTES:
        operation = found["paths"][route.path][route.method.lower()]
        assert operation["summary"] == route.summary
        assert str(route.status) in operation["responses"]
        assert ("401" in operation["responses"]) == (route.role != "open")
        assert ("requestBody" in operation) == (route.body is not None)
    names = {part.split('"')[0] for part in text.decode().split("#/components/schemas/")[1:]}
    assert names <= set(found["components"]["schemas"])


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server with a running agent, on a thread of its own."""
    table = Table(now=START)
    table.run()
    table.submit("k")
    with served(tmp_path_factory.mktemp("api"), table) as (_, address):
        yield address


schema = schemathesis.openapi.from_dict(json.loads(document(ROUTES)))


@pytest.mark.slow
@schema.parametrize()
@hypothesis.settings(
    max_examples=8,
    deadline=None,
    derandomize=True,
    suppress_health_check=list(hypothesis.HealthCheck),
)
def test_no_request_breaks_the_api(case: schemathesis.Case, url: str) -> None:
    """Whatever the document allows, and what it does not, is answered as the document says: never
    with a mistake of ours, and never in another form."""
    if case.query:
        case.query.pop("follow", None)  # A stream that is followed has no end.
    response = case.call(base_url=url, headers={"Authorization": f"Bearer {ADMIN}"}, timeout=5)
    case.validate_response(
        response,
        checks=[
            schemathesis.checks.not_a_server_error,
            schemathesis.specs.openapi.checks.status_code_conformance,
            schemathesis.specs.openapi.checks.content_type_conformance,
            schemathesis.specs.openapi.checks.response_schema_conformance,
        ],
    )
