"""Fine-tuning: train all weights on the labels of the calibration samples."""

from collections.abc import Mapping
from typing import Annotated

import torch
from torch import Tensor

from ..core.errors import DataError, FusionError
from ..core.registry import Param, register
from ..core.types import Grouping, State
from ..fusing import EffortParameter, Inputs, RunLog
from ..tasks import Task
from . import distillation


@register(
    "post",
    "fine_tuning",
    title="Fine-tuning with labels",
    citation="label smoothing: Szegedy et al. 2016; mixup: Zhang et al. 2018",
    needs={"labels", "gradients"},
    scope="network",
)
def fine_tuning(
    inputs: Inputs,
    groupings: Mapping[str, Grouping],
    state: State,
    log: RunLog,
    *,
    steps: distillation.AutoSteps = "auto",
    effort: EffortParameter = "quick",
    batch: distillation.AutoBatch = 256,
    rate: distillation.AutoRate = "auto",
    smoothing: Annotated[float, Param("share of the target spread evenly over all classes", ge=0.0, le=0.9)] = 0.0,
    mix: distillation.Mix = True,
    shift: distillation.Shift = 0.0,
    patience: distillation.Patience = 6,
) -> dict[str, Tensor]:
    """Trains all weights on the labels of the calibration samples, early-stopped on a held-out fifth.

    Cross entropy with (1 - smoothing) times the label plus smoothing over all classes, of samples shifted and mixed on
    request; held-out samples are judged as they are, with the same smoothing. The parents play no part any more, so
    this is for as many labelled samples as one would train on. Norms stay in eval mode. Returns a new state.

    Raises DataError for calibration data without labels, FusionError for a model that does not end in classes.
    """
    if inputs.data.y is None:
        raise DataError("fine_tuning: the calibration data has no labels; use full_distillation")

    task = _task(inputs)
    if smoothing and not task.has_classes:
        log.note("fine_tuning: values are not smoothed")

    def target(x: Tensor, y: Tensor) -> Tensor:
        if not task.has_classes:
            return y
        even = torch.full_like(y, 1 / y.shape[-1])
        return y.lerp(even if y.dim() == 2 else even * y.sum(-1, keepdim=True), smoothing)

    most, size = distillation.affordable(inputs.trace, steps, batch, effort, 0)
    settings, draw = distillation.schedule(most, rate, patience), (size, mix, shift)
    return distillation.distil_everything(inputs, state, target, draw, settings, log, "fine_tuning")


def _task(inputs: Inputs) -> Task:
    """What is learnt; FusionError for labels that the model's outputs are not of."""
    try:
        if inputs.task is not None:
            return inputs.task
    except DataError:  # the line below says it
        pass
    raise FusionError("fine_tuning: the model gives no logits of the labels' classes, so it cannot learn from them")
