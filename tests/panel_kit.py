"""For the panel's tests: a real Chromium on a real server, and everything that must never happen in it.

Fixtures are handed on by `tests/flow/conftest.py`. A `Panel` collects violations of the Content Security Policy, page
and console errors and requests to other hosts; its fixture asserts that there were none. Browsers and servers live as
long as a test module, so that no other test meets Playwright's event loop.
"""

import json
import socket
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, Locator, Page, expect, sync_playwright

from tests.processes import serving
from tests.servers import find_program

PASSWORD = "correct horse battery"
ARGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
WATCH = """
window.seenViolations = [];
addEventListener("securitypolicyviolation", (e) => seenViolations.push(`${e.violatedDirective} ${e.blockedURI}`));
"""
LOOKS: dict[str, dict[str, Any]] = {
    "light": {"color_scheme": "light"},
    "dark": {"color_scheme": "dark"},
    "phone": {"viewport": {"width": 360, "height": 740}, "has_touch": True},
}
SMALL = """() => [...document.querySelectorAll(
    "button, input:not([type=checkbox]), select, textarea, summary, label.confirm")]
  .filter((e) => e.checkVisibility())
  .filter((e) => e.getBoundingClientRect().height < 39.5 || e.getBoundingClientRect().width < 39.5)
  .map((e) => e.outerHTML.slice(0, 120))"""
TIMEOUT_MS = 15_000
expect.set_options(timeout=TIMEOUT_MS)
AXE = Path(__file__).resolve().parent / "vendor" / "axe.min.js"


CALL = """async ([intent, params]) => (await import("/static/app/store.js")).rpc(intent, params)"""
Environment = Mapping[str, str]
SEED = "if (!sessionStorage.seeded) { sessionStorage.seeded = 1; sessionStorage.setItem('llmcore.session', %s); }"
_SESSIONS: dict[str, str] = {}
"""Address of a server -> the session of somebody who logged in there."""


@dataclass
class Served:
    """A running server with folders of its own."""

    url: str
    roots: Path
    scripts: Path


@contextmanager
def served(
    folder: Path, script: list[dict[str, Any]] | None = None, more: Environment | None = None
) -> Iterator[Served]:
    """`llmcore serve` on a free port with a store, a root and scripts of its own; with `script` a scripted model."""
    roots, scripts = folder / "files", folder / "scripts"
    for made in (roots, scripts):
        made.mkdir(exist_ok=True)
    environment = {
        "LLMCORE_ADMIN_PASSWORD": PASSWORD,
        "LLMCORE_SYSTEM__ROOTS": json.dumps([str(roots)]),
        "LLMCORE_SYSTEM__SCRIPTS": str(scripts),
        "HOME": str(folder),
        "PATH": "/usr/bin:/bin",
        **(more or {}),
    }
    if script is not None:
        (folder / "script.json").write_text(json.dumps(script))
        environment["LLMCORE_LLM__PROVIDER"] = "scripted"
        environment["LLMCORE_LLM__SCRIPT"] = str(folder / "script.json")
    command: list[str | Path] = [sys.executable, "-m", "llmcore", "serve", "--port", "0", "--data-dir", folder / "data"]
    with serving(*command, environment=environment, cwd=folder) as (url, _):
        yield Served(url, roots, scripts)


