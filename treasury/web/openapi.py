"""The OpenAPI 3.1 document, made of the route table and the types it names."""

import re
from collections.abc import Iterator
from typing import Any, Final, cast

import msgspec

from treasury import __version__
from treasury.web.problems import JSON, Problem
from treasury.web.routes import Route

PATH: Final = "/openapi.json"
_REF: Final = "#/components/schemas/{name}"
_DESCRIPTION: Final = (
    "Instants and durations are nanoseconds (UTC), money is micro-USD, rates are nano-USD an hour."
    " A POST may carry an Idempotency-Key: the first answer to a key is the answer for a day."
)
_WORDS: Final = {
    400: "Not JSON, or a header that cannot be used",
    401: "No valid token",
    403: "A token that may not, or another site's request",
    404: "Not there",
    409: "Not as things stand, or a key that was used for another order",
    413: "Too large",
    415: "Not JSON, or compressed",
    421: "Another host's request",
    422: "A field or parameter that cannot be used",
    503: "Too busy, not ready, or the database takes no orders at present",
}


def document(routes: tuple[Route, ...]) -> bytes:
    """The document as JSON."""
    kinds: list[Any] = [Problem]
    for route in routes:
        kinds += [kind for kind in (route.body, route.reply, route.query) if _is_type(kind)]
    _, components = msgspec.json.schema_components(kinds, ref_template=_REF)
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route, components)
    return msgspec.json.encode(
        {
            "openapi": "3.1.0",
            "info": {"title": "treasury", "version": __version__, "description": _DESCRIPTION},
            "servers": [{"url": "/"}],
            "security": [{"token": []}],
            "paths": paths,
            "components": {
                "schemas": {
                    name: schema
                    for name, schema in components.items()
                    if not name.endswith("Query")
                },
                "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
            },
        }
    )


def _is_type(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, msgspec.Struct)


def _operation(route: Route, components: dict[str, Any]) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "operationId": route.handler.__name__,
        "summary": route.summary,
        "parameters": list(_parameters(route, components)),
        "responses": _responses(route),
    }
    if route.handler.__doc__:
        operation["description"] = " ".join(route.handler.__doc__.split())
    if route.role == "open":
        operation["security"] = []
    if route.body is not None:
        content = {JSON: {"schema": _schema(route.body)}}
        operation["requestBody"] = {"required": True, "content": content}
    return operation


def _parameters(route: Route, components: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for name in re.findall(r"{(\w+)}", route.path):
        schema = {"type": "string", "minLength": 1}
        yield {"name": name, "in": "path", "required": True, "schema": schema}
    query = components.get(route.query.__name__, {})
    for name, schema in query.get("properties", {}).items():
        yield {"name": name, "in": "query", "schema": schema}
    if route.orders:
        yield {
            "name": "Idempotency-Key",
            "in": "header",
            "schema": {"type": "string", "pattern": "^[!-~]{1,128}$"},
        }


def _responses(route: Route) -> dict[str, Any]:
    reply = route.reply
    if isinstance(reply, str):
        content = {reply: {"schema": {"type": "string"}}}
    else:
        content = {JSON: {"schema": _schema(reply)}}
    if route.path == "/v1/events":
        content["text/event-stream"] = {"schema": {"type": "string"}}
    found = {str(route.status): {"description": "Done", "content": content}}
    if route.query.__name__ == "SubmitQuery":
        found["200"] = {"description": "What would be submitted", "content": content}
    problem = {JSON: {"schema": _schema(Problem)}}
    for status in sorted({*_usual(route), *route.errors}):
        found[str(status)] = {"description": _WORDS[status], "content": problem}
    return found


def _usual(route: Route) -> Iterator[int]:
    """What an operation may answer besides."""
    yield from (403, 415, 421, 422, 503)
    if route.role != "open":
        yield 401
    if route.orders:
        yield from (400, 404, 409, 413)


def _schema(kind: Any) -> dict[str, Any]:
    if isinstance(kind, dict):
        return cast(dict[str, Any], kind)
    return {"$ref": _REF.format(name=kind.__name__)}
