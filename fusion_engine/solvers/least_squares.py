"""The least-squares solver: layer after layer, the weights that best reproduce the merged parents' features."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal

import numpy as np
import torch
from torch import Tensor

from ..context import FusionContext
from ..core import registry
from ..core.registry import Param, register
from ..core.types import Grouping, Layer
from ..graph import Program, Trace, merge_outputs, merge_states
from ..stats import feature_rows
from .activations import FusedPrefix, ParentFeatures, batch_size
from .fold import fold_norms, read_layer, write_layer
from .grouped_ridge import GroupedRegression
from .head import Head, HeadParameter, head
from .ridge import Regression
from .spaces import group_spaces, judges_groups, needs_moments, regroup
from .targets import RowOrder, Target, find_target

__all__ = ["least_squares"]


@register(
    "solver",
    "least_squares",
    title="Least squares, layer after layer",
    citation="Luenam et al. 2025 (linear), with ridge towards the average",
    needs={"moments"},
    uses={"importance": {"head_weights": "importance"}},
    scope="network",
)
def least_squares(
    context: FusionContext,
    *,
    ridge: Annotated[
        float | Literal["auto"],
        Param("pull towards the average, relative to the inputs' mean square; auto: by held-out error", ge=0),
    ] = "auto",
    head_weights: HeadParameter = "importance",
    memory_mb: Annotated[
        int, Param("kept activations; beyond it they are computed again", ge=1, label="Memory (MB)", expert=True)
    ] = 1024,
) -> tuple[dict[str, Tensor], dict[str, Grouping]]:
    """Layer after layer, the weights that best reproduce the parents' merged features inside the fused model.

    W = argmin ||X W^T - T||^2 + lambda ||W - W0||^2, with X the layer's inputs inside the fused model so far,
    T = sum_p F_p M_p^T the parents' own pre-activations, merged, and W0 the average weights. A layer that ends a
    residual branch is asked for the merged stream minus what the fused stream holds already, so that it corrects
    the layers before it. BatchNorms are folded first and written back, so the fused model has the parents'
    architecture; other norms, embeddings and tokens are averaged. Layers that read the model's input itself are exact
    as averages and need no solve.
    Returns the fused state and the groupings. The notes name every layer that keeps its average weights.
    """
    return _Solve(context, None if ridge == "auto" else float(ridge), head(context, head_weights), memory_mb).run()


class _Solve:
    """One run of the solver."""

    def __init__(self, context: FusionContext, ridge: float | None, last: Head, memory_mb: int) -> None:
        self.context, self.ridge, self.head = context, ridge, last
        self.weights = last.for_merge(context)
        self.budget = memory_mb * 2**20
        self.trace: Trace = context.trace
        layers = list(self.trace.layers.values())
        self.targets: dict[str, Target] = {}
        self.parents = [fold_norms(state, layers) for state in context.states]
        self.held = context.held_out
        self.guess = 3e-2
        self.chosen: dict[str, dict[str, float | None]] = {}

    @torch.no_grad()  # not inference mode: what comes out may be trained further
    def run(self) -> tuple[dict[str, Tensor], dict[str, Grouping]]:
        with self.context.watch.stage("solve"):
            return self._run()

    def _run(self) -> tuple[dict[str, Tensor], dict[str, Grouping]]:
        context, layers = self.context, list(self.trace.layers.values())
        todo = [layer for layer in layers if self._solvable(layer)]
        self.size = size = batch_size(context, layers)
        spec = registry.get("grouping", context.grouping.method)
        with context.watch.stage("grouping"):
            for layer in todo:
                ready = [x for x in layers if x not in todo or x.name in self.targets]
                self.targets[layer.name] = find_target(self.trace, layer, ready)
            wanted = needs_moments(context)
            nodes = [target.node for target in self.targets.values()]
            features = ParentFeatures(
                context, nodes, size, self.budget, moments=wanted, judged=judges_groups(context)
            )
            moments = features.moments()
        self.groupings, self.stats = group_spaces(context, moments)
        self.projects = spec.scope == "level" and context.parents > 1
        context.progress("solve", 0.0, "merging weights")
        self.state = merge_states(self.parents, self.trace, self.groupings, self.weights)
        self.total, left = len(todo), [layer.name for layer in todo]
        prefix = FusedPrefix(context, size, self.budget // 2)
        for level in self.trace.levels:
            for name in level.layers:
                if name in left:
                    self._layer(self.trace.layers[name], prefix, features)
                    left.remove(name)
            if left:
                prefix.advance(self.state, level)
        context.decisions["least_squares"] = self.chosen
        return self.state, self.groupings

    def _layer(self, layer: Layer, prefix: FusedPrefix, features: ParentFeatures) -> None:
        late = self._is_late(layer)
        start, shape, bias = self._weights(layer)
        merge = None if late else self._merger(layer)
        outputs = sum(self._widths(layer)) if late else len(start)
        problem: Regression | GroupedRegression | None = None
        for x, t, held in self._rows(layer, prefix, features, merge):
            if problem is None:
                rows = len(t) // len(x) * len(self.context.data)
                grouped = layer.options.get("groups", 1) != 1
                problem = (
                    GroupedRegression(layer, shape, bias, self.context.reserve)
                    if grouped
                    else Regression(layer, shape, outputs, bias, rows, late, self.context.reserve)
                )
            problem.add(x, t, held)
        assert problem is not None
        if late:
            assert layer.space is not None
            assert isinstance(problem, Regression)
            self._regroup(layer.space, problem)
            matrix = torch.from_numpy(np.concatenate(self.groupings[layer.space].merge, 1))
            problem.merge_targets(matrix)
            self._merge_again(layer.space)
            start, _, _ = self._weights(layer)
        result = problem.solve(start, self.ridge, self.guess, lambda: self._progress(layer, 0.8))
        if self.ridge is None:
            self.guess = result.ridge
        self.chosen[layer.name] = {"ridge": result.ridge, "held_out_error": result.held_out_error}
        solved = result.weights
        weight = (solved[:, :-1] if bias else solved).reshape(shape)
        write_layer(self.state, layer, weight, solved[:, -1] if bias else None)

    def _is_late(self, layer: Layer) -> bool:
        """Whether the layer's outputs are grouped only now, with the fused prefix known. That takes a space which
        this layer makes alone and in full."""
        if not self.projects or layer.space not in self.stats:
            return False
        space = self.trace.spaces[layer.space]
        alone = [site.node for site in space.features] == [layer.output] and self.targets[layer.name].other is None
        return alone and space.features[0].index.shape == (self.trace.shapes[layer.weight][0], 1)

    def _weights(self, layer: Layer) -> tuple[Tensor, torch.Size, bool]:
        """The layer's present weights as (n, d [+1 with bias last]), its weight's shape, and whether it has a bias."""
        weight, bias = read_layer(self.state, layer)
        flat = weight.reshape(len(weight), -1)
        return flat if bias is None else torch.cat([flat, bias[:, None]], 1), weight.shape, bias is not None

    def _rows(
        self, layer: Layer, prefix: FusedPrefix, features: ParentFeatures, merge: list[Tensor] | None
    ) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """Per batch: the layer's inputs (samples, ...), target rows, and which samples are held out."""
        first = 0
        self._progress(layer, 0.0)
        target_of = self.targets[layer.name]
        nodes = [layer.input] if target_of.other is None else [layer.input, target_of.other]
        fused = prefix.batches(self.state, nodes)
        order = None if target_of.moved is None else RowOrder(self.trace, layer, target_of.moved)
        sources = zip(fused, features.batches(target_of.node), self.context.batches(self.size), strict=True)
        for (x, *stream), parents, inputs in sources:
            if order is not None:
                x = order(x, inputs)
            rows = [feature_rows(layer, f) for f in parents]
            if layer.output == self.trace.output:
                target = self.head.target(rows).float()
            elif merge is None:
                target = torch.cat(rows, 1)
            else:
                target = sum((f @ m.T for f, m in zip(rows, merge, strict=True)), torch.zeros(()))
            if stream:
                target = target - feature_rows(layer, stream[0])
            held = self.held[first : first + len(x)].to(x.device)
            first += len(x)
            yield x, target, held
            self._progress(layer, 0.7 * first / len(self.held))

    def _progress(self, layer: Layer, part: float) -> None:
        """Report within a layer too: a request to cancel should not have to wait for a large one."""
        done = len(self.chosen)
        detail = {"level": layer.name, "index": done, "levels": self.total}
        self.context.progress("solve", (done + part) / self.total, f"solving {layer.name}", detail)

    def _regroup(self, space: str, problem: Regression) -> None:
        total, projected = problem.target_moments()
        with self.context.watch.stage("grouping"):
            self.groupings[space] = regroup(self.context, self.stats[space], total, projected)

    def _merge_again(self, space: str) -> None:
        """Average the tensors of a space again under its new grouping."""
        names = {m.tensor for m in self.trace.spaces[space].members}
        self.state.update(merge_states(self.parents, self.trace, self.groupings, self.weights, names=names))

    def _merger(self, layer: Layer) -> list[Tensor]:
        """The merge matrices of the layer's outputs in float32."""
        matrices = merge_outputs(self.parents, self.trace, self.groupings, layer)
        return [m.float().to(self.context.device) for m in matrices]

    def _widths(self, layer: Layer) -> list[int]:
        assert layer.space is not None
        return [m.shape[1] for m in self.groupings[layer.space].merge]

    def _solvable(self, layer: Layer) -> bool:
        """Whether the layer is solved for; those that are not keep the average, and the notes say why."""
        if not Program(self.trace, None, [layer.input]).tensors:
            return False  # it reads the input itself: the average reproduces the merged features exactly
        uses = sum(other.weight == layer.weight for other in self.trace.layers.values())
        reason = None
        if uses > 1 or len(self.trace.aliases.get(layer.weight, ())) > 1:
            reason = "its weight is shared"
        elif layer.space is None and self._writes_a_space(layer):
            reason = "its outputs are tied to other weights"
        elif layer.options.get("transposed"):
            reason = "it is a transposed convolution"
        if reason:
            self.context.notes.append(f"layer {layer.name} keeps its average weights: {reason}")
        return reason is None

    def _writes_a_space(self, layer: Layer) -> bool:
        members = (m for space in self.trace.spaces.values() for m in space.members)
        return any(m.tensor == layer.weight and 0 in m.dims for m in members)
