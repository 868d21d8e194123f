"""Read parents from files and write them."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..architectures import Config, ExportedConfig, Match, match, read_config
from ..architectures.resize import fits
from ..core.errors import ParentError, UnsafeFileError, UnsupportedModelError
from ..core.files import DEFAULT_LIMIT, check_file
from .check import check_parents
from .exportedfile import read_exported_file
from .parent import Metadata, Parent, make_parent
from .safetensorsfile import read_safetensors, write_state
from .torchfile import read_torch_file

__all__ = ["load_parent", "load_parents", "save_parent"]

_HEADER = "neuron_fusion_lab"
_HEADER_LIMIT = 2**23  # an exported program and its constants are in there
_SIDECAR = "parents.json"
_SIDECAR_LIMIT = 2**20


def load_parents(
    paths: Iterable[str | os.PathLike[str]],
    arch: str = "auto",
    *,
    input_shape: tuple[int, ...] | None = None,
    limit: int = DEFAULT_LIMIT,
) -> list[Parent]:
    """Read 2 to 8 parents that belong together; names are made unique. See `load_parent` and `check_parents`."""
    parents: list[Parent] = []
    for path in paths:
        parent = load_parent(path, arch, input_shape=input_shape, limit=limit)
        taken = {other.name for other in parents}
        name, number = parent.name, 2
        while name in taken:
            name, number = f"{parent.name} ({number})", number + 1
        parents.append(replace(parent, name=name))
    check_parents(parents)
    return parents


def load_parent(
    path: str | os.PathLike[str],
    arch: str = "auto",
    *,
    input_shape: tuple[int, ...] | None = None,
    limit: int = DEFAULT_LIMIT,
) -> Parent:
    """Read one parent from .safetensors, .pt, .pth (state dict, checkpoint or module) or .pt2 (exported program).

    No code of the file is run. arch: 'auto', a built-in name, or 'package.module:callable' (imports the user's code);
    an exported program brings its own, and any other than 'auto' takes only its weights. input_shape: shape of one
    sample, needed for the latter. Class counts come from the file's header or from a parents.json beside it, which may
    also say what weights do not tell ("architecture": {"heads": 12}); what is assumed otherwise, the notes say. Half
    and double precision become float32, which the metadata's notes say. limit: largest size in bytes, also unpacked.
    Raises ParentError, UnsafeFileError or UnsupportedModelError with one line that names the file.
    """
    path = check_file(path, limit, ParentError)
    header: dict[str, str] = {}
    program: dict[str, Any] | None = None
    if path.suffix == ".safetensors":
        tensors, header = read_safetensors(path)
    elif path.suffix in (".pt", ".pth"):
        tensors = read_torch_file(path, limit)
    elif path.suffix == ".pt2":
        tensors, program = read_exported_file(path, limit, program=arch == "auto")
    else:
        raise ParentError(f"{path.name}: parents are .safetensors, .pt, .pth or .pt2 files")
    tensors, notes = _as_float32(tensors, path.name)
    described = _header(header, path.name)
    if program is not None:
        described["architecture"] = {"name": ExportedConfig.name, **program}
    try:
        hint = read_config(described["architecture"]) if "architecture" in described else None
        if isinstance(hint, ExportedConfig) and arch == "auto":
            found = Match(hint, {name: name for name in tensors})
        else:
            found = match(tensors, arch, input_shape or _shape_hint(hint))
    except (UnsupportedModelError, UnsafeFileError) as problem:
        raise type(problem)(f"{path.name}: {problem}") from problem
    # Shapes do not tell an activation; a file of this program's own does.
    config = hint if hint is not None and hint.name == found.config.name else found.config
    beside = _beside(path)
    told = beside.pop("architecture", None)
    state = {name: tensors[key] for name, key in found.key_map.items()}
    if told:
        config = _told(config, told, state, path.name)
    elif config is found.config:
        notes += found.notes
    metadata = Metadata.read({**described, **beside}, config.classes, path.name)
    metadata = replace(metadata, notes=(*metadata.notes, *notes))
    return make_parent(path.stem, config, state, metadata, found.key_map)


def save_parent(path: str | os.PathLike[str], parent: Parent) -> None:
    """Write a parent as safetensors, under its file's own tensor names, with all its metadata in the header."""
    values = {
        "architecture": {"name": parent.architecture.name, **parent.architecture.as_json()},
        **parent.metadata.as_json(),
    }
    if ":" in parent.architecture.name:
        del values["architecture"]  # a user's own module is named by the user at every reading
    state = {parent.key_map.get(name, name): tensor for name, tensor in parent.state.items()}
    write_state(path, state, {_HEADER: json.dumps(values)})


def _as_float32(tensors: Mapping[str, Tensor], name: str) -> tuple[dict[str, Tensor], list[str]]:
    """Floating-point tensors as float32, all finite; and a note if that changed anything."""
    converted, changed = {}, set()
    for key, tensor in tensors.items():
        if tensor.is_complex():
            raise ParentError(f"{name}: tensor {key!r} holds complex numbers; use float32")
        if tensor.is_floating_point():
            if tensor.dtype != torch.float32:
                changed.add(str(tensor.dtype).removeprefix("torch."))
            tensor = tensor.to(torch.float32)
            if not torch.isfinite(tensor).all():
                raise ParentError(f"{name}: tensor {key!r} holds NaN or infinite values; the training diverged")
        converted[key] = tensor
    return converted, [f"converted from {kind} to float32" for kind in sorted(changed)]


def _shape_hint(config: Config | None) -> tuple[int, ...] | None:
    return config.input_shape if config is not None else None


def _header(header: Mapping[str, str], name: str) -> dict[str, Any]:
    """This program's part of a safetensors header."""
    if len(header.get(_HEADER, "")) > _HEADER_LIMIT:
        raise UnsafeFileError(f"{name}: the metadata is larger than {_HEADER_LIMIT:,} characters")
    return _mapping(header[_HEADER], name) if _HEADER in header else {}


def _beside(path: Path) -> dict[str, Any]:
    """What a parents.json beside the file says about it: the entry with its name, or with its name's stem."""
    sidecar = path.with_name(_SIDECAR)
    if not sidecar.is_file():
        return {}
    check_file(sidecar, _SIDECAR_LIMIT, ParentError)
    entries = _mapping(sidecar.read_text(encoding="utf-8", errors="replace"), _SIDECAR).get("parents", [])
    valid = isinstance(entries, list) and all(isinstance(e, dict) and isinstance(e.get("file"), str) for e in entries)
    if not valid:
        raise ParentError(f"{_SIDECAR}: 'parents' must be a list of mappings, each with a key 'file'")
    exact = [entry for entry in entries if entry["file"] == path.name]
    alike = [entry for entry in entries if Path(entry["file"]).stem == path.stem]
    if not exact and not alike:
        return {}
    entry = (exact or alike)[0]
    return {key: entry[key] for key in ("class_counts", "architecture") if entry.get(key) is not None}


def _told(config: Config, values: Any, state: Mapping[str, Tensor], name: str) -> Config:
    """`config` with what a parents.json says of the network and shapes do not: heads, groups, the order of norms."""
    shapes = {key: tuple(tensor.shape) for key, tensor in state.items()}
    try:
        told: Config = read_config({"name": config.name, **config.as_json(), **values})
        if not fits(told, shapes) or values.keys() - config.as_json().keys():
            raise ValueError
    except (TypeError, ValueError, RuntimeError, AssertionError, UnsupportedModelError):
        known = ", ".join(config.as_json())
        raise ParentError(
            f"{name}: what {_SIDECAR} says of the architecture does not fit these weights; a {config.name} has {known}"
        ) from None
    return told


def _mapping(text: str, name: str) -> dict[str, Any]:
    try:
        values = json.loads(text)
    except (ValueError, RecursionError) as problem:
        raise ParentError(f"{name}: the metadata is not valid JSON") from problem
    if not isinstance(values, dict):
        raise ParentError(f"{name}: the metadata is not a mapping")
    return values
