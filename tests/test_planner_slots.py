"""What examples teach about params, and how a request fills them; for catalogues nobody knew when this was written."""

import pytest

from llmcore.catalog import Catalog
from llmcore.intent import Effect, Intent
from llmcore.planner import PlannerOptions
from llmcore.planner.local import LocalPlanner
from llmcore.planner.slots import lookup, slots_of
from tests.planner_kit import calls, intent, request

STRING = {"type": "string"}
JOB = {"type": ["string", "integer"], "description": "id of the job"}
CLUSTER = [
    intent(
        "queue",
        "List jobs in the queue.",
        {"user": STRING, "state": {"type": "string", "enum": ["PENDING", "RUNNING"]}, "partition": STRING},
        [
            ("show the queue", {}),
            ("which jobs are running?", {"state": "RUNNING"}),
            ("list pending jobs in partition gpu", {"state": "PENDING", "partition": "gpu"}),
            ("jobs of bob", {"user": "bob"}),
            ("what jobs does alice have", {"user": "alice"}),
            ("show running jobs on partition debug", {"state": "RUNNING", "partition": "debug"}),
            ("the queue please", {}),
            ("show me all jobs of carol", {"user": "carol"}),
        ],
    ),
    intent(
        "cancel_job",
        "Cancel a job.",
        {"job_id": JOB, "force": {"type": "boolean"}},
        [
            ("cancel job 4711", {"job_id": "4711"}),
            ("kill job 12", {"job_id": "12"}),
            ("stop job 4711_3 please", {"job_id": "4711_3"}),
            ("abort my job 1001", {"job_id": "1001"}),
            ("cancel job 7 brutally", {"job_id": "7", "force": True}),
            ("terminate the job 812 brutally", {"job_id": "812", "force": True}),
        ],
        ["job_id"],
        Effect.DESTRUCTIVE,
    ),
    intent(
        "submit_job",
        "Submit a batch script.",
        {
            "script": STRING,
            "nodes": {"type": "integer"},
            "hours": {"type": "number"},
            "tags": {"type": "array", "items": STRING},
        },
        [
            ("submit train.sh", {"script": "train.sh"}),
            ("submit sim.sh on 4 nodes", {"script": "sim.sh", "nodes": 4}),
            ("submit fit.sh for 2.5 hours", {"script": "fit.sh", "hours": 2.5}),
            ("please submit post.sh on 2 nodes for 8 hours", {"script": "post.sh", "nodes": 2, "hours": 8}),
            ("submit a.sh tagged x1 and y2", {"script": "a.sh", "tags": ["x1", "y2"]}),
            ("submit the script /home/a/b.sh", {"script": "/home/a/b.sh"}),
        ],
        ["script"],
        Effect.WRITE,
    ),
    intent(
        "note",
        "Write a note to the log book.",
        {"text": STRING, "level": {"type": "string", "enum": ["info", "urgent"]}},
        [
            ("note that the cooling is fine", {"text": "the cooling is fine"}),
            ("make a note saying tape 4 is full", {"text": "tape 4 is full"}),
            ('note "all good"', {"text": "all good"}),
            ('urgent note: "call bob"', {"text": "call bob", "level": "urgent"}),
            ("write a note that we moved", {"text": "we moved"}),
        ],
        ["text"],
        Effect.WRITE,
    ),
]


@pytest.fixture(scope="module")
def cluster() -> LocalPlanner:
    """A matcher on a catalogue of its own."""
    return LocalPlanner(Catalog(CLUSTER), PlannerOptions())


@pytest.mark.parametrize(
    ("text", "name", "params"),
    [
        ("running jobs of dave", "queue", {"state": "RUNNING", "user": "dave"}),
        ("list pending jobs on partition bigmem", "queue", {"state": "PENDING", "partition": "bigmem"}),
        ("cancel job 99", "cancel_job", {"job_id": "99"}),
        ("please kill job 31_2", "cancel_job", {"job_id": "31_2"}),
        ("kill job 31 brutally", "cancel_job", {"job_id": "31", "force": True}),
        ("submit big.sh on 16 nodes for 1.5 hours", "submit_job", {"script": "big.sh", "nodes": 16, "hours": 1.5}),
        ("submit '/home/a b/c.sh'", "submit_job", {"script": "/home/a b/c.sh"}),
        ("submit c.sh tagged q7 and z9", "submit_job", {"script": "c.sh", "tags": ["q7", "z9"]}),
        ("note that node 7 is back", "note", {"text": "node 7 is back"}),
        ('urgent note: "fire"', "note", {"text": "fire", "level": "urgent"}),
    ],
)
def test_an_unknown_catalogue(cluster: LocalPlanner, text: str, name: str, params: dict[str, object]) -> None:
    """Everything comes from examples and schemas."""
    draft = cluster.plan(request(text, Catalog(CLUSTER)))
    assert calls(draft) == [(name, params)], cluster.explain(request(text, Catalog(CLUSTER)))


