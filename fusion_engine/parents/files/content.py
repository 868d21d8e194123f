"""What is in a weights file, as its readers give it: sets of named tensors, of which one is the network's."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from ...core.errors import ParentError
from ...exported.tensors import OddTensor, TensorRecord

Record = Tensor | TensorRecord | OddTensor
"""A tensor, or where and how it is stored."""


@dataclass(frozen=True)
class NamedModule:
    """A module of a pickled network: its path, the full name of its class, whether that holds tensors or modules, and
    its plain settings; functions of torch that it keeps are settings by their full names."""

    path: str
    kind: str
    leaf: bool
    settings: Mapping[str, Any]


@dataclass(frozen=True)
class WeightSet:
    """Tensors that a file keeps together: a state dict, or those of a pickled module. path: the keys that lead to it,
    joined by dots; '' for the file itself. modules: those of a pickled network, none of a state dict."""

    path: str
    records: Mapping[str, Record]
    modules: tuple[NamedModule, ...] = ()


@dataclass(frozen=True)
class Content:
    """A file of weights. sets: one or more. said: what the file says of its network: this project's header, the program
    of an exported one, and under 'config' the config.json of a Hugging Face folder. notes: what reading met. read: the
    tensors of records, by name; ParentError or UnsafeFileError where they do not fit what is stored."""

    sets: tuple[WeightSet, ...]
    read: Callable[[Mapping[str, Record]], dict[str, Tensor]]
    said: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def plain_content(tensors: Mapping[str, Tensor], said: Mapping[str, Any] | None = None) -> Content:
    """The content of a file whose tensors are read already."""
    return Content((WeightSet("", tensors),), in_memory, said or {})


def in_memory(records: Mapping[str, Record]) -> dict[str, Tensor]:
    """The tensors of records that are tensors."""
    return {name: record for name, record in records.items() if isinstance(record, Tensor)}


def outline(records: Mapping[str, Record]) -> dict[str, Tensor]:
    """Tensors of the records' shapes and types without numbers. ParentError in one line for those that are no plain
    numbers."""
    found = {}
    for name, record in records.items():
        if isinstance(record, OddTensor):
            cure = {"sparse": ".to_dense()", "quantised": ".dequantize()"}.get(record.what, "plain float tensors")
            raise ParentError(f"tensor {name!r} is {record.what}; save {cure} instead")
        if isinstance(record, Tensor):
            found[name] = record.to("meta")
            continue
        try:
            found[name] = torch.empty(record.size, dtype=record.dtype, device="meta")
        except ParentError as problem:
            raise ParentError(f"tensor {name!r}: {problem}") from problem
        except (RuntimeError, TypeError) as problem:  # sizes beyond 64 bits
            raise ParentError(f"tensor {name!r} is damaged") from problem
    return found
