"""The command `scripts/bench`: rounds that take turns among us and our peers, then a table, and JSON if asked.

Each round measures every subject once, so that a busy machine disturbs all alike.
"""

import argparse
import asyncio
import os
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from benchmarks import calls, durable, fanout, matcher, memory, policy, streams
from benchmarks.dialects import PASSWORD, Ours, Peer
from benchmarks.processes import Process, python, running
from benchmarks.report import OURS, Report

LLMCORE = Path(sys.executable).with_name("llmcore")
STREAMS = 100
SIZES = (10, 100, 1_000)
"""Steps of the plans that are measured."""
PARTS = ("start", "stream", "first", "rpc", "matcher", "policy", "idle", "slow", "broadcast", "durable")


def arguments() -> argparse.Namespace:
    """What the user asks."""
    parser = argparse.ArgumentParser(prog="scripts/bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="two short rounds, 1,000 idle sockets")
    parser.add_argument("--rounds", type=int, help="rounds (5; quick: 2)")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS, help="these parts alone")
    parser.add_argument("--postgres", metavar="URL", help="an empty database, for durable plans there too")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all values there")
    return parser.parse_args()


@contextmanager
def product(vendor: Process, report: Report) -> Iterator[Process]:
    """A server on an empty folder with the vendor as its model, everything on but the rate limit."""
    with tempfile.TemporaryDirectory(prefix="llmcore-bench-") as folder:
        environment = {
            "PATH": os.defpath,
            "HOME": folder,
            "LLMCORE_ADMIN_PASSWORD": PASSWORD,
            "LLMCORE_LLM__PROVIDER": "local",
            "LLMCORE_LLM__BASE_URL": f"http://127.0.0.1:{vendor.port}/v1",
            "LLMCORE_LLM__MODEL": "mock-n1-r0",
            "LLMCORE_SERVER__RATE_LIMIT": "0",
        }
        start = time.monotonic()
        command = (str(LLMCORE), "serve", "--port", "0", "--data-dir", f"{folder}/data")
        with running(*command, environment=environment) as process:
            report.add("start: until ready", OURS, time.monotonic() - start, "s")
            yield process


async def measure(options: argparse.Namespace, report: Report) -> None:
    """All rounds of all parts that were asked for; the idle sockets once, on a fresh server."""
    idle_sockets = memory.allow_sockets(1_000 if options.quick else 10_000)
    if "durable" in options.only:
        for store in (None, options.postgres) if options.postgres else (None,):
            await durable.durable(report, store, SIZES, 100 if options.quick else 1_000)
    for number in range(options.rounds or (2 if options.quick else 5)):
        if set(options.only) <= {"durable", "idle"}:
            break
        print(f"round {number + 1} ...", file=sys.stderr, flush=True)
        with ExitStack() as stack:
            vendor = stack.enter_context(python("benchmarks.vendor"))
            peers = stack.enter_context(python("benchmarks.peers", f"http://127.0.0.1:{vendor.port}"))
            process = stack.enter_context(product(vendor, report))
            await one_round(options, report, process, peers)
    if "idle" in options.only:
        with python("benchmarks.vendor") as vendor, product(vendor, report) as process:
            ours = Ours(process)
            await ours.prepare(STREAMS)
            await memory.idle(ours, report, idle_sockets)


async def one_round(options: argparse.Namespace, report: Report, process: Process, peers: Process) -> None:
    """Every subject once."""
    quick = options.quick
    if "start" in options.only:
        memory.start(LLMCORE, process, report)
    ours = Ours(process)
    await ours.prepare(STREAMS)
    subjects = (ours, Peer(peers, "relay"), Peer(peers, "sdk"))

    async def stream() -> None:
        for subject in subjects:
            await streams.saturated(subject, report, 1_000 if quick else 4_000)
            await streams.paced(subject, report, STREAMS, 250 if quick else 500)

    async def first() -> None:
        for subject in subjects:
            await streams.first_token(subject, report, 50 if quick else 200)

    parts: dict[str, Callable[[], Awaitable[None]]] = {
        "stream": stream,
        "first": first,
        "rpc": lambda: calls.rpc(ours, peers, report, 2_000 if quick else 8_000),
        "matcher": lambda: matcher.hundred_intents(report, 200 if quick else 1_000),
        "policy": lambda: policy.decisions(report, 500 if quick else 2_000),
        "broadcast": lambda: fanout.broadcast(ours, peers, report, 1_000),
        "slow": lambda: memory.never_reads(ours, report),
    }
    for part, run in parts.items():
        if part in options.only:
            await run()


def main() -> int:
    """Measure, print, write; 1 if a budget was missed."""
    options = arguments()
    report = Report()
    asyncio.run(measure(options, report))
    table = report.table()
    print(table)
    if options.json:
        options.json.write_text(report.json(), "utf-8")
    return int("MISSED" in table)


if __name__ == "__main__":
    sys.exit(main())
