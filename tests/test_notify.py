"""The pack `notify` against a real web server on this machine: what is sent, what is refused, what never leaks."""

import asyncio
import json
import socket
import traceback
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from pydantic import SecretStr

from llmcore.adapters.host import Bot
from llmcore.adapters.host.guarded_http import Guard
from llmcore.errors import BadParams, Conflict, Forbidden, LLMCoreError, NotFound, OutcomeUnknown, Unavailable
from tests.machine import Machine, web_server

TOKEN = "123456:very-secret-token"


async def machine_with(folder: Path, **options: Any) -> Machine:
    """Options of the service."""
    return await asyncio.to_thread(Machine, folder, options={"notify": options})


def http(*webhooks: str, method: str = "POST") -> dict[str, Any]:
    """The param."""
    return {"webhook": list(webhooks), "method": method}


@pytest.mark.asyncio
async def test_a_message_is_posted(tmp_path: Path) -> None:
    """As JSON that chat programs understand; the host is told, not the address."""
    with web_server() as (host, heard):
        machine = await machine_with(tmp_path, allowed_hosts=(host,))
        asked = {"http": http(f"http://{host}/hooks/SECRET?x=1"), "message": "Grüße"}
        preview = await machine.preview("simple_http_notify", **asked)
        assert (preview.targets, preview.blast) == ((host,), 1)
        assert heard == []
        assert await machine.do("simple_http_notify", **asked) == {"sent": [{"host": "127.0.0.1", "status": 200}]}
    (one,) = heard
    assert (one.method, one.path, json.loads(one.body)) == ("POST", "/hooks/SECRET?x=1", {"text": "Grüße"})
    assert (one.headers["Host"], one.headers["Content-Type"]) == (host, "application/json")


@pytest.mark.asyncio
async def test_other_methods_and_no_message(tmp_path: Path) -> None:
    """GET has it in the query; without one the body is empty JSON."""
    with web_server() as (host, heard):
        machine = await machine_with(tmp_path, allowed_hosts=("127.0.0.1",))
        await machine.do("simple_http_notify", http=http(f"http://{host}/a?b=1", method="GET"), message="x y")
        await machine.do("simple_http_notify", http=http(f"http://{host}", method="GET"))
        await machine.do("simple_http_notify", http=http(f"http://{host}/c", method="PUT"))
    assert [(one.method, one.path, one.body) for one in heard] == [
        ("GET", "/a?b=1&text=x+y", b""),
        ("GET", "/", b""),
        ("PUT", "/c", b"{}"),
    ]


@pytest.mark.asyncio
async def test_answers_that_are_no_success_are_told(tmp_path: Path) -> None:
    """Redirects are not followed; silence leaves the outcome open; nobody there means nothing was sent."""
    statuses = {"/bad": 500, "/moved": 302, "/silent": 0}
    with web_server(statuses) as (host, heard):
        machine = await machine_with(tmp_path, allowed_hosts=("127.0.0.1", "localhost"))
        for path, kind, words in (
            ("/bad", LLMCoreError, "answered 500"),
            ("/moved", LLMCoreError, "redirects are not followed"),
            ("/silent", OutcomeUnknown, "did not answer"),
        ):
            with pytest.raises(kind, match=words):
                await machine.do("simple_http_notify", http=http(f"http://{host}{path}"))
        assert len(heard) == 3
        with pytest.raises(LLMCoreError, match="1 of 2 were not reached") as caught:
            await machine.do("simple_http_notify", http=http(f"http://{host}/ok", f"http://{host}/bad"))
        assert caught.value.details["sent"] == [{"host": "127.0.0.1", "status": 200}]
        assert caught.value.details["failed"][0]["status"] == 500
    with pytest.raises(Unavailable, match="could not be reached"):
        await machine.do("simple_http_notify", http=http(f"http://{host}/gone"))


