"""Who may log in: passwords, tokens, and what becomes of guessing."""

import asyncio
import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import jwt
import pytest
import pytest_asyncio

from llmcore.accounts import ADMINISTRATOR, AccountOptions, Accounts, sha256_hex
from llmcore.adapters.sql import SqlStore, StoreOptions, open_store
from llmcore.errors import BadParams, Conflict, NotFound, RateLimited, Unauthorized
from llmcore.plan import Principal
from tests.clocks import HandClock

QUICK = AccountOptions(hash_memory_kib=8, hash_rounds=1)
HERE = "127.0.0.1"


@pytest_asyncio.fixture
async def store(data_dir: Path) -> AsyncIterator[SqlStore]:
    """A real store."""
    opened = await open_store(StoreOptions(url=f"sqlite:///{data_dir}/llmcore.db"))
    yield opened
    await opened.close()


@pytest.fixture
def clock() -> HandClock:
    """Time that the test moves."""
    return HandClock()


@pytest_asyncio.fixture
async def accounts(store: SqlStore, clock: HandClock) -> Accounts:
    """With a user `anna`, password `pw`."""
    made = Accounts(store, clock, QUICK)
    await made.add("anna", "developer", "pw")
    return made


async def access(accounts: Accounts) -> str:
    """An access token of anna's."""
    return (await accounts.login("anna", sha256_hex("pw"), HERE)).access.token


@pytest.mark.asyncio
async def test_login_gives_tokens_that_say_who_it_is(accounts: Accounts, clock: HandClock) -> None:
    """URL-safe, with their times; good until they expire."""
    pair = await accounts.login("anna", sha256_hex("pw"), HERE)
    assert (pair.access.issued, pair.access.expires) == (1_700_000_000, 1_700_000_000 + 12 * 3600)
    assert pair.refresh.expires == 1_700_000_000 + 30 * 86400
    assert all(character.isalnum() or character in "-_." for character in pair.access.token)
    assert await accounts.authenticate(pair.access.token) == (Principal(name="anna", role="developer"), 1700043200.0)
    clock.time = pair.access.expires
    for _ in range(2):  # as it was checked before, and anew
        with pytest.raises(Unauthorized, match="expired"):
            await accounts.authenticate(pair.access.token)
        clock.time += 10
    with pytest.raises(Unauthorized):
        await accounts.authenticate(pair.refresh.token)


@pytest.mark.asyncio
async def test_tokens_survive_a_restart(accounts: Accounts, store: SqlStore, clock: HandClock) -> None:
    """Their key is in the store."""
    token = await access(accounts)
    again = Accounts(store, clock)
    assert (await again.authenticate(token))[0].name == "anna"


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("name", "password"),
    [("anna", "wrong"), ("anna", ""), ("nobody", "pw"), ("../etc", "pw"), ("a\x00", "pw"), ("", "pw")],
)
async def test_wrong_login_says_no_more_than_that(accounts: Accounts, name: str, password: str) -> None:
    """An unknown name sounds like a wrong password."""
    with pytest.raises(Unauthorized, match="The user name or the password is wrong"):
        await accounts.login(name, sha256_hex(password), HERE)
    with pytest.raises(Unauthorized):
        await accounts.login(name, "\ud83d", HERE)


@pytest.mark.asyncio
async def test_unknown_name_costs_a_hash_too(accounts: Accounts, monkeypatch: pytest.MonkeyPatch) -> None:
    """So that time does not tell who exists."""
    checked: list[str] = []
    verify = accounts._passwords._verify_now

    def noted(hash_: str, secret: str) -> bool:
        checked.append(hash_)
        return verify(hash_, secret)

    monkeypatch.setattr(accounts._passwords, "_verify_now", noted)
    for name in ("anna", "nobody", "nobody"):
        with pytest.raises(Unauthorized):
            await accounts.login(name, "x", HERE)
    assert len(checked) == 3
    assert {hash_.rsplit("$", 2)[0] for hash_ in checked} == {"$argon2id$v=19$m=8,t=1,p=1"}
    assert checked[1] == checked[2]


