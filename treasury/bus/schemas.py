"""The JSON schema of each message, from the dataclasses that decode it."""

from typing import Any

from treasury.bus.fields import schema
from treasury.bus.messages import PUBLISHED, NodeConfig
from treasury.bus.topics import VERSION

DIALECT = "https://json-schema.org/draft/2020-12/schema"


def schemas() -> dict[str, dict[str, Any]]:
    """Topic below `treasury/v1/<installation>/` to schema; `config` is the node agent's file."""
    found = {topic: _named(topic, schema(of)) for topic, of in PUBLISHED.items()}
    found["config"] = _named("config", schema(NodeConfig))
    return found


def _named(topic: str, body: dict[str, Any]) -> dict[str, Any]:
    name = body["title"].lower()
    return {"$schema": DIALECT, "$id": f"treasury:{VERSION}:{name}", "$comment": topic, **body}
