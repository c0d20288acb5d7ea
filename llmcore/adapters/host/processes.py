"""Runs one program without a shell, hands on what it writes, and ends it with everything it has started.

Used by the services for targets and scripts. Must not know what the program is for.
"""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import BinaryIO

from llmcore.errors import TimedOut, Unavailable

CHUNK_BYTES = 32 << 10
DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_LINGER_S = 0.2
"""How long output is awaited after the end: a daemon that was started keeps the pipe open for ever."""

Output = Callable[[str, bytes], None]
"""Takes `stdout` or `stderr` and what was written there; returns at once."""


class Child:
    """A running program and its process group."""

    def __init__(self, process: asyncio.subprocess.Process, grace_s: float) -> None:
        """Take a process that leads its own group."""
        self._process = process
        self._grace_s = grace_s

    @property
    def pid(self) -> int:
        """Process id, also the id of its group."""
        return self._process.pid

    @property
    def running(self) -> bool:
        """True until its end has been noticed."""
        return self._process.returncode is None

    async def wait(self) -> int:
        """Exit code, negative for a signal."""
        return await self._process.wait()

    async def end(self) -> None:
        """Ask the whole group to end, insist after the grace time; when cancelled meanwhile insist at once."""
        self.signal(signal.SIGTERM)
        try:
            with suppress(TimeoutError):
                async with asyncio.timeout(self._grace_s):
                    await self._process.wait()
        finally:
            self.signal(signal.SIGKILL)
            await self._process.wait()

    def terminate(self) -> None:
        """Ask the group to end and do not wait."""
        self.signal(signal.SIGTERM)

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the group; nothing happens if it is gone."""
        with suppress(ProcessLookupError):
            os.killpg(self.pid, number)


def environment(extra: Mapping[str, str]) -> dict[str, str]:
    """What a program gets to see: nothing of our own environment, which may hold secrets."""
    return {"PATH": DEFAULT_PATH, "LANG": "C.UTF-8", "HOME": "/", **extra}


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """How a program is run."""

    timeout_s: float
    env: Mapping[str, str]
    cwd: str | None = None
    grace_s: float = 5.0
    """How long it gets to end by itself when it is stopped."""
    on_start: Callable[[Child], None] = lambda _: None


async def run(argv: Sequence[str], setting: Setting, on_output: Output) -> int:
    """Run a program to its end and return its exit code, negative for a signal.

    What it leaves running in the background after a normal end lives on, but its output is no longer read. Time-out and
    cancellation end the whole group. Raises TimedOut, Unavailable if it cannot be started.
    """
    async with _pipe() as (stdout, into_stdout), _pipe() as (stderr, into_stderr):
        with into_stdout, into_stderr:
            child = await _start(argv, setting, into_stdout, into_stderr)
        return await _supervise(argv, child, setting, {"stdout": stdout, "stderr": stderr}, on_output)


async def run_into(argv: Sequence[str], setting: Setting, file: BinaryIO) -> int:
    """The same with both streams going to a file, so that a daemon that is started keeps somewhere to write."""
    child = await _start(argv, setting, file, file)
    return await _supervise(argv, child, setting, {}, lambda *_: None)


async def _start(argv: Sequence[str], setting: Setting, stdout: BinaryIO, stderr: BinaryIO) -> Child:
    try:
        process = await asyncio.create_subprocess_exec(
            *argv,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=stdout,
            stderr=stderr,
            env=dict(setting.env),
            cwd=setting.cwd,
            start_new_session=True,
        )
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise Unavailable(f"{argv[0]} cannot be started: {reason}.") from error
    return Child(process, setting.grace_s)


async def _supervise(
    argv: Sequence[str],
    child: Child,
    setting: Setting,
    streams: Mapping[str, asyncio.StreamReader],
    on_output: Output,
) -> int:
    try:
        setting.on_start(child)
        async with asyncio.timeout(setting.timeout_s):
            return await _watch(child, streams, on_output)
    except TimeoutError as error:
        raise TimedOut(f"{argv[0]} did not end within {setting.timeout_s:g} s and was stopped.") from error
    finally:
        if child.running:
            await child.end()


async def _watch(child: Child, streams: Mapping[str, asyncio.StreamReader], on_output: Output) -> int:
    async with asyncio.TaskGroup() as group:
        pumps = [group.create_task(_pump(name, reader, on_output)) for name, reader in streams.items()]
        code = await child.wait()
        if pumps:
            _, lingering = await asyncio.wait(pumps, timeout=_LINGER_S)
            for pump in lingering:
                pump.cancel()
    return code


async def _pump(name: str, reader: asyncio.StreamReader, on_output: Output) -> None:
    while chunk := await reader.read(CHUNK_BYTES):
        on_output(name, chunk)


@asynccontextmanager
async def _pipe() -> AsyncIterator[tuple[asyncio.StreamReader, BinaryIO]]:
    """A reader and the end to write to.

    Not asyncio's own pipes: with those `wait` returns only when the last background process has closed them.
    """
    read_fd, write_fd = os.pipe()
    reader = asyncio.StreamReader(limit=CHUNK_BYTES)
    with os.fdopen(read_fd, "rb", buffering=0) as source, os.fdopen(write_fd, "wb", buffering=0) as sink:
        transport, _ = await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), source
        )
        try:
            yield reader, sink
        finally:
            transport.close()
