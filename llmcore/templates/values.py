"""What a template is, as a frozen value, as JSON, and as the schemas of what people hand in.

Used by the modules of this room; the schemas also by the api. Knows only JSON.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from llmcore.plan import RawStep

_SCALAR = {"type": ["string", "integer", "number", "boolean"]}
_SIZE = {"type": "integer", "minimum": 0, "maximum": 100_000}
_LIMIT = {"type": "number"}

NAME_SCHEMA: Mapping[str, Any] = {"type": "string", "pattern": "^[a-z0-9][a-z0-9_-]{0,63}$"}
TITLE_SCHEMA: Mapping[str, Any] = {"type": "string", "maxLength": 200}
DESCRIPTION_SCHEMA: Mapping[str, Any] = {"type": "string", "maxLength": 2_000}
PARAMS_SCHEMA: Mapping[str, Any] = {  # of each param all of this, or its value in the plan alone
    "type": "object",
    "propertyNames": {"pattern": "^[a-z][a-z0-9_]{0,31}$"},
    "maxProperties": 20,
    "additionalProperties": {
        "type": ["object", "string", "integer", "number", "boolean"],
        "properties": {
            "value": {**_SCALAR, "description": "What it is in the plan: each occurrence there becomes the param"},
            "description": {"type": "string", "maxLength": 500},
            "type": {"enum": ["string", "integer", "number", "boolean"]},
            "default": _SCALAR,
            "enum": {"type": "array", "items": _SCALAR, "minItems": 1, "maxItems": 100},
            "pattern": {"type": "string", "minLength": 1, "maxLength": 200},
            "minLength": _SIZE,
            "maxLength": _SIZE,
            "minimum": _LIMIT,
            "maximum": _LIMIT,
        },
        "additionalProperties": False,
    },
}
EXAMPLES_SCHEMA: Mapping[str, Any] = {
    "type": "array",
    "items": {"type": "string", "minLength": 1, "maxLength": 300},
    "maxItems": 20,
}
FILE_SCHEMA: Mapping[str, Any] = {
    "type": "object",
    "properties": {
        "name": NAME_SCHEMA,
        "title": TITLE_SCHEMA,
        "description": DESCRIPTION_SCHEMA,
        "params": PARAMS_SCHEMA,
        "examples": EXAMPLES_SCHEMA,
        "steps": {"type": "array", "items": {"type": "object"}},
    },
    "required": ["name", "steps"],
    "additionalProperties": False,
}
"""A template in a file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Template:
    """A plan with params."""

    name: str
    steps: tuple[RawStep, ...]
    """Flat steps whose params hold placeholders."""
    params: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Name -> JSON Schema of its value, with `description` and `default`; without a default it has to be given."""
    title: str = ""
    description: str = ""
    examples: tuple[str, ...] = ()
    """Texts with `{param}`s that mean this template."""
    owner: str | None = None
    """Who saved it; None for one that comes with the program or from the operator's folder."""
    owner_role: str | None = None
    """The role that they had."""
    tainted: bool = False
    """True if it was saved from a plan that untrusted words took part in; so are the plans made of it."""
    created_at: str = ""
    updated_at: str = ""

    @property
    def intents(self) -> tuple[str, ...]:
        """Names of the intents that it calls, each once."""
        return tuple(dict.fromkeys(str(step["intent"]).removeprefix("intent_") for step in self.steps))

    @property
    def defaults(self) -> dict[str, Any]:
        """The values of params that nobody has to give."""
        return {name: schema["default"] for name, schema in self.params.items() if "default" in schema}

    @property
    def schema(self) -> dict[str, Any]:
        """JSON Schema of all its params together."""
        return {
            "type": "object",
            "properties": {name: dict(schema) for name, schema in self.params.items()},
            "required": [name for name in self.params if name not in self.defaults],
            "additionalProperties": False,
        }

    def json(self) -> dict[str, Any]:
        """As it is stored and sent."""
        return {
            "name": self.name,
            "title": self.title,
            "description": self.description,
            "params": {name: dict(schema) for name, schema in self.params.items()},
            "examples": list(self.examples),
            "steps": [dict(step) for step in self.steps],
            "owner": self.owner,
            "owner_role": self.owner_role,
            "bundled": self.owner is None,
            "tainted": self.tainted,
            "created_at": self.created_at,
            "updated_at": self.updated_at,
        }


def template_from_json(data: Mapping[str, Any]) -> Template:
    """The opposite of `Template.json`; for our own stored ones."""
    return Template(
        name=data["name"],
        steps=tuple(data["steps"]),
        params=data["params"],
        title=data["title"],
        description=data["description"],
        examples=tuple(data["examples"]),
        owner=data["owner"],
        owner_role=data["owner_role"],
        tainted=data["tainted"],
        created_at=data["created_at"],
        updated_at=data["updated_at"],
    )


@dataclass(frozen=True, slots=True)
class Filled:
    """A template with values: steps as the contract writes them, checked against the catalogue."""

    name: str
    title: str
    steps: tuple[RawStep, ...]
    tainted: bool
