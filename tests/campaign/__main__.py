"""`python -m tests.campaign --seeds 100 --store sqlite|postgres`: many campaigns, and what they came to."""

import argparse
import asyncio
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.campaign.history import Tally
from tests.campaign.run import KILLS, campaign
from tests.servers import postgres_database, postgres_server


def arguments() -> argparse.Namespace:
    """What the user asks."""
    parser = argparse.ArgumentParser(prog="python -m tests.campaign", description=__doc__)
    parser.add_argument("--seeds", type=int, default=100, metavar="N", help="how many campaigns (100)")
    parser.add_argument("--first", type=int, default=1, metavar="SEED", help="the first seed (1)")
    parser.add_argument("--kills", type=int, default=KILLS, metavar="N", help=f"kills in each ({KILLS})")
    parser.add_argument("--store", choices=("sqlite", "postgres"), default="sqlite")
    return parser.parse_args()


@contextmanager
def store_of(port: int | None) -> Iterator[dict[str, str]]:
    """The settings of an empty store."""
    if port is None:
        yield {}
        return
    with postgres_database(port) as url:
        yield {"LLMCORE_STORE__URL": url}


def seeds(options: argparse.Namespace, port: int | None) -> int:
    """All campaigns, one after the other; how many went wrong."""
    total, wrong, began = Tally(), 0, time.monotonic()
    for seed in range(options.first, options.first + options.seeds):
        with tempfile.TemporaryDirectory(prefix="llmcore-campaign-") as folder, store_of(port) as store:
            try:
                tally = asyncio.run(campaign(Path(folder), seed, store, options.kills))
            except (AssertionError, TimeoutError, ExceptionGroup) as error:
                wrong += 1
                print(f"seed {seed}: {type(error).__name__} {error}", flush=True)
                continue
        total.add(tally)
        wrong += bool(tally.faults)
        print(f"seed {seed}: {dict(tally.ends)}, unknown {len(tally.unknown)}, {tally.faults or 'right'}", flush=True)
    print(
        f"{options.store}: {options.seeds} seeds x {options.kills} kills in {time.monotonic() - began:.0f} s; "
        f"{sum(total.ends.values())} plans {dict(total.ends)}, {total.steps} steps with an effect; "
        f"lost {len(total.lost)}, done twice {len(total.twice)}, unreported {len(total.unreported)}, "
        f"out of order {len(total.disorder)}, unapproved {len(total.unapproved)}; "
        f"unknown and asked {len(total.unknown)}, idempotent steps repeated {total.repeated}; "
        f"seeds that went wrong {wrong}"
    )
    return wrong


def main() -> int:
    """Run them; 1 if one went wrong."""
    options = arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # servers and folders go, as after Ctrl-C
    if options.store == "sqlite":
        return int(seeds(options, None) > 0)
    with postgres_server() as port:
        return int(seeds(options, port) > 0)


if __name__ == "__main__":
    sys.exit(main())
