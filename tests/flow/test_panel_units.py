"""The panel's own modules, run in the page of a real server: Markdown, hashes, numbered events, texts for people."""

import hashlib
import random
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, expect

from tests.panel_kit import Panel, Served, served

RENDER = """async ([text, pieces]) => {
  const { MarkdownStream, renderMarkdown } = await import("/static/app/markdown.js");
  const { coloured } = await import("/static/app/code.js");
  const box = () => document.body.appendChild(document.createElement("div"));
  const settled = async (element) => {
    await coloured();
    const html = element.innerHTML;
    element.remove();
    return html;
  };
  const whole = box();
  renderMarkdown(whole, text);
  const expected = await settled(whole);
  const results = [];
  for (const cuts of pieces) {
    const element = box();
    const stream = new MarkdownStream(element);
    let from = 0;
    for (const to of [...cuts, text.length]) {
      stream.append(text.slice(from, to));
      stream.flush();
      from = to;
    }
    stream.end();
    results.push(await settled(element));
  }
  return { expected, results };
}"""

SAMPLES = [
    "plain text\nwith a second line",
    "# One\n\ntext\n\n### Three\n\ntext\n\n## Two",
    "Setext\n===\n\ntext\n---\n",
    "- a\n- b\n  - c\n  - d\n\n    para\n- e\n\n\n- f\n\ntext",
    "3. three\n4. four\n\n10) ten",
    "- [x] done\n- [ ] open",
    "```python\ndef f(x):\n    return f'{x}'\n```\n\nafter\n\n~~~\ntilde\n~~~\n",
    "```sh\nunclosed\n\nfence",
    '- item\n\n  ```json\n  {"a": 1}\n  ```\n- next',
    "| a | b |\n|---|--:|\n| 1 | `x|y` |\n| **2** | c\\|d |\n\nafter",
    "`max_user_connections` max_user_connections $HOME and $PATH 2*3*4",
    "**bold *both*** ~~gone~~ `code` <b>html</b> &amp; &lt;x&gt; &copy; &nosuch;",
    '[link](https://example.org/a_(b)?q=1&r=2 "title") <https://example.org> https://example.org/x',
    "[ref][r] and [r]\n\ntext\n\ntext\n\ntext\n\n[r]: https://example.org/ref",
    "> quote\n> more\n>\n> - list\n\nlazy",
    "<div>\n<p>block</p>\n</div>\n\ntext",
    "line one  \nline two\\\nline three",
    "\r\nwindows\r\n\r\n- one\r\n- two\r\n\r\nend\r\n",
    "    indented code\n\n    more\n\ntext",
    "a\n\n***\n\nb\n\n---\n",
    "emoji 👩‍💻 ünïcödé 中文\n\n" * 3,
]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """One server for the module."""
    with served(tmp_path_factory.mktemp("units")) as running:
        yield running


@pytest.fixture(scope="module")
def page(browser: Browser, server: Served) -> Iterator[Panel]:
    """The login page is enough to import modules; one for all."""
    context = browser.new_context()
    opened = Panel(context.new_page(), server.url)
    opened.watch()
    opened.page.goto(server.url + "/")
    yield opened
    context.close()


@pytest.fixture
def panel(page: Panel) -> Panel:
    """The page, checked after each test."""
    return page


@pytest.fixture(autouse=True)
def nothing_forbidden(page: Panel, chromium: str) -> Iterator[None]:
    """No test of a module violates the policy."""
    assert chromium
    yield
    page.check()


def rendered(panel: Panel, text: str) -> str:
    """The HTML of a text rendered at once."""
    found: dict[str, Any] = panel.page.evaluate(RENDER, [text, []])
    return str(found["expected"])


def test_markdown_streamed_in_any_pieces_is_as_rendered_at_once(panel: Panel) -> None:
    """Also with all samples in one document, where blocks settle before the end."""
    chance = random.Random(20)  # noqa: S311 - pieces, not secrets
    for text in [*SAMPLES, "\n\n".join(SAMPLES)]:
        length = len(text.encode("utf-16-le")) // 2
        pieces = [list(range(1, length)) if length < 300 else list(range(7, length, 7))]
        pieces += [sorted(chance.sample(range(1, length), min(9, length - 1))) for _ in range(2)]
        found = panel.page.evaluate(RENDER, [text, pieces])
        for cuts, result in zip(pieces, found["results"], strict=True):
            assert result == found["expected"], (text, cuts)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("max_user_connections and $HOME", "max_user_connections and $HOME"),
        ("&lt;script&gt;", "&lt;script&gt;"),
        ("<script>alert(1)</script>", "&lt;script&gt;alert(1)&lt;/script&gt;"),
        ("[x](https://example.org)", 'href="https://example.org/"'),
        ("[x](mailto:a@example.org)", 'href="mailto:a@example.org"'),
        ("| a |\n|--:|\n| 1 |", '<td class="align-right">1</td>'),
        ("## Head", '<h4 class="md-h2">Head</h4>'),
        ("#### Deep first", '<h4 class="md-h4">Deep first</h4>'),
        ("2. two", '<ol start="2">'),
        ("- [x] done", "☑"),
        ("```python\nreturn 1\n```", '<span class="hljs-keyword">return</span>'),
    ],
)
def test_markdown_shows(panel: Panel, text: str, wanted: str) -> None:
    """What operators write daily comes out as it should."""
    assert wanted in rendered(panel, text)


