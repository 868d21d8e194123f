"""How much work a forward pass is: what automatic numbers of epochs and steps go by.

A count, as seconds would differ from run to run, and with them the results.
"""

from __future__ import annotations

import math

from ..context import FusionContext
from ..core.types import Level
from ..graph.nodes import shape

__all__ = ["forward_work", "level_work"]


def level_work(context: FusionContext, level: Level) -> float:
    """Multiplications and additions of the level's layers for one sample."""
    trace, total = context.trace, 0.0
    for layer in (trace.layers[name] for name in level.layers):
        outputs = math.prod((shape(trace.capture.node(layer.output)) or (1, 1))[1:])
        size = trace.shapes[layer.weight]
        channels = size[1] * int(layer.options.get("groups", 1)) if layer.options.get("transposed") else size[0]
        total += math.prod(size) * outputs / channels
    return max(total, sum(math.prod(trace.shapes.get(name, ())) for name in level.tensors))


def forward_work(context: FusionContext) -> float:
    """Multiplications and additions of one forward pass for one sample."""
    return max(1.0, sum(level_work(context, level) for level in context.trace.levels))
