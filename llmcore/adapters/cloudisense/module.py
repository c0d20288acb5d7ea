"""The module that the host loads, and its actions.

Actions acknowledge at once, because the host runs the requests of one intent one after the other; what takes longer
comes as events. An action is copied by the host for every request, so it holds nothing.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping
from importlib.metadata import entry_points
from typing import Any, Protocol

from cdscore.abstracts import IModule
from cdscore.action import Action, ActionResponse
from cdscore.exceptions import ActionError
from cdscore.intent import built_in_intents
from tornado.ioloop import IOLoop

from llmcore.adapters.cloudisense.caller import HostCaller, Send, plain
from llmcore.adapters.cloudisense.clients import Clients
from llmcore.api import Api, Caller
from llmcore.errors import LLMCoreError, Unavailable
from llmcore.plan import Principal
from llmcore.ports import IntentCaller
from llmcore.streams import Topics

log = logging.getLogger(__name__)

GROUP = "llmcore.embedded"
"""Entry points that build llmcore for a host."""
ROLES = ("admin", "developer", "observer")
RULES = "cloudisense rules"
"""Who calls when no client does: the host's reaction rules."""
OFFERED = (
    "chat_llm",
    "chain",
    "plan_get",
    "plan_list",
    "plan_edit",
    "plan_approve",
    "plan_reject",
    "run_get",
    "run_list",
    "run_cancel",
    "run_resolve",
    "stream_resume",
    "conversation_list",
    "conversation_get",
    "conversation_rename",
    "conversation_delete",
    "conversation_export",
    "intents_list",
)
"""RPCs that the host's clients can call as intents."""
ASSIST = ("query_assist", "clear_assist_session", "assist_introduction")
"""Offered too where the host has no smart assist of its own."""
SETTLE_S = 0.2
"""Once no module has come for this long, the host has loaded them all."""
FAILED = "llmcore does not run; the log of the host says why."
START_S = 8.0
"""How long a request waits for the start."""


class Embedded(Protocol):
    """What the builder gives."""

    @property
    def api(self) -> Api:
        """The whole surface."""
        ...

    @property
    def topics(self) -> Topics:
        """Where clients are connected."""
        ...

    async def close(self) -> None:
        """Stop and write what is waiting."""
        ...


Builder = Callable[[Mapping[str, Any], IntentCaller, Mapping[str, str], asyncio.TaskGroup], Awaitable[Embedded]]
"""From settings, the way to the host's intents, these (name -> module) and the group for tasks."""


class RpcAction(Action):  # type: ignore[misc]  # cdscore has no types
    """One of our RPCs as an action of the host."""

    def __init__(self, rpc: str) -> None:
        """Keep the name and nothing else."""
        super().__init__()
        self._rpc = rpc

    def name(self) -> str:
        """`action_<rpc>`."""
        return f"action_{self._rpc}"

    async def execute(self, requester: Any, modules: Any, params: Any = None) -> Any:
        """The RPC's data; whatever goes wrong is an ActionError, whose words are all that the client gets.

        A CancelledError from inside would end the host's worker of this intent for good, so it becomes an ActionError;
        only the end of the worker itself goes through.
        """
        module: LLMCore | None = modules.getModule(LLMCore.NAME)
        if module is None:
            raise ActionError("llmcore is not loaded.")
        task = asyncio.current_task()
        try:
            return ActionResponse(data=await module.rpc(self._rpc, dict(params or {})), events=[])
        except LLMCoreError as error:
            raise ActionError(error.message) from error
        except asyncio.CancelledError as stopped:
            if task is not None and task.cancelling():
                raise
            raise ActionError("The request was interrupted; please try again.") from stopped
        except Exception as error:  # the boundary of an RPC: whatever happened, its caller gets an answer
            log.exception("rpc failed", extra={"action": "rpc", "intent": self._rpc})
            raise ActionError("Something went wrong inside; the log has more.") from error


