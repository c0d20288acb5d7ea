"""The panel as an operator uses it, on a real server without a model: log in, ask, look, keep order, log out."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.panel_kit import PASSWORD, Open, Panel, Served, served

LOGIN_REFUSED = "Failed to load resource: the server responded with a status of 403"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """One server without a model for the module."""
    with served(tmp_path_factory.mktemp("panel")) as running:
        yield running


@pytest.fixture
def panel(open_panel: Open, server: Served) -> Panel:
    """A tab that is logged in."""
    return open_panel(server.url).enter()


def test_a_wrong_password_is_told_and_the_right_one_enters(open_panel: Open, server: Served) -> None:
    """With what to do about it; the tab keeps the login over a reload."""
    panel = open_panel(server.url)
    panel.tolerated.append(LOGIN_REFUSED)
    panel.log_in("wrong")
    expect(panel.page.get_by_role("alert")).to_contain_text("wrong")
    expect(panel.page.get_by_role("alert")).to_contain_text("llmcore user passwd")
    panel.page.get_by_label("Password").fill("correct horse battery")
    panel.page.get_by_label("Password").press("Enter")
    panel.ready()
    panel.page.reload()
    panel.ready()


def test_memory_eaters_come_as_a_table_answered_locally(panel: Panel) -> None:
    """From the real machine, without a model; sortable, and once only: the text table is not shown beside it."""
    turn = panel.ended(panel.ask("which processes eat the memory?"))
    expect(turn.locator(".badge")).to_have_text("answered locally")
    expect(turn.locator("table")).to_have_count(1)
    expect(turn.locator("th", has_text="memory")).to_be_visible()
    expect(turn.locator("tbody tr").first).to_be_visible()
    header = turn.get_by_role("columnheader", name="pid")
    header.get_by_role("button").click()
    expect(header).to_have_attribute("aria-sort", "descending")
    header.get_by_role("button").click()
    expect(header).to_have_attribute("aria-sort", "ascending")
    pids = [int(text) for text in turn.locator("tbody tr td:first-child").all_inner_texts()]
    assert pids == sorted(pids)


def test_metrics_come_as_a_chart_with_its_facts_and_a_table_instead(open_panel: Open, tmp_path: Path) -> None:
    """The real processor of the last moments; a sentence for those who do not see it."""
    with served(tmp_path, more={"LLMCORE_STATS__INTERVAL_S": "0.1"}) as running:
        panel = open_panel(running.url).enter()
        panel.tolerated += ["WebSocket connection to", "Failed to load resource"]  # its server ends before the page
        expect(panel.page.get_by_role("complementary").locator(".chart, svg, canvas").first).to_be_visible()
        chart = panel.page.locator(".turn .chart[role=img]")
        for _ in range(20):
            turn = panel.ended(panel.ask("cpu usage?"))
            if chart.count():
                break
        expect(chart.last).to_have_attribute("aria-label", re.compile("cpu", re.IGNORECASE))
        expect(turn.locator("canvas")).to_be_visible()
        expect(turn).to_contain_text("load 1m")
        turn.get_by_role("button", name="As table").click()
        expect(turn.locator("tbody tr").first).to_be_visible()


def test_the_first_screen_offers_requests_that_work(panel: Panel) -> None:
    """Each example of the empty conversation is understood."""
    examples = panel.page.locator(".empty .examples button")
    expect(examples.first).to_be_visible()
    for text in examples.all_inner_texts():
        panel.page.get_by_role("button", name="New conversation").click()
        panel.page.locator(".empty .examples button", has_text=text).click()
        turn = panel.page.locator(".turn")
        expect(turn, text).to_have_attribute("data-status", "done")
        expect(turn.locator(".badge"), text).to_have_text("answered locally")


def test_no_model_is_said_with_how_to_switch_one_on(panel: Panel) -> None:
    """Offline is a state with a way out."""
    overview = panel.page.get_by_role("complementary", name="Overview")
    expect(overview).to_contain_text("Switched off")
    overview.get_by_text("How to switch one on").click()
    expect(overview).to_contain_text("LLMCORE_LLM__PROVIDER")


def test_the_host_is_shown_live(panel: Panel) -> None:
    """Processor and memory from the topic /stats."""
    expect(panel.page.get_by_role("img", name=re.compile("Processor: .* percent now"))).to_be_visible()
    expect(panel.page.get_by_role("img", name=re.compile("Memory: .* percent now"))).to_be_visible()


def test_conversations_are_kept_renamed_exported_and_deleted(panel: Panel) -> None:
    """All from the list; a reload shows the same one."""
    page = panel.page
    panel.ended(panel.ask("how full are the disks?"))
    shown = page.locator(".conversations li.shown")
    expect(shown).to_contain_text("how full are the disks?")
    page.reload()
    panel.ready()
    expect(page.locator(".turn .said p")).to_have_text("how full are the disks?")
    expect(page.locator(".turn table, .turn .fields").first).to_be_visible()
    shown.get_by_role("button", name="Rename").click()
    page.get_by_label("New title").fill("Disks, weekly")
    page.get_by_label("New title").press("Enter")
    expect(shown).to_contain_text("Disks, weekly")
    with page.expect_download() as download:
        shown.get_by_role("button", name="Export").click()
    assert download.value.suggested_filename == "Disks-weekly.md"
    assert "how full are the disks?" in download.value.path().read_text("utf-8")
    shown.get_by_role("button", name="Delete").click()
    page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    expect(page.locator(".conversations")).not_to_contain_text("Disks, weekly")
    expect(page.locator(".empty")).to_be_visible()


def test_the_list_of_intents_fills_the_field(panel: Panel) -> None:
    """An example goes into the composer and is not sent."""
    panel.page.get_by_role("button", name="What can be done").click()
    dialog = panel.page.get_by_role("dialog")
    dialog.get_by_label("Find an intent").fill("disk")
    expect(dialog.locator(".intents > li").first).to_contain_text("disk")
    example = dialog.locator(".examples button").first
    text = example.inner_text()
    example.click()
    expect(dialog).to_have_count(0)
    expect(panel.prompt).to_have_value(text)
    expect(panel.page.locator(".turn")).to_have_count(0)


def test_keys_alone_are_enough(panel: Panel) -> None:
    """The field first, a way to it from anywhere, a request typed and sent, the last one edited, help, a new one."""
    page = panel.page
    expect(panel.prompt).to_be_focused()
    page.get_by_text("Skip to the request field").focus()
    page.keyboard.press("Enter")
    expect(panel.prompt).to_be_focused()
    page.keyboard.type("how busy is")
    page.keyboard.press("Shift+Enter")
    page.keyboard.type("the processor?")
    page.keyboard.press("Enter")
    panel.ended(page.locator(".turn"))
    expect(page.locator(".said p")).to_have_text("how busy is\nthe processor?")
    page.keyboard.press("ArrowUp")
    expect(panel.prompt).to_have_value("how busy is\nthe processor?")
    page.keyboard.press("Escape")
    expect(panel.prompt).to_have_value("")
    page.keyboard.press("?")
    expect(page.get_by_role("dialog", name="Keys")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)
    page.keyboard.press("Alt+n")
    expect(page.locator(".turn")).to_have_count(0)
    expect(panel.prompt).to_be_focused()


def test_a_request_is_edited_and_sent_again(panel: Panel) -> None:
    """By its buttons; retry sends the same words."""
    turn = panel.ended(panel.ask("how full are the disks?"))
    turn.get_by_role("button", name="Edit and resend").click()
    expect(panel.prompt).to_have_value("how full are the disks?")
    panel.prompt.fill("how much memory is free?")
    panel.prompt.press("Enter")
    second = panel.ended(panel.page.locator(".turn").nth(1))
    second.get_by_role("button", name="Retry").click()
    third = panel.ended(panel.page.locator(".turn").nth(2))
    expect(third.locator(".said p")).to_have_text("how much memory is free?")


def test_what_cannot_be_done_is_said(panel: Panel) -> None:
    """Honest, with words; no plan and no error."""
    turn = panel.ended(panel.ask("write me a poem about the sea in the style of Rilke"))
    expect(turn.locator(".markdown")).not_to_be_empty()
    expect(turn.locator(".plan")).to_have_count(0)


def test_two_tabs_show_the_same(panel: Panel, open_panel: Open, server: Served) -> None:
    """What one tab asks appears in the other, words and all."""
    panel.ended(panel.ask("how full are the disks?"))
    other = open_panel(server.url).enter()
    other.page.goto(panel.page.url)
    expect(other.page.locator(".turn")).to_have_count(1)
    panel.ended(panel.ask("how much memory is free?"))
    expect(other.page.locator(".turn")).to_have_count(2)
    expect(other.page.locator(".said p").nth(1)).to_have_text("how much memory is free?")
    other.ended(other.page.locator(".turn").nth(1))


def test_colours_are_chosen_and_kept(panel: Panel) -> None:
    """The system's, dark, light; over a reload."""
    root = panel.page.locator("html")
    background = "() => getComputedStyle(document.documentElement).backgroundColor"
    panel.page.get_by_role("button", name="Colours: as the system").click()
    expect(root).to_have_attribute("data-theme", "dark")
    dark = panel.page.evaluate(background)
    panel.page.reload()
    panel.ready()
    expect(root).to_have_attribute("data-theme", "dark")
    panel.page.get_by_role("button", name="Colours: dark").click()
    expect(root).to_have_attribute("data-theme", "light")
    assert panel.page.evaluate(background) != dark


