"""The regression mean: each layer's weights agree best with every parent's on that parent's own inputs."""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated

import torch
from torch import Tensor

from ...core.registry import Param, register
from ...core.types import Layer
from ...fusing import BY_IMPORTANCE, HeadParameter, Inputs, OutputWeights, RunLog, batch_size, output_weights
from ...fusing.aligned import aligned_layer, parent_part
from ...fusing.folding import write_rows
from ...graph import Program, Trace, merge_activations, merge_states
from ...grouping import Grouped
from ...stats import linear_rows, sample_bytes
from ..solvable import solvable_layers
from .input_gram import InputGram
from .regression_mean import regression_mean, rows_are_cheaper

_LARGE = 100  # times the parents' largest weight of a layer, from which a solved one is doubted


@register(
    "solver",
    "regmean",
    title="Regression mean",
    citation="Jin et al. 2023 (RegMean), behind any grouping",
    needs={"moments"},
    uses={"importance": {"head_weights": BY_IMPORTANCE}},
    scope="network",
    by_level=True,
    aligned_only=True,
)
def regmean(
    inputs: Inputs,
    grouped: Grouped,
    log: RunLog,
    *,
    alpha: Annotated[
        float, Param("factor on products of different inputs: 1 is plain regression, 0 sees sizes only", ge=0, le=1)
    ] = 0.9,
    head_weights: HeadParameter = "uniform",
    memory_mb: Annotated[
        int, Param("input products kept at once; with less the parents run more often", ge=1, label="Memory (MB)",
                   expert=True),
    ] = 2048,
) -> dict[str, Tensor]:
    """Each layer's weights are those that differ least from every parent's on that parent's own inputs.

    W^T = (sum_p G_p)^-1 sum_p G_p W_p^T, with G_p = X_p^T X_p of parent p's own inputs of the layer and a column of
    ones where there is a bias. Behind a grouping the parents are aligned first: W_p and X_p are parent p's in the
    fused model's neurons, where several neurons of one parent in a group are merged by importance, and a group that
    has none of a parent's neurons leaves that parent out. Between parents the inputs decide; at the last layer
    G_p is multiplied by the parent's head weight, class by class. BatchNorms are folded first and written back; other
    norms, embeddings and tokens are averaged. Layers that read the model's input itself have the same inputs in all
    parents, for which the regression is the average. Returns the fused state.
    """
    with torch.no_grad():
        weights = output_weights(inputs, head_weights)
        return _RegressionMean(inputs, grouped, log, alpha, weights, memory_mb * 2**20).run()


