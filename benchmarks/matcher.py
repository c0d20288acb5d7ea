"""The local matcher alone: CPU time of one request among a hundred intents.

Called by the command, in its own process: no server, no model. The bundled packs are filled up with made-up intents.
"""

import itertools
import time

from benchmarks.report import OURS, Report, percentile
from llmcore.catalog import Catalog, load_packs
from llmcore.intent import Effect, Example, Intent
from llmcore.plan import Principal
from llmcore.planner import Planner, PlannerOptions, PlanRequest

VERBS = ("show", "count", "describe", "refresh", "export", "archive")
NOUNS = (
    "tickets",
    "invoices",
    "sensors",
    "cameras",
    "badges",
    "rooms",
    "vans",
    "parcels",
    "shifts",
    "batches",
    "racks",
)
FORMS = (
    "{verb} {noun}",
    "please {verb} the {noun}",
    "{verb} all {noun} now",
    "can you {verb} our {noun}",
    "i want to {verb} {noun}",
    "{verb} the {noun} of this site",
    "{noun}: {verb} them",
    "time to {verb} the {noun}",
)
REQUESTS = (
    "which processes eat the memory?",
    "how full are the disks",
    "restart nginx",
    "refresh the sensors please",
    "what would happen if I deleted the folder build",
    "write me a poem about autumn",
    "describe our parcels",
    "is the disk full and if so show the biggest log",
)


def _made_up(verb: str, noun: str) -> Intent:
    return Intent(
        name=f"{verb}_{noun}",
        description=f"{verb.capitalize()} the {noun} of the site.",
        schema={"type": "object", "properties": {}, "additionalProperties": False},
        effect=Effect.READ,
        examples=tuple(Example(form.format(verb=verb, noun=noun), {}) for form in FORMS),
    )


async def hundred_intents(report: Report, requests: int) -> None:
    """The cost of each of many requests, some of them out of scope, none seen before in these words."""
    bundled = list(load_packs())
    wanted = 100 - len(bundled)
    made_up = [_made_up(verb, noun) for verb, noun in itertools.islice(itertools.product(VERBS, NOUNS), wanted)]
    catalog = Catalog([*bundled, *made_up])
    planner = Planner(catalog, None, PlannerOptions())
    principal = Principal(name="administrator", role="admin")
    costs = []
    for number in range(requests):
        text = f"{REQUESTS[number % len(REQUESTS)]} {number if number % 3 == 0 else ''}".strip()
        request = PlanRequest(text=text, principal=principal, visible=list(catalog))
        before = time.process_time_ns()
        await planner.plan(request)
        costs.append(time.process_time_ns() - before)
    report.add("local matcher, 100 intents: CPU a request", OURS, percentile(costs, 50) / 1e6, "ms")
    report.add("local matcher, 100 intents: CPU a request, p99", OURS, percentile(costs, 99) / 1e6, "ms")
