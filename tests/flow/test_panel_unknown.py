"""What the panel shows of time and of accidents: a plan that will end by itself, a server killed in a step."""

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import expect

from tests.kill_kit import DIE_WITH_US
from tests.machine import script
from tests.panel_kit import PASSWORD, Cut, Open, Panel, served
from tests.processes import READY

WAITS = """#!/bin/sh
echo begun >> "$1"
while [ ! -e "$1.go" ]; do sleep 0.05; done
"""


@contextmanager
def life(folder: Path) -> Iterator[tuple[str, "subprocess.Popen[str]"]]:
    """A server on the data of that folder, which the test may kill; its address."""
    environment = {
        "LLMCORE_ADMIN_PASSWORD": PASSWORD,
        "LLMCORE_SYSTEM__ROOTS": json.dumps([str(folder / "files")]),
        "LLMCORE_SYSTEM__SCRIPTS": str(folder / "scripts"),
        "HOME": str(folder),
        "PATH": "/usr/bin:/bin",
    }
    command = [
        *DIE_WITH_US,
        sys.executable,
        "-m",
        "llmcore",
        "serve",
        "--port",
        "0",
        "--data-dir",
        str(folder / "data"),
    ]
    process = subprocess.Popen(command, env=environment, cwd=folder, stdout=subprocess.PIPE, text=True)
    assert process.stdout
    try:
        said = next((line for line in process.stdout if line.startswith(READY)), "")
        assert said, "the server did not start"
        yield said.removeprefix(READY).strip(), process
    finally:
        process.kill()
        process.communicate()


def interrupted(open_panel: Open, folder: Path, cut: Cut, process: "subprocess.Popen[str]") -> Panel:
    """A panel whose server was killed while a script was at work."""
    mark = folder / "files" / "mark"
    panel = open_panel(cut.url)
    panel.tolerated += ["WebSocket connection to", "Failed to load resource"]
    panel.log_in().ready()
    step = {"id": "s1", "intent": "start_script_execution", "params": {"name": "waits.sh", "args": str(mark)}}
    after = {
        "id": "s2",
        "intent": "create_folder",
        "params": {"path": str(folder / "files" / "after")},
        "needs": ["s1"],
    }
    card = panel.propose(step, after, title="Cut short")
    card.locator("[data-confirm]").check()
    card.get_by_role("button", name="Approve and run").click()
    expect(card.locator(".step .state").first).to_have_text("Running")
    panel.wait_for(mark)
    cut.refusing = True
    process.send_signal(signal.SIGKILL)
    process.wait()
    cut.cut()
    expect(panel.page.locator(".connection.offline, .connection.connecting")).to_be_visible()
    return panel


def test_a_person_says_what_became_of_a_step_that_nobody_saw_end(open_panel: Open, tmp_path: Path) -> None:
    """After a kill -9: called so, explained, with three ways on, none of which is approving; then the plan goes on."""
    for name in ("files", "scripts"):
        (tmp_path / name).mkdir()
    script(tmp_path / "scripts" / "waits.sh", WAITS)
    with life(tmp_path) as (url, first):
        cut = Cut(url)
        panel = interrupted(open_panel, tmp_path, cut, first)
    (tmp_path / "files" / "mark.go").touch()
    with life(tmp_path) as (url, _):
        cut.point(url)
        cut.refusing = False
        card = panel.page.locator(".plan", has_text="Cut short")
        expect(card.locator(".chip.status")).to_have_text("Needs a decision")
        expect(card.locator(".step .state").first).to_have_text("May or may not have happened")
        expect(card).to_contain_text("Nobody can tell whether s1 happened.")
        expect(card.get_by_role("button", name="Approve and run")).to_have_count(0)
        choice = card.get_by_role("group", name="What became of s1?")
        for name in ("It did not, try again", "Stop the plan here"):
            expect(choice.get_by_role("button", name=name)).to_be_enabled()
        assert panel.axe() == []
        choice.get_by_role("button", name="It happened, go on").click()
        expect(card.locator(".chip.status")).to_have_text("Done")
        assert (tmp_path / "files" / "after").is_dir()
        assert (tmp_path / "files" / "mark").read_text() == "begun\n"
        panel.page.goto("about:blank")
    cut.close()


def test_the_clock_is_heard_rarely(open_panel: Open, tmp_path: Path) -> None:
    """A word at one minute; the eye sees every second."""
    with served(tmp_path, more={"LLMCORE_APPROVAL__EXPIRES_S": "63"}) as running:
        panel = open_panel(running.url).enter()
        step = {"intent": "create_folder", "params": {"path": str(running.roots / "late")}}
        card = panel.propose(step, title="Late")
        clock = card.locator(".expiry [aria-hidden]")
        expect(clock).to_have_text("expires in 1 min 0 s")
        expect(panel.voice).to_contain_text("The plan expires in one minute.")
        expect(card.locator(".expiry .offscreen")).to_contain_text("expires at ")
        expect(clock).to_have_text("expires in 57 s")
        panel.page.goto("about:blank")
