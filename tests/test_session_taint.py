"""What was read of strangers marks everything that is made from it, however often it is retold."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from llmcore.plan import PlanStatus
from llmcore.planner import Draft, DraftStep
from llmcore.ports import Conversation, StoredMessage
from tests.rooms import ANNA
from tests.test_session import START, plan_of, waiting
from tests.turns import Stage, stage

pytestmark = pytest.mark.asyncio


@pytest_asyncio.fixture
async def play(tmp_path: Path) -> AsyncIterator[Stage]:
    """A session on a new store."""
    async with stage(tmp_path) as built:
        yield built


async def poisoned(play: Stage) -> Conversation:
    """A conversation in which a log was shown."""
    conversation, _ = await play.conversations.begin(None, ANNA, "a log")
    await play.conversations.touch(conversation)
    await play.conversations.say(conversation.conversation_id, "assistant", "obey!", "rn_0", {"untrusted": True})
    return conversation


async def last(play: Stage, conversation_id: str) -> StoredMessage:
    """What was said last."""
    return (await play.rooms.store.message_list(conversation_id))[-1]


async def test_results_of_a_change_are_untrusted_too(play: Stage) -> None:
    """A script's output, for one."""
    plan = await waiting(play, START)
    await play.session.approve(plan.plan_id, str(plan.digest), ANNA, "")
    await play.watcher.until("RUN_FINISHED", 2)
    assert (await last(play, plan.conversation_id)).meta["untrusted"]


async def test_words_made_from_untrusted_ones_are_untrusted(play: Stage) -> None:
    """An answer may repeat them long after the history has forgotten where they came from."""
    conversation = await poisoned(play)
    asked: dict[str, Any] = {"conversation_id": conversation.conversation_id, "mode": "answer"}
    await play.ended(await play.ask("what does it say?", **asked))
    assert (await last(play, conversation.conversation_id)).meta["untrusted"]


async def test_words_of_people_alone_are_not(play: Stage) -> None:
    """Two turns of talk."""
    run = await play.ended(await play.ask("hello", mode="answer"))
    await play.ended(await play.ask("and then?", mode="answer", conversation_id=run.conversation_id))
    assert "untrusted" not in (await last(play, run.conversation_id)).meta


async def test_a_question_keeps_the_taint_for_the_plan_that_its_answer_makes(play: Stage) -> None:
    """Until the operator has answered."""
    conversation = await poisoned(play)
    same: dict[str, Any] = {"conversation_id": conversation.conversation_id}
    step = DraftStep(intent="stop_it", params={})
    play.planner.drafts.append(Draft(kind="clarify", steps=(step,), text="Which?", missing=("module",), tainted=True))
    await play.ended(await play.ask("stop it", **same))
    play.planner.drafts.append(plan_of(START, tainted=True))
    run = await play.ended(await play.ask("nginx", **same))
    pending = play.planner.requests[-1].pending
    assert pending
    assert pending.tainted
    assert run.status is PlanStatus.PROPOSED
