"""What a library's network returns for inputs of a shape: tried without numbers where that is possible."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import nn

from ...core.errors import UnsupportedModelError
from ..adapted import find_logits, unused
from ..custom import outputs_of, tried
from .building import built, first_line
from .config import LibraryConfig


def tried_config(
    spec: str, config: LibraryConfig, sketch: nn.Module, make: Callable[[], nn.Module]
) -> tuple[LibraryConfig, dict[str, str]]:
    """The config with its number of outputs, and lines that say what was assumed of inputs and outputs, by subject.

    sketch: the network on 'meta'. make: builds it with numbers, for those that look at them. UnsupportedModelError with
    one line where it does not take such inputs, or returns no logits.
    """
    shape, tokens = config.input_shape, config.inputs
    try:
        with torch.device("meta"):
            output, inputs = tried(sketch, shape, tokens)
    except Exception:  # it asks for numbers, or the inputs are wrong: the network itself tells
        module = built(spec, make)
        try:
            output, inputs = tried(module, shape, tokens)
        except UnsupportedModelError as problem:
            raise UnsupportedModelError(f"--arch {spec}: {problem}") from problem
        except Exception as problem:
            kind = f" ({', '.join(tokens)})" if tokens else ""
            raise UnsupportedModelError(
                f"--arch {spec}: the network does not take inputs of shape {shape}{kind}: {first_line(problem)}"
            ) from problem
    return _with_outputs(spec, config, sketch, output, inputs)


def _with_outputs(
    spec: str, config: LibraryConfig, module: nn.Module, output: Any, inputs: Sequence[str]
) -> tuple[LibraryConfig, dict[str, str]]:
    try:
        found = find_logits(output)
    except UnsupportedModelError as problem:
        raise UnsupportedModelError(f"--arch {spec}: {problem}") from problem
    size = tuple(found.logits.shape)
    if not size or size[0] != 2 or math.prod(size) == 0:
        raise UnsupportedModelError(
            f"--arch {spec}: the network must return outputs with samples first, such as logits (samples, classes), "
            f"and returns {size} for two samples"
        )
    assumed = {"outputs": f"--arch {_short(spec)}: {found.note}"} if found.note else {}
    left = unused(module, inputs)
    if left:
        assumed["inputs"] = f"--arch {_short(spec)}: the network takes no {' and no '.join(left)}; left out"
    several = not isinstance(output, torch.Tensor)
    kept = LibraryConfig(
        config.name, config.model, config.settings, config.input_shape, outputs_of(size, bool(inputs)), tuple(inputs),
        several,
    )
    return kept, assumed


def _short(spec: str) -> str:
    return spec if len(spec) < 80 else f"{spec[:77]}..."
