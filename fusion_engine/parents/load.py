"""Read parents from files and write them."""

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from torch import Tensor

from ..architectures import (
    Config,
    CustomConfig,
    LibraryConfig,
    Match,
    configured,
    fits,
    get,
    is_custom,
    library_of,
    match,
    split_spec,
)  # fmt: skip
from ..core.errors import FusionError, ParentError, UnsafeFileError, UnsupportedModelError
from ..core.files import DEFAULT_LIMIT, check_file
from .check import check_parents
from .choose import choose
from .files import NamedModule, WeightSet, hub_config, outline, read_content, title, write_state
from .header import header, read_mapping, stated_architecture, stated_match
from .named import as_named
from .parent import Metadata, Parent, file_tensors, make_parent
from .precision import as_float32, refuse_quantised

_SIDECAR = "parents.json"
_SIDECAR_LIMIT = 2**20
_NETWORK = {"model_type", "architecture"}  # of which every config.json of a network has one


def load_parents(
    paths: Iterable[str | os.PathLike[str]], arch: str = "auto", *, input_shape: tuple[int, ...] | None = None,
    tokens: Sequence[str] = (), limit: int = DEFAULT_LIMIT, weights: str | None = None,
) -> list[Parent]:
    """Read 2 to 8 parents that belong together; names are made unique. See `load_parent` and `check_parents`."""
    parents: list[Parent] = []
    for path in paths:
        parent = load_parent(path, arch, input_shape=input_shape, tokens=tokens, limit=limit, weights=weights)
        taken = {other.name for other in parents}
        name, number = parent.name, 2
        while name in taken:
            name, number = f"{parent.name} ({number})", number + 1
        parents.append(replace(parent, name=name))
    check_parents(parents)
    return parents


def load_parent(
    path: str | os.PathLike[str], arch: str = "auto", *, input_shape: tuple[int, ...] | None = None,
    tokens: Sequence[str] = (), limit: int = DEFAULT_LIMIT, weights: str | None = None,
) -> Parent:
    """Read one parent from a file or folder, whatever it is called: safetensors, a file of torch.save (state dict,
    checkpoint around one, or module), an exported program, an index of shards, a Hugging Face folder, or a zip of it.

    No code of the file is run. arch: 'auto' (what the file says of itself, else what its tensors are recognised as), a
    built-in name, with settings that weights do not tell ('vit:heads=4') or without, a name out of a library's registry
    ('torchvision:resnet50', 'timm:NAME', or 'hf': the config.json beside the file), or 'package.module:callable'
    (imports the user's code); an exported program brings its own, and any other than 'auto' takes only its weights.
    input_shape: shape of one sample, needed for a callable; tokens: the names of token inputs (`Dataset.tokens`). Class
    counts come from the file's header or from a parents.json beside it, which may also say what weights do not tell
    ("architecture": {"heads": 12}); what is assumed otherwise, the metadata says, and its notes that half or double
    precision became float32. limit: largest size in bytes, also unpacked. weights: which of several sets of weights:
    'ema' for averaged ones, or the key or the prefix of names under which they are. Raises ParentError, UnsafeFileError
    or UnsupportedModelError with one line that names the file.
    """
    path = Path(path)
    try:
        return _load(path, arch, input_shape, tokens, limit, weights)
    except FusionError as problem:
        line = str(problem)
        if line.startswith((f"{path.name}: ", f"{_SIDECAR}: ")):
            raise
        raise type(problem)(f"{path.name}: {line}") from problem


