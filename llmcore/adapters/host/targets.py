"""Services (targets) of this host: systemd units, or sets of commands from the settings.

Behind the intents of the pack `services`, as the service `targets`. Every command is an argv list, run without a shell
and with a time limit. A name in the settings that ends with `@` stands for as many services as wished for: `web@` for
`web@shop`, whose instance name takes the place of `%i`, as in systemd's template units. Must not know plans or people.
"""

import asyncio
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, BinaryIO
from weakref import WeakValueDictionary

from llmcore.adapters.host.names import pick
from llmcore.adapters.host.processes import Setting, environment, run, run_into
from llmcore.errors import BadParams, Conflict, LLMCoreError, OutcomeUnknown, TimedOut, Unavailable

RUNNING, STOPPED, FAILED, UNKNOWN = _STATES = ("running", "stopped", "failed", "unknown")
_UNIT_STATES = {"active": RUNNING, "reloading": RUNNING, "inactive": STOPPED, "failed": FAILED}
_COMMAND_STATES = {0: RUNNING, 1: STOPPED, 3: STOPPED}
"""What a status command's exit code means (0 and 3 as for init scripts, 1 as for `pgrep`), if it prints no state."""
_OUTPUT_CHARS = 4000
_PARALLEL = 8
_INSTANCES = "@"
"""Ends the name of a setting that stands for many services."""
_INSTANCE = re.compile(r"[A-Za-z0-9_-]{1,64}")

Argv = tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """How one service is handled: a systemd unit, or commands (with both, the commands win)."""

    unit: str | None = None
    start: Argv | None = None
    stop: Argv | None = None
    status: Argv | None = None
    restart: Argv | None = None
    """Without it stop and start."""
    scale: Argv | None = None
    """Holds `{replicas}` as an argument or inside one."""
    replicas: Argv | None = None
    """Prints the present number of instances; makes scaling undoable."""
    attributes: Mapping[str, Any] = field(default_factory=dict)
    """Facts for policy and people, such as `production`."""

    def instance(self, name: str) -> "Target":
        """The same for one instance: its name in the place of `%i`."""
        commands: dict[str, Any] = {
            key: tuple(part.replace("%i", name) for part in argv)
            for key in ("start", "stop", "status", "restart", "scale", "replicas")
            if (argv := getattr(self, key)) is not None
        }
        return replace(self, unit=self.unit and self.unit.replace("%i", name), **commands)


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetsOptions:
    """Which services there are and how their commands are run."""

    targets: Mapping[str, Target] = field(default_factory=dict)
    output: Path
    """Folder for what start and stop commands write, one file a target."""
    env: Mapping[str, str] = field(default_factory=dict)
    """Added to the commands' otherwise empty environment."""
    status_timeout_s: float = 5.0
    action_timeout_s: float = 60.0
    settle_s: float = 5.0
    """How long a service may take to reach the state that was asked for."""
    poll_s: float = 0.25


