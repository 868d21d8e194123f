"""TIES: merge what training has changed in a common base model, after settling which way each weight should go."""

import math
from collections.abc import Sequence
from typing import Annotated, Literal

import torch
from torch import Tensor

from ..core.errors import RecipeError
from ..core.registry import Param, register
from ..core.seeds import torch_generator
from ..fusing import Inputs, RunLog
from ..graph import lookup, merge_states, with_aliases
from ..grouping import Grouped


@register(
    "solver",
    "ties",
    title="Task vectors with elected signs",
    citation="Yadav et al. 2023 (TIES); Yu et al. 2024 (DARE) for random drops",
    needs={"weights", "base"},
    scope="network",
    accepts={"identity"},
    keeps_norms=True,
    aligned_only=True,
)
def ties(
    inputs: Inputs,
    grouped: Grouped,
    log: RunLog,
    *,
    density: Annotated[float, Param("share of a parent's changes that is kept", ge=0.001, le=1)] = 0.2,
    scale: Annotated[float, Param("factor on the merged changes (lambda)", ge=0, le=10)] = 1.0,
    drop: Annotated[
        Literal["magnitude", "random"],
        Param("magnitude: the smallest changes go; random: any go, and the others grow to make up (DARE)"),
    ] = "magnitude",
) -> dict[str, Tensor]:
    """Adds to the base model the changes on whose direction most of the parents' mass agrees.

    Task vectors tau_p = theta_p - theta_base lose all but the share `density` of their entries; every weight takes the
    sign of sum_p tau_p, and the mean of the entries that have that sign, times `scale`, is added to the base. Parents
    are compared weight by weight, as they all started at the same base: a grouping has nothing to add. Running
    statistics of norms are averaged. Returns the fused state. Raises RecipeError without a
    base model.
    """
    if inputs.base is None:
        raise RecipeError("solver 'ties' needs the base model that the parents were trained from; give it as base")
    trace = inputs.trace
    log.progress.report(0.0, "merging task vectors")
    fused = merge_states(inputs.states, trace, grouped.groupings)
    names = list(dict.fromkeys(trace.aliases.get(name, (name,))[0] for name in trace.parameters))
    base = {name: lookup(inputs.base, name, trace) for name in names}
    tasks = []
    for p, state in enumerate(inputs.states):
        change = {name: lookup(state, name, trace).double() - base[name].double() for name in names}
        tasks.append(_trimmed(change, density, drop, torch_generator(inputs.seed, "ties", p)))
        log.progress.report((p + 1) / (inputs.count + 1), f"changes of parent {p + 1}")
    merged, against, total = {}, 0, 0
    for name in names:
        elected, disputed = _elected([task[name] for task in tasks])
        merged[name] = (base[name].double() + scale * elected).to(base[name].dtype)
        against, total = against + disputed, total + elected.numel()
    log.decide("ties", {"disputed": round(against / max(total, 1), 6)})
    return {**fused, **with_aliases(merged, fused, trace)}


def _trimmed(change: dict[str, Tensor], density: float, drop: str, generator: torch.Generator) -> dict[str, Tensor]:
    """The task vector with the share `density` of all its entries kept, the others 0."""
    if density >= 1:
        return change
    if drop == "random":
        return {name: t * _drawn(t, density, generator) / density for name, t in change.items()}
    sizes = torch.cat([t.abs().flatten() for t in change.values()])
    kept = max(1, math.floor(density * len(sizes)))
    smallest = sizes.kthvalue(len(sizes) - kept + 1).values
    return {name: torch.where(t.abs() >= smallest, t, torch.zeros_like(t)) for name, t in change.items()}


def _drawn(like: Tensor, density: float, generator: torch.Generator) -> Tensor:
    """1 with probability `density`, else 0; drawn on the CPU, so that every device gets the same."""
    return (torch.rand(like.shape, generator=generator) < density).to(like)


def _elected(tasks: Sequence[Tensor]) -> tuple[Tensor, int]:
    """The mean of the entries whose sign is that of the parents' sum; and the number of weights on which kept entries
    of both signs met."""
    stacked = torch.stack(list(tasks))
    agree = (stacked * stacked.sum(0).sign()) > 0
    mean = torch.where(agree, stacked, torch.zeros_like(stacked)).sum(0) / agree.sum(0).clamp_min(1)
    return mean, int(((stacked > 0).any(0) & (stacked < 0).any(0)).sum())
