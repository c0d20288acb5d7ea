"""What may reach a terminal: text without control sequences, JSON, aligned tables, colour where it is wanted.

Used by every command. Whatever comes from models, logs, tools or other people passes `sanitize` on its way out.
"""

import json
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rich.cells import cell_len

_SEQUENCES = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]"  # CSI: colours, cursor
    r"|(?:\x1b[\]PX^_]|[\x90\x98\x9d-\x9f])[^\x07\x1b\x80-\x9f]*(?:\x07|\x1b\\|\x9c)"  # OSC, DCS and the like
    r"|\x1b[ -/]*[0-~]?"  # two characters, or a lone escape
)
_UNSEEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f"  # C0 without tab and newline, DEL, C1
    "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"  # what turns the direction of writing
    "\u2028\u2029\ufeff\U000e0000-\U000e007f\ud800-\udfff]"  # line breaks nobody sees, tags, lone surrogates
)
_HIDDEN = re.compile(
    "[\x00-\x1f\x7f-\x9f\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180e\u200b-\u200f\u2028-\u202e"
    "\u2060-\u206f\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff9-\ufffb\U000e0000-\U000e0fff\ud800-\udfff]"
)
"""What is not seen on a terminal, or does something to it."""
_BEGUN = re.compile(
    r"(?:\x1b[ -/]*|(?:\x1b\[|\x9b)[0-?]{0,255}[ -/]{0,255}"
    r"|(?:\x1b[\]PX^_]|[\x90\x98\x9d-\x9f])[^\x07\x1b\x80-\x9f]{0,255}\x1b?)\Z"
)
"""The beginning of a sequence at the end of a text."""


def sanitize(text: str) -> str:
    """The text without escape sequences, control characters and direction marks; newlines and tabs stay."""
    return _UNSEEN.sub("", _SEQUENCES.sub("", text.replace("\r\n", "\n")))


def one_line(text: str, limit: int = 200) -> str:
    """The text on one line, cut to `limit` characters."""
    line = " ".join(sanitize(text).split())
    return line if len(line) <= limit else line[: limit - 1] + "…"


class Sanitizer:
    """The same for text that comes in pieces: a sequence cut in two is taken out all the same."""

    def __init__(self) -> None:
        """Start with nothing held back."""
        self._held = ""

    def feed(self, piece: str) -> str:
        """What can be shown now."""
        text = self._held + piece
        begun = _BEGUN.search(text)
        cut = begun.start() if begun else len(text)
        self._held = text[cut:]
        return sanitize(text[:cut])

    def flush(self) -> str:
        """What was held back because it looked like the beginning of a sequence."""
        text, self._held = self._held, ""
        return sanitize(text)


def print_json(value: Any) -> None:
    """One line of JSON on stdout; everything that is not ASCII is escaped."""
    print(json.dumps(value, default=str))


def table(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """Aligned columns under their names; every cell on one line."""
    cells = [[one_line(name) for name in columns], *([_cell(value) for value in row] for row in rows)]
    widths = [max(cell_len(row[index]) for row in cells) for index in range(len(columns))]
    lines = [
        "  ".join(cell + " " * (width - cell_len(cell)) for cell, width in zip(row, widths, strict=True))
        for row in cells
    ]
    return "\n".join(line.rstrip() for line in lines)


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.4g}" if abs(value) < 1e6 else f"{value:.0f}"
    return one_line(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str), 80)


def visible(text: str) -> str:
    """The whole text on one line: what a terminal would obey or hide is written as an escape, nothing is left out."""
    return _HIDDEN.sub(lambda found: f"\\u{ord(found.group()):04x}", text)


def json_text(value: Any) -> str:
    """A value as JSON with its keys in order, on one line, whole, everything visible."""
    return visible(json.dumps(value, ensure_ascii=False, sort_keys=True, default=str))


def params_text(params: Mapping[str, Any]) -> str:
    """All params as `name=JSON` in order, on one line, whole, everything visible."""
    return " ".join(f"{visible(name)}={json_text(params[name])}" for name in sorted(params))


def is_terminal() -> bool:
    """True if stdout is one that a person looks at."""
    return sys.stdout.isatty()
