"""The contract on a real server: every HTTP route, what it answers to whom, and the socket's front door."""

import json
import re
import time
from collections.abc import Iterator
from typing import Any

import pytest
from ag_ui.core import Event
from pydantic import TypeAdapter
from tornado.httpclient import HTTPClientError

from tests.contract_kit import HOOK, PASSWORD, Answer, House, hashed
from tests.peer import Peer

ORIGIN = "http://cloudisense.example:8000"
COMPONENTS = {"store", "bus", "providers", "policy", "queue"}


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """A server without a model."""
    house = House(tmp_path_factory.mktemp("http") / "house")
    house.more = {"LLMCORE_SERVER__ORIGINS": json.dumps([ORIGIN])}
    with house.open():
        yield house


@pytest.fixture(scope="module")
def token(house: House) -> str:
    """An administrator's access token."""
    return house.token()


def bearer(token: str) -> dict[str, str]:
    """The header."""
    return {"Authorization": f"Bearer {token}"}


# --- logging in ---------------------------------------------------------------------------------------------------


def test_authorize_answers_two_tokens_with_times_in_epoch_seconds(house: House) -> None:
    """The shape of the contract, no key more or less where it names them all."""
    answer = house.form("/authorize", username="administrator", password=hashed(PASSWORD))
    assert answer.status == 200
    assert set(answer.json) == {"status", "code", "data"}
    assert (answer.json["status"], answer.json["code"]) == ("success", 200)
    assert set(answer.json["data"]) == {"access", "refresh"}
    for token in answer.json["data"].values():
        assert set(token) == {"token", "issued", "expires"}
        assert re.fullmatch(r"[A-Za-z0-9._~-]+", token["token"]), "not URL-safe"
        assert abs(token["issued"] - time.time()) < 60  # noqa: TID251 - the wall clock is what is promised
        assert token["expires"] > token["issued"]


@pytest.mark.parametrize(
    ("name", "password"),
    [
        ("administrator", hashed("wrong")),
        ("administrator", hashed(PASSWORD).upper()),
        ("administrator", PASSWORD),
        ("nobody", hashed(PASSWORD)),
        ("", ""),
    ],
)
def test_any_wrong_login_is_403(house: House, name: str, password: str) -> None:
    """Whatever is wrong about it, in the same words."""
    answer = house.form("/authorize", username=name, password=password)
    assert answer.status == 403
    assert (answer.json["status"], answer.json["code"]) == ("error", 403)
    assert answer.json["message"]


def test_guessing_is_slowed_down_with_429(house: House) -> None:
    """After some failures of one name, and the answer says how long to wait."""
    for _ in range(30):
        answer = house.form("/authorize", username="guessed", password=hashed("guess"))
        if answer.status == 429:
            break
        assert answer.status == 403
    assert answer.status == 429
    assert answer.json["status"] == "error"
    assert int(answer.headers["Retry-After"]) >= 1


def test_tokens_are_renewed_once_and_revoked(house: House) -> None:
    """A refresh token gives a new pair once; a revoked token opens nothing."""
    pair = house.form("/authorize", username="administrator", password=hashed(PASSWORD)).json["data"]
    renewed = house.form("/authorize/refresh", token=pair["refresh"]["token"])
    assert renewed.status == 200
    assert set(renewed.json["data"]) == {"access", "refresh"}
    assert house.form("/authorize/refresh", token=pair["refresh"]["token"]).status == 403
    access = renewed.json["data"]["access"]["token"]
    assert house.get("/v1/models", **bearer(access)).status == 200
    assert house.form("/authorize/revoke", token=access).status == 200
    assert house.get("/v1/models", **bearer(access)).status == 401


# --- the socket's door --------------------------------------------------------------------------------------------


@pytest.mark.asyncio
@pytest.mark.parametrize("query", ["", "?token=", "?token=nonsense", "?token=a.b.c"])
async def test_a_bad_token_is_401_before_the_upgrade(house: House, query: str) -> None:
    """No socket opens."""
    with pytest.raises(HTTPClientError) as refused:
        await Peer.connect(f"{house.url.replace('http', 'ws', 1)}/ws{query}")
    assert refused.value.code == 401


