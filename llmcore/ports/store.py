"""The port to the one durable truth.

Implemented by `adapters/sql`; called by the rooms above. Knows no database.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from llmcore.plan import Plan, PlanStatus
from llmcore.ports.inquiry import AuditFilter
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
)


class Store(Protocol):
    """The one durable truth. Writes are serialised and group-committed; each returns once it is on disk.

    All raise Unavailable while the database cannot be reached, locked for long, or full.
    """

    # users and tokens
    async def user_put(self, user: User) -> None:
        """Add or replace a user."""
        ...

    async def user_get(self, name: str) -> User | None:
        """A user by name."""
        ...

    async def user_list(self) -> Sequence[User]:
        """All users by name."""
        ...

    async def token_revoke(self, token_id: str, expires: float, now: float = 0.0) -> bool:
        """Remember that a token is void until it would expire anyway (epoch seconds); False if it was void already.

        Forgets the tokens that expired before `now`.
        """
        ...

    async def token_revoked(self, token_id: str) -> bool:
        """True if it was revoked."""
        ...

    async def secret(self, name: str, make: Callable[[], bytes]) -> bytes:
        """A secret kept for all nodes; made on first use."""
        ...

    # conversations
    async def conversation_put(self, conversation: Conversation) -> None:
        """Add or replace."""
        ...

    async def conversation_get(self, conversation_id: str) -> Conversation | None:
        """One conversation."""
        ...

    async def conversation_list(self, owner: str, limit: int = 200) -> Sequence[Conversation]:
        """An owner's conversations, last used first."""
        ...

    async def conversation_delete(self, conversation_id: str) -> None:
        """Remove it with its messages; plans, runs and audit stay."""
        ...

    async def message_add(self, message: StoredMessage) -> None:
        """Append a message, or replace the one of the same id; NotFound if its conversation is gone."""
        ...

    async def message_list(self, conversation_id: str, limit: int = 500) -> Sequence[StoredMessage]:
        """The last `limit` messages, oldest first."""
        ...

    # topics
    async def topic_open(self, topic: str, conversation_id: str, owner: str) -> int:
        """Note who owns a topic and return its next epoch (1 the first time).

        Raises Forbidden if it belongs to another owner.
        """
        ...

    async def topic_owner(self, topic: str) -> str | None:
        """The owner, or None for a topic nobody has opened."""
        ...

    async def topic_conversation(self, topic: str) -> str | None:
        """The conversation a topic belongs to, or None for a topic nobody has opened."""
        ...

    # plans, runs, attempts
    async def plan_put(self, plan: Plan) -> None:
        """Add a new plan."""
        ...

    async def plan_get(self, plan_id: str) -> Plan | None:
        """One plan."""
        ...

    async def plan_list(
        self, requester: str | None = None, statuses: Sequence[PlanStatus] = (), limit: int = 100
    ) -> Sequence[Plan]:
        """Plans, newest first; None: of all requesters, no statuses: of any."""
        ...

    async def plan_swap(self, plan: Plan, expected: Plan, lease: Lease | None = None) -> bool:
        """Replace a plan if status, digest and votes in the store are still those of `expected`, and the lease held."""
        ...

    async def run_put(self, run: Run, lease: Lease | None = None) -> bool:
        """Add or replace a run; False, and nothing is written, if the lease is lost."""
        ...

    async def run_get(self, run_id: str) -> Run | None:
        """One run."""
        ...

    async def run_list(
        self, owner: str | None = None, statuses: Sequence[PlanStatus] = (), limit: int = 100
    ) -> Sequence[Run]:
        """Runs, newest first."""
        ...

    async def attempt_begin(self, attempt: Attempt, lease: Lease | None = None) -> Begun:
        """Journal that a step is about to be tried, if the lease is still held and no order to stop stands.

        Whoever takes the lease, or orders the stop, finds the attempt in the journal or has it refused.
        """
        ...

    async def attempt_end(self, attempt: Attempt, lease: Lease | None = None, *, resolve: bool = False) -> bool:
        """Journal what came of it; False if that is known already or the lease is lost.

        With `resolve` the word of a person replaces an earlier one.
        """
        ...

    async def attempt_list(self, run_id: str) -> Sequence[Attempt]:
        """All attempts of a run in order."""
        ...

    # nodes
    async def lease_take(self, run_id: str, segment: int, node: str, ttl_s: float) -> Lease | None:
        """Take the lease of a run for `ttl_s` seconds; None while another node holds it. A node may take its own anew.

        Times of leases are the database's.
        """
        ...

    async def lease_renew(self, lease: Lease, ttl_s: float) -> bool:
        """Hold a lease for `ttl_s` seconds from now; False if somebody else has taken it."""
        ...

    async def lease_drop(self, lease: Lease) -> None:
        """Let others take it at once; nothing happens if it is lost already."""
        ...

    async def runs_adrift(self, node: str) -> Sequence[Run]:
        """Running runs that this node may take: nobody else holds their lease now. Oldest first."""
        ...

    async def orders(self) -> Orders:
        """All orders to all nodes."""
        ...

    async def order_stop(self, by: str, at: str, reason: str, hold: bool) -> StopOrder:
        """Order all segments that are running now to stop; with `hold` none may begin a step until it is released.

        Once it returns, no step of theirs begins.
        """
        ...

    async def order_release(self) -> bool:
        """Let steps begin again; False if nothing was held."""
        ...

    async def order_cancel(self, run_id: str) -> None:
        """Tell the node that works a run to cancel it."""
        ...

    async def order_cancelled(self, run_id: str) -> None:
        """The order to cancel a run is out of date."""
        ...

    # audit
    async def audit_append(self, record: Mapping[str, Any]) -> int:
        """Append a record to the hash chain; returns its `seq` once it is on disk."""
        ...

    def audit_submit(self, records: Sequence[Mapping[str, Any]]) -> asyncio.Future[int]:
        """Hand records over to be appended together, in order, without waiting.

        The future ends with the last `seq` once all are on disk. Cancelling it before they are begun drops them.
        """
        ...

    async def audit_rows(
        self, after_seq: int = 0, limit: int = 1000, *, newest: bool = False
    ) -> Sequence[tuple[int, str, str]]:
        """`(seq, record, hash)` in order; the first `limit` after `after_seq`, or the `newest`."""
        ...

    # alerts
    async def event_first_seen(self, event_id: str, at: float) -> bool:
        """True the first time an event id is told, for all nodes; later False."""
        ...

    async def events_forget(self, before: float) -> int:
        """Forget the event ids that were told before (epoch seconds); returns how many."""
        ...

    async def alert_put(self, fingerprint: str, alert: Mapping[str, Any]) -> None:
        """Add or replace an alert group, by fingerprint."""
        ...

    async def alert_list(self, limit: int = 200) -> Sequence[Mapping[str, Any]]:
        """Alert groups, newest first."""
        ...

    # suggestions
    async def suggestion_put(self, suggestion: Mapping[str, Any]) -> None:
        """Add or replace a card: a JSON object with `id`, `status` and `created_at`."""
        ...

    async def suggestion_get(self, suggestion_id: str) -> Mapping[str, Any] | None:
        """One card."""
        ...

    async def suggestion_list(self, statuses: Sequence[str] = (), limit: int = 200) -> Sequence[Mapping[str, Any]]:
        """Cards, newest first; no statuses: of any."""
        ...

    async def suggestion_swap(self, suggestion: Mapping[str, Any], expected_status: str) -> bool:
        """Replace a card if the one in the store still has that status."""
        ...

    # templates
    async def template_put(self, template: Mapping[str, Any], replaces: Mapping[str, Any] | None = None) -> bool:
        """Add a template (a JSON object with `name`), or replace the one that still is as `replaces` says.

        False if somebody was faster.
        """
        ...

    async def template_list(self, limit: int = 1000) -> Sequence[Mapping[str, Any]]:
        """Templates, the one put last first."""
        ...

    async def template_delete(self, name: str) -> bool:
        """Forget one; False if there is none of that name."""
        ...

    # standing rules of the policy
    async def rule_put(self, rule: Mapping[str, Any], now: float) -> None:
        """Add or replace a rule, which has a `rule_id` and `expires_at` (epoch s); forget those that ended before."""
        ...

    async def rule_delete(self, rule_id: str) -> bool:
        """Withdraw a rule; False if there is none of that id."""
        ...

    async def rule_list(self) -> Sequence[Mapping[str, Any]]:
        """All rules that were not withdrawn, those that end last first; some may have ended."""
        ...

    async def rules_version(self) -> str:
        """A text that is another one after every change of a rule, on every node."""
        ...

    # the trail and recordings
    async def audit_search(
        self, wanted: AuditFilter, before_seq: int | None = None, limit: int = 1000
    ) -> tuple[Sequence[tuple[int, str, str]], int]:
        """`(seq, record, hash)` of records that fit, newest first, among some of those below `before_seq`.

        Also the `seq` to go on below, 0 if nothing is left. `before_seq` None begins at the newest.
        """
        ...

    async def audit_ends(self, since: str = "") -> tuple[int, str, int]:
        """Where an export of the records since a moment (`rfc3339`; empty: of all) begins and ends.

        The `seq` before its first record, the hash there, and the last `seq` of all.
        """
        ...

    def recording_submit(self, run_id: str, at: float, document: Mapping[str, Any]) -> asyncio.Future[None]:
        """Hand a recording over to be added or replaced, without waiting; the future ends once it is on disk.

        Raises Unavailable if no more writes are taken.
        """
        ...

    async def recording_get(self, run_id: str) -> Mapping[str, Any] | None:
        """The recording of a run."""
        ...

    async def recordings_forget(self, before: float) -> int:
        """Remove the recordings made before (epoch seconds); returns how many."""
        ...

    # life
    def admit(self, *, frees_space: bool = False) -> None:
        """Raise Unavailable (component `disk`) while the store's disk is full, unless the work frees some of it.

        The last of the disk is kept for the records of that work and of what runs already.
        """
        ...

    async def check(self) -> None:
        """Raises Unavailable if reads do not work now, if writes have failed and still do, or if the disk is full."""
        ...

    async def close(self) -> None:
        """Write what is waiting and let go."""
        ...
