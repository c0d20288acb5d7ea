"""A waiting plan is edited in its card: params, rules, order, steps; what is wrong stands at its field."""

from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Locator, expect

from tests.panel_kit import Open, Panel, Served, served


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """One server for the module."""
    with served(tmp_path_factory.mktemp("edit")) as running:
        yield running


@pytest.fixture
def panel(open_panel: Open, server: Served) -> Panel:
    """A tab that is logged in."""
    return open_panel(server.url).enter()


def folder(server: Served, number: int, name: str, **more: Any) -> dict[str, Any]:
    """A step that makes a folder."""
    return {"id": f"s{number}", "intent": "create_folder", "params": {"path": str(server.roots / name)}, **more}


def editor(card: Locator) -> Locator:
    """The form, opened."""
    card.get_by_role("button", name="Edit").click()
    form = card.get_by_role("form", name="Edit the plan")
    expect(form).to_be_visible()
    return form


def saved(card: Locator, form: Locator) -> Locator:
    """What the edit changed, once the server has taken it."""
    form.get_by_role("button", name="Save changes").click()
    expect(form).to_have_count(0)
    changes = card.get_by_role("region", name="Edited by administrator, just now")
    expect(changes).to_be_visible()
    return changes


def test_what_is_wrong_stands_at_its_field(panel: Panel, server: Served) -> None:
    """The cursor goes there, the words are tied to it, and mending it is enough."""
    card = panel.propose(folder(server, 1, "f1"), folder(server, 2, "f2"), title="Wrong fields")
    form = editor(card)
    paths = form.get_by_label("path", exact=True)
    paths.nth(1).fill("")
    second = form.get_by_role("group", name="s2 create_folder")
    second.get_by_text("Order, condition, failure, time").click()
    second.get_by_label("Tried again, times").fill("many")
    form.get_by_role("button", name="Save changes").click()
    tries = second.get_by_label("Tried again, times")
    expect(tries).to_have_attribute("aria-invalid", "true")
    expect(tries).to_have_accessible_description("must be a number")
    tries.fill("0")
    form.get_by_role("button", name="Save changes").click()
    expect(paths.nth(1)).to_have_attribute("aria-invalid", "true")
    expect(paths.nth(1)).to_be_focused()
    expect(form.get_by_role("alert")).to_contain_text("1 field to mend")
    assert panel.axe() == []
    paths.nth(1).fill(str(server.roots / "mended"))
    changes = saved(card, form)
    expect(changes.locator(".change")).to_have_count(1)
    expect(changes.locator("del").first).to_contain_text(str(server.roots / "f2"))
    expect(changes.locator("ins").first).to_contain_text(str(server.roots / "mended"))
    card.get_by_role("button", name="Reject").click()
    card.get_by_role("button", name="Reject the plan").click()


def test_rules_are_edited(panel: Panel, server: Served) -> None:
    """Order, condition and failure; a condition that is no CEL is refused at its field."""
    card = panel.propose(folder(server, 1, "r1"), folder(server, 2, "r2"), title="Rules")
    form = editor(card)
    second = form.get_by_role("group", name="s2 create_folder")
    second.get_by_text("Order, condition, failure, time").click()
    second.get_by_label("Runs after").fill("s1")
    second.get_by_label("Only if").fill("steps.s1.state ==")
    second.get_by_label("If it fails").select_option("undo")
    form.get_by_role("button", name="Save changes").click()
    expect(second.get_by_label("Only if")).to_be_focused()
    second.get_by_label("Only if").fill('steps.s1.state == "done"')
    saved(card, form)
    step = card.locator(".step").nth(1)
    for words in ("s2 after s1", "Only if s1 is done.", "everything done before is taken back"):
        expect(step).to_contain_text(words)


def test_steps_are_moved_removed_and_added_by_the_keyboard(panel: Panel, server: Served) -> None:
    """Then exactly the new plan runs."""
    names = ("a", "b", "c")
    card = panel.propose(*[folder(server, i + 1, name) for i, name in enumerate(names)], title="Order")
    form = editor(card)
    up = form.get_by_role("button", name="Move s3 up")
    up.focus()
    panel.page.keyboard.press("Enter")
    expect(up).to_be_focused()
    panel.page.keyboard.press("Enter")
    expect(panel.voice).to_contain_text("s3 is now step 1 of 3.")
    expect(form.get_by_role("button", name="Move s3 down")).to_be_focused()
    form.get_by_role("button", name="Remove s2").focus()
    panel.page.keyboard.press("Enter")
    expect(form.get_by_role("group", name="s2 create_folder")).to_have_count(0)
    form.get_by_label("One more step").select_option("create_folder")
    form.get_by_role("button", name="Add step").click()
    fresh = form.locator("fieldset").last
    expect(fresh.get_by_label("path")).to_be_focused()
    panel.page.keyboard.type(str(server.roots / "added"))
    changes = saved(card, form)
    expect(changes.locator(".change.removed")).to_contain_text("s2 create_folder")
    expect(changes.locator(".change.added")).to_have_count(1)
    expect(card.locator("[tabindex='-1']").first).to_be_focused()
    card.locator("[data-confirm]").check()
    card.get_by_role("button", name="Approve and run").click()
    expect(card.locator(".chip.status")).to_have_text("Done")
    assert sorted(one.name for one in server.roots.iterdir() if one.name in (*names, "added")) == ["a", "added", "c"]


def test_params_are_edited_as_json(panel: Panel, server: Served) -> None:
    """What was typed comes along both ways; what is no JSON is told."""
    card = panel.propose(folder(server, 1, "j1"), title="As JSON")
    form = editor(card)
    form.get_by_label("path").fill(str(server.roots / "typed"))
    form.get_by_role("button", name="Params of s1 as JSON").click()
    field = form.get_by_label("Params as JSON", exact=True)
    expect(field).to_have_value(f'{{\n  "path": "{server.roots / "typed"}"\n}}')
    field.fill("{")
    form.get_by_role("button", name="Save changes").click()
    expect(field).to_have_accessible_description('must be JSON, such as ["a", "b"] or {"key": 1}')
    field.fill('{"path": 5}')
    form.get_by_role("button", name="Save changes").click()
    expect(field).to_have_attribute("aria-invalid", "true")
    field.fill(f'{{"path": "{server.roots / "json"}"}}')
    form.get_by_role("button", name="Params of s1 as JSON").click()
    expect(form.get_by_label("path")).to_have_value(str(server.roots / "json"))
    saved(card, form)
    expect(card.locator(".step")).to_contain_text(str(server.roots / "json"))


def test_an_edit_drops_nothing_that_nobody_touched(panel: Panel, server: Served) -> None:
    """Saving without a change keeps the digest: line ends, references, rules."""
    content = "one\r\ntwo\rthree\n "
    card = panel.propose(
        folder(server, 1, "kept"),
        {
            "id": "s2",
            "intent": "write_file",
            "params": {"path": str(server.roots / "k.txt"), "content": content},
            "needs": ["s1"],
            "when": " steps.s1.state == 'done'",
            "on_error": "continue",
            "timeout_s": 12.5,
        },
        title="Kept",
    )
    digest = card.locator(".about code").inner_text()
    form = editor(card)
    form.get_by_role("button", name="Save changes").click()
    expect(form).to_have_count(0)
    expect(card.locator(".about code")).to_have_text(digest)
