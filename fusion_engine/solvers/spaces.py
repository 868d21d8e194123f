"""Group every space of the traced model with the recipe's grouping."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from torch import Tensor

from ..context import FusionContext
from ..core import registry
from ..core.types import Grouping, Space
from ..grouping import group, identity_grouping
from ..stats import Moments, SpaceStats, parent_moments

__all__ = ["group_spaces", "regroup"]


def group_spaces(
    context: FusionContext, moments: Mapping[str, Moments] | None = None
) -> tuple[dict[str, Grouping], dict[str, SpaceStats]]:
    """Grouping of every space, and the moments it was made from (empty where the grouping needs none).

    moments: by space, if they are known; otherwise one pass of the parents over the calibration samples gets them.
    A space without a producing layer of its own keeps the identity grouping, which the notes say by name.
    """
    trace, method = context.trace, context.grouping.method
    needs = registry.get("grouping", method).needs
    groupings: dict[str, Grouping] = {}
    stats: dict[str, SpaceStats] = {}
    if "moments" in needs and context.parents > 1:
        with context.watch.stage("grouping"):
            moments = moments or parent_moments(
                trace,
                context.states,
                context.data,
                precision="mixed",
                on_progress=lambda event: context.progress("grouping", event.fraction / 2, event.message),
                device=str(context.device),
            )
        stats = {name: _stats(context, trace.spaces[name], found) for name, found in moments.items()}
    for i, (name, space) in enumerate(trace.spaces.items()):
        with context.watch.stage("grouping"):
            context.progress("grouping", 0.5 + 0.5 * i / len(trace.spaces), f"grouping {name}")
            if name in stats:
                groupings[name] = group(stats[name], method, context.grouping.parameters)
            else:
                if "moments" in needs and context.parents > 1:
                    context.notes.append(f"space {name}: no single layer makes it, so its neurons keep their order")
                groupings[name] = identity_grouping(name, [space.size] * context.parents, space.size)
    return groupings, stats


def regroup(context: FusionContext, stats: SpaceStats, gram: Tensor, projected: Tensor) -> Grouping:
    """Group a space again, now that the gram (N, N) of its features projected on what its layer can represent is
    known; gram: of the same rows without the projection."""
    known = replace(stats, gram=gram.cpu().numpy(), projected=projected.cpu().numpy())
    return group(known, context.grouping.method, context.grouping.parameters)


def _stats(context: FusionContext, space: Space, moments: Moments) -> SpaceStats:
    importance = tuple(scores[space.name].double().cpu().numpy() for scores in context.importance)
    return SpaceStats(
        space=space.name,
        sizes=tuple(len(s) for s in importance),
        gram=moments.gram,
        means=moments.mean,
        count=moments.count,
        importance=importance,
        size=space.size,
        seed=context.seed,
        freedom=space.freedom,
    )
