"""What training after the solve may start from: the fused network, a parent, or the parents' plain average."""

import math
from collections.abc import Mapping
from typing import Literal, Protocol

from torch import Tensor

from ..core.errors import FusionError
from ..core.types import State
from ..fusing import Inputs, RunLog
from ..graph import average_state

Start = Literal["fused", "best_parent", "average", "auto"]
FUSED, AVERAGE = "the fused network", "the parents' average"


def candidates(inputs: Inputs, state: State, start: Start) -> dict[str, dict[str, Tensor]]:
    """The states that `start` names, by what they are called: parents and their average where they are as wide as the
    fused network `state`, which is always the first."""
    found: dict[str, dict[str, Tensor]] = {FUSED: dict(state)}
    if start == "fused":
        return found
    own = {parent_name(p): dict(other) for p, other in enumerate(inputs.states) if _fits(other, state)}
    found |= own if start in ("best_parent", "auto") else {}
    if start in ("average", "auto") and len(own) == inputs.count:
        found[AVERAGE] = average_state(inputs.states)
    return found


class Judge(Protocol):
    """What the held-out samples say. label: of the step. held_out_losses(state): (samples,)."""

    @property
    def label(self) -> str: ...

    def held_out_losses(self, state: State) -> Tensor: ...


def choose(before: Mapping[str, float], start: Start, judge: Judge, log: RunLog) -> list[str]:
    """What training may go on from, the lowest held-out loss first: of 'auto' the fused network and the best other.
    before: by candidate its held-out loss. Raises FusionError where there is no such start."""
    others = sorted((name for name in before if name != FUSED), key=lambda name: before[name])
    if start == "fused":
        return [FUSED]
    if start == "auto":
        if not others:
            log.note(f"{judge.label}: no parent is as wide as the fused network, so training starts from that alone")
        return sorted([name for name in (FUSED, *others[:1]) if name in before], key=lambda name: before[name])
    wanted = [name for name in others if (name == AVERAGE) == (start == "average")]
    if not wanted:
        what = "the average" if start == "average" else "a parent"
        raise FusionError(
            f"{judge.label}: it cannot start from {what}, as the parents are not as wide as the fused network; use "
            "start 'fused'"
        )
    return wanted[:1]


def verdict(
    judge: Judge, known: Mapping[str, State], before: Mapping[str, float], first: str, after: float, result: State
) -> list[str]:
    """Lines for the report: what training started from, and whether held-out samples can tell the result from the best
    parent. first: what `result`, of held-out loss `after`, was trained from."""
    losses = ", ".join(f"{name} {loss:.3f}" for name, loss in sorted(before.items(), key=lambda item: item[1]))
    lines = [f"{judge.label}: it started from {first} (held-out loss before: {losses}; after: {after:.3f})"]
    parents = [name for name in before if name not in (FUSED, AVERAGE)]
    if not parents:
        return lines
    best = min(parents, key=lambda name: before[name])
    if first == best and after == before[best]:
        return lines
    apart = (judge.held_out_losses(known[best]) - judge.held_out_losses(result)).double()
    noise = float(apart.std()) / math.sqrt(len(apart)) if len(apart) > 1 else math.inf
    if abs(float(apart.mean())) <= 2 * noise:
        lines.append(
            f"{judge.label}: {len(apart)} held-out samples are too few to tell whether the result is better than "
            f"{best}: their losses differ by {float(apart.mean()):.3f}, with a standard error of {noise:.3f}"
        )
    return lines


def parent_name(p: int) -> str:
    """What notes call a parent: by its number from 1."""
    return f"parent {p + 1}"


def _fits(other: State, state: Mapping[str, Tensor]) -> bool:
    return other.keys() >= state.keys() and all(other[name].shape == state[name].shape for name in state)
