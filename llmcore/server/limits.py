"""How many requests a second a user may make: one token bucket a user, shared by all their connections.

Called by every door of the server. Knows names and times only.
"""

import math
from dataclasses import dataclass

from llmcore.ports import Clock

MANY_USERS = 1_000
"""Above this number of buckets, full ones are forgotten."""


@dataclass(slots=True)
class _Bucket:
    tokens: float
    filled_at: float


class RateLimit:
    """Token buckets that hold one second's worth of requests."""

    def __init__(self, per_second: float, clock: Clock) -> None:
        """`per_second` requests for each user; 0 for no limit."""
        self._rate = per_second
        self._size = max(per_second, 1.0)
        self._clock = clock
        self._buckets: dict[str, _Bucket] = {}

    def wait_s(self, user: str) -> float:
        """Take a token; 0 if there was one, else the seconds until there is."""
        if self._rate <= 0:
            return 0.0
        now = self._clock.monotonic()
        bucket = self._buckets.get(user)
        if bucket is None:
            self._forget_idle(now)
            bucket = self._buckets[user] = _Bucket(self._size, now)
        bucket.tokens = min(self._size, bucket.tokens + (now - bucket.filled_at) * self._rate)
        bucket.filled_at = now
        if bucket.tokens >= 1.0:
            bucket.tokens -= 1.0
            return 0.0
        return math.ceil((1.0 - bucket.tokens) / self._rate * 1000) / 1000

    def _forget_idle(self, now: float) -> None:
        if len(self._buckets) < MANY_USERS:
            return
        filled_before = now - self._size / self._rate
        self._buckets = {name: bucket for name, bucket in self._buckets.items() if bucket.filled_at > filled_before}
