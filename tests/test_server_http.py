"""The HTTP routes, by pytest-tornado: login, dashboard, health, metrics, alerts, and headers everywhere."""

import asyncio
import gzip
import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from prometheus_client.metrics_core import GaugeMetricFamily
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector
from pydantic import SecretStr
from tornado.httpclient import AsyncHTTPClient, HTTPResponse
from tornado.web import Application

from llmcore.errors import Unavailable
from llmcore.server import Server, ServerOptions
from tests.server_kit import SECRET, Accounts, Clock, Door, rooms

INDEX = b"<!doctype html><title>llmcore</title>" + b" " * 2_000
ORIGIN = "https://ops.example.org"


@dataclass
class Site:
    """The server under test, without its sockets."""

    server: Server
    door: Door
    auth: Accounts
    clock: Clock
    alerts: list[Mapping[str, Any]]
    alerts_down: bool = False


@pytest.fixture
def site(tmp_path: Path) -> Site:
    """A server with a small dashboard and a webhook token."""
    (tmp_path / "app").mkdir()
    (tmp_path / "index.html").write_bytes(INDEX)
    (tmp_path / "app" / "main.js").write_text("export const x = 1;\n" * 100)
    (tmp_path / "logo.png").write_bytes(b"\x89PNG" + b"\x00" * 3_000)
    (tmp_path / "__init__.py").write_text("secret = 1\n")
    (tmp_path.parent / "outside.js").write_text("secret")
    found: list[Site] = []

    async def take(alert: Mapping[str, Any]) -> None:
        if found[0].alerts_down:
            raise Unavailable("The store is away.")
        found[0].alerts.append(alert)

    given, _, door, auth, clock = rooms(asyncio.TaskGroup(), on_alert=take)
    options = ServerOptions(origins=(ORIGIN,), static_root=tmp_path, webhook_token=SecretStr("hook"), rate_limit=3)
    server = Server(options, given)
    server.assets.load(tmp_path)
    found.append(Site(server, door, auth, clock, []))
    return found[0]


@pytest.fixture
def app(site: Site) -> Application:
    """What pytest-tornado serves."""
    return site.server.application


@dataclass
class Browser:
    """Asks the server under test; errors are answers too."""

    client: AsyncHTTPClient
    base: str

    async def get(self, path: str, **headers: str) -> HTTPResponse:
        """GET."""
        return await self.client.fetch(self.base + path, raise_error=False, headers=headers, decompress_response=False)

    async def post(self, path: str, body: bytes | str | Mapping[str, str] = b"", **headers: str) -> HTTPResponse:
        """POST a form or a body."""
        sent = urlencode(body) if isinstance(body, Mapping) else body
        return await self.client.fetch(self.base + path, raise_error=False, method="POST", body=sent, headers=headers)

    async def login(self, username: str = "ada", password: str = SECRET, **headers: str) -> HTTPResponse:
        """POST /authorize."""
        return await self.post("/authorize", {"username": username, "password": password}, **headers)


@pytest.fixture
def browser(http_client: AsyncHTTPClient, base_url: str) -> Browser:
    """A client of the server under test."""
    return Browser(http_client, base_url)


def told(response: HTTPResponse) -> Any:
    """The JSON of an answer."""
    assert response.headers["Content-Type"].startswith("application/json")
    return json.loads(response.body)


# --- login ---


@pytest.mark.gen_test
async def test_login_gives_two_tokens(site: Site, browser: Browser) -> None:
    """A login gives two tokens."""
    answer = await browser.login()
    assert answer.code == 200
    assert answer.headers["Cache-Control"] == "no-store"
    body = told(answer)
    now = site.clock.now()
    assert (body["status"], body["code"], set(body["data"])) == ("success", 200, {"access", "refresh"})
    assert set(body["data"]["access"]) == {"token", "issued", "expires"}
    assert now - 60 < body["data"]["access"]["issued"] <= now < body["data"]["access"]["expires"]


@pytest.mark.gen_test
async def test_multipart_form_understood(browser: Browser) -> None:
    """A multipart form is understood too."""
    fields = (("username", "ada"), ("password", SECRET))
    parts = [f'--b\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n' for name, value in fields]
    sent = ("".join(parts) + "--b--\r\n").encode()
    assert (await browser.post("/authorize", sent, **{"Content-Type": "multipart/form-data; boundary=b"})).code == 200