@pytest.mark.asyncio
async def test_a_server_that_keeps_silent_is_not_awaited_for_ever(tmp_path: Path) -> None:
    """The connection is there, the answer never comes."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        machine = await machine_with(tmp_path, allowed_hosts=("127.0.0.1",), timeout_s=0.2)
        with pytest.raises(OutcomeUnknown, match="took too long"):
            await machine.do("simple_http_notify", http=http(f"http://127.0.0.1:{port}/"))


@pytest.mark.asyncio
async def test_tls_is_checked(tmp_path: Path) -> None:
    """A server that does not speak it, or whom nobody vouches for, gets nothing."""
    with web_server() as (host, heard):
        machine = await machine_with(tmp_path, allowed_hosts=(host,))
        with pytest.raises(Unavailable, match="could not be reached"):
            await machine.do("simple_http_notify", http=http(f"https://{host}/"))
    assert heard == []


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1/",
        "http://localhost/",
        "http://[::1]/",
        "http://[::ffff:127.0.0.1]/",
        "http://10.0.0.1/",
        "http://192.168.1.1/",
        "http://169.254.169.254/latest/meta-data",
        "http://[fe80::1]/",
        "http://0.0.0.0/",
        "http://127.0.0.1./",
        "http://224.0.0.1/",
        "http://user:pass@example.com/",
    ],
)
@pytest.mark.asyncio
async def test_nothing_inside_is_called_unless_it_is_listed(tmp_path: Path, url: str) -> None:
    """However the address is written: forbidden by its number, or by the numbers its name stands for."""
    machine = await machine_with(tmp_path, allowed_hosts=("wiki.lan",))
    with pytest.raises(Forbidden):
        await machine.do("simple_http_notify", http=http(url))


@pytest.mark.parametrize(
    "url",
    [
        "http://169.254.169.254/latest/meta-data",
        "http://[fe80::1]/",
        "http://0.0.0.0/",
        "http://224.0.0.1/",
        "http://user:pass@example.com/",
    ],
)
@pytest.mark.asyncio
async def test_some_addresses_are_never_called_by_an_intent(tmp_path: Path, url: str) -> None:
    """Whatever an approver saw."""
    machine = await machine_with(tmp_path)
    with pytest.raises(Forbidden):
        await machine.do("simple_http_notify", http=http(url))


@pytest.mark.parametrize("host", ["2130706433", "0x7f.1", "127.1", "0177.0.0.1", "2852039166"])
@pytest.mark.asyncio
async def test_an_odd_spelling_of_a_number_is_the_number(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, host: str
) -> None:
    """As the system's own resolver reads it."""

    def lookup(host: str, port: int, **_: Any) -> list[Any]:
        address = socket.inet_ntoa(socket.inet_aton(host))
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port))]

    monkeypatch.setattr(socket, "getaddrinfo", lookup)
    machine = await machine_with(tmp_path)
    with pytest.raises(Forbidden):
        await machine.do("simple_http_notify", http=http(f"http://{host}/"))


@pytest.mark.parametrize("address", ["169.254.169.254", "fe80::1%eth0", "0.0.0.0", "ff02::1", "::ffff:169.254.169.254"])  # noqa: S104
def test_some_addresses_are_never_called(address: str) -> None:
    """Not even when the host is listed: link-local ones hand out the keys of clouds."""
    with pytest.raises(Forbidden, match="never called"):
        Guard(("example.com",)).check_address(urlsplit("http://example.com/"), address)


def test_inner_address_is_called_as_written_while_nothing_is_listed() -> None:
    """The approver saw it; a name that leads there is refused, and so is all that a list leaves out."""
    for url in ("http://127.0.0.1:9/", "http://[::1]:9/", "http://localhost/"):
        Guard(()).check_name(urlsplit(url))
    Guard(()).check_address(urlsplit("http://localhost/"), "127.0.0.1")
    Guard(()).check_address(urlsplit("http://10.1.2.3/"), "10.1.2.3")
    with pytest.raises(Forbidden, match="not public"):
        Guard(()).check_address(urlsplit("http://wiki.lan/"), "10.1.2.3")
    with pytest.raises(Forbidden):
        Guard(("wiki.lan",)).check_name(urlsplit("http://127.0.0.1/"))


def test_public_addresses_are_called_and_private_ones_when_listed() -> None:
    """With the port or without."""
    Guard(()).check_address(urlsplit("http://example.com/"), "93.184.216.34")
    for entry in ("wiki.lan", "wiki.lan:443", "WIKI.lan"):
        Guard((entry,)).check_address(urlsplit("https://wiki.lan/"), "10.1.2.3")
    with pytest.raises(Forbidden, match="not public"):
        Guard(("wiki.lan:8443",)).check_address(urlsplit("https://wiki.lan/"), "10.1.2.3")