@pytest.mark.parametrize(
    "text",
    [
        "cancel all jobs",
        "cancel alice's jobs",
        "cancel job 4711 tomorrow",
        "cancel my meeting",
        "submit my tax report",
        "what happens if I cancel 4711?",
        "hold my beer",
        "cancel job",
        "note",
    ],
)
def test_near_misses(cluster: LocalPlanner, text: str) -> None:
    """Words that nothing explains, or a value that is missing, make no plan."""
    assert calls(cluster.plan(request(text, Catalog(CLUSTER)))) == []


def test_without_examples() -> None:
    """A host's own intents may have none: names, descriptions and schemas have to do."""
    bare = Catalog(
        [
            intent("flush_cache", "Flush the cache of a site.", {"site": STRING}, (), ["site"], Effect.WRITE),
            intent("set_volume", "Set the loudness.", {"level": {"type": "integer"}}, (), ["level"], Effect.WRITE),
            intent("fetch_page", "Fetch a web page.", {"url": STRING, "deep": {"type": "boolean"}}, (), ["url"]),
            intent("show_greenhouse", "Show the greenhouse."),
        ]
    )
    planner = LocalPlanner(bare, PlannerOptions(threshold=0.0))
    assert calls(planner.plan(request("flush the cache of acme-shop", bare))) == [
        ("flush_cache", {"site": "acme-shop"})
    ]
    assert calls(planner.plan(request("show the greenhouse", bare))) == [("show_greenhouse", {})]
    page = planner.plan(request("fetch the page https://example.com/x", bare))
    assert calls(page) == [("fetch_page", {"url": "https://example.com/x"})]


def test_what_cannot_be_learned_is_passed_over() -> None:
    """Objects without a shape, examples that nothing comes near, and an intent without any."""
    odd = Catalog(
        [
            intent("tune", "Tune it.", {"knobs": {"type": "object"}}, [("tune the dials", {"knobs": {"a": 1}})]),
            intent("zzz", "Zzz.", {}, [("the", {})]),
            intent("bare", "Bare."),
        ]
    )
    planner = LocalPlanner(odd, PlannerOptions())
    assert planner.plan(request("help", odd)).text.count('"') == 2
    assert planner.plan(request("the", odd)).kind == "none"


def test_leaves_of_a_schema() -> None:
    """Nested objects, references, alternatives and arrays become slots; null is no value."""
    toy = Intent(
        name="toy",
        description="Play.",
        effect=Effect.READ,
        schema={
            "type": "object",
            "properties": {
                "http": {"$ref": "#/$defs/Http"},
                "kind": {"const": "a"},
                "when": {"anyOf": [{"type": "string"}, {"type": "null"}]},
                "size": {"enum": [1, 2]},
                "many": {"type": "array", "items": {"anyOf": [{"type": "integer"}, {"type": "number"}]}},
            },
            "required": ["http", "kind"],
            "$defs": {
                "Http": {"type": "object", "properties": {"method": {"enum": ["GET", "PUT"]}}, "required": ["method"]}
            },
        },
    )
    slots = {slot.pointer: slot for slot in slots_of(toy)}
    assert slots[("http", "method")].required
    assert slots[("http", "method")].choices == ("GET", "PUT")
    assert slots[("kind",)].choices == ("a",)
    assert slots[("when",)].types == {"string"}
    assert slots[("size",)].types == {"number"}
    assert slots[("many",)].array
    assert slots[("many",)].types == {"integer", "number"}
    assert lookup({"http": {"method": "GET"}}, ("http", "method")) == "GET"
    assert lookup({"http": 7}, ("http", "method")) is None