@pytest.mark.parametrize(
    ("username", "password"),
    [
        ("ada", "0" * 64),
        ("eve", SECRET),
        ("", ""),
        ("ada", ""),
        ("ada", "password"),
        ("ada", SECRET.upper()),
        ("a" * 201, SECRET),
    ],
)
@pytest.mark.gen_test
async def test_wrong_login_403(browser: Browser, username: str, password: str) -> None:
    """A wrong login is 403."""
    answer = await browser.login(username, password)
    assert answer.code == 403
    body = told(answer)
    assert (body["status"], body["code"], body["data"]) == ("error", 403, {"error": "unauthorized"})


@pytest.mark.gen_test
async def test_slowed_down_login_says_when(browser: Browser) -> None:
    """A slowed down login says when to come back."""
    answer = await browser.login("slow")
    assert answer.code == 429
    assert answer.headers["Retry-After"] == "8"
    assert told(answer)["data"] == {"error": "rate_limited", "retry_after_s": 7.2}


@pytest.mark.logs_errors("POST /authorize failed.*canary")
@pytest.mark.gen_test
async def test_bug_is_not_told(browser: Browser) -> None:
    """What goes wrong inside stays inside."""
    answer = await browser.login("broken")
    assert answer.code == 500
    assert told(answer) == {"status": "error", "code": 500, "message": "Internal Server Error"}


@pytest.mark.gen_test
async def test_tokens_renewed_revoked(site: Site, browser: Browser) -> None:
    """Tokens are renewed and revoked."""
    assert told(await browser.post("/authorize/refresh", {"token": "ada.refresh"}))["data"]["access"]["token"] == "ada"
    refused = await browser.post("/authorize/refresh", {"token": "ada"})
    assert (refused.code, told(refused)["status"]) == (403, "error")
    assert told(await browser.post("/authorize/revoke", {"token": "ada"})) == {
        "status": "success",
        "code": 200,
        "data": None,
    }
    assert site.auth.revoked == {"ada"}


# --- origins ---


@pytest.mark.gen_test
async def test_allowed_origin_may_log_in(browser: Browser) -> None:
    """A page of an allowed origin may log in."""
    answer = await browser.login(Origin=ORIGIN)
    assert answer.code == 200
    assert answer.headers["Access-Control-Allow-Origin"] == ORIGIN
    assert "Origin" in answer.headers["Vary"]
    refused = await browser.login("eve", Origin=ORIGIN)
    assert (refused.code, refused.headers["Access-Control-Allow-Origin"]) == (403, ORIGIN)
    asked = await browser.client.fetch(
        browser.base + "/v1/chat/completions", method="OPTIONS", headers={"Origin": ORIGIN}, raise_error=False
    )
    assert asked.code == 204
    assert asked.headers["Access-Control-Allow-Origin"] == ORIGIN
    assert "Authorization" in asked.headers["Access-Control-Allow-Headers"]
    assert asked.headers["Access-Control-Allow-Methods"] == "POST"


@pytest.mark.gen_test
async def test_foreign_origin_may_not(browser: Browser) -> None:
    """A page of a foreign origin may not."""
    for origin in ("https://evil.example", "null"):
        answer = await browser.login(Origin=origin)
        assert answer.code == 403
        assert "Access-Control-Allow-Origin" not in answer.headers
    assert (await browser.login(Origin=browser.base)).code == 200


# --- the dashboard ---


@pytest.mark.gen_test
async def test_dashboard_comes_strict_policy(browser: Browser) -> None:
    """The dashboard comes with a strict policy."""
    answer = await browser.get("/")
    assert (answer.code, answer.body) == (200, INDEX)
    assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
    assert answer.headers["Cache-Control"] == "no-cache"
    policy = answer.headers["Content-Security-Policy"]
    assert "script-src 'self';" in policy
    assert "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy
    assert "require-trusted-types-for 'script'; trusted-types 'none'" in policy


@pytest.mark.parametrize("path", ["/", "/static/app/main.js", "/nothing", "/healthz", "/ws", "/v1/models"])
@pytest.mark.gen_test
async def test_security_headers_everywhere(browser: Browser, path: str) -> None:
    """Every answer has the security headers."""
    headers = (await browser.get(path)).headers
    assert headers["Content-Security-Policy"]
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "no-referrer"
    assert headers["Cross-Origin-Opener-Policy"] == "same-origin"
    assert "Server" not in headers


