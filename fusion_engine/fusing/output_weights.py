"""How much each parent counts at the output. The last layer is always grouped by class."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

import torch
from torch import Tensor

from ..core.errors import RecipeError
from ..core.registry import Param
from ..core.types import Layer
from ..data import missing_classes
from ..graph import Trace
from ..tasks import Task
from .inputs import Inputs
from .run_log import RunLog

_LEAST = 1.0001e-8  # of scores
HeadWeights = Literal["uniform", "importance", "class_share", "auto", "known_share", "confidence"]
BY_IMPORTANCE: tuple[HeadWeights, ...] = ("importance", "auto", "known_share")  # rules that look at scores
HeadParameter = Annotated[HeadWeights, Param("how much each parent is trusted for each class at the output")]


@dataclass(frozen=True)
class OutputWeights:
    """weights: (k, outputs), columns sum to one over the parents. confidence: weigh each sample by itself, as `task`
    has classes."""

    weights: Tensor
    confidence: bool = False
    task: Task | None = None

    def for_merge(self, trace: Trace, log: RunLog) -> list[Tensor] | None:
        """The weights by parent for `merge_states`; None, and a note, for a model that does not end in a layer."""
        if output_layer(trace) is not None:
            return list(self.weights)
        log.note("the model does not end in a linear layer, so its parents count equally at the output")
        return None

    def target(self, logits: Sequence[Tensor]) -> Tensor:
        """Merged outputs (..., outputs) of the parents' outputs, k of (..., outputs).

        The weighted mean; with `confidence` the log of the softmax ensemble, shifted to the mean logit level, so
        that its softmax is exactly the ensemble's prediction.
        """
        stacked = torch.stack(list(logits)).double()
        mean = (stacked * self._beside(stacked)).sum(0)
        if not self.confidence:
            return mean
        own = stacked if self.task is None else self.task.spread(stacked)
        log = torch.logsumexp(own.log_softmax(-1), 0) - torch.log(torch.tensor(float(len(stacked))))
        level = mean if self.task is None else self.task.spread(mean)
        joined = log - log.mean(-1, keepdim=True) + level.mean(-1, keepdim=True)
        return joined if self.task is None else self.task.outputs(joined)

    def ensemble(self, logits: Sequence[Tensor], temperature: float) -> Tensor:
        """Softened predictions (..., classes) of the weighted ensemble of k logits, in their type:
        sum_p w_pc softmax(logits_p / temperature)_c, normalised."""
        stacked = (torch.stack(list(logits)) / temperature).softmax(-1)
        mixed = (stacked * self._beside(stacked)).sum(0)
        return mixed / mixed.sum(-1, keepdim=True)

    def _beside(self, stacked: Tensor) -> Tensor:
        """The weights, of a shape to multiply k tensors (..., outputs)."""
        weights = self.weights.to(stacked)
        return weights.reshape(len(weights), *[1] * (stacked.dim() - 2), -1)


def output_layer(trace: Trace) -> Layer | None:
    """The layer whose outputs are the model's outputs, where there is one."""
    return next((layer for layer in trace.layers.values() if layer.output == trace.output), None)


def output_weights(inputs: Inputs, rule: HeadWeights) -> OutputWeights:
    """Weights by `rule`: how much each parent is trusted for each class.

    uniform: 1/k. importance: each parent's output scores normalised over its outputs, then over the parents (what the
    published neuron-interpolation code does). class_share: each parent's share of the class's training data.
    known_share: class_share where the class counts of all parents are known, else importance. auto: the mean of both
    where the counts are known, else importance, as one mends what the other misjudges (docs/methods.md). confidence:
    per sample, the softmax ensemble. Raises RecipeError if class_share lacks class counts.
    """
    k = inputs.count
    if any("output" not in scores for scores in inputs.importance):  # a model without classes
        last = output_layer(inputs.trace)
        size = 1 if last is None else inputs.trace.shapes[last.weight][0]
        return OutputWeights(torch.full((k, size), 1 / k, dtype=torch.float64))
    output = torch.stack([scores["output"].double().cpu() for scores in inputs.importance])
    if rule in ("auto", "known_share"):
        if inputs.class_counts is None or inputs.class_counts.shape != output.shape:
            return output_weights(inputs, "importance")
        if rule == "known_share":
            return output_weights(inputs, "class_share")
        both = [output_weights(inputs, one).weights for one in ("class_share", "importance")]
        return OutputWeights((both[0] + both[1]) / 2)
    if rule == "importance":
        own = output / output.sum(1, keepdim=True)
        own = own / own.sum(0)
        unjudged = missing_classes(inputs.data, output.shape[1])
        if unjudged:  # without a sample of a class, the least score stands for it in every parent
            silent = torch.zeros(output.shape[1], dtype=torch.bool)
            silent[unjudged] = (output[:, unjudged] <= _LEAST).all(0)
            own[:, silent] = 1 / k
        return OutputWeights(own)
    if rule == "class_share":
        if inputs.class_counts is None:
            raise RecipeError(
                "head_weights 'class_share' needs the parents' class counts (a parents.json beside the parents); "
                "use head_weights 'importance'"
            )
        counts = torch.as_tensor(inputs.class_counts, dtype=torch.float64)
        if counts.shape != output.shape:
            raise RecipeError(
                f"head_weights 'class_share' needs counts of the model's {output.shape[1]} outputs, and the parents' "
                f"are of {counts.shape[1]} classes; use head_weights 'importance'"
            )
        total = counts.sum(0)
        return OutputWeights(torch.where(total > 0, counts / total.clamp_min(1), torch.full_like(counts, 1 / k)))
    sure = rule == "confidence" and (inputs.task is None or inputs.task.has_classes)
    return OutputWeights(torch.full_like(output, 1 / k), sure, inputs.task)
