"""How many samples to run at once so that memory stays bounded."""

import math
from collections.abc import Collection

from ..graph import Trace, shape

_LIMIT_BYTES = 256 * 2**20


def sample_bytes(trace: Trace, nodes: Collection[str] | None = None) -> int:
    """Bytes of one sample's float32 tensors at `nodes`. None is all nodes: an upper bound of what a backward pass
    keeps."""
    samples = (shape(trace.capture.node(trace.inputs[0])) or (1,))[0]
    found = [n for n in trace.capture.graph.nodes if (n.op == "call_function" if nodes is None else n.name in nodes)]
    shapes = [shape(node) for node in found]
    # Attention modules put tokens before samples, or join the two: the entries of all samples, then divided.
    return max(1, sum(4 * math.prod(s) for s in shapes if s) // samples)


def fitting_batch(trace: Trace, *, copies: int = 1, limit_bytes: int = _LIMIT_BYTES) -> int:
    """Samples whose activations, `copies` times each, fit in `limit_bytes`; at least 1."""
    return max(1, limit_bytes // (copies * sample_bytes(trace)))
