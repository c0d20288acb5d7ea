"""Who may log in: users, passwords and tokens.

Called by the doors (login, every connection) and by the commands for users. Knows neither HTTP nor what a role may do.
The wire carries the lower-case hex SHA-256 of a password; what is stored is an argon2id hash of that.
"""

import asyncio
import hashlib
import math
import re
import secrets
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any

import jwt
from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from llmcore.audit import Audit
from llmcore.errors import BadParams, Conflict, NotFound, RateLimited, Unauthorized
from llmcore.plan import Principal
from llmcore.ports import Clock, Store, User, rfc3339

ROLES = ("admin", "developer", "observer")
ADMINISTRATOR = "administrator"
SYSTEM = Principal(name="llmcore", role="admin", kind="service")
"""Who makes the first user."""
UNKNOWN = Principal(name="unknown")
"""Who logs in under a name that nobody has; what was typed there may be a password, so no record has it."""
_ALGORITHM = "HS256"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}")
_FORGET_S = 900.0
_REMEMBERED = 10_000
_CLAIMS = ["iss", "aud", "sub", "role", "type", "jti", "iat", "exp"]


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountOptions:
    """How long tokens live and how hard passwords are to guess."""

    access_s: int = 12 * 3600
    refresh_s: int = 30 * 24 * 3600
    issuer: str = "llmcore"
    cache_s: float = 0.8
    """How long a token counts as checked; after that a revocation by another process is seen."""
    cache_size: int = 10_000
    hash_memory_kib: int = 19_456
    hash_rounds: int = 2
    hash_parallel: int = 2
    """Passwords hashed at a time."""
    hash_waiting: int = 256
    """Logins that may wait for that; more are refused for a second."""
    free_failures: int = 5
    """Failed logins of a user name before the next ones are slowed down."""
    free_failures_remote: int = 20
    """The same for an address."""
    slowest_s: float = 60.0
    """A failed login never blocks longer than this."""


@dataclass(frozen=True, slots=True)
class Token:
    """A signed token with its times in epoch seconds."""

    token: str
    issued: int
    expires: int


@dataclass(frozen=True, slots=True)
class TokenPair:
    """What a login gives."""

    access: Token
    refresh: Token


class Accounts:
    """Users and their tokens; made once, in `app`."""

    def __init__(
        self, store: Store, clock: Clock, options: AccountOptions | None = None, audit: Audit | None = None
    ) -> None:
        """Does nothing yet. Logins are told to `audit`; a store that is away keeps nobody out."""
        self._audit = audit
        self._store = store
        self._clock = clock
        self._options = options or AccountOptions()
        self._passwords = _Passwords(self._options)
        self._tokens = _Tokens(store, clock, self._options)
        self._users = _Slowdown(clock, self._options.free_failures, self._options.slowest_s)
        self._remotes = _Slowdown(clock, self._options.free_failures_remote, self._options.slowest_s)

    async def bootstrap(self, password: str | None) -> str | None:
        """On a first start make `administrator` (role admin); returns the password if it had to be made up.

        `password` sets it instead, on later starts too if it differs: that voids the administrator's tokens.
        """
        user = await self._store.user_get(ADMINISTRATOR)
        made_up = None
        if user is None:
            made_up = None if password else secrets.token_urlsafe(15)
            await self.add(ADMINISTRATOR, "admin", password or made_up or "")
            self._note("user.add", SYSTEM, user=ADMINISTRATOR, role="admin", reason="first start")
        elif password and not await self._passwords.verify(user.password_hash, sha256_hex(password)):
            await self.set_password(ADMINISTRATOR, password)
            self._note("user.passwd", SYSTEM, user=ADMINISTRATOR, reason="set in the settings")
        return made_up

    async def login(self, username: str, password_sha256: str, remote: str) -> TokenPair:
        """Tokens for a user; Unauthorized for a wrong name or password, RateLimited after too many of them.

        `remote` is the address the attempt comes from. An unknown name costs as much time as a wrong password.
        """

        def check() -> None:
            self._users.check(username)
            self._remotes.check(remote)

        check()
        user = await self._store.user_get(username) if _NAME.fullmatch(username) else None
        right = await self._passwords.verify(user.password_hash if user else None, password_sha256, check)
        if user is None or not right:
            self._users.fail(username)
            self._remotes.fail(remote)
            self._note("login.failed", _person(user) if user else UNKNOWN, remote=remote)
            raise Unauthorized("The user name or the password is wrong.")
        self._users.forgive(username)
        self._note("login", _person(user), remote=remote)
        return await self._tokens.pair(user)

    async def refresh(self, refresh_token: str) -> TokenPair:
        """A new pair for a refresh token, which is void from then on; Unauthorized for a used or void one."""
        claims, user = await self._tokens.check(refresh_token, "refresh")
        if not await self._tokens.revoke(claims):
            self._note("login.refresh.failed", _person(user), reason="used twice")
            raise Unauthorized("The refresh token was used already: log in again.")
        self._note("login.refresh", _person(user))
        return await self._tokens.pair(user)

    async def revoke(self, token: str) -> None:
        """Void a token: at once here, within a second in other processes; Unauthorized if it is none of ours."""
        claims = await self._tokens.read(token)
        await self._tokens.revoke(claims)
        self._note("login.revoke", Principal(name=claims["sub"], role=claims["role"]), kind=claims["type"])

    async def authenticate(self, token: str) -> tuple[Principal, float]:
        """Who is behind an access token, and when it expires (epoch seconds); Unauthorized.

        Cheap to call for every message: the store is asked once in `cache_s`.
        """
        return await self._tokens.authenticate(token)

    async def add(self, name: str, role: str, password: str) -> User:
        """Add a user; BadParams with `fields`, Conflict if the name is taken."""
        _validate(name=name, role=role, password=password)
        if await self._store.user_get(name):
            raise Conflict(f"There is a user {name} already.")
        hash_ = await self._passwords.hash(sha256_hex(password))
        user = User(name=name, role=role, password_hash=hash_, created_at=rfc3339(self._clock.now()))
        await self._store.user_put(user)
        return user

    async def set_password(self, name: str, password: str) -> None:
        """Change a password, which voids all tokens of the user; NotFound, BadParams."""
        _validate(password=password)
        user = await self._user(name)
        hash_ = await self._passwords.hash(sha256_hex(password))
        voided = replace(user, password_hash=hash_, tokens_valid_from=self._clock.now())
        await self._store.user_put(voided)
        self._tokens.forget()

    async def list(self) -> Sequence[User]:
        """All users by name."""
        return await self._store.user_list()

    async def issue(self, name: str, ttl_s: float) -> str:
        """An access token for a program that acts as a user, valid for `ttl_s` seconds; NotFound, BadParams."""
        if not (math.isfinite(ttl_s) and ttl_s >= 1):
            raise BadParams("The token would not be valid.", [{"pointer": "/ttl_s", "message": "at least 1 second"}])
        return (await self._tokens.make(await self._user(name), "access", int(ttl_s))).token

    def _note(self, action: str, person: Principal, **facts: Any) -> None:
        if self._audit is not None:
            self._audit.note(action, person, **facts)

    async def _user(self, name: str) -> User:
        user = await self._store.user_get(name)
        if user is None:
            raise NotFound(f"There is no user {name}.")
        return user


