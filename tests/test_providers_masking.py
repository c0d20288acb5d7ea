"""Names are replaced before a request leaves, and put back in the answer wherever its deltas are cut."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmcore.errors import ProviderError
from llmcore.ports import Finished, Message, ModelRequest, TextDelta
from llmcore.providers.masking import MaskedModel, Masker, Restorer
from llmcore.providers.scripted import Reply, ScriptedProvider

MASKER = Masker(b"secret", names=["alice", "Acme Corp", "db01", ""])
SECRETS = [
    "alice",
    "ALICE",
    "Acme Corp",
    "db01",
    "bob@mail.example.com",
    "10.20.30.40",
    "fe80::1ff:fe23:4567:890a",
    "node7.cluster.internal",
    "files.prod.eu.example.museum",
    "example.org",
]
PLAIN = [
    "main.py",
    "nginx.service",
    "/etc/systemd/a.b.conf",
    "/opt/x.y.zip",
    "12:30:45",
    "version 1.2.3",
    "999.1.2.3",
    "std::vector",
    "malice",
    "db012",
    "aa:bb:cc:dd:ee:ff",
]


@pytest.mark.parametrize("secret", SECRETS)
@pytest.mark.parametrize("frame", ["{}", "is {} up?", "https://{}/x", "({}), '{}'", "{}: ok"])
def test_names_are_replaced(secret: str, frame: str) -> None:
    """Alone, in a sentence, in an address, in quotes; the same name always alike."""
    table: dict[str, str] = {}
    masked = MASKER.mask(frame.replace("{}", secret), table)
    assert secret not in masked
    assert table == {next(iter(table)): secret}
    assert masked == frame.replace("{}", next(iter(table)))
    assert Restorer(table, json=False).feed(masked + "\n") == frame.replace("{}", secret) + "\n"


@pytest.mark.parametrize(("text", "secret"), [("net 2001:db8::/32 up", "2001:db8::"), ("db 10.0.0.1:5432", "10.0.0.1")])
def test_addresses_with_more_behind(text: str, secret: str) -> None:
    """The length of a network or a port stays."""
    table: dict[str, str] = {}
    masked = MASKER.mask(text, table)
    assert list(table.values()) == [secret]
    assert masked == text.replace(secret, next(iter(table)))


@pytest.mark.parametrize("text", PLAIN)
def test_other_words_stay(text: str) -> None:
    """Files, units, times, versions and longer words."""
    assert MASKER.mask(text, {}) == text


def test_placeholders_are_stable_and_keyed() -> None:
    """The same with the same key, for the vendor's cache; another key gives others."""
    assert Masker(b"a").mask("10.0.0.1", {}) == Masker(b"a").mask("10.0.0.1", {})
    assert Masker(b"a").mask("10.0.0.1", {}) != Masker(b"b").mask("10.0.0.1", {})


def test_the_schema_is_masked_too() -> None:
    """A planner puts host names into its enums; what is not for reading stays."""
    schema = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "pattern": "^a.b.com$",
        "properties": {"host": {"enum": ["db01", "web", 3]}, "pattern": {"const": "db01"}},
    }
    request, table = MASKER.mask_request(ModelRequest(messages=(), schema=schema))
    (placeholder,) = table
    assert request.schema == {
        **schema,
        "properties": {"host": {"enum": [placeholder, "web", 3]}, "pattern": {"const": placeholder}},
    }


@given(
    st.lists(st.one_of(st.sampled_from(SECRETS), st.sampled_from(PLAIN), st.text(max_size=8))),
    st.lists(st.integers(1, 9), min_size=1),
)
def test_any_cutting_restores_the_same(words: list[str], sizes: list[int]) -> None:
    """A placeholder may be cut anywhere between two deltas."""
    text = " ".join(words)
    table: dict[str, str] = {}
    masked = MASKER.mask(text, table)
    restorer = Restorer(table, json=False)
    found, at = "", 0
    while at < len(masked):
        size = sizes[at % len(sizes)]
        found += restorer.feed(masked[at : at + size])
        at += size
    assert found + restorer.rest() == text


@given(st.text(alphabet="adrhostnmeil0123456789", max_size=60), st.integers(1, 5))
def test_what_only_looks_like_a_placeholder_stays(text: str, size: int) -> None:
    """Nothing is lost or held for ever."""
    table: dict[str, str] = {}
    MASKER.mask("alice db01 10.0.0.1", table)
    restorer = Restorer(table, json=False)
    found = "".join(restorer.feed(text[at : at + size]) for at in range(0, len(text), size))
    assert found + restorer.rest() == text


def echo(request: ModelRequest) -> str:
    """What a model may do with a name: repeat it."""
    return request.messages[-1].content


async def said(model: MaskedModel, request: ModelRequest) -> str:
    """The reply."""
    return "".join([event.text async for event in model.stream(request) if isinstance(event, TextDelta)])


@pytest.mark.asyncio
@pytest.mark.parametrize("chunks", [1, 3, 17, 200])
async def test_a_vendor_never_sees_a_name(chunks: int) -> None:
    """And the person who asked sees nothing else."""
    inner = ScriptedProvider(script=lambda request: Reply(text=echo(request), chunks=chunks))
    model = MaskedModel(inner, MASKER)
    text = "Ping db01 (10.20.30.40) for alice at Acme Corp; host"
    request = ModelRequest(messages=(Message("system", "about db01"), Message("user", text)))
    assert await said(model, request) == text
    sent = " ".join(message.content for message in inner.requests[0].messages)
    assert not [secret for secret in SECRETS if secret in sent]
    assert (model.name, model.available) == ("scripted", True)


@pytest.mark.asyncio
async def test_names_in_json_are_escaped() -> None:
    """A reply that is JSON stays JSON."""
    masker = Masker(b"secret", names=['the "big" one\\'])
    inner = ScriptedProvider(script=lambda request: json.dumps({"a": request.messages[0].content.upper()}))
    request = ModelRequest(messages=(Message("user", 'the "big" one\\'),), schema={})
    assert json.loads(await said(MaskedModel(inner, masker), request)) == {"a": 'the "big" one\\'}


@pytest.mark.asyncio
async def test_the_end_and_a_failure_bring_what_was_held_back() -> None:
    """Text that may have become a placeholder is not lost."""
    inner = ScriptedProvider(
        script=[Reply(text="by host"), Reply(text="by host", unfinished=True), Reply(unfinished=True)]
    )
    model = MaskedModel(inner, MASKER)
    request = ModelRequest(messages=(Message("user", "node7.cluster.internal"),))
    first, second, end = [event async for event in model.stream(request)]
    assert (first, second) == (TextDelta("by "), TextDelta("host"))
    assert isinstance(end, Finished)
    for expected in ("by host", ""):
        text = ""
        with pytest.raises(ProviderError):  # noqa: PT012 - the text before the failure counts
            async for event in model.stream(request):
                text += event.text if isinstance(event, TextDelta) else "complete"
        assert text == expected
