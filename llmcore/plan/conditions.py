"""Conditions of steps: CEL over the results and states of earlier steps, and nothing else.

Used by the catalogue (to check), the values of a plan (what a condition waits for) and the executor (to decide). A
condition reads `steps.<id>.result` and `steps.<id>.state`; it sees no clock and no other step, so it says the same
whenever it is asked. Macros may not be nested, so that its cost is bounded by the size of the results.
"""

import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any

import cel

from llmcore.errors import BadParams

_TOKEN = re.compile(
    r"""
    (?P<comment>//[^\n]*)
  | (?P<text>[bB]?[rR][bB]?(?:"[^"]*"|'[^']*') | [bB]?(?:"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'))
  | (?P<number>\d[\w.]*)
  | (?P<name>[A-Za-z_]\w*)
  | (?P<sign>\S)
    """,
    re.VERBOSE | re.DOTALL,
)
_MACROS = frozenset({"all", "exists", "exists_one", "map", "filter"})
_WORDS = frozenset({"true", "false", "null", "in"})
_READS = frozenset({"result", "state"})
HOW = "a condition reads steps.<id>.result and steps.<id>.state"


@lru_cache(maxsize=1_000)
def condition_sources(condition: str) -> frozenset[str]:
    """Ids of the steps that a condition reads; raises BadParams (pointer "") if it is no condition."""
    try:
        cel.compile(condition)
    except ValueError as wrong:
        raise _refused(f"is not CEL: {' '.join(str(wrong).partition('ERROR: ')[2].split())[:120]}") from wrong
    tokens = [(found.lastgroup or "", found.group()) for found in _TOKEN.finditer(condition)]
    return frozenset(_sources([token for token in tokens if token[0] != "comment"]))


def _sources(tokens: list[tuple[str, str]]) -> Iterator[str]:
    bound: set[str] = set()
    inside: list[bool] = []
    """Of every open bracket: whether a macro opened it."""
    for place, (kind, word) in enumerate(tokens):
        if kind == "sign" and word in "([{":
            macro = word == "(" and _word(tokens, place - 1) in _MACROS and _word(tokens, place - 2) == "."
            if macro and any(inside):
                raise _refused("has one all, exists, map or filter inside another; split the condition")
            if macro:
                bound.add(_word(tokens, place + 1))
            inside.append(macro)
        elif kind == "sign" and word in ")]}":
            inside.pop()
        elif kind == "name" and word not in _WORDS | bound and _is_free(tokens, place):
            yield _source(tokens, place)


def _is_free(tokens: list[tuple[str, str]], place: int) -> bool:
    """True for a name that is neither a field of something nor a function."""
    return _word(tokens, place - 1) != "." and _word(tokens, place + 1) != "("


def _source(tokens: list[tuple[str, str]], place: int) -> str:
    """The step that is read where a name stands."""
    words = [_word(tokens, place + further) for further in range(5)]
    if words[0] != "steps":
        raise _refused(f"names {words[0]!r}, which is nothing here: {HOW}")
    if words[1] != "." or words[3] != "." or words[4] not in _READS:
        raise _refused(f"names steps without a step's field: {HOW}")
    return words[2]


def renamed_sources(condition: str, names: Mapping[str, str]) -> str:
    """A condition that reads other steps: old id -> new id. The condition has to be one (`condition_sources`)."""
    pieces: list[str] = []
    end = 0
    tokens = [found for found in _TOKEN.finditer(condition) if found.lastgroup != "comment"]
    for place, found in enumerate(tokens[2:], start=2):
        before = [token.group() for token in tokens[place - 2 : place]]
        free = place == 2 or tokens[place - 3].group() != "."
        if before == ["steps", "."] and free and found.group() in names:
            pieces += [condition[end : found.start()], names[found.group()]]
            end = found.end()
    return "".join([*pieces, condition[end:]])


def _word(tokens: list[tuple[str, str]], place: int) -> str:
    return tokens[place][1] if 0 <= place < len(tokens) else ""


def _refused(why: str) -> BadParams:
    return BadParams(f"The condition {why}.", [{"pointer": "", "message": why}])


@lru_cache(maxsize=1_000)
def _compiled(condition: str) -> Any:
    return cel.compile(condition)


def holds(condition: str, steps: Mapping[str, Mapping[str, Any]]) -> bool:
    """What a condition says of `{step id: {"result", "state"}}`; raises BadParams if it errs or is no true or false.

    Two to twenty microseconds for a usual condition.
    """
    try:
        answer = _compiled(condition).execute({"steps": steps})
    except (ValueError, LookupError, TypeError, ArithmeticError, RuntimeError, AttributeError) as wrong:
        raise _refused(f"{condition!r} cannot be answered ({type(wrong).__name__}: {str(wrong)[:120]})") from wrong
    if not isinstance(answer, bool):
        raise _refused(f"{condition!r} says {str(answer)[:60]!r}, which is neither true nor false")
    return answer
