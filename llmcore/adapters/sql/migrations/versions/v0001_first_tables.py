"""First tables."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

_NUMBER = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    """Make all tables."""
    _people()
    _talks()
    _work()
    _ledger()


def _people() -> None:
    op.create_table(
        "user_account",
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("role", sa.Text, nullable=False),
        sa.Column("password_hash", sa.Text, nullable=False),
        sa.Column("created_at", sa.Text, nullable=False),
        sa.Column("tokens_valid_from", sa.Float(53), nullable=False),
    )
    op.create_table(
        "token_revoked",
        sa.Column("token_id", sa.Text, primary_key=True),
        sa.Column("expires", sa.Float(53), nullable=False),
    )
    op.create_index("ix_token_revoked_expires", "token_revoked", ["expires"])
    op.create_table(
        "secret",
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("value", sa.LargeBinary, nullable=False),
    )


def _talks() -> None:
    op.create_table(
        "conversation",
        sa.Column("conversation_id", sa.Text, primary_key=True),
        sa.Column("owner", sa.Text, nullable=False),
        sa.Column("title", sa.Text, nullable=False),
        sa.Column("created_at", sa.Text, nullable=False),
        sa.Column("updated_at", sa.Text, nullable=False),
    )
    op.create_index("ix_conversation_owner_updated_at", "conversation", ["owner", "updated_at"])
    op.create_table(
        "message",
        sa.Column("number", _NUMBER, primary_key=True),
        sa.Column("message_id", sa.Text, nullable=False, unique=True),
        sa.Column(
            "conversation_id",
            sa.Text,
            sa.ForeignKey("conversation.conversation_id", ondelete="CASCADE"),
            nullable=False,
        ),
        sa.Column("role", sa.Text, nullable=False),
        sa.Column("content", sa.Text, nullable=False),
        sa.Column("created_at", sa.Text, nullable=False),
        sa.Column("run_id", sa.Text),
        sa.Column("meta", sa.Text, nullable=False),
    )
    op.create_index("ix_message_conversation_id_number", "message", ["conversation_id", "number"])
    op.create_table(
        "topic",
        sa.Column("topic", sa.Text, primary_key=True),
        sa.Column("conversation_id", sa.Text, nullable=False),
        sa.Column("owner", sa.Text, nullable=False),
        sa.Column("epoch", sa.Integer, nullable=False),
    )


def _work() -> None:
    op.create_table(
        "plan",
        sa.Column("number", _NUMBER, primary_key=True),
        sa.Column("plan_id", sa.Text, nullable=False, unique=True),
        sa.Column("status", sa.Text, nullable=False),
        sa.Column("digest", sa.Text, nullable=False),
        sa.Column("votes", sa.Text, nullable=False),
        sa.Column("requester", sa.Text, nullable=False),
        sa.Column("created_at", sa.Text, nullable=False),
        sa.Column("document", sa.Text, nullable=False),
    )
    op.create_table(
        "run",
        sa.Column("number", _NUMBER, primary_key=True),
        sa.Column("run_id", sa.Text, nullable=False, unique=True),
        sa.Column("owner", sa.Text, nullable=False),
        sa.Column("status", sa.Text, nullable=False),
        sa.Column("document", sa.Text, nullable=False),
    )
    for table, column in (("plan", "status"), ("plan", "requester"), ("run", "owner"), ("run", "status")):
        op.create_index(f"ix_{table}_{column}", table, [column])
    op.create_table(
        "attempt",
        sa.Column("run_id", sa.Text, primary_key=True),
        sa.Column("step_id", sa.Text, primary_key=True),
        sa.Column("attempt", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("idempotency_key", sa.Text, nullable=False),
        sa.Column("started_at", sa.Text, nullable=False),
        sa.Column("finished_at", sa.Text),
        sa.Column("outcome", sa.Text),
        sa.Column("result", sa.Text),
        sa.Column("error", sa.Text),
        sa.Column("before", sa.Text),
    )


def _ledger() -> None:
    op.create_table(
        "audit",
        sa.Column("seq", _NUMBER, primary_key=True, autoincrement=False),
        sa.Column("record", sa.Text, nullable=False),
        sa.Column("hash", sa.Text, nullable=False),
    )
    op.create_table(
        "event_seen",
        sa.Column("event_id", sa.Text, primary_key=True),
        sa.Column("at", sa.Float(53), nullable=False),
    )
    op.create_table(
        "alert",
        sa.Column("fingerprint", sa.Text, primary_key=True),
        sa.Column("number", _NUMBER, nullable=False),
        sa.Column("document", sa.Text, nullable=False),
    )
    op.create_index("ix_alert_number", "alert", ["number"])
    op.create_table(
        "suggestion",
        sa.Column("number", _NUMBER, primary_key=True),
        sa.Column("suggestion_id", sa.Text, nullable=False, unique=True),
        sa.Column("status", sa.Text, nullable=False),
        sa.Column("created_at", sa.Text, nullable=False),
        sa.Column("document", sa.Text, nullable=False),
    )
    op.create_index("ix_suggestion_status", "suggestion", ["status"])
