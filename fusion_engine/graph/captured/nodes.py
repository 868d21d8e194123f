"""Small questions about nodes of a captured graph: operator name, bound arguments, concrete shape, module path."""

import itertools
from collections.abc import Collection
from typing import Any

import torch
from torch import fx

_SYMBOLIC = (torch.SymInt, torch.SymFloat, torch.SymBool, int, float, bool)


def operator(node: fx.Node) -> str:
    """Name of the operator without overload: 'conv2d', 'mylib::scan' outside aten, '' if the node calls none."""
    if isinstance(node.target, torch._ops.OpOverload):
        return node.target._schema.name.removeprefix("aten::")
    return ""


def arguments(node: fx.Node) -> dict[str, Any]:
    """All arguments of an aten call by schema name, defaults filled in."""
    assert isinstance(node.target, torch._ops.OpOverload)
    bound: dict[str, Any] = {}
    for position, argument in enumerate(node.target._schema.arguments):
        if position < len(node.args):
            bound[argument.name] = node.args[position]
        elif argument.name in node.kwargs:
            bound[argument.name] = node.kwargs[argument.name]
        else:
            bound[argument.name] = argument.default_value if argument.has_default_value() else None
    return bound


def module_path(node: fx.Node) -> str:
    """Dotted path of the innermost module that made the call; '' for the root."""
    stack = [entry[0] for entry in (node.meta.get("nn_module_stack") or {}).values()]
    path = stack[-1] if stack else ""
    return "" if path.startswith("_empty_nn_module_stack") else path.split("@")[0]


def is_symbolic(node: fx.Node) -> bool:
    """Whether the node yields a number (a size) rather than a tensor."""
    return isinstance(node.meta.get("val"), _SYMBOLIC)


def dependents(graph: fx.Graph, sources: Collection[str]) -> set[str]:
    """Names of the nodes whose tensors depend on the `sources` (they themselves included; sizes do not count)."""
    names: set[str] = set()
    for node in graph.nodes:
        if not is_symbolic(node) and (node.name in sources or any(i.name in names for i in node.all_input_nodes)):
            names.add(node.name)
    return names


def dimension(size: Any) -> int:
    """A size as the integer it had when the graph was captured."""
    if isinstance(size, torch.SymInt):
        hint = size.node.hint
        return int(hint) if hint is not None else int(size)
    return int(size)


def _shape(value: Any) -> tuple[int, ...] | None:
    return tuple(dimension(d) for d in value.shape) if isinstance(value, torch.Tensor) else None


def shape(node: fx.Node) -> tuple[int, ...] | None:
    """Shape of the node's tensor for the example inputs; None if it is not one tensor."""
    return _shape(node.meta.get("val"))


def shapes(node: fx.Node) -> list[tuple[int, ...] | None] | None:
    """Shapes of the tensors of a node with several results; None for other nodes."""
    value = node.meta.get("val")
    return [_shape(v) for v in itertools.chain(value)] if isinstance(value, list | tuple) else None