def _person(user: User) -> Principal:
    return Principal(name=user.name, role=user.role)


def sha256_hex(password: str) -> str:
    """What the wire carries in place of a password."""
    return hashlib.sha256(password.encode("utf-8", "surrogatepass")).hexdigest()


def _validate(**values: str) -> None:
    fields = []
    if not _NAME.fullmatch(values.get("name", "x")):
        message = "1 to 64 letters, digits or . _ @ -, beginning with a letter or digit"
        fields.append({"pointer": "/name", "message": message})
    if values.get("role", ROLES[0]) not in ROLES:
        fields.append({"pointer": "/role", "message": f"one of {', '.join(ROLES)}"})
    if not 1 <= len(values.get("password", "x")) <= 1024:
        fields.append({"pointer": "/password", "message": "1 to 1024 characters"})
    if fields:
        raise BadParams("The user cannot be saved: " + "; ".join(f["pointer"][1:] for f in fields) + ".", fields)


class _Passwords:
    """argon2id in threads, a few at a time, because each takes memory and tens of milliseconds."""

    def __init__(self, options: AccountOptions) -> None:
        self._hasher = PasswordHasher(options.hash_rounds, options.hash_memory_kib, parallelism=1)
        self._slots = asyncio.Semaphore(options.hash_parallel)
        self._limit = options.hash_waiting
        self._waiting = 0
        self._nobodys: str | None = None

    async def hash(self, secret: str) -> str:
        async with self._turn():
            return await asyncio.to_thread(self._hasher.hash, secret)

    async def verify(self, hash_: str | None, secret: str, check: Callable[[], None] = lambda: None) -> bool:
        """True if `secret` made the hash; without a hash the same work for nothing. `check` may refuse just before."""
        if hash_ is None and self._nobodys is None:
            self._nobodys = await self.hash(secrets.token_hex())
        async with self._turn():
            check()
            right = await asyncio.to_thread(self._verify_now, hash_ or self._nobodys or "", secret)
        return right and hash_ is not None

    def _verify_now(self, hash_: str, secret: str) -> bool:
        try:
            return self._hasher.verify(hash_, secret.encode("utf-8", "surrogatepass"))
        except (VerificationError, InvalidHashError):
            return False

    @asynccontextmanager
    async def _turn(self) -> AsyncIterator[None]:
        if self._waiting >= self._limit:
            raise RateLimited("Too many logins at once: try again in a second.", 1.0)
        self._waiting += 1
        try:
            async with self._slots:
                yield
        finally:
            self._waiting -= 1


