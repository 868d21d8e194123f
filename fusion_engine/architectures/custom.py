"""A user's own architecture: `package.module:callable`, imported only because the user named it."""

import importlib
import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from ..core.errors import UnsupportedModelError
from ..core.registry import nearest
from .settings import split_spec


@dataclass(frozen=True)
class CustomConfig:
    """spec: 'package.module:callable'; the callable takes no arguments and returns an nn.Module."""

    name: str
    input_shape: tuple[int, ...]
    classes: int

    def __str__(self) -> str:
        return self.name

    def as_json(self) -> dict[str, Any]:
        """Plain values, for reports: a custom architecture is never built from a file's metadata."""
        return {"input_shape": list(self.input_shape), "classes": self.classes}


def is_custom(spec: str) -> bool:
    """Whether a spec names a user's callable, and not a built-in architecture, with settings or without."""
    return ":" in spec and not split_spec(spec)[1]


def build_custom(spec: str) -> nn.Module:
    """Import the callable and call it. Raises UnsupportedModelError with one line on any failure."""
    module_name, _, attribute = spec.partition(":")
    try:
        module = importlib.import_module(module_name)
    except (ImportError, ValueError) as problem:
        raise UnsupportedModelError(
            f"--arch {spec}: cannot import {module_name!r} ({_line(problem)}); give package.module:callable"
        ) from problem
    if not hasattr(module, attribute):
        known = [name for name in vars(module) if not name.startswith("_")]
        raise UnsupportedModelError(f"--arch {spec}: {module_name} has no {attribute!r}{nearest(attribute, known)}")
    try:
        model = getattr(module, attribute)()
    except Exception as problem:
        raise UnsupportedModelError(f"--arch {spec}: calling it failed: {_line(problem)}") from problem
    if not isinstance(model, nn.Module):
        raise UnsupportedModelError(f"--arch {spec}: returned a {type(model).__name__}, not an nn.Module")
    return model.eval()


def custom_config(spec: str, input_shape: tuple[int, ...] | None) -> CustomConfig:
    """Build the module once and run an example of `input_shape` through it, to learn the number of classes."""
    if input_shape is None:
        raise UnsupportedModelError(f"--arch {spec}: the input's shape is needed too, such as --input-shape 3,32,32")
    model = build_custom(spec)
    try:
        with torch.inference_mode():
            output = model(torch.zeros(2, *input_shape))
    except Exception as problem:
        raise UnsupportedModelError(
            f"--arch {spec}: the module does not take inputs of shape {input_shape}: {_line(problem)}"
        ) from problem
    if not isinstance(output, torch.Tensor) or output.ndim != 2 or len(output) != 2 or math.prod(output.shape) == 0:
        raise UnsupportedModelError(f"--arch {spec}: the module must return logits of shape (samples, classes)")
    return CustomConfig(spec, tuple(input_shape), int(output.shape[1]))


def _line(problem: BaseException) -> str:
    text = str(problem).strip()
    return text.splitlines()[0] if text else type(problem).__name__
