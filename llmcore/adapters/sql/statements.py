"""The statements that write, compiled once for the database at hand.

Used by the other modules of this package, in the writer's thread. Building and compiling an expression costs many times
what it costs to run, so none of that is done per write.
"""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, CursorResult, Table, bindparam, delete, extract, func, or_, select, update

from llmcore.adapters.sql import schema
from llmcore.adapters.sql.database import Database

STOP = "stop"
"""Name of the order to stop in `control`."""
_EPOCH_DAY = 2440587.5
_DAY_S = 86400.0


class Statement:
    """One compiled statement; call it with a connection and the values by name."""

    def __init__(self, database: Database, expression: Any, columns: Sequence[str] = ()) -> None:
        """`columns` are those that an INSERT or UPDATE sets."""
        compiled = expression.compile(dialect=database.writer.dialect, column_keys=list(columns) or None)
        self._text = str(compiled)
        self._order: Sequence[str] | None = compiled.positiontup
        self._constants = {name: value for name, value in compiled.params.items() if value is not None}

    def __call__(self, connection: Connection, values: dict[str, Any]) -> CursorResult[Any]:
        """Run it."""
        order = self._order
        if self._constants:
            values = self._constants | values
        parameters: Any = values if order is None else tuple([values[name] for name in order])
        return connection.exec_driver_sql(self._text, parameters)


