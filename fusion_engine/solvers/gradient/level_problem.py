"""The loss of one level: how far its outputs are from the parents' merged ones, in shares of their variance."""

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor, fx

from ...core.types import Grouping, Level, State
from ...fusing import Inputs
from ...graph import Program, Trace, merge_activations, operator, shape
from ...stats import counted_at
from .level_data import Goal, Lesson, Prefix

_SCALE_ROWS = 512  # samples from which a target's variance is taken
_NOISE = 1e-6  # share of a target's mean square that counts as its least variance


def level_nodes(trace: Trace, level: Level, goal: Goal, *, align_skips: bool) -> list[str]:
    """Nodes at which a level is compared with the parents: its output, and with `align_skips` the residual streams
    inside it. A level that ends in the ensemble's predictions follows these alone."""
    outputs = trace.capture.outputs if level.output == "output" else (level.output,)
    if not align_skips or (level.output == trace.output and goal.temperature is not None):
        return list(outputs)
    return [*outputs, *(n for n in _streams(trace, level) if n not in outputs)]


class LevelProblem:
    """A level's loss as a function of its weights.

    Mean of w (f - T)^2 over samples and entries, divided by the same mean of (T - mean T)^2, so that 1 is as bad as
    a constant; w is the importance of the entry's fused neuron (mean 1). A distilled output has the Kullback-Leibler
    divergence from the ensemble's prediction, both at the same temperature, divided by that of the best constant
    prediction. With several nodes: their mean.
    """

    def __init__(self, lesson: Lesson, state: State, level: Level, prefix: Prefix, nodes: list[str]) -> None:
        self.level, self.pool, trace, goal = level, lesson.pool, lesson.inputs.trace, lesson.goal
        self._lesson, self._state, self._prefix, self._nodes = lesson, state, prefix, nodes
        self._program = Program(trace, None if level.input is None else [level.input], nodes)
        self._temperature = goal.temperature or 1.0
        self._distilled = None if goal.temperature is None else trace.output
        one = torch.ones((), device=self.pool.x.device)
        self._weights = {node: lesson.weights.get(node, one) for node in nodes}
        self._scales = {node: self._scale(node) for node in nodes}

    def loss(self, weights: State, index: Tensor) -> Tensor:
        """Loss over the samples `index`, differentiable in `weights`."""
        outputs = self._outputs(weights, index)
        terms = [
            self._distance(node, output, self._lesson.merged.rows(node, index), index) / self._scales[node]
            for node, output in zip(self._nodes, outputs, strict=True)
        ]
        return torch.stack(terms).mean()

    @torch.no_grad()
    def held_out(self, weights: State) -> float:
        """Loss over the held-out samples."""
        parts = self.pool.held.split(self._lesson.size)
        return sum(float(self.loss(weights, part)) * len(part) for part in parts) / len(self.pool.held)

    @torch.no_grad()
    def output(self, index: Tensor) -> Tensor:
        """The level's output for the samples `index`, with the weights the state has now."""
        return self._outputs({}, index)[0]

    def _outputs(self, weights: State, index: Tensor) -> tuple[Tensor, ...]:
        x = self._prefix.rows(self._state, self.level.input, index)
        return self._program({**self._state, **weights}, x)

    def _distance(self, node: str, output: Tensor, target: Tensor, index: Tensor) -> Tensor:
        if node == self._distilled:
            gain = target.clamp_min(1e-30).log() - (output.double() / self._temperature).log_softmax(-1)
            return (target * gain).sum(-1).mean()
        squares = (output - target).square() * self._weights[node]
        inputs = self._lesson.inputs
        if inputs.counted is not None:
            sites = [s.dims for space in inputs.trace.spaces.values() for s in space.sites if s.node == node]
            counted = inputs.data.counted(self.pool.x[index])
            mask = counted_at(inputs.trace, node, counted, squares.shape, sites[0] if sites else (squares.dim() - 1,))
            if mask is not None:
                return (squares * mask).mean() / mask.float().mean()
        return squares.mean()

    def _scale(self, node: str) -> float:
        target = self._lesson.merged.rows(node, self.pool.samples[:_SCALE_ROWS]).double()
        mean = target.mean(0, keepdim=True)
        if node == self._distilled:
            gain = target.clamp_min(1e-30).log() - mean.clamp_min(1e-30).log()
            return float((target * gain).sum(-1).mean()) + _NOISE
        weights = self._weights[node].double()
        variance = ((target - mean).square() * weights).mean()
        return float(variance + _NOISE * (target.square() * weights).mean()) + 1e-30


def node_weights(inputs: Inputs, groupings: Mapping[str, Grouping], node: str, like: Tensor) -> Tensor:
    """Importance of the fused neuron each entry at `node` belongs to, mean 1; (1, ...) float32 like a row of `like`.

    A fused neuron's importance is the sum of its members' scores; entries of no neuron, or of one without scores,
    count as an average one.
    """
    known = {}
    for name, grouping in groupings.items():
        if all(name in scores for scores in inputs.importance):
            scores = [s[name].double().cpu().numpy() for s in inputs.importance]
            total = sum(np.abs(u).T @ s for u, s in zip(grouping.unmerge, scores, strict=True))
            diagonal = np.diag(total / max(float(np.mean(total)), np.finfo(np.float64).tiny))
            known[name] = Grouping(name, grouping.method, (diagonal,), (np.eye(len(diagonal)),))
    ones = torch.ones_like(like[:1], dtype=torch.float32)
    weights = merge_activations(inputs.trace, known, node, [ones])
    return weights / weights.mean()


def _streams(trace: Trace, level: Level) -> list[str]:
    """Sums of two activations inside a level at which spaces can be seen: residual streams."""
    seen = {site.node for space in trace.spaces.values() for site in space.sites}
    graph = trace.capture
    batch = _lead(graph.node(graph.inputs[0]))
    carried = {graph.node(level.input)} if level.input is not None else {graph.node(n) for n in graph.inputs}
    found = []
    for node in graph.graph.nodes:
        if node in carried or not any(n in carried for n in node.all_input_nodes):
            continue
        carried.add(node)
        size = shape(node)
        terms = [n for n in node.all_input_nodes if n in carried and shape(n) == size]
        if operator(node) == "add" and len(terms) == 2 and node.name in seen and _lead(node) == batch:
            found.append(node.name)
        if node.name == level.output:
            break
    return found


def _lead(node: fx.Node) -> str:
    value = node.meta.get("val")
    return str(value.shape[0]) if isinstance(value, Tensor) and value.dim() else ""