@pytest.mark.gen_test
async def test_files_compressed_and_cached(browser: Browser) -> None:
    """Files are compressed and not sent again if unchanged."""
    plain = await browser.get("/static/app/main.js")
    packed = await browser.get("/static/app/main.js", **{"Accept-Encoding": "gzip"})
    assert packed.headers["Content-Encoding"] == "gzip"
    assert gzip.decompress(packed.body) == plain.body
    assert len(packed.body) < len(plain.body) / 5
    assert plain.headers["Content-Type"] == "text/javascript; charset=utf-8"
    assert "Accept-Encoding" in plain.headers["Vary"]
    again = await browser.get("/static/app/main.js", **{"If-None-Match": plain.headers["ETag"]})
    assert (again.code, again.body) == (304, b"")
    image = await browser.get("/static/logo.png", **{"Accept-Encoding": "gzip"})
    assert "Content-Encoding" not in image.headers
    assert image.headers["Content-Type"] == "image/png"
    head = await browser.client.fetch(browser.base + "/static/logo.png", method="HEAD")
    assert (head.body, head.headers["Content-Length"]) == (b"", "3004")


@pytest.mark.parametrize(
    "path",
    [
        "/static/__init__.py",
        "/static/../outside.js",
        "/static/..%2foutside.js",
        "/static/%2e%2e/outside.js",
        "/static//etc/passwd",
        "/static/app",
        "/static/",
        "/static/app/main.js%00.png",
        "/slurm/plan",
        "/nothing",
    ],
)
@pytest.mark.gen_test
async def test_unknown_paths(browser: Browser, path: str) -> None:
    """There is nothing else."""
    answer = await browser.get(path)
    assert answer.code == 404
    assert told(answer) == {"status": "error", "code": 404, "message": "Not Found"}


# --- health and metrics ---


@pytest.mark.gen_test
async def test_health_needs_no_login(site: Site, browser: Browser) -> None:
    """Health needs no login."""
    assert told(await browser.get("/healthz")) == {"status": "ok"}
    ready = await browser.get("/readyz")
    assert (ready.code, told(ready)) == (200, site.door.body)
    site.door.body["components"]["bus"] = {"status": "down", "required": False, "reason": "away"}
    assert (await browser.get("/readyz")).code == 200
    site.door.body["components"]["store"]["status"] = "degraded"
    assert (await browser.get("/readyz")).code == 200
    site.door.body["components"]["store"]["status"] = "down"
    down = await browser.get("/readyz")
    assert (down.code, told(down)) == (503, site.door.body)


@pytest.mark.gen_test
async def test_stopping_server_is_not_ready(site: Site, browser: Browser) -> None:
    """A server that stops is not ready."""
    site.server.hub.stopping = True
    assert (await browser.get("/readyz")).code == 503
    assert (await browser.get("/healthz")).code == 200


class _Other(Collector):
    def collect(self) -> Any:
        yield GaugeMetricFamily("gen_ai_client_something", "Of another room", 3)


@pytest.mark.gen_test
async def test_metrics(site: Site, browser: Browser) -> None:
    """Metrics are prometheus text and take more collectors."""
    site.server.registry.register(_Other())
    site.server.metrics.answered("get_cpu_stats", "success", 0.002)
    site.server.metrics.answered("get_cpu_stats", "success", 0.003)
    site.server.metrics.answered("unknown", "unknown_intent", 0.001)
    await browser.login()
    await browser.login("eve")
    answer = await browser.get("/metrics")
    assert answer.headers["Content-Type"].startswith("text/plain")
    families = {family.name: family for family in text_string_to_metric_families(answer.body.decode())}
    rpcs = {
        (s.labels["intent"], s.labels["status"]): s.value
        for s in families["llmcore_rpcs"].samples
        if "intent" in s.labels and s.name.endswith("_total")
    }
    assert rpcs == {("get_cpu_stats", "success"): 2, ("unknown", "unknown_intent"): 1}
    logins = {s.labels["result"]: s.value for s in families["llmcore_logins"].samples if s.name.endswith("_total")}
    assert logins == {"success": 1, "unauthorized": 1}
    for name in ("connections", "sent_bytes", "events_sent", "slow_clients_closed", "rate_limited", "rpc_seconds"):
        assert f"llmcore_{name}" in families
    assert families["gen_ai_client_something"].samples[0].value == 3


# --- alerts ---

ALERT = {
    "status": "firing",
    "labels": {"alertname": "DiskFull", "instance": "db1"},
    "annotations": {"summary": "disk full"},
    "startsAt": "2026-01-01T00:00:00Z",
    "endsAt": "0001-01-01T00:00:00Z",
    "generatorURL": "http://prometheus/graph",
    "fingerprint": "ab12",
}
POSTED: dict[str, Any] = {
    "version": "4",
    "groupKey": "{}:{}",
    "truncatedAlerts": 0,
    "status": "firing",
    "receiver": "llmcore",
    "groupLabels": {},
    "commonLabels": {},
    "commonAnnotations": {},
    "externalURL": "http://alertmanager",
    "alerts": [ALERT, {**ALERT, "fingerprint": "cd34", "status": "resolved"}],
}


