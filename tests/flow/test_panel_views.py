"""Beside the chat: templates, all plans, the audit trail, and everything stopped at once."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Locator, expect

from tests import machine
from tests.panel_kit import LOOKS, PASSWORD, Open, Panel, Served, served


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """One server for the module."""
    with served(tmp_path_factory.mktemp("views")) as running:
        yield running


@pytest.fixture
def panel(open_panel: Open, server: Served) -> Panel:
    """A tab of an administrator."""
    return open_panel(server.url).enter()


@pytest.fixture
def olga(panel: Panel, open_panel: Open, server: Served) -> Panel:
    """A tab of an observer."""
    if not any(user["name"] == "olga" for user in panel.call("user_list")["users"]):
        panel.call("user_add", name="olga", role="observer", password=PASSWORD)
    return open_panel(server.url, apart=True).log_in(name="olga").ready()


def show(panel: Panel, name: str) -> Locator:
    """Another view."""
    menu = panel.page.get_by_role("button", name="Conversations", exact=True)
    if menu.is_visible():
        menu.click()
    panel.page.get_by_role("button", name=name, exact=True).click()
    region = panel.page.get_by_role("region", name=name)
    expect(region).to_be_focused()
    return region


def done(panel: Panel, server: Served, name: str) -> Locator:
    """The card of a plan that made a folder."""
    params = {"path": str(server.roots / name)}
    card = panel.propose({"intent": "create_folder", "params": params}, title=f"Make {name}")
    card.get_by_role("button", name="Approve and run").click()
    expect(card.locator(".chip.status")).to_have_text("Done")
    return card


def test_a_plan_becomes_a_template_and_runs_with_another_name(panel: Panel, server: Served) -> None:
    """Saved with a param, listed, shown, run by its form, told what is wrong at its field, deleted."""
    card = done(panel, server, "shop-one")
    card.get_by_role("button", name="Save as template").click()
    dialog = panel.page.get_by_role("dialog", name="Save as template")
    dialog.get_by_label("Name", exact=True).fill("Not A Name")
    dialog.get_by_label("What it is for").fill("A folder for a shop")
    dialog.get_by_role("button", name="Add a param").click()
    dialog.get_by_label("Value in the plan").fill("shop-one")
    dialog.get_by_label("becomes the param").fill("shop")
    dialog.get_by_role("button", name="Save template").click()
    expect(dialog.get_by_label("Name", exact=True)).to_be_focused()
    expect(dialog.get_by_label("Name", exact=True)).to_have_attribute("aria-invalid", "true")
    assert panel.axe() == []
    dialog.get_by_label("Name", exact=True).fill("shop-folder")
    dialog.get_by_role("button", name="Save template").click()
    expect(dialog).to_have_count(0)
    view = panel.page.get_by_role("region", name="Templates")
    entry = view.locator("[data-template=shop-folder]")
    expect(entry).to_contain_text("A folder for a shop")
    entry.get_by_role("button", name="Open shop-folder").click()
    expect(entry.locator(".step .slot")).to_have_text("shop")
    form = entry.get_by_role("form", name="Run shop-folder")
    form.get_by_label("shop").fill("")
    form.get_by_role("button", name="Make the plan").click()
    expect(form.get_by_label("shop")).to_have_attribute("aria-invalid", "true")
    assert panel.axe() == []
    form.get_by_label("shop").fill("shop-two")
    form.get_by_role("button", name="Make the plan").click()
    second = panel.page.locator(".plan", has_text="from template shop-folder")
    expect(second.locator(".step")).to_contain_text(str(server.roots / "shop-two"))
    second.get_by_role("button", name="Approve and run").click()
    expect(second.locator(".chip.status")).to_have_text("Done")
    assert (server.roots / "shop-two").is_dir()
    show(panel, "Templates")
    entry.get_by_role("button", name="Open shop-folder").click()
    entry.get_by_role("button", name="Delete template").click()
    panel.page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    expect(entry).to_have_count(0)


def test_all_plans_are_found_by_words_and_status(panel: Panel, server: Served) -> None:
    """Newest first; one opens with its card; a reload stays in the view."""
    done(panel, server, "needle")
    waiting = panel.propose({"intent": "create_folder", "params": {"path": str(server.roots / "hay")}}, title="Hay")
    view = show(panel, "Plans and runs")
    rows = view.locator("[data-plan-row]")
    expect(rows.first).to_contain_text("Hay")
    view.get_by_label("Status").select_option("done")
    expect(rows.filter(has_text="Hay")).to_have_count(0)
    view.get_by_label("Find").fill("make needle")
    expect(rows).to_have_count(1)
    panel.page.reload()
    panel.connected()
    expect(view).to_be_visible()
    view.get_by_label("Find").fill("Hay")
    rows.first.click()
    expect(waiting.get_by_role("button", name="Approve and run")).to_be_visible()


def test_the_trail_is_read_with_filters_and_page_by_page(panel: Panel, server: Served) -> None:
    """Records are shown whole; older ones come on demand; a record leads to its plan."""
    card = done(panel, server, "trail")
    plan_id = card.get_attribute("data-plan") or ""
    for _ in range(60):
        panel.call("get_system_time")
    view = show(panel, "Audit trail")
    records = view.locator(".record")
    expect(records).to_have_count(50)
    view.get_by_role("button", name="Older records").click()
    expect(records.nth(50)).to_be_visible()
    numbers = [int(text) for text in records.locator(".seq").all_inner_texts()]
    assert numbers == sorted(numbers, reverse=True)
    assert len(set(numbers)) == len(numbers)
    view.get_by_label("Action").fill("plan.approve")
    view.get_by_label("Plan", exact=True).fill(plan_id)
    view.get_by_role("button", name="Find").click()
    expect(view.get_by_role("status")).to_contain_text("nothing older fits")
    expect(records.first).to_contain_text("plan.approve")
    records.first.locator("summary").first.click()
    expect(records.first.locator(".fields").first).to_contain_text("plan_id")
    assert panel.axe() == []
    records.first.get_by_role("button", name="Show the plan").click()
    expect(card).to_be_visible()


def test_an_observer_has_no_trail_and_stops_nothing(olga: Panel) -> None:
    """What one may not do is not offered, and an address that names it says why."""
    page = olga.page
    expect(page.get_by_role("button", name="Plans and runs")).to_be_visible()
    expect(page.get_by_role("button", name="Audit trail")).to_have_count(0)
    expect(page.get_by_role("button", name="Stop everything…")).to_have_count(0)
    page.evaluate("() => { location.hash = 'v=audit'; }")
    expect(page.get_by_role("region", name="Audit trail").get_by_role("alert")).to_contain_text("Only an admin")


WAITS = """#!/bin/sh
echo begun > "$1"
while [ ! -e "$1.go" ]; do sleep 0.05; done
"""


def test_everything_is_stopped_and_held_until_it_is_released(panel: Panel, olga: Panel, server: Served) -> None:
    """The step at work ends, the next does not begin; everybody sees the hold, an admin ends it."""
    machine.script(server.scripts / "holds.sh", WAITS)
    mark, after = server.roots / "held", server.roots / "after-hold"
    card = panel.propose(
        {"id": "s1", "intent": "start_script_execution", "params": {"name": "holds.sh", "args": str(mark)}},
        {"id": "s2", "intent": "create_folder", "params": {"path": str(after)}, "needs": ["s1"]},
        title="To be held",
    )
    card.locator("[data-confirm]").check()
    card.get_by_role("button", name="Approve and run").click()
    panel.wait_for(mark)
    panel.page.get_by_role("button", name="Stop everything…").click()
    dialog = panel.page.get_by_role("dialog", name="Stop everything?")
    dialog.get_by_label("Reason").fill("fire in the hall")
    dialog.get_by_role("checkbox").check()
    assert panel.axe() == []
    dialog.get_by_role("button", name="Stop everything").click()
    for one in (panel, olga):
        banner = one.page.get_by_role("region", name="On hold")
        expect(banner).to_contain_text("Ordered by administrator")
        expect(banner).to_contain_text("fire in the hall")
    expect(olga.page.get_by_role("button", name="Release")).to_have_count(0)
    assert panel.axe() == []
    mark.with_suffix(".go").touch()
    expect(card.locator(".chip.status")).to_have_text("Stopped")
    expect(card.locator(".aftermath")).to_contain_text("1 step done, 1 not begun")
    waits = panel.propose({"intent": "create_folder", "params": {"path": str(after)}}, title="Held back")
    waits.get_by_role("button", name="Approve and run").click()
    expect(waits.get_by_role("alert")).to_contain_text("administrator has stopped everything")
    panel.page.get_by_role("button", name="Release").click()
    for one in (panel, olga):
        expect(one.page.get_by_role("region", name="On hold")).to_have_count(0)
    waits.get_by_role("button", name="Approve and run").click()
    expect(waits.locator(".chip.status")).to_have_text("Done")
    assert after.is_dir()


def test_a_step_is_allowed_from_now_on_and_asked_about_again(panel: Panel, server: Served) -> None:
    """The rule is a plan that an admin approves; then the same runs by itself, until the rule is withdrawn."""
    folder = server.roots / "often"
    step = {"intent": "create_folder", "params": {"path": str(folder)}}
    card = panel.propose(step, title="Often")
    card.get_by_role("button", name="Allow this from now on…").click()
    dialog = panel.page.get_by_role("dialog", name="Allow this from now on?")
    dialog.get_by_label("For how long").select_option("30 days")
    assert panel.axe() == []
    dialog.get_by_role("button", name="Propose the rule").click()
    rule = panel.page.locator(".plan", has_text="allow_from_now_on")
    expect(rule).to_contain_text("may run create_folder")
    expect(rule.get_by_role("button", name="Allow this from now on…")).to_have_count(0)
    rule.locator("[data-confirm]").check()
    rule.get_by_role("button", name="Approve and run").click()
    expect(rule.locator(".chip.status")).to_have_text("Done")
    assert panel.call("chain", steps=[step], mode="run")["status"] in ("running", "done")
    entry = show(panel, "Standing rules").locator(".entry-card", has_text=str(folder))
    expect(entry).to_contain_text("for the role admin")
    assert panel.axe() == []
    entry.get_by_role("button", name="Withdraw").click()
    panel.page.get_by_role("dialog").get_by_role("button", name="Withdraw").click()
    expect(entry).to_have_count(0)
    assert panel.call("chain", steps=[step], mode="run")["status"] == "proposed"


@pytest.mark.parametrize("look", LOOKS.values(), ids=LOOKS)
def test_everybody_can_read_and_reach_it(open_panel: Open, server: Served, look: dict[str, object]) -> None:
    """A branched plan, its editor, every view and question: axe finds nothing, nothing is too small or too wide."""
    panel = open_panel(server.url, reduced_motion="reduce", **look).enter()
    file = server.roots / "read.txt"
    file.write_text("one\ntwo\n")

    def fine() -> None:
        assert panel.axe() == []
        assert panel.small() == []
        assert not panel.too_wide()

    plan_id = panel.call(
        "chain",
        title="Branches",
        steps=[
            {"id": "s1", "intent": "get_system_time"},
            {"id": "s2", "intent": "create_folder", "params": {"path": str(server.roots / "b")}, "needs": ["s1"]},
            {
                "id": "s3",
                "intent": "write_file",
                "params": {"path": str(file), "content": "one\n2\n"},
                "when": 'steps.s1.state == "done"',
                "on_error": "undo",
            },
        ],
    )["plan_id"]
    show(panel, "Plans and runs").locator(f"[data-plan-row={plan_id}]").click()
    card = panel.page.locator(f".plan[data-plan={plan_id}]")
    expect(card.locator(".graph")).to_be_visible()
    card.get_by_text("Add a comment").click()
    card.get_by_text("As JSON", exact=True).first.click()
    fine()
    card.get_by_role("button", name="Edit").click()
    card.get_by_text("Order, condition, failure, time").last.click()
    fine()
    card.get_by_label("path").last.fill(str(server.roots / "other.txt"))
    card.get_by_role("button", name="Save changes").click()
    expect(card.locator(".plan-diff")).to_be_visible()
    fine()
    card.locator("[data-confirm]").check()
    card.get_by_role("button", name="Approve and run").click()
    expect(card.locator(".chip.status")).to_have_text("Done")
    card.get_by_role("button", name="Save as template").click()
    panel.page.get_by_role("button", name="Add a param").click()
    fine()
    panel.page.keyboard.press("Escape")
    for name in ("Plans and runs", "Templates"):
        expect(show(panel, name).locator(".entries > li").first).to_be_visible()
        fine()
    trail = show(panel, "Audit trail").locator(".record").first
    trail.locator("summary").first.click()
    fine()
