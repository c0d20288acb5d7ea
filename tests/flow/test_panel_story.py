"""The story of provisioning in a browser: one sentence, one approval, a real service; taken back; run again by name."""

from pathlib import Path

from playwright.sync_api import Locator, expect

from tests.flow.webservice_kit import WebService
from tests.panel_kit import Open, served


def approve(card: Locator) -> None:
    """Tick that it was read, approve, wait for its end."""
    card.locator("[data-confirm]").check()
    card.get_by_role("button", name="Approve and run").click()
    expect(card.locator(".chip.status")).to_have_text("Done", timeout=60_000)


def test_a_web_service_comes_and_goes(open_panel: Open, tmp_path: Path) -> None:
    """Five steps approved once; everything is taken back; the template makes another one with another name."""
    service = WebService(tmp_path / "web")
    try:
        with served(tmp_path, more=service.settings()) as running:
            panel = open_panel(running.url).enter()
            turn = panel.ended(panel.ask("provision a small web service called shop with 2 replicas"), "waiting")
            card = turn.locator(".plan")
            expect(card.locator(".step")).to_have_count(5)
            expect(card.locator(".step", has_text="scale_target")).to_contain_text(
                "everything done before is taken back"
            )
            approve(card)
            assert (running.roots / "shop" / "service.ini").is_file()
            assert len(service.running("shop")) == 2
            card.get_by_role("button", name="Take back…").click()
            undo = panel.page.locator(".plan", has_text="takes back run")
            approve(undo)
            expect(card.locator(".chip.status")).to_have_text("Taken back")
            assert not (running.roots / "shop").exists()
            assert service.running("shop") == []
            panel.page.get_by_role("button", name="Templates", exact=True).click()
            entry = panel.page.locator("[data-template=web-service]")
            entry.get_by_role("button", name="Open web-service").click()
            form = entry.get_by_role("form", name="Run web-service")
            form.get_by_label("name", exact=True).fill("blog")
            form.get_by_label("replicas").fill("1")
            form.get_by_role("button", name="Make the plan").click()
            second = panel.page.locator(".plan", has_text="from template web-service")
            expect(second.locator(".step").first).to_contain_text("blog")
            approve(second)
            assert len(service.running("blog")) == 1
            panel.page.goto("about:blank")
    finally:
        service.end()
