"""Recurrent networks of several layers, a layer a node: what is between the layers can then be seen."""

import operator as python
from collections.abc import Mapping
from typing import Any

import torch
from torch import fx

from .nodes import arguments, operator

aten = torch.ops.aten
_RECURRENT = frozenset(["lstm", "gru", "rnn_tanh", "rnn_relu"])


def unstack(graph: fx.Graph) -> None:
    """Replace every recurrent network of several layers by as many of one, with its dropout between them. Networks with
    projections (proj_size) and packed sequences stay as they are."""
    for node in list(graph.nodes):
        if operator(node) in _RECURRENT and node.target._overloadname == "input":
            call = arguments(node)
            if call["num_layers"] > 1 and _is_plain(call):
                _split(graph, node, call)


def _is_plain(call: Mapping[str, Any]) -> bool:
    directions, tensors = 2 if call["bidirectional"] else 1, 4 if call["has_biases"] else 2
    return bool(len(call["params"]) == call["num_layers"] * directions * tensors)


def _part(graph: fx.Graph, state: fx.Node, own: slice) -> fx.Node:
    """Some layers' initial states: zeros are made again, as what is cut from them would not be known to be zeros."""
    value = state.meta["val"][own]
    if operator(state) == "zeros":
        size: Any = arguments(state)["size"]
        new = graph.call_function(aten.zeros.default, ([own.stop - own.start, *size[1:]],), dict(state.kwargs))
    else:
        new = graph.call_function(aten.slice.Tensor, (state, 0, own.start, own.stop))
    new.meta = {**state.meta, "val": value}
    return new


def _split(graph: fx.Graph, node: fx.Node, call: Mapping[str, Any]) -> None:
    layers, directions = call["num_layers"], 2 if call["bidirectional"] else 1
    weights = len(call["params"]) // layers
    states = list(call["hx"]) if isinstance(call["hx"], list | tuple) else [call["hx"]]
    values = list(node.meta["val"])
    x, finals = call["input"], list[list[fx.Node]]()

    def made(target: Any, args: tuple[Any, ...], value: Any) -> fx.Node:
        new = graph.call_function(target, args)
        new.meta = {**node.meta, "val": value}
        return new

    with graph.inserting_before(node):
        for layer in range(layers):
            own = slice(layer * directions, (layer + 1) * directions)
            given = [_part(graph, state, own) for state in states]
            ends = [value[own] for value in values[1:]]
            parameters = list(call["params"][layer * weights : (layer + 1) * weights])
            args = (
                x, given if len(states) > 1 else given[0], parameters,
                call["has_biases"], 1, 0.0, call["train"], call["bidirectional"], call["batch_first"],
            )  # fmt: skip
            one = made(node.target, args, (values[0], *ends))
            x = made(python.getitem, (one, 0), values[0])
            finals.append([made(python.getitem, (one, i), end) for i, end in enumerate(ends, 1)])
            if call["dropout"] and layer < layers - 1:
                x = made(aten.dropout.default, (x, call["dropout"], False), values[0])
        ends = [[of[i] for of in finals] for i in range(len(values) - 1)]
        results = [x, *(made(aten.cat.default, (of, 0), v) for of, v in zip(ends, values[1:], strict=True))]
    for user in list(node.users):
        number: Any = user.args[1]  # users of several results pick one
        user.replace_all_uses_with(results[number])
        graph.erase_node(user)
    graph.erase_node(node)
