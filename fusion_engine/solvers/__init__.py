"""Solvers: from groupings to the fused weights. One method a file; core.registry finds them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from ..context import FusionContext
from ..core import registry
from ..core.types import Grouping

__all__ = ["solve"]


def solve(
    context: FusionContext, method: str, parameters: Mapping[str, Any] | None = None
) -> tuple[dict[str, Tensor], dict[str, Grouping]]:
    """Fused state and the grouping of every space, by the registered `method`.

    Raises RecipeError for an unknown method or parameter, FusionError where a space cannot be grouped.
    """
    spec = registry.get("solver", method)
    filled = registry.check_parameters("solver", method, dict(parameters or {}))
    result: tuple[dict[str, Tensor], dict[str, Grouping]] = spec.function(context, **filled)
    return result
