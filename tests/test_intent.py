"""The decorator: types become a schema, the docstring the description."""

from typing import Annotated, Any, Literal

import pytest

from llmcore.intent import Context, Effect, Preview, Principal, intent, schema_of


def test_types_and_notes_become_the_schema() -> None:
    """Help texts, enums, defaults and what is required."""

    @intent(effect=Effect.READ, examples=[("sort", {"by": "cpu"})], vocabulary={"by": "columns"})
    async def list_things(
        by: Annotated[Literal["cpu", "memory"], "column to sort by"], limit: int | None = None, *, ctx: Context
    ) -> dict[str, Any]:
        """List things."""
        return {}

    assert list_things.name == "list_things"
    assert list_things.description == "List things."
    assert list_things.required == ("by",)
    assert list_things.idempotent
    properties = list_things.schema["properties"]
    assert properties["by"] == {"enum": ["cpu", "memory"], "type": "string", "description": "column to sort by"}
    assert properties["limit"] == {"type": "integer"}
    assert list_things.schema["additionalProperties"] is False
    assert list_things.pack == "test_intent"


def test_intent_without_effect_counts_as_destructive() -> None:
    """Who says nothing gets the strictest treatment."""

    @intent()
    async def do_it(*, ctx: Context) -> None:
        """Do it."""

    assert do_it.effect is Effect.DESTRUCTIVE
    assert not do_it.idempotent
    assert do_it.schema["properties"] == {}


def test_hash_changes_with_schema_and_effect() -> None:
    """An approved plan notices that the intent behind it is another."""

    async def act(a: int, *, ctx: Context) -> None:
        """Act."""

    async def preview(a: int, *, ctx: Context) -> Preview:
        return Preview(targets=("a",))

    read = intent(effect=Effect.READ)(act)
    write = intent(effect=Effect.WRITE, preview=preview)(act)
    assert read.schema_hash != write.schema_hash
    assert write.preview is preview


@pytest.mark.asyncio
async def test_function_without_context_is_called_without() -> None:
    """Its hooks too."""

    async def preview(a: int) -> Preview:
        return Preview(targets=(str(a),))

    @intent(preview=preview)
    async def act(a: int) -> int:
        """Act."""
        return a + 1

    context = Context(services={}, principal=Principal(name="ann", role="admin"))
    assert act.handler is not None
    assert act.preview is not None
    assert await act.handler(a=1, ctx=context) == 2
    assert await act.preview(a=1, ctx=context) == Preview(targets=("1",))
    assert act.schema["required"] == ["a"]


def test_function_that_is_no_coroutine_is_refused() -> None:
    """It would hold up everybody."""

    def act(a: int) -> None:
        """Act."""

    with pytest.raises(TypeError, match="async def"):
        intent()(act)  # type: ignore[arg-type]


def test_param_without_type_is_refused() -> None:
    """There would be no schema for it."""

    async def act(a, *, ctx: Context) -> None:  # type: ignore[no-untyped-def]
        """Act."""

    with pytest.raises(TypeError, match="'a' has no type"):
        schema_of(act)
