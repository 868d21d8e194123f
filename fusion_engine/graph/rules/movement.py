"""Data movement: views, permutations, slices, concatenation, padding. Labels move as the data does."""

from typing import Any

import numpy as np
import torch

from ..labels.algebra import Labels
from ..labels.atoms import live_dims
from .registry import Call, NoRuleError, label_rule

_PARTIAL = frozenset(["select", "slice", "narrow", "index", "index_select", "diagonal"])
"""Movements with one result that may take some entries and leave others."""
_SPLITS = frozenset(["chunk", "split", "split_with_sizes", "tensor_split", "unbind"])
PICKS = _PARTIAL | _SPLITS


@label_rule(
    "contiguous", "clone", "detach", "alias", "to", "_to_copy", "type_as", "positive", "lift_fresh_copy",
    "dropout", "feature_dropout", "alpha_dropout", "_assert_tensor_metadata",
)  # fmt: skip
def identity(call: Call) -> Labels:
    return call.tensors()[0]


@label_rule(
    "view", "reshape", "_unsafe_view", "view_as", "flatten", "unflatten", "squeeze", "unsqueeze", "expand", "expand_as",
    "reshape_as", "permute", "transpose", "t", "numpy_T", "mT", "movedim", "swapaxes", "select", "slice", "narrow",
    "flip", "roll", "index", "index_select", "repeat", "repeat_interleave", "tile", "diagonal", "tril", "triu",
    "unfold",
    "pixel_unshuffle", "channel_shuffle",
    "chunk", "split", "split_with_sizes", "tensor_split", "unbind",
)  # fmt: skip
def movement(call: Call) -> Labels | list[Labels | None]:
    labels = call.require("self", "input")
    target = call.node.target
    if call.operator in {"view", "_unsafe_view"} and getattr(target, "_overloadname", "") == "default":
        target = torch.ops.aten.reshape.default  # labels need not be laid out like the data
    rest = [_shaped_like(call, a) for a in call.node.args[1:]]
    named = {key: _shaped_like(call, a) for key, a in call.node.kwargs.items()}
    if call.operator in _SPLITS:
        return list(call.algebra.move_many(labels, lambda t: target(t, *rest, **named), call.tag))  # type: ignore[operator]
    tag = call.tag if call.operator in _PARTIAL else ""
    return call.algebra.move(labels, lambda t: target(t, *rest, **named), tag)  # type: ignore[operator]


def _shaped_like(call: Call, argument: Any) -> Any:
    """Arguments of a movement: sizes and constant indices; of `other` in view_as and its like only the shape."""
    if call.operator in {"view_as", "expand_as", "reshape_as"}:
        return torch.empty(call.shape)
    return call.value_of(argument)


@label_rule("pixel_shuffle")
def pixel_shuffle(call: Call) -> Labels:
    """The r * r channels that become one upscaled channel are one neuron with r * r entries."""
    labels, square = call.require("self"), call.arguments["upscale_factor"] ** 2
    channels = len(labels.shape) - 3
    layers = []
    for layer in labels.layers:
        if live_dims(layer) != {channels}:
            call.algebra.freeze_layer(layer, call.tag)
            continue
        blocks = layer.reshape(*layer.shape[:channels], -1, square, 1, 1)
        first = blocks.take([0], channels + 1)
        call.algebra.atoms.union(np.broadcast_to(first, blocks.shape), blocks)
        layers.append(first.squeeze(channels + 1))
    return Labels(call.shape, layers)


