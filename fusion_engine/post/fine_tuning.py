"""Fine-tuning: train all weights on the labels of the calibration samples."""

from __future__ import annotations

from typing import Annotated

import torch
from torch import Tensor

from ..context import FusionContext
from ..core.errors import DataError, FusionError
from ..core.registry import Param, register
from ..core.types import State
from ..graph import Program
from .distillation import (
    AutoRate,
    AutoSteps,
    Batch,
    Mix,
    Patience,
    Settings,
    Shift,
    affordable,
    distil,
    split_samples,
    trainable,
)
from .sampling import augmented

__all__ = ["fine_tuning"]


@register(
    "post",
    "fine_tuning",
    title="Fine-tuning with labels",
    citation="label smoothing: Szegedy et al. 2016; mixup: Zhang et al. 2018",
    needs={"labels", "gradients"},
    scope="network",
)
def fine_tuning(
    context: FusionContext,
    state: State,
    *,
    steps: AutoSteps = "auto",
    batch: Batch = 256,
    rate: AutoRate = "auto",
    smoothing: Annotated[float, Param("share of the target spread evenly over all classes", ge=0.0, le=0.9)] = 0.0,
    mix: Mix = True,
    shift: Shift = 0.0,
    patience: Patience = 6,
) -> dict[str, Tensor]:
    """Trains all weights on the labels of the calibration samples, early-stopped on a held-out fifth.

    Cross entropy with (1 - smoothing) times the label plus smoothing over all classes, of samples shifted and mixed on
    request; held-out samples are judged as they are, with the same smoothing. The parents play no part any more, so
    this is for as many labelled samples as one would train on. Norms stay in eval mode. Returns a new state.

    Raises DataError for calibration data without labels, FusionError for a model that does not end in classes.
    """
    if context.data.y is None:
        raise DataError("fine_tuning: the calibration data has no labels; use full_distillation")
    logits = Program(context.trace, None, [context.trace.output])
    pool, judge = split_samples(context, _classes(context, state, logits))

    def target(y: Tensor) -> Tensor:
        return y.lerp(torch.full_like(y, 1 / y.shape[1]), smoothing)

    def sample(generator: torch.Generator) -> tuple[Tensor, Tensor]:
        x, y = augmented(pool.x, pool.y, batch, mix, shift, generator)
        return x, target(y)

    return distil(
        context, state, trainable(context, state), logits, sample, (judge.x, target(judge.y)),
        Settings(affordable(context, steps, batch, 0), batch, rate, patience), "fine_tuning",
    )  # fmt: skip


@torch.no_grad()
def _classes(context: FusionContext, state: State, logits: Program) -> int:
    output = logits(state, next(context.batches(2)))
    if len(output) != 1 or output[0].dim() != 2 or output[0].shape[1] < context.data.classes:
        raise FusionError("fine_tuning: the model gives no logits of the labels' classes, so it cannot learn from them")
    return output[0].shape[1]
