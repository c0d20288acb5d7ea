"""The sockets under the SDKs' connection pool: reading, back-pressure, TLS, everything that can break."""

import asyncio
import ssl
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import httpcore2
import pytest
from pydantic import SecretStr

from llmcore.ports import Message, ModelRequest, TextDelta
from llmcore.provider import ProviderOptions
from llmcore.provider.network import HIGH_WATER, Network, Stream, direct_transport
from llmcore.providers.anthropic import AnthropicProvider
from llmcore.providers.openai import LocalProvider, OpenAIProvider
from tests.vendor_server import Answer, VendorServer

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def peer(handler: Handler, tls: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    """A server that does what `handler` says; its port."""
    async with asyncio.TaskGroup() as group:
        serving: set[asyncio.Task[None]] = set()

        async def handled(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            try:
                await handler(reader, writer)
            except ConnectionError:
                pass
            finally:
                writer.close()

        def accepted(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            serving.add(group.create_task(handled(reader, writer)))

        server = await asyncio.start_server(accepted, "127.0.0.1", 0, ssl=tls)
        async with server:
            yield server.sockets[0].getsockname()[1]
            await asyncio.gather(*serving)


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Say everything again."""
    while data := await reader.read(1000):
        writer.write(data)


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """A self-signed certificate for loopback, with its key in the same file."""
    key, cert = tmp_path / "key.pem", tmp_path / "cert.pem"
    command = f"openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost -keyout {key} -out {cert}"
    subprocess.run([*command.split(), "-addext", "subjectAltName=IP:127.0.0.1"], check=True, capture_output=True)
    cert.write_bytes(key.read_bytes() + cert.read_bytes())
    return cert


@pytest.mark.asyncio
async def test_reading_and_writing() -> None:
    """Until we close, after which the other side knows."""
    gone = asyncio.Event()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await echo(reader, writer)
        gone.set()

    async with peer(talk) as port:
        stream = await Network().connect_tcp("127.0.0.1", port, timeout=5, local_address=None)
        for text in (b"one", b"two"):
            await stream.write(text)
            assert await stream.read(1 << 16) == text
        assert stream.get_extra_info("is_readable") is False
        assert stream.get_extra_info("ssl_object") is None
        assert stream.get_extra_info("peername") == ("127.0.0.1", port)
        await stream.aclose()
        await gone.wait()


@pytest.mark.asyncio
async def test_the_other_side_ends() -> None:
    """What it sent before can still be read; then there is nothing more, and nothing can be sent."""

    async def speak(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"last words")

    async with peer(speak) as port:
        stream = await Network().connect_tcp("127.0.0.1", port)
        assert await stream.read(1) == b"last words"
        assert await stream.read(1) == b""
        assert stream.get_extra_info("is_readable") is True
        with pytest.raises(httpcore2.WriteError):
            await stream.write(b"too late")
        await stream.aclose()


async def to_the_end(stream: Stream) -> int:
    """How many bytes came."""
    got = 0
    while data := await stream.read(1):
        got += len(data)
    return got


@pytest.mark.asyncio
async def test_a_broken_connection() -> None:
    """Is httpcore's error, also for who has been waiting."""

    async def abort(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(b"x" * (1 << 22))  # not all is read by us, so that closing resets
        sock = writer.get_extra_info("socket")
        sock.setsockopt(1, 13, b"\x01\x00\x00\x00\x00\x00\x00\x00")  # SO_LINGER 0: reset instead of an orderly end
        writer.transport.abort()

    async with peer(abort) as port:
        stream = await Network().connect_tcp("127.0.0.1", port)
        await stream.write(b"go")
        with pytest.raises(httpcore2.ReadError):
            await to_the_end(stream)
        await stream.aclose()


@pytest.mark.asyncio
async def test_waiting_for_a_read_can_be_cancelled() -> None:
    """And the stream read again."""
    async with peer(echo) as port:
        stream = await Network().connect_tcp("127.0.0.1", port)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(stream.read(1), 0.01)
        await stream.write(b"after all")
        assert await stream.read(1) == b"after all"
        await stream.aclose()


@pytest.mark.asyncio
async def test_a_reader_that_is_slow_stops_the_sender() -> None:
    """Memory stays bounded; nothing is lost."""
    total = HIGH_WATER * 64
    sent = 0

    async def flood(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        while sent < total:
            writer.write(b"x" * (1 << 16))
            sent += 1 << 16
            await writer.drain()

    async with peer(flood) as port:
        stream = await Network().connect_tcp("127.0.0.1", port)
        await asyncio.sleep(0.3)
        assert sent < total
        assert await to_the_end(stream) == total
        await stream.aclose()


@pytest.mark.asyncio
async def test_nobody_there() -> None:
    """Refused, unknown, and no answer in time."""
    async with peer(echo) as port:
        pass
    with pytest.raises(httpcore2.ConnectError):
        await Network().connect_tcp("127.0.0.1", port)
    with pytest.raises(httpcore2.ConnectError):
        await Network().connect_tcp("vendor.invalid", 443)


async def tls_over(port: int, trusted: Path | None, limit_s: float = 5) -> Stream:
    """An encrypted connection."""
    context = await asyncio.to_thread(ssl.create_default_context, cafile=trusted)
    plain = await Network().connect_tcp("127.0.0.1", port)
    return await plain.start_tls(context, server_hostname="127.0.0.1", timeout=limit_s)


@pytest.mark.asyncio
async def test_tls(certificate: Path) -> None:
    """The certificate is checked."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    async with peer(echo, context) as port:
        stream = await tls_over(port, certificate)
        await stream.write(b"secret")
        assert await stream.read(1) == b"secret"
        assert stream.get_extra_info("ssl_object").version().startswith("TLS")
        await stream.aclose()
        with pytest.raises(httpcore2.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
            await tls_over(port, None)


@pytest.mark.asyncio
async def test_a_handshake_that_hangs() -> None:
    """Is given up."""

    async def swallow(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        await reader.read()

    async with peer(swallow) as port:
        with pytest.raises(httpcore2.ConnectTimeout):
            await tls_over(port, None, 0.05)


def test_the_pool_goes_this_way() -> None:
    """If httpx2 renames what we set, this fails and everything else goes on, slower."""
    pool = direct_transport()._pool
    assert isinstance(pool._network_backend, Network)


@pytest.mark.parametrize(
    ("url", "proxy", "direct"),
    [
        ("https://api.openai.com/v1", None, True),
        ("https://api.openai.com/v1", "http://proxy.internal:3128", False),
        ("http://127.0.0.1:11434/v1", "http://proxy.internal:3128", True),
    ],
)
def test_proxies(url: str, proxy: str | None, direct: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where one is set it is asked, by the SDK's own transport; never for this machine."""
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    if proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy)
    provider = OpenAIProvider(ProviderOptions(model="m", base_url=url, api_key=SecretStr("k")))
    assert ("transport" in provider.http_options()) is direct


@pytest.mark.asyncio
@pytest.mark.parametrize("vendor", [LocalProvider, AnthropicProvider])
async def test_a_compressed_answer(vendor: type[LocalProvider | AnthropicProvider]) -> None:
    """Some gateways compress; the text is the same."""
    async with VendorServer(Answer("one two three", gzip=True)) as server:
        url = server.url if vendor is AnthropicProvider else server.openai_url
        provider = vendor(ProviderOptions(model="m", base_url=url, api_key=SecretStr("k")))
        events = provider.stream(ModelRequest(messages=(Message("user", "x"),)))
        assert "".join([event.text async for event in events if isinstance(event, TextDelta)]) == "one two three"
        await provider.aclose()
