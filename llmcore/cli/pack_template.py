"""The files of a new pack.

Used by `llmcore new-pack`.
"""

from collections.abc import Mapping

_PACK = '''"""Intents of the pack NAME.

Put the work of your own in place of the switches, keep the shape: types become the schema, the docstring becomes the
description, examples teach the local matcher how people ask.
"""

from typing import Annotated, Any

from llmcore.errors import NotFound
from llmcore.intent import Context, Effect, Preview, Undo, intent

Switch = Annotated[str, "name of the switch"]
_switches = {"lamp": False, "fan": False}


def _state(switch: str) -> bool:
    if switch not in _switches:
        raise NotFound(f"There is no switch {switch!r}; known: {', '.join(_switches)}.")
    return _switches[switch]


@intent(
    effect=Effect.READ,
    examples=[
        ("NAME: is the lamp on?", {"switch": "lamp"}),
        ("what is the state of the NAME fan", {"switch": "fan"}),
        ("show me the NAME switch lamp", {"switch": "lamp"}),
        ("NAME fan status", {"switch": "fan"}),
        ("check whether the lamp of NAME is switched on", {"switch": "lamp"}),
        ("how is the fan of NAME doing?", {"switch": "fan"}),
        ("get the NAME lamp", {"switch": "lamp"}),
        ("tell me if the NAME fan runs", {"switch": "fan"}),
    ],
)
async def get_NAME_switch(switch: Switch, *, ctx: Context) -> dict[str, Any]:
    """Whether a switch of NAME is on."""
    return {"switch": switch, "on": _state(switch)}


async def _preview(switch: str, on: bool, *, ctx: Context) -> Preview:
    return Preview(targets=(switch,), before={"on": _state(switch)}, after={"on": on})


async def _undo(switch: str, on: bool, *, before: Any, result: Any, ctx: Context) -> Undo | None:
    return Undo(intent="set_NAME_switch", params={"switch": switch, "on": before["on"]})


@intent(
    effect=Effect.WRITE,
    idempotent=True,
    preview=_preview,
    undo=_undo,
    examples=[
        ("NAME: turn the lamp on", {"switch": "lamp", "on": True}),
        ("switch the NAME fan off", {"switch": "fan", "on": False}),
        ("please set the lamp of NAME to on", {"switch": "lamp", "on": True}),
        ("NAME lamp off", {"switch": "lamp", "on": False}),
        ("start the fan of NAME", {"switch": "fan", "on": True}),
        ("I want the NAME lamp turned off", {"switch": "lamp", "on": False}),
        ("power up the NAME fan", {"switch": "fan", "on": True}),
        ("shut the NAME fan down", {"switch": "fan", "on": False}),
    ],
)
async def set_NAME_switch(switch: Switch, on: Annotated[bool, "true for on"], *, ctx: Context) -> dict[str, Any]:
    """Turn a switch of NAME on or off."""
    _state(switch)
    _switches[switch] = on
    return {"switch": switch, "on": on}
'''

_TEST = '''"""The pack NAME does what it says, and takes it back."""

import asyncio
from pathlib import Path

import pytest

from llmcore.catalog import Catalog, load_folder
from llmcore.errors import NotFound
from llmcore.intent import Context, Principal

CTX = Context(services={}, principal=Principal(name="tester", role="admin"))


@pytest.fixture
def catalog() -> Catalog:
    """The pack, checked as the server checks it."""
    return Catalog(load_folder(Path(__file__).parent.parent))


def test_a_switch_is_set_and_read(catalog: Catalog) -> None:
    """What was set is what is read."""
    set_switch, get_switch = catalog.get("set_NAME_switch"), catalog.get("get_NAME_switch")

    async def story() -> None:
        await set_switch.handler(switch="lamp", on=True, ctx=CTX)
        assert await get_switch.handler(switch="lamp", ctx=CTX) == {"switch": "lamp", "on": True}

    asyncio.run(story())


def test_undo_brings_back_the_state_before(catalog: Catalog) -> None:
    """The undo of a change is the call that restores what the preview saw."""
    set_switch = catalog.get("set_NAME_switch")

    async def story() -> None:
        preview = await set_switch.preview(switch="fan", on=True, ctx=CTX)
        undo = await set_switch.undo(switch="fan", on=True, before=preview.before, result=None, ctx=CTX)
        assert (undo.intent, undo.params) == ("set_NAME_switch", {"switch": "fan", "on": False})

    asyncio.run(story())


def test_an_unknown_switch_is_refused(catalog: Catalog) -> None:
    """The error names what there is."""
    with pytest.raises(NotFound, match="lamp"):
        asyncio.run(catalog.get("get_NAME_switch").handler(switch="door", ctx=CTX))
'''


def files_of(name: str) -> Mapping[str, str]:
    """Path below the pack's folder -> text."""
    return {f"{name}.py": _PACK.replace("NAME", name), f"tests/test_{name}.py": _TEST.replace("NAME", name)}
