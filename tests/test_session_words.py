"""What the session says: displays and Markdown of results, and claims that are left out."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmcore.plan import Effect, StepResult, StepState
from llmcore.session.claims import WITHHELD, ClaimFilter
from llmcore.session.reply import MAX_ROWS, display_of, human_bytes, results_of, text_of
from tests.test_plan import plan_of, step

# --- claims ---


def said(*pieces: str, may_claim: bool = False) -> str:
    """What comes out of the filter."""
    claims = ClaimFilter(may_claim)
    return "".join(claims.feed(piece) for piece in pieces) + claims.finish()


@pytest.mark.parametrize(
    "claim",
    [
        "I have restarted nginx.",
        "I've just deleted the file.",
        "I restarted the service for you.",
        "We successfully stopped it.",
        "nginx has been restarted.",
        "The files were deleted.",
        "The script was started successfully.",
        "Done.",
        "Done! Everything is fine.",
        "Restarted nginx.",
        "The job is now cancelled.",
        "nginx is now stopped.",
        "The restart was successful.",
        "I restarted nginx, so it should work now?",
        "I have restarted nginx, which should not take long.",
    ],
)
def test_claim_without_a_step_is_left_out(claim: str) -> None:
    """In one piece and letter by letter."""
    for pieces in ([claim], list(claim)):
        shown = said("Hello. ", *pieces)
        assert WITHHELD in shown
        assert "nginx has" not in shown.replace(WITHHELD, "") or "restarted" not in shown
        assert "deleted" not in shown


@pytest.mark.parametrize(
    "words",
    [
        "nginx is stopped and postgres is running.",
        "You can restart nginx with a plan.",
        "If the service was restarted, look at its log.",
        "It has not been restarted.",
        "Shall I restart it?",
        "How is a job cancelled?",
        "The disk is 80 % full. The memory is fine.",
        "I cannot delete files, but I can propose a plan.",
        "3.5 GiB are used; see /var/log/a.log for more.",
    ],
)
def test_honest_words_pass_unchanged(words: str) -> None:
    """However they are cut."""
    assert said(words) == words
    assert said(*words) == words


def test_claim_of_a_step_that_succeeded_may_stand() -> None:
    """Nothing is held back then."""
    assert said("I have ", "restarted nginx.", may_claim=True) == "I have restarted nginx."


def test_harmless_words_are_not_held_back() -> None:
    """Streaming stays streaming."""
    claims = ClaimFilter(may_claim=False)
    assert claims.feed("The ") == "The "
    assert claims.feed("answer") == "answer"


@given(st.lists(st.text(max_size=20), max_size=20))
def test_no_text_is_lost_but_claims(pieces: list[str]) -> None:
    """Whatever the chunking: all of it, or a notice in the place of a sentence."""
    whole = "".join(pieces)
    shown = said(*pieces)
    assert shown == whole or WITHHELD in shown


# --- results ---


@pytest.mark.parametrize(
    ("result", "kind"),
    [
        ({"processes": [{"pid": 1, "name": "a"}]}, "table"),
        ([{"a": 1}], "table"),
        ({"targets": ["a", "b"]}, "table"),
        ({"path": "/a", "content": "text", "size": 4, "truncated": False}, "text"),
        ({"name": "syslog", "lines": ["a", "b"]}, "text"),
        ({"module": "nginx", "state": "running"}, "fields"),
        ({"name": "cpu", "unit": "%", "points": [{"at": "1", "value": 2}]}, "series"),
        (None, "text"),
        ("words", "text"),
    ],
)
def test_result_is_shown_as_what_it_is(result: Any, kind: str) -> None:
    """By its shape."""
    assert display_of(result)["kind"] == kind


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)


def settled(result: Any = None, state: StepState = StepState.DONE, **more: Any) -> dict[str, StepResult]:
    """The result of s1."""
    return {"s1": StepResult(step_id="s1", intent="do_it", state=state, result=result, **more)}


@given(JSON)
def test_any_result_can_be_told(result: Any) -> None:
    """Nothing that an intent returns breaks the reply."""
    assert text_of(plan_of(step("s1")), settled(result))
    assert results_of(plan_of(step("s1")), settled(result))[0]["display"]["kind"]


def test_table_has_units_and_says_what_it_leaves_out() -> None:
    """Numbers as people read them; cells cannot break the table."""
    rows = [{"name": "a|b`*", "memory_bytes": 3 * 1024**3, "cpu_percent": 12.345, "uptime_s": 3} for _ in range(25)]
    text = text_of(plan_of(step("s1")), settled({"processes": rows}))
    assert "| name | memory | cpu % | uptime |" in text
    assert "a\\|b\\`\\*" in text
    assert "| 3.0 GiB | 12.3 % | 3 s |" in text
    assert f"{25 - MAX_ROWS} more rows" in text


def test_series_is_told_in_a_sentence_beside_its_facts() -> None:
    """The chart is for the panel; the words are for everybody."""
    points = [{"at": f"12:0{minute}", "value": value} for minute, value in enumerate((3, 9.5, 4))]
    text = text_of(plan_of(step("s1")), settled({"usage_percent": 4.0, "unit": "percent", "points": points}))
    assert "| usage % | 4.0 % |" in text
    assert "From 12:00 to 12:02: between 3 and 9.5 percent, at last 4." in text
    assert "no points" in text_of(plan_of(step("s1")), settled({"points": [{"at": "1"}]}))


def test_code_fence_in_a_file_does_not_end_the_fence_around_it() -> None:
    """A file cannot write Markdown of its own."""
    text = text_of(plan_of(step("s1")), settled({"content": "```\n# not a heading\n````"}))
    assert text.startswith("`````\n")
    assert text.endswith("\n`````")


def test_what_went_wrong_is_told_step_by_step() -> None:
    """Failed with its output, unknown with advice, skipped as skipped; done only where it was done."""
    plan = plan_of(step("s1", Effect.WRITE), step("s2"), step("s3"), step("s4", Effect.WRITE))
    error = {"error": "internal", "message": "Exit code 3.", "output": "boom"}
    base = settled()["s1"]
    results = {
        "s1": replace(base, state=StepState.FAILED, error=error),
        "s2": replace(base, step_id="s2", state=StepState.SKIPPED),
        "s3": replace(base, step_id="s3", state=StepState.UNKNOWN, error={"error": "timeout", "message": "Late."}),
        "s4": replace(base, step_id="s4", result={"ok": True}),
    }
    text = text_of(plan, results)
    assert "failed. Exit code 3." in text
    assert "boom" in text
    assert "was skipped" in text
    assert "nobody can say whether it happened. Late." in text
    assert text.count("done.") == 1
    assert [entry["state"] for entry in results_of(plan, results)] == ["failed", "unknown", "done"]


def test_bytes_are_told_in_the_unit_a_person_would_use() -> None:
    """From bytes to tebibytes."""
    assert [human_bytes(n) for n in (5, 2048, 5 * 1024**2, 1024**4 * 3000)] == [
        "5 B",
        "2.0 KiB",
        "5.0 MiB",
        "3000.0 TiB",
    ]