class LLMCore(IModule):  # type: ignore[misc]  # cdscore has no types
    """The module `llmcore`."""

    NAME = "llmcore"

    def __init__(self, conf: Mapping[str, Any] | None = None) -> None:
        """`conf` has llmcore's settings, and `role`: that of clients of which the host tells none (observer)."""
        super().__init__()
        self._conf = dict(conf or {})
        self._role = _role(self._conf.pop("role", None), "observer")
        self._begun = False
        self._stopping = asyncio.Event()
        self._stopped = asyncio.Event()
        self._ready = asyncio.Event()
        self._embedded: Embedded | None = None
        self._clients: Clients | None = None
        self._why_not = "llmcore is not started."

    # --- what the host asks for ---

    def getname(self) -> str:
        """How the host and the actions find it."""
        return self.NAME

    def valid_configuration(self, conf: Mapping[str, Any]) -> bool:
        """True if the role is one; the settings are checked at the start, which says what is wrong."""
        return conf.get("role", "observer") in ROLES

    def supported_actions(self) -> list[Any]:
        """One action an RPC."""
        return [RpcAction(rpc) for rpc in self._offered()]

    def supported_action_names(self) -> list[str]:
        """Their names."""
        return [action.name() for action in self.supported_actions()]

    def supported_intents(self) -> list[str]:
        """The intents, named like their actions."""
        return [f"intent_{rpc}" for rpc in self._offered()]

    def _offered(self) -> tuple[str, ...]:
        modules = getattr(self._application(), "modules", None)
        own_assist = modules is None or modules.hasModule("smartassist")
        return OFFERED if own_assist else (*OFFERED, *ASSIST)

    def _application(self) -> Any:
        return getattr(self.eventhandler, "__self__", None)

    def initialize(self) -> None:
        """Begin to start, on the host's loop, whether that runs already or not."""
        self._begun = True
        IOLoop.current().spawn_callback(self._run)

    # --- from start to end ---

    async def _run(self) -> None:
        """The one task that owns the group in which everything of ours runs."""
        try:
            async with asyncio.TaskGroup() as tasks:
                await self._live(tasks)
        except* LLMCoreError as refused:
            log.error("llmcore cannot run: %s", "; ".join(map(str, refused.exceptions)), extra={"action": "embedded"})
        except* Exception:
            log.exception("llmcore has failed", extra={"action": "embedded"})
        finally:
            self._why_not = "llmcore is stopped." if self._stopping.is_set() else FAILED
            self._ready.set()
            self._stopped.set()

    async def _live(self, tasks: asyncio.TaskGroup) -> None:
        modules, send = self._host()
        intents = await self._host_intents(modules)
        builder = await asyncio.to_thread(_builder)
        embedded = await builder(self._conf, HostCaller(send), intents, tasks)
        self._clients = Clients(tasks, embedded.topics.connect, embedded.api.disconnected)
        self._embedded = embedded
        self._ready.set()
        try:
            await self._stopping.wait()
        finally:
            self._embedded = None
            self._clients.close()
            await embedded.close()

    def _host(self) -> tuple[Any, Send]:
        application = self._application()
        send = getattr(application, "handle_socket_message", None) or getattr(application, "handle_messages", None)
        modules = getattr(application, "modules", None)
        if modules is None or send is None:
            raise Unavailable("this host does not show its modules and its message router")
        return modules, send

    async def _host_intents(self, modules: Any) -> dict[str, str]:
        """Name -> module of every intent of the host, once it has loaded its modules; the host's own have module ''."""
        known: set[str] = set()
        while known != (now := set(modules.getModuleNames())):
            known = now
            await asyncio.sleep(SETTLE_S)
        found = {name.removeprefix("intent_"): "" for name in built_in_intents()}
        for name in sorted(known):
            module: Any = modules.getModule(name)
            if module is not self:
                intents: Iterable[str] = getattr(module, "supported_intents", tuple)() or ()
                found |= {intent.removeprefix("intent_"): name for intent in intents}
        return found

    async def started(self) -> Embedded:
        """What answers requests, once it does; raises Unavailable if it cannot or takes too long."""
        if self._begun:
            try:
                async with asyncio.timeout(START_S):
                    await self._ready.wait()
            except TimeoutError as late:
                raise Unavailable("llmcore is still starting: try again in a moment.") from late
        if self._embedded is None:
            raise Unavailable(self._why_not)
        return self._embedded

    async def close(self) -> None:
        """Stop everything that was started here and wait for its end."""
        self._stopping.set()
        if self._begun:
            await self._stopped.wait()

    # --- requests ---

    async def rpc(self, name: str, params: dict[str, Any]) -> Any:
        """Call the api for a client of the host, or for a rule of it; raises LLMCoreError."""
        embedded = await self.started()
        client = params.pop("handler", None)
        params = {key: value for key, value in params.items() if not key.startswith("__")}
        principal = self._principal(client)
        sink = None
        if self._clients is not None and hasattr(client, "message_to_client"):
            sink = self._clients.sink_of(client, principal)
        if name != "chat_llm" or not _waits(params):
            return plain(await embedded.api.call(name, params, Caller(principal, sink)))
        params["params"] = {**params["params"], "stream": True}
        return {**plain(await embedded.api.call(name, params, Caller(principal, sink))), "status": "running"}

    def _principal(self, client: Any) -> Principal:
        """Who the host says is behind a client; nothing that the client says itself counts."""
        if not hasattr(client, "message_to_client"):
            return Principal(name=RULES, role=self._role, kind="service")
        name = getattr(client, "username", None) or f"client {getattr(client, 'id', 'unknown')}"
        return Principal(name=str(name), role=_role(getattr(client, "role", None), self._role))


def _role(told: Any, otherwise: str) -> str:
    """A role that policy knows; what it does not know may only read."""
    if told is None:
        return otherwise
    return str(told) if told in ROLES else "observer"


def _waits(params: Mapping[str, Any]) -> bool:
    """True for a chat that wants its whole answer at once: it would hold up everybody's next chat for seconds."""
    options = params.get("params")
    return isinstance(options, Mapping) and options.get("stream") is False


def _builder() -> Builder:
    """Load the builder, which loads nearly everything: not in the loop."""
    found = next(iter(entry_points(group=GROUP, name="cloudisense")), None)
    if found is None:
        raise Unavailable(f"nothing is installed under the entry points {GROUP}")
    builder: Builder = found.load()
    return builder