@label_rule("constant_pad_nd", "pad")
def pad(call: Call) -> Labels:
    if call.arguments.get("mode", "constant") != "constant":
        raise NoRuleError("only constant padding has a rule")
    labels, pads = call.require("self"), list(call.value("pad"))
    layers = []
    for layer in labels.layers:
        widths = [(0, 0)] * layer.ndim
        for i in range(len(pads) // 2):
            d = layer.ndim - 1 - i
            if layer.shape[d] > 1:
                widths[d] = (pads[2 * i], pads[2 * i + 1])
        padded = np.pad(layer, widths)
        if padded.shape != layer.shape:
            call.algebra.atoms.restrict(layer)
        layers.append(padded)
    return Labels(call.shape, layers)


@label_rule("cat", "stack")
def concatenate(call: Call) -> Labels:
    dim = call.arguments["dim"] % len(call.shape)
    pieces = call.list_of_labels("tensors")
    if call.operator == "stack":
        pieces = [_unsqueezed(p, dim) for p in pieces]
    return _joined(call, [p for p in pieces if p.shape != (0,)], dim)


@label_rule("slice_scatter", "select_scatter")
def write_slice(call: Call) -> Labels:
    """A slice written into a tensor: what lies before it, the slice, and what lies after it."""
    labels, written = call.require("self"), call.require("src")
    dim = call.arguments["dim"] % len(call.shape)
    size = call.shape[dim]
    if call.operator == "select_scatter":
        written = _unsqueezed(written, dim)
        start = call.value("index") % size
        end = start + 1
    elif call.arguments["step"] != 1:
        raise NoRuleError("only slices with step 1 can be written")
    else:
        start, end, _ = slice(call.value("start"), call.value("end")).indices(size)
    before = [call.algebra.move(labels, lambda t: t.narrow(dim, 0, start))] if start else []
    after = [call.algebra.move(labels, lambda t: t.narrow(dim, end, size - end))] if end < size else []
    return _joined(call, [*before, written, *after], dim)


def _joined(call: Call, pieces: list[Labels], dim: int) -> Labels:
    algebra = call.algebra
    across = [layer for p in pieces for layer in p.layers if dim not in live_dims(layer)]
    for piece in pieces:  # a piece without labels where another has some pins them to their positions
        for layer in across:
            algebra.freeze_layer(layer, call.tag, piece.unlabelled(piece.shape))
    layers = algebra.tidy(across, mode="add")  # joined along another dimension (tokens): the same neurons
    along = _along(call, pieces, dim)
    return Labels(call.shape, algebra.tidy([*layers, along]) if along is not None else layers)


def _unsqueezed(labels: Labels, dim: int) -> Labels:
    def wider(sizes: tuple[int, ...]) -> tuple[int, ...]:
        return (*sizes[:dim], 1, *sizes[dim:])

    return Labels(wider(labels.shape), [x.reshape(wider(x.shape)) for x in labels.layers], wider(labels.varies))


def _along(call: Call, pieces: list[Labels], dim: int) -> np.ndarray | None:
    """The layer along the joined dimension; pieces without labels there get pinned ones."""
    algebra = call.algebra
    own = [[layer for layer in p.layers if dim in live_dims(layer)] for p in pieces]
    if not any(own):
        return None
    columns = []
    for number, (piece, layers) in enumerate(zip(pieces, own, strict=True)):
        for extra in layers[1:]:
            algebra.freeze_layer(extra, call.tag)
        if layers:
            columns.append(layers[0])
            continue
        column = algebra.atoms.fresh(size if d == dim else 1 for d, size in enumerate(piece.shape))
        algebra.atoms.colour(column, [dim], f"{call.tag}.{number}")
        algebra.atoms.restrict(column)
        columns.append(column)
    others = np.broadcast_shapes(*[tuple(1 if d == dim else s for d, s in enumerate(c.shape)) for c in columns])
    wide = [np.broadcast_to(c, tuple(c.shape[dim] if d == dim else s for d, s in enumerate(others))) for c in columns]
    return np.concatenate(wide, dim)


@label_rule("gather")
def gather(call: Call) -> Labels:
    """Entries picked along `dim` by numbers that may depend on the data: which they are matters there. Along other
    dimensions every entry picks for itself."""
    labels, dim = call.require("self"), call.arguments["dim"] % max(len(call.shape), 1)
    kept = []
    for layer in labels.layers:
        whole = all(d != dim and call.shape[d] == layer.shape[d] for d in live_dims(layer))
        if whole:
            kept.append(layer)
        else:
            call.algebra.freeze_layer(layer, call.tag)
    varies = tuple(1 if d == dim else s for d, s in enumerate(call.shape))
    picked = [Labels(call.shape, kept, varies), call.labels("index") or Labels(call.shape)]
    return call.algebra.elementwise(picked, call.shape, "nonlinear", call.tag)
