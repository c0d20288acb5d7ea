"""Which queue hands out the segments of runs.

Used by `app.build`.
"""

import asyncio
from importlib.util import find_spec

from llmcore.adapters.local import LocalQueue
from llmcore.app import options
from llmcore.ports import Queue, Store
from llmcore.settings import Settings, SettingsError


def queue_of(settings: Settings, store: Store, tasks: asyncio.TaskGroup, node: str) -> Queue:
    """The queue that the settings ask for; raises SettingsError where it cannot be used."""
    local = LocalQueue(store, tasks, node)
    kind = settings.queue.kind
    shared = options.store_url(settings).startswith("postgres")
    installed = find_spec("procrastinate") is not None
    if kind == "local" or (kind == "auto" and not (shared and installed)):
        return local
    if not shared:
        raise SettingsError("queue.kind: procrastinate needs a store in PostgreSQL; set LLMCORE_STORE__URL to one.")
    if not installed:
        raise SettingsError("queue.kind: procrastinate is not installed; install cloudisense-llmcore[cluster].")
    from llmcore.adapters.procrastinate import ProcrastinateQueue  # loaded only where it is used: it takes a while

    return ProcrastinateQueue(options.store_url(settings), local, tasks, node, lease_s=settings.node.lease_s)