@pytest.mark.asyncio
async def test_damaged_hash_lets_nobody_in(accounts: Accounts, store: SqlStore) -> None:
    """Rather than fail inside."""
    user = await store.user_get("anna")
    assert user is not None
    await store.user_put(replace(user, password_hash="damaged"))
    with pytest.raises(Unauthorized):
        await accounts.login("anna", sha256_hex("pw"), HERE)


async def refused_for(accounts: Accounts, name: str, remote: str = HERE) -> float:
    """Seconds that a login has to wait."""
    with pytest.raises(RateLimited) as refused:
        await accounts.login(name, sha256_hex("pw"), remote)
    return refused.value.retry_after_s


async def guess(accounts: Accounts, name: str, times: int, remote: str = HERE) -> None:
    """Wrong logins that are looked at."""
    for _ in range(times):
        with pytest.raises(Unauthorized):
            await accounts.login(name, "x", remote)


@pytest.mark.asyncio
async def test_guessing_a_password_is_slowed_down_more_and_more(accounts: Accounts, clock: HandClock) -> None:
    """Up to a minute, for the right password too; which forgives."""
    await guess(accounts, "anna", 4)
    for wait_s in (1, 2, 4, 8, 16, 32, 60, 60):
        await guess(accounts, "anna", 1)
        assert await refused_for(accounts, "anna", "elsewhere") == wait_s
        clock.time += wait_s
    await access(accounts)
    await guess(accounts, "anna", 4)


@pytest.mark.asyncio
async def test_failures_of_long_ago_are_forgotten(accounts: Accounts, clock: HandClock) -> None:
    """A quarter of an hour is enough."""
    await guess(accounts, "anna", 5)
    clock.time += 1000
    await guess(accounts, "anna", 4)


@pytest.mark.asyncio
async def test_guessing_names_is_slowed_down_by_address(accounts: Accounts) -> None:
    """Others are not."""
    for number in range(20):
        await guess(accounts, f"name{number}", 1)
    assert await refused_for(accounts, "anna") == 1
    await accounts.login("anna", sha256_hex("pw"), "elsewhere")


@pytest.mark.asyncio
async def test_only_so_many_guessers_are_remembered(accounts: Accounts, monkeypatch: pytest.MonkeyPatch) -> None:
    """The longest quiet one is forgotten, so memory stays bounded."""
    monkeypatch.setattr("llmcore.accounts._REMEMBERED", 2)
    await guess(accounts, "anna", 5)
    for name in ("b", "c"):
        await guess(accounts, name, 1, remote="elsewhere")
    await accounts.login("anna", sha256_hex("pw"), "elsewhere")


@pytest.mark.asyncio
async def test_guesses_at_the_same_time_are_slowed_down_too(accounts: Accounts) -> None:
    """Hardly more are looked at than one after the other."""
    guesses = (accounts.login("anna", "x", HERE) for _ in range(60))
    outcomes = await asyncio.gather(*guesses, return_exceptions=True)
    looked_at = sum(isinstance(outcome, Unauthorized) for outcome in outcomes)
    assert 5 <= looked_at <= 5 + QUICK.hash_parallel
    assert all(isinstance(outcome, Unauthorized | RateLimited) for outcome in outcomes)


@pytest.mark.asyncio
async def test_many_logins_at_once_get_through_or_are_told_to_come_back(
    accounts: Accounts, store: SqlStore, clock: HandClock
) -> None:
    """A hundred are no crowd; what waits is bounded."""
    pairs = await asyncio.gather(*(accounts.login("anna", sha256_hex("pw"), HERE) for _ in range(100)))
    assert len({pair.access.token for pair in pairs}) == 100
    narrow = Accounts(store, clock, replace(QUICK, hash_waiting=3))
    logins = (narrow.login("anna", sha256_hex("pw"), HERE) for _ in range(20))
    outcomes = await asyncio.gather(*logins, return_exceptions=True)
    refused = [outcome for outcome in outcomes if isinstance(outcome, RateLimited)]
    assert refused
    assert refused[0].retry_after_s == 1
    assert len(refused) < 20


