"""Exit codes, and how an error becomes one.

Used by every command.
"""

import sys
from enum import IntEnum

from llmcore.cli.terminal import print_json, sanitize
from llmcore.errors import LLMCoreError


class Exit(IntEnum):
    """What the shell is told."""

    DONE = 0
    FAILED = 1
    USAGE = 2
    REFUSED = 3
    """By policy or a boundary."""
    WAITS = 4
    """For a person's approval."""
    NOT_UNDERSTOOD = 5
    UNREACHABLE = 6


class Unreachable(LLMCoreError):
    """The server does not answer."""

    code = "unreachable"


class Usage(LLMCoreError):
    """The command was called in a way that makes no sense."""

    code = "usage"


_BY_CODE = {
    "bad_catalog": Exit.USAGE,
    "bad_params": Exit.USAGE,
    "bad_policy": Exit.USAGE,
    "bad_request": Exit.USAGE,
    "bad_settings": Exit.USAGE,
    "usage": Exit.USAGE,
    "unknown_intent": Exit.USAGE,
    "forbidden": Exit.REFUSED,
    "approval_required": Exit.WAITS,
    "unreachable": Exit.UNREACHABLE,
}


def exit_of(code: str) -> Exit:
    """The exit code for an error code of the wire."""
    return _BY_CODE.get(code, Exit.FAILED)


def report(error: LLMCoreError, *, as_json: bool) -> Exit:
    """Say what went wrong on stderr, with `--json` its data on stdout; returns the exit code."""
    data = error.data()
    if as_json:
        print_json({**data, "message": error.message})
    print(f"llmcore: {sanitize(error.message)}", file=sys.stderr)
    for field in data.get("fields", ()):
        print(f"  {sanitize(str(field.get('pointer')))}: {sanitize(str(field.get('message')))}", file=sys.stderr)
    return exit_of(data["error"])
