"""The pack `scripts` with real scripts: argv, output, exit codes, stopping, and what a script may not be."""

import asyncio
import json
import shlex
import shutil
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmcore.adapters.host import Scripts, ScriptsOptions, aclose, vocabulary
from llmcore.errors import BadParams, Conflict, Forbidden, LLMCoreError, NotFound, TimedOut, Unavailable
from tests.clocks import HandClock
from tests.machine import ANNA, Machine, alive, script, until

ARGV = "#!/bin/sh\npython3 -c 'import json, sys; print(json.dumps(sys.argv[1:]))' \"$@\"\n"
STAY = "#!/bin/sh\nsleep 600 & echo $! > {0}/child.tmp\nmv {0}/child.tmp {0}/child\necho ready\nwait\n"


async def machine_with(folder: Path, **options: Any) -> Machine:
    """Some scripts."""
    scripts = folder / "scripts"
    script(scripts / "argv.sh", ARGV)
    script(scripts / "stay.sh", STAY.format(folder))
    script(
        scripts / "plain.py", "import os, sys; print(sorted(os.environ), os.getcwd()); sys.exit(3)", executable=False
    )
    script(scripts / "two.sh", "echo sh", executable=False)
    script(scripts / "two.py", "print('py')", executable=False)
    script(scripts / "notes.txt", "words", executable=False)
    return await asyncio.to_thread(Machine, folder, options={"scripts": options})


@pytest.mark.asyncio
async def test_scripts_are_listed_and_links_and_hidden_files_are_none(tmp_path: Path) -> None:
    """By name, with size and time."""
    machine = await machine_with(tmp_path)
    (machine.scripts / "link.sh").symlink_to("/bin/ls")
    (machine.scripts / ".hidden.sh").touch()
    (machine.scripts / "folder.sh").mkdir()
    found = await machine.do("list_scripts")
    assert [one["name"] for one in found["scripts"]] == [
        "argv.sh",
        "notes.txt",
        "plain.py",
        "stay.sh",
        "two.py",
        "two.sh",
    ]
    assert found["running"] == []
    assert found["scripts"][0]["size_bytes"] == len(ARGV)


@pytest.mark.asyncio
async def test_a_script_runs_to_its_end_and_its_output_is_streamed(tmp_path: Path) -> None:
    """The result is the contract's; its extension may be left out."""
    machine = await machine_with(tmp_path)
    result = await machine.do("start_script_execution", name="argv", args='a \'b c\' "d\\"e" $HOME `id` * ; rm')
    argv = ["a", "b c", 'd"e', "$HOME", "`id`", "*", ";", "rm"]
    assert result == {
        "script_id": result["script_id"],
        "exit_code": 0,
        "output": json.dumps(argv) + "\n",
        "truncated": False,
    }
    first, *rest = machine.progress
    assert (first["stream"], first["script_id"]) == ("control", result["script_id"])
    assert "".join(one["text"] for one in rest) == result["output"]
    assert {one["stream"] for one in rest} == {"stdout"}


@given(
    words=st.lists(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=20), max_size=8)
)
def test_splitting_gives_back_what_was_quoted(words: list[str]) -> None:
    """Whatever is in the words, the argv is the same and nothing is expanded."""
    assert Scripts(ScriptsOptions(), HandClock()).split(shlex.join(words)) == words


@pytest.mark.parametrize("args", ["'open", "a\\", "a\0b", "\ud800"])
@pytest.mark.asyncio
async def test_args_that_cannot_be_split_are_refused(tmp_path: Path, args: str) -> None:
    """At the preview and when run; nothing is started."""
    machine = await machine_with(tmp_path)
    for asked in (machine.preview, machine.do):
        with pytest.raises(BadParams) as caught:
            await asked("start_script_execution", name="argv", args=args)
        assert caught.value.details["fields"][0]["pointer"] == "/args"
    assert machine.progress == []


@pytest.mark.asyncio
async def test_a_preview_shows_the_argv_and_which_script_it_is(tmp_path: Path) -> None:
    """A changed script has another hash, so an approval does not cover it."""
    machine = await machine_with(tmp_path)
    before = await machine.preview("start_script_execution", name="argv", args="-n 3")
    assert (before.targets, before.after) == (("argv.sh",), {"argv": ["argv.sh", "-n", "3"]})
    script(machine.scripts / "argv.sh", ARGV + "# changed\n")
    assert (await machine.preview("start_script_execution", name="argv")).before["sha256"] != before.before["sha256"]


