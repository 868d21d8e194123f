"""Importance of neurons. One method a file, found by the registry."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from ..core import registry
from ..core.progress import Progress
from ..core.types import State
from ..data import Dataset
from ..graph import Trace

__all__ = ["score"]


def score(
    trace: Trace,
    state: State,
    data: Dataset,
    method: str,
    parameters: Mapping[str, Any] | None = None,
    *,
    progress: Progress | None = None,
    device: str | torch.device = "cpu",
) -> dict[str, Tensor]:
    """Scores of one parent by the registered `method`: {space or 'output': (n,) float64 on the CPU, >= 1e-8}.

    Spaces without a feature site have no score. Without labels in `data` the parent's own predicted classes are
    the targets, which the progress message says. Raises RecipeError for an unknown method or parameter,
    DataError for unusable labels, UnsupportedModelError where the method has no rule for an operator.
    """
    spec = registry.get("importance", method)
    filled = registry.check_parameters("importance", method, dict(parameters or {}))
    moved = {name: tensor.detach().to(device) for name, tensor in state.items()}
    scores: dict[str, Tensor] = spec.function(trace.fitting(moved), moved, data, progress or Progress(), **filled)
    return scores
