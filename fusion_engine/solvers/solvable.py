"""Which layers a solver can solve for by themselves, and why not the others."""

from collections.abc import Callable

from ..core.types import Layer
from ..fusing import Inputs, RunLog
from ..graph import Program, Trace


def solvable_layers(
    inputs: Inputs, log: RunLog | None = None, obstacle_of: Callable[[Trace, Layer], str] | None = None
) -> list[Layer]:
    """The layers to solve for, in order. The others keep their average weights, and the notes of `log` say why.

    Layers that read the model's input itself need no solve: the average reproduces the merged features exactly. Those
    of levels that are kept from a finished fusion have their weights already.
    """
    trace, layers = inputs.trace, []
    why = obstacle_of or obstacle
    kept = {name for level in trace.levels[: inputs.kept_levels] for name in level.layers}
    for layer in trace.layers.values():
        if layer.name in kept or not Program(trace, None, [layer.input]).tensors:
            continue
        reason = why(trace, layer)
        if not reason:
            layers.append(layer)
        elif log is not None:
            log.note(f"layer {layer.name} keeps its average weights: {reason}")
    return layers


def obstacle(trace: Trace, layer: Layer) -> str:
    """Why a layer cannot be solved for by itself; '' if it can."""
    uses = sum(other.weight == layer.weight for other in trace.layers.values())
    if uses > 1 or len(trace.aliases.get(layer.weight, ())) > 1:
        return "its weight is shared"
    return "it is a transposed convolution" if layer.options.get("transposed") else ""