@dataclass
class Panel:
    """One browser tab with the panel, and what went wrong in it."""

    page: Page
    url: str
    errors: list[str] = field(default_factory=list)
    strangers: list[str] = field(default_factory=list)
    tolerated: list[str] = field(default_factory=list)
    """Beginnings of console errors that a test means to cause (a refused login, a cut connection)."""

    def watch(self) -> None:
        """Begin to collect; before the first page."""
        self.page.set_default_timeout(TIMEOUT_MS)
        self.page.add_init_script(WATCH)
        self.page.on("pageerror", lambda error: self.errors.append(f"page: {error}"))
        self.page.on("console", lambda message: self.errors.append(message.text) if message.type == "error" else None)
        self.page.on("request", lambda request: self._asked(request.url))

    def _asked(self, url: str) -> None:
        parts = urlsplit(url)
        if parts.scheme in ("http", "https") and parts.netloc != urlsplit(self.url).netloc:
            self.strangers.append(url)

    def check(self) -> None:
        """Nothing forbidden happened."""
        violations = self.page.evaluate("() => window.seenViolations")
        assert violations == []
        assert self.strangers == []
        known = tuple(self.tolerated)
        assert [error for error in self.errors if not (known and error.startswith(known))] == []

    def log_in(self, password: str = PASSWORD, name: str = "administrator") -> "Panel":
        """Open the page and log in by the form."""
        self.page.goto(self.url + "/")
        self.page.get_by_label("User name").fill(name)
        self.page.get_by_label("Password").fill(password)
        self.page.get_by_role("button", name="Log in").click()
        return self

    def enter(self) -> "Panel":
        """As `log_in`, but with the tokens of an earlier login on this server where there is one: hashing is slow."""
        if self.url not in _SESSIONS:
            self.log_in().ready()
            _SESSIONS[self.url] = self.page.evaluate("() => sessionStorage.getItem('llmcore.session')")
            return self
        self.page.add_init_script(SEED % json.dumps(_SESSIONS[self.url]))
        self.page.goto(self.url + "/")
        return self.ready()

    def ready(self) -> "Panel":
        """Wait until it is connected and a request can be typed."""
        self.connected()
        expect(self.prompt).to_be_editable()
        return self

    def connected(self) -> None:
        """Wait for the connection, whatever is shown."""
        expect(self.page.locator(".connection.online")).to_be_visible()

    def call(self, intent: str, **params: Any) -> Any:
        """An RPC as this person, by the panel's own connection."""
        return self.page.evaluate(CALL, [intent, params])

    def propose(self, *steps: Mapping[str, Any], title: str) -> Locator:
        """The card of a plan that a program sent, opened from the list of waiting ones."""
        plan_id = self.call("chain", steps=list(steps), title=title)["plan_id"]
        self.page.locator(".waiting button", has_text=title).click()
        card = self.page.locator(f".plan[data-plan={plan_id}]")
        expect(card).to_be_visible()
        return card

    def card(self, title: str) -> Locator:
        """The newest card with this title."""
        card = self.page.locator(".plan", has=self.page.get_by_role("heading", name=title, exact=True)).last
        expect(card).to_be_visible()
        return card

    def wait_for(self, file: Path) -> None:
        """Wait until a step has made a file."""
        for _ in range(TIMEOUT_MS // 20):
            if file.exists():
                return
            self.page.wait_for_timeout(20)
        raise AssertionError(f"{file} was not made")

    @property
    def voice(self) -> Locator:
        """What screen readers were told last."""
        return self.page.locator("p[role=status][aria-live=polite]")

    @property
    def prompt(self) -> Locator:
        """The field that requests are typed into."""
        return self.page.get_by_label("Your request")

    def ask(self, text: str) -> Locator:
        """Type a request and press Enter; the new turn."""
        turns = self.page.locator(".turn")
        before = turns.count()
        self.prompt.fill(text)
        self.prompt.press("Enter")
        expect(turns).to_have_count(before + 1)
        return turns.nth(before)

    def ended(self, turn: Locator, status: str = "done") -> Locator:
        """Wait for the end of a turn."""
        expect(turn).to_have_attribute("data-status", status)
        return turn

    def axe(self, *, selector: str = "body") -> list[str]:
        """What axe finds, each as `rule: element`."""
        self.page.evaluate(AXE.read_text("utf-8"))
        result = self.page.evaluate("(selector) => axe.run(selector, { resultTypes: ['violations'] })", selector)
        return [
            f"{found['id']}: {node['html'][:200]} {node.get('failureSummary', '')}"
            for found in result["violations"]
            for node in found["nodes"]
        ]

    def small(self) -> list[str]:
        """Controls that are too small for fingers: less than 40 pixels high or wide."""
        found: list[str] = self.page.evaluate(SMALL)
        return found

    def too_wide(self) -> bool:
        """Whether the page is wider than its window."""
        return bool(self.page.evaluate("() => document.documentElement.scrollWidth > innerWidth"))


class Cut:
    """A TCP relay to a server whose connections can be broken."""

    def __init__(self, target: str) -> None:
        """Listen on a free port of loopback."""
        self.point(target)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._open: list[socket.socket] = []
        self._lock = threading.Lock()
        self.refusing = False
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def point(self, target: str) -> None:
        """Lead new connections there."""
        parts = urlsplit(target)
        self._target = (parts.hostname or "", parts.port or 0)

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                if self.refusing:
                    client.close()
                    continue
                server = socket.create_connection(self._target)
                with self._lock:
                    self._open += [client, server]
                for source, sink in ((client, server), (server, client)):
                    threading.Thread(target=self._relay, args=(source, sink), daemon=True).start()

    @staticmethod
    def _relay(source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            while piece := source.recv(65536):
                sink.sendall(piece)
        for end in (source, sink):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def cut(self) -> None:
        """Break all connections, now."""
        with self._lock:
            broken, self._open = self._open, []
        for end in broken:
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()

    def close(self) -> None:
        """Stop listening and break all connections."""
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.cut()
        self._thread.join()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A Chromium without a window."""
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=find_program("chromium"), headless=True, args=list(ARGS))
        yield chromium
        chromium.close()


Open = Callable[..., Panel]


@pytest.fixture
def open_panel(browser: Browser, chromium: str) -> Iterator[Open]:
    """Opens tabs (of one person, or of somebody else with `apart=True`) and checks each at the end of the test."""
    assert chromium
    with ExitStack() as stack:
        panels: list[Panel] = []
        contexts: list[Any] = []

        def open_one(url: str, *, apart: bool = False, **options: Any) -> Panel:
            if apart or not contexts:
                contexts.append(browser.new_context(**options))
                stack.callback(contexts[-1].close)
            panel = Panel(contexts[-1].new_page(), url)
            panel.watch()
            panels.append(panel)
            return panel

        yield open_one
        for panel in panels:
            panel.check()
