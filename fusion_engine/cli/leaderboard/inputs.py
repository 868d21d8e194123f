"""What the command and its worker processes read: parents, data and base model, as the options name them."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from fusion_engine.core.errors import FusionError

if TYPE_CHECKING:
    from fusion_engine.leaderboard.plan import Inputs

READ = ("parents", "arch", "weights", "calibration", "test", "base", "samples", "seeds", "device", "task")
"""The options that `read_inputs` looks at."""


def read_inputs(arguments: argparse.Namespace) -> Inputs:
    """Parents, data and base model."""
    from fusion_engine.data import load_data
    from fusion_engine.jobs.inputs import draw_samples
    from fusion_engine.jobs.service.warm import warm_tracing
    from fusion_engine.leaderboard.plan import Inputs
    from fusion_engine.parents import load_base, load_parents

    data = load_data(arguments.calibration, y_required=False, task=arguments.task)
    data = draw_samples(data, arguments.samples, read_seeds(arguments.seeds)[0])
    parents = load_parents(
        arguments.parents, arguments.arch, input_shape=data.input_shape, tokens=data.tokens, weights=arguments.weights
    )
    base = load_base(arguments.base, parents)
    warm_tracing()
    return Inputs(parents, data, load_data(arguments.test, task=arguments.task), arguments.device, base)


def words(given: str) -> list[str]:
    """The words between the commas."""
    return [word.strip() for word in given.split(",") if word.strip()]


def read_seeds(given: str) -> list[int]:
    """Seeds from an option's text. FusionError where it is none."""
    numbers = words(given)
    if not numbers or not all(word.isdecimal() and len(word) < 10 for word in numbers):
        raise FusionError(f"--seeds {given}: write whole numbers with commas between, such as 0,1,2")
    return [int(word) for word in numbers]
