"""Solvers: from groupings to the fused weights. One method a file or package, found by the registry."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from ..core import registry
from ..fusing import Inputs, RunLog
from ..grouping import Grouped

__all__ = ["nodes_to_read", "solve"]


def solve(
    inputs: Inputs, grouped: Grouped, log: RunLog, method: str, parameters: Mapping[str, Any] | None = None
) -> dict[str, Tensor]:
    """Fused state by the registered `method`. A method that groups late puts those groupings into `grouped`.

    Levels that are kept from a finished fusion keep their weights. Raises RecipeError for an unknown method or
    parameter, FusionError where edits do not fit a grouping that was made while solving.
    """
    spec = registry.get("solver", method)
    filled = registry.check_parameters("solver", method, dict(parameters or {}))
    with log.stage("solve"):
        state: dict[str, Tensor] = spec.function(inputs, grouped, log, **filled)
    grouped.check()
    return state | inputs.kept_tensors


def nodes_to_read(inputs: Inputs, method: str, parameters: Mapping[str, Any]) -> tuple[tuple[str, ...], int]:
    """Where the registered `method` will read the parents' features, and how many bytes of them may be kept."""
    reads = registry.get("solver", method).reads
    return ((), 0) if reads is None else reads(inputs, **parameters)
