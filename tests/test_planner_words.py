"""Text becomes tokens: mentions with their types, words with their concepts."""

import pytest

from llmcore.planner.words import Lexer, Token, one_apart

LEXER = Lexer(["replicas", "status", "greenhouse", "gpu"])


def kinds(text: str) -> list[tuple[str, str]]:
    """Kind and text of every token that is no punctuation."""
    return [(token.kind, token.text) for token in LEXER.read(text) if token.kind != "punct"]


def only(text: str) -> Token:
    """The one token of a text."""
    (token,) = LEXER.read(text)
    return token


@pytest.mark.parametrize(
    ("text", "kind", "value"),
    [
        ("/srv/data/a.txt", "path", "/srv/data/a.txt"),
        ("~/notes", "path", "~/notes"),
        ("./run.sh", "relative", "./run.sh"),
        ("archive/old", "relative", "archive/old"),
        ("/srv/data,", "path", "/srv/data"),
        ("https://example.com/a?b=1.", "url", "https://example.com/a?b=1"),
        ("backup.sh", "file", "backup.sh"),
        ("10.0.0.5", "file", "10.0.0.5"),
        ("--dry-run", "option", "--dry-run"),
        ("--limit=5", "option", "--limit=5"),
        ('"out of memory"', "quoted", "out of memory"),
        ("'/srv/my data.txt'", "quoted", "/srv/my data.txt"),
        ("\u201cfine\u201d", "quoted", "fine"),
        ("billing-api", "word", "billing-api"),
        ("sc_4f2a", "word", "sc_4f2a"),
        ("@ops_channel", "word", "@ops_channel"),
    ],
)
def test_mentions_have_types(text: str, kind: str, value: str) -> None:
    """Paths, addresses, names and quotations are told apart, punctuation around them is not theirs."""
    token = LEXER.read(text)[0]
    assert (token.kind, token.text) == (kind, value)


@pytest.mark.parametrize(
    ("text", "value", "unit"),
    [("12", 12, ""), ("3.5", 3.5, ""), ("ten", 10, ""), ("50%", 50, "%"), ("5m", 5, "m"), ("-100", -100, "")],
)
def test_numbers(text: str, value: float, unit: str) -> None:
    """Digits, words and units."""
    token = only(text)
    assert (token.kind, token.value, token.unit) == ("number", value, unit)


def test_one_is_a_number_only_behind_to() -> None:
    """`the nginx one` counts nothing, `down to one` does."""
    assert [token.kind for token in LEXER.read("the one")] == ["word", "word"]
    assert LEXER.read("one")[0].kind == "word"
    assert LEXER.read("down to one")[-1].value == 1


@pytest.mark.parametrize(
    ("text", "concept"),
    [
        ("bounce", "restart"),
        ("RAM", "memory"),
        ("processes", "process"),
        ("deleting", "delete"),
        ("stopped", "stop"),
        ("directories", "folder"),
        ("replicas", "scale"),
        ("nearly", "<adverb>"),
    ],
)
def test_words_have_concepts(text: str, concept: str) -> None:
    """Synonyms and inflections mean the same."""
    assert concept in only(text).concepts


def test_phrases_and_parted_verbs() -> None:
    """Words that belong together count as one, also with a name between them."""
    assert LEXER.read("get rid of x1")[0].concepts == ("delete",)
    taken = LEXER.read("take web-1 down")
    assert (taken[0].concepts, taken[2].stop) == (("stop",), True)
    assert LEXER.read("take a, down")[0].concepts != ("stop",)


def test_unknown_words_are_names() -> None:
    """What no dictionary knows may be a name; a letter typed wrong is mended."""
    assert not only("nginx").known
    mended = only("restrat")
    assert (mended.concepts, mended.fuzzy) == (("restart",), True)
    assert only("greenhuose").concepts == ("greenhouse",)
    assert not only("zzz").fuzzy
    assert only("read-only").namelike
    assert only("up-to-date").concepts == ("up",) or only("up-to-date").stop


def test_contractions_and_possessives() -> None:
    """They carry nothing of their own."""
    assert only("don't").stop
    assert only("nginx's").text == "nginx"


def test_alternatives_are_words() -> None:
    """`read/write` is no path."""
    assert kinds("read/write") == [("word", "read"), ("word", "write")]


def test_concepts_of_a_word() -> None:
    """Looked up one at a time."""
    assert LEXER.concepts("gpu") == ("gpu",)
    assert LEXER.concepts("the") == ()
    assert LEXER.concepts("qwxyz") == ()


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("nginx", "ngnix", True),
        ("redis", "redsi", True),
        ("grafana", "grafanaa", True),
        ("web-1", "web-2", False),
        ("redis", "radius", False),
        ("ab", "ac", False),
        ("nginx", "xginx", False),
    ],
)
def test_names_one_letter_apart(one: str, other: str, same: bool) -> None:
    """A slip of a letter, never of a digit."""
    assert one_apart(one, other) is same
