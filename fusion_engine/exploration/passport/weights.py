"""What a neuron reads: its weights as a picture where its layer reads pixels, or else the neurons it listens to."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fusion_engine.core.types import Layer, State
from fusion_engine.graph import Trace, lookup, operator

# Operators that only give the input another shape.
_RESHAPES = {"view", "reshape", "flatten", "_unsafe_view", "alias", "contiguous", "unsqueeze", "squeeze", "dropout"}


@dataclass(frozen=True)
class Incoming:
    """Of one network's neurons in a space. layer: its name. pictures: (n, channels, height, width) float32, or None.
    source: the space it reads. index: (n, count) the neurons of `source` with the largest weights, largest first;
    weight: (n, count) the norm of the weights from each, with the sign of their sum. Without a source they are values
    of the input."""

    layer: str
    pictures: np.ndarray | None = None
    source: str | None = None
    index: np.ndarray | None = None
    weight: np.ndarray | None = None


def incoming(
    graph: Trace, state: State, space: str, node: str, sample_shape: Sequence[int], count: int = 8
) -> Incoming | str:
    """What the layer reads that makes the space, or one line that says why this cannot be told.

    node: where the space is read: of several layers that write into a stream, the one behind it, else the first.
    sample_shape: of the data; a picture is (channels, height, width).
    """
    own = graph.fitting(state)
    layers = [layer for layer in own.layers.values() if layer.space == space]
    if not layers:
        return "no single layer makes these neurons, so they have no incoming weights of their own"
    pixels = next((layer for layer in layers if _reads_input(own, layer)), None)
    layer = pixels or next((layer for layer in layers if layer.output == node), layers[0])
    made = next((m for m in own.spaces[space].members if m.tensor == layer.weight and m.role == "out"), None)
    weight = lookup(state, layer.weight, own).double().numpy()
    if made is None or tuple(made.dims) != (0,):
        return f"the weights of layer {layer.name} are laid out in another way than by neuron"
    rows = weight[made.index]  # (n, entries, inputs, ...)
    if pixels is not None and len(sample_shape) == 3 and rows.shape[1] == 1:
        if layer.kind == "conv" and rows.ndim == 5:
            return Incoming(layer.name, rows[:, 0].astype(np.float32))
        if layer.kind == "linear" and rows.shape[2] == np.prod(sample_shape):
            return Incoming(layer.name, rows[:, 0].reshape(len(rows), *sample_shape).astype(np.float32))
    for name, source in own.spaces.items():
        read = next((m for m in source.members if m.tensor == layer.weight and m.role == "in"), None)
        if read is None or tuple(read.dims) != (1,):
            continue
        taken = rows[:, :, read.index]  # (n, entries, inputs, their entries, ...)
        axes = (1, *range(3, taken.ndim))
        norm = np.sqrt((taken**2).sum(axes)) * np.where(taken.sum(axes) < 0, -1.0, 1.0)
        order = np.argsort(-np.abs(norm), axis=1, kind="stable")[:, :count]
        return Incoming(layer.name, None, name, order, np.take_along_axis(norm, order, 1))
    if pixels is None:
        return f"layer {layer.name} reads its neurons in groups, or more than one space, so none can be named"
    if layer.kind == "linear" and rows.shape[1] == 1:
        order = np.argsort(-np.abs(rows[:, 0]), axis=1, kind="stable")[:, :count]
        return Incoming(layer.name, None, None, order, np.take_along_axis(rows[:, 0], order, 1))
    return f"layer {layer.name} reads the input itself, which is no picture, at several places"


def _reads_input(graph: Trace, layer: Layer) -> bool:
    """Whether the layer's input is the network's, at most in another shape."""
    node = graph.capture.node(layer.input)
    while node.name not in graph.inputs:
        before = [n for n in node.all_input_nodes if n.op == "call_function" or n.name in graph.inputs]
        tensors = [n for n in before if not operator(n).startswith("sym_size")]
        if operator(node) not in _RESHAPES or len(tensors) != 1:
            return False
        node = tensors[0]
    return True
