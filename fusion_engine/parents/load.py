"""Read parents from files and write them."""

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..architectures import Config, CustomConfig, Match, configured, fits, get, is_custom, match, split_spec
from ..core.errors import FusionError, ParentError, UnsafeFileError, UnsupportedModelError
from ..core.files import DEFAULT_LIMIT, check_file
from ..exported import ExportedConfig, read_exported_file
from .check import check_parents
from .header import header, read_header, read_mapping, stated_architecture, stated_match
from .named import as_named
from .parent import Metadata, Parent, make_parent
from .safetensorsfile import read_safetensors, write_state
from .torchfile import NamedModule, read_torch_file

_SIDECAR = "parents.json"
_SIDECAR_LIMIT = 2**20


def load_parents(
    paths: Iterable[str | os.PathLike[str]], arch: str = "auto", *, input_shape: tuple[int, ...] | None = None,
    tokens: Sequence[str] = (), limit: int = DEFAULT_LIMIT,
) -> list[Parent]:
    """Read 2 to 8 parents that belong together; names are made unique. See `load_parent` and `check_parents`."""
    parents: list[Parent] = []
    for path in paths:
        parent = load_parent(path, arch, input_shape=input_shape, tokens=tokens, limit=limit)
        taken = {other.name for other in parents}
        name, number = parent.name, 2
        while name in taken:
            name, number = f"{parent.name} ({number})", number + 1
        parents.append(replace(parent, name=name))
    check_parents(parents)
    return parents


def load_parent(
    path: str | os.PathLike[str], arch: str = "auto", *, input_shape: tuple[int, ...] | None = None,
    tokens: Sequence[str] = (), limit: int = DEFAULT_LIMIT,
) -> Parent:
    """Read one parent from .safetensors, .pt, .pth (state dict, checkpoint or module) or .pt2 (exported program).

    No code of the file is run. arch: 'auto' (what the file says of itself, else what its tensors are recognised as), a
    built-in name, with settings that weights do not tell ('vit:heads=4') or without, or 'package.module:callable'
    (imports the user's code); an exported program brings its own, and any other than 'auto' takes only its weights.
    input_shape: shape of one sample, needed for a callable; tokens: the names of token inputs (`Dataset.tokens`). Class
    counts come from the file's header or from a parents.json beside it, which may also say what weights do not tell
    ("architecture": {"heads": 12}); what is assumed otherwise, the metadata says, and its notes that half or double
    precision became float32. limit: largest size in bytes, also unpacked. Raises ParentError, UnsafeFileError or
    UnsupportedModelError with one line that names the file.
    """
    path = check_file(path, limit, ParentError)
    try:
        return _load(path, arch, input_shape, tokens, limit)
    except FusionError as problem:
        line = str(problem)
        if line.startswith((f"{path.name}: ", f"{_SIDECAR}: ")):
            raise
        raise type(problem)(f"{path.name}: {line}") from problem


def _load(
    path: Path, arch: str, input_shape: tuple[int, ...] | None, tokens: Sequence[str], limit: int
) -> Parent:
    said: dict[str, Any] = {}
    modules: Sequence[NamedModule] = ()
    if path.suffix == ".safetensors":
        tensors, text = read_safetensors(path)
        said = read_header(text)
    elif path.suffix in (".pt", ".pth"):
        tensors, modules = read_torch_file(path, limit)
    elif path.suffix == ".pt2":
        tensors, program = read_exported_file(path, limit, program=arch == "auto")
        if program is not None:
            said["architecture"] = {"name": ExportedConfig.name, **program}
    else:
        raise ParentError("parents are .safetensors, .pt, .pth or .pt2 files")
    tensors, notes = _as_float32(tensors)
    found = _network(tensors, arch, input_shape, tokens, said, modules)
    state = {name: tensors[key] for name, key in found.key_map.items()}
    beside = _beside(path)
    config, told = found.config, beside.pop("architecture", None)
    if told:
        config = _told(config, told, state)
    metadata = Metadata.read({**said, "assumed": found.assumed, **beside}, config.classes)
    assumed = {field: line for field, line in metadata.assumed.items() if field not in (told or {})}
    metadata = replace(metadata, notes=(*metadata.notes, *notes), assumed=assumed)
    return make_parent(path.stem, config, state, metadata, found.key_map)


def save_parent(path: str | os.PathLike[str], parent: Parent) -> None:
    """Write a parent as safetensors, under its file's own tensor names, with all its metadata in the header."""
    state = {parent.key_map.get(name, name): tensor for name, tensor in parent.state.items()}
    key_map = {name: parent.key_map.get(name, name) for name in parent.state}
    write_state(path, state, header(parent.architecture, key_map, parent.metadata))


