"""What a model may send to the pod tools, as JSON Schema."""

from __future__ import annotations

from typing import Any

_NAME = {"type": "string", "pattern": "^[a-z0-9][a-z0-9_-]{0,62}$", "description": "name of the pod: a-z, 0-9, _ and -"}
_RULE = {
    "type": "object",
    "properties": {
        "target": {"type": "string", "minLength": 1, "maxLength": 4095, "description": "absolute path without . or .."},
        "permission": {"enum": ["read", "write"], "description": "write implies read, and leaves you until the pod ends"},
        "recursive": {"type": "boolean", "default": True, "description": "false: the target and its direct children only"},
    },
    "required": ["target", "permission"],
    "additionalProperties": False,
}


def _object(properties: dict[str, Any], required: list[str]) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": required, "additionalProperties": False}


SPAWN = _object(
    {
        "name": _NAME,
        "task": {"type": "string", "minLength": 1, "maxLength": 262144, "description": "what the new pod shall do"},
        "scope": {
            "type": "array",
            "items": _RULE,
            "minItems": 1,
            "maxItems": 256,
            "description": "what it may read and write; at most what you may hand out",
        },
        "grant": {
            "type": "array",
            "items": _RULE,
            "maxItems": 256,
            "description": "what it may hand out to pods of its own, when that is not its scope; at most what you may hand out",
        },
        "cwd": {"type": "string", "description": "directory it starts in; grants nothing"},
    },
    ["name", "task", "scope"],
)
SEND = _object(
    {"name": _NAME, "message": {"type": "string", "minLength": 1, "maxLength": 262144, "description": "its next task"}},
    ["name", "message"],
)
NAMED = _object({"name": _NAME}, ["name"])
NOTHING = _object({}, [])
