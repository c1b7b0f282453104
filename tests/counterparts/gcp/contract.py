"""What Google's APIs take and answer, by their own discovery documents, read when a test runs."""

import json
import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple


class Method(NamedTuple):
    """A method of an API. id: such as `compute.instances.insert`. request, response: the names of
    their schemas, empty for none."""

    id: str
    verb: str
    path: re.Pattern[str]
    parameters: frozenset[str]
    request: str
    response: str


class Contract:
    """One API, `compute.v1` or `cloudbilling.v1`."""

    def __init__(self, api: str) -> None:
        import googleapiclient

        folder = Path(googleapiclient.__file__).parent / "discovery_cache" / "documents"
        document = json.loads((folder / f"{api}.json").read_text(encoding="utf-8"))
        self.base = f"/{document['servicePath']}".rstrip("/")
        shared = frozenset(document["parameters"])
        self.methods = list(_methods(document, shared))
        self._schemas = {name: _schema(body) for name, body in document["schemas"].items()}
        self._validator = cache(self._validator_of)

    def match(self, verb: str, path: str) -> tuple[Method, dict[str, str]] | None:
        """The method that a request is for, with the parts of its path."""
        inner = path.removeprefix(f"{self.base}/").removeprefix("/")
        for method in self.methods:
            found = method.path.fullmatch(inner) if method.verb == verb else None
            if found is not None:
                return method, found.groupdict()
        return None

    def problems(self, schema: str, body: object) -> list[str]:
        """What is wrong with a body."""
        return [
            f"{'.'.join(map(str, error.absolute_path))}: {error.message[:200]}"
            for error in self._validator(schema).iter_errors(body)
        ]

    def _validator_of(self, schema: str) -> Any:
        from jsonschema import Draft7Validator

        return Draft7Validator({"$ref": f"#/definitions/{schema}", "definitions": self._schemas})


def _methods(resource: Mapping[str, Any], shared: frozenset[str]) -> Any:
    for method in resource.get("methods", {}).values():
        template = method.get("flatPath", method["path"])
        pattern = re.sub(r"\\{\\?\+?(\w+)\\}", r"(?P<\1>[^/]+)", re.escape(template))
        yield Method(
            method["id"],
            method["httpMethod"],
            re.compile(pattern),
            frozenset(method.get("parameters", {})) | shared,
            method.get("request", {}).get("$ref", ""),
            method.get("response", {}).get("$ref", ""),
        )
    for inner in resource.get("resources", {}).values():
        yield from _methods(inner, shared)


def _schema(node: Any) -> Any:
    """A discovery schema as JSON Schema that refuses unknown keys. 64-bit numbers travel as text,
    or as numbers: Google takes both."""
    if not isinstance(node, Mapping):
        return node
    if "$ref" in node:
        return {"$ref": f"#/definitions/{node['$ref']}"}
    kind = node.get("type")
    if kind == "any":
        return {}
    if kind == "string" and node.get("format") in ("int64", "uint64"):
        return {"type": ["string", "integer"]}
    made: dict[str, Any] = {"type": kind} if kind else {}
    if "enum" in node:
        made["enum"] = node["enum"]
    if "items" in node:
        made["items"] = _schema(node["items"])
    if "properties" in node:
        made["properties"] = {key: _schema(value) for key, value in node["properties"].items()}
        made["additionalProperties"] = False
    elif "additionalProperties" in node:
        made["additionalProperties"] = _schema(node["additionalProperties"])
    return made


@cache
def contract(api: str) -> Contract:
    """The API's contract, read once."""
    return Contract(api)