class _Slowdown:
    """Slows down who fails often: each failure beyond the free ones doubles the wait."""

    def __init__(self, clock: Clock, free: int, slowest_s: float) -> None:
        self._clock = clock
        self._free = free
        self._slowest_s = slowest_s
        self._failed: OrderedDict[str, tuple[int, float]] = OrderedDict()  # failures, not before (monotonic)

    def check(self, key: str) -> None:
        """RateLimited while the key has to wait."""
        wait_s = self._failed.get(key, (0, 0.0))[1] - self._clock.monotonic()
        if wait_s > 0:
            raise RateLimited("Too many failed logins: wait before the next one.", wait_s)

    def fail(self, key: str) -> None:
        """Count a failure; those of long ago are forgotten."""
        now = self._clock.monotonic()
        failures, until = self._failed.pop(key, (0, now))
        failures = 1 if now > until + _FORGET_S else failures + 1
        over = min(failures - self._free, 30)
        self._failed[key] = (failures, now + min(2.0**over, self._slowest_s) if over >= 0 else now)
        if len(self._failed) > _REMEMBERED:
            self._failed.popitem(last=False)

    def forgive(self, key: str) -> None:
        """Forget the failures of a key."""
        self._failed.pop(key, None)


class _Tokens:
    """JSON Web Tokens: made, checked, revoked."""

    def __init__(self, store: Store, clock: Clock, options: AccountOptions) -> None:
        self._store = store
        self._clock = clock
        self._options = options
        self._key: bytes | None = None
        self._checked: OrderedDict[str, tuple[Principal, float, float]] = OrderedDict()  # expires, check again at
        self._revocations = 0

    async def pair(self, user: User) -> TokenPair:
        access = await self.make(user, "access", self._options.access_s)
        return TokenPair(access, await self.make(user, "refresh", self._options.refresh_s))

    async def make(self, user: User, kind: str, ttl_s: int) -> Token:
        issued = max(self._clock.now(), user.tokens_valid_from + 0.001)  # later than what voided the earlier ones
        expires = int(issued) + ttl_s
        claims = {
            "iss": self._options.issuer,
            "aud": self._options.issuer,
            "sub": user.name,
            "role": user.role,
            "type": kind,
            "jti": secrets.token_urlsafe(12),
            "iat": issued,
            "exp": expires,
        }
        return Token(jwt.encode(claims, await self._signing_key(), _ALGORITHM), int(issued), expires)

    async def read(self, token: str) -> Mapping[str, Any]:
        """The claims of a token that we signed; it may be expired or void."""
        options: Any = {"require": _CLAIMS, "verify_exp": False, "verify_iat": False}  # times: by our clock, in `check`
        issuer = self._options.issuer
        try:
            return jwt.decode(
                token,
                await self._signing_key(),
                algorithms=[_ALGORITHM],
                audience=issuer,
                issuer=issuer,
                options=options,
            )
        except (jwt.InvalidTokenError, UnicodeError) as error:
            raise Unauthorized("The token is not valid: log in again.") from error

    async def check(self, token: str, kind: str) -> tuple[Mapping[str, Any], User]:
        claims = await self.read(token)
        if claims["type"] != kind:
            raise Unauthorized(f"This takes the {kind} token.")
        self._check_time(claims["exp"])
        user = await self._store.user_get(claims["sub"])
        current = user is not None and user.role == claims["role"] and claims["iat"] > user.tokens_valid_from
        if user is None or not current or await self._store.token_revoked(claims["jti"]):
            raise Unauthorized("The token is void: log in again.")
        return claims, user

    async def authenticate(self, token: str) -> tuple[Principal, float]:
        checked = self._checked.get(token)
        if checked and self._clock.monotonic() < checked[2]:
            self._check_time(checked[1])
            return checked[0], checked[1]
        revocations = self._revocations
        claims, user = await self.check(token, "access")
        principal, expires = Principal(name=user.name, role=user.role), float(claims["exp"])
        if revocations == self._revocations:
            self._checked[token] = (principal, expires, self._clock.monotonic() + self._options.cache_s)
            self._checked.move_to_end(token)
            if len(self._checked) > self._options.cache_size:
                self._checked.popitem(last=False)
        return principal, expires

    async def revoke(self, claims: Mapping[str, Any]) -> bool:
        """False if it was void already."""
        new = await self._store.token_revoke(claims["jti"], float(claims["exp"]), self._clock.now())
        self.forget()
        return new

    def forget(self) -> None:
        """Check every token anew, those being checked now too."""
        self._revocations += 1
        self._checked.clear()

    def _check_time(self, expires: float) -> None:
        if self._clock.now() >= expires:
            raise Unauthorized("The token has expired: log in again.")

    async def _signing_key(self) -> bytes:
        if self._key is None:
            self._key = await self._store.secret("token_key", lambda: secrets.token_bytes(32))
        return self._key
