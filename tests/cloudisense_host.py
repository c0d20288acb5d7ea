"""A small CloudiSENSE host for tests, made of the real cdscore: hub, dispatcher with its queues, message router.

What CloudiSENSE keeps closed (gateway, module loader, WebSocket handler) is played as its documents describe it. The
gateway lets nobody without the role do what changes something, whoever asks: a browser or a module.
"""

import asyncio
import json
from collections import defaultdict
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from cdscore.abstracts import IMessagingClient, IModule, IntentProvider
from cdscore.action import Action, ActionResponse
from cdscore.components import ActionDispatcher, MessageRouter, PubSubHub
from cdscore.exceptions import ActionError, RPCError
from cdscore.helpers import formatErrorRPCResponse, formatSuccessRPCResponse
from cdscore.types import Modules

from llmcore.adapters.cloudisense import LLMCore

UNRULY = r"task_done\(\) called too many times"
"""What the core's workers log when they are cancelled, which is the only way to end them."""
HUB = {
    "allow_dynamic_topics": True,
    "message_flush": {"batch_size": 30, "interval_seconds": 200},
    "dynamic_topics": {"type": "bidirectional", "queue_size": 10000, "max_users": 0},
    "topics": [{"name": "/notification", "type": "bidirectional", "queue_size": 10000, "max_users": 0}],
}
OURS = frozenset({"host client", "host clients", "host lists", "warm"})
"""Names of our tasks, of which none may be left."""
CHANGES = frozenset({"restart_target", "polish_floor"})
Frame = dict[str, Any]


class Browser(IMessagingClient):  # type: ignore[misc]  # cdscore has no types
    """A client object of the host that keeps what it is sent."""

    def __init__(self, host: "Host", username: str | None = "anna", role: str | None = "admin") -> None:
        """Connected; without `username` and `role` the host tells neither."""
        super().__init__()
        self._host = host
        self._id = f"browser-{len(host.browsers)}"
        host.browsers.append(self)
        if username is not None:
            self.username = username
        if role is not None:
            self.role = role
        self.closed = False
        self.reads = asyncio.Event()
        self.reads.set()
        self.log: list[str] = []
        """`answer` or the type of an event, as they came."""
        self.events: list[Frame] = []
        self._answers: dict[str, asyncio.Future[Frame]] = {}
        self._news = asyncio.Event()

    @property
    def id(self) -> str:
        """Of the connection."""
        return self._id

    def is_closed(self) -> bool:
        """True after its socket was closed."""
        return self.closed

    async def message_to_client(self, message: Any) -> None:
        """Take a frame: an object, or JSON; waits as long as nobody reads."""
        await self.reads.wait()
        value = json.loads(message) if isinstance(message, str) else json.loads(json.dumps(message))
        for item in value if isinstance(value, list) else [value]:
            if item["type"] == "rpc_response":
                self.log.append("answer")
                self._answers.pop(item["requestid"]).set_result(item)
            elif item["topic"].startswith("/ui/updates/llm/"):
                self.log.append(item["data"]["event"]["type"])
                self.events.append(item["data"])
        self._news.set()

    async def send(self, intent: str, **params: Any) -> asyncio.Future[Frame]:
        """Send an RPC; its answer comes later."""
        request_id = f"{self._id}.{len(self._answers)}.{len(self.log)}.{intent}"
        answer = self._answers[request_id] = asyncio.get_running_loop().create_future()
        message = {"type": "rpc", "requestid": request_id, "intent": intent, "params": params}
        await self._host.handle_socket_message(message, self)
        return answer

    async def ask(self, intent: str, **params: Any) -> Any:
        """The data of the answer; AssertionError with the words if there is none."""
        async with asyncio.timeout(20):
            answer = await (await self.send(intent, **params))
        assert answer["status"] == "success", answer["message"]
        return answer["data"]

    async def refused(self, intent: str, **params: Any) -> str:
        """The words of a refusal."""
        async with asyncio.timeout(20):
            answer = await (await self.send(intent, **params))
        assert answer["status"] == "error", answer
        return str(answer["message"])

    async def until(self, kind: str, count: int = 1) -> Frame:
        """The `count`-th event of a type."""
        async with asyncio.timeout(30):
            while True:
                found = [data["event"] for data in self.events if data["event"]["type"] == kind]
                if len(found) >= count:
                    return dict(found[count - 1])
                self._news.clear()
                await self._news.wait()

    @property
    def text(self) -> str:
        """All that was streamed."""
        deltas = (data["event"] for data in self.events if data["event"]["type"] == "TEXT_MESSAGE_CONTENT")
        return "".join(event["delta"] for event in deltas)

    @property
    def plan(self) -> Frame:
        """The plan as last shown."""
        shown = [data["event"] for data in self.events if data["event"]["type"] == "ACTIVITY_SNAPSHOT"]
        return dict(shown[-1]["content"])