class Targets:
    """The service `targets`."""

    def __init__(self, options: TargetsOptions) -> None:
        """Touch nothing yet."""
        self._options = options
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._slots = asyncio.Semaphore(_PARALLEL)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the services as set; those with instances end with `@`."""
        return tuple(self._options.targets)

    def attributes(self, module: str) -> Mapping[str, Any]:
        """What the settings say of a service; empty for an unknown one."""
        entry = entry_of(module, self._options.targets)
        return self._options.targets[entry].attributes if entry else {}

    async def list(self) -> Sequence[dict[str, Any]]:
        """`[{name, kind, state, scalable, attributes}]`; `instances: true` where a name stands for many services."""
        return await asyncio.gather(*(self._summary(name) for name in self.names))

    async def _summary(self, name: str) -> dict[str, Any]:
        target, many = self._options.targets[name], name.endswith(_INSTANCES)
        return {
            "name": name,
            "kind": "commands" if target.status else "systemd",
            "state": UNKNOWN if many else await self._state(name),
            "scalable": target.scale is not None,
            "attributes": dict(target.attributes),
            **({"instances": True} if many else {}),
        }

    async def status(self, module: str) -> dict[str, Any]:
        """`{module, state}`; NotFound for an unknown name."""
        name = self._pick(module)
        return {"module": name, "state": await self._state(name)}

    async def facts(self, module: str, *, scale: bool = False) -> dict[str, Any]:
        """Status and attributes; the present `replicas` too where `scale` is set and the settings know how to ask."""
        facts = await self.status(module)
        target = self._target(facts["module"])
        if target.attributes:
            facts["attributes"] = dict(target.attributes)
        if scale:
            facts["replicas"] = await self._replicas(target)
        return facts

    async def reaches(self, module: str, state: str) -> bool:
        """Whether the service gets into a state within the settling time."""
        name = self._pick(module)
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._options.settle_s
        while await self._state(name) != state:
            if loop.time() >= deadline:
                return False
            await asyncio.sleep(self._options.poll_s)
        return True

    async def start(self, module: str) -> dict[str, Any]:
        """Start and return `{module, state}`. LLMCoreError with `exit_code` and `output` if the command fails."""
        return await self._act(module, "start")

    async def stop(self, module: str) -> dict[str, Any]:
        """Stop and return `{module, state}`."""
        return await self._act(module, "stop")

    async def restart(self, module: str) -> dict[str, Any]:
        """Restart and return `{module, state}`."""
        return await self._act(module, "restart")

    async def scale(self, module: str, replicas: int) -> dict[str, Any]:
        """Set the number of instances and return `{module, replicas}`; Conflict if the target cannot be scaled."""
        name = self._pick(module)
        argv = self._target(name).scale
        if argv is None:
            raise Conflict(f"{name} cannot be scaled; its settings have no `scale` command.", module=name)
        async with self._lock(name):
            await self._run_action(name, "scale", tuple(part.replace("{replicas}", str(replicas)) for part in argv))
        return {"module": name, "replicas": replicas}

    def _pick(self, module: str) -> str:
        """The name of a service as the settings write it; NotFound, or BadParams for what is no name of an instance."""
        entry = entry_of(module, self._options.targets)
        if entry is None or not entry.endswith(_INSTANCES):
            return pick(module, self._options.targets, "service")
        instance = module.partition(_INSTANCES)[2]
        if not _INSTANCE.fullmatch(instance):
            problem = f"must name an instance, such as {entry}shop, in letters, digits, _ and -"
            raise BadParams(f"{module[:80]!r} {problem}.", [{"pointer": "/module", "message": problem}])
        return entry + instance

    def _target(self, name: str) -> Target:
        """How a service is handled whose name `_pick` gave."""
        known = self._options.targets.get(name)
        kind, at, instance = name.partition(_INSTANCES)
        return known or self._options.targets[kind + at].instance(instance)

    def _lock(self, name: str) -> asyncio.Lock:
        """One for each service that somebody acts on."""
        return self._locks.setdefault(name, asyncio.Lock())

    async def _act(self, module: str, action: str) -> dict[str, Any]:
        name = self._pick(module)
        target = self._target(name)
        commands = [(action, _command(target, action))]
        if action == "restart" and commands[0][1] is None:
            commands = [(part, _command(target, part)) for part in ("stop", "start")]
        async with self._lock(name):
            for part, argv in commands:
                if argv is None:
                    raise Conflict(f"{name} has no `{part}` command in the settings.", module=name)
                await self._run_action(name, part, argv)
        return {"module": name, "state": await self._state(name)}

    async def _run_action(self, name: str, action: str, argv: Argv) -> None:
        file = await asyncio.to_thread(self._open_output, name)
        try:
            code = await run_into(argv, self._setting(self._options.action_timeout_s), file)
            output = await asyncio.to_thread(_last_output, file)
        except TimedOut as error:
            raise OutcomeUnknown(f"To {action} {name}: {error.message} Nobody can say what it did.") from error
        finally:
            file.close()
        if code != 0:
            sentence = f"{name} could not be {_PAST[action]}: {argv[0]} ended with exit code {code}."
            raise LLMCoreError(sentence, module=name, exit_code=code, output=output)

    def _open_output(self, name: str) -> BinaryIO:
        self._options.output.mkdir(mode=0o700, parents=True, exist_ok=True)
        return open(self._options.output / f"{re.sub(r'[^A-Za-z0-9.-]', '_', name)}.log", "w+b", buffering=0)

    async def _state(self, name: str) -> str:
        target = self._target(name)
        try:
            if target.status is not None:
                code, text = await self._ask(target.status)
                said = text.strip()
                return said if said in _STATES else _COMMAND_STATES.get(code, UNKNOWN)
            if target.unit is not None:
                _, text = await self._ask(("systemctl", "show", "--property=ActiveState", "--value", "--", target.unit))
                return _UNIT_STATES.get(text.strip(), UNKNOWN)
        except (TimedOut, Unavailable):
            return UNKNOWN
        return UNKNOWN

    async def _replicas(self, target: Target) -> int | None:
        if target.replicas is None:
            return None
        try:
            code, text = await self._ask(target.replicas)
            return int(text) if code == 0 else None
        except (TimedOut, Unavailable, ValueError):
            return None

    async def _ask(self, argv: Argv) -> tuple[int, str]:
        """Exit code and standard output of a command that only looks."""
        kept = bytearray()

        def keep(stream: str, chunk: bytes) -> None:
            if stream == "stdout" and len(kept) < _OUTPUT_CHARS:
                kept.extend(chunk)

        async with self._slots:
            code = await run(argv, self._setting(self._options.status_timeout_s), keep)
        return code, kept.decode("utf-8", "replace")

    def _setting(self, timeout_s: float) -> Setting:
        return Setting(timeout_s=timeout_s, env=environment(self._options.env), grace_s=1.0)


_PAST = {"start": "started", "stop": "stopped", "restart": "restarted", "scale": "scaled"}


def _command(target: Target, action: str) -> Argv | None:
    commands = {"start": target.start, "stop": target.stop, "restart": target.restart}
    if any(commands.values()) or target.unit is None:
        return commands[action]
    return ("systemctl", "--no-ask-password", action, "--", target.unit)


def entry_of(name: str, known: Collection[str]) -> str | None:
    """The setting that stands for a service, its own or that of its instances; None for an unknown one."""
    kind, at, _ = name.partition(_INSTANCES)
    wanted = [name, *([kind + at] if at else [])]
    exact = [one for one in wanted if one in known]
    return next(iter(exact), None) or next(
        (one for want in wanted for one in known if one.casefold() == want.casefold()), None
    )


def _last_output(file: BinaryIO) -> str:
    end = file.seek(0, 2)
    file.seek(max(0, end - _OUTPUT_CHARS))
    return file.read(_OUTPUT_CHARS).decode("utf-8", "replace")
