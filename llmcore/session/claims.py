"""Keeps a model from claiming what no step did.

Used on every stream of model prose. A sentence that says something was done is held back until it ends, and left out
unless a step that changes something really succeeded. What it knows of language is a list of verbs; nothing is sent.
"""

import re
from dataclasses import dataclass, field

WITHHELD = "[A claim was left out here: no step of this conversation did that.] "

_DONE = (
    r"restart|start|stop|kill|cancel|delet|remov|creat|mov|renam|cop|writ|sav|updat|chang|scal|deploy|install|reload|"
    r"reboot|send|notif|execut|run|launch|releas|hold|clear|clean|fix|appl|submit|terminat|enabl|disabl|resolv|finish|"
    r"complet|approv"
)
_IRREGULAR = r"written|sent|ran|run|held|done|gone|stopped|copied|applied|notified|wrote"
_PAST = rf"(?:(?:{_DONE})\w*ed|{_IRREGULAR})"
_FIRST_PERSON = re.compile(
    rf"\b(?:I|we)(?:'ve| have| just| already| successfully| also)*\s+(?:\w+ly\s+)?{_PAST}\b", re.IGNORECASE
)
_CLAIM = re.compile(
    rf"{_FIRST_PERSON.pattern}"
    rf"|\b(?:(?:has|have|had|just|got)\s+(?:\w+ly\s+|now\s+|just\s+)*been|was|were|is\s+now|are\s+now)\s+(?:\w+ly\s+)*{_PAST}\b"
    rf"|\bsuccessful(?:ly)?\b|\bsucceeded\b|^\W*(?:done|all set|completed?)\b"
    rf"|^\W*(?:{_DONE})\w*ed\b",
    re.IGNORECASE,
)
_SUSPECT = re.compile(
    r"\b(?:I|we|has|have|had|was|were|is|are|been|got|successful\w*|succeeded|done|completed?|all set)\b", re.IGNORECASE
)
_SUSPECT_BEGINNING = re.compile(rf"^\W*(?:{_DONE})\w*", re.IGNORECASE)
_END = re.compile(r"[.!?](?=[\s\"')\]]|$)|\n")
_LONGEST = 600
"""Characters after which a held sentence is judged even without an end, and that are remembered of a shown one."""
_BEGINNING = 40
"""Characters in which the first word of a sentence is certainly complete."""
_OVERLAP = 16
"""Characters of what was shown in which a suspect word may have begun."""


@dataclass(slots=True)
class ClaimFilter:
    """Takes deltas of prose, gives back what may be shown; call `finish` at the end."""

    may_claim: bool
    """True if a changing step succeeded: then nothing is held back."""
    withheld: int = 0
    """Sentences left out."""
    _shown: str = ""
    _held: str = ""
    _parts: list[str] = field(default_factory=list)

    def feed(self, delta: str) -> str:
        """More prose; returns what can be shown now, possibly nothing."""
        if self.may_claim:
            return delta
        self._parts.clear()
        rest = self._held + delta
        self._held = ""
        while rest:
            end = _END.search(rest)
            if end is None or (end.end() == len(rest) and end[0] != "\n"):
                self._open(rest)
                break
            self._close(rest[: end.end()])
            rest = rest[end.end() :]
        return "".join(self._parts)

    def finish(self) -> str:
        """The stream is over; returns what was still held, if it may be shown."""
        self._parts.clear()
        if self._held:
            self._close(self._held)
            self._held = ""
        return "".join(self._parts)

    def _open(self, text: str) -> None:
        """A sentence without its end: show it as long as nothing in it looks like a claim."""
        if len(text) > _LONGEST:
            self._close(text)
        elif self._suspects(text):
            self._held = text
        else:
            self._parts.append(text)
            self._shown = (self._shown + text)[-_LONGEST:]

    def _suspects(self, text: str) -> bool:
        """True if something in the new text may be part of a claim; what was shown before has been searched already."""
        if len(self._shown) < _BEGINNING and _SUSPECT_BEGINNING.search(self._shown + text):
            return True
        return bool(_SUSPECT.search(self._shown[-_OVERLAP:] + text))

    def _close(self, text: str) -> None:
        """A sentence with its end."""
        if _claims(self._shown + text):
            self.withheld += 1
            self._parts.append(WITHHELD)
        else:
            self._parts.append(text)
        self._shown = ""


_HEDGE = re.compile(
    r"\b(?:if|when|once|after|before|until|unless|would|could|should|can|may|might|will|not|never|cannot|to be|how|"
    r"whether)\b|n't\b",
    re.IGNORECASE,
)


def _claims(sentence: str) -> bool:
    """True for a sentence that says something was done, and neither asks, supposes nor denies it before."""
    claim = _CLAIM.search(sentence)
    if claim is None or _HEDGE.search(sentence[: claim.start()]):
        return False
    asks = sentence.rstrip().endswith("?")
    return not asks or bool(_FIRST_PERSON.search(sentence))
