"""Steps after the solve. One method a file, found by the registry."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from ..core import registry
from ..core.types import Grouping, State
from ..fusing import Inputs, RunLog

__all__ = ["refine"]


def refine(
    inputs: Inputs,
    groupings: Mapping[str, Grouping],
    state: State,
    log: RunLog,
    method: str,
    parameters: Mapping[str, Any] | None = None,
) -> dict[str, Tensor]:
    """A new state after the registered step `method`; `state`, which was solved with `groupings`, is not modified.

    Raises RecipeError for an unknown method or parameter.
    """
    spec = registry.get("post", method)
    filled = registry.check_parameters("post", method, dict(parameters or {}))
    with log.stage("post"):
        result: dict[str, Tensor] = spec.function(inputs, groupings, state, log, **filled)
    return result
