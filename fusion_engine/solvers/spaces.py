"""Group every space of the traced model with the recipe's grouping."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from torch import Tensor

from ..context import FusionContext
from ..core import registry
from ..core.types import Grouping, Space
from ..grouping import Network, group, group_network, identity_grouping
from ..stats import FeatureMoments, Moments, SpaceStats, Wanted, grouping_sites, read_moments
from .activations import batch_size
from .fold import fold_norms
from .nested import group_nest

__all__ = ["group_spaces", "judges_groups", "needs_moments", "regroup"]


def group_spaces(
    context: FusionContext, moments: Mapping[str, Moments] | None = None
) -> tuple[dict[str, Grouping], dict[str, SpaceStats]]:
    """Grouping of every space, and the moments that those of plain spaces were made from (empty where the grouping
    needs none, or there is one parent).

    moments: of `grouping_sites`, if they are known; otherwise one pass of the parents over the calibration samples
    gets them. Block spaces (heads) and the spaces inside them are grouped together. The notes name every space that
    gets another grouping than the recipe's.
    """
    trace, step = context.trace, context.grouping
    needed = needs_moments(context)
    with context.watch.stage("grouping"):
        if needed and moments is None:
            moments = _moments(context)
        known = moments if needed and moments is not None else {}
        stats = {n: _stats(context, trace.spaces[n], m) for n, m in known.items() if n in trace.spaces}
        groupings: dict[str, Grouping] = {}
        nests = trace.nests if needed else {}
        if context.parents > 1 and registry.get("grouping", step.method).scope == "network":
            groupings |= _by_weights(context, known)
        for i, (name, space) in enumerate(trace.spaces.items()):
            context.progress("grouping", 0.5 + 0.5 * i / len(trace.spaces), f"grouping {name}")
            if name in groupings:
                continue
            if name in nests:
                groupings |= group_nest(context, nests[name], known, step)
            elif name in stats:
                groupings[name] = group(stats[name], step.method, step.parameters)
            else:
                sizes = [len(scores[name]) for scores in context.importance]
                groupings[name] = identity_grouping(name, sizes, context.sizes.get(name, space.size))
    chosen = {n: dict(g.info["chosen"]) for n, g in groupings.items() if "chosen" in g.info}
    if chosen:
        context.decisions["grouping"] = chosen
    for name in nests:
        if groupings[name].info.get("fallback"):
            context.notes.append(
                f"space {name} and what is inside it: grouped by {groupings[name].method}, as "
                f"{groupings[name].info['fallback']}"
            )
    return {name: groupings[name] for name in trace.spaces}, stats


def _moments(context: FusionContext) -> dict[str, Moments]:
    """Joint moments of what groupings see, from a pass of the parents over the calibration samples."""
    trace, states, data = context.trace, context.states, context.data
    size = batch_size(context, list(trace.layers.values()))
    held = context.held_out if judges_groups(context) else None

    def read(gathered: FeatureMoments) -> None:
        read_moments(
            gathered,
            trace,
            states,
            data,
            batch_size=size,
            on_progress=lambda event: context.progress("grouping", event.fraction / 2, event.message),
            device=str(context.device),
            held_out=held,
        )

    wanted = Wanted(trace, states, data, grouping_sites(trace, context.features), size, held)
    return context.shared.moments(wanted, read)


def _by_weights(context: FusionContext, moments: Mapping[str, Moments]) -> dict[str, Grouping]:
    """All spaces, by a grouping that sees the networks' weights; heads and what is inside them by their features."""
    trace, step = context.trace, context.grouping
    known: dict[str, Grouping] = {}
    for nest in trace.nests.values():
        known |= group_nest(context, nest, moments, step)
    layers = list(trace.layers.values())
    network = Network(
        trace=trace,
        states=tuple(fold_norms(state, layers) for state in context.states),
        sizes=context.sizes,
        importance=tuple(
            {name: scores[name].double().cpu().numpy() for name in trace.spaces} for scores in context.importance
        ),
        seed=context.seed,
        known=known,
    )
    return known | group_network(network, step.method, step.parameters)


def needs_moments(context: FusionContext) -> bool:
    """Whether the recipe's grouping has to see features; one parent that keeps its width is its own grouping."""
    same = all(context.sizes.get(name, space.size) == space.size for name, space in context.trace.spaces.items())
    spec = registry.get("grouping", context.grouping.method)
    wanted = "moments" in spec.needs or (spec.scope == "network" and bool(context.trace.nests))
    return wanted and (context.parents > 1 or not same)


def judges_groups(context: FusionContext) -> bool:
    """Whether the grouping has something to choose by held-out samples, and there are enough of them."""
    step = context.grouping
    automatic = step.method == "auto" or "auto" in step.parameters.values()
    return automatic and needs_moments(context) and bool(context.held_out.any())


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
        size=context.sizes.get(space.name, space.size),
        seed=context.seed,
        freedom=space.freedom,
        held=moments.held,
        held_means=moments.held_mean,
        held_count=moments.held_count,
    )