class Statements:
    """All statements that write, by what they do."""

    def __init__(self, database: Database) -> None:
        """Compile them."""
        self._database = database
        self.user_put = self._upsert(schema.user_account, "name")
        self.token_revoke = self._insert_new(schema.token_revoked)
        self.token_forget = self._compiled(
            delete(schema.token_revoked).where(schema.token_revoked.c.expires < bindparam("now"))
        )
        self.secret_add = self._insert_new(schema.secret)
        self.conversation_put = self._upsert(schema.conversation, "conversation_id")
        self.conversation_delete = self._compiled(
            delete(schema.conversation).where(schema.conversation.c.conversation_id == bindparam("conversation_id"))
        )
        self.message_put = self._upsert(schema.message, "message_id")
        self.topic_open = self._topic_open()
        self.plan_add = self._insert(schema.plan)
        self.plan_swap = self._plan_swap()
        self.run_put = self._upsert(schema.run, "run_id")
        self.attempt_begin = self._insert_new(schema.attempt)
        self.attempt_same = self._attempt_same()
        self.attempt_end = self._attempt_end(_open_or_same())
        self.attempt_resolve = self._attempt_end()
        self.now_s = _now_s(database)
        self.lease_take = self._lease_take()
        self.lease_renew = self._compiled(
            update(schema.lease).where(_held()).values(until=self.now_s + bindparam("ttl_s"))
        )
        self.lease_drop = self._compiled(update(schema.lease).where(_held()).values(node="", until=0.0))
        self.lease_check = self._lease_check()
        self.audit_insert = self._insert(schema.audit)
        self.audit_tail = self._compiled(
            select(schema.audit.c.seq, schema.audit.c.hash).order_by(schema.audit.c.seq.desc()).limit(1)
        )
        self.event_add = self._insert_new(schema.event_seen)
        self.alert_put = self._alert_put()
        self.suggestion_put = self._upsert(schema.suggestion, "suggestion_id")
        self.suggestion_swap = self._suggestion_swap()

    def _compiled(self, expression: Any, columns: Sequence[str] = ()) -> Statement:
        return Statement(self._database, expression, columns)

    def _insert(self, table: Table) -> Statement:
        return self._compiled(self._database.insert(table), _given(table))

    def _insert_new(self, table: Table) -> Statement:
        return self._compiled(self._database.insert(table).on_conflict_do_nothing(), _given(table))

    def _upsert(self, table: Table, key: str) -> Statement:
        insert = self._database.insert(table)
        changed = {name: insert.excluded[name] for name in _given(table) if name != key}
        return self._compiled(insert.on_conflict_do_update(index_elements=[key], set_=changed), _given(table))

    def _topic_open(self) -> Statement:
        topic, insert = schema.topic, self._database.insert(schema.topic)
        opened = insert.on_conflict_do_update(
            index_elements=["topic"],
            set_={"epoch": topic.c.epoch + 1, "conversation_id": insert.excluded.conversation_id},
            where=topic.c.owner == insert.excluded.owner,
        )
        return self._compiled(opened.returning(topic.c.epoch), _given(topic))

    def _plan_swap(self) -> Statement:
        plan = schema.plan
        unchanged = (
            (plan.c.plan_id == bindparam("of_plan"))
            & (plan.c.status == bindparam("expected_status"))
            & (plan.c.digest == bindparam("expected_digest"))
            & (plan.c.votes == bindparam("expected_votes"))
        )
        return self._compiled(update(plan).where(unchanged), ("status", "digest", "votes", "document"))

    def _attempt_same(self) -> Statement:
        attempt = schema.attempt
        names = ("run_id", "step_id", "attempt", "started_at")
        same = [attempt.c[name] == bindparam(name) for name in names]
        return self._compiled(select(attempt.c.attempt).where(*same, attempt.c.outcome.is_(None)))

    def _attempt_end(self, *conditions: Any) -> Statement:
        attempt = schema.attempt
        same = (
            (attempt.c.run_id == bindparam("of_run"))
            & (attempt.c.step_id == bindparam("of_step"))
            & (attempt.c.attempt == bindparam("of_attempt"))
        )
        ended = update(attempt).where(same, *conditions)
        return self._compiled(ended, ("outcome", "result", "error", "finished_at"))

    def _lease_take(self) -> Statement:
        lease, insert = schema.lease, self._database.insert(schema.lease)
        first = insert.values(
            run_id=bindparam("run_id"),
            node=bindparam("node"),
            token=bindparam("first"),
            until=self.now_s + bindparam("ttl_s"),
        )
        taken = first.on_conflict_do_update(
            index_elements=["run_id"],
            set_={"node": insert.excluded.node, "token": lease.c.token + 1, "until": insert.excluded.until},
            where=or_(lease.c.node == insert.excluded.node, lease.c.until < self.now_s),
        )
        return self._compiled(taken.returning(lease.c.token))

    def _lease_check(self) -> Statement:
        stop = select(schema.control.c.value).where(schema.control.c.name == STOP).scalar_subquery()
        return self._compiled(select(stop.label("stop")).where(_held()).with_for_update(read=True, of=schema.lease))

    def _alert_put(self) -> Statement:
        alert, insert = schema.alert, self._database.insert(schema.alert)
        newest = select(func.coalesce(func.max(alert.c.number), 0) + 1).scalar_subquery()
        put = insert.values(
            fingerprint=bindparam("fingerprint"), document=bindparam("document"), number=newest
        ).on_conflict_do_update(
            index_elements=["fingerprint"],
            set_={"number": insert.excluded.number, "document": insert.excluded.document},
        )
        return self._compiled(put)

    def _suggestion_swap(self) -> Statement:
        suggestion = schema.suggestion
        unchanged = (suggestion.c.suggestion_id == bindparam("of_suggestion")) & (
            suggestion.c.status == bindparam("expected_status")
        )
        return self._compiled(update(suggestion).where(unchanged), ("status", "document"))


def _now_s(database: Database) -> Any:
    """The database's present time in epoch seconds, so that no node's clock matters."""
    if database.path:
        return (func.julianday("now") - _EPOCH_DAY) * _DAY_S
    return extract("epoch", func.clock_timestamp())


def _held() -> Any:
    """The condition that a lease, given as values, is the present one."""
    lease = schema.lease
    return (
        (lease.c.run_id == bindparam("lease_run"))
        & (lease.c.node == bindparam("lease_node"))
        & (lease.c.token == bindparam("lease_token"))
    )


def _open_or_same() -> Any:
    """An attempt that has no end yet, or has this one: a write may be repeated whose answer was lost."""
    attempt = schema.attempt
    same = (attempt.c.outcome == bindparam("same_outcome")) & (attempt.c.finished_at == bindparam("same_finish"))
    return attempt.c.outcome.is_(None) | same


def _given(table: Table) -> tuple[str, ...]:
    """Columns whose values come from the caller: all but a running number."""
    return tuple(column.name for column in table.columns if column.name != "number")
