"""CloudiSENSE's client on a real llmcore: log in, subscribe, call intents, chat, lose the connection, come back."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager
from typing import Any
from urllib.parse import urlsplit

import pytest
from tornado.httpclient import AsyncHTTPClient, HTTPClientError

from tests.cloudisense_client import CloudisenseClient, RpcRejected
from tests.panel_kit import PASSWORD, Served, served
from tests.peer import Peer

pytestmark = pytest.mark.asyncio

ORIGIN = "http://cloudisense.example:8000"
SCRIPT: list[dict[str, Any]] = [
    {"match": "count slowly", "reply": "one two three four five six seven eight", "chunks": 8, "delay_s": 0.1},
    {"match": "wait for ever", "reply": "never", "chunks": 5, "delay_s": 30},
    {"match": "", "reply": "A **short** answer."},
]


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A real server with a scripted model."""
    more = {"LLMCORE_SERVER__ORIGINS": json.dumps([ORIGIN])}
    with served(tmp_path_factory.mktemp("wire"), SCRIPT, more) as running:
        yield running


class Talk:
    """What a page sees of one topic."""

    def __init__(self, client: CloudisenseClient, topic: str) -> None:
        """Listen before anything is asked."""
        self.topic = topic
        self.data: list[dict[str, Any]] = []
        self.resuming = False
        self._more = asyncio.Event()
        client.subscribe_topic(topic, self._take)

    def _take(self, data: dict[str, Any]) -> None:
        """Keep the next one; after a reconnection what comes too early or again is left to the replay."""
        first, expected = data.get("first_seq", data["seq"]), self.data[-1]["seq"] + 1 if self.data else 1
        if first != expected and self.resuming:
            return
        assert first == expected, "numbers have a gap or come twice"
        self.data.append(data)
        self._more.set()

    @property
    def events(self) -> list[dict[str, Any]]:
        """The AG-UI events so far."""
        return [data["event"] for data in self.data]

    @property
    def text(self) -> str:
        """What the assistant has said."""
        return "".join(event.get("delta", "") for event in self.events if event["type"] == "TEXT_MESSAGE_CONTENT")

    async def until(self, kind: str) -> dict[str, Any]:
        """Wait for an event of a type."""
        async with asyncio.timeout(20):
            while not (found := [event for event in self.events if event["type"] == kind]):
                self._more.clear()
                await self._more.wait()
        return found[-1]


@asynccontextmanager
async def connected(host: Served, **options: Any) -> AsyncIterator[CloudisenseClient]:
    """The client as a page has it; at the end it must have had no reason to complain."""
    where = urlsplit(host.url)
    client = CloudisenseClient(where.hostname or "", where.port or 0, **options)
    await client.connect_with_auth_data(await client.authorize("administrator", PASSWORD))
    try:
        yield client
        assert client.complaints == []
    finally:
        await client.disconnect()


async def test_first_day(host: Served) -> None:
    """Log in, see statistics, call an intent, ask in plain words."""
    async with connected(host) as client:
        stats: asyncio.Queue[Any] = asyncio.Queue()
        client.subscribe_topic("/stats", stats.put_nowait)
        await client.subscribe_datachannel("/stats")
        memory = await client.execute_arbitrary_action("intent_get_memory_stats", {})
        assert memory
        talk = Talk(client, "/ui/updates/llm/first-day")
        asked = {"prompt": "which processes eat the memory?", "topic": talk.topic}
        accepted = await client.execute_arbitrary_action("chat_llm", asked)
        assert accepted["accepted"] is True
        assert accepted["topic"] == talk.topic
        end = await talk.until("RUN_FINISHED")
        assert end["outcome"] == {"type": "success"}
        assert end["result"]["text"]
        assert talk.events[0]["type"] == "RUN_STARTED"
        async with asyncio.timeout(20):
            assert await stats.get()
        await client.unsubscribe_datachannel("/stats")


async def test_streamed_answer(host: Served) -> None:
    """A model's words come one by one, in order, and once more as a whole."""
    async with connected(host) as client:
        talk = Talk(client, "/ui/updates/llm/streamed")
        params = {"prompt": "count slowly", "topic": talk.topic, "params": {"mode": "answer"}}
        await client.execute_arbitrary_action("chat_llm", params)
        end = await talk.until("RUN_FINISHED")
        assert talk.text == "one two three four five six seven eight"
        assert end["result"]["text"] == talk.text
        deltas = [event for event in talk.events if event["type"] == "TEXT_MESSAGE_CONTENT"]
        assert len(deltas) > 3


