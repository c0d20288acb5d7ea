"""Is this text an order? Finds the signs that it is not: a question, a negation, a supposition, a report, a later time.

Used by the local matcher and, over what a model planned, by the model planner. Looks only at the language, so it
holds for every catalogue: nothing that mutates is planned while such a sign stands outside the words a step quotes.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

from llmcore.planner.lexicon import COMMON, SYNONYMS

_WHO = "(?:i|we|one|you|someone|somebody|anyone|people|they|he|she)"
_TIMES = (
    "(?:second|minute|hour|day|night|morning|evening|week|weekend|month|year"
    "|(?:mon|tues|wednes|thurs|fri|satur|sun)day)s?"
)
_ALL = "(?: (?:it|that|everything|all))?"
_BACK = f"(?:undo|revert|roll{_ALL} back|take{_ALL} back){_ALL}"
_FAILS = "(?:fails?|goes wrong|breaks|does(?:n't| not) work)"
_NOT = "(?:n't|nt| not)"


def _words(*parts: str) -> re.Pattern[str]:
    return re.compile(rf"\b(?:{'|'.join(parts)})\b")


def _start(*parts: str) -> re.Pattern[str]:
    return re.compile(rf"(?:{'|'.join(parts)})\b")


_BLANK = re.compile(
    "|".join(
        (
            r'"[^"\n]*"|“[^”\n]*”|\u2018[^\u2019\n]*\u2019|«[^»\n]*»|`[^`\n]*`',
            r"(?<!\w)'[^'\n]+'(?!\w)",
            r"\S*[\w~]?/\S+|\w[\w-]*\.\w[\w.-]*",
            r"\b(?:even (?:if|when|though)|whether or not|no matter (?:if|whether|what|how))\b[^,;.!?]*",
            r"\bi (?:don't|do not) need .{1,60}? any ?more\b",
            r"\b(?:not|non)[- ]?empty\b|\bno longer\b|\bno (?:problem|worries|rush|hurry)\b",
            r"\bif (?:you (?:can|could|would|please|don't mind)|possible)\b",
            r"\bwhen you (?:can|get a (?:chance|moment|minute))\b",
            rf"\b{_BACK} if [^,.;!?]{{1,40}} {_FAILS}\b",
            rf"\bif [^,.;!?]{{1,40}} {_FAILS},? (?:then |please )*{_BACK}\b",
            r"\b(?:check|see|tell me|tell us|know|find out|verify|look|show me|test) (?:if|whether)\b",
        )
    )
)
"""What says nothing about the sentence: quotations, paths and names with dots, concessions and courtesies."""
_UNDO_ON_FAILURE = re.compile(
    rf"\b{_BACK} if [^,.;!?]{{1,40}} {_FAILS}\b|\bif [^,.;!?]{{1,40}} {_FAILS},? (?:then |please )*{_BACK}\b"
)
_CLAUSE_END = re.compile(r"[.;!?,](?=\s|$)|\s(?:and|then|but)\s(?:then\s)?")
_SENTENCE_END = re.compile(r"[.;!?](?=\s|$)")
_LEAD = re.compile(
    r"[\s,.!:;-]*(?:(?:hi|hello|hey|ok|okay|so|well|now|then|and|but|also|please|pls|plz|kindly|just|first|next|yes"
    r"|sure|listen|right|thanks|thank you|sorry|excuse me|by the way|btw|good (?:morning|evening|afternoon))\b"
    r"[\s,.!:;-]*)*"
)
_POLITE = _start(
    "(?:can|could|will|would) (?:you|u)"
    r"(?! (?:tell|explain|describe|say|know|remember|think|be able|have|ever|recommend|suggest)\b)",
    "(?:would|do) you mind",
    "(?:can|could|may) i (?:ask|get|trouble) you to",
    "i was wondering if you could",
)

_OPENINGS = (
    (
        "question",
        _start(
            "how to",
            f"how (?:do|did|can|could|should|would|might|shall) {_WHO}",
            "how (?:about|come|safe|risky|dangerous)",
            "why",
            "when",
            r"who (?:can|could|may|might|should|did|has|had|\w+ed)",
            "(?:do|does) (?:i|we|you) (?:need|have to|think|recommend|suggest|know)",
            "do i",
            r"(?:can|could|may) (?:i|we)(?! (?:please )?(?:see|get|have|look|view|read|check|know)\b)",
            r"(?:should|shall|would|might|must|will|can|could|may)(?:n't)?(?! (?:i|we|you)\b)",
            "(?:should|shall|would|might|must)(?:n't)? (?:i|we|you)",
            "are you able|(?:have|has|had|did) (?:you|i|we)",
            "explain|describe|clarify|teach|remind|document|i(?:'m| am)? wonder|wondering|talk me|walk me",
            "help me (?:to )?(?:understand|decide)",
            "(?:tell|show) (?:me|us) (?:how (?:to|do|does|did|can|could|should|would|i|we)|why|when|about)",
        ),
    ),
    (
        "gerund",
        re.compile(r"\w{3,}ing\b"),
    ),
    ("report", re.compile(">")),
    (
        "participle",
        re.compile(
            r"(?!(?:i|we|you|please|get|need|want|make|keep|let|see|what|which|who|where|how|any|is|are|was|were|do|does|did"
            r"|has|have|had|can|could|may)\b)(?:the |our |my )?[\w.§-]+(?: \w+){0,2}?"
            r" (?:just |already |now |successfully )?(?!need)\w{3,}ed"
            r"(?=\s*(?:$|[,.!?;]| at | on | after | before | today))"
        ),
    ),
    (
        "ask",
        _start(
            "what|which|who|whom|whose|where|how|any",
            "(?:what|who|where|how)(?:'?s|'re|'d)",
            r"(?:is|are|was|were|am|do|does|did|has|have|had)n't",
            r"(?:am|do|have|had)(?! (?:an?|the) )",
            "is|are|was|were|does|did|has",
            "(?:can|could|may) (?:i|we|you)",
            "tell (?:me|us)",
        ),
    ),
    (
        "narrative",
        _start(
            rf"{_WHO}(?:'ve|'d| have| had| has)? (?:just |already |have )*(?!need|want)\w+ed",
            f"{_WHO} did",
            f"{_WHO}(?:'ll|'m|'re| will| am| are| is)(?! (?:needing|wanting|asking))",
            r"to \w+",
        ),
    ),
)
"""How a clause begins that orders nothing, told apart in this order."""

_ANYWHERE = (
    (
        "negation",
        _words(
            f"(?:do|does|did|is|was|should|must|need|wo|ca|could|would){_NOT}",
            "not|never|cannot|without|avoid|refrain|hold off|except|neither|nor|nevermind",
            "leave .{0,60}alone",
            "no need|no reason",
            r"no (?:restart|stop|start|delet|remov|chang|action)\w*",
            "forget (?:it|about|that)|instead of|rather than",
        ),
    ),
    (
        "question",
        _words(
            "what (?:happens|(?:would|will|could) happen|happened|if)",
            "(?:is it|would it be) (?:safe|ok|okay|wise|possible|dangerous)",
            "(?:should|shall) (?:i|we)|do (?:i|we) (?:need|have) to",
            "how (?:do|can|would|should|could) (?:i|we|you)|how to",
            "difference between|pros and cons",
            "(?:effect|consequence|impact|risk|danger|point)s? of",
            "(?:safe|ok|okay|possible|necessary|wise) to",
            r"good idea|worth \w+ing",
        ),
    ),
    (
        "condition",
        _words(
            "if|unless|whether|in case|provided|assuming|otherwise",
            "when (?:the|it|this|that|there|[a-z]+ (?:is|are|gets|goes|has))",
        ),
    ),
    ("condition", re.compile(r"(?:^|[,;.] ?)when\b")),
    ("waiting", _words("until|till|once|whenever", "as (?:soon|long) as", r"before (?:you|i|we|they|\w+ing)")),
    (
        "supposition",
        _words(
            r"suppos(?:e|ing)|imagine|hypothetical\w*|pretend|theoretically|in theory|let'?s say",
            "(?:would|could|should|might) have|(?:should|ought to|might|may|could) be",
            "think(?:ing)? (?:of|about)|consider(?:ing)?|planning (?:to|on)",
            "(?:might|may) (?:need|want|have) to",
            "(?:it|that|this) would|would (?:be|help|fix|cause|break|happen)",
        ),
    ),
    (
        "report",
        _words(
            "says|said|saying that|tells|told|wrote|written by|according to|quot(?:e|es|ed|ing)|asks|asked|states",
            r"reads(?=\s*:)",
            "(?:suggest|recommend|propos|claim|advis|instruct|mention|request|demand|report|insist|warn)(?:e?s|ed|ing)"
            "(?! with)",
        ),
    ),
    (
        "passive",
        _words(r"(?:was|were|been|being|got) (?:\w+ly )?(?!needed|required|supposed)\w{2,}(?:ed|wn)"),
    ),
    (
        "narrative",
        _words(
            "yesterday|last (?:night|week|month|year|monday)|earlier today",
            "(?:minutes?|hours?|days?|weeks?|months?) ago",
        ),
    ),
    (
        "later",
        _words(
            "tomorrow|tonight|later|soon|eventually|someday|periodically|regularly",
            r"next (?:week|month|year|time|\w+day)",
            r"at (?:\d{1,2}(?::\d\d| ?[ap]m| o'clock)|noon|midnight|night|dawn)",
            r"at \d{1,2}(?=\s*(?:$|[,.!?]))",
            r"(?:in|after|within) (?:\d+|an?|[a-z]+|half an|a few|a couple of)"
            rf" ?(?:s|m|h|d|secs?|mins?|hrs?|{_TIMES})",
            rf"(?:every|each) (?:\w+ )?{_TIMES}",
            r"(?:hourly|daily|weekly|nightly)(?=\s*(?:$|[,.!?]))",
            "on (?:mon|tues|wednes|thurs|fri|satur|sun)days?|this (?:afternoon|evening|weekend)",
        ),
    ),
)
_INFLECTED = {"participle": "participle", "gerund": "participle"}
"""Openings that count only if their last word is a form of a known verb -> the sign they are."""
_OWN_CLAUSE = frozenset({"ask", "narrative", "participle"})
"""Signs that speak only of the clause they stand in: `I changed the file, reload nginx` still orders the second."""
_OF_ORDERS = frozenset({"ask", "participle"})
"""Signs that say nothing against a wish to know."""


@dataclass(frozen=True, slots=True)
class Sign:
    """A sign that the text does not order what it names."""

    kind: str
    """`ask` (wants to know), `question` (about acting), `negation`, `condition`, `supposition`, `report`, `narrative`,
    `participle` (a thing with what was done to it), `later`."""
    start: int
    end: int
    clause: tuple[int, int]


@lru_cache(maxsize=64)
def signs(text: str) -> tuple[Sign, ...]:
    """All signs, in no particular order; remembered, as each reading of a text asks for them twice."""
    lower = _BLANK.sub(lambda match: "§" * len(match[0]), text.lower().replace("\u2019", "'"))
    clauses = _clauses(lower)
    found = [sign for clause in clauses if (sign := _opening(lower, clause))]
    for kind, pattern in _ANYWHERE:
        for match in pattern.finditer(lower):
            clause = next((one for one in clauses if one[0] <= match.start() < one[1]), (0, len(lower)))
            found.append(Sign(_told(kind, clause, found), match.start(), match.end(), clause))
    return tuple(found)


def _told(kind: str, clause: tuple[int, int], found: Iterable[Sign]) -> str:
    """`how much is being used` asks, `redis was stopped` tells."""
    if kind != "passive":
        return kind
    return "participle" if any(sign.kind == "ask" and sign.clause == clause for sign in found) else "narrative"


def asks_undo_on_failure(text: str) -> bool:
    """True for an order that is to be taken back if something of it fails."""
    return _UNDO_ON_FAILURE.search(text.lower().replace("\u2019", "'")) is not None


def blocking(
    text: str,
    *,
    mutates: bool,
    quoted: Iterable[tuple[int, int]] = (),
    evidence: Iterable[int] | None = None,
    conditional: bool = False,
    partly: bool = False,
) -> str | None:
    """Kind of a sign that forbids to act (or, for a read, to take the text as a wish to know), else None.

    `quoted` are the spans that a step's params took over word for word: what stands there orders and forbids nothing.
    `evidence` are the positions of the words that name the action; None if they are not known. A `conditional` step
    says itself under which condition it acts, so that a condition in the words does not forbid it; where only other
    steps of its plan do (`partly`), it forbids what it speaks of: its clause, or after `if ...,` the whole sentence.
    """
    spans = list(quoted)
    found = [sign for sign in signs(text) if not any(start <= sign.start and sign.end <= end for start, end in spans)]
    own_clause = _OWN_CLAUSE | {"condition"} if partly else _OWN_CLAUSE
    if conditional:
        found = [sign for sign in found if sign.kind != "condition"]
    if not mutates:
        found = [sign for sign in found if sign.kind not in _OF_ORDERS]
    for sign in found:
        if sign.kind not in own_clause:
            return sign.kind
    if not found:
        return None
    touched = {_reach(sign, text) for sign in found}
    if evidence is None:
        plain = (text[start:end].strip(" ?.!,;") for start, end in _clauses(text) if (start, end) not in touched)
        return None if any(plain) else found[0].kind
    free = (not any(start <= at < end for start, end in touched) for at in evidence)
    return None if any(free) else found[0].kind


def _reach(sign: Sign, text: str) -> tuple[int, int]:
    """What a sign speaks of: its clause; a condition that begins one speaks of all up to the end of the sentence."""
    start, end = sign.clause
    if sign.kind != "condition" or _LEAD.sub("", text[start : sign.start].lower(), count=1).strip():
        return sign.clause
    stop = _SENTENCE_END.search(text, sign.end)
    return start, max(end, stop.start() if stop else len(text))


def _clauses(text: str) -> list[tuple[int, int]]:
    found, start = [], 0
    for match in _CLAUSE_END.finditer(text):
        found.append((start, match.end()))
        start = match.end()
    return [*found, (start, len(text))] if start < len(text) else found


def _opening(lower: str, clause: tuple[int, int]) -> Sign | None:
    lead = _LEAD.match(lower, clause[0], clause[1])
    start = lead.end() if lead else clause[0]
    if _POLITE.match(lower, start, clause[1]):
        return None
    for kind, pattern in _OPENINGS:
        match = pattern.match(lower, start, clause[1])
        if match and (kind not in _INFLECTED or _inflected(match[0])):
            return Sign(_INFLECTED.get(kind, kind), start, match.end(), clause)
    if lower[start : clause[1]].rstrip().endswith("?"):
        return Sign("ask", start, clause[1], clause)
    return None


def _inflected(words: str) -> bool:
    """True if the last word is a form of a known verb (`restarted`, not `memcached`)."""
    stem = words.split()[-1].removesuffix("ed").removesuffix("ing")
    return any(base in SYNONYMS or base in COMMON for base in (stem, stem + "e", stem[:-1]))