@pytest.mark.parametrize(
    "text",
    [
        "![x](https://example.org/x.png)",
        "[x](javascript:alert(1))",
        "[x](JaVaScRiPt&#58;alert(1))",
        "[x](java&#10;script:alert(1))",
        "[x](data:text/html;base64,PHNjcmlwdD4=)",
        "[x](vbscript:x)",
        "[x](file:///etc/passwd)",
        "[x](//example.org)",
        "<javascript:alert(1)>",
        '<a href="javascript:alert(1)">x</a>',
        "[x]: javascript:alert(1)\n\n[x]",
    ],
)
def test_markdown_makes_nothing_dangerous(panel: Panel, text: str) -> None:
    """No image, and no address but http, https and mailto."""
    html = rendered(panel, text)
    assert "<img" not in html
    assert not re.search(r'<a [^>]*href="(?!https?://|mailto:)', html)


def test_unclosed_code_is_not_highlighted_yet(panel: Panel) -> None:
    """A block that grows is plain text."""
    assert "hljs" not in rendered(panel, "```python\nreturn 1\n")


def test_code_can_be_copied(panel: Panel) -> None:
    """Each block has a button that names what it does."""
    assert 'aria-label="Copy code"' in rendered(panel, "```\nx\n```")


@pytest.mark.parametrize("text", ["", "a", "correct horse", "x" * 55, "x" * 56, "x" * 64, "x" * 1000, "pässwörd 🔑"])
def test_sha256_without_crypto_is_the_same(panel: Panel, text: str) -> None:
    """Plain http on another host has no crypto.subtle."""
    script = """async (text) => {
      const { sha256, sha256Portable } = await import("/static/app/sha256.js");
      return [await sha256(text), sha256Portable(text)];
    }"""
    expected = hashlib.sha256(text.encode()).hexdigest()
    assert panel.page.evaluate(script, text) == [expected, expected]


JUDGE = """async (events) => {
  const { Cursor } = await import("/static/app/cursor.js");
  const cursor = new Cursor();
  return events.map((event) => {
    if ("resuming" in event) { cursor.resuming = event.resuming; return ""; }
    if ("answered" in event) { cursor.resuming = false; cursor.answeredAt = cursor.seq; return ""; }
    return cursor.judge({ event: { type: "X" }, ...event });
  });
}"""


@pytest.mark.parametrize(
    ("events", "expected"),
    [
        ([(1, 1), (1, 2), (1, 2), (1, 1), (1, 3)], ["apply", "apply", "drop", "drop", "apply"]),
        ([(1, 1), (1, 3)], ["apply", "gap"]),
        ([(1, 5)], ["gap"]),
        ([(1, 1), (2, 1), (1, 2), (2, 2)], ["apply", "reset", "drop", "apply"]),
        ([(1, 1), (2, 3)], ["apply", "gap"]),
    ],
)
def test_numbered_events_are_neither_lost_nor_doubled(
    panel: Panel, events: list[tuple[int, int]], expected: list[str]
) -> None:
    """Doubles are dropped, gaps are asked for, a new epoch begins anew."""
    given = [{"epoch": epoch, "seq": seq} for epoch, seq in events]
    assert panel.page.evaluate(JUDGE, given) == expected


def test_merged_events_cover_all_their_numbers(panel: Panel) -> None:
    """From `first_seq` to `seq`; what overlaps is applied, what is covered is not."""
    given = [
        {"epoch": 1, "seq": 1},
        {"epoch": 1, "first_seq": 2, "seq": 6},
        {"epoch": 1, "first_seq": 4, "seq": 6},
        {"epoch": 1, "first_seq": 5, "seq": 9},
        {"epoch": 1, "first_seq": 11, "seq": 12},
    ]
    assert panel.page.evaluate(JUDGE, given) == ["apply", "apply", "drop", "apply", "gap"]