async def test_login_refused(host: Served) -> None:
    """A wrong password is 403; a bad token never becomes a connection."""
    where = urlsplit(host.url)
    client = CloudisenseClient(where.hostname or "", where.port or 0)
    with pytest.raises(HTTPClientError) as refused:
        await client.authorize("administrator", "wrong")
    assert refused.value.code == 403
    with pytest.raises(HTTPClientError) as refused:
        await client.connect_with_auth_data({"access": {"token": "nonsense"}})
    assert refused.value.code == 401
    assert client.states == []


async def test_page_elsewhere(host: Served) -> None:
    """A page of an allowed origin logs in and connects; one of another does neither."""
    async with connected(host, origin=ORIGIN) as client:
        assert await client.execute_arbitrary_action("get_system_time", {})
    with pytest.raises(HTTPClientError) as refused:
        async with connected(host, origin="http://evil.example"):
            pass
    assert refused.value.code == 403


async def test_errors_are_sentences(host: Served) -> None:
    """What the host refuses arrives as a sentence, and the connection lives."""
    async with connected(host) as client:
        for intent, params in (
            ("no_such_intent", {}),
            ("read_file", {}),
            ("read_file", {"path": "/etc/shadow"}),
            ("subscribe_channel", {"topic": "/nothing/of/ours"}),
            ("plan_approve", {"plan_id": "pl_none", "digest": "sha256:0"}),
        ):
            with pytest.raises(RpcRejected, match=r"\w{2,}"):
                await client.execute_arbitrary_action(intent, params)
        assert await client.execute_arbitrary_action("status", {})


async def test_smart_assist(host: Served) -> None:
    """The assistant panel's three calls are served."""
    async with connected(host) as client:
        assert await client.smart_assist_introduce()
        answer = await client.query_smart_assist("what is the memory usage?")
        assert isinstance(answer, str | dict)
        await client.reset_smart_assist_session()


async def test_lost_connection(host: Served) -> None:
    """The client comes back with the same token and gets what it missed, nothing twice."""
    async with connected(host, reconnect_after_s=0.05) as client, connected(host) as other:
        talk = Talk(client, "/ui/updates/llm/lost")
        elsewhere = Talk(other, talk.topic)
        params = {"prompt": "count slowly", "topic": talk.topic, "params": {"mode": "answer"}}
        await client.execute_arbitrary_action("chat_llm", params)
        await talk.until("TEXT_MESSAGE_CONTENT")
        talk.resuming = True
        client.drop()
        await elsewhere.until("RUN_FINISHED")
        async with asyncio.timeout(20):
            await client.reached("CONNECTED", "CONNECTION_LOST", "CONNECTED")
        last = talk.data[-1]
        resume = {"topic": talk.topic, "after_seq": last["seq"], "epoch": last["epoch"]}
        told = await client.execute_arbitrary_action("stream_resume", resume)
        await talk.until("RUN_FINISHED")
        assert told["last_seq"] == talk.data[-1]["seq"]
        assert talk.text == elsewhere.text == "one two three four five six seven eight"


async def test_nobody_reads_any_more(host: Served) -> None:
    """When the only reader leaves, the model is asked no further."""
    async with connected(host) as client:
        talk = Talk(client, "/ui/updates/llm/left")
        params = {"prompt": "wait for ever", "topic": talk.topic, "params": {"mode": "answer"}}
        accepted = await client.execute_arbitrary_action("chat_llm", params)
        await talk.until("RUN_STARTED")
    async with connected(host) as client:
        later = Talk(client, talk.topic)
        later.resuming = True
        await client.execute_arbitrary_action("stream_resume", {"topic": talk.topic, "after_seq": 0})
        assert (await later.until("RUN_FINISHED"))["outcome"] == {"type": "cancelled"}
        run = await client.execute_arbitrary_action("run_get", {"run_id": accepted["run_id"]})
        assert run["run"]["status"] == "cancelled"


