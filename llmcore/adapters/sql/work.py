"""The part of the store for plans, runs and the journal of attempts."""

import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any

from sqlalchemy import Connection, Row, Select, Table, select

from llmcore.adapters.sql import schema
from llmcore.adapters.sql.documents import dumps, loads
from llmcore.adapters.sql.leases import Leases
from llmcore.adapters.sql.records import run_from_json, run_json
from llmcore.errors import Conflict
from llmcore.plan import Plan, PlanStatus, plan_from_json, stored_plan_json
from llmcore.ports import Attempt, Begun, Lease, Run

_log = logging.getLogger(__name__)


class Work(Leases):
    """Plans, runs, attempts."""

    async def plan_put(self, plan: Plan) -> None:
        """Add a new plan."""
        values = _plan_values(plan) | {
            "plan_id": plan.plan_id,
            "requester": plan.requester.name,
            "created_at": plan.created_at,
        }
        await self._execute(self._sql.plan_add, values)

    async def plan_get(self, plan_id: str) -> Plan | None:
        """One plan."""
        query = select(schema.plan.c.document).where(schema.plan.c.plan_id == plan_id)
        document = await self._read(lambda connection: connection.execute(query).scalar())
        return None if document is None else _plan(document)

    async def plan_list(
        self, requester: str | None = None, statuses: Sequence[PlanStatus] = (), limit: int = 100
    ) -> Sequence[Plan]:
        """Plans, newest first; None: of all requesters, no statuses: of any. One that cannot be read is left out."""
        query = _newest(schema.plan, statuses, limit)
        if requester is not None:
            query = query.where(schema.plan.c.requester == requester)
        texts = await self._read(lambda connection: connection.execute(query).scalars().all())
        return list(_readable(texts))

    async def plan_swap(self, plan: Plan, expected: Plan, lease: Lease | None = None) -> bool:
        """Replace a plan if status, digest and votes in the store are still those of `expected`, and the lease held."""
        before = _plan_values(replace(expected, steps=()))  # only status, digest and votes are compared
        values = _plan_values(plan) | {
            "of_plan": plan.plan_id,
            "expected_status": before["status"],
            "expected_digest": before["digest"],
            "expected_votes": before["votes"],
        }
        return await self._execute_under(lease, self._sql.plan_swap, values) == 1

    async def run_put(self, run: Run, lease: Lease | None = None) -> bool:
        """Add or replace a run; False, and nothing is written, if the lease is lost."""
        values = {
            "run_id": run.run_id,
            "owner": run.owner.name,
            "status": run.status.value,
            "document": dumps(run_json(run)),
        }
        return await self._execute_under(lease, self._sql.run_put, values) == 1

    async def run_get(self, run_id: str) -> Run | None:
        """One run."""
        query = select(schema.run.c.document).where(schema.run.c.run_id == run_id)
        document = await self._read(lambda connection: connection.execute(query).scalar())
        return None if document is None else run_from_json(loads(document))

    async def run_list(
        self, owner: str | None = None, statuses: Sequence[PlanStatus] = (), limit: int = 100
    ) -> Sequence[Run]:
        """Runs, newest first."""
        query = _newest(schema.run, statuses, limit)
        if owner is not None:
            query = query.where(schema.run.c.owner == owner)
        return [run_from_json(document) for document in await self._documents(query)]

    async def attempt_begin(self, attempt: Attempt, lease: Lease | None = None) -> Begun:
        """Journal that a step is about to be tried, if the lease is still held and no order to stop stands."""
        values = _outcome_values(attempt) | {
            "run_id": attempt.run_id,
            "step_id": attempt.step_id,
            "attempt": attempt.attempt,
            "idempotency_key": attempt.idempotency_key,
            "started_at": attempt.started_at,
            "before": _json_or_null(attempt.before),
        }

        def work(connection: Connection) -> Begun:
            if lease is not None:
                self._lock_orders(connection)
                orders = self._standing(connection, lease)
                if orders is None:
                    return Begun.FENCED
                if orders.stop is not None and orders.stop.stops(lease.run_id, lease.segment):
                    return Begun.STOPPED
            inserted = self._sql.attempt_begin(connection, values).rowcount
            # under a lease nobody else can have written the very same: then an answer was lost, and this is it again
            begun = inserted or (lease is not None and self._sql.attempt_same(connection, values).first())
            return Begun.YES if begun else Begun.TAKEN

        return await self._write(work)

    async def attempt_end(self, attempt: Attempt, lease: Lease | None = None, *, resolve: bool = False) -> bool:
        """Journal what came of it; False if that is known already or the lease is lost."""
        values = _outcome_values(attempt) | {
            "of_run": attempt.run_id,
            "of_step": attempt.step_id,
            "of_attempt": attempt.attempt,
            "same_outcome": attempt.outcome,
            "same_finish": attempt.finished_at,
        }
        end = self._sql.attempt_resolve if resolve else self._sql.attempt_end
        return await self._execute_under(lease, end, values) == 1

    async def attempt_list(self, run_id: str) -> Sequence[Attempt]:
        """All attempts of a run in the order they were begun."""
        table = schema.attempt
        query = (
            select(table).where(table.c.run_id == run_id).order_by(table.c.started_at, table.c.step_id, table.c.attempt)
        )
        return [_attempt(row) for row in await self._read(lambda connection: connection.execute(query).all())]

    async def _documents(self, query: Select[Any]) -> list[Any]:
        return await self._read(lambda connection: [loads(text) for text in connection.execute(query).scalars()])


def _plan(text: str) -> Plan:
    try:
        return plan_from_json(loads(text))
    except (AttributeError, KeyError, TypeError, ValueError) as broken:
        raise Conflict("The stored plan cannot be read: somebody changed it from outside.") from broken


def _readable(texts: Iterable[str]) -> Iterator[Plan]:
    for text in texts:
        try:
            yield _plan(text)
        except Conflict:
            _log.error("a stored plan cannot be read", extra={"action": "plan_broken"})


def _newest(table: Table, statuses: Sequence[PlanStatus], limit: int) -> Select[Any]:
    query = select(table.c.document).order_by(table.c.number.desc()).limit(limit)
    return query.where(table.c.status.in_([status.value for status in statuses])) if statuses else query


def _plan_values(plan: Plan) -> dict[str, Any]:
    document = stored_plan_json(plan)
    return {
        "status": plan.status.value,
        "digest": plan.digest or "",
        "votes": dumps(document["approval"]["given"]) if plan.approval else "[]",
        "document": dumps(document),
    }


def _outcome_values(attempt: Attempt) -> dict[str, Any]:
    return {
        "outcome": attempt.outcome,
        "result": _json_or_null(attempt.result),
        "error": _json_or_null(attempt.error),
        "finished_at": attempt.finished_at,
    }


def _json_or_null(value: Any) -> str | None:
    return None if value is None else dumps(value)


def _attempt(row: Row[Any]) -> Attempt:
    return Attempt(
        run_id=row.run_id,
        step_id=row.step_id,
        attempt=row.attempt,
        idempotency_key=row.idempotency_key,
        started_at=row.started_at,
        outcome=row.outcome,
        result=row.result and loads(row.result),
        error=row.error and loads(row.error),
        finished_at=row.finished_at,
        before=row.before and loads(row.before),
    )
