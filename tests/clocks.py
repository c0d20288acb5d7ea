"""Time for tests: it stands still until the test moves it."""


class HandClock:
    """`llmcore.ports.Clock` that only the test moves."""

    def __init__(self, now: float = 1_700_000_000.0) -> None:
        """Begin at some moment."""
        self.time = now

    def now(self) -> float:
        """Epoch seconds."""
        return self.time

    def monotonic(self) -> float:
        """The same, as good as any."""
        return self.time
