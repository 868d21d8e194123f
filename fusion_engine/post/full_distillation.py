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
from .sampling import draw, mixup, shifted

__all__ = ["full_distillation"]


@register(
    "post",
    "full_distillation",
    title="Full distillation",
    citation="Hinton et al. 2015; mixup: Zhang et al. 2018",
    needs={"gradients"},
    scope="network",
)
def full_distillation(
    context: FusionContext,
    state: State,
    *,
    steps: Steps = 300,
    batch: Batch = 256,
    rate: Rate = 2e-3,
    temperature: Temperature = 1.5,
    head_weights: TeacherWeights = "importance",
    labels: Annotated[float, Param("share of the true labels in the target, where there are labels", ge=0, le=1)] = 0.0,
    mix: Annotated[bool, Param("train on mixtures of pairs of calibration samples (mixup)")] = True,
    shift: Annotated[
        float, Param("images: largest random shift as a part of the side; rotation and scale follow", ge=0.0, le=0.5)
    ] = 0.0,
    patience: Patience = 6,
) -> dict[str, Tensor]:
    """Train all weights to predict what the parents' softmax ensemble predicts, early-stopped on held-out samples.

    The target is (1 - labels) times the ensemble's prediction for the very input (shifted, mixed) plus `labels` times
    the labels, mixed alike. Norms stay in eval mode. Returns a new state. Calibration data without labels trains
    towards the ensemble alone, and the notes say so.
    """
    weights = head(context, head_weights)
    teacher = Teacher(context, weights, temperature)
    pool, judge = split_samples(context, weights.weights.shape[1])
    move = shift if pool.x.dim() == 4 else 0.0
    trust = labels if context.data.y is not None else 0.0
    if trust != labels:
        context.notes.append("full_distillation: the calibration data has no labels, so it follows the ensemble alone")

    def target(x: Tensor, y: Tensor) -> Tensor:
        return teacher(x).lerp(y, trust)

    def sample(generator: torch.Generator) -> tuple[Tensor, Tensor]:
        rows = draw(len(pool.x), batch, generator)
        x, y = pool.x[rows], pool.y[rows]
        if move:
            x = shifted(x, move, generator)
        if mix:
            x, y = mixup(x, y, generator)
        return x, target(x, y)

    return distil(
        context,
        state,
        [name for name in context.trace.parameters if state[name].is_floating_point()],
        Program(context.trace, None, [context.trace.output]),
        sample,
        (judge.x, target(judge.x, judge.y)),
        Settings(steps, batch, rate, patience),
        "full_distillation",
    )
