"""Head distillation: train the last layer alone towards the parents' softmax ensemble."""

from __future__ import annotations

import torch
from torch import Tensor

from ..context import FusionContext
from ..core.errors import FusionError
from ..core.registry import register
from ..core.types import State
from ..graph import Program
from ..solvers.head import head, output_layer
from .distillation import (
    Batch,
    Patience,
    Rate,
    Settings,
    Steps,
    Teacher,
    TeacherWeights,
    Temperature,
    distil,
    split_samples,
)
from .sampling import draw

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
    context: FusionContext,
    state: State,
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
    last = output_layer(context.trace)
    if last is None:
        raise FusionError("head_distillation: the model does not end in a linear layer; use full_distillation")
    weights = head(context, head_weights)
    teacher = Teacher(context, weights, temperature)
    before = Program(context.trace, None, [last.input])
    pool, judge = split_samples(context, weights.weights.shape[1])
    with torch.no_grad():
        # Nothing before the last layer changes, so its inputs and the targets are computed once.
        features, wanted = before(state, pool.x)[0], teacher(pool.x)
        held_out_pair = before(state, judge.x)[0], teacher(judge.x)

    def sample(generator: torch.Generator) -> tuple[Tensor, Tensor]:
        rows = draw(len(features), batch, generator)
        return features[rows], wanted[rows]

    return distil(
        context,
        state,
        [last.weight] if last.bias is None else [last.weight, last.bias],
        Program(context.trace, [last.input], [context.trace.output]),
        sample,
        held_out_pair,
        Settings(steps, batch, rate, patience),
        "head_distillation",
    )