@pytest.mark.asyncio
async def test_a_name_that_changes_its_mind_gains_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is asked once; a loopback address among its addresses is enough to refuse."""
    asked: list[str] = []

    def lookup(host: str, port: int, **_: Any) -> list[Any]:
        asked.append(host)
        public = (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("93.184.216.34", port))
        inside = (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))
        return [public, inside]

    monkeypatch.setattr(socket, "getaddrinfo", lookup)
    machine = await machine_with(tmp_path)
    with pytest.raises(Forbidden, match="not public"):
        await machine.do("simple_http_notify", http=http("http://rebind.example.com/"))
    assert asked == ["rebind.example.com"]


@pytest.mark.asyncio
async def test_with_a_list_only_the_listed_are_called(tmp_path: Path) -> None:
    """All are checked before one is called, at the preview already."""
    with web_server() as (host, heard):
        machine = await machine_with(tmp_path, allowed_hosts=(host,))
        asked = {"http": http(f"http://{host}/", "https://evil.example.com/")}
        for work in (machine.preview, machine.do):
            with pytest.raises(Forbidden, match=r"evil\.example\.com is not among"):
                await work("simple_http_notify", **asked)
    assert heard == []


@pytest.mark.parametrize(
    "url",
    [
        "ftp://example.com/",
        "http:///x",
        "http://example.com:99999/",
        "http://exämple.com/",
        "http://a b/",
        "http://[::1/",
    ],
)
@pytest.mark.asyncio
async def test_what_is_no_address_is_said(tmp_path: Path, url: str) -> None:
    """By which of them it is."""
    machine = await machine_with(tmp_path)
    with pytest.raises(BadParams) as caught:
        await machine.preview("simple_http_notify", http=http("https://example.com/", url))
    assert caught.value.details["fields"][0]["pointer"] == "/http/webhook/1"


def bots(**chats: tuple[str, ...]) -> dict[str, Bot]:
    """Bots by name."""
    return {name: Bot(token=SecretStr(TOKEN), chat_ids=ids) for name, ids in chats.items()}


@pytest.mark.asyncio
async def test_a_telegram_message_goes_to_each_chat(tmp_path: Path) -> None:
    """Through the one bot there is; the token is in no result."""
    with web_server() as (host, heard):
        machine = await machine_with(tmp_path, bots=bots(ops=("1", "2")), telegram_url=f"http://{host}")
        preview = await machine.preview("simple_telegram_notify", message="hi")
        assert (preview.targets, preview.blast) == (("ops:1", "ops:2"), 2)
        result = await machine.do("simple_telegram_notify", message="hi")
        assert result["bot"] == "ops"
        assert [one["chat_id"] for one in result["sent"]] == ["1", "2"]
        assert TOKEN not in json.dumps(result)
        await machine.do("simple_telegram_notify", message="hi", chat_id=["@ops_channel"], bot="OPS")
    assert {one.path for one in heard} == {f"/bot{TOKEN}/sendMessage"}
    assert sorted(json.loads(one.body)["chat_id"] for one in heard) == ["1", "2", "@ops_channel"]


@pytest.mark.asyncio
async def test_a_token_is_in_no_error(tmp_path: Path) -> None:
    """Refused, silent or not there: neither message, details nor traceback."""
    with web_server({f"/bot{TOKEN}/sendMessage": 401}) as (host, _):
        machine = await machine_with(tmp_path, bots=bots(ops=("1",)), telegram_url=f"http://{host}")
        with pytest.raises(LLMCoreError, match="answered 401") as refused:
            await machine.do("simple_telegram_notify", message="hi")
    with pytest.raises(Unavailable) as absent:
        await machine.do("simple_telegram_notify", message="hi")
    for caught in (refused, absent):
        told = "".join(traceback.format_exception(caught.value)) + json.dumps(caught.value.data())
        assert "very-secret" not in told
    assert "very-secret" not in repr(machine.services["notify"]._options)


@pytest.mark.asyncio
async def test_which_bot_and_which_chat_has_to_be_clear(tmp_path: Path) -> None:
    """None set up, several, an unknown one, no chat."""
    cases: list[tuple[dict[str, Bot], dict[str, Any], type[LLMCoreError]]] = [
        ({}, {}, Conflict),
        (bots(a=("1",), b=("2",)), {}, BadParams),
        (bots(a=("1",)), {"bot": "x"}, NotFound),
        (bots(a=()), {}, BadParams),
    ]
    for known, params, kind in cases:
        machine = await machine_with(tmp_path, bots=known)
        with pytest.raises(kind):
            await machine.preview("simple_telegram_notify", message="hi", **params)
    machine = await machine_with(tmp_path, bots=bots(a=("1",), default=("2",)))
    assert (await machine.preview("simple_telegram_notify", message="hi")).targets == ("default:2",)


@pytest.mark.asyncio
async def test_a_bug_is_not_taken_for_an_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It passes through as it is."""
    monkeypatch.setattr("llmcore.adapters.host.notify.send", lambda *_: 1 / 0)
    machine = await machine_with(tmp_path, allowed_hosts=("127.0.0.1",))
    with pytest.raises(ZeroDivisionError):
        await machine.services["notify"].webhooks(["http://127.0.0.1/"], "POST", "x")