def _network(
    tensors: Mapping[str, Tensor], arch: str, input_shape: tuple[int, ...] | None, tokens: Sequence[str],
    said: Mapping[str, Any], modules: Sequence[NamedModule],
) -> Match:
    """The network of a file's tensors: what `arch` says, then what the file says, then what they are recognised as.
    said: the file's header. modules: those that a pickled network names."""
    name, settings = split_spec(arch)
    stated: Match | None = None
    if "architecture" in said and not is_custom(arch):
        try:
            config = stated_architecture(said["architecture"], len(tensors))
            if name in ("auto", config.name):
                stated = stated_match(config, said.get("names"), tensors)
        except (UnsupportedModelError, UnsafeFileError):
            if name == "auto":
                raise
        if stated is None and name == "auto":
            raise UnsupportedModelError(
                f"the file says that its network is a {config.name}, and its tensors do not fit what it says; name the "
                "architecture with --arch"
            )
    found = stated or match(tensors, name, input_shape, tokens)
    if stated is not None:
        found = replace(found, assumed=said.get("assumed") or {})
    elif not isinstance(found.config, CustomConfig):
        architecture = get(found.config.name)
        if name == "auto" or hasattr(found.config, "activation"):
            what = f"activation {architecture.activation}{architecture.also} assumed"
            line = f"{what}; the file does not say: give --arch {architecture.otherwise} if not"
            found = replace(found, assumed={"activation": line, **found.assumed})
        if modules and not settings:
            found = as_named(found, modules)
    if not settings:
        return found
    changed = configured(found.config, settings)
    if not fits(changed, {canonical: tuple(tensors[own].shape) for canonical, own in found.key_map.items()}):
        raise UnsupportedModelError(f"--arch {arch}: these settings do not fit the weights")
    assumed = {field: line for field, line in found.assumed.items() if field not in settings}
    return Match(changed, found.key_map, assumed)


def _as_float32(tensors: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], list[str]]:
    """Floating-point tensors as float32, all finite; and a note if that changed anything."""
    converted, changed = {}, set()
    for key, tensor in tensors.items():
        if tensor.is_complex():
            raise ParentError(f"tensor {key!r} holds complex numbers; use float32")
        if tensor.is_floating_point():
            if tensor.dtype != torch.float32:
                changed.add(str(tensor.dtype).removeprefix("torch."))
            tensor = tensor.to(torch.float32)
            if not torch.isfinite(tensor).all():
                raise ParentError(f"tensor {key!r} holds NaN or infinite values; the training diverged")
        converted[key] = tensor
    return converted, [f"converted from {kind} to float32" for kind in sorted(changed)]


def _beside(path: Path) -> dict[str, Any]:
    """What a parents.json beside the file says about it: the entry with its name, or with its name's stem."""
    sidecar = path.with_name(_SIDECAR)
    if not sidecar.is_file():
        return {}
    check_file(sidecar, _SIDECAR_LIMIT, ParentError)
    try:
        entries = read_mapping(sidecar.read_text(encoding="utf-8", errors="replace")).get("parents", [])
    except ParentError as problem:
        raise ParentError(f"{_SIDECAR}: {problem}") from problem
    valid = isinstance(entries, list) and all(isinstance(e, dict) and isinstance(e.get("file"), str) for e in entries)
    if not valid:
        raise ParentError(f"{_SIDECAR}: 'parents' must be a list of mappings, each with a key 'file'")
    exact = [entry for entry in entries if entry["file"] == path.name]
    alike = [entry for entry in entries if Path(entry["file"]).stem == path.stem]
    entry: dict[str, Any] = next(iter([*exact, *alike]), {})
    return {key: entry[key] for key in ("class_counts", "architecture") if entry.get(key) is not None}


def _told(config: Config, values: Any, state: Mapping[str, Tensor]) -> Config:
    """`config` with what a parents.json says of the network and shapes do not: heads, groups, the order of norms."""
    shapes = {key: tuple(tensor.shape) for key, tensor in state.items()}
    try:
        told = stated_architecture({"name": config.name, **config.as_json(), **values}, len(state))
        if not fits(told, shapes) or values.keys() - config.as_json().keys():
            raise ValueError
    except (TypeError, ValueError, UnsupportedModelError):
        known = ", ".join(config.as_json())
        raise ParentError(
            f"what {_SIDECAR} says of the architecture does not fit these weights; a {config.name} has {known}"
        ) from None
    return told
