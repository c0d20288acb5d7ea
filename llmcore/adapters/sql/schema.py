"""The tables of the store, the same on SQLite and PostgreSQL.

Used by the other modules of this package; the migrations beside it make what stands here, which a test compares.
Columns exist for what is asked for; everything else of a record is one JSON document, kept as text so that both
databases give back exactly what was put in.
"""

from sqlalchemy import (
    BigInteger,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
)

REVISION = "0002"
"""The newest migration; a store that says so needs none."""

metadata = MetaData()
_Number = BigInteger().with_variant(Integer, "sqlite")

user_account = Table(
    "user_account",
    metadata,
    Column("name", Text, primary_key=True),
    Column("role", Text, nullable=False),
    Column("password_hash", Text, nullable=False),
    Column("created_at", Text, nullable=False),
    Column("tokens_valid_from", Float(53), nullable=False),
)

token_revoked = Table(
    "token_revoked",
    metadata,
    Column("token_id", Text, primary_key=True),
    Column("expires", Float(53), nullable=False, index=True),
)

secret = Table(
    "secret",
    metadata,
    Column("name", Text, primary_key=True),
    Column("value", LargeBinary, nullable=False),
)

conversation = Table(
    "conversation",
    metadata,
    Column("conversation_id", Text, primary_key=True),
    Column("owner", Text, nullable=False),
    Column("title", Text, nullable=False),
    Column("created_at", Text, nullable=False),
    Column("updated_at", Text, nullable=False),
    Index("ix_conversation_owner_updated_at", "owner", "updated_at"),
)

message = Table(
    "message",
    metadata,
    Column("number", _Number, primary_key=True),
    Column("message_id", Text, nullable=False, unique=True),
    Column(
        "conversation_id",
        Text,
        ForeignKey("conversation.conversation_id", ondelete="CASCADE"),
        nullable=False,
    ),
    Column("role", Text, nullable=False),
    Column("content", Text, nullable=False),
    Column("created_at", Text, nullable=False),
    Column("run_id", Text),
    Column("meta", Text, nullable=False),
    Index("ix_message_conversation_id_number", "conversation_id", "number"),
)

topic = Table(
    "topic",
    metadata,
    Column("topic", Text, primary_key=True),
    Column("conversation_id", Text, nullable=False),
    Column("owner", Text, nullable=False),
    Column("epoch", Integer, nullable=False),
)

plan = Table(
    "plan",
    metadata,
    Column("number", _Number, primary_key=True),
    Column("plan_id", Text, nullable=False, unique=True),
    Column("status", Text, nullable=False, index=True),
    Column("digest", Text, nullable=False),
    Column("votes", Text, nullable=False),
    Column("requester", Text, nullable=False, index=True),
    Column("created_at", Text, nullable=False),
    Column("document", Text, nullable=False),
)

run = Table(
    "run",
    metadata,
    Column("number", _Number, primary_key=True),
    Column("run_id", Text, nullable=False, unique=True),
    Column("owner", Text, nullable=False, index=True),
    Column("status", Text, nullable=False, index=True),
    Column("document", Text, nullable=False),
)

attempt = Table(
    "attempt",
    metadata,
    Column("run_id", Text, primary_key=True),
    Column("step_id", Text, primary_key=True),
    Column("attempt", Integer, primary_key=True, autoincrement=False),
    Column("idempotency_key", Text, nullable=False),
    Column("started_at", Text, nullable=False),
    Column("finished_at", Text),
    Column("outcome", Text),
    Column("result", Text),
    Column("error", Text),
    Column("before", Text),
)

audit = Table(
    "audit",
    metadata,
    Column("seq", _Number, primary_key=True, autoincrement=False),
    Column("record", Text, nullable=False),
    Column("hash", Text, nullable=False),
)

event_seen = Table(
    "event_seen",
    metadata,
    Column("event_id", Text, primary_key=True),
    Column("at", Float(53), nullable=False),
)

alert = Table(
    "alert",
    metadata,
    Column("fingerprint", Text, primary_key=True),
    Column("number", _Number, nullable=False, index=True),
    Column("document", Text, nullable=False),
)

suggestion = Table(
    "suggestion",
    metadata,
    Column("number", _Number, primary_key=True),
    Column("suggestion_id", Text, nullable=False, unique=True),
    Column("status", Text, nullable=False, index=True),
    Column("created_at", Text, nullable=False),
    Column("document", Text, nullable=False),
)

lease = Table(
    "lease",
    metadata,
    Column("run_id", Text, primary_key=True),
    Column("node", Text, nullable=False),
    Column("token", Integer, nullable=False),
    Column("until", Float(53), nullable=False),
)

control = Table(
    "control",
    metadata,
    Column("name", Text, primary_key=True),
    Column("value", Text, nullable=False),
)

policy_rule = Table(
    "policy_rule",
    metadata,
    Column("rule_id", Text, primary_key=True),
    Column("document", Text, nullable=False),
    Column("expires_at", Float(53), nullable=False),
)

template = Table(
    "template",
    metadata,
    Column("name", Text, primary_key=True),
    Column("number", Integer, nullable=False),
    Column("document", Text, nullable=False),
)

recording = Table(
    "recording",
    metadata,
    Column("run_id", Text, primary_key=True),
    Column("recorded_at", Float(53), nullable=False, index=True),
    Column("document", Text, nullable=False),
)
