"""Plan cards in the panel: what changes something is shown whole, decided on deliberately, and then really happens."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Locator, expect

from tests.panel_kit import Open, Panel, Served, served

SCRIPT = """#!/bin/sh
echo first line
while [ ! -e "$1" ]; do sleep 0.05; done
echo second line
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """One server for the module."""
    with served(tmp_path_factory.mktemp("plans")) as running:
        script = running.scripts / "waits.sh"
        script.write_text(SCRIPT)
        script.chmod(0o755)
        yield running


@pytest.fixture
def panel(open_panel: Open, server: Served) -> Panel:
    """A tab that is logged in."""
    return open_panel(server.url).enter()


def proposed(panel: Panel, text: str) -> Locator:
    """The card of the plan that a request becomes."""
    turn = panel.ended(panel.ask(text), "waiting")
    card = turn.locator(".plan")
    expect(card).to_be_visible()
    expect(card.locator(".chip.status")).to_have_text("Waits for approval")
    return card


def test_a_reversible_change_takes_one_deliberate_key(panel: Panel, server: Served) -> None:
    """The card says what will be; Approve is not focused by itself; the chord approves; the folder is there."""
    folder = server.roots / "reports"
    card = proposed(panel, f"create a folder {folder}")
    for words in ("create_folder", str(folder), "Changes something", "Asks for approval", "1 target"):
        expect(card).to_contain_text(words)
    expect(panel.prompt).to_be_focused()
    approve = card.get_by_role("button", name="Approve and run")
    expect(approve).to_be_enabled()
    assert not folder.exists()
    for key in ("Enter", "a", "y", " "):
        panel.page.keyboard.press(key)
    panel.prompt.fill("")
    assert not folder.exists()
    panel.page.keyboard.press("Control+Shift+Enter")
    expect(card.locator(".chip.status")).to_have_text("Done")
    expect(card.locator(".step .state")).to_have_text("Done")
    assert folder.is_dir()


def test_a_destructive_plan_needs_a_second_act(panel: Panel, server: Served) -> None:
    """Ticking that the targets were read; by the keyboard alone; then the file is really written."""
    file = server.roots / "motd.txt"
    file.write_text("old words\n")
    card = proposed(panel, f'write "new words" to {file}')
    expect(card).to_contain_text("Destructive")
    expect(card).to_contain_text("old words")
    expect(card).to_contain_text("new words")
    approve = card.get_by_role("button", name="Approve and run")
    expect(approve).to_be_disabled()
    panel.page.keyboard.press("Control+Shift+Enter")
    tick = card.get_by_role("checkbox", name=re.compile("I have read the 1 target"))
    expect(tick).to_be_focused()
    assert file.read_text() == "old words\n"
    panel.page.keyboard.press("Space")
    expect(approve).to_be_enabled()
    panel.page.keyboard.press("Tab")
    expect(approve).to_be_focused()
    panel.page.keyboard.press("Enter")
    expect(card.locator(".chip.status")).to_have_text("Done")
    assert file.read_text() == "new words"
    expect(card).to_contain_text("Approved by administrator")


def test_a_rejected_plan_does_nothing(panel: Panel, server: Served) -> None:
    """With the reason; the card says so."""
    folder = server.roots / "unwanted"
    card = proposed(panel, f"create a folder {folder}")
    card.get_by_role("button", name="Reject").click()
    card.get_by_label("Why not?").fill("wrong place")
    card.get_by_role("button", name="Reject the plan").click()
    expect(card.locator(".chip.status")).to_have_text("Rejected")
    expect(card.get_by_role("button", name="Approve and run")).to_have_count(0)
    assert not folder.exists()


