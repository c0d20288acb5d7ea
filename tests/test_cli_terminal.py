"""llmcore.cli: what may reach a terminal, and what it looks like."""

import io
import json
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from llmcore.cli import cards
from llmcore.cli.showing import Plain, Rich, finished_blocks, view
from llmcore.cli.terminal import Sanitizer, one_line, params_text, print_json, sanitize, table, visible

ESCAPES = {
    "a colour": ("\x1b[31mred\x1b[0m", "red"),
    "a cursor that goes up": ("a\x1b[2Ab", "ab"),
    "eight-bit CSI": ("a\x9b31mb", "ab"),
    "a window title": ("\x1b]0;owned\x07text", "text"),
    "a link that lies": ("\x1b]8;;http://evil\x1b\\here\x1b]8;;\x1b\\", "here"),
    "the clipboard": ("\x1b]52;c;cm0gLXJm\x07ok", "ok"),
    "a device string": ("\x1bP1$rq\x1b\\ok", "ok"),
    "a title that never ends": ("\x1b]0;rest stays", "0;rest stays"),
    "a reset": ("\x1bcx", "x"),
    "a character set": ("\x1b(0qq", "qq"),
    "a lone escape": ("x\x1b", "x"),
    "a return that writes over": ("rm -rf /\rls      ", "rm -rf /ls      "),
    "lines of Windows": ("a\r\nb", "a\nb"),
    "backspaces": ("no\x08\x08yes", "noyes"),
    "a bell and a delete": ("\x07\x7fa", "a"),
    "text that runs backwards": ("a\u202egnp.exe\u202c", "agnp.exe"),
    "isolates": ("\u2066a\u2069", "a"),
    "letters nobody sees": ("a\U000e0041b\ufeff", "ab"),
    "half a character": ("a\ud800b", "ab"),
    "what stays": ("tab\tline\nümläut 漢字 👩‍💻", "tab\tline\nümläut 漢字 👩‍💻"),
}
NASTY = st.text("\x1b\x9b\x9d\x90\x07\x9c[]0;m3 \\aP(\r\n\t\u202ez", max_size=40)


@pytest.mark.parametrize(("text", "clean"), ESCAPES.values(), ids=ESCAPES)
def test_sequences_of_control_are_taken_out(text: str, clean: str) -> None:
    """Words stay, power over the terminal goes."""
    assert sanitize(text) == clean


@given(text=st.text() | NASTY)
def test_nothing_but_newlines_and_tabs_controls(text: str) -> None:
    """Whatever comes in, no control character comes out, and twice is the same as once."""
    clean = sanitize(text)
    assert all(letter in "\n\t" or not (ord(letter) < 32 or 127 <= ord(letter) < 160) for letter in clean)
    assert sanitize(clean) == clean


@given(text=NASTY, cuts=st.lists(st.integers(0, 40), max_size=6))
def test_a_sequence_cut_in_two_is_taken_out_all_the_same(text: str, cuts: list[int]) -> None:
    """Pieces give what the whole gives."""
    cleaner = Sanitizer()
    edges = [0, *sorted(min(cut, len(text)) for cut in cuts), len(text)]
    shown = [cleaner.feed(text[start:end]) for start, end in pairwise(edges)]
    assert "".join(shown) + cleaner.flush() == sanitize(text)


@given(value=st.recursive(st.text(), lambda inner: st.lists(inner, max_size=3)))
def test_json_is_printed_in_plain_letters(value: Any) -> None:
    """The output of --json is safe for a terminal as it stands, and still the same value."""
    out = io.StringIO()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.stdout", out)
        print_json(value)
    assert out.getvalue().isascii()
    assert out.getvalue().rstrip("\n").isprintable()
    assert json.loads(out.getvalue()) == value


def test_a_table_is_aligned_in_cells_not_in_characters() -> None:
    """Wide letters count twice; every cell is one line; missing is a dash."""
    shown = table(["name", "what"], [["漢字", None], ["a\nb", True], ["x", 1.23456], ["y", {"k": False}], ["z", 5e9]])
    expected = ["name  what", "漢字  -", "a b   yes", "x     1.235", 'y     {"k": false}', "z     5000000000"]
    assert shown.splitlines() == expected


def test_one_line_is_cut_and_params_are_not() -> None:
    """What a person approves is complete; what only informs may be short."""
    assert one_line("a \x1b[1m\n b" + "x" * 300, 10) == "a bxxxxxx…"
    long = "y" * 5000
    params = {"path": long, "new\nline": "a\nb", "b": {"d": 1, "c": [None]}}
    assert params_text(params) == f'b={{"c": [null], "d": 1}} new\\u000aline="a\\nb" path="{long}"'


