"""What the core needs from outside, as Protocols and the small values they pass.

Implemented by `providers/` and `adapters/`, built in `app`, called by the rooms above. Every coroutine may be
cancelled; a write that was begun is then either whole or absent.
"""

from llmcore.ports.host import Bus, Call, Clock, IntentCaller, Progress, Queue, SegmentHandler
from llmcore.ports.inquiry import AuditFilter
from llmcore.ports.model import Finished, Message, Model, ModelEvent, ModelRequest, TextDelta, Usage
from llmcore.ports.records import (
    Attempt,
    Begun,
    Conversation,
    Lease,
    Orders,
    Run,
    StopOrder,
    StoredMessage,
    User,
    from_rfc3339,
    rfc3339,
)
from llmcore.ports.store import Store

__all__ = [
    "Attempt",
    "AuditFilter",
    "Begun",
    "Bus",
    "Call",
    "Clock",
    "Conversation",
    "Finished",
    "IntentCaller",
    "Lease",
    "Message",
    "Model",
    "ModelEvent",
    "ModelRequest",
    "Orders",
    "Progress",
    "Queue",
    "Run",
    "SegmentHandler",
    "StopOrder",
    "Store",
    "StoredMessage",
    "TextDelta",
    "Usage",
    "User",
    "from_rfc3339",
    "rfc3339",
]
