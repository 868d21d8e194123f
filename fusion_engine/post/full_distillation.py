"""Full distillation: train all weights towards the parents' softmax ensemble, on mixed calibration samples."""

from __future__ import annotations

from typing import Annotated

import torch
from torch import Tensor

from ..context import FusionContext
from ..core.registry import Param, register
from ..core.types import State
from ..graph import Program
from ..solvers.head import head
from .distillation import (
    AutoRate,
    AutoSteps,
    Batch,
    Mix,
    Patience,
    Settings,
    Shift,
    Teacher,
    TeacherWeights,
    Temperature,
    affordable,
    distil,
    split_samples,
    trainable,
)
from .sampling import augmented

__all__ = ["full_distillation"]


@register(
    "post",
    "full_distillation",
    title="Full distillation",
    citation="Hinton et al. 2015; mixup: Zhang et al. 2018",
    needs={"gradients"},
    uses={"labels": {"labels": True}, "importance": {"head_weights": "importance"}},
    scope="network",
)
def full_distillation(
    context: FusionContext,
    state: State,
    *,
    steps: AutoSteps = "auto",
    batch: Batch = 256,
    rate: AutoRate = "auto",
    temperature: Temperature = 1.5,
    head_weights: TeacherWeights = "importance",
    labels: Annotated[float, Param("share of the true labels in the target, where there are labels", ge=0, le=1)] = 0.0,
    mix: Mix = True,
    shift: Shift = 0.0,
    patience: Patience = 20,
) -> dict[str, Tensor]:
    """Train all weights to predict what the parents' softmax ensemble predicts, early-stopped on held-out samples.

    The target is (1 - labels) times the ensemble's prediction for the very input (shifted, mixed) plus `labels` times
    the labels, mixed alike. Norms stay in eval mode. Returns a new state. Calibration data without labels trains
    towards the ensemble alone, and the notes say so.
    """
    weights = head(context, head_weights)
    teacher = Teacher(context, weights, temperature)
    pool, judge = split_samples(context, weights.weights.shape[1])
    trust = labels if context.data.y is not None else 0.0
    if trust != labels:
        context.notes.append("full_distillation: the calibration data has no labels, so it follows the ensemble alone")

    def target(x: Tensor, y: Tensor) -> Tensor:
        return teacher(x).lerp(y, trust)

    def sample(generator: torch.Generator) -> tuple[Tensor, Tensor]:
        x, y = augmented(pool.x, pool.y, batch, mix, shift, generator)
        return x, target(x, y)

    return distil(
        context,
        state,
        trainable(context, state),
        Program(context.trace, None, [context.trace.output]),
        sample,
        (judge.x, target(judge.x, judge.y)),
        Settings(affordable(context, steps, batch, context.parents), batch, rate, patience),
        "full_distillation",
    )