@pytest.mark.asyncio
async def test_a_refresh_token_opens_no_socket(house: House) -> None:
    """Only the access token does."""
    pair = house.form("/authorize", username="administrator", password=hashed(PASSWORD)).json["data"]
    with pytest.raises(HTTPClientError) as refused:
        await Peer.connect(f"{house.url.replace('http', 'ws', 1)}/ws?token={pair['refresh']['token']}")
    assert refused.value.code == 401


@pytest.mark.asyncio
@pytest.mark.parametrize(("origin", "allowed"), [("http://evil.example", False), (ORIGIN, True), ("", True)])
async def test_foreign_origins_are_403(house: House, token: str, origin: str, allowed: bool) -> None:
    """A foreign page is refused, one allowed by the settings, our own and programs without one get in."""
    url = f"{house.url.replace('http', 'ws', 1)}/ws?token={token}"
    headers = {"Origin": origin or house.url}
    if allowed:
        peer = await Peer.connect(url, **headers)
        assert (await peer.call("status"))["status"] == "success"
        await peer.close()
    else:
        with pytest.raises(HTTPClientError) as refused:
            await Peer.connect(url, **headers)
        assert refused.value.code == 403


# --- open routes --------------------------------------------------------------------------------------------------


def test_the_dashboard_has_its_policy(house: House) -> None:
    """`script-src 'self'`, nothing unsafe."""
    answer = house.get("/")
    assert answer.status == 200
    assert answer.headers["Content-Type"].startswith("text/html")
    policy = answer.headers["Content-Security-Policy"]
    assert "script-src 'self'" in [part.strip() for part in policy.split(";")]
    assert "unsafe" not in policy


def test_health_and_readiness_need_no_login(house: House) -> None:
    """Each component says how it is, whether it is required, and why."""
    assert house.get("/healthz").status == 200
    answer = house.get("/readyz")
    assert answer.status == 200
    assert set(answer.json) == {"status", "components"}
    assert answer.json["status"] == "ok"
    assert set(answer.json["components"]) == COMPONENTS
    for name, component in answer.json["components"].items():
        assert {"status", "required", "reason"} <= set(component)
        assert component["status"] in ("ok", "degraded", "down")
        assert component["required"] is (name in ("store", "policy"))


def test_metrics_are_prometheus_text(house: House) -> None:
    """With a type for each family, and no login."""
    answer = house.get("/metrics")
    assert answer.status == 200
    assert answer.headers["Content-Type"].startswith("text/plain")
    text = answer.body.decode()
    assert "# TYPE llmcore_" in text
    for line in text.splitlines():
        assert re.fullmatch(r"#.*|[a-zA-Z_:][\w:]*(\{.*\})? \S+", line), line


# --- alerts -------------------------------------------------------------------------------------------------------


def notification(*alerts: Any, version: str = "4") -> dict[str, Any]:
    """What Alertmanager posts."""
    return {
        "version": version,
        "groupKey": '{}:{alertname="DiskFull"}',
        "truncatedAlerts": 0,
        "status": "firing",
        "receiver": "llmcore",
        "groupLabels": {},
        "commonLabels": {},
        "commonAnnotations": {},
        "externalURL": "http://alertmanager.example",
        "alerts": list(alerts),
    }


FIRING = {
    "status": "firing",
    "labels": {"alertname": "DiskFull", "severity": "critical", "instance": "db1"},
    "annotations": {"summary": "disk is full"},
    "startsAt": "2026-01-01T00:00:00Z",
    "endsAt": "0001-01-01T00:00:00Z",
    "generatorURL": "http://prometheus.example/graph",
    "fingerprint": "0123456789abcdef",
}


@pytest.mark.asyncio
async def test_alerts_are_taken_and_grouped(house: House, token: str) -> None:
    """202 with the right token; the same alert twice is one entry of `alert_list`."""
    for _ in range(2):
        assert house.post("/hooks/alertmanager", notification(FIRING), **bearer(HOOK)).status == 202
    async with house.person(token) as person:
        alerts = (await person.data("alert_list"))["alerts"]
    assert [alert["labels"]["alertname"] for alert in alerts] == ["DiskFull"]


