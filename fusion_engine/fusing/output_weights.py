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
from .inputs import Inputs
from .run_log import RunLog

_LEAST = 1.0001e-8  # of scores
HeadWeights = Literal["uniform", "importance", "class_share", "confidence"]
HeadParameter = Annotated[HeadWeights, Param("how much each parent is trusted for each class at the output")]


@dataclass(frozen=True)
class OutputWeights:
    """weights: (k, classes), columns sum to one over the parents. confidence: weigh each sample by itself."""

    weights: Tensor
    confidence: bool = False

    def for_merge(self, trace: Trace, log: RunLog) -> list[Tensor] | None:
        """The weights by parent for `merge_states`; None, and a note, for a model that does not end in a layer."""
        if output_layer(trace) is not None:
            return list(self.weights)
        log.note("the model does not end in a linear layer, so its parents count equally at the output")
        return None

    def target(self, logits: Sequence[Tensor]) -> Tensor:
        """Merged logits (rows, classes) of the parents' logits, k of (rows, classes).

        The weighted mean; with `confidence` the log of the softmax ensemble, shifted to the mean logit level, so
        that its softmax is exactly the ensemble's prediction.
        """
        stacked = torch.stack(list(logits)).double()
        mean = (stacked * self.weights.to(stacked)[:, None]).sum(0)
        if not self.confidence:
            return mean
        log = torch.logsumexp(stacked.log_softmax(-1), 0) - torch.log(torch.tensor(float(len(stacked))))
        return log - log.mean(-1, keepdim=True) + mean.mean(-1, keepdim=True)

    def ensemble(self, logits: Sequence[Tensor], temperature: float) -> Tensor:
        """Softened predictions (rows, classes) of the weighted ensemble, in the type of the logits:
        sum_p w_pc softmax(logits_p / temperature)_c, normalised."""
        stacked = (torch.stack(list(logits)) / temperature).softmax(-1)
        mixed = (stacked * self.weights.to(stacked)[:, None]).sum(0)
        return mixed / mixed.sum(-1, keepdim=True)


def output_layer(trace: Trace) -> Layer | None:
    """The layer whose outputs are the model's outputs, where there is one."""
    return next((layer for layer in trace.layers.values() if layer.output == trace.output), None)


def output_weights(inputs: Inputs, rule: HeadWeights) -> OutputWeights:
    """Weights by `rule`: how much each parent is trusted for each class.

    uniform: 1/k. importance: each parent's output scores normalised over its outputs, then over the parents (what
    the published neuron-interpolation code does). class_share: each parent's share of the class's training data.
    confidence: per sample, the softmax ensemble. Raises RecipeError if class_share lacks class counts.
    """
    k = inputs.count
    if any("output" not in scores for scores in inputs.importance):  # a model without classes
        last = output_layer(inputs.trace)
        size = 1 if last is None else inputs.trace.shapes[last.weight][0]
        return OutputWeights(torch.full((k, size), 1 / k, dtype=torch.float64))
    output = torch.stack([scores["output"].double().cpu() for scores in inputs.importance])
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
        total = counts.sum(0)
        return OutputWeights(torch.where(total > 0, counts / total.clamp_min(1), torch.full_like(counts, 1 / k)))
    return OutputWeights(torch.full_like(output, 1 / k), confidence=rule == "confidence")
