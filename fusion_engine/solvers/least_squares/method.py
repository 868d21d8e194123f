"""The least-squares solver: layer after layer, the weights that best reproduce the merged parents' features."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Annotated, Literal

import numpy as np
import torch
from torch import Tensor

from ...core.matrices import LabelMatrices
from ...core.registry import Param, register
from ...core.types import Layer
from ...fusing import BY_IMPORTANCE, FusedPrefix, HeadParameter, Inputs, OutputWeights, RunLog, output_weights
from ...fusing.folding import read_rows, write_rows
from ...fusing.parent_features import ParentFeatures, batch_size
from ...graph import Trace, merge_features, merge_outputs, merge_states
from ...grouping import Grouped
from ...stats import feature_rows
from ..solvable import obstacle, solvable_layers
from .grouped_ridge import GroupedRegression
from .ridge import Regression
from .targets import RowOrder, Target, find_target

_GUESS = 3e-2  # of the first layer's ridge; every other starts at that of the layer before it


def nodes_to_read(inputs: Inputs, *, memory_mb: int, **others: object) -> tuple[tuple[str, ...], int]:
    """The nodes at which the solver will read the parents' features, and the bytes they may take."""
    targets = _targets(inputs.trace, solvable_layers(inputs, obstacle_of=_obstacle))
    return tuple(target.node for target in targets.values()), memory_mb * 2**20


@register(
    "solver",
    "least_squares",
    title="Least squares, layer after layer",
    citation="Luenam et al. 2025 (linear), with ridge towards the average",
    needs={"moments"},
    uses={"importance": {"head_weights": BY_IMPORTANCE}},
    scope="network",
    by_level=True,
    reads=nodes_to_read,
)
def least_squares(
    inputs: Inputs,
    grouped: Grouped,
    log: RunLog,
    *,
    ridge: Annotated[
        float | Literal["auto"],
        Param(
            "pull towards the average, relative to the inputs' mean square; auto: by held-out error", ge=0,
            usual=(1e-6, 10.0),
        ),
    ] = "auto",
    head_weights: HeadParameter = "importance",
    memory_mb: Annotated[
        int, Param("kept activations; beyond it they are computed again", ge=1, label="Memory (MB)", expert=True)
    ] = 1024,
) -> dict[str, Tensor]:
    """Layer after layer, the weights that best reproduce the parents' merged features inside the fused model.

    W = argmin ||X W^T - T||^2 + lambda ||W - W0||^2, with X the layer's inputs inside the fused model so far,
    T = sum_p F_p M_p^T the parents' own pre-activations, merged, and W0 the average weights. A layer that ends a
    residual branch is asked for the merged stream minus what the fused stream holds already, so that it corrects
    the layers before it. BatchNorms are folded first and written back, so the fused model has the parents'
    architecture; other norms, embeddings and tokens are averaged. Layers that read the model's input itself are exact
    as averages and need no solve. Late spaces are grouped when the layer that makes them is solved.
    Returns the fused state. The notes name every layer that keeps its average weights.
    """
    weights = output_weights(inputs, head_weights)
    run = _Solve(inputs, grouped, log, None if ridge == "auto" else float(ridge), weights, memory_mb * 2**20)
    with torch.no_grad():  # not inference mode: what comes out may be trained further
        return run.run()


def _obstacle(trace: Trace, layer: Layer) -> str:
    """A transposed convolution that is also tied is said to be tied."""
    reason = obstacle(trace, layer)
    if "shared" not in reason and layer.space is None:
        members = (m for space in trace.spaces.values() for m in space.members)
        if any(m.tensor == layer.weight and 0 in m.dims for m in members):
            return "its outputs are tied to other weights"
    return reason


def _counted_rows(counted: Tensor, x: Tensor) -> Tensor | None:
    """(rows,) bool for the rows of inputs x (samples, ..., width), positions along the last dimension of their number;
    None if all count, or x is of samples."""
    dims = [dim for dim in range(1, x.dim() - 1) if x.shape[dim] == counted.shape[1]]
    if not dims or bool(counted.all()):
        return None
    size = [len(counted) if dim == 0 else counted.shape[1] if dim == dims[-1] else 1 for dim in range(x.dim() - 1)]
    return counted.reshape(size).expand(x.shape[:-1]).reshape(-1)


