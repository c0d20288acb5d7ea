"""The services of this machine that the bundled packs reach through `ctx.services`.

Built in `app` from options, used by packs by name: `system`, `files`, `logs`, `targets`, `scripts`, `notify`. Must not
know plans, policy or people.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from llmcore.adapters.host.files import Files, FilesOptions
from llmcore.adapters.host.logs import Logs, LogsOptions
from llmcore.adapters.host.notify import Bot, Notify, NotifyOptions
from llmcore.adapters.host.scripts import Scripts, ScriptsOptions
from llmcore.adapters.host.system import System
from llmcore.adapters.host.targets import Target, Targets, TargetsOptions, entry_of
from llmcore.ports import Clock

__all__ = [
    "Bot",
    "Files",
    "FilesOptions",
    "HostOptions",
    "Logs",
    "LogsOptions",
    "Notify",
    "NotifyOptions",
    "Scripts",
    "ScriptsOptions",
    "System",
    "Target",
    "Targets",
    "TargetsOptions",
    "aclose",
    "entry_of",
    "services",
    "vocabulary",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class HostOptions:
    """Options of each service."""

    files: FilesOptions
    targets: TargetsOptions
    logs: LogsOptions = field(default_factory=LogsOptions)
    scripts: ScriptsOptions = field(default_factory=ScriptsOptions)
    notify: NotifyOptions = field(default_factory=NotifyOptions)


def services(options: HostOptions, clock: Clock) -> dict[str, Any]:
    """The mapping for `Context.services`. Looks at processes and scripts once, so call it in a thread."""
    system, scripts = System(clock), Scripts(options.scripts, clock)
    system.look()
    scripts.look()
    return {
        "system": system,
        "files": Files(options.files, clock),
        "logs": Logs(options.logs),
        "targets": Targets(options.targets),
        "scripts": scripts,
        "notify": Notify(options.notify),
    }


def vocabulary(services: Mapping[str, Any]) -> Mapping[str, Sequence[str]]:
    """Names that this machine gives: `targets`, `logs`, `scripts`, `roots`, `processes`.

    Returns at once with what is known; scripts are looked up again in the background and processes by `snapshot`, so a
    new one may be missing for a moment. Needs a running loop.
    """
    return {
        "targets": services["targets"].names,
        "logs": services["logs"].names,
        "scripts": services["scripts"].known_names(),
        "roots": services["files"].roots,
        "processes": services["system"].process_names,
    }


async def aclose(services: Mapping[str, Any]) -> None:
    """End the scripts that are still running."""
    await services["scripts"].aclose()