@pytest.mark.asyncio
async def test_refresh_token_is_good_once(accounts: Accounts) -> None:
    """Of two who use it at the same time one wins; an access token is none."""
    pair = await accounts.login("anna", sha256_hex("pw"), HERE)
    outcomes = await asyncio.gather(*(accounts.refresh(pair.refresh.token) for _ in range(2)), return_exceptions=True)
    (fresh,) = [outcome for outcome in outcomes if not isinstance(outcome, BaseException)]
    assert isinstance(next(outcome for outcome in outcomes if outcome is not fresh), Unauthorized)
    assert (await accounts.authenticate(fresh.access.token))[0].name == "anna"
    await accounts.refresh(fresh.refresh.token)
    for token in (pair.refresh.token, pair.access.token):
        with pytest.raises(Unauthorized):
            await accounts.refresh(token)


@pytest.mark.asyncio
async def test_revoked_token_is_void_at_once_and_elsewhere_within_a_second(
    accounts: Accounts, store: SqlStore, clock: HandClock
) -> None:
    """Other tokens of the same user stay good; revoking twice is no error."""
    other = Accounts(store, clock, QUICK)
    token, kept = await access(accounts), await access(accounts)
    for node in (accounts, other):
        await node.authenticate(token)
    await accounts.revoke(token)
    await accounts.revoke(token)
    with pytest.raises(Unauthorized):
        await accounts.authenticate(token)
    clock.time += 1
    with pytest.raises(Unauthorized):
        await other.authenticate(token)
    await accounts.authenticate(kept)
    with pytest.raises(Unauthorized):
        await accounts.revoke("nonsense")


