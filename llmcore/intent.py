"""What a pack author imports: the `intent` decorator, `Context`, `Effect` and the values of the hooks.

A decorated coroutine becomes an `Intent`: its typed parameters become the JSON Schema of the params, its docstring the
description. Hooks (`preview`, `verify`, `undo`) are coroutines with the same parameters. Packs import only this module
and `llmcore.errors`; what they need from outside comes by name through `ctx.services`.
"""

import hashlib
import inspect
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import wraps
from typing import Any

import orjson
from pydantic import ConfigDict, TypeAdapter, create_model

from llmcore.plan import Effect, Preview, Principal, Undo

__all__ = ["Context", "Effect", "Example", "Intent", "Preview", "Principal", "Undo", "intent"]

Handler = Callable[..., Awaitable[Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """What an intent may know of its call."""

    services: Mapping[str, Any]
    """Adapters by name, such as `files`, `targets`, `scripts`."""
    principal: Principal
    idempotency_key: str = ""
    before: Any = None
    """The `before` of the preview that was decided on; None without one."""
    progress: Callable[[Mapping[str, Any]], None] = lambda _: None
    """Tells viewers how far the work is; takes a JSON object, returns at once."""


@dataclass(frozen=True, slots=True)
class Example:
    """A request in plain words and the params it means."""

    text: str
    params: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Intent:
    """One thing the host can do. `schema` is a JSON Schema (2020-12) of an object."""

    name: str
    description: str
    schema: Mapping[str, Any]
    effect: Effect
    idempotent: bool = False
    """True if doing it twice with the same idempotency key is the same as once."""
    examples: tuple[Example, ...] = ()
    pack: str = ""
    handler: Handler | None = None
    """None for an intent that a host runs (`catalog` files)."""
    preview: Handler | None = None
    """`async (**params, ctx) -> Preview`: what would be touched; must not change anything."""
    verify: Handler | None = None
    """`async (**params, ctx) -> bool`: did it take effect?"""
    undo: Handler | None = None
    """`async (**params, before, result, ctx) -> Undo | None`: the call that takes it back."""
    long_running: bool = False
    """True if the work may take longer than an RPC may wait."""
    frees_space: bool = False
    """True if it may begin even while the disk under the store is full, because it makes room."""
    vocabulary: Mapping[str, str] = field(default_factory=dict)
    """Param name -> name of a host list (`targets`, `logs`, `scripts`, …) that its values come from."""
    offered: bool = True
    """False for one that only an RPC puts into a plan: neither listed nor shown to planners."""
    schema_hash: str = ""

    def __post_init__(self) -> None:
        """Compute the hash that plans remember."""
        text = orjson.dumps([self.schema, str(self.effect)], option=orjson.OPT_SORT_KEYS)
        object.__setattr__(self, "schema_hash", hashlib.sha256(text).hexdigest()[:16])

    @property
    def required(self) -> tuple[str, ...]:
        """Names of the params that have no default."""
        return tuple(self.schema.get("required", ()))


def intent(
    *,
    effect: Effect = Effect.DESTRUCTIVE,
    examples: Sequence[tuple[str, Mapping[str, Any]]] = (),
    idempotent: bool | None = None,
    preview: Handler | None = None,
    verify: Handler | None = None,
    undo: Handler | None = None,
    long_running: bool = False,
    frees_space: bool = False,
    vocabulary: Mapping[str, str] | None = None,
    offered: bool = True,
) -> Callable[[Handler], Intent]:
    """Make an `Intent` of a coroutine `async def name(param: Annotated[type, "help"], *, ctx: Context)`.

    Whoever has no use for `ctx` leaves it out, in the hooks too.

    Args:
        effect: what it does to the world; without it the intent counts as destructive.
        examples: requests with the params they mean, at least a handful, varied.
        idempotent: doing it twice is the same as once; reads are by default.
        preview: coroutine with the same params that returns a `Preview` and changes nothing.
        verify: coroutine with the same params that says whether the effect is there.
        undo: coroutine with the same params plus `before` and `result` that returns an `Undo` or None.
        long_running: the work may take longer than ten seconds.
        frees_space: it makes room on a disk, so it may begin even while the one under the store is full.
        vocabulary: param name -> host list its values come from.
        offered: False hides it from lists and planners.

    Raises:
        TypeError: a function is no coroutine, or a param has no annotation.
    """

    def decorate(handler: Handler) -> Intent:
        return Intent(
            name=getattr(handler, "__name__", ""),
            description=inspect.getdoc(handler) or "",
            schema=schema_of(handler),
            effect=effect,
            idempotent=effect is Effect.READ if idempotent is None else idempotent,
            examples=tuple(Example(text, params) for text, params in examples),
            pack=handler.__module__.rpartition(".")[2],
            handler=_called_with_context(handler),
            preview=preview and _called_with_context(preview),
            verify=verify and _called_with_context(verify),
            undo=undo and _called_with_context(undo),
            long_running=long_running,
            frees_space=frees_space,
            vocabulary=dict(vocabulary or {}),
            offered=offered,
        )

    return decorate


def _called_with_context(handler: Handler) -> Handler:
    if not inspect.iscoroutinefunction(handler):
        raise TypeError(f"{getattr(handler, '__name__', handler)}: has to be defined with `async def`")
    params = inspect.signature(handler).parameters.values()
    if any(param.name == "ctx" or param.kind is param.VAR_KEYWORD for param in params):
        return handler

    @wraps(handler)
    async def without(*, ctx: Context, **values: Any) -> Any:
        return await handler(**values)

    return without


def schema_of(handler: Handler) -> dict[str, Any]:
    """JSON Schema of a handler's params: types, defaults and `Annotated[..., "help"]` descriptions.

    Raises TypeError for a param without annotation.
    """
    fields: dict[str, Any] = {}
    helps: dict[str, str] = {}
    for name, param in inspect.signature(handler, eval_str=True).parameters.items():
        if name == "ctx":
            continue
        if param.annotation is param.empty:
            raise TypeError(f"{getattr(handler, '__name__', handler)}: param {name!r} has no type")
        helps[name] = " ".join(note for note in getattr(param.annotation, "__metadata__", ()) if isinstance(note, str))
        fields[name] = (param.annotation, ... if param.default is param.empty else param.default)
    model = create_model("Params", __config__=ConfigDict(extra="forbid"), **fields)
    schema = TypeAdapter(model).json_schema()
    schema.pop("title", None)
    schema.setdefault("properties", {})
    for name, prop in schema["properties"].items():
        prop.pop("title", None)
        _optional_without_null(prop)
        if helps[name]:
            prop["description"] = helps[name]
    return schema


def _optional_without_null(prop: dict[str, Any]) -> None:
    """`x: int | None = None` means that x may be left out, not that null is a value."""
    options = [option for option in prop.get("anyOf", ()) if option != {"type": "null"}]
    if prop.get("default", ...) is None and len(options) == 1:
        del prop["anyOf"], prop["default"]
        prop.update(options[0])
