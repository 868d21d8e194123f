"""What a library's network returns for inputs of a shape: tried without numbers where that is possible."""

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import nn

from ...core.errors import UnsupportedModelError, first_line
from ..custom import returned, tried
from .building import built
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
    count, several, assumed = returned(spec, "network", sketch, output, inputs)
    return replace(config, classes=count, inputs=tuple(inputs), several=several), assumed
