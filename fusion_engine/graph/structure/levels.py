"""Levels: stretches of the graph between nodes at which exactly one tensor crosses, each with a weighted operator."""

from collections import defaultdict
from collections.abc import Mapping

from torch import fx

from fusion_engine.core.types import Layer, Level

from ..captured.capture import Capture
from ..captured.nodes import dependents, module_path, operator, shape
from ..captured.samples import Samples
from .layers import CONVOLUTIONS

_WEIGHTED = CONVOLUTIONS | {
    "linear", "embedding", "lstm", "gru", "rnn_tanh", "rnn_relu", "addmm", "baddbmm", "matmul", "mm", "bmm", "einsum",
}  # fmt: skip


def find_levels(capture: Capture, layers: Mapping[str, Layer]) -> tuple[list[Level], list[str]]:
    """Levels in order, and warnings about tensors that several levels share.

    Run one with Program(trace, [level.input], [level.output]); the first takes the model's own inputs.
    """
    flow = _Flow(capture)
    owner = {layer.output: layer.name for layer in layers.values()}
    levels: list[Level] = []
    used: dict[str, int] = defaultdict(int)
    bounds = flow.bounds()
    for number, (start, end) in enumerate(zip([None, *bounds[:-1]], bounds, strict=True)):
        inside = flow.between(start, end)
        names = tuple(owner[n.name] for n in inside if n.name in owner)
        base = _name(names, inside)
        last = number == len(bounds) - 1
        output = "output" if last and len(capture.outputs) > 1 else capture.outputs[0] if last else end.name
        size = shape(capture.node(output)) if output != "output" else None
        if size:
            size = (-1, *size[1:])
        name, source = f"{base}#{used[base]}" if used[base] else base, None if start is None else start.name
        levels.append(Level(number, name, source, output, flow.tensors(inside), names, size))
        used[base] += 1
    return levels, _shared(levels)


def _name(layers: tuple[str, ...], inside: list[fx.Node]) -> str:
    """The layer, else the module that holds all of the level, else from the first to the last layer."""
    if len(layers) == 1:
        return layers[0]
    if not layers:
        return next((module_path(n) for n in inside if module_path(n)), "level")
    common = []
    for parts in zip(*(name.split(".") for name in layers), strict=False):
        if len(set(parts)) > 1:
            break
        common.append(parts[0])
    return ".".join(common) or f"{layers[0]} to {layers[-1]}"


def _shared(levels: list[Level]) -> list[str]:
    users: dict[str, list[str]] = defaultdict(list)
    for level in levels:
        for tensor in level.tensors:
            users[tensor].append(level.name)
    return [
        f"tensor {tensor!r} is shared by the levels {', '.join(names)}: training one changes the others"
        for tensor, names in users.items()
        if len(names) > 1
    ]


class _Flow:
    """The tensors between input and output, in order, and the cuts between them."""

    def __init__(self, capture: Capture) -> None:
        self.capture = capture
        carried = dependents(capture.graph, capture.inputs)
        self.sequence = [n for n in capture.graph.nodes if n.name in carried and n.op != "output"]
        self.position = {node: i for i, node in enumerate(self.sequence)}

    def between(self, start: fx.Node | None, end: fx.Node) -> list[fx.Node]:
        """Nodes after `start` up to and with `end`."""
        first = 0 if start is None else self.position[start] + 1
        return self.sequence[first : self.position[end] + 1]

    def bounds(self) -> list[fx.Node]:
        """Last node of every level: cuts right before the next stretch that has weights."""
        found: list[fx.Node] = []
        previous: fx.Node | None = None
        weighted = False
        end = self.sequence[-1]
        for cut in [*self._cuts(), end]:
            if self._has_weights(self.between(previous, cut)):
                if weighted and previous is not None:
                    found.append(previous)
                weighted = True
            previous = cut
        return [*found, end]

    def _cuts(self) -> list[fx.Node]:
        """Nodes after which nothing computed earlier is used: only their tensor crosses."""
        cuts, reach = [], -1
        outputs = {self.capture.node(name) for name in self.capture.outputs}
        inputs = set(self.capture.inputs)
        for i, node in enumerate(self.sequence[:-1]):
            after = [self.position[user] for user in node.users if user in self.position]
            last = max(after, default=i)
            if node in outputs:
                last = len(self.sequence)
            # A program can start where samples follow each other along the first dimension.
            starts = self.capture.place(node.name, folded=False) == Samples(0)
            if reach <= i and node.name not in inputs and node not in outputs and starts:
                cuts.append(node)
            reach = max(reach, last)
        return cuts

    def _has_weights(self, nodes: list[fx.Node]) -> bool:
        return any(operator(n) in _WEIGHTED and self.tensors([n]) for n in nodes)

    def tensors(self, nodes: list[fx.Node]) -> tuple[str, ...]:
        """Names of the state tensors that the nodes use, also through nodes that do not depend on the input."""
        names: dict[str, None] = {}
        seen: set[fx.Node] = set(self.sequence) - set(nodes)
        stack = list(reversed(nodes))
        while stack:
            node = stack.pop()
            if node in seen:
                continue
            seen.add(node)
            if node.name in self.capture.tensors:
                names[self.capture.tensors[node.name]] = None
            stack.extend(reversed(node.all_input_nodes))
        return tuple(names)
