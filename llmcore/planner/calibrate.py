"""How sure may the local matcher be? Learned from the catalogue's own examples by leaving each one out.

Used by the local matcher when it is built. An example ranked without itself shows what right answers look like; the
same with its intent hidden shows how wrong ones look, for then every answer is wrong.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from llmcore.planner.index import SAME, Index, Match

_SAMPLE = 160
_ROUNDS = 60
_RATE = 0.5
_DECAY = 0.002
_PRIOR = (-3.0, 1.5, 3.0, 2.0, 1.0, -2.0, 0.5)
"""Where learning starts, and what holds for a catalogue with hardly any examples."""

Features = tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Calibration:
    """Turns a ranking into a confidence."""

    weights: Features = _PRIOR

    def confidence(self, ranking: Sequence[Match], place: int = 0) -> float:
        """Probability, 0 to 1, that the match at `place` is what was meant."""
        return _sigmoid(self.weights, features(ranking, place))


def features(ranking: Sequence[Match], place: int = 0) -> Features:
    """What tells a sure match: lead, share explained, likeness, sameness, what is left over, weakest value."""
    match = ranking[place]
    rival = max((other.score for other in ranking if other is not match), default=match.score - 8.0)
    lead = math.tanh((match.score - rival) / 4.0)
    same = float(match.similar >= SAME)
    left_over, weakest = min(3.0, match.left_over), min(1.0, match.filled.weakest)
    return (1.0, lead, match.explained, match.similar, same, left_over, weakest)


def calibrate(index: Index) -> Calibration:
    """Fit the weights on the catalogue's examples, each left out in turn (an even sample of a large catalogue)."""
    shots = [(entry, shot) for entry in index.entries.values() for shot in entry.shots]
    rows: list[tuple[Features, float]] = []
    for entry, shot in shots[:: max(1, len(shots) // _SAMPLE)]:
        text = shot.example.text
        ranking = index.rank(index.lexer.read(text), text, {}, without=shot)
        if ranking:
            right = ranking[0].entry is entry and ranking[0].filled.params == dict(shot.example.params)
            rows.append((features(ranking), float(right)))
        others = [match for match in ranking if match.entry is not entry]
        if others:
            rows.append((features(others), 0.0))
    return Calibration(_fit(rows)) if len(rows) >= 20 else Calibration()


def _fit(rows: Sequence[tuple[Features, float]]) -> Features:
    weights = list(_PRIOR)
    for _ in range(_ROUNDS):
        slope = [_DECAY * (weight - prior) for weight, prior in zip(weights, _PRIOR, strict=True)]
        for row, right in rows:
            error = _sigmoid(weights, row) - right
            for number, value in enumerate(row):
                slope[number] += error * value / len(rows)
        weights = [weight - _RATE * 4 * change for weight, change in zip(weights, slope, strict=True)]
    return tuple(weights)


def _sigmoid(weights: Sequence[float], row: Features) -> float:
    total = sum(weight * value for weight, value in zip(weights, row, strict=True))
    return 1.0 / (1.0 + math.exp(-max(-30.0, min(30.0, total))))
