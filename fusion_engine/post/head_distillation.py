"""Head distillation: train the last layer alone towards the parents' softmax ensemble."""

from collections.abc import Mapping

import torch
from torch import Tensor

from ..core.errors import FusionError
from ..core.registry import register
from ..core.types import Grouping, State
from ..fusing import BY_IMPORTANCE, Inputs, RunLog, output_layer, output_weights
from ..fusing.sampling import draw
from ..graph import Program
from . import distillation


@register(
    "post",
    "head_distillation",
    title="Head distillation",
    citation="Hinton et al. 2015",
    needs={"gradients"},
    uses={"importance": {"head_weights": BY_IMPORTANCE}},
    scope="network",
)
def head_distillation(
    inputs: Inputs,
    groupings: Mapping[str, Grouping],
    state: State,
    log: RunLog,
    *,
    steps: distillation.Steps = 300,
    batch: distillation.Batch = 256,
    rate: distillation.Rate = 1e-3,
    temperature: distillation.Temperature = 2.0,
    head_weights: distillation.TeacherWeights = "importance",
    patience: distillation.Patience = 6,
) -> dict[str, Tensor]:
    """Train the last layer to match the ensemble's softened probabilities, early-stopped on a held-out fifth.

    Only the last layer's weight and bias change. Returns a new state; labels are not used. Raises FusionError for a
    model that does not end in a layer.
    """
    last = output_layer(inputs.trace)
    if last is None:
        raise FusionError("head_distillation: the model does not end in a linear layer; use full_distillation")
    weights = output_weights(inputs, head_weights)
    teacher = distillation.Teacher(inputs, weights, temperature)
    before = Program(inputs.trace, None, [last.input])
    pool, judge = distillation.split_samples(inputs)
    with torch.no_grad():
        # Nothing before the last layer changes, so its inputs and the targets are computed once.
        features, wanted = before(state, pool.x)[0], teacher(pool.x)
        held_out_pair = before(state, judge.x)[0], teacher(judge.x)

    def sample(generator: torch.Generator) -> tuple[Tensor, Tensor]:
        rows = draw(len(features), batch, generator)
        return features[rows], wanted[rows]

    names = [name for name in (last.weight, last.bias) if name is not None]
    student = Program(inputs.trace, [last.input], [inputs.trace.output])
    settings = distillation.schedule(steps, rate, patience)
    lesson = distillation.Lesson(inputs, names, student, sample, held_out_pair, "head_distillation")
    return distillation.distil(lesson, state, settings, log)
