"""The operator's scripts: one folder of files that are run without a shell, watched and stopped.

Behind the intents of the pack `scripts`, as the service `scripts`. A script gets an almost empty environment and a
process group of its own. What it writes is streamed while it runs and its end is kept. Must not know plans or people.
"""

import asyncio
import codecs
import hashlib
import os
import secrets
import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from llmcore.adapters.host.contents import when
from llmcore.adapters.host.names import pick
from llmcore.adapters.host.processes import Child, Setting, environment, run
from llmcore.errors import BadParams, Conflict, Forbidden, LLMCoreError, NotFound, Unavailable
from llmcore.ports import Clock

INTERPRETERS: Mapping[str, tuple[str, ...]] = {".sh": ("/bin/sh",), ".py": (sys.executable,)}
"""What runs a file that is not executable itself, by extension."""
_FRESH_S = 3.0

Progress = Callable[[Mapping[str, Any]], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class ScriptsOptions:
    """Where the scripts are and how much they may do."""

    folder: Path | None = None
    """None means that there are no scripts."""
    env: Mapping[str, str] = field(default_factory=dict)
    """Added to the scripts' otherwise empty environment."""
    max_output_bytes: int = 64 << 10
    """How much of the end of the output the result keeps."""
    max_progress_bytes: int = 1 << 20
    """How much is streamed while it runs."""
    max_running: int = 8
    max_runtime_s: float = 86_400.0
    grace_s: float = 5.0
    """How long a script may take to end when it is stopped."""


class Scripts:
    """The service `scripts`."""

    def __init__(self, options: ScriptsOptions, clock: Clock) -> None:
        """Touch nothing yet."""
        self._options = options
        self._clock = clock
        self._running: dict[str, _Run] = {}
        self._known: tuple[str, ...] = ()
        self._known_at = float("-inf")

    def known_names(self) -> tuple[str, ...]:
        """File names of the scripts as of some seconds ago; looks again in the background. Needs a running loop."""
        if self._clock.monotonic() - self._known_at > _FRESH_S:
            self._known_at = self._clock.monotonic()
            asyncio.get_running_loop().run_in_executor(None, self.look)
        return self._known

    def look(self) -> None:
        """Read the folder now, for `known_names`. Call it in a thread."""
        self._known, self._known_at = self.names(), self._clock.monotonic()

    def names(self) -> tuple[str, ...]:
        """File names of the scripts, sorted. Reads the folder, so call it in a thread."""
        if self._options.folder is None:
            return ()
        try:
            with os.scandir(self._options.folder) as entries:
                return tuple(sorted(one.name for one in entries if _is_script(one)))
        except OSError:
            return ()

    async def list(self) -> dict[str, Any]:
        """`{"scripts": [{name, size_bytes, modified}], "running": [{script_id, name, started_at}]}`."""
        scripts = await asyncio.to_thread(lambda: [self._summary(name) for name in self.names()])
        return {"scripts": scripts, "running": [one.facts() for one in self._running.values()]}

    async def facts(self, name: str) -> dict[str, Any]:
        """`{name, size_bytes, modified, sha256}`; a changed script has another hash."""
        return await asyncio.to_thread(self._facts, name)

    def split(self, args: str) -> Sequence[str]:
        """Arguments as a shell splits words, nothing expanded; BadParams for an open quotation or NUL."""
        try:
            words = shlex.split(args)
        except ValueError as error:
            raise _bad("args", f"cannot be split into words: {str(error).lower()}") from error
        if "\0" in args or any("\ud800" <= letter <= "\udfff" for letter in args):
            raise _bad("args", "must be valid text without NUL")
        return words

    async def run(self, name: str, args: str, progress: Progress) -> dict[str, Any]:
        """Run to the end: `{script_id, exit_code, output, truncated}`. Cancelling ends the whole process group.

        Raises LLMCoreError for a non-zero exit, with the same facts as details.
        """
        words = self.split(args)
        path, command = await asyncio.to_thread(self._command, name)
        if len(self._running) >= self._options.max_running:
            raise Unavailable(f"{len(self._running)} scripts are running already; wait or stop one.")
        one = _Run(f"sc_{secrets.token_hex(4)}", path.name, when(self._clock.now()), progress, self._options)
        self._running[one.script_id] = one
        setting = Setting(
            timeout_s=self._options.max_runtime_s,
            env=environment(self._options.env),
            cwd=str(path.parent),
            grace_s=self._options.grace_s,
            on_start=one.started,
        )
        try:
            code = await run((*command, *words), setting, one.take)
        finally:
            del self._running[one.script_id]
            one.ended.set()
        return one.result(code)

    def running(self, script_id: str) -> dict[str, Any]:
        """`{script_id, name, started_at}` of a running script, by id or by name if it runs once.

        Raises NotFound, Conflict if several of that name run.
        """
        return self._find(script_id).facts()

    def is_running(self, script_id: str) -> bool:
        """True while a run of this id or name goes on."""
        return any(one.answers_to(script_id) for one in self._running.values())

    async def stop(self, script_id: str) -> dict[str, Any]:
        """End a running script with all it has started: `{script_id, name, stopped}`."""
        one = self._find(script_id)
        await one.stop()
        return {"script_id": one.script_id, "name": one.name, "stopped": True}

    async def aclose(self) -> None:
        """End everything that is running."""
        await asyncio.gather(*(one.stop() for one in self._running.values()))

    def _find(self, script_id: str) -> "_Run":
        found = [one for one in self._running.values() if one.answers_to(script_id)]
        if not found:
            raise NotFound(f"No script {script_id!r} is running.", script_id=script_id)
        if len(found) > 1:
            ids = [one.script_id for one in found]
            raise Conflict(f"{script_id} runs {len(found)} times; name one of {', '.join(ids)}.", script_ids=ids)
        return found[0]

    def _resolve(self, name: str) -> Path:
        if self._options.folder is None:
            raise Forbidden("No folder of scripts is set. Set LLMCORE_SYSTEM__SCRIPTS to one.")
        if "/" in name or "\0" in name or name.startswith("."):
            raise Forbidden(f"{name!r} is not the name of a script; a script is named without its folder.")
        names = self.names()
        stems = [known for known in names if known.rpartition(".")[0] == name]
        if name not in names and len(stems) > 1:
            raise _bad("name", f"could be {' or '.join(stems)}; add the extension")
        found = stems[0] if name not in names and stems else pick(name, names, "script")
        return self._options.folder / found

    def _command(self, name: str) -> tuple[Path, tuple[str, ...]]:
        path = self._resolve(name)
        if os.access(path, os.X_OK) and _names_its_interpreter(path):
            return path, (str(path),)
        interpreter = INTERPRETERS.get(path.suffix)
        if interpreter is None:
            raise Conflict(f"{path.name} is not executable and its extension names no known interpreter.")
        return path, (*interpreter, str(path))

    def _facts(self, name: str) -> dict[str, Any]:
        path = self._resolve(name)
        with path.open("rb") as file:
            return {**self._summary(path.name), "sha256": hashlib.file_digest(file, "sha256").hexdigest()}

    def _summary(self, name: str) -> dict[str, Any]:
        found = os.stat((self._options.folder or Path()) / name, follow_symlinks=False)
        return {"name": name, "size_bytes": found.st_size, "modified": when(found.st_mtime)}


class _Run:
    """One script that is running."""

    def __init__(self, script_id: str, name: str, started_at: str, progress: Progress, limits: ScriptsOptions) -> None:
        self.script_id = script_id
        self.name = name
        self.ended = asyncio.Event()
        self._started_at = started_at
        self._progress = progress
        self._limits = limits
        self._child: Child | None = None
        self._stopped = False
        self._kept = bytearray()
        self._dropped = False
        self._streamed = 0
        self._decoders = {name: codecs.getincrementaldecoder("utf-8")("replace") for name in ("stdout", "stderr")}

    def facts(self) -> dict[str, Any]:
        return {"script_id": self.script_id, "name": self.name, "started_at": self._started_at}

    def answers_to(self, name: str) -> bool:
        return name in {self.script_id, self.name, self.name.rpartition(".")[0]}

    def started(self, child: Child) -> None:
        self._child = child
        self._progress({"stream": "control", "text": f"started as {self.script_id}\n", "script_id": self.script_id})
        if self._stopped:
            child.terminate()

    async def stop(self) -> None:
        self._stopped = True
        if self._child is not None:
            await self._child.end()
        await self.ended.wait()

    def take(self, stream: str, chunk: bytes) -> None:
        """Keep the end of the output and stream it until the limit."""
        self._kept += chunk
        if len(self._kept) > self._limits.max_output_bytes:
            self._dropped = True
            del self._kept[: len(self._kept) - self._limits.max_output_bytes]
        if self._streamed > self._limits.max_progress_bytes:
            return
        self._streamed += len(chunk)
        if text := self._decoders[stream].decode(chunk):
            self._progress({"stream": stream, "text": text})
        if self._streamed > self._limits.max_progress_bytes:
            self._progress({"stream": "control", "text": "[more output is not shown while it runs]\n"})

    def result(self, code: int) -> dict[str, Any]:
        facts = {
            "script_id": self.script_id,
            "exit_code": code,
            "output": self._kept.decode("utf-8", "replace"),
            "truncated": self._dropped,
        }
        if not self._stopped and code == 0:
            return facts
        how = f"was ended by signal {-code}" if code < 0 else f"ended with exit code {code}"
        failed = LLMCoreError(f"{self.name} {'was stopped' if self._stopped else how}.", **facts)
        failed.result = facts
        raise failed


def _is_script(item: "os.DirEntry[str]") -> bool:
    return not item.name.startswith(".") and item.is_file(follow_symlinks=False) and item.name.isprintable()


def _names_its_interpreter(path: Path) -> bool:
    """True for a program or a file that begins with `#!`; the kernel starts nothing else."""
    with path.open("rb") as file:
        return file.read(4).startswith((b"#!", b"\x7fELF"))


def _bad(param: str, problem: str) -> BadParams:
    return BadParams(f"{param} {problem}.", [{"pointer": f"/{param}", "message": problem}])