def _load(
    path: Path, arch: str, input_shape: tuple[int, ...] | None, tokens: Sequence[str], limit: int, weights: str | None
) -> Parent:
    content = read_content(path, limit, program=arch == "auto")
    described = content.said.get("config") or (_config_beside(path, arch) if path.is_file() else None)
    described = described if isinstance(described, Mapping) else None
    named = is_custom(arch) or library_of(arch) is not None
    fits = partial(_fills, arch, input_shape, tokens, described) if named else None
    chosen, notes = choose(content.sets, weights, fits)
    if weights is not None:  # the names that a file may state are of what is read without a choice
        content = replace(content, said={key: value for key, value in content.said.items() if key != "names"})
    shapes = outline(chosen.records)
    try:
        found = _network(shapes, arch, input_shape, tokens, {**content.said, "config": described}, chosen.modules)
    except UnsupportedModelError as problem:
        refuse_quantised(shapes)
        kind = (described or {}).get("model_type")
        if arch == "auto" and isinstance(kind, str):
            raise UnsupportedModelError(f"{problem} (config.json says {kind!r:.40})") from problem
        raise
    tensors = content.read({own: chosen.records[own] for own in [*found.key_map.values(), *found.beside]})
    floats, changes = as_float32({own: tensors[own] for own in found.key_map.values()}, shapes)
    state = {name: floats[own] for name, own in found.key_map.items()}
    beside = _beside(path)
    config, told = found.config, beside.pop("architecture", None)
    if told:
        config = _told(config, told, state)
    metadata = Metadata.read({**content.said, "assumed": found.assumed, **beside}, config.classes)
    assumed = {field: line for field, line in metadata.assumed.items() if field not in (told or {})}
    lines = dict.fromkeys([*metadata.reading, *content.notes, *notes, *found.notes, *changes])
    metadata = replace(metadata, reading=tuple(lines), assumed=assumed)
    parent = make_parent(title(path.name), config, state, metadata, found.key_map)
    dtypes = {name: tensors[own].dtype for name, own in found.key_map.items()}
    canonical = {own: name for name, own in found.key_map.items()}
    copies = {own: (canonical[of], shapes[own].dtype) for own, of in found.copies.items() if of in canonical}
    return replace(
        parent, beside={own: tensors[own] for own in found.beside}, copies=copies,
        dtypes={n: dtype for n, dtype in dtypes.items() if dtype != parent.state[n].dtype and dtype.itemsize > 1},
    )


def _fills(
    arch: str, input_shape: tuple[int, ...] | None, tokens: Sequence[str], described: Mapping[str, Any] | None,
    each: WeightSet,
) -> bool:
    try:
        match(outline(each.records), arch, input_shape, tokens, described)
    except (ParentError, UnsupportedModelError):
        return False
    return True


def save_parent(path: str | os.PathLike[str], parent: Parent) -> None:
    """Write a parent as safetensors, under its file's own tensor names, with all its metadata in the header."""
    write_state(path, file_tensors(parent, parent.state), header(parent.architecture, parent, parent.metadata))


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
                stated = stated_match(config, said.get("names"), tensors, said.get("beside") or (), said.get("copies"))
        except (UnsupportedModelError, UnsafeFileError):
            if name == "auto":
                raise
        if stated is None and name == "auto":
            raise UnsupportedModelError(
                f"the file says that its network is a {config.name}, and its tensors do not fit what it says; name the "
                "architecture with --arch"
            )
    found = stated or _matched(tensors, name, input_shape, tokens, said.get("config"))
    if stated is not None:
        found = replace(found, assumed=said.get("assumed") or {})
    elif not isinstance(found.config, CustomConfig | LibraryConfig):
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
    return replace(found, config=changed, assumed=assumed)


def _config_beside(path: Path, arch: str) -> dict[str, Any] | None:
    """The Hugging Face config.json in the folder of a file, where it may be of use."""
    if arch != "auto" and library_of(arch) != "hf":
        return None
    try:
        return hub_config(path.parent).get("config")
    except ParentError:
        if arch == "auto":  # whatever it is of
            return None
        raise


def _matched(
    tensors: Mapping[str, Tensor], arch: str, input_shape: tuple[int, ...] | None, tokens: Sequence[str],
    described: Mapping[str, Any] | None,
) -> Match:
    """What the tensors are recognised as, or what `arch` names. A Hugging Face config beside them says more than they
    do, and comes first where its library is there."""
    if arch != "auto" or not isinstance(described, Mapping) or not _NETWORK & described.keys():
        return match(tensors, arch, input_shape, tokens, described)
    try:
        return match(tensors, "hf", input_shape, tokens, described)
    except (ParentError, UnsupportedModelError) as problem:
        try:
            return match(tensors, arch, input_shape, tokens)
        except UnsupportedModelError:
            raise problem from None


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
    alike = [e for e in entries if Path(e["file"]).stem == path.stem or title(e["file"]) == title(path.name)]
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