@pytest.mark.asyncio
async def test_a_script_that_fails_says_how(tmp_path: Path) -> None:
    """Exit code and output are in the details; it saw an almost empty environment."""
    machine = await machine_with(tmp_path)
    with pytest.raises(LLMCoreError, match=r"plain\.py ended with exit code 3") as caught:
        await machine.do("start_script_execution", name="plain.py")
    assert caught.value.details.keys() == {"script_id", "exit_code", "output", "truncated"}
    assert caught.value.details["exit_code"] == 3
    assert "'HOME', 'LANG', " in caught.value.details["output"]
    assert "LLMCORE" not in caught.value.details["output"]
    script(machine.scripts / "self.sh", "kill -9 $$\n", executable=False)
    with pytest.raises(LLMCoreError, match="ended by signal 9"):
        await machine.do("start_script_execution", name="self")


@pytest.mark.asyncio
async def test_what_is_no_script_is_not_run(tmp_path: Path) -> None:
    """Paths, links, hidden files, files that nothing runs, names that fit two."""
    machine = await machine_with(tmp_path)
    (machine.scripts / "link.sh").symlink_to("/bin/ls")
    cases: list[tuple[str, type[LLMCoreError], str]] = [
        ("../x.sh", Forbidden, "without its folder"),
        ("/bin/ls", Forbidden, "without its folder"),
        (".hidden", Forbidden, "not the name"),
        ("a\0b", Forbidden, "not the name"),
        ("link.sh", NotFound, "no script"),
        ("agv.sh", NotFound, r"Did you mean argv\.sh"),
        ("two", BadParams, r"two\.py or two\.sh"),
        ("notes.txt", Conflict, "not executable"),
    ]
    for name, kind, words in cases:
        with pytest.raises(kind, match=words):
            await machine.do("start_script_execution", name=name)
    assert machine.progress == []


@pytest.mark.asyncio
async def test_a_file_is_run_by_what_it_says_or_by_its_extension(tmp_path: Path) -> None:
    """Executable without `#!` falls back; a binary runs by itself."""
    machine = await machine_with(tmp_path)
    script(machine.scripts / "bare.sh", "echo bare $0")
    shutil.copy("/bin/true", machine.scripts / "tool")
    assert (await machine.do("start_script_execution", name="bare"))["output"].startswith("bare ")
    assert (await machine.do("start_script_execution", name="tool"))["exit_code"] == 0
    assert (await machine.do("start_script_execution", name="two.py"))["output"] == "py\n"


@pytest.mark.asyncio
async def test_without_a_folder_there_are_no_scripts(tmp_path: Path) -> None:
    """And the remedy is named."""
    machine = await asyncio.to_thread(Machine, tmp_path, options={"scripts": {"folder": None}})
    assert await machine.do("list_scripts") == {"scripts": [], "running": []}
    with pytest.raises(Forbidden, match="LLMCORE_SYSTEM__SCRIPTS"):
        await machine.do("start_script_execution", name="x")
    machine = await asyncio.to_thread(Machine, tmp_path, options={"scripts": {"folder": tmp_path / "none"}})
    assert (await machine.do("list_scripts"))["scripts"] == []


@pytest.mark.asyncio
async def test_a_running_script_is_stopped_with_its_children(tmp_path: Path) -> None:
    """By id or name; its step fails and says that it was stopped."""
    machine = await machine_with(tmp_path)

    async def stopped() -> LLMCoreError:
        with pytest.raises(LLMCoreError, match="was stopped") as caught:
            await machine.do("start_script_execution", name="stay")
        return caught.value

    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(stopped())
        await until((tmp_path / "child").exists)
        child = int((tmp_path / "child").read_text())
        (listed,) = (await machine.do("list_scripts"))["running"]
        preview = await machine.preview("stop_script_execution", script_id="stay")
        assert preview.targets == (listed["script_id"],)
        assert preview.before == {**listed, "state": "running"}
        assert await machine.caller.verify("stop_script_execution", {"script_id": "stay.sh"}, ANNA) is False
        assert alive(child)
        result = await machine.do("stop_script_execution", script_id="stay.sh")
        assert result == {"script_id": listed["script_id"], "name": "stay.sh", "stopped": True}
    assert running.result().details["output"] == "ready\n"
    assert await machine.caller.verify("stop_script_execution", {"script_id": "stay.sh"}, ANNA) is True
    await until(lambda: not alive(child))
    with pytest.raises(NotFound, match="No script"):
        await machine.do("stop_script_execution", script_id=listed["script_id"])


