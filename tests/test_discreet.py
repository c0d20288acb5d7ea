"""A host's intents behind the adapter that hides our own secrets."""

from collections.abc import Mapping
from typing import Any

import pytest

from llmcore.adapters.discreet import DiscreetCaller
from llmcore.errors import Conflict, LLMCoreError
from llmcore.ports import Call
from llmcore.redaction import Redactor
from tests.rooms import ANNA, Host

pytestmark = pytest.mark.asyncio

SECRET = "canary-of-the-caller"
CALL = Call(intent="look", params={"module": "nginx"}, principal=ANNA, idempotency_key="k")


async def tell(call: Call) -> Any:
    """An intent that gives the secret away in all ways."""
    call.progress({"text": f"key {SECRET}"})
    return {"lines": [f"{SECRET}!", 7], SECRET: None}


async def fail(_: Call) -> Any:
    """The same, failing."""
    error = Conflict(f"There is {SECRET} already.", output=SECRET)
    error.result = {"output": SECRET}
    raise error


async def test_results_and_progress_are_told_without_secrets() -> None:
    """All else stays as it is."""
    host, seen = Host(), []

    def progress(data: Mapping[str, Any]) -> None:
        seen.append(data)

    host.plays["look"] = tell
    call = Call(intent="look", params={}, principal=ANNA, idempotency_key="k", progress=progress)
    result = await DiscreetCaller(host, Redactor([SECRET]).exact).call(call)
    assert result == {"lines": ["[redacted]!", 7], "[redacted]": None}
    assert seen == [{"text": "key [redacted]"}]


async def test_errors_are_told_without_secrets() -> None:
    """Message, details and what was done until then."""
    host = Host()
    host.plays["look"] = fail
    with pytest.raises(LLMCoreError, match=r"There is .redacted. already") as raised:
        await DiscreetCaller(host, Redactor([SECRET]).exact).call(CALL)
    assert SECRET not in repr((raised.value.details, raised.value.result))


async def test_everything_else_is_left_to_the_other_one() -> None:
    """Previews, ways back, checks; and results where there are no secrets."""
    host = Host()
    caller = DiscreetCaller(host, Redactor().exact)
    assert await caller.call(CALL) == {"ok": True, "module": "nginx"}
    assert await caller.preview("look", {"module": "nginx"}, ANNA) == await host.preview("look", CALL.params, ANNA)
    assert await caller.undo_of("start_it", CALL.params, None, None, ANNA) is not None
    assert await caller.verify("look", CALL.params, ANNA) is None
