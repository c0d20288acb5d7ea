"""Finds the thing that a person meant among the names the settings give.

Used by the services for logs, targets and bots. Must not know what the names stand for.
"""

import difflib
from collections.abc import Collection

from llmcore.errors import NotFound


def pick(name: str, known: Collection[str], what: str) -> str:
    """The known name: as written, else the only one that differs in upper and lower case alone; NotFound otherwise."""
    if name in known:
        return name
    folded = [one for one in known if one.casefold() == name.casefold()]
    if len(folded) == 1:
        return folded[0]
    near = difflib.get_close_matches(name, known, n=3, cutoff=0.6)
    if near:
        hint = f"Did you mean {' or '.join(near)}?"
    elif known:
        hint = f"Known: {', '.join(sorted(known)[:20])}."
    else:
        hint = f"The settings name no {what} yet."
    raise NotFound(f"There is no {what} {name!r}. {hint}", name=name, nearest=near)