@pytest.mark.parametrize("header", [{}, {"Authorization": "Bearer wrong"}, {"Authorization": f"Basic {HOOK}"}])
def test_a_wrong_webhook_token_is_401(house: House, header: dict[str, str]) -> None:
    """Also none at all."""
    assert house.post("/hooks/alertmanager", notification(FIRING), **header).status == 401


def test_a_users_token_is_none_of_a_webhook(house: House, token: str) -> None:
    """And the other way round."""
    assert house.post("/hooks/alertmanager", notification(FIRING), **bearer(token)).status == 401
    assert house.get("/v1/models", **bearer(HOOK)).status == 401


# --- doors of other protocols -------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/agui"])
def test_other_doors_need_a_token(house: House, path: str) -> None:
    """401 without one or with a wrong one."""
    assert house.post(path, {}).status == 401
    assert house.post(path, {}, **bearer("wrong")).status == 401


def completion(house: House, token: str, text: str, **more: Any) -> Answer:
    """Ask over OpenAI's protocol."""
    body = {"model": "llmcore", "messages": [{"role": "user", "content": text}], **more}
    return house.post("/v1/chat/completions", body, **bearer(token))


def test_openai_clients_are_answered(house: House, token: str) -> None:
    """A whole answer, and the same in chunks ending with `[DONE]`."""
    models = house.get("/v1/models", **bearer(token)).json
    assert models["object"] == "list"
    assert {"id", "object", "created", "owned_by"} <= set(models["data"][0])
    whole = completion(house, token, "what time is it on this machine?").json
    assert whole["object"] == "chat.completion"
    assert set(whole["usage"]) >= {"prompt_tokens", "completion_tokens", "total_tokens"}
    (choice,) = whole["choices"]
    assert (choice["message"]["role"], choice["finish_reason"]) == ("assistant", "stop")
    assert choice["message"]["content"]
    streamed = completion(house, token, "what time is it on this machine?", stream=True)
    assert streamed.headers["Content-Type"].startswith("text/event-stream")
    lines = [line.removeprefix("data: ") for line in streamed.body.decode().splitlines() if line.startswith("data: ")]
    assert lines[-1] == "[DONE]"
    chunks = [json.loads(line) for line in lines[:-1]]
    assert {chunk["object"] for chunk in chunks} == {"chat.completion.chunk"}
    assert chunks[-1]["choices"][0]["finish_reason"] == "stop"
    assert "".join(chunk["choices"][0]["delta"].get("content", "") for chunk in chunks)


def test_openai_clients_only_propose_and_approve_nothing(house: House, token: str) -> None:
    """The reply names the plan that waits; a text that says "yes" is no approval."""
    file = house.roots / "kept.txt"
    file.write_text("x")
    said = completion(house, token, f"delete the file {file}").json["choices"][0]["message"]["content"]
    plan_id = re.search(r"pl_\w+", said)
    assert plan_id
    talk = [
        {"role": "user", "content": f"delete the file {file}"},
        {"role": "assistant", "content": said},
        {"role": "user", "content": f"yes, approve {plan_id[0]}"},
    ]
    assert completion(house, token, "", messages=talk).status == 200
    assert file.exists()


def test_agui_streams_its_own_events(house: House, token: str) -> None:
    """AG-UI's own models take every one."""
    message = {"id": "m1", "role": "user", "content": "which processes eat the memory?"}
    body = {"threadId": "t1", "runId": "r1", "state": {}, "messages": [message], "tools": [], "context": []}
    answer = house.post("/agui", {**body, "forwardedProps": {}}, **bearer(token))
    assert answer.status == 200
    assert answer.headers["Content-Type"].startswith("text/event-stream")
    lines = [line.removeprefix("data: ") for line in answer.body.decode().splitlines() if line.startswith("data: ")]
    events = [json.loads(line) for line in lines]
    adapter: TypeAdapter[Any] = TypeAdapter(Event)
    for event in events:
        adapter.validate_python(event)
    assert (events[0]["type"], events[-1]["type"]) == ("RUN_STARTED", "RUN_FINISHED")
    assert events[-1]["result"]["text"]


@pytest.mark.parametrize("path", ["/nothing", "/v1/nothing", "/static/../settings.json", "/.git/config"])
def test_other_paths_are_404(house: House, path: str) -> None:
    """As JSON."""
    answer = house.get(path)
    assert answer.status == 404
    assert answer.json["status"] == "error"
