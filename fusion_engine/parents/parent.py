"""Parent: one trained network with everything fusion needs to know about it."""

from __future__ import annotations

import copy
import hashlib
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from ..architectures import Config, CustomConfig, build, example_input
from ..architectures.resize import resized
from ..core.errors import ParentError
from ..exported import ExportedConfig

_MOST_LINES = 50
_LONGEST_LINE = 300


@dataclass(frozen=True)
class Metadata:
    """What is known about a parent besides its weights.

    class_counts: training samples by class. data_digest: sha256 of the training data. training: how it was
    trained (seed, epochs, regime and the like). notes: what reading did to it, such as a change of precision.
    assumed: what its file does not say, setting -> line that says what was assumed and how to say otherwise.
    """

    class_counts: list[int] | None = None
    data_digest: str | None = None
    training: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    assumed: Mapping[str, str] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self) | {"notes": list(self.notes)}

    @classmethod
    def read(cls, values: Mapping[str, Any], classes: int) -> Metadata:
        """From `as_json`'s values, of which any may be missing. Raises ParentError without the file's name."""
        known = {key: values[key] for key in (f.name for f in fields(cls)) if values.get(key) is not None}
        counts = known.get("class_counts")
        are_counts = isinstance(counts, list) and all(type(n) is int and n >= 0 for n in counts)
        if counts is not None and not (are_counts and len(counts) == classes):
            raise ParentError(f"class_counts must be {classes} whole numbers, one a class")
        training, digest, notes = known.get("training", {}), known.get("data_digest"), known.get("notes", [])
        assumed = known.get("assumed", {})
        are_mappings = isinstance(training, Mapping) and isinstance(assumed, Mapping)
        if not are_mappings or not isinstance(digest, str | None) or not isinstance(notes, list):
            raise ParentError("the metadata is not valid")
        lines = [_line(text) for text in [*notes, *assumed.values()]]
        if len(lines) > _MOST_LINES:
            raise ParentError("the metadata has more notes than any network")
        told = dict(zip(map(str, assumed), lines[len(notes) :], strict=True))
        return cls(counts, digest, dict(training), tuple(lines[: len(notes)]), told)


def _line(text: Any) -> str:
    """A note from a file, as a line that may be shown."""
    return "".join(letter for letter in str(text)[:_LONGEST_LINE] if letter.isprintable())


@dataclass(frozen=True, eq=False)
class Parent:
    """A trained network. Its tensors and its model share memory and are never modified.

    architecture: the config (its `.name` is the architecture's name). state: canonical tensor name -> float32 (or
    integer) tensor on the CPU. model: the module with these weights, in eval mode, parameters without gradients.
    key_map: canonical name -> name in the parent's own file.
    """

    name: str
    architecture: Config
    state: Mapping[str, Tensor]
    model: nn.Module = field(repr=False)
    metadata: Metadata = field(default_factory=Metadata)
    key_map: Mapping[str, str] = field(default_factory=dict, repr=False)

    @property
    def classes(self) -> int:
        """Number of outputs."""
        return self.architecture.classes

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of one sample; one-dimensional where the network flattens its input."""
        return self.architecture.input_shape

    def example_input(self, batch: int = 2) -> Tensor:
        """(batch, *input_shape) float32, the same at every call."""
        return example_input(self.architecture, batch)

    @cached_property
    def digest(self) -> str:
        """sha256 (hex) of the state's names, shapes and bytes."""
        return state_digest(self.state)


def state_digest(state: Mapping[str, Tensor]) -> str:
    """sha256 (hex) of names, types, shapes and bytes, whatever the order of the names."""
    sha = hashlib.sha256()
    for name in sorted(state):
        tensor = state[name]
        sha.update(f"{name}:{tensor.dtype}:{tuple(tensor.shape)};".encode())
        sha.update(tensor.detach().cpu().contiguous().view(-1).numpy().data)
    return sha.hexdigest()


def make_parent(
    name: str, architecture: Config, state: Mapping[str, Tensor], metadata: Metadata | None = None,
    key_map: Mapping[str, str] | None = None,
) -> Parent:
    """A Parent from canonical tensors; the tensors are copied. Raises ParentError if they do not fit the config."""
    is_filled = isinstance(architecture, CustomConfig | ExportedConfig)
    try:
        # On 'meta' nothing is allocated or initialised: the tensors are put in below. A user's module and
        # an exported program may keep values outside their state dict and tie weights: those are built and filled.
        with torch.device("cpu" if is_filled else "meta"):
            model = build(architecture)
        wanted = model.state_dict()
        copied = {key: state[key].detach().to("cpu", t.dtype, copy=True) for key, t in wanted.items() if key in state}
        for key, tensor in wanted.items():
            # Files written by old versions of torch lack BatchNorm's counter, which inference never reads.
            if key.endswith("num_batches_tracked") and key not in copied:
                copied[key] = torch.zeros(tensor.shape, dtype=tensor.dtype)
        load_tensors(model, copied, assign=not is_filled)
    except (RuntimeError, TypeError) as problem:  # TypeError: sizes beyond 64 bits, from a made-up config
        raise ParentError(f"{name}: the tensors do not fit the architecture {architecture}") from problem
    model.requires_grad_(False).eval()
    own = {key: tensor.detach() for key, tensor in model.state_dict().items()}
    names = dict(key_map) if key_map is not None else {key: key for key in own}
    return Parent(name, architecture, own, model, metadata or Metadata(), names)


def load_tensors(model: nn.Module, state: Mapping[str, Tensor], assign: bool = False) -> None:
    """`load_state_dict` (strict) with the versions that the model's own modules write: some convert what has none."""
    versioned = OrderedDict(state)
    versioned._metadata = getattr(model.state_dict(), "_metadata", {})  # type: ignore[attr-defined]
    model.load_state_dict(versioned, assign=assign)


def module_copy(model: nn.Module) -> nn.Module:
    """A deep copy; weights that hooks compute before every forward (old weight_norm, spectral_norm, pruning) are no
    leaves, which torch does not copy: they are, as values."""
    memo: dict[int, Any] = {}
    for module in model.modules():
        for value in vars(module).values():
            if isinstance(value, Tensor) and not value.is_leaf:
                memo[id(value)] = value.detach().clone()
    return copy.deepcopy(model, memo)


def module_for(parents: Sequence[Parent], state: Mapping[str, Tensor]) -> nn.Module:
    """A module in eval mode that takes `state`: a parent's own (do not modify it), or one built at other widths. Raises
    UnsupportedModelError if the architecture has no such widths."""
    alike = _alike(parents, state)
    return alike.model if alike is not None else build(config_for(parents, state))


def config_for(parents: Sequence[Parent], state: Mapping[str, Tensor]) -> Config:
    """The config of `module_for`'s module."""
    alike = _alike(parents, state)
    if alike is not None:
        return alike.architecture
    return resized(parents[0].architecture, {name: tuple(tensor.shape) for name, tensor in state.items()})


def _alike(parents: Sequence[Parent], state: Mapping[str, Tensor]) -> Parent | None:
    """The first parent whose tensors have the shapes of `state`."""
    shapes = {name: tuple(tensor.shape) for name, tensor in state.items()}
    fitting = (p for p in parents if all(tuple(t.shape) == shapes.get(name) for name, t in p.state.items()))
    return next(fitting, None)