def test_what_is_too_old_is_replaced_by_snapshots(panel: Panel) -> None:
    """While a resume is on its way a snapshot may jump; after its answer anything may."""
    jump = {"epoch": 1, "seq": 50, "event": {"type": "ACTIVITY_SNAPSHOT"}}
    given = [{"epoch": 1, "seq": 1}, jump, {"resuming": True}, {"epoch": 1, "seq": 40}, jump, {"epoch": 1, "seq": 51}]
    assert panel.page.evaluate(JUDGE, given) == ["apply", "gap", "", "gap", "reset", "apply"]
    answered = [{"epoch": 1, "seq": 1}, {"answered": 1}, {"epoch": 1, "seq": 9}, {"epoch": 1, "seq": 11}]
    assert panel.page.evaluate(JUDGE, answered) == ["apply", "", "reset", "gap"]


def test_an_overlap_of_text_is_cut(panel: Panel) -> None:
    """A merged delta that begins with known text replaces that part of it."""
    script = """async () => {
      const { LiveText } = await import("/static/app/turn.js");
      const text = new LiveText("m");
      text.append("one ", { seq: 2 });
      text.append("two ", { seq: 3 });
      text.append("three ", { seq: 4 });
      text.append("two three four ", { first_seq: 3, seq: 5, known: 2 });
      return text.text;
    }"""
    assert panel.page.evaluate(script) == "one two three four "


CHART = """async (display) => {
  const { html, render } = await import("/static/vendor/preact.js");
  const { Results } = await import("/static/app/results.js");
  const box = document.querySelector("main").appendChild(document.createElement("div"));
  box.id = "chart";
  box.style.width = "600px";
  render(html`<${Results} results=${[{ step_id: "s1", intent: "query_metrics", display }]} />`, box);
}"""


@pytest.mark.parametrize(
    "labels", [["2026-01-01T10:00:00Z", "2026-01-01T10:01:00Z"], ["/", "/home"]], ids=["time", "bars"]
)
def test_a_series_is_a_chart_with_words_and_a_table(panel: Panel, labels: list[str]) -> None:
    """Drawn without a violation, told in a sentence, and shown as a table on demand."""
    panel.page.evaluate(CHART, {"kind": "series", "unit": "percent", "labels": labels, "values": [12.5, 80]})
    box = panel.page.locator("#chart")
    expect(box.locator("canvas")).to_be_visible()
    assert box.locator("canvas").evaluate("(canvas) => canvas.clientWidth <= 600")
    expect(box.get_by_role("img", name="query metrics: 2 values, highest 80 %")).to_be_visible()
    assert panel.axe(selector="#chart") == []
    box.get_by_role("button", name="As table").click()
    expect(box.locator("tbody tr")).to_have_count(2)
    box.evaluate("(element) => element.remove()")


def test_hidden_characters_are_written_out(panel: Panel) -> None:
    """Text that turns around or shows nothing cannot hide what a plan will do."""
    script = """async (text) => (await import("/static/app/format.js")).visible(text)"""
    assert panel.page.evaluate(script, "a\u202eb\u200bc\ud834") == "a⟨U+202E⟩b⟨U+200B⟩c\ud834"
    assert panel.page.evaluate(script, "tab\tline\n") == "tab\tline\n"


def test_csv_is_quoted_and_holds_no_formulas(panel: Panel) -> None:
    """A spreadsheet must not run what a log line says."""
    script = """async ([columns, rows]) => (await import("/static/app/table.js")).csv(columns, rows)"""
    found = panel.page.evaluate(script, [["name", "n"], [['a"b', 1], ["=1+1", None], ["x,y", 2.5]]])
    assert found == '"name","n"\r\n"a""b",1\r\n"\'=1+1",\r\n"x,y",2.5'


def test_every_module_is_asked_for_at_once() -> None:
    """The page names all of them, so that a browser need not find one inside the other; charts come later."""
    static = Path(__file__).resolve().parents[2] / "static"
    named = set(re.findall(r'(?:href|src)="static/([^"]+\.js)"', (static / "index.html").read_text("utf-8")))
    modules = {f"app/{file.name}" for file in (static / "app").glob("*.js")}
    assert named == modules | {"vendor/preact.js", "vendor/marked.js"}


def test_no_module_is_longer_than_the_house_allows() -> None:
    """Small files, each with a header that says what it is for."""
    folder = Path(__file__).resolve().parents[2] / "static" / "app"
    for file in folder.glob("*.js"):
        lines = file.read_text("utf-8").splitlines()
        assert len(lines) < 400, file.name
        assert lines[0].startswith("/**"), file.name


WORDS = """async (when) => (await import("/static/app/plan-words.js")).whenInWords(when)"""


