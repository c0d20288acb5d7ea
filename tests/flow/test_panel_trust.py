"""Plans that can be trusted, in the panel: all of a plan is to be seen, and a decision is taken as it was given."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Locator, WebSocketRoute, expect

from tests.panel_kit import PASSWORD, Open, Panel, Served, served

DEFAULT = Path(__file__).resolve().parents[2] / "config" / "policy" / "default.cedar"
POLICY = """
@id("copies-take-two") @reason("A copy takes two people.") @approvers("2") @role("admin,developer")
forbid (principal, action == Action::"copy_file", resource) when { context.approvals < 2 };
@id("moves-by-others") @reason("Somebody else looks at moves.") @approvers("1") @excludes("requester")
forbid (principal, action == Action::"move_file", resource) when { context.approvals < 1 };
"""
LONG = "\n".join(f"line {number}" for number in range(60)) + "\n"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """One server for the module, whose policy wants two people for copies and others than the requester for moves."""
    folder = tmp_path_factory.mktemp("trust")
    policy = folder / "policy.cedar"
    policy.write_text(DEFAULT.read_text() + POLICY)
    with served(folder, more={"LLMCORE_POLICY__FILE": str(policy)}) as running:
        yield running


@pytest.fixture
def panel(open_panel: Open, server: Served) -> Panel:
    """A tab of an administrator."""
    return open_panel(server.url).enter()


@pytest.fixture
def dora(panel: Panel, open_panel: Open, server: Served) -> Panel:
    """A tab of a developer."""
    if not any(user["name"] == "dora" for user in panel.call("user_list")["users"]):
        panel.call("user_add", name="dora", role="developer", password=PASSWORD)
    return open_panel(server.url, apart=True).log_in(name="dora").ready()


def status(card: Locator, text: str) -> None:
    """Wait until the card says so."""
    expect(card.locator(".chip.status")).to_have_text(text)


def approve(card: Locator, name: str = "Approve and run") -> None:
    """Tick what has to be ticked, then approve."""
    button = card.get_by_role("button", name=name, exact=True)
    expect(button).to_be_visible()
    if card.locator("[data-confirm]").count():
        card.locator("[data-confirm]").check()
    button.click()


def test_all_of_a_plan_is_shown(panel: Panel, server: Served) -> None:
    """Order, branches, conditions in words and as written, references, rules, whole params, diffs, the way back."""
    conf = server.roots / "app.conf"
    conf.write_text(LONG)
    shop = str(server.roots / "shop")
    content = LONG.replace("line 30\n", "line thirty\u202e\n")
    card = panel.propose(
        {"id": "s1", "intent": "get_disk_stats"},
        {"id": "s2", "intent": "create_folder", "params": {"path": shop}, "needs": ["s1"]},
        {"id": "s3", "intent": "write_file", "params": {"path": str(conf), "content": content}, "on_error": "undo"},
        {
            "id": "s4",
            "intent": "create_folder",
            "params": {"path": {"$from": "s2", "path": "path"}},
            "needs": ["s3"],
            "when": 'steps.s3.state == "done"',
            "retries": 2,
            "timeout_s": 30,
        },
        title="All of it",
    )
    order = card.get_by_role("img", name="Order: s1 and s3 at the same time, then s2, then s4")
    expect(order).to_be_visible()
    steps = card.locator(".step")
    expect(steps).to_have_count(4)
    expect(steps.nth(1)).to_contain_text("s2 after s1")
    expect(steps.nth(2)).to_contain_text("everything done before is taken back")
    changes = steps.nth(2).locator(".diff")
    expect(changes).to_contain_text("1 line removed, 1 line added")
    expect(changes.locator(".line.removed")).to_contain_text("line 30")
    expect(changes.locator(".line.added")).to_contain_text("line thirty⟨U+202E⟩")
    changes.locator("summary").first.click()
    expect(changes.locator(".line", has_text=re.compile("line 5$")).first).to_be_visible()
    last = steps.nth(3)
    for words in (
        "Only if s3 is done.",
        'steps.s3.state == "done"',
        "result of s2",
        "tried again up to 2 times",
        "30 s",
    ):
        expect(last).to_contain_text(words)
    last.get_by_text("As JSON", exact=True).click()
    expect(last.locator("pre[aria-label='As JSON']")).to_contain_text('"timeout_s": 30')
    expect(steps.nth(1).locator(".verdict")).to_contain_text("can be taken back with delete_folder")
    expect(steps.nth(1).locator(".verdict")).to_contain_text("write-ask")
    card.get_by_role("button", name="Reject").click()
    card.get_by_role("button", name="Reject the plan").click()
    status(card, "Rejected")


def test_what_cannot_be_taken_back_says_so(panel: Panel, server: Served) -> None:
    """Before anybody approves."""
    script = server.scripts / "nothing.sh"
    script.write_text("#!/bin/sh\n")
    script.chmod(0o755)
    card = panel.propose({"intent": "start_script_execution", "params": {"name": "nothing.sh"}}, title="One way")
    expect(card.locator(".verdict")).to_contain_text("cannot be taken back")


def test_after_a_long_card_the_reader_sees_what_happens_next(panel: Panel, server: Served) -> None:
    """The keyboard is there too, and the result comes into view by itself."""
    file = server.roots / "long.txt"
    file.write_text(LONG)
    turn = panel.ended(panel.ask(f"delete the file {file}"), "waiting")
    card = turn.locator(".plan")
    panel.page.set_viewport_size({"width": 900, "height": 480})
    card.locator("[data-confirm]").focus()
    panel.page.keyboard.press("Space")
    panel.page.keyboard.press("Tab")
    panel.page.keyboard.press("Enter")
    status(card, "Done")
    place = card.locator(".aftermath")
    expect(place).to_be_focused()
    expect(place).to_contain_text("Done: 1 step done.")
    expect(place).to_be_in_viewport()
    panel.ended(turn)
    expect(turn.locator(".foot")).to_be_in_viewport()


def test_a_comment_stays_with_the_approval(panel: Panel, server: Served) -> None:
    """On the card, also after a reload."""
    turn = panel.ended(panel.ask(f"create a folder {server.roots / 'commented'}"), "waiting")
    card = turn.locator(".plan")
    card.get_by_text("Add a comment").click()
    card.get_by_label("Comment, kept with your approval").fill("<b>agreed</b> with Ben")
    approve(card)
    status(card, "Done")
    expect(card.locator(".votes")).to_contain_text("<b>agreed</b> with Ben")
    panel.page.reload()
    panel.ready()
    expect(panel.page.locator(".plan .votes")).to_contain_text("Approved by administrator")


def test_two_people_approve(panel: Panel, dora: Panel, server: Served) -> None:
    """Each sees how many are missing and who has; with the second it runs."""
    source, copy = server.roots / "one.txt", server.roots / "two.txt"
    source.write_text("x")
    step = {"intent": "copy_file", "params": {"source": str(source), "destination": str(copy)}}
    card = panel.propose(step, title="Two people")
    expect(card.locator(".votes")).to_contain_text("0 of 2 approvals, 2 more needed of admin or developer")
    approve(card, "Approve")
    expect(panel.voice).to_contain_text("Approved. 1 more approval needed.")
    expect(card.locator(".obstacle")).to_have_text("You approved. 1 more approval is needed, of other people.")
    assert not copy.exists()
    dora.page.locator(".waiting button", has_text="Two people").click()  # it comes without a reload
    theirs = dora.card("Two people")
    expect(theirs.locator(".votes")).to_contain_text("1 of 2 approvals, 1 more needed")
    approve(theirs)
    status(theirs, "Done")
    status(card, "Done")
    dora.page.reload()
    dora.connected()
    status(theirs, "Done")
    expect(card.locator(".votes")).to_contain_text("Approved by dora")
    assert copy.read_text() == "x"


def test_who_asked_does_not_approve_but_an_admin_breaks_the_glass(panel: Panel, server: Served) -> None:
    """With a reason of ten characters and a second act; the card and the trail say so."""
    source = server.roots / "glass.txt"
    source.write_text("x")
    step = {"intent": "move_file", "params": {"source": str(source), "destination": str(server.roots / "moved.txt")}}
    card = panel.propose(step, title="Glass")
    expect(card.locator(".obstacle")).to_have_text(
        "You asked for this plan, and policy wants somebody else to approve it."
    )
    expect(card.get_by_role("button", name="Approve and run")).to_be_disabled()
    card.get_by_role("button", name="Break glass…").click()
    form = card.get_by_role("form", name="Break glass")
    reason, run = form.get_by_label("Why can it not wait?"), form.get_by_role("button", name="Break the glass and run")
    expect(reason).to_be_focused()
    form.get_by_role("checkbox").check()
    reason.fill("too short")
    expect(run).to_be_disabled()
    reason.fill("the disk is full and nobody is here")
    assert panel.axe() == []
    run.click()
    status(card, "Done")
    expect(card.locator(".votes")).to_contain_text("Glass broken by administrator")
    expect(card.locator(".votes")).to_contain_text("the disk is full")
    assert not source.exists()


def test_a_developer_is_not_offered_the_glass(dora: Panel, server: Served) -> None:
    """Only why they may not."""
    source = server.roots / "devs.txt"
    source.write_text("x")
    step = {"intent": "move_file", "params": {"source": str(source), "destination": str(server.roots / "x.txt")}}
    card = dora.propose(step, title="Devs move")
    expect(card.locator(".obstacle")).to_contain_text("somebody else")
    expect(card.get_by_role("button", name="Break glass…")).to_have_count(0)


def test_the_second_of_two_is_told_who_was_first(panel: Panel, dora: Panel, server: Served) -> None:
    """A tab that did not hear of the approval: refused with the name, and then it shows how the plan stands."""
    deaf = False

    def route(socket: WebSocketRoute) -> None:
        far = socket.connect_to_server()
        far.on_message(lambda text: None if deaf and '"rpc_response"' not in text else socket.send(text))

    dora.page.route_web_socket(re.compile("/ws"), route)
    dora.page.reload()
    dora.ready()
    card = panel.propose({"intent": "create_folder", "params": {"path": str(server.roots / "first")}}, title="Race")
    dora.page.reload()
    dora.ready()
    dora.page.locator(".waiting button", has_text="Race").click()
    theirs = dora.card("Race")
    expect(theirs.get_by_role("button", name="Approve and run")).to_be_visible()
    theirs.locator("[data-confirm]").check()
    deaf = True
    approve(card)
    status(card, "Done")
    theirs.get_by_role("button", name="Approve and run").click()
    expect(theirs.get_by_role("alert")).to_contain_text("already approved by administrator")
    status(theirs, "Done")


def test_what_drifted_is_shown_and_asked_again(panel: Panel, server: Served) -> None:
    """More than was approved: nothing runs; the card says what is different and takes a new decision."""
    folder = server.roots / "drifts"
    folder.mkdir()
    params = {"root": str(server.roots), "dirname": "drifts", "delete_non_empty": True}
    card = panel.propose({"intent": "delete_folder", "params": params}, title="Drift")
    for name in ("a", "b"):
        (folder / name).write_text(name)
    approve(card)
    status(card, "Needs a decision")
    expect(card).to_contain_text("It has to be approved again.")
    changes = card.get_by_role("region", name="Changed since it was approved")
    expect(changes).to_contain_text("number of targets")
    expect(changes.locator("del")).to_contain_text("1")
    expect(changes.locator("ins")).to_contain_text("3")
    assert folder.exists()
    approve(card)
    status(card, "Done")
    assert not folder.exists()


def test_a_run_is_taken_back(panel: Panel, server: Served) -> None:
    """By a plan of its own, shown below and decided on; then the first one says so."""
    folder = server.roots / "regretted"
    turn = panel.ended(panel.ask(f"create a folder {folder}"), "waiting")
    card = turn.locator(".plan")
    approve(card)
    status(card, "Done")
    card.get_by_role("button", name="Take back…").click()
    undo = panel.page.locator(".plan", has_text="takes back run")
    expect(undo.locator(".intent")).to_have_text("delete_folder")
    approve(undo)
    status(undo, "Done")
    expect(panel.page.locator(".plan").first.locator(".chip.status")).to_have_text("Taken back")
    assert not folder.exists()


def test_a_failure_takes_back_what_was_done(panel: Panel, server: Served) -> None:
    """Where the plan says so; step by step on the card."""
    folder = server.roots / "half"
    gone = server.roots / "gone.txt"
    gone.write_text("x")
    card = panel.propose(
        {"id": "s1", "intent": "create_folder", "params": {"path": str(folder)}},
        {"id": "s2", "intent": "delete_file", "params": {"path": str(gone)}, "needs": ["s1"], "on_error": "undo"},
        title="Half",
    )
    gone.unlink()
    approve(card)
    status(card, "Taken back")
    expect(card.locator(".step").first.locator(".state")).to_have_text("Taken back")
    assert not folder.exists()


def test_what_could_not_be_taken_back_is_named(panel: Panel, server: Served) -> None:
    """A folder that is in use meanwhile: a person has to look, and the card says after what."""
    folder = server.roots / "used"
    card = panel.propose({"intent": "create_folder", "params": {"path": str(folder)}}, title="Used")
    approve(card)
    status(card, "Done")
    card.get_by_role("button", name="Take back…").click()
    undo = panel.page.locator(".plan", has_text="takes back run")
    expect(undo).to_be_visible()
    (folder / "precious").write_text("x")
    approve(undo)
    status(undo, "Needs a decision")
    approve(undo)
    status(undo, "Failed")
    first = panel.page.locator(".plan").first
    status(first, "Needs a person")
    left = first.get_by_role("group", name="What is left")
    expect(left).to_contain_text("s1 create_folder")
    expect(left).to_contain_text(str(folder))
    assert (folder / "precious").exists()