def _targets(trace: Trace, todo: list[Layer]) -> dict[str, Target]:
    """By layer what it is solved for; the layers before it are, or keep their average."""
    targets: dict[str, Target] = {}
    waiting = {layer.name for layer in todo}
    for layer in todo:
        ready = [x for x in trace.layers.values() if x.name not in waiting]
        targets[layer.name] = find_target(trace, layer, ready)
        waiting.discard(layer.name)
    return targets


class _Solve:
    """One run of the solver."""

    def __init__(
        self, inputs: Inputs, grouped: Grouped, log: RunLog, ridge: float | None, last: OutputWeights, budget: int
    ) -> None:
        self.inputs, self.grouped, self.log = inputs, grouped, log
        self.ridge, self.last, self.budget, self.trace = ridge, last, budget, inputs.trace
        self.weights = last.for_merge(inputs.trace, log)
        self.parents, self.held, self.size = inputs.folded, inputs.held_out, batch_size(inputs.trace)
        self.todo = solvable_layers(inputs, log, _obstacle)
        self.targets = _targets(self.trace, self.todo)
        kept = inputs.resume.decisions.get("least_squares", {}) if inputs.resume is not None else {}
        names = {name for level in self.trace.levels[: inputs.kept_levels] for name in level.layers}
        self.chosen: dict[str, dict[str, float | None]] = {n: dict(v) for n, v in kept.items() if n in names}
        self.guess = _GUESS
        if self.chosen and self.ridge is None:
            self.guess = list(self.chosen.values())[-1]["ridge"] or _GUESS
        self.solved = 0

    def run(self) -> dict[str, Tensor]:
        self.log.progress.report(0.0, "merging weights")
        self.state = merge_states(self.parents, self.trace, self.grouped.groupings, self.weights)
        self.state |= self.inputs.kept_tensors
        features = self.grouped.features
        if features is None:
            features = ParentFeatures(self.inputs, [target.node for target in self.targets.values()], self.budget)
            features.keep(self.log.progress.part(0.0, 0.0))
        left = [layer.name for layer in self.todo]
        prefix = FusedPrefix(self.inputs, self.size, self.budget // 2)
        for level in self.trace.levels:
            for name in level.layers:
                if name in left:
                    self._layer(self.trace.layers[name], prefix, features)
                    left.remove(name)
            if left:
                prefix.advance(self.state, level)
        self.log.decide("least_squares", self.chosen)
        return self.state

    def _layer(self, layer: Layer, prefix: FusedPrefix, features: ParentFeatures) -> None:
        late, reserve = self._is_late(layer), self.inputs.reserve
        start, shape, bias = read_rows(self.state, layer), self.state[layer.weight].shape, layer.has_bias
        merge = None if late else self._merging(layer)
        outputs = sum(state[layer.weight].shape[0] for state in self.parents) if late else len(start)
        problem: Regression | GroupedRegression | None = None
        for samples, x, t, held in self._rows(layer, prefix, features, merge):
            if problem is None:
                rows = -(-len(t) // samples) * len(self.inputs.data)
                if layer.options.get("groups", 1) != 1:
                    problem = GroupedRegression(layer, shape, bias, reserve)
                else:
                    problem = Regression(layer, shape, outputs, bias, rows, late, reserve)
            problem.add(x, t, held)
        assert problem is not None
        if late:
            assert layer.space is not None
            assert isinstance(problem, Regression)
            with self.log.stage("grouping"):
                self.grouped.regroup(layer.space, *problem.target_moments())
            matrix = torch.from_numpy(np.concatenate(self.grouped.groupings[layer.space].merge, 1))
            problem.merge_targets(matrix)
            self._merge_again(layer.space)
            start = read_rows(self.state, layer)
        result = problem.solve(start, self.ridge, self.guess, lambda: self._report(layer, 0.8))
        if self.ridge is None:
            self.guess = result.ridge
        self.chosen[layer.name] = {"ridge": result.ridge, "held_out_error": result.held_out_error}
        self.solved += 1
        write_rows(self.state, layer, result.weights)

    def _merging(self, layer: Layer) -> Callable[[list[Tensor]], Tensor]:
        """What merges the parents' features (rows, n_p) at the layer's outputs to (rows, n)."""
        groupings = self.grouped.groupings
        if layer.space in groupings and isinstance(groupings[layer.space].merge, LabelMatrices):
            return partial(merge_features, self.parents, self.trace, groupings, layer)
        matrices = merge_outputs(self.parents, self.trace, groupings, layer)
        merge = [m.float().to(self.inputs.device) for m in matrices]
        return lambda rows: sum((f @ m.T for f, m in zip(rows, merge, strict=True)), torch.zeros(()))

    def _is_late(self, layer: Layer) -> bool:
        """Whether the layer's outputs are grouped only now, with the fused prefix known. That takes a space which
        this layer makes alone and in full."""
        if layer.space not in self.grouped.late:
            return False
        space = self.trace.spaces[layer.space]
        alone = [site.node for site in space.features] == [layer.output] and self.targets[layer.name].other is None
        return alone and space.features[0].index.shape == (self.trace.shapes[layer.weight][0], 1)

    def _rows(
        self,
        layer: Layer,
        prefix: FusedPrefix,
        features: ParentFeatures,
        merge: Callable[[list[Tensor]], Tensor] | None,
    ) -> Iterator[tuple[int, Tensor, Tensor, Tensor]]:
        """Per batch: samples, the layer's inputs, target rows, and which of the inputs (along their first dimension)
        are of samples that are held out. Inputs of linear layers come by sample, or, where some positions do not count,
        by row; of convolutions maybe by frame or window."""
        first, masks = 0, self.inputs.counted if layer.kind == "linear" else None
        self._report(layer, 0.0)
        target_of = self.targets[layer.name]
        nodes = [layer.input] if target_of.other is None else [layer.input, target_of.other]
        fused = prefix.batches(self.state, nodes)
        order = None if target_of.moved is None else RowOrder(self.trace, layer, target_of.moved)
        place, target_place = (self.trace.capture.lies(n) for n in (layer.input, target_of.node))
        read = features.batches(target_of.node, lambda: self._report(layer, 0.0))
        sources = zip(fused, read, self.inputs.batches(self.size), strict=True)
        for (x, *stream), parents, inputs in sources:
            if layer.kind == "linear":
                x = place.first(x) if order is None else order(x, inputs)
                parents, stream = ([target_place.first(f) for f in fs] for fs in (parents, stream))
            rows = [feature_rows(layer, f) for f in parents]
            if layer.output == self.trace.output:
                target = self.last.target(rows).float()
            elif merge is None:
                target = torch.cat(rows, 1)
            else:
                target = merge(rows)
            if stream:
                target = target - feature_rows(layer, stream[0])
            held = self.held[first : first + len(inputs)].to(x.device)
            kept = None if masks is None else _counted_rows(masks[first : first + len(inputs)].to(x.device), x)
            first += len(inputs)
            if kept is not None:
                every = held.repeat_interleave(len(target) // len(held))
                x, target, held = x.reshape(len(target), -1)[kept], target[kept], every[kept]
            yield len(inputs), x, target, held if layer.kind == "linear" else place.spread(held)
            self._report(layer, 0.7 * first / len(self.held))

    def _report(self, layer: Layer, part: float) -> None:
        """Report within a layer too: a request to cancel should not have to wait for a large one."""
        detail = {"level": layer.name, "index": self.solved, "levels": len(self.todo)}
        self.log.progress.report((self.solved + part) / len(self.todo), f"solving {layer.name}", detail)

    def _merge_again(self, space: str) -> None:
        """Average the tensors of a space again under its new grouping."""
        names = {m.tensor for m in self.trace.spaces[space].members}
        merged = merge_states(self.parents, self.trace, self.grouped.groupings, self.weights, names=names)
        self.state.update({name: tensor for name, tensor in merged.items() if name not in self.inputs.kept_tensors})
