"""Full distillation: train all weights towards the parents' softmax ensemble, on mixed calibration samples."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

import torch
from torch import Tensor

from ..core.registry import Param, register
from ..core.types import Grouping, State
from ..fusing import Inputs, RunLog, output_weights
from ..fusing.sampling import augmented
from ..graph import Program
from .distillation import (
    AutoRate,
    AutoSteps,
    Batch,
    Mix,
    Patience,
    Shift,
    Teacher,
    TeacherWeights,
    Temperature,
    affordable,
    distil,
    schedule,
    split_samples,
    trainable,
)

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
    inputs: Inputs,
    groupings: Mapping[str, Grouping],
    state: State,
    log: RunLog,
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
    weights = output_weights(inputs, head_weights)
    teacher = Teacher(inputs, weights, temperature)
    pool, judge = split_samples(inputs, weights.weights.shape[1])
    trust = labels if inputs.data.y is not None else 0.0
    if trust != labels:
        log.note("full_distillation: the calibration data has no labels, so it follows the ensemble alone")

    def target(x: Tensor, y: Tensor) -> Tensor:
        return teacher(x).lerp(y, trust)

    def sample(generator: torch.Generator) -> tuple[Tensor, Tensor]:
        x, y = augmented(pool.x, pool.y, batch, mix, shift, generator)
        return x, target(x, y)

    return distil(
        inputs,
        state,
        trainable(inputs, state),
        Program(inputs.trace, None, [inputs.trace.output]),
        sample,
        (judge.x, target(judge.x, judge.y)),
        schedule(affordable(inputs.trace, steps, batch, inputs.count), rate, patience),
        log,
        "full_distillation",
    )
