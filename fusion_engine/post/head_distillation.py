"""Head distillation: train the last layer alone towards the parents' softmax ensemble."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from ..core.errors import FusionError
from ..core.registry import register
from ..core.types import Grouping, State
from ..fusing import Inputs, RunLog, output_layer, output_weights
from ..fusing.sampling import draw
from ..graph import Program
from .distillation import (
    Batch,
    Patience,
    Rate,
    Steps,
    Teacher,
    TeacherWeights,
    Temperature,
    distil,
    schedule,
    split_samples,
)

__all__ = ["head_distillation"]


@register(
    "post",
    "head_distillation",
    title="Head distillation",
    citation="Hinton et al. 2015",
    needs={"gradients"},
    uses={"importance": {"head_weights": "importance"}},
    scope="network",
)
def head_distillation(
    inputs: Inputs,
    groupings: Mapping[str, Grouping],
    state: State,
    log: RunLog,
    *,
    steps: Steps = 300,
    batch: Batch = 256,
    rate: Rate = 1e-3,
    temperature: Temperature = 2.0,
    head_weights: TeacherWeights = "importance",
    patience: Patience = 6,
) -> dict[str, Tensor]:
    """Train the last layer to match the ensemble's softened probabilities, early-stopped on a held-out fifth.

    Only the last layer's weight and bias change. Returns a new state; labels are not used. Raises FusionError for a
    model that does not end in a layer.
    """
    last = output_layer(inputs.trace)
    if last is None:
        raise FusionError("head_distillation: the model does not end in a linear layer; use full_distillation")
    weights = output_weights(inputs, head_weights)
    teacher = Teacher(inputs, weights, temperature)
    before = Program(inputs.trace, None, [last.input])
    pool, judge = split_samples(inputs, weights.weights.shape[1])
    with torch.no_grad():
        # Nothing before the last layer changes, so its inputs and the targets are computed once.
        features, wanted = before(state, pool.x)[0], teacher(pool.x)
        held_out_pair = before(state, judge.x)[0], teacher(judge.x)

    def sample(generator: torch.Generator) -> tuple[Tensor, Tensor]:
        rows = draw(len(features), batch, generator)
        return features[rows], wanted[rows]

    return distil(
        inputs,
        state,
        [last.weight] if last.bias is None else [last.weight, last.bias],
        Program(inputs.trace, [last.input], [inputs.trace.output]),
        sample,
        held_out_pair,
        schedule(steps, rate, patience),
        log,
        "head_distillation",
    )
