"""Inputs and outputs of modules of a plain nn.Module, read by hooks that never outlive their block."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn


@dataclass(frozen=True)
class Captured:
    """Tensors of the latest forward pass, by module name."""

    inputs: dict[str, Tensor]
    outputs: dict[str, Tensor]


@contextmanager
def capture(model: nn.Module, names: Iterable[str]) -> Iterator[Captured]:
    """Record the first input and the output of the named modules at every forward pass inside the block.

    The hooks are removed when the block ends, also by an exception. KeyError if there is no such module.
    """
    modules = dict(model.named_modules())
    captured = Captured({}, {})
    handles = []
    try:
        for name in names:
            if name not in modules:
                raise KeyError(f"the model has no module {name!r}")
            handles.append(modules[name].register_forward_hook(_hook(captured, name)))
        yield captured
    finally:
        for handle in handles:
            handle.remove()


def _hook(captured: Captured, name: str) -> Any:
    def record(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        if inputs:
            captured.inputs[name] = inputs[0]
        captured.outputs[name] = output

    return record
