"""Streams in the panel, over a scripted model: shown as they come, stopped at once, whole after every interruption."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.panel_kit import Cut, Open, Panel, Served, served

WORDS = 120
LONG = " ".join(f"word{number}" for number in range(WORDS))
MARKDOWN = """## Found

The `db_main` pool is **full**.

```sql
SELECT 1;
```

| host | used |
|---|--:|
| db-1 | 96 |
"""
SCRIPT = [
    {"match": "", "schema": True, "reply": {"kind": "answer"}},
    {"match": "slow", "reply": LONG, "chunks": WORDS, "delay_s": 0.02},
    {"match": "endless", "reply": LONG, "chunks": WORDS, "delay_s": 2},
    {"match": "markdown", "reply": MARKDOWN, "chunks": 40, "delay_s": 0.01},
    {"match": "broken", "reply": "It begins well and", "unfinished": True},
    {"match": "down", "error": 503},
]
CUT_ERRORS = ["WebSocket connection to", "Failed to load resource"]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """One server with a scripted model for the module."""
    with served(tmp_path_factory.mktemp("stream"), SCRIPT) as running:
        yield running


@pytest.fixture
def relay(server: Served) -> Iterator[Cut]:
    """A way to the server that can be cut."""
    way = Cut(server.url)
    yield way
    way.close()


@pytest.fixture
def panel(open_panel: Open, server: Served) -> Panel:
    """A tab that is logged in."""
    return open_panel(server.url).enter()


def test_an_answer_streams_and_says_who_gave_it(panel: Panel) -> None:
    """Text while it comes, Markdown as elements, code coloured once it is whole."""
    turn = panel.ask("explain with markdown, please")
    expect(turn.locator(".markdown h4")).to_have_text("Found")
    panel.ended(turn)
    expect(turn.locator(".badge")).to_have_text("answered by scripted")
    expect(turn.locator(".markdown strong")).to_have_text("full")
    expect(turn.locator(".markdown td").nth(1)).to_have_text("96")
    expect(turn.locator(".markdown .hljs-keyword")).to_have_text("SELECT")
    turn.get_by_role("button", name="Copy code").click()


def test_a_stream_is_stopped_from_the_first_moment(panel: Panel) -> None:
    """The button is there before the first word; nothing more comes afterwards."""
    turn = panel.ask("tell me an endless story about philosophy")
    panel.page.get_by_role("button", name="Stop", exact=True).click()
    panel.ended(turn, "cancelled")
    expect(turn).to_contain_text("Stopped")
    expect(panel.page.get_by_role("button", name="Send", exact=True)).to_be_visible()
    expect(panel.page.get_by_role("status").filter(has_text="Stopped")).to_have_count(1)


def test_escape_stops_a_stream_in_the_middle(panel: Panel) -> None:
    """What was said stays."""
    turn = panel.ask("tell me a slow story about philosophy")
    expect(turn.locator(".markdown")).to_contain_text("word5 ")
    panel.page.keyboard.press("Escape")
    panel.ended(turn, "cancelled")
    expect(turn.locator(".markdown")).to_contain_text("word5 ")
    expect(turn.locator(".markdown")).not_to_contain_text(f"word{WORDS - 1}")


def watcher(open_panel: Open, server: Served, panel: Panel) -> Panel:
    """A second tab on the same conversation: while it watches, the model goes on although the first one is cut off."""
    other = open_panel(server.url).enter()
    other.page.goto(f"{server.url}/#{panel.page.url.partition('#')[2]}")
    return other


def test_a_cut_connection_loses_and_doubles_nothing(open_panel: Open, server: Served, relay: Cut) -> None:
    """Broken twice in the middle of a stream; every word is there once, in both tabs."""
    panel = open_panel(relay.url).enter()
    panel.tolerated += CUT_ERRORS
    panel.ended(panel.ask("markdown about philosophy"))
    other = watcher(open_panel, server, panel)
    expect(other.page.locator(".turn")).to_have_count(1)
    turn = panel.ask("tell me a slow story about philosophy")
    for seen in ("word10 ", "word50 "):
        expect(turn.locator(".markdown")).to_contain_text(seen)
        relay.cut()
    for tab in (panel, other):
        told = tab.ended(tab.page.locator(".turn").nth(1))
        expect(told.locator(".markdown")).to_have_text(LONG)
        expect(tab.page.locator(".turn")).to_have_count(2)


def test_a_reload_in_the_middle_shows_the_whole(panel: Panel, open_panel: Open, server: Served) -> None:
    """The stream goes on where the page left it, while somebody watches."""
    panel.ended(panel.ask("markdown about philosophy"))
    other = watcher(open_panel, server, panel)
    expect(other.page.locator(".turn")).to_have_count(1)
    turn = panel.ask("tell me a slow story about philosophy")
    expect(turn.locator(".markdown")).to_contain_text("word10 ")
    panel.page.reload()
    panel.ready()
    turn = panel.ended(panel.page.locator(".turn").nth(1))
    expect(turn.locator(".markdown")).to_have_text(LONG)
    expect(panel.page.locator(".turn")).to_have_count(2)


def test_a_stream_that_nobody_reads_is_shown_as_far_as_it_came(open_panel: Open, relay: Cut) -> None:
    """The model was not asked any further; it is said, and the request can be sent again."""
    panel = open_panel(relay.url).enter()
    panel.tolerated += CUT_ERRORS
    turn = panel.ask("tell me a slow story about philosophy")
    expect(turn.locator(".markdown")).to_contain_text("word10 ")
    relay.cut()
    panel.ended(turn, "cancelled")
    expect(turn).to_contain_text("It was stopped before its end.")
    expect(turn.get_by_role("button", name="Retry")).to_be_visible()
    expect(turn.locator(".markdown")).to_contain_text("word10 ")


def test_while_the_server_is_away_it_is_said_and_waited_for(open_panel: Open, relay: Cut) -> None:
    """Nothing is sent into the void; back again, it works."""
    panel = open_panel(relay.url).enter()
    panel.tolerated += CUT_ERRORS
    relay.refusing = True
    relay.cut()
    expect(panel.page.locator(".connection.offline")).to_contain_text("Connection lost")
    panel.prompt.fill("markdown about philosophy")
    panel.prompt.press("Enter")
    expect(panel.prompt).to_have_value("markdown about philosophy")
    relay.refusing = False
    panel.ready()
    panel.prompt.press("Enter")
    panel.ended(panel.page.locator(".turn"))


def test_a_restarted_server_finds_everything_again(open_panel: Open, tmp_path: Path) -> None:
    """The login holds, answers are there once, a waiting plan can be decided on."""
    folder = tmp_path / "files" / "made"
    with served(tmp_path) as first:
        relay = Cut(first.url)
        panel = open_panel(relay.url).log_in().ready()
        panel.tolerated += CUT_ERRORS
        panel.ended(panel.ask("how full are the disks?"))
        panel.ended(panel.ask(f"create a folder {folder}"), "waiting")
        relay.refusing = True
    expect(panel.page.locator(".connection.offline")).to_be_visible()
    with served(tmp_path) as second:
        relay.point(second.url)
        relay.refusing = False
        panel.ready()
        card = panel.page.locator(".plan")
        card.get_by_role("button", name="Approve and run").click()
        expect(card.locator(".chip.status")).to_have_text("Done")
        expect(panel.page.locator(".turn")).to_have_count(2)
        expect(panel.page.locator(".table-box")).to_have_count(1)
        assert folder.is_dir()
        panel.page.goto("about:blank")
    relay.close()


def test_a_provider_that_fails_is_told_with_what_to_do(panel: Panel) -> None:
    """And the request can be sent again."""
    turn = panel.ended(panel.ask("the system of philosophy is down"), "error")
    expect(turn.get_by_role("group", name="Error")).to_be_visible()
    expect(turn.get_by_role("button", name="Retry")).to_be_visible()


def test_an_answer_that_broke_off_is_marked(panel: Panel) -> None:
    """What came stays, with a mark, also after a reload."""
    turn = panel.ended(panel.ask("a broken story about philosophy"), "error")
    expect(turn.locator(".markdown")).to_contain_text("It begins well and")
    panel.page.reload()
    panel.ready()
    expect(panel.page.locator(".turn")).to_contain_text("incomplete")