class Gateway(IModule, IntentProvider):  # type: ignore[misc]  # cdscore has no types
    """`rpc_gateway`: puts requests into the dispatcher's queues, hands the results back."""

    def __init__(self) -> None:
        """Nothing asked."""
        super().__init__()
        self._results: defaultdict[str, asyncio.Future[Any]] = defaultdict(asyncio.get_running_loop().create_future)
        self.tasks: set[asyncio.Task[None]] = set()

    def getname(self) -> str:
        """Where the router looks for it."""
        return "rpc_gateway"

    async def handleRPC(self, client: Any, message: Frame) -> None:
        """Check, queue, answer when the result is there."""
        intent = message["intent"].removeprefix("intent_")
        if intent in CHANGES and getattr(client, "role", None) not in ("admin", "developer"):
            raise RPCError("Not allowed")
        number = await self.notifyintent(intent, {**message["params"], "handler": client})
        task = asyncio.get_running_loop().create_task(self._answer(client, message["requestid"], number))
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    async def _answer(self, client: Any, request_id: str, number: str) -> None:
        try:
            answer = formatSuccessRPCResponse(request_id, await self._results[number])
        except ActionError as error:
            answer = formatErrorRPCResponse(request_id, str(error))
        if not client.is_closed():
            await client.message_to_client(answer)

    async def onIntentProcessResult(self, requestid: str, result: Any) -> None:
        """An action is done."""
        self._results[requestid].set_result(result)

    async def onIntentProcessError(self, requestid: str, error: Any) -> None:
        """An action has failed."""
        self._results[requestid].set_exception(ActionError(str(error)))


class TargetAction(Action):  # type: ignore[misc]  # cdscore has no types
    """Any action of the toy module."""

    def __init__(self, intent: str) -> None:
        """Of this intent."""
        super().__init__()
        self._intent = intent

    def name(self) -> str:
        """As the loader looks for it."""
        return f"action_{self._intent}"

    async def execute(self, requester: Any, modules: Any, params: Any = None) -> Any:
        """Note the call and answer."""
        module = modules.getModule("targets")
        given = {key: value for key, value in params.items() if key != "handler"}
        if self._intent == "list_targets":
            return ActionResponse(data=[{"module": "nginx", "state": "running"}, {"module": "shop"}])
        module.calls.append((self._intent, given, params["handler"].username))
        if given.get("module") == "broken":
            raise ActionError("it does not stop")
        return ActionResponse(data={"restarted": given.get("module"), "by": {"set", "of"}})


class TargetsModule(IModule):  # type: ignore[misc]  # cdscore has no types
    """Module `targets` with a read, a described change and a change that nobody has described."""

    def __init__(self) -> None:
        """Nothing called."""
        super().__init__()
        self.calls: list[tuple[str, Mapping[str, Any], str]] = []

    def initialize(self) -> None:
        """Nothing to do."""

    def getname(self) -> str:
        """Its name."""
        return "targets"

    def supported_actions(self) -> list[Any]:
        """One for each intent."""
        return [TargetAction(intent.removeprefix("intent_")) for intent in self.supported_intents()]

    def supported_intents(self) -> list[str]:
        """What it offers."""
        return ["intent_list_targets", "intent_restart_target", "intent_polish_floor"]


class Host:
    """The application."""

    def __init__(self) -> None:
        """The core of it, inside a running loop."""
        self._before = asyncio.all_tasks()
        self.modules = Modules()
        self.hub = PubSubHub(HUB)
        self.hub.activate_message_flush()
        self.modules.registerModule("pubsub", self.hub)
        self.action_dispatcher = ActionDispatcher(self.modules, {"request_queue_size": 40})
        self.gateway = Gateway()
        self.gateway.intenthandler = self.handle_intent_request
        self.modules.registerModule("rpc_gateway", self.gateway)
        self.router = MessageRouter(self.modules)
        self.browsers: list[Browser] = []
        self.offered: set[str] = set()

    def load(self, module: Any) -> None:
        """As the loader does it."""
        module.eventhandler = self.handle_event
        for intent in module.supported_intents():
            action = module.action_from_name(intent.replace("intent_", "action_"))
            self.action_dispatcher.registerActionforIntent(intent, action)
            self.offered.add(intent)
        module.initialize()
        self.modules.registerModule(module.getname(), module)

    async def handle_event(self, event: Any) -> None:
        """From modules to the hub."""
        await self.hub.publish_event_type(event)

    async def handle_intent_request(self, source: Any, intent: str, args: Any, event: Any = None) -> Any:
        """From modules to the dispatcher."""
        return await self.action_dispatcher.handle_request(source, intent, args, event)

    async def handle_socket_message(self, message: Frame, client: Any) -> None:
        """From sockets to the router."""
        await self.router.handle_messages(message, client)

    async def close(self) -> None:
        """End the workers of the core, which cannot end by themselves."""
        left = asyncio.all_tasks() - self._before
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)
        ended = asyncio.Event()
        asyncio.get_running_loop().call_later(0.01, ended.set)  # their last words come by callbacks
        await ended.wait()


@asynccontextmanager
async def host_with_llmcore(data_dir: Path, **conf: Any) -> AsyncIterator[tuple[Host, LLMCore, TargetsModule]]:
    """A host with the toy module and llmcore, which is closed afterwards."""
    host, targets = Host(), TargetsModule()
    host.load(targets)
    module = LLMCore({"data_dir": str(data_dir), **conf})
    host.load(module)
    try:
        yield host, module, targets
    finally:
        await module.close()
        assert {task.get_name() for task in asyncio.all_tasks()}.isdisjoint(OURS)
        await host.close()
