"""`POST /hooks/alertmanager`: alerts from Alertmanager (webhook version 4) and Grafana.

Called by Tornado; hands each alert to what `app` gave, in Alertmanager's shape. The words in an alert are data.
"""

import hmac
from http import HTTPStatus
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints
from tornado.web import HTTPError

from llmcore.errors import Unauthorized
from llmcore.server.web import Handler

MAX_ALERTS = 5_000
Name = Annotated[str, StringConstraints(max_length=256)]
Text = Annotated[str, StringConstraints(max_length=16_384)]
Words = Annotated[dict[Name, Text], Field(max_length=100)]


class Alert(BaseModel):
    """One alert; keys that only one of the senders has are kept."""

    model_config = ConfigDict(extra="allow")

    status: Literal["firing", "resolved"]
    labels: Words
    annotations: Words = {}
    startsAt: Name
    endsAt: Name | None = None
    generatorURL: Text = ""
    fingerprint: Name = ""


class Notification(BaseModel):
    """What is posted; Grafana says version 1 and otherwise the same."""

    version: Literal["4", "1"]
    alerts: Annotated[list[Alert], Field(max_length=MAX_ALERTS)]


class AlertmanagerHandler(Handler):
    """`POST /hooks/alertmanager`: takes a notification: 202 once none of its alerts can be lost."""

    async def prepare(self) -> None:
        """No token set: no such route. Else the sender has to know it."""
        expected = self.hub.options.webhook_token
        take = self.hub.rooms.on_alert
        if expected is None or take is None:
            raise HTTPError(HTTPStatus.NOT_FOUND)
        if not hmac.compare_digest(self.bearer().encode(), expected.get_secret_value().encode()):
            raise Unauthorized("The token is wrong.")
        self._take = take

    async def post(self) -> None:
        """Hand on each alert."""
        notification = self.body(Notification)
        for alert in notification.alerts:
            await self._take(alert.model_dump(exclude_none=True))
        self.send({"accepted": len(notification.alerts)}, HTTPStatus.ACCEPTED)
