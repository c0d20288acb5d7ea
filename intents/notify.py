"""Intents that tell somebody something: webhooks over HTTP and Telegram messages.

Found by the catalogue through the entry point `notify`; asks the service `notify` of the host, which knows the bots and
which hosts may be called. No token ever stands in params. What was sent cannot be taken back, so there is no undo.
"""

from typing import Annotated, Any

from pydantic import Field, WithJsonSchema

from llmcore.intent import Context, Effect, Preview, intent

HTTP_SCHEMA = {
    "type": "object",
    "properties": {
        "webhook": {
            "type": "array",
            "items": {"type": "string", "pattern": "^[Hh][Tt][Tt][Pp][Ss]?://", "maxLength": 2048},
            "minItems": 1,
            "maxItems": 20,
            "description": "addresses to call, each http:// or https://",
        },
        "method": {"enum": ["GET", "POST", "PUT"], "description": "POST to send a message"},
    },
    "required": ["webhook", "method"],
    "additionalProperties": False,
}


async def _preview_http(http: dict[str, Any], message: str = "", *, ctx: Context) -> Preview:
    targets = tuple(ctx.services["notify"].check(http["webhook"]))
    return Preview(targets=targets, after={"method": http["method"], "message": message}, blast=len(targets))


async def _preview_telegram(
    message: str, chat_id: list[str] | None = None, bot: str | None = None, *, ctx: Context
) -> Preview:
    name, chats = ctx.services["notify"].recipients(chat_id, bot)
    targets = tuple(f"{name}:{chat}" for chat in chats)
    return Preview(targets=targets, after={"message": message}, blast=len(targets))


@intent(
    effect=Effect.WRITE,
    preview=_preview_http,
    examples=[
        (
            "post 'deploy finished' to https://hooks.example.com/ops",
            {"http": {"webhook": ["https://hooks.example.com/ops"], "method": "POST"}, "message": "deploy finished"},
        ),
        (
            "call the webhook https://ci.example.com/trigger",
            {"http": {"webhook": ["https://ci.example.com/trigger"], "method": "POST"}},
        ),
        (
            "send a GET to https://status.example.com/ping",
            {"http": {"webhook": ["https://status.example.com/ping"], "method": "GET"}},
        ),
        (
            'notify https://chat.example.com/hooks/abc with "disk almost full"',
            {
                "http": {"webhook": ["https://chat.example.com/hooks/abc"], "method": "POST"},
                "message": "disk almost full",
            },
        ),
        (
            "tell https://a.example.com/in and https://b.example.com/in that maintenance starts at 22:00",
            {
                "http": {"webhook": ["https://a.example.com/in", "https://b.example.com/in"], "method": "POST"},
                "message": "maintenance starts at 22:00",
            },
        ),
        (
            "PUT 'green' to http://board.example.com:8080/light",
            {"http": {"webhook": ["http://board.example.com:8080/light"], "method": "PUT"}, "message": "green"},
        ),
        (
            "please trigger this webhook: https://build.example.com/run/42",
            {"http": {"webhook": ["https://build.example.com/run/42"], "method": "POST"}},
        ),
        (
            "hit https://cron.example.com/heartbeat with a GET request",
            {"http": {"webhook": ["https://cron.example.com/heartbeat"], "method": "GET"}},
        ),
        (
            "webhook https://hooks.example.net/T01/B02 message: backup done",
            {"http": {"webhook": ["https://hooks.example.net/T01/B02"], "method": "POST"}, "message": "backup done"},
        ),
        (
            "can you send 'all clear' to the webhook https://alerts.example.org/team-blue?",
            {"http": {"webhook": ["https://alerts.example.org/team-blue"], "method": "POST"}, "message": "all clear"},
        ),
        (
            "make an http post to https://api.example.com/v2/events saying node 7 is back",
            {"http": {"webhook": ["https://api.example.com/v2/events"], "method": "POST"}, "message": "node 7 is back"},
        ),
        (
            "ping https://hc.example.com/3f1c via GET and https://hc.example.com/77aa too",
            {"http": {"webhook": ["https://hc.example.com/3f1c", "https://hc.example.com/77aa"], "method": "GET"}},
        ),
    ],
)
async def simple_http_notify(
    http: Annotated[dict[str, Any], "which addresses to call and how", WithJsonSchema(HTTP_SCHEMA)],
    message: Annotated[str, "text to send", Field(max_length=65_536)] = "",
    *,
    ctx: Context,
) -> dict[str, Any]:
    """Call webhooks over HTTP, with a message if there is one."""
    return dict(await ctx.services["notify"].webhooks(http["webhook"], http["method"], message))


@intent(
    effect=Effect.WRITE,
    preview=_preview_telegram,
    examples=[
        ("send a telegram saying backup finished", {"message": "backup finished"}),
        ("telegram: server is back online", {"message": "server is back online"}),
        ("tell the ops bot on telegram that the deploy failed", {"message": "the deploy failed", "bot": "ops"}),
        (
            "send 'please check node 7' to telegram chat 123456789",
            {"message": "please check node 7", "chat_id": ["123456789"]},
        ),
        ('notify us on telegram: "disk is at 95%"', {"message": "disk is at 95%"}),
        (
            "message telegram chats 1001 and 1002: maintenance tonight",
            {"message": "maintenance tonight", "chat_id": ["1001", "1002"]},
        ),
        ("write 'coffee is ready' on telegram please", {"message": "coffee is ready"}),
        (
            "use the alerts bot to telegram 'cpu is burning' to -100200300",
            {"message": "cpu is burning", "bot": "alerts", "chat_id": ["-100200300"]},
        ),
        ("drop a telegram message that the release is out", {"message": "the release is out"}),
        ("can you telegram the team that we are done?", {"message": "we are done"}),
        ("send telegram 'hello' to @ops_channel", {"message": "hello", "chat_id": ["@ops_channel"]}),
        ("post a telegram note via bot night: all quiet", {"message": "all quiet", "bot": "night"}),
    ],
)
async def simple_telegram_notify(
    message: Annotated[str, "text to send", Field(min_length=1, max_length=4096)],
    chat_id: Annotated[
        list[Annotated[str, Field(pattern=r"^(-?[0-9]{1,20}|@[A-Za-z0-9_]{4,64})$")]] | None,
        "ids of the chats; without it the chats set for the bot",
        Field(min_length=1, max_length=20),
    ] = None,
    bot: Annotated[str | None, "name of the bot in the settings", Field(min_length=1, max_length=64)] = None,
    *,
    ctx: Context,
) -> dict[str, Any]:
    """Send a Telegram message through a bot that is set up here."""
    return dict(await ctx.services["notify"].telegram(message, chat_id, bot))
