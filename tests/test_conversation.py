"""Conversations: owners, titles, what a model sees of them, export."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from llmcore.conversation import MAX_TITLE, Conversations, conversation_json
from llmcore.errors import BadParams, NotFound
from llmcore.ports import Conversation
from tests.rooms import ANNA, BO, rooms

pytestmark = pytest.mark.asyncio


@pytest_asyncio.fixture
async def talks(tmp_path: Path) -> AsyncIterator[Conversations]:
    """On a new store."""
    async with rooms(tmp_path) as house:
        yield Conversations(house.store, house.clock, window_chars=40)


async def begun(talks: Conversations, title: str = "Hello") -> Conversation:
    """A stored conversation of Anna's."""
    conversation, new = await talks.begin(None, ANNA, title)
    assert new
    await talks.touch(conversation)
    return conversation


async def test_conversation_is_its_owners_alone(talks: Conversations) -> None:
    """To anybody else it is as if it did not exist."""
    mine = await begun(talks)
    assert (await talks.begin(mine.conversation_id, ANNA, ""))[0].title == "Hello"
    for call in (
        talks.of(mine.conversation_id, BO),
        talks.rename(mine.conversation_id, "x", BO),
        talks.export(mine.conversation_id, BO),
        talks.begin(mine.conversation_id, BO, ""),
        talks.of("cv_none", ANNA),
    ):
        with pytest.raises(NotFound):
            await call


async def test_title_is_one_short_line(talks: Conversations) -> None:
    """Whatever was asked first."""
    conversation = await begun(talks, "a \n b\t" + "c" * 500)
    assert conversation.title.startswith("a b ccc")
    assert len(conversation.title) == MAX_TITLE
    assert (await begun(talks, " \n ")).title == "New conversation"
    assert (await talks.rename(conversation.conversation_id, " new  name ", ANNA)).title == "new name"
    with pytest.raises(BadParams):
        await talks.rename(conversation.conversation_id, "  ", ANNA)


async def test_model_sees_the_newest_that_fit_and_not_the_present_turn(talks: Conversations) -> None:
    """Tool results mark the window as untrusted."""
    conversation = await begun(talks)
    said = [
        ("user", "x" * 30, "r1", {}),
        ("assistant", "y" * 15, "r1", {"untrusted": True}),
        ("user", "z" * 15, "r2", {}),
    ]
    for role, content, run, meta in said:
        await talks.say(conversation.conversation_id, role, content, run, meta)
    await talks.say(conversation.conversation_id, "user", "now", "r3")
    window, stored = await talks.window(conversation.conversation_id, "r3")
    assert [(message.role, message.content[0]) for message in window.messages] == [("assistant", "y"), ("user", "z")]
    assert window.untrusted
    assert len(stored) == 3
    shorter, _ = await talks.window(conversation.conversation_id, "r2")
    assert [message.content for message in shorter.messages] == ["y" * 15, "now"]


async def test_export_has_everything_twice(talks: Conversations) -> None:
    """As data and as text to read."""
    conversation = await begun(talks)
    await talks.say(conversation.conversation_id, "user", "Is it up?", "r1")
    await talks.say(conversation.conversation_id, "assistant", "Yes.", "r1", {"plan_id": "pl_1"})
    exported = await talks.export(conversation.conversation_id, ANNA)
    assert [message["content"] for message in exported["messages"]] == ["Is it up?", "Yes."]
    assert exported["messages"][1]["meta"] == {"plan_id": "pl_1"}
    assert exported["markdown"].startswith("# Hello\n")
    assert "Is it up?" in exported["markdown"]
    assert conversation_json(conversation)["title"] == "Hello"
