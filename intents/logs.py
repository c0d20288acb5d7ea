"""Intents about log files: which there are, and their last lines. All of them only read.

Found by the catalogue through the entry point `logs`; asks the service `logs` of the host, which knows the files behind
the names. What a log says is data: it is handed on, never acted on.
"""

from typing import Annotated, Any

from pydantic import Field

from llmcore.intent import Context, Effect, intent


@intent(
    effect=Effect.READ,
    examples=[
        ("which logs are there?", {}),
        ("list logs", {}),
        ("what log files can I read", {}),
        ("show me the available logs", {}),
        ("list all the log files please", {}),
        ("what logs do you have access to?", {}),
        ("names of the logs", {}),
        ("logs?", {}),
        ("do we keep any logs here", {}),
        ("how big are the logs?", {}),
        ("which log was written last", {}),
    ],
)
async def list_logs(*, ctx: Context) -> dict[str, Any]:
    """List the logs that can be read, with their size and when they were last written."""
    return {"logs": await ctx.services["logs"].list()}


@intent(
    effect=Effect.READ,
    vocabulary={"name": "logs"},
    examples=[
        ("show the nginx log", {"name": "nginx"}),
        ("last 50 lines of syslog", {"name": "syslog", "lines": 50}),
        ("any errors in the app log?", {"name": "app", "contains": "error"}),
        ("tail -n 20 auth", {"name": "auth", "lines": 20}),
        ("grep timeout in the gateway log", {"name": "gateway", "contains": "timeout"}),
        ("what does the postgres log say", {"name": "postgres"}),
        ("read log cron", {"name": "cron"}),
        (
            "give me the last 200 lines of the access log that mention 404",
            {"name": "access", "lines": 200, "contains": "404"},
        ),
        ('search the worker log for "out of memory"', {"name": "worker", "contains": "out of memory"}),
        ("show me the tail of kernel", {"name": "kernel"}),
        ("please print the newest ten lines from the backup log", {"name": "backup", "lines": 10}),
        ("did anything mention disk full in syslog lately?", {"name": "syslog", "contains": "disk full"}),
        ("what's in the log called mail", {"name": "mail"}),
        (
            "find 'connection refused' in redis log, 30 lines",
            {"name": "redis", "lines": 30, "contains": "connection refused"},
        ),
    ],
)
async def read_log(
    name: Annotated[str, "name of the log, as listed by list_logs", Field(min_length=1, max_length=255)],
    lines: Annotated[int, "how many lines, counted from the end", Field(ge=1, le=10_000)] = 100,
    contains: Annotated[
        str | None, "only lines with this text, upper and lower case alike", Field(min_length=1, max_length=1000)
    ] = None,
    *,
    ctx: Context,
) -> dict[str, Any]:
    """Read the last lines of a log, or only those that contain a text."""
    return dict(await ctx.services["logs"].read(name, lines=lines, contains=contains))