@pytest.mark.asyncio
async def test_a_cancelled_step_ends_the_script(tmp_path: Path) -> None:
    """The executor's stop reaches the children too."""
    machine = await machine_with(tmp_path)
    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(machine.do("start_script_execution", name="stay"))
        await until((tmp_path / "child").exists)
        child = int((tmp_path / "child").read_text())
        running.cancel()
    await until(lambda: not alive(child))
    assert (await machine.do("list_scripts"))["running"] == []


@pytest.mark.asyncio
async def test_one_of_two_runs_has_to_be_named_and_there_is_a_limit(tmp_path: Path) -> None:
    """By id; shutting down ends them all."""
    machine = await machine_with(tmp_path, max_running=2)

    async def stopped() -> None:
        with pytest.raises(LLMCoreError, match="was stopped"):
            await machine.do("start_script_execution", name="stay")

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(stopped())
        tasks.create_task(stopped())
        await until(lambda: sum("ready" in one["text"] for one in machine.progress) == 2)
        with pytest.raises(Conflict, match="runs 2 times"):
            await machine.do("stop_script_execution", script_id="stay")
        with pytest.raises(Unavailable, match="2 scripts are running"):
            await machine.do("start_script_execution", name="argv")
        await aclose(machine.services)


@pytest.mark.asyncio
async def test_a_script_that_is_stopped_before_it_has_started_does_not_start_in_earnest(tmp_path: Path) -> None:
    """The stop is not lost."""
    machine = await machine_with(tmp_path)
    scripts = machine.services["scripts"]

    async def stopped() -> None:
        with pytest.raises(LLMCoreError, match="was stopped"):
            await scripts.run("stay", "", lambda _: None)

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(stopped())
        while not scripts.is_running("stay"):  # noqa: ASYNC110 - the very first moment of a run
            await asyncio.sleep(0)
        await scripts.stop("stay")


@pytest.mark.asyncio
async def test_a_script_has_only_so_much_time(tmp_path: Path) -> None:
    """As the options say."""
    machine = await machine_with(tmp_path, max_runtime_s=0.2)
    with pytest.raises(TimedOut):
        await machine.do("start_script_execution", name="stay")


@pytest.mark.asyncio
async def test_a_flood_of_output_is_cut_at_both_ends(tmp_path: Path) -> None:
    """The result keeps the end, the stream the beginning; both say so."""
    machine = await machine_with(tmp_path, max_output_bytes=100, max_progress_bytes=100_000)
    script(machine.scripts / "flood.sh", "#!/bin/sh\nhead -c 3000000 /dev/zero | tr '\\0' x\necho end >&2\n")
    result = await machine.do("start_script_execution", name="flood")
    assert result["truncated"]
    assert len(result["output"]) == 100
    texts = [one["text"] for one in machine.progress if one["stream"] != "control"]
    assert 100_000 <= sum(map(len, texts)) < 200_000
    assert "more output is not shown" in machine.progress[-1]["text"]


@pytest.mark.asyncio
async def test_characters_that_are_cut_by_a_chunk_stay_whole(tmp_path: Path) -> None:
    """And what is no text does no harm."""
    machine = await machine_with(tmp_path)
    script(machine.scripts / "halves.sh", "#!/bin/sh\nprintf '\\303'; sleep 0.1; printf '\\244\\377'\n")
    result = await machine.do("start_script_execution", name="halves")
    assert result["output"] == "ä\ufffd"
    assert "".join(one["text"] for one in machine.progress if one["stream"] == "stdout") == "ä\ufffd"


@pytest.mark.asyncio
async def test_new_scripts_are_known_by_name_after_a_moment(tmp_path: Path) -> None:
    """The word list is looked up again in the background."""
    clock = HandClock()
    machine = await asyncio.to_thread(Machine, tmp_path, clock)
    assert vocabulary(machine.services)["scripts"] == ()
    script(machine.scripts / "new.sh", ARGV)
    assert vocabulary(machine.services)["scripts"] == ()
    clock.time += 10
    await until(lambda: vocabulary(machine.services)["scripts"] == ("new.sh",))