def test_params_are_edited_before_approval(panel: Panel, server: Served) -> None:
    """A new digest is shown and only the edited plan runs; nonsense is refused with words."""
    old, new = server.roots / "draft", server.roots / "final"
    card = proposed(panel, f"create a folder {old}")
    digest = card.locator(".about code").inner_text()
    card.get_by_role("button", name="Edit").click()
    card.get_by_label("path").fill("/etc/elsewhere")
    card.get_by_role("button", name="Save changes").click()
    expect(card.get_by_role("alert")).to_contain_text("/etc/elsewhere")
    card.get_by_label("path").fill(str(new))
    card.get_by_role("button", name="Save changes").click()
    expect(card.locator(".about code")).not_to_have_text(digest)
    expect(card.locator(".step")).to_contain_text(str(new))
    card.get_by_role("button", name="Approve and run").click()
    expect(card.locator(".chip.status")).to_have_text("Done")
    assert new.is_dir()
    assert not old.exists()


def test_a_script_is_watched_while_it_runs(panel: Panel, server: Served, tmp_path: Path) -> None:
    """Its output appears line by line, its step is running, then done."""
    flag = tmp_path / "go"
    card = proposed(panel, f'run the script waits.sh with args "{flag}"')
    card.get_by_role("checkbox").check()
    card.get_by_role("button", name="Approve and run").click()
    output = card.locator(".output pre")
    expect(output).to_contain_text("first line")
    expect(output).not_to_contain_text("second line")
    expect(card.locator(".step .state")).to_have_text("Running")
    flag.touch()
    expect(output).to_contain_text("second line")
    expect(card.locator(".chip.status")).to_have_text("Done")


def test_a_running_script_is_stopped(panel: Panel, tmp_path: Path) -> None:
    """By the button that is there while it runs."""
    card = proposed(panel, f'run the script waits.sh with args "{tmp_path / "never"}"')
    card.get_by_role("checkbox").check()
    card.get_by_role("button", name="Approve and run").click()
    expect(card.locator(".output pre")).to_contain_text("first line")
    card.get_by_role("button", name="Stop").click()
    expect(card.locator(".chip.status")).to_have_text("Stopped")


def test_a_plan_that_fails_says_why(panel: Panel, server: Served) -> None:
    """On its step, once."""
    file = server.roots / "here.txt"
    file.write_text("x")
    card = proposed(panel, f"delete the file {file}")
    file.unlink()
    card.get_by_role("checkbox").check()
    card.get_by_role("button", name="Approve and run").click()
    expect(card.locator(".chip.status")).to_have_text("Failed")
    expect(card.locator(".step .banner.error")).to_contain_text("here.txt")


def test_waiting_plans_are_listed_and_opened(panel: Panel, server: Served) -> None:
    """From anywhere; deciding on one takes it off the list."""
    folder = server.roots / "listed"
    proposed(panel, f"create a folder {folder}")
    panel.page.get_by_role("button", name="New conversation").click()
    entry = panel.page.locator(".waiting button", has_text=str(folder))
    entry.click()
    card = panel.page.locator(".plan")
    expect(card).to_contain_text(str(folder))
    card.get_by_role("button", name="Approve and run").click()
    expect(card.locator(".chip.status")).to_have_text("Done")
    expect(entry).to_have_count(0)
    assert folder.is_dir()


def test_two_tabs_decide_once(panel: Panel, open_panel: Open, server: Served) -> None:
    """What one tab approves is done in the other too, without a reload."""
    folder = server.roots / "twice"
    card = proposed(panel, f"create a folder {folder}")
    other = open_panel(server.url).enter()
    other.page.goto(panel.page.url)
    theirs = other.page.locator(".plan")
    expect(theirs.get_by_role("button", name="Approve and run")).to_be_enabled()
    card.get_by_role("button", name="Approve and run").click()
    expect(theirs.locator(".chip.status")).to_have_text("Done")
    expect(card.locator(".chip.status")).to_have_text("Done")


def test_after_a_reload_the_decision_stands(panel: Panel, server: Served) -> None:
    """A waiting plan is still there to be decided on, a done one is done."""
    card = proposed(panel, f"create a folder {server.roots / 'kept'}")
    panel.page.reload()
    panel.ready()
    card = panel.page.locator(".plan")
    expect(card.get_by_role("button", name="Approve and run")).to_be_enabled()
    card.get_by_role("button", name="Approve and run").click()
    expect(card.locator(".chip.status")).to_have_text("Done")
    panel.page.reload()
    panel.ready()
    expect(card.locator(".chip.status")).to_have_text("Done")
