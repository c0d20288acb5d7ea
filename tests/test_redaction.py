"""Secrets are masked, innocent text is left alone."""

import io
import logging

import pytest

from llmcore.redaction import MASK, Redactor

KEY = "-----BEGIN RSA PRIVATE KEY-----\nMIIE\nabc\n"


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("key sk-abcdefghijklmnop1234.", f"key {MASK}."),
        ("sk-ant-api03-abcdefghijklmnop", MASK),
        ("id AKIAIOSFODNN7EXAMPLE end", f"id {MASK} end"),
        ("ghp_abcdefghijklmnopqrstuvwxyz0123", MASK),
        ("github_pat_abcdefghijklmnopqrstuvwxyz", MASK),
        ("glpat-abcdefghijklmnopqrst xoxb-1234567890-abc", f"{MASK} {MASK}"),
        ("bot 123456789:AAabcdefghijklmnopqrstuvwxyz-01234567", f"bot {MASK}"),
        ("jwt eyJhbGciOiJI.eyJzdWIiOiIx.c2lnbmF0dXJl", f"jwt {MASK}"),
        ("Authorization: Bearer abc.def-ghi", f"Authorization: Bearer {MASK}"),
        ("authorization: basic dXNlcjpwYXNzd29yZA==", f"authorization: basic {MASK}"),
        ("postgres://anna:pw@db/x and http://:pw@h", f"postgres://{MASK}@db/x and http://{MASK}@h"),
        (f"a {KEY}-----END RSA PRIVATE KEY----- b", f"a {MASK} b"),
        (f"cut {KEY}", f"cut {MASK}"),
        ("password=hunter2", f"password={MASK}"),
        ("DB_PASSWORD: hunter2, next", f"DB_PASSWORD: {MASK}, next"),
        ("?token=abc&x=1", f"?token={MASK}&x=1"),
        ('{"api_key": "a\\"b", "x": 1}', f'{{"api_key": "{MASK}", "x": 1}}'),
        (r'{"body": "{\"secret\": \"abc\"}"}', rf'{{"body": "{{\"secret\": \"{MASK}\"}}"}}'),
        ("pwd = 'two words' end", f"pwd = '{MASK}' end"),
        ('passwd: "never closed', f'passwd: "{MASK}"'),
        ("secret => abc", f"secret => {MASK}"),
    ],
)
def test_secret_of_a_known_shape_is_masked(text: str, masked: str) -> None:
    """And only that; twice is as once."""
    assert Redactor().text(text) == masked
    assert Redactor().text(masked) == masked


@pytest.mark.parametrize(
    "text",
    [
        "nginx restarted in 320 ms",
        "input_tokens: 12, max_tokens=200",
        "the password is wrong; secretary: Bob",
        "task-sk-1 at http://host:8000/x@y, anna@host",
        "risk-management sk-short",
        "sha256:0123456789abcdef key k1",
        "12:34:56:AA",
    ],
)
def test_innocent_text_is_left_alone(text: str) -> None:
    """A log stays readable."""
    assert Redactor().text(text) == text


def test_exact_secrets_are_masked_wherever_they_are() -> None:
    """The longest first; short ones are not looked for."""
    redactor = Redactor(["s3cret", "s3cret-long", "abc", ""])
    redactor.add("a+b*c")
    assert redactor.text("xs3cret-longx s3cret abc a+b*c") == f"x{MASK}x {MASK} abc {MASK}"


def test_value_is_searched_through_and_through() -> None:
    """Keys, lists and tuples; what is under the key of a secret; other types stay."""
    redactor = Redactor(["s3cret"])
    value = {"password": "x", "empty_token": "", "pin": 1, "s3cret": [("s3cret", {"a": None, "b": 1.5, 3: True})]}
    expected = {"password": MASK, "empty_token": "", "pin": 1, MASK: [[MASK, {"a": None, "b": 1.5, "3": True}]]}
    assert redactor.value(value) == expected
    assert redactor.value({"tokens": {"x"}}) == {"tokens": ["x"]}


def test_log_records_are_masked() -> None:
    """Arguments and tracebacks too, formatted already or not; nothing is dropped."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.addFilter(Redactor(["s3cret"]).filter)
    error = ValueError("s3cret")
    record = logging.LogRecord("x", logging.WARNING, "file", 1, "got %s", ("s3cret",), (ValueError, error, None))
    assert handler.handle(record)
    assert handler.handle(record)
    assert handler.handle(logging.LogRecord("x", logging.WARNING, "file", 1, "s3cret", None, None))
    assert stream.getvalue() == f"got {MASK}\nValueError: {MASK}\n" * 2 + f"{MASK}\n"


def test_only_exact_secrets_are_masked_where_data_has_to_stay_as_it_is() -> None:
    """What merely looks like a secret is left alone."""
    value = {"password": "x1", "of s3cret": ("s3cret!", 3, None), "n": [True]}
    assert Redactor().exact(value) is value
    assert Redactor(["s3cret"]).exact(value) == {"password": "x1", f"of {MASK}": [f"{MASK}!", 3, None], "n": [True]}
