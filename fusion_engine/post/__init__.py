"""Steps after the solve. One method a file; core.registry finds them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from ..context import FusionContext
from ..core import registry
from ..core.types import State

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