@given(text=st.text())
def test_nothing_is_hidden_on_a_card(text: str) -> None:
    """What a terminal would obey, hide or turn around is written out; nothing is left out; no line ends."""
    shown = visible(text)
    assert sanitize(shown) == shown
    assert len(shown.splitlines()) <= 1
    assert len(shown) >= len(text)
    assert visible("rm \u202e\u200b\x1b[2J\U000e0041") == "rm \\u202e\\u200b\\u001b[2J\\ue0041"


# --- Markdown that streams ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "done"),
    [
        ("one\ntwo", ""),
        ("one\n\ntwo", "one\n\n"),
        ("```\na\n\nb\n", ""),
        ("```py\na\n\n```\n\nafter", "```py\na\n\n```\n\n"),
        ("~~~\n```\n\n~~~\n\n", "~~~\n```\n\n~~~\n\n"),
        ("````\n```\n\n", ""),
        ("\n\n", "\n\n"),
    ],
)
def test_only_finished_blocks_are_printed_for_good(text: str, done: str) -> None:
    """A blank line ends a block, but not inside a fence."""
    assert finished_blocks(text) == (done, text[len(done) :])


def drawn() -> tuple[Rich, io.StringIO]:
    """A view on a terminal of 60 columns, and what it has written."""
    out = io.StringIO()
    return Rich(Console(file=out, force_terminal=True, width=60, color_system=None)), out


def test_blocks_are_drawn_once_and_the_rest_at_the_end() -> None:
    """Fed letter by letter, each block appears; no escape of the text does."""
    shown, out = drawn()
    for letter in "# Title\n\nfirst \x1b[31mblock\n\n- item\n":
        shown.text(letter)
    shown.end()
    text = out.getvalue()
    assert text.rstrip().endswith("item")
    assert "Title" in text
    assert "\x1b[31m" not in text
    assert "first block" in text


def test_steps_of_a_change_are_told_reads_are_not() -> None:
    """A line for each step that has ended, once, and the output of scripts while they write."""
    plan = {"effect": "write", "steps": [{"id": "s1", "intent": "copy_file", "state": "running"}]}
    shown, out = drawn()
    shown.plan(plan)
    shown.progress("copy_file", "half \x1b]0;x\x07way\n")
    shown.plan({**plan, "steps": [{**plan["steps"][0], "state": "done"}]})  # type: ignore[dict-item]
    shown.plan({**plan, "steps": [{**plan["steps"][0], "state": "done"}]})  # type: ignore[dict-item]
    shown.plan({"effect": "read", "steps": [{"id": "s2", "intent": "read_file", "state": "done"}]})
    shown.end()
    assert [line.strip() for line in out.getvalue().splitlines()] == ["half way", "✓ copy_file done"]


def test_a_pipe_gets_the_text_and_nothing_else(capsys: pytest.CaptureFixture[str]) -> None:
    """No decoration, one newline at the end, whatever the text ended with."""
    for text in ("**a**\x1b[", "b\n"):
        shown = view()
        assert isinstance(shown, Plain)
        shown.plan({"steps": []})
        shown.progress("x", "y")
        shown.text(text)
        shown.end()
    assert capsys.readouterr().out == "**a**\nb\n"


# --- cards --------------------------------------------------------------------------------------------------------

PLAN: dict[str, Any] = {
    "plan_id": "pl_1",
    "status": "proposed",
    "title": "restart\x1b[2J it",
    "effect": "destructive",
    "digest": "sha256:abcdef0123456789",
    "created_at": "2026-01-01T00:00:00Z",
    "answered_by": "local",
    "origin": {"kind": "chat", "id": "c", "tainted": True},
    "steps": [
        {
            "id": "s1",
            "intent": "get_target_status",
            "effect": "read",
            "params": {},
            "state": "done",
            "verdict": None,
            "on_error": "stop",
            "retries": 0,
            "timeout_s": 60.0,
        },
        {
            "id": "s2",
            "intent": "restart_target",
            "effect": "destructive",
            "params": {"module": "nginx\nrm"},
            "needs": ["s1"],
            "when": 'steps.s1.result.state != "running"',
            "on_error": "undo",
            "retries": 1,
            "timeout_s": 90.5,
            "state": "pending",
            "verdict": {
                "decision": "ask",
                "rules": ["changes-ask"],
                "reason": "It can do harm.",
                "would_allow": "One approval.",
            },
            "preview": {"targets": ["nginx"], "blast": 1, "before": {"state": "failed"}, "after": None},
            "undo": {"intent": "start_target", "params": {"module": "nginx"}},
        },
    ],
    "approval": {
        "needed": 2,
        "roles": ["admin"],
        "given": [{"by": "ann", "at": "2026-01-01T00:10:00Z", "comment": "go\x07"}],
        "excludes_requester": True,
        "expires_at": "2026-01-01T01:00:00Z",
    },
}