@pytest.mark.asyncio
async def test_token_that_is_revoked_while_it_is_checked_is_checked_again(
    accounts: Accounts, store: SqlStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A check that was under way does not make it good for the next call."""
    token = await access(accounts)
    looked, go_on = asyncio.Event(), asyncio.Event()
    look = store.token_revoked

    async def slow_look(token_id: str) -> bool:
        found = await look(token_id)
        looked.set()
        await go_on.wait()
        return found

    monkeypatch.setattr(store, "token_revoked", slow_look)
    async with asyncio.TaskGroup() as tasks:
        checking = tasks.create_task(accounts.authenticate(token))
        await looked.wait()
        await accounts.revoke(token)
        go_on.set()
    assert checking.result()[0].name == "anna"
    with pytest.raises(Unauthorized):
        await accounts.authenticate(token)


@pytest.mark.asyncio
async def test_checked_tokens_are_remembered_within_bounds(
    accounts: Accounts, store: SqlStore, clock: HandClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A known token costs no read of the store."""
    narrow = Accounts(store, clock, replace(QUICK, cache_size=2))
    tokens = [await access(accounts) for _ in range(3)]
    for token in tokens:
        await narrow.authenticate(token)
    reads: list[str] = []
    look = store.token_revoked

    async def noted(token_id: str) -> bool:
        reads.append(token_id)
        return await look(token_id)

    monkeypatch.setattr(store, "token_revoked", noted)
    for token in reversed(tokens):
        await narrow.authenticate(token)
    assert len(reads) == 1


@pytest.mark.asyncio
async def test_new_password_voids_old_tokens(accounts: Accounts) -> None:
    """At the same moment already, and only those; the old password is wrong from then on."""
    pair = await accounts.login("anna", sha256_hex("pw"), HERE)
    await accounts.authenticate(pair.access.token)
    await accounts.set_password("anna", "new")
    for use in (accounts.authenticate(pair.access.token), accounts.refresh(pair.refresh.token)):
        with pytest.raises(Unauthorized):
            await use
    await guess(accounts, "anna", 1)
    fresh = await accounts.login("anna", sha256_hex("new"), HERE)
    await accounts.authenticate(fresh.access.token)
    with pytest.raises(NotFound):
        await accounts.set_password("nobody", "new")
    with pytest.raises(BadParams):
        await accounts.set_password("anna", "")


@pytest.mark.asyncio
async def test_token_of_a_user_who_changed_or_is_gone_is_void(
    accounts: Accounts, store: SqlStore, clock: HandClock
) -> None:
    """A token never outlives its role."""
    token = await access(accounts)
    user = await store.user_get("anna")
    assert user is not None
    await store.user_put(replace(user, role="observer"))
    with pytest.raises(Unauthorized, match="void"):
        await accounts.authenticate(token)
    await store.user_put(user)
    await accounts.authenticate(token)
    await store._write(lambda connection: connection.exec_driver_sql("DELETE FROM user_account").rowcount)
    clock.time += 1
    with pytest.raises(Unauthorized, match="void"):
        await accounts.authenticate(token)


@pytest.mark.asyncio
@pytest.mark.parametrize(
    "change",
    [
        {"iss": "other"},
        {"aud": "other"},
        {"jti": None},
        {"exp": None},
        {"role": None},
        {"sub": 7},
    ],
)
async def test_token_with_other_claims_is_refused(accounts: Accounts, store: SqlStore, change: dict[str, Any]) -> None:
    """Even with the right signature."""
    claims = jwt.decode(await access(accounts), options={"verify_signature": False})
    claims = {name: value for name, value in (claims | change).items() if value is not None}
    key = await store.secret("token_key", bytes)
    with pytest.raises(Unauthorized):
        await accounts.authenticate(jwt.encode(claims, key, "HS256"))


@pytest.mark.asyncio
async def test_forged_token_is_refused(accounts: Accounts, store: SqlStore) -> None:
    """Another key or algorithm, none at all, changed claims, garbage."""
    token = await access(accounts)
    claims = jwt.decode(token, options={"verify_signature": False})
    key = await store.secret("token_key", bytes)
    head, body, signature = token.split(".")
    better = json.dumps(json.loads(urlsafe_b64decode(body + "==")) | {"role": "admin"}).encode()
    forged = [
        jwt.encode(claims, b"x" * 32, "HS256"),
        jwt.encode(claims, key + key, "HS512"),
        jwt.encode(claims, None, "none"),
        f"{head}.{urlsafe_b64encode(better).decode().rstrip('=')}.{signature}",
        f"{head}.{body}.",
        token[:-3],
        "",
        "a.b.c",
        "\ud83d",
    ]
    for one in forged:
        with pytest.raises(Unauthorized):
            await accounts.authenticate(one)


@pytest.mark.asyncio
async def test_token_for_a_program(accounts: Accounts, clock: HandClock) -> None:
    """As long as asked for."""
    token = await accounts.issue("anna", 86400 * 90)
    assert await accounts.authenticate(token) == (Principal(name="anna", role="developer"), clock.time + 86400 * 90)
    for ttl_s in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(BadParams) as refused:
            await accounts.issue("anna", ttl_s)
        assert refused.value.details["fields"][0]["pointer"] == "/ttl_s"
    with pytest.raises(NotFound):
        await accounts.issue("nobody", 60)


@pytest.mark.asyncio
async def test_user_that_cannot_be_added(accounts: Accounts) -> None:
    """All that is wrong is named at once."""
    with pytest.raises(BadParams) as refused:
        await accounts.add("../x", "root", "")
    assert [field["pointer"] for field in refused.value.details["fields"]] == ["/name", "/role", "/password"]
    with pytest.raises(Conflict):
        await accounts.add("anna", "admin", "other")
    await accounts.add("Bo.b@x-1_", "observer", "p")
    assert [(user.name, user.role) for user in await accounts.list()] == [
        ("Bo.b@x-1_", "observer"),
        ("anna", "developer"),
    ]


@pytest.mark.asyncio
async def test_first_start_makes_an_administrator(accounts: Accounts) -> None:
    """With a password that is told once."""
    password = await accounts.bootstrap(None)
    assert password is not None
    assert len(password) >= 20
    pair = await accounts.login(ADMINISTRATOR, sha256_hex(password), HERE)
    assert (await accounts.authenticate(pair.access.token))[0].role == "admin"
    assert await accounts.bootstrap(None) is None
    await accounts.authenticate(pair.access.token)


@pytest.mark.asyncio
async def test_given_password_is_set_where_it_differs(accounts: Accounts) -> None:
    """On a first start and on later ones; tokens survive a start that changes nothing."""
    assert await accounts.bootstrap("one") is None
    pair = await accounts.login(ADMINISTRATOR, sha256_hex("one"), HERE)
    assert await accounts.bootstrap("one") is None
    await accounts.authenticate(pair.access.token)
    assert await accounts.bootstrap("two") is None
    with pytest.raises(Unauthorized):
        await accounts.authenticate(pair.access.token)
    await accounts.login(ADMINISTRATOR, sha256_hex("two"), HERE)