@pytest.mark.gen_test
async def test_alerts_handed(site: Site, browser: Browser) -> None:
    """Alerts are handed on."""
    answer = await browser.post("/hooks/alertmanager", json.dumps(POSTED), Authorization="Bearer hook")
    assert (answer.code, told(answer)) == (202, {"accepted": 2})
    assert site.alerts == POSTED["alerts"]


@pytest.mark.gen_test
async def test_grafana_says_version_sends_more(site: Site, browser: Browser) -> None:
    """Grafana says version one and sends more."""
    sent = {**POSTED, "version": "1", "orgId": 1, "alerts": [{**ALERT, "values": {"B": 1.5}, "dashboardURL": "x"}]}
    answer = await browser.post("/hooks/alertmanager", json.dumps(sent), Authorization="bearer hook")
    assert answer.code == 202
    assert site.alerts[0]["values"] == {"B": 1.5}


@pytest.mark.gen_test
async def test_alert_that_could_be_lost(site: Site, browser: Browser) -> None:
    """An alert that could be lost is not accepted."""
    site.alerts_down = True
    answer = await browser.post("/hooks/alertmanager", json.dumps(POSTED), Authorization="Bearer hook")
    assert answer.code == 503


@pytest.mark.parametrize("header", ["", "Bearer wrong", "Basic hook", "Bearer hookhook", "Bearer ähm"])
@pytest.mark.gen_test
async def test_webhook_needs_token(site: Site, browser: Browser, header: str) -> None:
    """The webhook needs its token."""
    answer = await browser.post("/hooks/alertmanager", json.dumps(POSTED), Authorization=header)
    assert answer.code == 401
    assert answer.headers["WWW-Authenticate"] == "Bearer"
    assert not site.alerts


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ("{", ""),
        (json.dumps({**POSTED, "version": "5"}), "/version"),
        (json.dumps({**POSTED, "alerts": [{**ALERT, "labels": {"x": 1}}]}), "/alerts/0/labels/x"),
        (json.dumps({**POSTED, "alerts": [{**ALERT, "status": "odd"}]}), "/alerts/0/status"),
        (
            json.dumps({**POSTED, "alerts": [{**ALERT, "labels": {f"l{n}": "x" for n in range(101)}}]}),
            "/alerts/0/labels",
        ),
        (json.dumps({**POSTED, "alerts": [{**ALERT, "annotations": {"x": "y" * 20_000}}]}), "/alerts/0/annotations/x"),
        (json.dumps({**POSTED, "alerts": [ALERT] * 5_001}), "/alerts"),
    ],
)
@pytest.mark.gen_test
async def test_bad_webhook_refused(site: Site, browser: Browser, body: str, pointer: str) -> None:
    """A webhook that does not fit is refused with the place."""
    answer = await browser.post("/hooks/alertmanager", body, Authorization="Bearer hook")
    assert answer.code == 400
    assert told(answer)["data"]["fields"][0]["pointer"] == pointer
    assert not site.alerts


@pytest.mark.gen_test
async def test_no_webhook_without_token(site: Site, browser: Browser) -> None:
    """Without a token there is no webhook."""
    given, *_ = rooms(asyncio.TaskGroup())
    site.server.application.settings["hub"] = Server(ServerOptions(), given).hub
    answer = await browser.post("/hooks/alertmanager", json.dumps(POSTED), Authorization="Bearer ")
    assert answer.code == 404


# --- what all share ---


@pytest.mark.gen_test
async def test_bearer_routes_rate_limited(browser: Browser) -> None:
    """Bearer routes are rate limited like RPCs."""
    codes = [(await browser.get("/v1/models", Authorization="Bearer ada")).code for _ in range(5)]
    assert codes[:3] == [200, 200, 200]
    assert codes[-1] == 429


@pytest.mark.gen_test
async def test_no_token_in_log(site: Site, browser: Browser, caplog: pytest.LogCaptureFixture) -> None:
    """No token gets into the log."""
    caplog.set_level(logging.DEBUG)
    await browser.get("/ws?token=canary", Authorization="Bearer canary", Upgrade="websocket", Connection="Upgrade")
    await browser.get("/healthz?token=canary")
    await browser.post("/authorize/revoke", {"token": "canary"})
    await browser.get("/authorize?token=canary")
    site.door.body = {"status": "?", "components": {"store": {"required": True, "status": "down"}}}
    await browser.get("/readyz?token=canary")
    ours = [record.getMessage() for record in caplog.records if record.name.startswith(("llmcore", "tornado"))]
    assert any("/healthz 200" in line for line in ours)
    assert any("/readyz 503" in line for line in ours)
    assert "canary" not in "\n".join(ours)
