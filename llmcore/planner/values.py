"""The values that go into the planner and come out of it.

Used by every module of the planner, by `session` and by the eval command. Knows no model and no catalogue.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from llmcore.intent import Intent
from llmcore.plan import Principal, RawStep, renamed_references, renamed_sources
from llmcore.ports import Message, Usage

Kind = Literal["plan", "clarify", "none", "answer"]


@dataclass(frozen=True, slots=True, kw_only=True)
class DraftStep:
    """One intent call as the planner understood it; params hold only what the text says."""

    intent: str
    params: Mapping[str, Any] = field(default_factory=dict)
    """May hold references `{"$from": "s<index+1>", "path": JMESPath}` to earlier steps."""
    needs: tuple[int, ...] = ()
    """Zero-based indices of earlier steps."""
    when: str | None = None
    rules: Mapping[str, Any] = field(default_factory=dict)
    """`on_error`, `retries` and `timeout_s` as the contract writes them, where they are not the usual ones."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """What the planner makes of one request. Nothing has been checked against policy, nothing runs."""

    kind: Kind
    steps: tuple[DraftStep, ...] = ()
    """For `plan` what is to run, for `clarify` what is known so far, else empty."""
    text: str = ""
    """The question, the honest "cannot", or the answer; empty for `answer` asks the session to stream prose."""
    answered_by: str | None = None
    """`local`, `template`, `cache`, the provider's name, or None where nobody was sure."""
    confidence: float = 0.0
    """0 to 1."""
    usage: Usage = field(default_factory=Usage)
    missing: tuple[str, ...] = ()
    """For `clarify`: names of the params that are asked for."""
    nearest: tuple[str, ...] = ()
    """For `none`: names of the intents that come nearest."""
    tainted: bool = False
    """True if a model read untrusted text while it made this."""
    more: bool = False
    """True if what these reads find decides what has to be done next."""

    def raw_steps(self, after: int = 0) -> list[dict[str, Any]]:
        """The steps as the contract writes them, named `s1`, `s2`, ..., or from there on where others come before."""
        names = {f"s{number + 1}": f"s{after + number + 1}" for number in range(len(self.steps))}
        return [
            {
                "id": f"s{after + number + 1}",
                "intent": step.intent,
                "params": renamed_references(step.params, names) if after else step.params,
                "needs": [f"s{after + need + 1}" for need in step.needs],
                "when": renamed_sources(step.when, names) if after and step.when else step.when,
                **step.rules,
            }
            for number, step in enumerate(self.steps)
        ]


_RULES = ("on_error", "retries", "timeout_s")


def template_draft(raw: Sequence[RawStep], *, tainted: bool) -> Draft:
    """The plan of a template with its values, from checked steps as the contract writes them; named as drafts do."""
    ids = [str(step.get("id", f"s{number + 1}")) for number, step in enumerate(raw)]
    names = {step_id: f"s{number + 1}" for number, step_id in enumerate(ids)}
    steps = tuple(
        DraftStep(
            intent=step["intent"].removeprefix("intent_"),
            params=renamed_references(step.get("params", {}), names),
            needs=tuple(ids.index(need) for need in step.get("needs", ())),
            when=renamed_sources(step["when"], names) if step.get("when") else None,
            rules={key: step[key] for key in _RULES if key in step},
        )
        for step in raw
    )
    return Draft(kind="plan", steps=steps, answered_by="template", confidence=1.0, tainted=tainted)


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What a step has found, told to a model as data."""

    step_id: str
    intent: str
    params: Mapping[str, Any]
    result: Any


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanRequest:
    """One request, and all the planner may know about it."""

    text: str
    principal: Principal
    visible: Sequence[Intent]
    """What this caller may ever use; nothing else is planned or named."""
    history: Sequence[Message] = ()
    """Earlier turns of the conversation; whatever role they bear, they are data."""
    vocabulary: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """Lists that the host itself gives (`targets`, `logs`, `scripts`, …): names by list."""
    pending: Draft | None = None
    """The question of the turn before, which this text may answer."""
    template: Draft | None = None
    """The plan of a saved template that the text means by the words of one of its examples."""
    setting: str | None = None
    """What a model's plan depends on beside words, catalogue and role: policy, provider. None: remember nothing."""
    mode: Literal["auto", "plan"] = "auto"
    untrusted: bool = True
    """False only if the caller knows that the history holds nothing but what people typed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannerOptions:
    """What can be tuned."""

    threshold: float = 0.5
    """The local matcher answers from this confidence on."""
    asking: float = 0.4
    """And asks for a value that is missing from this one on."""
    shots: int = 6
    """How many examples a model is shown, the most similar last."""
    max_tokens: int = 400
    """Room for a model's plan."""
    history_turns: int = 6
    """How many earlier messages a model is shown."""
    max_text: int = 4000
    """Longer requests are not matched locally; characters."""


@dataclass(frozen=True, slots=True)
class Score:
    """How well one intent fits a request; for `llmcore plan` and confusion lists."""

    intent: str
    score: float
    confidence: float
    unexplained: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
