"""A user's module as the engine runs it: one tensor in, one tensor out, under its own names.

Several named inputs come as one tensor (n, inputs, T), in which the module finds its own; of outputs in a dict, tuple,
list or dataclass the logits are taken.
"""

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from ..core.errors import UnsupportedModelError

# By how sure they are: what Hugging Face, torchvision and segmentation libraries call them.
_LOGITS = ("logits", "out", "outputs", "output", "prediction_logits", "predictions", "preds", "pred", "scores")
_AS_BOOL = ":bool"  # a mask that the module wants as booleans


class Found(NamedTuple):
    """A module's output. note: a line that says which of several was taken, '' where there is one tensor."""

    logits: Tensor
    note: str = ""


def find_logits(output: Any) -> Found:
    """The tensor of logits in what a module returns: by name, else the first floating tensor. Raises
    UnsupportedModelError if there is none."""
    if isinstance(output, Tensor):
        return Found(output)
    named = dict(_named(output))
    real = {name: value for name, value in named.items() if isinstance(value, Tensor) and value.is_floating_point()}
    if not real:
        kinds = ", ".join(map(str, named)) or type(output).__name__
        raise UnsupportedModelError(f"the module returns no tensor of real numbers (but {kinds})")
    known = next((name for name in _LOGITS if name in real), None)
    name = known or next(iter(real))
    others = ", ".join(map(str, (other for other in named if other != name)))
    if not others:
        return Found(real[name])
    why = f"{name!r} is taken" if known else f"none is called logits, so the first tensor, {name!r}, is taken"
    return Found(real[name], f"of the module's outputs {why}; left out: {others}")


def adapted(module: nn.Module, inputs: Sequence[str] = ()) -> nn.Module:
    """`module` itself, made to take one tensor and to give one: its tensors keep their names.

    inputs: names of the token inputs that the data has, in the order of their rows in x (n, inputs, T); of one or none
    x is what the module takes. The module's forward is given those that it names; see `bound`.
    """
    kind = type(module)
    rows = bound(module, inputs) if len(inputs) > 1 else {}

    def forward(self: nn.Module, x: Tensor) -> Tensor:
        given = {name: x[:, row].bool() if as_bool else x[:, row] for name, (row, as_bool) in rows.items()}
        return find_logits(kind.forward(self, **given) if rows else kind.forward(self, x)).logits

    module.__class__ = type(kind.__name__, (kind,), {"forward": forward, "__module__": kind.__module__})
    return module


def bound(module: nn.Module, inputs: Sequence[str]) -> dict[str, tuple[int, bool]]:
    """By parameter of the module's forward: which of the `inputs` it is given (their names, with ':bool' for a mask
    that is wanted as booleans), and whether as booleans.

    Parameters go by name. The first, if no input has its name, is given the first of those that are left, which
    `unused` does not name. Raises UnsupportedModelError for a parameter that needs an input that the data lacks.
    """
    rows = {name.removesuffix(_AS_BOOL): (row, name.endswith(_AS_BOOL)) for row, name in enumerate(inputs)}
    parameters = [p for p in inspect.signature(module.forward).parameters.values() if p.name != "self"]
    takes_all = any(p.kind is p.VAR_KEYWORD for p in parameters)
    plain = [p for p in parameters if p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL)]
    named = {p.name: rows[p.name] for p in plain if p.name in rows}
    if plain and plain[0].name not in rows and plain[0].default is plain[0].empty:
        left = next(row for name, row in rows.items() if name not in named)
        named = {plain[0].name: left, **named}
    missing = [p.name for p in plain if p.default is p.empty and p.name not in named]
    if missing:
        raise UnsupportedModelError(
            f"the module needs the input {missing[0]!r}, and the data has {', '.join(rows)}; store it under that name"
        )
    if takes_all and not plain:
        return rows
    return named


def unused(module: nn.Module, inputs: Sequence[str]) -> list[str]:
    """The inputs that the module's forward is not given."""
    taken = {row for row, _ in bound(module, inputs).values()} if len(inputs) > 1 else set(range(len(inputs)))
    return [name.removesuffix(_AS_BOOL) for row, name in enumerate(inputs) if row not in taken]


def as_booleans(inputs: Sequence[str]) -> tuple[str, ...]:
    """The inputs with masks as booleans."""
    return tuple(name + _AS_BOOL if name.endswith("mask") else name for name in inputs)


def token_example(shape: Sequence[int], inputs: Sequence[str], batch: int = 2) -> Tensor:
    """(batch, *shape) int64: tokens 0, in the second half 1, which all vocabularies have; masks leave all positions."""
    x = torch.zeros(batch, *shape, dtype=torch.int64)
    x[..., shape[-1] // 2 :] = 1
    for row, name in enumerate(inputs if len(inputs) > 1 else ()):
        if name.removesuffix(_AS_BOOL).endswith("mask"):
            x[:, row] = int("padding" not in name)
    return x


def _named(output: Any) -> list[tuple[Any, Any]]:
    if isinstance(output, Mapping):
        return list(output.items())
    if is_dataclass(output):
        return [(f.name, getattr(output, f.name)) for f in fields(output)]
    if isinstance(output, tuple) and hasattr(output, "_fields"):
        return list(zip(output._fields, output, strict=True))
    return list(enumerate(output)) if isinstance(output, tuple | list) else []
