"""The JSON schema of a job's document, for editors and for the API's description."""

from typing import Any, Final

_TEXT: Final[dict[str, Any]] = {"type": "string", "maxLength": 1024}
_DURATION: Final[dict[str, Any]] = {"type": "string", "examples": ["90s", "6h", "1d 12h"]}
_NAME: Final[dict[str, Any]] = {
    "type": "string",
    "pattern": "^[A-Za-z0-9][A-Za-z0-9_.-]{0,62}$",
}
_VARIABLE: Final = "^[A-Za-z_][A-Za-z0-9_]{0,127}$"
_LINES: Final[dict[str, Any]] = {
    "oneOf": [_TEXT, {"type": "array", "items": _TEXT, "maxItems": 256}]
}
_GPU: Final[dict[str, Any]] = {
    "description": "A model and how many of them a machine has, or several models that will do.",
    "oneOf": [
        {"type": "string", "examples": ["H100:8"]},
        {"type": "array", "items": {"type": "string"}, "minItems": 1},
        {"type": "object", "minProperties": 1},
    ],
}
_COMMAND: Final[dict[str, Any]] = {
    "description": "A program with its arguments; text is split as a shell would, not run by one.",
    "oneOf": [
        {"type": "array", "items": {"type": "string"}, "minItems": 1, "maxItems": 256},
        {"type": "string"},
    ],
}
_ALTERNATIVE: Final[dict[str, Any]] = {
    "oneOf": [
        {"type": "string"},
        {
            "type": "object",
            "additionalProperties": False,
            "properties": {
                "gpu": {"type": "string"},
                "accelerators": {"type": "string"},
                "speed": {
                    "description": "Beside the reference's, 1.",
                    "type": "number",
                    "exclusiveMinimum": 0,
                },
            },
        },
    ]
}
_RESOURCES: Final[dict[str, Any]] = {
    "description": "Machines that will do; what is left out may be anything.",
    "type": "object",
    "properties": {
        "gpu": _GPU,
        "accelerators": _GPU,
        "any_of": {"type": "array", "items": _ALTERNATIVE, "minItems": 1},
        "memory": {"type": "string", "description": "Of one accelerator.", "examples": ["80GB"]},
        "exact": {"type": "boolean", "description": "No machines with more accelerators."},
        "provider": _LINES,
        "region": _LINES,
        "spot": {"oneOf": [{"type": "boolean"}, {"enum": ["spot", "on-demand", "auto"]}]},
        "tenure": _LINES,
    },
}
_CHECKPOINT: Final[dict[str, Any]] = {
    "type": "object",
    "additionalProperties": False,
    "properties": {
        "dir": _TEXT,
        "to": {"type": "string", "pattern": "^(file|s3|gs|az)://"},
        "interval": _DURATION,
        "hook": _COMMAND,
    },
}

JOB_SCHEMA: Final[dict[str, Any]] = {
    "title": "Job",
    "description": "A job's document: the keys of a job file.",
    "type": "object",
    "required": ["cost_centre"],
    "properties": {
        "cost_centre": {**_NAME, "description": "Who pays."},
        "name": {**_NAME, "description": "The id, with a number behind it when it is taken."},
        "id": {**_NAME, "description": "The id itself: refused when it is taken."},
        "gpu": _GPU,
        "resources": _RESOURCES,
        "nodes": {"type": "integer", "minimum": 1, "description": "Machines, all or none."},
        "duration": {**_DURATION, "description": "Expected work at speed 1."},
        "max_duration": {**_DURATION, "description": "The longest the program may run."},
        "start_overhead": {**_DURATION, "description": "Machine ready to first useful step."},
        "deadline": {
            "type": "string",
            "description": "An instant, or an offset from now.",
            "examples": ["2026-12-01T08:00:00Z", "+8h"],
        },
        "priority": {"type": "integer", "description": "Higher goes first."},
        "value": {
            "type": "string",
            "description": "What finishing is worth.",
            "examples": ["500 USD"],
        },
        "max_price": {
            "type": "string",
            "description": "Most per machine.",
            "examples": ["30 USD/h"],
        },
        "interruptible": {"type": "boolean"},
        "command": _COMMAND,
        "run": _COMMAND,
        "setup": _COMMAND,
        "image": {**_TEXT, "description": "A container image; none to run on the machine itself."},
        "workdir": _TEXT,
        "env": {
            "type": "object",
            "maxProperties": 256,
            "propertyNames": {"pattern": _VARIABLE},
            "additionalProperties": {"type": ["string", "number"]},
        },
        "secrets": {
            "description": "Names alone.",
            "type": "array",
            "maxItems": 256,
            "items": {"type": "string", "pattern": _VARIABLE},
        },
        "checkpoint": _CHECKPOINT,
        "grace": {
            **_DURATION,
            "description": "From the signal to stop until the program is killed.",
        },
        "retry": {"type": "integer", "minimum": 0, "maximum": 1000},
        "labels": {"type": "object", "maxProperties": 256, "additionalProperties": _TEXT},
    },
}
