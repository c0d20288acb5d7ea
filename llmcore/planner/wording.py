"""What the planner says itself: questions for a missing value, the honest "cannot", greetings.

Used by the local matcher and the model planner. Plain sentences; knows nothing of how a request was understood.
"""

import re
from collections.abc import Iterable, Mapping, Sequence

from llmcore.intent import Intent

_GREETING = re.compile(
    r"(?:hi|hello|hey|hiya|good (?:morning|afternoon|evening|day)|greetings|yo)(?: (?:there|all|team|llmcore))?"
)
_THANKS = re.compile(
    r"(?:(?:many )?thanks(?: a lot| so much)?|thank you(?: (?:very|so) much)?|thx|ty|cheers|great|perfect|nice|cool)"
)
_HELP = re.compile(
    r"(?:help(?: me)?|what (?:all )?can (?:you|i) do(?: here| for me)?|what do you do|who are you|what are you"
    r"|how do you work|what can i (?:ask|say)(?: you)?|what are you (?:able to do|capable of)|show me what you can do"
    r"|how can you help(?: me)?)"
)
_WHY = {
    "ask": "That reads as a question",
    "question": "That reads as a question about an action",
    "negation": "That says what not to do",
    "condition": "That depends on a condition, which I could not put into a plan",
    "waiting": "That waits for something, and I only act at once",
    "supposition": "That reads as a supposition",
    "report": "That reads as somebody else's words",
    "narrative": "That reads as a report of what happened",
    "participle": "That reads as a report of what happened",
    "later": "That is for another time, and I only act at once",
}
_SHOWN = 8


def social(text: str, visible: Sequence[Intent]) -> str | None:
    """The answer to a greeting, thanks or a call for help; None for anything else."""
    plain = re.sub(r"[^\w\s]", " ", text.lower())
    plain = re.sub(r"\b(?:please|llmcore)\b", " ", plain)
    plain = " ".join(plain.split())
    if _THANKS.fullmatch(plain):
        return "You are welcome."
    if _GREETING.fullmatch(plain):
        return "Hello. " + _offer(visible)
    return _offer(visible) if _HELP.fullmatch(plain) else None


_ASKING = re.compile(r"(?:how|which|what|where|when|whether|who)\b", re.IGNORECASE)
"""A description that is a question already takes no article."""


def question(intent: Intent, missing: Sequence[str], vocabulary: Mapping[str, Sequence[str]]) -> str:
    """One question for all values that are missing (dotted names)."""
    wanted = " and ".join(_describe(intent, name) for name in missing)
    known = [name for param in missing for name in vocabulary.get(intent.vocabulary.get(param, ""), ())]
    offer = f" I know {', '.join(known[:_SHOWN])}{', …' if len(known) > _SHOWN else ''}." if known else ""
    asked = wanted if _ASKING.match(wanted) else f"the {wanted}"
    return f"{first_sentence(intent).rstrip('.')}: please tell me {asked}.{offer}"


def cannot(nearest: Sequence[Intent], sign: str | None = None) -> str:
    """The honest "cannot", with what comes nearest; `sign` is what kept an action from being planned."""
    if sign in _WHY:
        start = f"{_WHY[sign]}, so nothing was planned."
        follow = "If you want it done, say it as an order." if nearest else ""
    else:
        start, follow = "I cannot do that here, or did not understand it.", ""
    names = "; ".join(f"{intent.name} ({first_sentence(intent).rstrip('.')})" for intent in nearest)
    return " ".join(filter(None, [start, f"The nearest things I can do: {names}." if names else "", follow]))


def first_sentence(intent: Intent) -> str:
    """The first sentence of an intent's description."""
    line = " ".join(intent.description.split())
    return re.split(r"(?<=[.;:])\s", line, maxsplit=1)[0].rstrip(";:")


def _describe(intent: Intent, pointer: str) -> str:
    node: Mapping[str, object] = intent.schema
    for part in pointer.split("."):
        properties = node.get("properties")
        inner = properties.get(part) if isinstance(properties, Mapping) else None
        node = inner if isinstance(inner, Mapping) else {}
    name = pointer.rpartition(".")[2].replace("_", " ")
    note = str(node.get("description", ""))
    return re.split(r"[,;.]\s", note, maxsplit=1)[0] if note else name


def _offer(visible: Sequence[Intent]) -> str:
    return (
        f"Ask in plain words, for example {_join(_samples(visible))}."
        if visible
        else "I have nothing to offer you here."
    )


def _samples(visible: Sequence[Intent]) -> Iterable[str]:
    packs: dict[str, str] = {}
    for intent in visible:
        if intent.examples:
            packs.setdefault(intent.pack or intent.name, f'"{intent.examples[0].text}"')
    return list(packs.values())[:5]


def _join(parts: Iterable[str]) -> str:
    *head, last = parts or ["…"]
    return f"{', '.join(head)} or {last}" if head else last
