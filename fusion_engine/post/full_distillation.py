"""Full distillation: train all weights towards the parents' softmax ensemble, on mixed calibration samples."""

from collections.abc import Mapping
from typing import Annotated

from torch import Tensor

from ..core.registry import Param, register
from ..core.types import Grouping, State
from ..fusing import BY_IMPORTANCE, EffortParameter, Inputs, RunLog, output_weights
from . import distillation
from .starts import Start


@register(
    "post",
    "full_distillation",
    title="Full distillation",
    citation="Hinton et al. 2015; mixup: Zhang et al. 2018",
    needs={"gradients"},
    uses={"labels": {"labels": True}, "importance": {"head_weights": BY_IMPORTANCE}},
    scope="network",
)
def full_distillation(
    inputs: Inputs,
    groupings: Mapping[str, Grouping],
    state: State,
    log: RunLog,
    *,
    steps: distillation.AutoSteps = "auto",
    effort: EffortParameter = "quick",
    start: Annotated[
        Start, Param("what is trained: the fused network, the best parent, the parents' average, or what leads lowest")
    ] = "fused",
    batch: distillation.AutoBatch = 256,
    rate: distillation.AutoRate = "auto",
    temperature: distillation.Temperature = 1.5,
    head_weights: distillation.TeacherWeights = "importance",
    labels: Annotated[float, Param("share of the true labels in the target, where there are labels", ge=0, le=1)] = 0.0,
    mix: distillation.Mix = True,
    shift: distillation.Shift = 0.0,
    averaging: distillation.Averaging = False,
    patience: distillation.Patience = 20,
) -> dict[str, Tensor]:
    """Train all weights to predict what the parents' softmax ensemble predicts, early-stopped on held-out samples.

    The target is (1 - labels) times the ensemble's prediction for the very input (shifted, mixed) plus `labels` times
    the labels, mixed alike. Norms stay in eval mode. start 'auto': the fused network or the best other start (a parent,
    or the parents' average), by held-out loss: a quick effort tells them apart by a tenth of the steps, others train
    both to the end. Returns a new state. Calibration data without labels trains towards the ensemble alone, and the
    notes say so.
    """
    weights = output_weights(inputs, head_weights)
    teacher = distillation.Teacher(inputs, weights, temperature)
    trust = labels if inputs.data.y is not None else 0.0
    if trust != labels:
        log.note("full_distillation: the calibration data has no labels, so it follows the ensemble alone")

    def target(x: Tensor, y: Tensor) -> Tensor:
        followed = teacher(x)
        return followed.lerp(y, trust) if trust else followed

    most, size = distillation.affordable(inputs.trace, steps, batch, effort, inputs.count)
    settings = distillation.schedule(most, rate, patience, average=averaging)
    draw = (size, mix, shift)
    race = effort != "quick"  # a quick run tells starts apart by a tenth of the steps
    return distillation.distil_everything(
        inputs, state, target, draw, settings, log, "full_distillation", start, race=race
    )
