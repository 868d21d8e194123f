"""Hugging Face networks, by the config.json beside their weights: transformers' own structure, names and ties."""

import contextlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor, nn

from ...core.errors import UnsafeFileError, UnsupportedModelError, first_line
from ...core.registry import nearest
from ..fitting import is_foreign, listed, ties
from ..registry import Match
from .building import sketched
from .config import LibraryConfig, canonical, check_plain
from .importing import library
from .registry import LIBRARIES, Library, Request, add_library
from .trying import tried_config

_CONFIG: Final = "config.json"
_CONFIG_LIMIT: Final = 2**20
_TYPE: Final = "model_type"
# What a config says beside the network's structure: where it comes from, names of labels, how it was trained.
_IDLE: Final = frozenset({
    "_name_or_path", "transformers_version", "torch_dtype", "dtype", "id2label", "label2id", "architectures",
    "auto_map", "finetuning_task", "problem_type", "task_specific_params", "torchscript", "use_cache",
    "gradient_checkpointing", "initializer_range", "initializer_factor", "use_bfloat16", "return_dict",
    "output_attentions", "output_hidden_states", "attn_implementation", "_attn_implementation",
    "use_pretrained_backbone",
})
_TOKENS: Final = 16


def _match(request: Request) -> Match:
    """The network that the config describes, and which of the file's tensors are which of its own, as transformers
    itself loads them."""
    values = _described(request)
    if _TYPE not in values and isinstance(values.get("architecture"), str):  # timm's files on the hub
        return LIBRARIES["timm"].match(_as_timm(request, values))
    model, settings = _read(request, values)
    shape = request.input_shape

    def make() -> nn.Module:
        return _make(model, settings)

    sketch = sketched("hf", make)
    assumed: dict[str, str] = {}
    tokens = request.tokens
    takes_tokens = getattr(sketch, "main_input_name", "pixel_values") == "input_ids"
    if takes_tokens and not tokens:
        tokens = ("input_ids",)
        longest = min(_TOKENS, int(settings.get("max_position_embeddings", _TOKENS)))
        shape = shape if shape is not None and len(shape) == 1 else (longest,)
    if shape is None:
        shape = _usual(_config(settings))
        shown = " x ".join(map(str, shape))
        assumed["input_shape"] = f"inputs of {shown} assumed, as config.json suggests"
    names, beside, notes = _names(model, settings, sketch, request.state)
    start = LibraryConfig("hf", model, canonical(settings), tuple(shape), 1, tuple(tokens))
    config, more = tried_config("hf", start, sketch, make)
    return Match(config, names, {**assumed, **more}, beside=beside, notes=notes)


def _build(config: LibraryConfig) -> nn.Module:
    return _make(config.model, config.values)


def _described(request: Request) -> Mapping[str, Any]:
    """The config: given as JSON or by its path in the spec, or beside the weights."""
    if request.model.startswith("{"):
        try:
            values = json.loads(request.model)
        except (ValueError, RecursionError) as problem:
            raise UnsupportedModelError("--arch hf: the config is not valid JSON") from problem
    elif request.model:
        values = _read_file(Path(request.model))
    elif request.described is not None:
        values = request.described
    else:
        raise UnsupportedModelError("--arch hf: there is no config.json beside the weights; give --arch hf:PATH")
    if not isinstance(values, Mapping):
        raise UnsupportedModelError("--arch hf: the config is no mapping")
    check_plain({key: value for key, value in values.items() if key not in _IDLE})
    return values


def _read_file(path: Path) -> Any:
    path = path / _CONFIG if path.is_dir() else path
    if not path.is_file():
        raise UnsupportedModelError(f"--arch hf: there is no {path.name} in the folder that was named")
    if path.stat().st_size > _CONFIG_LIMIT:
        raise UnsafeFileError(f"{path.name} is larger than {_CONFIG_LIMIT // 2**20} MiB")
    try:
        return json.loads(path.read_text(encoding="utf-8", errors="replace"))
    except (ValueError, RecursionError) as problem:
        raise UnsupportedModelError(f"{path.name} is not valid JSON") from problem


def _as_timm(request: Request, values: Mapping[str, Any]) -> Request:
    given = values.get("model_args") or {}
    if not isinstance(given, Mapping):
        raise UnsupportedModelError("--arch hf: config.json's model_args are no mapping")
    return replace(request, spec=f"timm:{values['architecture']}", model=str(values["architecture"]), settings=given)


