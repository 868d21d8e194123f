"""What a weights file says of its own network: the architecture, its tensors' canonical names, the training."""

import json
import math
from collections.abc import Iterator, Mapping
from typing import Any, Final

from torch import Tensor

from ..architectures import (
    LIBRARIES,
    Config,
    CustomConfig,
    LibraryConfig,
    Match,
    fits,
    match,
    network_shapes,
    read_config,
)
from ..core.errors import ParentError, UnsafeFileError, UnsupportedModelError
from ..exported import ExportedConfig
from .parent import Metadata, Parent

_KEY: Final = "neuron_fusion_lab"
_LIMIT: Final = 2**23  # an exported program and its constants are in there
_LARGEST: Final = 2**31
_LONGEST: Final = 100
_DEEPEST: Final = 4
_MOST_LACKING: Final = 2**20


def header(architecture: Config, parent: Parent, metadata: Metadata | None = None) -> dict[str, str]:
    """Text metadata for a file of weights of this architecture, whose tensors are named as in the parent's file. A
    user's own architecture is not in it: its module is named by the user at every reading."""
    values = (metadata or Metadata()).as_json()
    if not isinstance(architecture, CustomConfig):
        values["architecture"] = {"name": architecture.name, **architecture.as_json()}
        values["names"] = {name: own for name, own in parent.key_map.items() if name != own}
        values["beside"] = list(parent.beside)
        values["copies"] = {own: parent.key_map[name] for own, (name, _) in parent.copies.items()}
    return {_KEY: json.dumps(values)}


def read_header(metadata: Mapping[str, str]) -> dict[str, Any]:
    """This program's part of a safetensors header; empty where there is none. ParentError or UnsafeFileError without
    the file's name."""
    if len(metadata.get(_KEY, "")) > _LIMIT:
        raise UnsafeFileError(f"the metadata is larger than {_LIMIT:,} characters")
    return read_mapping(metadata[_KEY]) if _KEY in metadata else {}


def read_mapping(text: str) -> dict[str, Any]:
    """JSON text that is a mapping; ParentError for any other."""
    try:
        values = json.loads(text)
    except (ValueError, RecursionError) as problem:
        raise ParentError("the metadata is not valid JSON") from problem
    if not isinstance(values, dict):
        raise ParentError("the metadata is not a mapping")
    return values


def stated_architecture(values: Any, tensors: int) -> Config:
    """The config that {"name", **as_json()} describes, for a file with that many tensors.

    A built-in architecture that describes more layers than there are tensors, or sizes beyond any network, is refused
    before it is built. UnsupportedModelError or UnsafeFileError, without the file's name.
    """
    name = values.get("name") if isinstance(values, Mapping) else None
    if name not in (ExportedConfig.name, *LIBRARIES):  # which look at theirs themselves
        for count, leaf in enumerate(_leaves(values)):
            small = len(leaf) <= _LONGEST if isinstance(leaf, str) else leaf is not None and abs(leaf) <= _LARGEST
            if not small or count > 2 * tensors + 100:
                raise UnsupportedModelError("the file's own description of its architecture is not valid")
    return read_config(values)


def _leaves(values: Any, depth: int = 0) -> Iterator[Any]:
    """All that is in mappings and lists, in turn; None for what is nested deeper than any config."""
    if not isinstance(values, Mapping | list):
        yield values
    elif depth < _DEEPEST:
        for part in values.values() if isinstance(values, Mapping) else values:
            yield from _leaves(part, depth + 1)
    else:
        yield None


def _is_larger(shapes: Mapping[str, tuple[int, ...]], tensors: Mapping[str, Tensor]) -> bool:
    """Whether a network needs much more memory than its file holds: tied tensors are there once, and no others lack."""
    held = sum(tensor.numel() for tensor in tensors.values())
    return sum(map(math.prod, shapes.values())) > 2 * held + _MOST_LACKING


def stated_match(
    config: Config, names: Any, tensors: Mapping[str, Tensor], beside: Any = (), copies: Any = None
) -> Match | None:
    """How a file's tensors fill the network that the file says it is; None if they do not fit it. names: canonical name
    -> name in the file, of those that differ; None for files that do not say, whose names are recognised. beside: names
    in the file of what it says is not the network's. copies: name in the file -> of what it is a copy there."""
    copies = copies or {}
    are_names = isinstance(beside, list | tuple) and isinstance(copies, Mapping)
    if not are_names or not all(isinstance(name, str) for name in [*beside, *copies, *copies.values()]):
        return None
    kept = tuple(name for name in beside if name in tensors)
    copied = {name: own for name, own in copies.items() if name in tensors and own in tensors}
    tensors = {name: tensor for name, tensor in tensors.items() if name not in kept and name not in copied}
    if isinstance(config, ExportedConfig):
        return Match(config, {name: name for name in tensors}, beside=kept, copies=copied)
    if names is None:
        try:
            found = match(tensors, config.name, config.input_shape)
            key_map, kept, copied = dict(found.key_map), (*kept, *found.beside), {**copied, **found.copies}
            tensors = {name: t for name, t in tensors.items() if name not in kept and name not in copied}
        except UnsupportedModelError:
            return None
    elif isinstance(names, Mapping) and all(isinstance(name, str) for name in names.values()):
        canonical = network_shapes(config)
        if isinstance(config, LibraryConfig) and _is_larger(canonical, tensors):
            return None
        key_map = {name: names.get(name, name) for name in canonical if names.get(name, name) in tensors}
        if not names.keys() <= canonical.keys():
            return None
    else:
        return None
    shapes = {name: tuple(tensors[own].shape) for name, own in key_map.items()}
    whole = sorted(key_map.values()) == sorted(tensors)
    return Match(config, key_map, beside=kept, copies=copied) if whole and fits(config, shapes) else None
