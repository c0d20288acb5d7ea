"""The pack `logs` on real files."""

import os
from pathlib import Path

import pytest

from llmcore.errors import Conflict, NotFound
from tests.machine import Machine


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    """Two logs, one of which is not there."""
    app = tmp_path / "app.log"
    app.write_text("".join(f"line {number} {'ERROR' if number % 10 == 0 else 'ok'}\n" for number in range(1, 301)))
    return Machine(tmp_path, options={"logs": {"logs": {"app": str(app), "gone": str(tmp_path / "gone.log")}}})


@pytest.mark.asyncio
async def test_logs_are_listed_with_what_is_known_of_them(machine: Machine) -> None:
    """Also those that are not there."""
    app, gone = (await machine.do("list_logs"))["logs"]
    assert (app["name"], app["exists"], app["size_bytes"]) == ("app", True, (machine.folder / "app.log").stat().st_size)
    assert app["modified"].endswith("Z")
    assert (gone["name"], gone["exists"], gone["size_bytes"]) == ("gone", False, None)


@pytest.mark.asyncio
async def test_the_last_lines_are_read_oldest_first(machine: Machine) -> None:
    """A hundred where no number is said."""
    found = await machine.do("read_log", name="app", lines=2)
    assert found == {"name": "app", "lines": ["line 299 ok", "line 300 ERROR"], "truncated": True}
    assert len((await machine.do("read_log", name="APP"))["lines"]) == 100


@pytest.mark.asyncio
async def test_only_lines_that_contain_a_text(machine: Machine) -> None:
    """Upper and lower case alike."""
    found = await machine.do("read_log", name="app", lines=3, contains="error")
    assert found["lines"] == ["line 280 ERROR", "line 290 ERROR", "line 300 ERROR"]
    found = await machine.do("read_log", name="app", lines=50, contains="Line 30")
    assert found == {"name": "app", "lines": ["line 30 ERROR", "line 300 ERROR"], "truncated": False}


@pytest.mark.asyncio
async def test_only_logs_of_the_settings_are_read(machine: Machine) -> None:
    """A path is no name; a near name is offered; a missing file is not found."""
    for name in ("/etc/passwd", "../app", "ap"):
        with pytest.raises(NotFound, match="no log"):
            await machine.do("read_log", name=name)
    with pytest.raises(NotFound, match=r"gone\.log"):
        await machine.do("read_log", name="gone")
    os.mkfifo(machine.folder / "gone.log")
    with pytest.raises(Conflict, match="not a regular file"):
        await machine.do("read_log", name="gone")