class _RegressionMean:
    """One run of the solver."""

    def __init__(
        self, inputs: Inputs, grouped: Grouped, log: RunLog, alpha: float, last: OutputWeights, budget: int
    ) -> None:
        self.inputs, self.log, self.alpha, self.last, self.budget = inputs, log, alpha, last, budget
        self.trace: Trace = inputs.trace
        self.groupings = grouped.groupings
        self.large: list[str] = []

    def run(self) -> dict[str, Tensor]:
        inputs, progress, count = self.inputs, self.log.progress, self.inputs.count
        progress.report(0.0, "merging weights")
        weights = self.last.for_merge(self.trace, self.log)
        state = merge_states(inputs.folded, self.trace, self.groupings, weights)
        self.parts = [{name: parent_part(g, p) for name, g in self.groupings.items()} for p in range(count)]
        todo = solvable_layers(inputs, self.log) if count > 1 else []
        self.rows = {layer.name: self._few_rows(layer, state) for layer in todo}
        size, done = batch_size(self.trace), 0
        for batch in self._batches_of_layers(todo, state):
            grams = [self._grams(batch, p, state, size, done, len(todo)) for p in range(count)]
            for layer in batch:
                progress.report((done + 0.9) / len(todo), f"solving {layer.name}")
                aligned = [aligned_layer(self.trace, inputs.states[p], self.parts[p], layer) for p in range(count)]
                shares = torch.stack([has for _, has in aligned])
                if layer.output == self.trace.output:
                    shares = self.last.weights
                products = [of_parent[self._key(layer, state)].read() for of_parent in grams]
                solved = regression_mean(products, [w for w, _ in aligned], shares, self.alpha)
                self._look(layer, solved)
                write_rows(state, layer, solved)
                done += 1
        if self.large:
            self.log.note(
                f"regmean: weights of {', '.join(self.large)} are more than {_LARGE} times the parents' largest there: "
                "the grouping all but silences inputs that the regression cannot do without; use another grouping, a "
                "larger gamma of cca, or the solver 'average'"
            )
        return state

    def _look(self, layer: Layer, solved: Tensor) -> None:
        """Remember a layer whose weights are far larger than any parent's."""
        largest = max(float(state[layer.weight].abs().max()) for state in self.inputs.folded)
        if float(solved[:, : math.prod(self.trace.shapes[layer.weight][1:])].abs().max()) > _LARGE * largest:
            self.large.append(layer.name)

    def _grams(
        self, layers: Sequence[Layer], parent: int, state: Mapping[str, Tensor], size: int, done: int, total: int
    ) -> dict[tuple[object, ...], InputGram]:
        """One pass of a parent over the calibration samples: the products of its inputs of some layers, in the fused
        model's neurons. Layers that read the same input in the same way share theirs."""
        names = list(dict.fromkeys(layer.input for layer in layers))
        program = Program(self.trace, None, names)
        grams: dict[tuple[object, ...], InputGram] = {}
        readers: dict[str, list[InputGram]] = {name: [] for name in names}
        for layer in layers:
            key = self._key(layer, state)
            if key not in grams:
                shape, keep_rows = state[layer.weight].shape, self.rows[layer.name] > 0
                grams[key] = InputGram(layer, shape, layer.has_bias, keep_rows)
                readers[layer.input].append(grams[key])
        share = len(layers) / total / self.inputs.count * 0.9
        for seen, x in self._batches(size):
            for name, tensor in zip(names, program(self.inputs.states[parent], x), strict=True):
                tensor = merge_activations(self.trace, self.parts[parent], name, [tensor])
                kept = linear_rows(self.trace, name, self.inputs.data.counted(x), tensor)
                for gram in readers[name]:
                    if kept is None or not gram.is_linear:
                        gram.add(tensor)
                    elif bool(kept.any()):
                        gram.add(tensor.reshape(len(kept), -1)[kept.to(tensor.device)])
            self.log.progress.report(done / total + (parent + seen) * share, f"inputs of parent {parent + 1}")
        return grams

    def _batches(self, size: int) -> Iterator[tuple[float, Tensor]]:
        """The share of the samples that is seen, and inputs; without those that judge later steps."""
        held, first = self.inputs.held_out, 0
        left_out = held if self.inputs.reserve and not bool(held.all()) else torch.zeros_like(held)
        for x in self.inputs.batches(size):
            kept = ~left_out[first : first + len(x)]
            first += len(x)
            if bool(kept.any()):
                yield first / len(held), x if bool(kept.all()) else x[kept.to(x.device)]

    def _batches_of_layers(self, layers: Sequence[Layer], state: Mapping[str, Tensor]) -> Iterator[list[Layer]]:
        """Successive layers whose inputs fit in memory for all parents, at least one at a time."""
        batch: list[Layer] = []
        used = 0
        for layer in layers:
            columns = math.prod(state[layer.weight].shape[1:])
            needed = 8 * columns**2 * int(layer.options.get("groups", 1)) * self.inputs.count
            if rows := self.rows[layer.name]:
                needed = 4 * columns * rows
            if batch and used + needed > self.budget:
                yield batch
                batch, used = [], 0
            batch.append(layer)
            used += needed
        if batch:
            yield batch

    def _key(self, layer: Layer, state: Mapping[str, Tensor]) -> tuple[object, ...]:
        """What the products of a layer's inputs depend on."""
        reading = sorted((name, str(value)) for name, value in layer.options.items())
        shape = tuple(state[layer.weight].shape[1:])
        return layer.input, shape, layer.has_bias, self.rows[layer.name] > 0, *reading

    def _few_rows(self, layer: Layer, state: Mapping[str, Tensor]) -> int:
        """How many rows of inputs a layer has in all parents, if it is less work to solve it from them than from their
        products; else 0."""
        outputs, *inputs = state[layer.weight].shape
        positions = sample_bytes(self.trace, [layer.output]) // (4 * self.trace.shapes[layer.weight][0])
        rows = positions * len(self.inputs.data) * self.inputs.count
        fewer = rows_are_cheaper(rows, math.prod(inputs), outputs, self.inputs.count, self.alpha)
        return rows if fewer and layer.options.get("groups", 1) == 1 else 0