async def test_stop_button(host: Served) -> None:
    """A running turn can be stopped at any moment; its reader sees that it was."""
    async with connected(host) as client:
        talk = Talk(client, "/ui/updates/llm/stopped")
        params = {"prompt": "wait for ever", "topic": talk.topic, "params": {"mode": "answer"}}
        accepted = await client.execute_arbitrary_action("chat_llm", params)
        await client.execute_arbitrary_action("run_cancel", {"run_id": accepted["run_id"]})
        end = await talk.until("RUN_FINISHED")
        assert end["outcome"] == {"type": "cancelled"}


async def test_deletion_waits_for_its_digest(host: Served) -> None:
    """A destructive chain is shown, refused for another digest, and runs for the right one."""
    doomed = host.roots / "doomed.txt"
    doomed.write_text("x")
    async with connected(host) as client:
        talk = Talk(client, "/ui/updates/llm/doomed")
        chain = {"steps": [{"id": "s1", "intent": "delete_file", "params": {"path": str(doomed)}}], "topic": talk.topic}
        proposed = await client.execute_arbitrary_action("intent_chain", chain)
        assert proposed["status"] == "proposed"
        decision = {"plan_id": proposed["plan_id"], "digest": "sha256:" + "0" * 64}
        with pytest.raises(RpcRejected):
            await client.execute_arbitrary_action("plan_approve", decision)
        assert doomed.exists()
        decision = {"plan_id": proposed["plan_id"], "digest": proposed["digest"]}
        await client.execute_arbitrary_action("plan_approve", decision)
        await talk.until("STEP_FINISHED")
        await talk.until("RUN_FINISHED")
        assert not doomed.exists()


@pytest.mark.parametrize("frame", ["", "{", "[]", '{"type":"rpc"}', "[" * 5_000, '{"type":"rpc","requestid":"a"}'])
async def test_malformed_frames(host: Served, frame: str) -> None:
    """A frame that makes no sense is answered; the next one works."""
    async with connected(host) as client:
        token = client.token
        peer = await Peer.connect(f"{host.url.replace('http', 'ws', 1)}/ws?token={token}")
        assert (await peer.raw(frame))["status"] == "error"
        assert (await peer.call("status"))["status"] == "success"
        await peer.close()


async def test_openai_and_agui_doors(host: Served) -> None:
    """Programs with a bearer token chat over OpenAI's and AG-UI's protocols."""
    async with connected(host) as client:
        headers = {"Authorization": f"Bearer {client.token}"}
        messages = [{"id": "1", "role": "user", "content": "say something"}]

        async def post(path: str, body: Any) -> str:
            answer = await AsyncHTTPClient().fetch(
                host.url + path, method="POST", body=json.dumps(body), headers=headers, request_timeout=30
            )
            return answer.body.decode()

        whole = json.loads(await post("/v1/chat/completions", {"model": "llmcore/answer", "messages": messages}))
        assert whole["choices"][0]["message"]["content"] == "A **short** answer."
        doomed = host.roots / "kept.txt"
        doomed.write_text("x")
        asked = [{"role": "user", "content": f"delete the file {doomed}"}]
        await post("/v1/chat/completions", {"model": "llmcore", "messages": asked})
        assert doomed.exists()
        stream = await post("/agui", {"threadId": "t", "runId": "r", "messages": messages})
        events = [json.loads(line.removeprefix("data: ")) for line in stream.split("\n\n") if line.startswith("data")]
        assert [events[0]["type"], events[-1]["type"]] == ["RUN_STARTED", "RUN_FINISHED"]


async def test_stop_with_open_sockets(tmp_path_factory: pytest.TempPathFactory) -> None:
    """SIGTERM ends the process cleanly, and whoever is connected is told 1001."""
    with ExitStack() as server:
        running = server.enter_context(served(tmp_path_factory.mktemp("stop"), SCRIPT))
        async with connected(running) as client:
            peer = await Peer.connect(f"{running.url.replace('http', 'ws', 1)}/ws?token={client.token}")
            await client.execute_arbitrary_action("chat_llm", {"prompt": "count slowly", "params": {"mode": "answer"}})
            closing = asyncio.get_running_loop().run_in_executor(None, server.close)
            assert await peer.wait_closed() == 1001
            await closing
