"""Parent: one trained network with everything fusion needs to know about it."""

from __future__ import annotations

import copy
import hashlib
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from ..architectures import Config, CustomConfig, LibraryConfig, build, example_input
from ..architectures.fitting import ties
from ..architectures.resize import resized
from ..core.errors import ParentError
from ..exported import ExportedConfig
from .precision import integers

_MOST_LINES = 50
_LONGEST_LINE = 300


@dataclass(frozen=True)
class Metadata:
    """What is known about a parent besides its weights.

    class_counts: training samples by class. data_digest: sha256 of the training data. training: how it was
    trained (seed, epochs, regime and the like). reading: what reading did to it, such as a change of precision.
    assumed: what its file does not say, setting -> line that says what was assumed and how to say otherwise.
    """

    class_counts: list[int] | None = None
    data_digest: str | None = None
    training: Mapping[str, Any] = field(default_factory=dict)
    reading: tuple[str, ...] = ()
    assumed: Mapping[str, str] = field(default_factory=dict)

    @property
    def notes(self) -> tuple[str, ...]:
        """All that is worth knowing of how it was read: what reading did, and what was assumed."""
        return (*self.reading, *self.assumed.values())

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        values = asdict(self)
        return {"notes": list(values.pop("reading")), **values}

    @classmethod
    def read(cls, values: Mapping[str, Any], classes: int) -> Metadata:
        """From `as_json`'s values, of which any may be missing. Raises ParentError without the file's name."""
        names = ("class_counts", "data_digest", "training", "notes", "assumed")
        known = {key: values[key] for key in names if values.get(key) is not None}
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
    key_map: canonical name -> name in the parent's own file, of the tensors that are in it. beside: name in the file ->
    tensor, of what is not the network's. copies: name in the file of an averaged copy -> canonical name and type in the
    file. dtypes: canonical name -> type in the file, where it is another one of at
    least 16 bits.
    """

    name: str
    architecture: Config
    state: Mapping[str, Tensor]
    model: nn.Module = field(repr=False)
    metadata: Metadata = field(default_factory=Metadata)
    key_map: Mapping[str, str] = field(default_factory=dict, repr=False)
    beside: Mapping[str, Tensor] = field(default_factory=dict, repr=False)
    copies: Mapping[str, tuple[str, torch.dtype]] = field(default_factory=dict, repr=False)
    dtypes: Mapping[str, torch.dtype] = field(default_factory=dict, repr=False)

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
    is_filled = isinstance(architecture, CustomConfig | ExportedConfig | LibraryConfig)
    try:
        # On 'meta' nothing is allocated or initialised: the tensors are put in below. A user's module and
        # an exported program may keep values outside their state dict and tie weights: those are built and filled.
        with torch.device("cpu" if is_filled else "meta"):
            model = build(architecture)
        copied, notes = _completed(model, state, key_map or {})
        fill(model, copied, assign=not is_filled)
    except (RuntimeError, TypeError) as problem:  # TypeError: sizes beyond 64 bits, from a made-up config
        raise ParentError(f"{name}: the tensors do not fit the architecture {architecture}") from problem
    model.requires_grad_(False).eval()
    own = {key: tensor.detach() for key, tensor in model.state_dict().items()}
    names = dict(key_map) if key_map is not None else {key: key for key in own}
    known = metadata or Metadata()
    known = replace(known, reading=tuple(dict.fromkeys([*known.reading, *notes])))
    return Parent(name, architecture, own, model, known, names)


def fill(model: nn.Module, state: Mapping[str, Tensor], assign: bool = False) -> None:
    """Load tensors strictly, as of the model's own version: some modules would take those without one for old files."""
    given = OrderedDict(state)
    given._metadata = getattr(model.state_dict(), "_metadata", {})  # type: ignore[attr-defined]
    model.load_state_dict(given, assign=assign)


def _completed(
    model: nn.Module, state: Mapping[str, Tensor], key_map: Mapping[str, str]
) -> tuple[dict[str, Tensor], list[str]]:
    """Copies of the tensors that a module takes, with those that files may lack: BatchNorm's counters, which inference
    never reads, a tensor's other names, and integers that the module computes. Notes say which.

    ParentError: integers where the module has weights, or a tensor's names that hold different numbers.
    """
    wanted = model.state_dict()
    parameters = {name for name, _ in model.named_parameters(remove_duplicate=False)}
    copied: dict[str, Tensor] = {}
    for name, tensor in wanted.items():
        if name not in state:
            continue
        given = state[name]
        if name in parameters and tensor.is_floating_point() and not given.is_floating_point():
            raise integers(key_map.get(name, name), given.dtype)
        copied[name] = given.detach().to("cpu", tensor.dtype, copy=True)
    notes = []
    tied = ties(wanted)
    for name, tensor in wanted.items():
        same = sorted(tied.get(name, ()))
        held = [other for other in same if other in copied]
        if name in copied:
            if not torch.equal(copied[name], copied[held[0]] if held else copied[name]):
                raise ParentError(f"{held[0]!r} and {name!r} are one tensor in the module, and differ in the file")
        elif held:
            copied[name] = copied[held[0]]
            notes.append(f"{name!r} is not in the file, and is {held[0]!r}, as in the module")
        elif name.endswith("num_batches_tracked"):
            copied[name] = torch.zeros(tensor.shape, dtype=tensor.dtype)
        elif name not in parameters and not tensor.is_floating_point() and tensor.device.type != "meta":
            copied[name] = tensor.clone()
            notes.append(f"{name!r} is not in the file, and is what the module computes")
    return copied, notes


def file_tensors(
    parent: Parent, state: Mapping[str, Tensor], dtypes: Mapping[str, torch.dtype] | None = None
) -> dict[str, Tensor]:
    """Tensors for a file that loads where the parent's own does: under its names, no more and no fewer, in its types,
    with what is not the network's; averaged copies are of this state, as training would begin them. state: canonical
    names. dtypes: other types than the parent's, by canonical name."""
    types = parent.dtypes if dtypes is None else dtypes
    named = {own: in_type(state[name], types.get(name)) for name, own in parent.key_map.items() if name in state}
    copies = {own: in_type(state[name], dtype) for own, (name, dtype) in parent.copies.items() if name in state}
    return {**named, **copies, **parent.beside}


def in_type(tensor: Tensor, dtype: torch.dtype | None) -> Tensor:
    """The tensor in that type; as it is where that would make it infinite."""
    if dtype is None:
        return tensor
    changed = tensor.to(dtype)
    return changed if not dtype.is_floating_point or bool(changed.isfinite().all()) else tensor


def canonical_state(parent: Parent, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The reverse of `file_tensors`: canonical name -> tensor in the type of the parent's state. What the parent's file
    lacks comes from the tensor's other names, or is the parent's. KeyError for files without the parent's names."""
    tied = ties(parent.model.state_dict())
    found = {name: tensors[own].to(parent.state[name].dtype) for name, own in parent.key_map.items()}
    for name, tensor in parent.state.items():
        if name not in parent.key_map:
            held = [other for other in sorted(tied.get(name, ())) if other in parent.key_map]
            found[name] = found[held[0]] if held else tensor
    return {name: found[name] for name in parent.state}


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
