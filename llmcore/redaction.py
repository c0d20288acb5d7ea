"""Take secrets out of text and JSON values.

Used wherever something is written down or shown: audit, logs, answers, what goes to a model. Knows the common shapes of
secrets and the exact ones it was told; knows nothing of where they come from.
"""

import logging
import re
from collections.abc import Iterable, Mapping
from typing import Any

MASK = "[redacted]"
SHORTEST_EXACT = 4
"""Exact secrets shorter than this would hide innocent text and are not searched for."""

_NAME = r"(?:passw(?:or)?d|pwd|secret|token|api[_-]?key|(?:access|private|secret)[_-]?key|credentials?)"
_NAMED = re.compile(
    rf"""(?isx)
    (?P<name> {_NAME} \\*["']? \s* (?:=>|[:=](?!>)) \s* )
    (?: (?P<quote>\\*["']) (?:\\.|[^\\])*? (?:(?P=quote) | \Z) | (?!{re.escape(MASK)}) [^\s,;&"'}})\]]+ )
    """
)
_SECRET_KEY = re.compile(rf"(?i){_NAME}$")
_SHAPES: tuple[tuple[tuple[str, ...], re.Pattern[str]], ...] = tuple(
    (markers, re.compile(shape, re.DOTALL))
    for markers, shape in (
        (("private key-----",), r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)"),
        (("sk-",), r"\bsk-[A-Za-z0-9_-]{16,}"),  # OpenAI, Anthropic
        (("akia", "asia"), r"\b(?:AKIA|ASIA)[A-Z0-9]{16}\b"),  # AWS
        (("gh",), r"\b(?:gh[pousr]_[A-Za-z0-9]{20,}|github_pat_\w{20,})"),
        (
            ("glpat-", "xox", "aiza"),
            r"\b(?:glpat-[\w-]{20,}|xox[abposr]-[\w-]{10,}|AIza[\w-]{35})",
        ),  # GitLab, Slack, Google
        ((":aa",), r"\b\d{6,12}:AA[\w-]{30,}"),  # Telegram bot
        (("eyj",), r"\beyJ[\w-]{8,}\.eyJ[\w-]{8,}\.[\w-]{8,}"),  # JSON Web Token
        (("bearer ", "basic "), r"(?i)(?:(?<=\bbearer )[\w.~+/=-]{8,}|(?<=\bbasic )[a-z0-9+/]{12,}={0,2})"),
        (("://",), r"(?<=://)[^\s/:@]*:[^\s/@]+(?=@)"),  # user:password@ in a URL
    )
)
"""Patterns, each with words of which one is in the lower-cased text if the pattern is; most lines have none."""
_NAMED_MARKERS = ("passw", "pwd", "secret", "token", "key", "credential")
_ANY_MARKER = re.compile("|".join(re.escape(word) for words, _ in (*_SHAPES, (_NAMED_MARKERS, "")) for word in words))
"""One look tells of most texts that they hold nothing to mask."""
_KNOWN_KEYS = 2_000


class Redactor:
    """Finds and masks secrets; make one for all, tell it each configured secret."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        """`secrets` are exact values to hide wherever they occur."""
        self._exact: re.Pattern[str] | None = None
        self._secrets: set[str] = set()
        self._keys: dict[str, tuple[str, bool]] = {}
        """Keys of objects, which are few -> how they are shown, and whether they name a secret."""
        self.add(*secrets)

    def add(self, *secrets: str) -> None:
        """Hide these exact values too from now on."""
        self._secrets.update(secret for secret in secrets if len(secret) >= SHORTEST_EXACT)
        self._keys.clear()
        if self._secrets:
            longest_first = sorted(self._secrets, key=len, reverse=True)
            self._exact = re.compile("|".join(map(re.escape, longest_first)))

    def exact(self, value: Any) -> Any:
        """A JSON value in which only the exact secrets are masked: for data that has to stay as it is otherwise."""
        if self._exact is None:
            return value
        if isinstance(value, str):
            return self._exact.sub(MASK, value)
        if isinstance(value, Mapping):
            return {self.exact(key): self.exact(inner) for key, inner in value.items()}
        if isinstance(value, list | tuple):
            return [self.exact(inner) for inner in value]
        return value

    def text(self, text: str) -> str:
        """The text with every secret masked."""
        if self._exact:
            text = self._exact.sub(MASK, text)
        lowered = text.lower()
        if not _ANY_MARKER.search(lowered):
            return text
        for markers, shape in _SHAPES:
            if any(marker in lowered for marker in markers):
                text = shape.sub(MASK, text)
        if any(marker in lowered for marker in _NAMED_MARKERS):
            text = _NAMED.sub(rf"\g<name>\g<quote>{MASK}\g<quote>", text)
        return text

    def value(self, value: Any) -> Any:
        """A JSON value with every secret masked, in keys too; whatever is under a key that names a secret is masked."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, Mapping):
            masked: dict[str, Any] = {}
            for key, inner in value.items():
                shown, secret = self._key(str(key))
                masked[shown] = MASK if secret and isinstance(inner, str) and inner else self.value(inner)
            return masked
        if isinstance(value, list | tuple | set | frozenset):
            return [self.value(inner) for inner in value]
        return value

    def _key(self, key: str) -> tuple[str, bool]:
        known = self._keys.get(key)
        if known is None:
            known = self.text(key), _SECRET_KEY.search(key) is not None
            if len(self._keys) < _KNOWN_KEYS:
                self._keys[key] = known
        return known

    def filter(self, record: logging.LogRecord) -> bool:
        """A filter for log handlers: masks the message and the text of an exception; keeps every record."""
        record.msg, record.args = self.text(record.getMessage()), None
        if record.exc_info and not record.exc_text:
            record.exc_text = logging.Formatter().formatException(record.exc_info)
        if record.exc_text:
            record.exc_text = self.text(record.exc_text)
        return True
