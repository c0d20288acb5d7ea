"""Running programs: output, exit codes, time-outs, cancellation, daemons; nothing of a stopped group survives."""

import asyncio
import os
from pathlib import Path

import pytest

from llmcore.adapters.host.processes import Child, Setting, environment, run, run_into
from llmcore.errors import TimedOut, Unavailable
from tests.machine import alive, until

SH = "/bin/sh"


def setting(timeout_s: float = 30, grace_s: float = 5, **more: object) -> Setting:
    """Patient unless said otherwise."""
    return Setting(timeout_s=timeout_s, grace_s=grace_s, env=environment({}), **more)  # type: ignore[arg-type]


def pid_in(file: Path) -> int:
    """The process id that a script has written, 0 before that."""
    text = file.read_text() if file.exists() else ""
    return int(text) if text.endswith("\n") else 0


@pytest.mark.asyncio
async def test_output_and_exit_code_arrive_whole() -> None:
    """Both streams, told apart; more than a pipe holds."""
    got: dict[str, bytes] = {"stdout": b"", "stderr": b""}

    def take(stream: str, chunk: bytes) -> None:
        got[stream] += chunk

    code = await run([SH, "-c", "head -c 300000 /dev/zero; echo oops >&2; exit 7"], setting(), take)
    assert (code, len(got["stdout"]), got["stderr"]) == (7, 300000, b"oops\n")


@pytest.mark.asyncio
async def test_a_program_sees_nothing_of_our_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No secrets, no input."""
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    got = bytearray()
    await run(["/usr/bin/env"], setting(), lambda _, chunk: got.extend(chunk))
    assert sorted(line.partition("=")[0] for line in got.decode().split()) == ["HOME", "LANG", "PATH"]
    assert await run([SH, "-c", "read line"], setting(), lambda *_: None) == 1


@pytest.mark.parametrize("argv", [["/none/such"], ["/etc"], ["a\0b"]])
@pytest.mark.asyncio
async def test_what_cannot_be_started_is_said(argv: list[str]) -> None:
    """With the reason."""
    with pytest.raises(Unavailable, match="cannot be started"):
        await run(argv, setting(), lambda *_: None)


@pytest.mark.asyncio
async def test_a_time_out_ends_the_whole_group(tmp_path: Path) -> None:
    """Also what ignores the polite request, and its children."""
    script = f"trap '' TERM; sleep 600 & echo $! > {tmp_path}/pid; wait; wait; sleep 600"
    with pytest.raises(TimedOut, match=r"within 0\.5 s"):
        await run([SH, "-c", script], setting(timeout_s=0.5, grace_s=0.1), lambda *_: None)
    await until(lambda: not alive(pid_in(tmp_path / "pid")))


@pytest.mark.asyncio
async def test_cancelling_ends_the_whole_group(tmp_path: Path) -> None:
    """Once politely; a second time at once."""
    script = f"trap 'touch {tmp_path}/asked' TERM; sleep 600 & echo $! > {tmp_path}/pid; while true; do wait; done"
    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(run([SH, "-c", script], setting(grace_s=600), lambda *_: None))
        await until(lambda: pid_in(tmp_path / "pid"))
        running.cancel()
        await until(lambda: (tmp_path / "asked").exists())
        running.cancel()
    assert running.cancelled()
    await until(lambda: not alive(pid_in(tmp_path / "pid")))


@pytest.mark.asyncio
async def test_a_daemon_lives_on_and_holds_nobody_up(tmp_path: Path) -> None:
    """Its start ends when the starter ends; it can go on writing to the file."""
    script = f"(while [ ! -e {tmp_path}/go ]; do sleep 0.05; done; echo late; touch {tmp_path}/wrote) & echo early"
    got = bytearray()
    assert (
        await run([SH, "-c", f"sleep 600 & echo $! > {tmp_path}/pid; echo hi"], setting(), lambda _, c: got.extend(c))
        == 0
    )
    assert got == b"hi\n"
    assert alive(pid_in(tmp_path / "pid"))
    os.kill(pid_in(tmp_path / "pid"), 9)
    with (tmp_path / "out").open("w+b", buffering=0) as file:
        assert await run_into([SH, "-c", script], setting(), file) == 0
        (tmp_path / "go").touch()
        await until(lambda: (tmp_path / "wrote").exists())
    assert (tmp_path / "out").read_text() == "early\nlate\n"


@pytest.mark.asyncio
async def test_a_signal_to_a_group_that_is_gone_is_nothing() -> None:
    """It may have ended by itself a moment ago."""
    seen: list[Child] = []
    await run(["/bin/true"], setting(on_start=seen.append), lambda *_: None)
    seen[0].terminate()
    assert not seen[0].running
