"""The part of the store for what several nodes have to agree on: who works a run, and orders to all of them.

A lease is a row with a number that rises with each taker; what a node writes under a lease counts only as long as the
number is still its own. Times are the database's, so that no node's clock matters. Rows stay when a lease is dropped:
a number is never given twice.
"""

import json
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

from sqlalchemy import Connection, delete, exists, or_, select

from llmcore.adapters.sql import schema
from llmcore.adapters.sql.base import Base
from llmcore.adapters.sql.documents import dumps, loads
from llmcore.adapters.sql.records import run_from_json
from llmcore.adapters.sql.statements import STOP, Statement
from llmcore.plan import PlanStatus
from llmcore.ports import Lease, Orders, Run, StopOrder

CANCEL = "cancel:"
"""Followed by a run: an order in `control`."""
STOP_LOCK = 0x6C6C6D03
"""Held by who orders a stop, and shared by who begins a step: one of them comes first."""


def lease_values(lease: Lease) -> dict[str, Any]:
    """A lease as the values that name it."""
    return {"lease_run": lease.run_id, "lease_node": lease.node, "lease_token": lease.token}


class Leases(Base):
    """Leases of runs, and orders to all nodes."""

    async def lease_take(self, run_id: str, segment: int, node: str, ttl_s: float) -> Lease | None:
        """Take the lease of a run for `ttl_s` seconds; None while another node holds it."""
        values = {"run_id": run_id, "node": node, "ttl_s": ttl_s, "first": 1}
        token = await self._write(lambda connection: self._sql.lease_take(connection, values).scalar())
        return None if token is None else Lease(run_id=run_id, segment=segment, node=node, token=token)

    async def lease_renew(self, lease: Lease, ttl_s: float) -> bool:
        """Hold a lease for `ttl_s` seconds from now; False if somebody else has taken it."""
        return await self._execute(self._sql.lease_renew, lease_values(lease) | {"ttl_s": ttl_s}) == 1

    async def lease_drop(self, lease: Lease) -> None:
        """Let others take it at once."""
        await self._execute(self._sql.lease_drop, lease_values(lease))

    async def runs_adrift(self, node: str) -> Sequence[Run]:
        """Running runs that this node may take: nobody else holds their lease now. Oldest first."""
        run, lease = schema.run, schema.lease
        by_others = (lease.c.node != node) & (lease.c.until >= self._sql.now_s)
        held = exists().where((lease.c.run_id == run.c.run_id) & by_others)
        query = select(run.c.document).where((run.c.status == PlanStatus.RUNNING.value) & ~held).order_by(run.c.number)
        found = await self._read(lambda connection: connection.execute(query).scalars().all())
        return [run_from_json(loads(text)) for text in found]

    # --- orders ---

    async def orders(self) -> Orders:
        """All orders to all nodes."""
        control = schema.control
        query = select(control).where(or_(control.c.name == STOP, control.c.name.startswith(CANCEL)))
        found = {row.name: row.value for row in await self._read(lambda connection: connection.execute(query).all())}
        stop = found.pop(STOP, None)
        return Orders(
            stop=stop_order(stop) if stop else None,
            cancelled=frozenset(name.removeprefix(CANCEL) for name in found),
        )

    async def order_stop(self, by: str, at: str, reason: str, hold: bool) -> StopOrder:
        """Order all segments that are running now to stop; with `hold` none may begin a step until it is released."""

        def work(connection: Connection) -> StopOrder:
            self._database.lock(connection, STOP_LOCK)
            run = schema.run
            running = select(run.c.document).where(run.c.status == PlanStatus.RUNNING.value)
            runs = [run_from_json(loads(text)) for text in connection.execute(running).scalars()]
            before = connection.execute(select(schema.control.c.value).where(schema.control.c.name == STOP)).scalar()
            number = stop_order(before).number + 1 if before else 1
            segments = sorted(f"{found.run_id}.{found.segment}" for found in runs)
            document = {"number": number, "by": by, "at": at, "reason": reason, "hold": hold, "segments": segments}
            self._control_put(connection, STOP, document)
            return stop_order(dumps(document))

        return await self._write(work)

    async def order_release(self) -> bool:
        """Let steps begin again; False if nothing was held."""

        def work(connection: Connection) -> bool:
            self._database.lock(connection, STOP_LOCK)
            before = connection.execute(select(schema.control.c.value).where(schema.control.c.name == STOP)).scalar()
            document = json.loads(before) if before else {"hold": False}
            held = bool(document["hold"])
            if held:
                self._control_put(connection, STOP, {**document, "hold": False})
            return held

        return await self._write(work)

    async def order_cancel(self, run_id: str) -> None:
        """Tell the node that works a run to cancel it."""
        await self._write(lambda connection: self._control_put(connection, f"{CANCEL}{run_id}", {}))

    async def order_cancelled(self, run_id: str) -> None:
        """The order to cancel a run is out of date."""
        control = schema.control
        gone = delete(control).where(control.c.name == f"{CANCEL}{run_id}")
        await self._write(lambda connection: connection.execute(gone))

    def _control_put(self, connection: Connection, name: str, document: Mapping[str, Any]) -> None:
        insert = self._database.insert(schema.control)
        put = insert.on_conflict_do_update(index_elements=["name"], set_={"value": insert.excluded.value})
        connection.execute(put, {"name": name, "value": dumps(document)})

    async def _execute_under(self, lease: Lease | None, statement: Statement, values: dict[str, Any]) -> int:
        """Run one writing statement unless a lease is lost; returns how many rows it touched."""

        def work(connection: Connection) -> int:
            if lease is not None and self._standing(connection, lease) is None:
                return 0
            return statement(connection, values).rowcount

        return await self._write(work)

    def _lock_orders(self, connection: Connection) -> None:
        """Until the end of the transaction nobody orders a stop."""
        if not self._database.path:
            connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock_shared({STOP_LOCK})")

    def _standing(self, connection: Connection, lease: Lease) -> Orders | None:
        """The order to stop under which a lease is held; None if it is lost. Nobody takes it in this transaction."""
        row = self._sql.lease_check(connection, lease_values(lease)).first()
        if row is None:
            return None
        return Orders(stop=stop_order(row.stop) if row.stop else None)


@lru_cache(maxsize=4)
def stop_order(text: str) -> StopOrder:
    """An order as it is stored; each step asks for the same one."""
    data = json.loads(text)
    return StopOrder(**{**data, "segments": frozenset(data["segments"])})
