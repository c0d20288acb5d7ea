"""Intents that write down what they really did, in a file beside this one: that file is the judge.

Copied into a folder of its own for each campaign; the server that is killed loads it from there.
"""

import asyncio
import json
import os
from pathlib import Path
from typing import Annotated, Any

from llmcore.errors import Conflict
from llmcore.intent import Context, Effect, Preview, Undo, intent

LOG = Path(__file__).with_name("effects")
Mark = Annotated[str, "what is marked"]
Seconds = Annotated[float, "how long it takes"]


def _note(what: str, name: str, mark: str, ctx: Context) -> None:
    """One line, whole or absent: what is in the file survives the end of the process."""
    line = json.dumps({"what": what, "intent": name, "mark": mark, "key": ctx.idempotency_key, "pid": os.getpid()})
    file = os.open(LOG, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.write(file, line.encode() + b"\n")
    os.close(file)


async def _mark(name: str, mark: str, seconds: float, ctx: Context) -> dict[str, Any]:
    _note("begin", name, mark, ctx)
    await asyncio.sleep(seconds)
    _note("end", name, mark, ctx)
    return {"mark": mark, "count": 1}


async def _preview(mark: str, *, ctx: Context, **_: Any) -> Preview:
    return Preview(targets=(mark,), before={"mark": mark}, after={"marked": True})


async def _undo(mark: str, *, before: Any, result: Any, ctx: Context, **_: Any) -> Undo:
    return Undo(intent="take_back", params={"mark": mark})


@intent(effect=Effect.WRITE, preview=_preview, undo=_undo, examples=[("mark a once", {"mark": "a", "seconds": 0})])
async def mark_once(mark: Mark, seconds: Seconds, note: str = "", *, ctx: Context) -> dict[str, Any]:
    """Mark something; twice would be wrong."""
    return await _mark("mark_once", mark, seconds, ctx)


@intent(
    effect=Effect.WRITE,
    idempotent=True,
    preview=_preview,
    undo=_undo,
    examples=[("mark a again", {"mark": "a", "seconds": 0})],
)
async def mark_again(mark: Mark, seconds: Seconds, note: str = "", *, ctx: Context) -> dict[str, Any]:
    """Mark something; with the same key twice is the same as once."""
    return await _mark("mark_again", mark, seconds, ctx)


@intent(effect=Effect.READ, examples=[("look at mark a", {"mark": "a", "seconds": 0})])
async def look_at(mark: Mark, seconds: Seconds, note: str = "", *, ctx: Context) -> dict[str, Any]:
    """Look at something."""
    return await _mark("look_at", mark, seconds, ctx)


@intent(effect=Effect.WRITE, preview=_preview, examples=[("break mark a", {"mark": "a", "seconds": 0})])
async def break_it(mark: Mark, seconds: Seconds, note: str = "", *, ctx: Context) -> dict[str, Any]:
    """Fail after a while, without an effect."""
    await asyncio.sleep(seconds)
    raise Conflict(f"{mark} is broken.")


@intent(effect=Effect.WRITE, preview=_preview, examples=[("take mark a back", {"mark": "a"})])
async def take_back(mark: Mark, *, ctx: Context) -> dict[str, Any]:
    """Take a mark back; twice would be wrong."""
    return await _mark("take_back", mark, 0.02, ctx)
