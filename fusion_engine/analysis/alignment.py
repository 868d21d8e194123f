"""Bring one network's neurons into the order of another's: the same function, with like neurons in like places."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..core import registry
from ..core.errors import RecipeError
from ..core.recipe import Step
from ..core.types import Grouping, State
from ..data import Dataset
from ..fusing import Inputs, RunLog
from ..graph import Trace, merge_states
from ..grouping import group_every_space
from ..importance import score


def pairing_methods() -> list[str]:
    """Names of the groupings that pair neurons one to one, and so can align networks."""
    return [name for name in registry.names("grouping") if registry.get("grouping", name).pairs]


def align(
    trace: Trace,
    reference: State,
    state: State,
    data: Dataset,
    method: str,
    parameters: Mapping[str, Any] | None = None,
    *,
    seed: int = 0,
    device: torch.device | str = "cpu",
) -> dict[str, Tensor]:
    """`state` with the neurons of every space in the order in which they pair with `reference`'s.

    method: a registered grouping that pairs neurons one to one. All neurons count alike (uniform importance). The
    function stays the same: only whole neurons move. Raises RecipeError for a grouping that does not pair neurons.
    """
    orders = reorderings(trace, reference, state, data, method, parameters, seed=seed, device=device)
    return merge_states([state], trace, orders)


def reorderings(
    trace: Trace,
    reference: State,
    state: State,
    data: Dataset,
    method: str,
    parameters: Mapping[str, Any] | None = None,
    *,
    seed: int = 0,
    device: torch.device | str = "cpu",
) -> dict[str, Grouping]:
    """The permutations that `align` applies to `state`, by space, as groupings of it alone."""
    if not registry.get("grouping", method).pairs:
        raise RecipeError(
            f"grouping {method!r} does not pair neurons one to one, so it cannot align networks; "
            f"use one of {', '.join(pairing_methods())}"
        )
    filled = registry.check_parameters("grouping", method, dict(parameters or {}))
    where = torch.device(device)
    states = tuple({name: tensor.to(where) for name, tensor in s.items()} for s in (reference, state))
    uniform = tuple(score(trace, s, data, "uniform") for s in states)
    inputs = Inputs(trace, states, data, uniform, seed=seed, device=where)
    grouped = group_every_space(inputs, Step(method=method, parameters=filled), RunLog())
    return {name: _reordering(g) for name, g in grouped.groupings.items()}


def _reordering(grouping: Grouping) -> Grouping:
    """The permutation that puts the second network's neurons where those of the first are that they pair with."""
    first, second = (np.asarray(matrix) != 0 for matrix in grouping.merge)
    order = (first.T.astype(np.float64) @ second.astype(np.float64) > 0).astype(np.float64)
    return Grouping(grouping.space, grouping.method, (order,), (order.T,))
