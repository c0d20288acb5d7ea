"""Starts and stops one process: builds everything from the settings, serves, stops in reverse order.

Called by `llmcore serve`. Holds no rules of its own.
"""

import asyncio
import logging
import signal
import sys

from llmcore.app.build import Built, House, build
from llmcore.app.options import secrets
from llmcore.app.upkeep import clean_daily, recover_often, watch_disk, watch_orders
from llmcore.catalog import CatalogError
from llmcore.errors import LLMCoreError
from llmcore.events import data_event
from llmcore.policy import PolicyError
from llmcore.provider import Misconfigured
from llmcore.redaction import Redactor
from llmcore.settings import Settings, SettingsError

__all__ = ["Built", "build", "serve"]

log = logging.getLogger(__name__)

RESTART_S = 1.0
"""Pause before a listener that failed listens again."""
SETTINGS = (CatalogError, Misconfigured, PolicyError, SettingsError)
"""What a person has to correct before the next start."""
GRACE_S = 5.0
"""How long running work may take to end once the process is told to stop."""


def serve(settings: Settings) -> int:
    """Serve until SIGTERM or SIGINT; returns the exit code, 2 for wrong settings. Errors are one line on stderr."""
    _log_to_stderr(settings)
    problems: list[str] = []
    wrong_settings = False
    try:
        asyncio.run(_run(settings))
    except* LLMCoreError as refused:
        problems += map(str, refused.exceptions)
        wrong_settings = refused.split(SETTINGS)[1] is None
    except* OSError as refused:
        problems += [f"{settings.server.host}:{settings.server.port}: {error}" for error in refused.exceptions]
    for problem in problems:
        print(f"llmcore: {problem}", file=sys.stderr)
    if wrong_settings:
        return 2
    return 1 if problems else 0


def _log_to_stderr(settings: Settings) -> None:
    """Whatever any library logs, at any level, leaves without secrets."""
    for library in ("alembic", "httpx2", "httpcore2"):  # they tell every migration and every request at INFO
        logging.getLogger(library).setLevel(logging.WARNING)
    logging.basicConfig(level=settings.log.level.upper(), format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    redactor = Redactor(secrets(settings))
    for handler in logging.getLogger().handlers:
        handler.addFilter(redactor)


async def _run(settings: Settings) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with asyncio.TaskGroup() as tasks:
        built = await build(settings, tasks)
        try:
            await built.house.begin()
            port = await built.server.start()
            channel = f"{settings.bus.prefix}alerts"
            background = [
                tasks.create_task(_stats(built, settings.stats.interval_s), name="stats"),
                tasks.create_task(_alerts(built.house, channel), name="alerts"),
            ]
            _announce(settings, built, port)
            background.append(tasks.create_task(built.house.warm(), name="warm"))
            background.append(tasks.create_task(recover_often(built.house), name="recover"))
            background.append(tasks.create_task(watch_orders(built.house), name="orders"))
            background.append(tasks.create_task(built.house.base.standing.watch(), name="rules"))
            background.append(tasks.create_task(watch_disk(built.house), name="disk"))
            background.append(tasks.create_task(clean_daily(built.house), name="upkeep"))
            await stop.wait()
            for task in background:
                task.cancel()
        finally:
            await built.stop(GRACE_S)


def _announce(settings: Settings, built: Built, port: int) -> None:
    scheme = "https" if settings.server.tls.cert else "http"
    host = f"[{settings.server.host}]" if ":" in settings.server.host else settings.server.host
    url = f"{scheme}://{host}:{port}"
    if built.made_password is not None:
        print(f"User administrator was made with the password {built.made_password} (shown only now).")
    if settings.llm.notice:
        print(settings.llm.notice)
    elif settings.llm.provider == "offline":
        print("No model is asked; LLMCORE_LLM__PROVIDER=local with LLMCORE_LLM__BASE_URL (or a vendor) adds one.")
    print(f"Open {url}/ in a browser, or try: llmcore login --url {url}")
    print(f"llmcore ready on {url}", flush=True)


async def _alerts(house: House, channel: str) -> None:
    """Hear alerts for ever: no frame of anybody may end the process."""
    while True:
        try:
            await house.alerts.listen(house.bus.subscribe(channel))
        except Exception:
            log.exception("an alert could not be taken", extra={"action": "alerts"})
        await asyncio.sleep(RESTART_S)


async def _stats(built: Built, interval_s: float) -> None:
    """Real host statistics on `/stats`."""
    base = built.house.base
    while True:
        try:
            snapshot = await built.stats()
            base.topics.broadcast("/stats", data_event("/stats", snapshot, int(base.clock.now() * 1000)))
        except Exception:  # whatever the machine's counters do, chats go on
            log.exception("statistics could not be read", extra={"action": "stats"})
        await asyncio.sleep(interval_s)
