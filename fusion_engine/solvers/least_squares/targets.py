"""What a layer of the fused model should reproduce: its own merged outputs, or the residual stream it completes."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, fx

from ...core.types import Layer
from ...graph import Program, Trace, arguments, is_symbolic, operator, shape

_MOVEMENT = frozenset(
    ["view", "reshape", "_unsafe_view", "transpose", "permute", "contiguous", "clone", "alias"]
) | {"squeeze", "unsqueeze", "flatten", "unflatten"}
_IDENTITY = frozenset(["dropout", "feature_dropout", "alpha_dropout"])  # in eval mode


@dataclass(frozen=True)
class Target:
    """node: where the parents' features are read. other: a node of the fused model that is subtracted from their
    merge, None where the layer's own outputs are the target. moved: the node that holds the layer's outputs after
    views and transpositions, laid out as `node` is; None where nothing is moved."""

    node: str
    other: str | None = None
    moved: str | None = None


def find_target(trace: Trace, layer: Layer, solved: Sequence[Layer]) -> Target:
    """The target of `layer` once the layers in `solved` have their weights.

    A layer whose output is added to a residual stream is asked for the parents' merged sum minus the stream as it
    is in the fused model, so that it also makes up for what the layers before it got wrong. That needs a stream that
    is final: everything that feeds it is solved.
    """
    node = trace.capture.node(layer.output)
    end, moved = _follow(trace, layer, node)
    own = Target(end.name, moved=end.name) if moved else Target(layer.output)
    users = _users(end)
    if len(users) != 1 or operator(users[0]) != "add":
        return own
    call = arguments(users[0])
    terms = [call["self"], call["other"]]
    if call.get("alpha", 1) != 1 or not all(isinstance(t, fx.Node) for t in terms) or terms[0] is terms[1]:
        return own
    other = terms[1] if terms[0] is end else terms[0]
    if not (shape(other) == shape(end) == shape(users[0])) or other.name in trace.capture.tensors:
        return own
    made = {x.output for x in trace.layers.values()} - {x.output for x in solved}
    return own if _depends(other, made) else Target(users[0].name, other.name, own.moved)


class RowOrder:
    """Brings a linear layer's rows into the layout of the node that holds its outputs after views and
    transpositions (torch's attention module puts tokens before samples).

    The rows' numbers are sent through the graph in place of the outputs.
    """

    def __init__(self, trace: Trace, layer: Layer, moved: str) -> None:
        self._program = Program(trace, [*trace.inputs, layer.output], [moved])
        self._place = trace.capture.lies(moved)
        self._shape = shape(trace.capture.node(layer.output)) or ()
        self._orders: dict[int, Tensor] = {}

    def __call__(self, rows: Tensor, inputs: Tensor) -> Tensor:
        """rows (..., d) in the layer's own order -> (samples, positions, d). inputs: the batch they come from."""
        flat = rows.reshape(-1, rows.shape[-1])
        if len(inputs) not in self._orders:
            numbers = torch.arange(len(flat), dtype=torch.float32, device=rows.device)
            outputs = numbers.reshape(*rows.shape[:-1], 1).expand(*rows.shape[:-1], self._shape[-1])
            moved = self._program({}, inputs, outputs)[0]
            self._orders[len(inputs)] = self._place.first(moved[..., 0]).reshape(len(inputs), -1).long()
        return flat[self._orders[len(inputs)]]


def _users(node: fx.Node) -> list[fx.Node]:
    return [user for user in node.users if not is_symbolic(user)]


def _follow(trace: Trace, layer: Layer, node: fx.Node) -> tuple[fx.Node, bool]:
    """The node that holds the outputs after pure movement that leaves a linear layer's channels last, and whether
    there was any."""
    last = set()
    if layer.kind == "linear" and layer.space is not None:
        sites = trace.spaces[layer.space].sites
        last = {s.node for s in sites if s.dims == (len(shape(trace.capture.node(s.node)) or ()) - 1,)}
    end, moved = node, False
    current, travelled = node, False
    while True:
        users = _users(current)
        if len(users) != 1:
            return end, moved
        name = operator(users[0])
        if name in _MOVEMENT and last:
            travelled = True
        elif name not in _IDENTITY:
            return end, moved
        current = users[0]
        if not travelled or current.name in last:
            end, moved = current, travelled


def _depends(node: fx.Node, names: set[str]) -> bool:
    seen: set[fx.Node] = set()
    stack = [node]
    while stack:
        current = stack.pop()
        if current.name in names:
            return True
        if current not in seen:
            seen.add(current)
            stack.extend(current.all_input_nodes)
    return False