def test_a_card_shows_all_that_decides() -> None:
    """Steps with whole params, conditions, limits, verdicts and rules, targets, undo, digest and who has to agree."""
    assert cards.card(PLAN).splitlines() == [
        "Plan pl_1 (proposed): restart\\u001b[2J it",
        "  ✓ s1 get_target_status [read]",
        '  · s2 restart_target [destructive] module="nginx\\nrm"',
        "      after s1",
        '      only if steps.s1.result.state != "running"',
        "      a failure takes back what was done; 1 retry; at most 90.5 s",
        "      touches 1: nginx",
        '      before: {"state": "failed"}',
        "      asks first: It can do harm. (rules: changes-ask) One approval.",
        '      undo: start_target module="nginx"',
        "  effect destructive, made from untrusted text, planned by local, digest abcdef01",
        "  needs 2 approvals by admin, 1 of 2 given, not by the requester, until 2026-01-01T01:00:00Z",
        "  approved by ann at 2026-01-01T00:10:00Z: go\\u0007",
    ]
    assert "--digest abcdef01" in cards.how_to_approve(PLAN)


def test_a_card_says_what_is_not_there() -> None:
    """No preview, no undo; a read that is tried again."""
    blind = {**PLAN["steps"][1], "preview": None, "undo": None, "retries": 3}
    text = cards.card({**PLAN, "steps": [blind, {**PLAN["steps"][0], "retries": 2}]})
    assert "touches: not known before it runs" in text
    assert "undo: none" in text
    assert "3 retries" in text
    assert "a failure stops the plan; 2 retries; at most 60 s" in text


def test_a_card_shows_what_an_edit_changed() -> None:
    """For those who saw the plan before."""
    change = {"module": {"before": "web", "after": "nginx"}, "params.x": {"after": 1}, "params.y": {"before": "\u200b"}}
    diff = [
        {"step_id": "s2", "change": "changed", "fields": change},
        {"step_id": "s3", "change": "removed", "fields": {}},
    ]
    edit = {"digest": "sha256:0123456789", "by": "bo", "at": "2026-01-01T00:00:00Z", "diff": diff}
    lines = cards.card({**PLAN, "edited_from": edit}).splitlines()
    assert lines[11:17] == [
        "  edited by bo at 2026-01-01T00:00:00Z, before it was 01234567:",
        "      s2 changed",
        '        module: "web" -> "nginx"',
        "        params.x: nothing -> 1",
        '        params.y: "\\u200b" -> nothing',
        "      s3 removed",
    ]


def test_a_card_of_a_plan_that_is_over_asks_for_nothing() -> None:
    """No approval line, no digest where there is none."""
    over = {**PLAN, "status": "done", "digest": None, "title": "", "answered_by": None, "origin": {}}
    text = cards.card({**over, "steps": [{**PLAN["steps"][1], "verdict": {"decision": "deny", "reason": "No."}}]})
    assert "needs" not in text
    assert "digest" not in text
    assert "refused: No." in text
    bare = {**PLAN, "approval": {"needed": 1}}
    assert cards.card(bare).endswith("  needs 1 approval by admin or developer, 0 of 1 given")
    assert "approval" not in cards.card({**PLAN, "approval": None}).replace("One approval", "")


def test_a_card_tells_of_every_decision() -> None:
    """Reads that nobody has to approve, a glass that was broken, a beginning that is due, a refusal."""
    reads = {**PLAN, "approval": {"needed": 0, "expires_at": "2026-01-01T01:00:00Z"}}
    assert cards.card(reads).endswith(
        "  needs nobody's approval, and runs when it is started, until 2026-01-01T01:00:00Z"
    )
    glass = {"by": "eva", "at": "T", "comment": "fire", "break_glass": True}
    approved = {"needed": 2, "given": [glass], "execute_by": "2026-01-01T02:00:00Z"}
    assert cards.card({**PLAN, "status": "approved", "approval": approved}).splitlines()[-2:] == [
        "  has to begin by 2026-01-01T02:00:00Z",
        "  approved by eva, who broke the glass at T: fire",
    ]
    rejected = {"needed": 1, "given": [], "rejected": {"by": "bo", "at": "T", "comment": "not today"}}
    assert cards.card({**PLAN, "status": "rejected", "approval": rejected}).endswith("  rejected by bo at T: not today")


@pytest.mark.parametrize(("status", "state", "open_"), [("waiting", "done", True), ("waiting", "unknown", False)])
def test_a_plan_with_an_unknown_step_is_not_to_be_approved(status: str, state: str, open_: bool) -> None:
    """One that waits because the world has changed is."""
    assert cards.undecided({**PLAN, "status": status, "steps": [{**PLAN["steps"][0], "state": state}]}) is open_


def test_lists_of_plans_and_runs() -> None:
    """One a line."""
    assert "pl_1  proposed  destructive  abcdef01" in cards.plan_table([PLAN])
    run = {"run_id": "rn_1", "status": "done", "plan_id": None, "steps": [{"intent": "read_file", "state": "done"}]}
    assert cards.run_table([run]).splitlines()[1] == "rn_1  done    -     ✓read_file"
