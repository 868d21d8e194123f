"""How much work a forward pass is: what automatic numbers of epochs and steps go by.

A count, as seconds would differ from run to run, and with them the results.
"""

import math
from typing import Annotated, Literal

from ..core.registry import Param
from ..graph import Trace, shape
from ..stats import sample_bytes

# Writing an activation and reading it again takes as long as about this many multiplications and additions: what
# norms, softmax and activation functions cost in networks of small layers.
_A_NUMBER = 20

Effort = Literal["quick", "standard", "thorough"]
EFFORTS: dict[Effort, int] = {"quick": 1, "standard": 4, "thorough": 16}
"""The work that 'auto' numbers of steps and epochs may cost, over that of a quick run: one meaning in all training."""
EffortParameter = Annotated[
    Effort,
    Param("how much training 'auto' means: standard takes about 4 times, thorough 16 times as long as quick"),
]


def forward_work(trace: Trace) -> float:
    """Multiplications and additions of one forward pass for one sample, and what moving its activations costs."""
    total = 0.0
    samples = (shape(trace.capture.node(trace.inputs[0])) or (1,))[0]
    for layer in trace.layers.values():
        # Attention modules put tokens first, or join them with the samples: all entries count, not those behind dim 0.
        outputs = math.prod(shape(trace.capture.node(layer.output)) or (1,)) / samples
        size = trace.shapes[layer.weight]
        channels = size[1] * int(layer.options.get("groups", 1)) if layer.options.get("transposed") else size[0]
        total += math.prod(size) * outputs / channels
    return max(1.0, total + _A_NUMBER * sample_bytes(trace) / 4)
