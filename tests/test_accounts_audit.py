"""Who logged in, who failed to, whose tokens were renewed or ended: each is one record."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from llmcore.accounts import AccountOptions, Accounts, sha256_hex
from llmcore.adapters.sql import SqlStore, StoreOptions, open_store
from llmcore.audit import Audit
from llmcore.errors import Unauthorized
from llmcore.redaction import Redactor
from tests.clocks import HandClock

pytestmark = pytest.mark.asyncio

QUICK = AccountOptions(hash_memory_kib=8, hash_rounds=1)


class Desk:
    """Accounts with a trail."""

    def __init__(self, store: SqlStore) -> None:
        """Nobody is there yet."""
        self.store = store
        self.audit = Audit(store, HandClock(), Redactor().value)
        self.accounts = Accounts(store, HandClock(), QUICK, self.audit)

    async def told(self) -> list[tuple[str, str, dict[str, Any]]]:
        """Action, who, facts."""
        await self.audit.flush()
        records = [json.loads(row[1]) for row in await self.store.audit_rows()]
        return [(record["action"], record["actor"]["name"], record["facts"]) for record in records]


@pytest_asyncio.fixture
async def desk(data_dir: Path) -> AsyncIterator[Desk]:
    """On a new store, with anna."""
    store = await open_store(StoreOptions(url=f"sqlite:///{data_dir}/llmcore.db"))
    desk = Desk(store)
    await desk.accounts.add("anna", "developer", "pw")
    yield desk
    await desk.audit.close()
    await store.close()


async def test_logins_are_told_with_their_address(desk: Desk) -> None:
    """Right and wrong ones; a name that nobody has is not written down, since it may be a password."""
    await desk.accounts.login("anna", sha256_hex("pw"), "10.0.0.1")
    for name in ("anna", "my secret passphrase"):
        with pytest.raises(Unauthorized):
            await desk.accounts.login(name, "x", "10.0.0.2")
    assert await desk.told() == [
        ("login", "anna", {"remote": "10.0.0.1"}),
        ("login.failed", "anna", {"remote": "10.0.0.2"}),
        ("login.failed", "unknown", {"remote": "10.0.0.2"}),
    ]


async def test_renewals_and_ends_of_tokens_are_told(desk: Desk) -> None:
    """A refresh token that is used twice too, which may be a stolen one; no token is in any record."""
    pair = await desk.accounts.login("anna", sha256_hex("pw"), "here")
    await desk.accounts.refresh(pair.refresh.token)
    with pytest.raises(Unauthorized):
        await desk.accounts.refresh(pair.refresh.token)
    await desk.accounts.revoke(pair.access.token)
    told = await desk.told()
    assert [(action, name) for action, name, _ in told] == [
        ("login", "anna"),
        ("login.refresh", "anna"),
        ("login.revoke", "anna"),
    ]
    assert told[-1][2] == {"kind": "access"}
    assert pair.access.token[-20:] not in json.dumps(told)


async def test_two_who_use_a_refresh_token_at_once(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """The one who came second is told."""
    pair = await desk.accounts.login("anna", sha256_hex("pw"), "here")

    async def taken(_: Any) -> bool:
        return False

    monkeypatch.setattr(desk.accounts._tokens, "revoke", taken)
    with pytest.raises(Unauthorized):
        await desk.accounts.refresh(pair.refresh.token)
    assert (await desk.told())[-1] == ("login.refresh.failed", "anna", {"reason": "used twice"})


async def test_the_first_user_is_told(desk: Desk) -> None:
    """Made at the first start, and when the settings give another password."""
    await desk.accounts.bootstrap("first password")
    await desk.accounts.bootstrap("first password")
    await desk.accounts.bootstrap("other password")
    assert await desk.told() == [
        ("user.add", "llmcore", {"user": "administrator", "role": "admin", "reason": "first start"}),
        ("user.passwd", "llmcore", {"user": "administrator", "reason": "set in the settings"}),
    ]