def _read(request: Request, values: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """Name of the class, and the config in canonical form: what differs from transformers' own defaults."""
    package = library("transformers")
    kind, listed_classes = values.get(_TYPE), values.get("architectures") or []
    if values.get("quantization_config"):
        raise UnsupportedModelError("config.json says that the weights are quantised; save the float network")
    known = package.CONFIG_MAPPING
    if kind not in known:
        wrong = f"config.json names the model type {kind!r}, which transformers {package.__version__} lacks"
        raise UnsupportedModelError(f"{wrong}{nearest(str(kind), list(known))}")
    if not isinstance(listed_classes, list) or not listed_classes or not isinstance(listed_classes[0], str):
        raise UnsupportedModelError('config.json does not say which class it is of; add "architectures": ["..."]')
    try:
        with _quiet():
            config = known[kind].from_dict({k: v for k, v in values.items() if k not in _IDLE or k == "id2label"})
        told = json.loads(config.to_json_string(use_diff=True))
        labels = int(config.num_labels)
    except Exception as problem:
        raise UnsupportedModelError(f"config.json does not fit {kind}: {first_line(problem)}") from problem
    settings = {key: value for key, value in told.items() if key not in _IDLE and "drop" not in key}
    settings |= {_TYPE: kind, "num_labels": labels}
    return listed_classes[0], settings


def _config(settings: Mapping[str, Any]) -> Any:
    with _quiet():
        config = library("transformers").CONFIG_MAPPING[settings[_TYPE]].from_dict(dict(settings))
    config.use_cache, config.return_dict = False, True
    config._attn_implementation = "eager"
    return config


def _make(model: str, settings: Mapping[str, Any]) -> nn.Module:
    kind = _class(model)
    config = _config(settings)
    if kind.config_class is not type(config):
        raise UnsupportedModelError(f"config.json is of a {settings[_TYPE]}, and {model} is none")
    with _quiet():
        module: nn.Module = kind(config)
    return module


def _class(model: str) -> Any:
    package = library("transformers")
    found = getattr(package, model, None) if model.isidentifier() else None
    if not (isinstance(found, type) and issubclass(found, package.PreTrainedModel)):
        raise UnsupportedModelError(f"transformers {package.__version__} has no network {model[:80]!r}")
    return found


def _names(
    model: str, settings: Mapping[str, Any], sketch: nn.Module, state: Mapping[str, Tensor]
) -> tuple[dict[str, str], tuple[str, ...], tuple[str, ...]]:
    """The network's name of a tensor -> its name in the file; names in the file of what is not the network's; notes.

    transformers renames, prefixes and ties while it loads. It is given tensors that are full of their own number, and
    where these have gone is looked up.
    """
    numbered = list(state)
    marks = {name: torch.full(state[name].shape, float(number)) for number, name in enumerate(numbered, 1)}
    kind, config = _class(model), _config(settings)
    try:
        with _quiet():
            module, told = kind.from_pretrained(
                None, config=config, state_dict=marks, output_loading_info=True, ignore_mismatched_sizes=True,
                dtype=torch.float32,
            )
    except Exception as problem:
        raise UnsupportedModelError(f"--arch hf: {first_line(problem)}") from problem
    wrong = next(iter(sorted(told.get("mismatched_keys", ()), key=str)), None)
    if wrong is not None:
        name, *sizes = wrong if isinstance(wrong, tuple | list) else (wrong,)
        shown = f": {tuple(sizes[0])} in the file and {tuple(sizes[1])} there" if len(sizes) == 2 else ""
        raise UnsupportedModelError(f"--arch hf: {name!r} has another shape than config.json says{shown}")
    filled = module.state_dict()
    missing = set(told.get("missing_keys", ()))
    same = ties(filled)
    found: dict[str, str] = {}
    used: set[str] = set()
    lost = []
    for name in sorted(filled, key=lambda name: name not in state):
        number = _mark(filled[name], len(numbered)) if name not in missing else None
        own = name if name in state else None if number is None else numbered[number - 1]
        if own is not None and own not in used and state[own].shape == filled[name].shape:
            found[name] = own
            used.add(own)
        elif not any(other in found for other in same.get(name, ())):
            lost.append(name)
    lost = [name for name in lost if not any(other in found for other in same.get(name, ()))]
    parameters = {name for name, _ in module.named_parameters(remove_duplicate=False)}
    lost = [name for name in lost if name in parameters or filled[name].is_floating_point()]
    if lost:
        merged = next((n for n in lost if n not in missing), None)
        why = "transformers makes it of several tensors of the file" if merged else "which the network needs"
        raise UnsupportedModelError(f"--arch hf: the file has no tensor {merged or lost[0]!r}, {why}")
    rest = [own for own in state if own not in used]
    strange = [own for own in rest if own in set(told.get("unexpected_keys", ())) and not is_foreign(own, state[own])]
    if strange:
        raise UnsupportedModelError(f"--arch hf: the file has a tensor {strange[0]!r} that a {model} lacks")
    notes = (f"not the network's, and left as they are: {listed(rest)}",) if rest else ()
    return {name: found[name] for name in filled if name in found}, tuple(rest), notes


def _mark(tensor: Tensor, most: int) -> int | None:
    """The number that a tensor is full of; None if it is not one of the marks."""
    if not tensor.numel():
        return None
    value = float(tensor.reshape(-1)[0])
    whole = value == int(value) and 1 <= value <= most and bool((tensor == value).all())
    return int(value) if whole else None


def _usual(config: Any) -> tuple[int, ...]:
    """Shape of the images that a config speaks of."""
    size = getattr(config, "image_size", None) or 224
    height, width = size if isinstance(size, list | tuple) else (size, size)
    return (int(getattr(config, "num_channels", 3)), int(height), int(width))


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """transformers prints and warns while it builds and loads; here its report is read instead."""
    logging = library("transformers").utils.logging
    level = logging.get_verbosity()
    logging.set_verbosity(logging.CRITICAL)
    bars = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()


add_library(Library("hf", "transformers", _match, _build, lambda: sorted(library("transformers").CONFIG_MAPPING)))
