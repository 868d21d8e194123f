"""A user's own architecture: `package.module:callable`, imported only because the user named it."""

import importlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from ..core.errors import UnsupportedModelError, first_line
from ..core.registry import nearest
from .adapted import adapted, as_booleans, bound, find_logits, token_example, unused
from .settings import library_of, split_spec

_SHOWN = 80  # letters of a spec in a line of what was assumed


@dataclass(frozen=True)
class CustomConfig:
    """spec: 'package.module:callable'; the callable takes no arguments and returns an nn.Module. inputs: names of its
    token inputs, none for real-valued ones (see `adapted`)."""

    name: str
    input_shape: tuple[int, ...]
    classes: int
    inputs: tuple[str, ...] = ()
    several: bool = False

    def __str__(self) -> str:
        return self.name

    def as_json(self) -> dict[str, Any]:
        """Plain values, for reports: a custom architecture is never built from a file's metadata."""
        tokens = {"inputs": list(self.inputs)} if self.inputs else {}
        return {"input_shape": list(self.input_shape), "classes": self.classes, **tokens}


def is_custom(spec: str) -> bool:
    """Whether a spec names a user's callable: no built-in architecture, with settings or without, and no library's."""
    return ":" in spec and library_of(spec) is None and not split_spec(spec)[1]


def build_custom(spec: str) -> nn.Module:
    """Import the callable and call it. Raises UnsupportedModelError with one line on any failure."""
    module_name, _, attribute = spec.partition(":")
    try:
        module = importlib.import_module(module_name)
    except (ImportError, ValueError) as problem:
        raise UnsupportedModelError(
            f"--arch {spec}: cannot import {module_name!r} ({first_line(problem)}); give package.module:callable"
        ) from problem
    if not hasattr(module, attribute):
        known = [name for name in vars(module) if not name.startswith("_")]
        raise UnsupportedModelError(f"--arch {spec}: {module_name} has no {attribute!r}{nearest(attribute, known)}")
    try:
        model = getattr(module, attribute)()
    except Exception as problem:
        raise UnsupportedModelError(f"--arch {spec}: calling it failed: {first_line(problem)}") from problem
    if not isinstance(model, nn.Module):
        raise UnsupportedModelError(f"--arch {spec}: returned a {type(model).__name__}, not an nn.Module")
    return model.eval()


def build_configured(config: CustomConfig) -> nn.Module:
    """The module of a config, with one tensor in and one out."""
    model = build_custom(config.name)
    return adapted(model, config.inputs) if config.several or len(config.inputs) > 1 else model


def custom_config(
    spec: str, input_shape: tuple[int, ...] | None, tokens: Sequence[str] = ()
) -> tuple[CustomConfig, dict[str, str]]:
    """Build the module once and run an example of `input_shape` through it, to learn the number of outputs.

    tokens: names of the data's token inputs. Returns the config, and lines that say what was assumed, by subject.
    """
    if input_shape is None:
        raise UnsupportedModelError(f"--arch {spec}: the input's shape is needed too, such as --input-shape 3,32,32")
    model = build_custom(spec)
    try:
        output, inputs = tried(model, tuple(input_shape), tuple(tokens))
    except UnsupportedModelError as problem:
        raise UnsupportedModelError(f"--arch {spec}: {problem}") from problem
    except Exception as problem:
        kind = f" ({', '.join(tokens)})" if tokens else ""
        raise UnsupportedModelError(
            f"--arch {spec}: the module does not take inputs of shape {input_shape}{kind}: {first_line(problem)}"
        ) from problem
    count, several, assumed = returned(spec, "module", model, output, inputs)
    return CustomConfig(spec, tuple(input_shape), count, inputs, several), assumed


def returned(
    spec: str, what: str, model: nn.Module, output: Any, inputs: Sequence[str]
) -> tuple[int, bool, dict[str, str]]:
    """What a `model` that returned `output` for two samples gives: the number of its outputs, whether it returns more
    than one tensor, and lines that say what was assumed, by subject. what: a word for the model. UnsupportedModelError
    where there are no logits."""
    try:
        found = find_logits(output)
    except UnsupportedModelError as problem:
        raise UnsupportedModelError(f"--arch {spec}: {problem}") from problem
    size = tuple(found.logits.shape)
    if not size or size[0] != 2 or math.prod(size) == 0:
        raise UnsupportedModelError(
            f"--arch {spec}: the {what} must return outputs with samples first, such as logits (samples, classes), and "
            f"returns {size} for two samples"
        )
    short = spec if len(spec) < _SHOWN else f"{spec[: _SHOWN - 3]}..."
    assumed = {"outputs": f"--arch {short}: {found.note}"} if found.note else {}
    left = unused(model, inputs)
    if left:
        assumed["inputs"] = f"--arch {short}: the {what} takes no {' and no '.join(left)}; left out"
    return outputs_of(size, bool(inputs)), not isinstance(output, torch.Tensor), assumed


def outputs_of(size: Sequence[int], tokens: bool) -> int:
    """Number of outputs a position of a network that gives a tensor of this size: of (n,) 1, of (n, outputs) and of
    tokens' (n, t, outputs) the last dimension, of maps (n, outputs, ...) the second."""
    return 1 if len(size) == 1 else int(size[-1] if tokens or len(size) == 2 else size[1])


def tried(model: nn.Module, shape: tuple[int, ...], tokens: tuple[str, ...]) -> tuple[Any, tuple[str, ...]]:
    """What a module returns for two samples, and the names of its inputs, masks as booleans if it wants them so."""
    with torch.inference_mode():
        if not tokens:
            return model(torch.zeros(2, *shape)), ()
        example = token_example(shape, tokens)
        if len(tokens) == 1:
            return model(example), tokens

        def run(inputs: tuple[str, ...]) -> Any:
            given = {n: example[:, i].bool() if b else example[:, i] for n, (i, b) in bound(model, inputs).items()}
            return model(**given)

        try:
            return run(tokens), tokens
        except (RuntimeError, TypeError):
            booleans = as_booleans(tokens)
            if booleans == tokens:
                raise
            try:
                return run(booleans), booleans
            except (RuntimeError, TypeError):
                pass
            raise