@pytest.mark.parametrize(
    ("when", "words"),
    [
        ('steps.s1.state == "done"', "s1 is done"),
        ("steps['s1'].state != 'failed'", "s1 is not failed"),
        ("steps.s1.result.free_percent < 20.5", "free % of the result of s1 is below 20.5"),
        (
            "steps.a.result.list[0].name in ['x', 'y']",
            "name of entry 0 of list of the result of a is one of ['x', 'y']",
        ),
        (
            "!(steps.a.result.ok == true) || steps.b.result.n >= 3",
            "not (ok of the result of a is true) or n of the result of b is at least 3",
        ),
        ("size(steps.a.result.list) > 0", ""),
        ("steps.a.other == 1", ""),
        ("steps.a.result.x == 1 ? true : false", ""),
    ],
)
def test_conditions_in_words(panel: Panel, when: str, words: str) -> None:
    """Only what is understood in every part; the rest is shown as written alone."""
    assert panel.page.evaluate(WORDS, when) == words


def test_texts_differ_line_by_line(panel: Panel) -> None:
    """What is kept, taken out and put in gives both texts back, whatever they are."""
    script = """async (pairs) => {
      const { lineDiff } = await import("/static/app/diff.js");
      const side = (lines, other) => lines.filter((one) => one.kind !== other).map((one) => one.line).join("");
      return pairs.map(([a, b]) => [lineDiff(a, b)].map((lines) => [side(lines, "added"), side(lines, "removed")])[0]);
    }"""
    chance = random.Random(7)  # noqa: S311 - texts, not secrets
    lines = ["a\n", "b\n", "\n", "c", "a\r\n"]
    pairs = [["".join(chance.choices(lines, k=chance.randrange(9))) for _ in range(2)] for _ in range(300)]
    pairs += [["x\n" * 3000 + "end", "x\n" * 2999 + "y\n"], ["".join(f"{i}\n" for i in range(2000)), "z\n" * 2000]]
    assert panel.page.evaluate(script, pairs) == pairs


def test_steps_differ_field_by_field(panel: Panel) -> None:
    """Added, removed, changed, with both sides; the order of keys is no difference."""
    script = """async ([a, b]) => (await import("/static/app/plan-diff.js")).stepChanges(a, b)"""
    kept: dict[str, Any] = {"id": "s1", "intent": "x", "params": {"a": {"k": 1, "l": 2}}, "needs": [], "preview": None}
    same = {**kept, "params": {"a": {"l": 2, "k": 1}}}
    old = {"id": "s2", "intent": "x", "params": {}, "preview": {"targets": ["t"], "blast": 1}}
    new = {"id": "s2", "intent": "x", "params": {}, "preview": {"targets": ["t", "u"], "blast": 2}}
    gone, fresh = {"id": "s3", "intent": "y", "params": {}}, {"id": "s4", "intent": "z", "params": {}}
    found = panel.page.evaluate(script, [[kept, old, gone], [same, new, fresh]])
    assert [(one["step_id"], one["change"]) for one in found] == [
        ("s1", "same"),
        ("s2", "changed"),
        ("s4", "added"),
        ("s3", "removed"),
    ]
    assert found[1]["fields"]["number of targets"] == {"before": 1, "after": 2}


def test_waves_of_steps(panel: Panel) -> None:
    """By needs, references and conditions; a circle does not hang."""
    script = """async (steps) => {
      const { wavesOf } = await import("/static/app/plan-words.js");
      return wavesOf(steps).map((wave) => wave.map((step) => step.id));
    }"""
    steps = [
        {"id": "a"},
        {"id": "b", "params": {"x": [{"$from": "a"}]}},
        {"id": "c", "when": "steps['b'].state == 'done'"},
        {"id": "d", "needs": ["a"]},
    ]
    assert panel.page.evaluate(script, steps) == [["a"], ["b", "d"], ["c"]]
    panel.page.evaluate(script, [{"id": "a", "needs": ["b"]}, {"id": "b", "needs": ["a"]}])


def test_values_that_could_be_mistaken_stand_in_quotes(panel: Panel) -> None:
    """The text 5 and the number 5, ends that show nothing, empty things, places for params."""
    script = """async (value) => {
      const { html, render } = await import("/static/vendor/preact.js");
      const { Value } = await import("/static/app/value.js");
      const box = document.createElement("div");
      render(html`<${Value} value=${value} />`, box);
      return box.textContent.replace(/\\s+/g, " ").trim();
    }"""
    shown = {
        "5": '"5"',
        " x": '" x"',
        "x": "x",
        "": "empty text",
        "true": '"true"',
    }
    assert {text: panel.page.evaluate(script, text) for text in shown} == shown
    assert panel.page.evaluate(script, 5) == "5"
    assert panel.page.evaluate(script, {}) == "{}"
    assert panel.page.evaluate(script, {"$join": ["/srv/", {"$param": "name"}]}) == "/srv/name"
    assert panel.page.evaluate(script, [{"a": {"$from": "s1", "path": "x.y"}}]) == "aresult of s1 x.y"
