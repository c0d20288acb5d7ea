"""The command `llmcore`: reads its arguments, then imports the one module that does the work.

Called by the installed script and by `python -m llmcore`. Imports nothing of ours at the top but the arguments, so that
`--help` and `--version` answer at once.
"""

import os
import sys
from collections.abc import Sequence
from importlib import import_module

from llmcore import __version__
from llmcore.cli.arguments import parser
from llmcore.errors import LLMCoreError


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code (see `exits.Exit`); argparse itself leaves with 0 or 2."""
    args = parser(__version__).parse_args(argv)
    module, _, function = args.handler.partition(":")
    try:
        return int(getattr(import_module(f"llmcore.cli.{module}"), function)(args))
    except LLMCoreError as error:
        return int(import_module("llmcore.cli.exits").report(error, as_json=args.json))
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # the reader of a pipe has seen enough; nothing more may be flushed into it
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        print(f"llmcore: {error.filename or args.handler}: {error.strerror}", file=sys.stderr)
        return 1
