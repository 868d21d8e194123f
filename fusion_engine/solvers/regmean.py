"""The regression mean: each layer's weights agree best with every parent's on that parent's own inputs."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Annotated

import numpy as np
import torch
from torch import Tensor

from ..context import FusionContext
from ..core.registry import Param, register
from ..core.types import Grouping, Layer
from ..graph import Program, Trace, merge_activations, merge_outputs, merge_states
from ..stats import sample_bytes
from .activations import batch_size
from .fold import fold_norms, read_layer, write_layer
from .head import HeadParameter, HeadWeights, head
from .input_gram import InputGram
from .regression_mean import regression_mean, rows_are_cheaper
from .spaces import group_spaces

__all__ = ["regmean"]


@register(
    "solver",
    "regmean",
    title="Regression mean",
    citation="Jin et al. 2023 (RegMean), behind any grouping",
    needs={"moments"},
    uses={"importance": {"head_weights": "importance"}},
    scope="network",
    aligned_only=True,
)
def regmean(
    context: FusionContext,
    *,
    alpha: Annotated[
        float, Param("factor on products of different inputs: 1 is plain regression, 0 sees sizes only", ge=0, le=1)
    ] = 0.9,
    head_weights: HeadParameter = "uniform",
    memory_mb: Annotated[
        int, Param("input products kept at once; with less the parents run more often", ge=1, label="Memory (MB)",
                   expert=True),
    ] = 2048,
) -> tuple[dict[str, Tensor], dict[str, Grouping]]:
    """Each layer's weights are those that differ least from every parent's on that parent's own inputs.

    W^T = (sum_p G_p)^-1 sum_p G_p W_p^T, with G_p = X_p^T X_p of parent p's own inputs of the layer and a column of
    ones where there is a bias. Behind a grouping the parents are aligned first: W_p and X_p are parent p's in the
    fused model's neurons, where several neurons of one parent in a group are merged by importance, and a group that
    has none of a parent's neurons leaves that parent out. Between parents the inputs decide; at the last layer
    G_p is multiplied by the parent's head weight, class by class. BatchNorms are folded first and written back; other
    norms, embeddings and tokens are averaged. Layers that read the model's input itself have the same inputs in all
    parents, for which the regression is the average. Returns the fused state and the groupings.
    """
    with context.watch.stage("solve"), torch.no_grad():
        return _RegressionMean(context, alpha, head_weights, memory_mb * 2**20).run()


class _RegressionMean:
    """One run of the solver."""

    def __init__(self, context: FusionContext, alpha: float, rule: HeadWeights, budget: int) -> None:
        self.context, self.alpha, self.budget = context, alpha, budget
        self.trace: Trace = context.trace
        self.head = head(context, rule)

    def run(self) -> tuple[dict[str, Tensor], dict[str, Grouping]]:
        context, layers = self.context, list(self.trace.layers.values())
        groupings, _ = group_spaces(context)
        parents = [fold_norms(state, layers) for state in context.states]
        context.progress("solve", 0.0, "merging weights")
        state = merge_states(parents, self.trace, groupings, self.head.for_merge(context))
        self.own = [{name: _own(g, p) for name, g in groupings.items()} for p in range(context.parents)]
        todo = [layer for layer in layers if self._solvable(layer)] if context.parents > 1 else []
        self.rows = {layer.name: self._few_rows(layer, state) for layer in todo}
        size, done = batch_size(context, layers), 0
        for part in self._parts(todo, state):
            grams = [self._grams(part, p, state, size, done, len(todo)) for p in range(context.parents)]
            for layer in part:
                context.progress("solve", (done + 0.9) / len(todo), f"solving {layer.name}")
                aligned = [self._aligned(layer, p) for p in range(context.parents)]
                shares = torch.stack([owned for _, owned in aligned])
                if layer.output == self.trace.output:
                    shares = self.head.weights
                products = [own[self._key(layer, state)].read() for own in grams]
                self._write(state, layer, regression_mean(products, [w for w, _ in aligned], shares, self.alpha))
                done += 1
        return state, groupings

    def _grams(
        self, part: Sequence[Layer], parent: int, state: Mapping[str, Tensor], size: int, done: int, total: int
    ) -> dict[tuple[object, ...], InputGram]:
        """One pass of a parent over the calibration samples: the products of its inputs of some layers, in the fused
        model's neurons. Layers that read the same input in the same way share theirs."""
        context, names = self.context, list(dict.fromkeys(layer.input for layer in part))
        program = Program(self.trace, None, names)
        grams: dict[tuple[object, ...], InputGram] = {}
        readers: dict[str, list[InputGram]] = {name: [] for name in names}
        for layer in part:
            key = self._key(layer, state)
            if key not in grams:
                shape, keep_rows = state[layer.weight].shape, self.rows[layer.name] > 0
                grams[key] = InputGram(layer, shape, self._has_bias(layer), keep_rows)
                readers[layer.input].append(grams[key])
        share = len(part) / total / context.parents * 0.9
        for seen, x in self._batches(size):
            for name, tensor in zip(names, program(context.states[parent], x), strict=True):
                tensor = merge_activations(self.trace, self.own[parent], name, [tensor])
                for gram in readers[name]:
                    gram.add(tensor)
            fraction = done / total + (parent + seen) * share
            context.progress("solve", fraction, f"inputs of parent {parent + 1}")
        return grams

    def _batches(self, size: int) -> Iterator[tuple[float, Tensor]]:
        """The share of the samples that is seen, and inputs; without those that judge later steps."""
        held, first = self.context.held_out, 0
        left_out = held if self.context.reserve and not bool(held.all()) else torch.zeros_like(held)
        for x in self.context.batches(size):
            kept = ~left_out[first : first + len(x)]
            first += len(x)
            if bool(kept.any()):
                yield first / len(held), x if bool(kept.all()) else x[kept.to(x.device)]

    def _parts(self, layers: Sequence[Layer], state: Mapping[str, Tensor]) -> Iterator[list[Layer]]:
        """Successive layers whose inputs fit in memory for all parents, at least one at a time."""
        part: list[Layer] = []
        used = 0
        for layer in layers:
            columns = math.prod(state[layer.weight].shape[1:])
            needed = 8 * columns**2 * int(layer.options.get("groups", 1)) * self.context.parents
            if rows := self.rows[layer.name]:
                needed = 4 * columns * rows
            if part and used + needed > self.budget:
                yield part
                part, used = [], 0
            part.append(layer)
            used += needed
        if part:
            yield part

    def _aligned(self, layer: Layer, parent: int) -> tuple[Tensor, Tensor]:
        """A parent's effective weights (n, d [+1 with bias last]) in the fused model's neurons, and which of the n
        outputs it has a neuron for, 1 or 0."""
        weight, bias = read_layer(self.context.states[parent], layer)
        lone = [{layer.weight: weight}]
        own = self.own[parent]
        moved = merge_states(lone, self.trace, own)[layer.weight]
        outputs = merge_outputs(lone, self.trace, own, layer)[0].to(weight.device)
        flat = moved.reshape(len(moved), -1)
        if bias is not None:
            flat = torch.cat([flat, (outputs @ bias)[:, None]], 1)
        return flat, (outputs != 0).any(1).double()

    def _write(self, state: dict[str, Tensor], layer: Layer, solved: Tensor) -> None:
        bias = self._has_bias(layer)
        weight = (solved[:, :-1] if bias else solved).reshape(state[layer.weight].shape)
        write_layer(state, layer, weight, solved[:, -1] if bias else None)

    def _key(self, layer: Layer, state: Mapping[str, Tensor]) -> tuple[object, ...]:
        """What the products of a layer's inputs depend on."""
        reading = sorted((name, str(value)) for name, value in layer.options.items())
        shape = tuple(state[layer.weight].shape[1:])
        return layer.input, shape, self._has_bias(layer), self.rows[layer.name] > 0, *reading

    def _few_rows(self, layer: Layer, state: Mapping[str, Tensor]) -> int:
        """How many rows of inputs a layer has in all parents, if it is less work to solve it from them than from their
        products; else 0."""
        outputs, *inputs = state[layer.weight].shape
        positions = sample_bytes(self.trace, [layer.output]) // (4 * self.trace.shapes[layer.weight][0])
        rows = positions * len(self.context.data) * self.context.parents
        fewer = rows_are_cheaper(rows, math.prod(inputs), outputs, self.context.parents, self.alpha)
        return rows if fewer and layer.options.get("groups", 1) == 1 else 0

    def _has_bias(self, layer: Layer) -> bool:
        return layer.bias is not None or layer.norm is not None

    def _solvable(self, layer: Layer) -> bool:
        """Whether the layer is solved for; those that are not keep the average, and the notes say why."""
        if not Program(self.trace, None, [layer.input]).tensors:
            return False  # it reads the input itself
        uses = sum(other.weight == layer.weight for other in self.trace.layers.values())
        reason = None
        if uses > 1 or len(self.trace.aliases.get(layer.weight, ())) > 1:
            reason = "its weight is shared"
        elif layer.options.get("transposed"):
            reason = "it is a transposed convolution"
        if reason:
            self.context.notes.append(f"layer {layer.name} keeps its average weights: {reason}")
        return reason is None


def _own(grouping: Grouping, parent: int) -> Grouping:
    """What brings one parent alone into the fused model's neurons: merge rows that sum to one where they name
    neurons, and k times those of a soft grouping."""
    merge = np.asarray(grouping.merge[parent], dtype=np.float64)
    if grouping.labels is None:
        merge = merge * len(grouping.merge)
    else:
        sums = merge.sum(1, keepdims=True)
        merge = np.divide(merge, sums, out=np.zeros_like(merge), where=sums != 0)
    return replace(grouping, merge=(merge,), unmerge=(grouping.unmerge[parent],), labels=None)
