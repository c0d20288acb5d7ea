"""`llmcore serve`.

Called by `main`.
"""

from argparse import Namespace

from llmcore.app import serve as run_server
from llmcore.cli.local import settings_for


def serve(args: Namespace) -> int:
    """Run the server until it is told to stop; SettingsError where it cannot start."""
    settings = settings_for(args, {"server.host": args.host, "server.port": args.port})
    return run_server(settings)