def test_who_may_only_look_is_told_so(panel: Panel, open_panel: Open, server: Served) -> None:
    """An observer is offered only what looks, and gets honest words for the rest."""
    add = """async (params) => (await import("/static/app/store.js")).rpc("user_add", params)"""
    panel.page.evaluate(add, {"name": "olga", "role": "observer", "password": PASSWORD})
    other = open_panel(server.url, apart=True)
    other.log_in(name="olga").ready()
    turn = other.ask(f"create a folder {server.roots / 'denied'}")
    expect(turn).to_have_attribute("data-status", re.compile("done|error"))
    expect(turn.locator(".reply")).to_contain_text("create")
    expect(turn.get_by_role("button", name="Approve and run")).to_have_count(0)
    assert not (server.roots / "denied").exists()
    other.page.get_by_role("button", name="What can be done").click()
    expect(other.page.locator(".intents > li").first).to_be_visible()
    expect(other.page.locator(".intents .chip:not(.read)")).to_have_count(0)


def test_tokens_are_renewed_before_they_end(open_panel: Open, tmp_path: Path) -> None:
    """Without a word; the panel goes on."""
    with served(tmp_path, more={"LLMCORE_SERVER__ACCESS_TTL_S": "62"}) as running:
        panel = open_panel(running.url)
        with panel.page.expect_response("**/authorize/refresh") as renewed:
            panel.log_in().ready()
        assert renewed.value.status == 200
        panel.ended(panel.ask("how full are the disks?"))
        panel.page.goto("about:blank")


def test_log_out_ends_the_session(open_panel: Open, server: Served) -> None:
    """The token is void and forgotten; what was shown is gone."""
    panel = open_panel(server.url).log_in().ready()
    token = panel.page.evaluate("() => JSON.parse(sessionStorage.getItem('llmcore.session')).access.token")
    panel.page.get_by_role("button", name="Log out").click()
    expect(panel.page.get_by_label("User name")).to_be_visible()
    assert panel.page.evaluate("() => sessionStorage.getItem('llmcore.session')") is None
    panel.tolerated += ["WebSocket connection to", "Failed to load resource"]
    refused = """(token) => new Promise((done) => {
      const poll = () => {
        const socket = new WebSocket(`ws://${location.host}/ws?token=${token}`);
        socket.onopen = () => { socket.close(); setTimeout(poll, 50); };
        socket.onerror = () => done(true);
      };
      poll();
    })"""
    assert panel.page.evaluate(refused, token)
