"""The small parts of the server: token buckets, groups, frames, TLS."""

import asyncio
import ssl
import subprocess
from pathlib import Path

import orjson
import pytest
from tornado.httpclient import HTTPRequest
from tornado.websocket import websocket_connect

from llmcore.server import limits
from llmcore.server.client import Group
from llmcore.server.frames import Reader, Refused, Rpc, deeper_than
from llmcore.server.limits import RateLimit
from tests.peer import Peer
from tests.server_kit import serving


class Hand:
    """A clock that moves only by hand."""

    at_s = 0.0

    def now(self) -> float:
        """Epoch seconds."""
        return self.at_s

    def monotonic(self) -> float:
        """Seconds."""
        return self.at_s


def test_bucket_holds_second_fills_steadily() -> None:
    """A bucket holds a second and fills steadily."""
    clock = Hand()
    limit = RateLimit(4, clock)
    assert [limit.wait_s("ada") for _ in range(5)] == [0, 0, 0, 0, 0.25]
    assert limit.wait_s("bob") == 0
    clock.at_s = 0.1
    assert limit.wait_s("ada") == 0.15
    clock.at_s = 0.26
    assert limit.wait_s("ada") == 0
    clock.at_s = 100
    assert [limit.wait_s("ada") for _ in range(5)].count(0) == 4


def test_rate_below_second_rate() -> None:
    """A rate below one a second and no rate at all."""
    clock = Hand()
    slow, free = RateLimit(0.5, clock), RateLimit(0, clock)
    assert [slow.wait_s("ada"), slow.wait_s("ada")] == [0, 2]
    assert all(free.wait_s("ada") == 0 for _ in range(1_000))


def test_full_buckets_forgotten_when_many(monkeypatch: pytest.MonkeyPatch) -> None:
    """Full buckets are forgotten when there are many."""
    monkeypatch.setattr(limits, "MANY_USERS", 3)
    clock = Hand()
    limit = RateLimit(1, clock)
    for name in ("a", "b", "c"):
        limit.wait_s(name)
    clock.at_s = 0.5
    limit.wait_s("d")
    assert limit.wait_s("a") == 0.5
    clock.at_s = 5
    limit.wait_s("e")
    assert set(limit._buckets) == {"e"}


@pytest.mark.asyncio
async def test_group_can_waited() -> None:
    """A group can be waited for."""
    group: Group[str] = Group()
    await group.emptied(0)
    group.add("a")
    group.add("b")
    assert (len(group), sorted(group)) == (2, ["a", "b"])
    await group.emptied(0.01)
    waiting = asyncio.ensure_future(group.emptied(20))
    group.discard("a")
    group.discard("a")
    assert not waiting.done()
    group.discard("b")
    await waiting


@pytest.mark.parametrize("text", ["[" * 65 + "]" * 65, '{"a":' * 65 + "1" + "}" * 65])
def test_depth_counted_over_arrays_objects(text: str) -> None:
    """Depth is counted over arrays and objects."""
    value = orjson.loads(text)
    assert deeper_than(value, text, 64)
    assert not deeper_than(value, text, 65)


def test_brackets_in_strings() -> None:
    """Brackets in strings are no depth."""
    reader = Reader("llmcore")
    read = reader.read('{"type":"rpc","requestid":"a","intent":"intent_x","params":{"s":"' + "[{" * 100 + '"}}')
    assert read == Rpc("a", "x", {"s": "[{" * 100})


def test_refused_keeps_request_id() -> None:
    """What is refused keeps its request id."""
    read = Reader("llmcore", 3).read('{"type":"rpc","requestid":"a","intent":"x","params":{"s":[[1]]}}')
    assert isinstance(read, Refused)
    assert read.request_id == "a"


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """A self-signed certificate with its key in the same file."""
    path = tmp_path / "both.pem"
    command = (
        f"openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost -keyout {path} -out {tmp_path}/c.pem"
    )
    command += " -addext subjectAltName=IP:127.0.0.1"
    subprocess.run(command.split(), check=True, capture_output=True)
    path.write_bytes(path.read_bytes() + (tmp_path / "c.pem").read_bytes())
    return path


@pytest.mark.asyncio
async def test_tls_settings(certificate: Path) -> None:
    """TLS by settings."""
    async with serving(tls_cert=certificate) as stand:
        context = ssl.create_default_context(cafile=str(certificate))
        request = HTTPRequest(f"wss://127.0.0.1:{stand.port}/ws?token=ada", ssl_options=context)
        peer = Peer(await websocket_connect(request))
        stand.closing.push_async_callback(peer.close)
        for size in (10, 100_000, 900_000):
            assert (await peer.call("echo", {"x": "y" * size}))["data"] == {"x": "y" * size}


@pytest.mark.asyncio
async def test_missing_certificate(tmp_path: Path) -> None:
    """A missing certificate stops the start."""
    with pytest.raises(ExceptionGroup) as stopped:
        async with serving(tls_cert=tmp_path / "none.pem"):
            pass
    assert isinstance(stopped.value.exceptions[0], FileNotFoundError)
