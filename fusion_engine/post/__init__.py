"""Steps after the solve. One method a file; importing registers them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from ..context import FusionContext
from ..core import registry
from ..core.types import State
from . import (  # noqa: F401 - registers the methods
    fine_tuning,
    full_distillation,
    head_distillation,
    norm_recalibration,
    pooled_buffers,
    repair,
)

__all__ = ["refine"]


def refine(
    context: FusionContext, state: State, method: str, parameters: Mapping[str, Any] | None = None
) -> dict[str, Tensor]:
    """A new state after the registered step `method`; `state` is not modified.

    Raises RecipeError for an unknown method or parameter.
    """
    spec = registry.get("post", method)
    filled = registry.check_parameters("post", method, dict(parameters or {}))
    with context.watch.stage("post"):
        result: dict[str, Tensor] = spec.function(context, state, **filled)
    return result
