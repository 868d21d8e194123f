"""Sets of weights in what a torch file holds: a module, a state dict, or a checkpoint of any shape around them."""

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from ...core.errors import UnsafeFileError
from ...exported.tensors import OddTensor, TensorRecord
from .content import NamedModule, Record, WeightSet
from .inert import StandIn

_TABLES: Final = ("_parameters", "_buffers", "_modules")
# Keys of checkpoints under which there are tensors, and no weights.
_TRAINER: Final = re.compile(
    r"(?:^|_)(?:optim\w*|\w*schedulers?|scaler|grad_scaler|rng|rng_states?|random_state|amp|callbacks?|loops|fp16_state)"
    r"(?:_|$)"
)
_SETTINGS: Final = frozenset({
    "hyper_parameters", "hparams", "datamodule_hyper_parameters", "args", "config", "cfg", "opt", "options", "settings",
})
_MOMENTS: Final = frozenset({"exp_avg", "exp_avg_sq", "momentum_buffer", "square_avg", "param_groups"})
_LEAVES: Final = ("weight", "bias", "kernel", "running_mean", "running_var", "weight_g", "weight_v", "gamma", "beta")
_MAX_DEPTH = 100
_MAX_NESTED = 6
_MAX_LISTED = 64
_MAX_TENSORS = 100_000
_MAX_WORD = 100
_MAX_SIZES = 10


def weight_sets(value: Any) -> tuple[list[WeightSet], list[WeightSet]]:
    """The sets of weights in a pickled object, and the other sets of tensors in it. Where none has tensors with the
    names of weights, all may be; modules among a run's settings are as they were before training, and count only where
    there are no others. UnsafeFileError for modules nested without end."""
    found = list(_walk(value, (), set()))
    named = [each for each in found if each.modules or any(map(_is_weight, each.records))] or found
    trained = [each for each in named if not any(part.lower() in _SETTINGS for part in each.path.split("."))] or named
    return trained, [each for each in found if not any(each is other for other in trained)]


def is_nested(sets: list[WeightSet]) -> bool:
    """Whether these are parts of one state dict that is kept as a dictionary of dictionaries, by module."""
    return len(sets) > 1 and all(each.path and not any("." in name for name in each.records) for each in sets)


def joined(sets: list[WeightSet]) -> WeightSet:
    """Sets under one key as one, their names with what tells their paths apart in front."""
    split = [each.path.split(".") for each in sets]
    shared = 0
    while all(len(path) > shared + 1 for path in split) and len({path[shared] for path in split}) == 1:
        shared += 1
    records = {
        ".".join([*path[shared:], name]): record
        for path, each in zip(split, sets, strict=True) for name, record in each.records.items()
    }
    return WeightSet(".".join(split[0][:shared]), records)


def _is_weight(name: str) -> bool:
    return name.rpartition(".")[2] in _LEAVES or name.endswith(("weight", "bias"))


def _walk(value: Any, path: tuple[str, ...], met: set[int]) -> Iterator[WeightSet]:
    if id(value) in met or len(path) > _MAX_NESTED:
        return
    met.add(id(value))
    if isinstance(value, StandIn) and _is_module(value):
        modules: list[NamedModule] = []
        records = dict(_walk_module(value, "", 0, modules))
        if records:
            yield WeightSet(".".join(path), records, tuple(modules))
        return
    items = _items(value)
    own: dict[str, Record] = {str(k): v for k, v in items if isinstance(v, TensorRecord | OddTensor)}
    if own and not own.keys() & _MOMENTS:
        yield WeightSet(".".join(path), own)
    for key, inner in items:
        if isinstance(inner, Mapping | StandIn | list | tuple) and not _TRAINER.search(str(key).lower()):
            yield from _walk(inner, (*path, str(key)), met)


def _items(value: Any) -> list[tuple[Any, Any]]:
    """Keys and values of what may hold weights: dictionaries, objects with attributes or items, short lists."""
    if isinstance(value, StandIn):
        state = value.state if isinstance(value.state, Mapping) else {}
        return [*value.items.items(), *((k, v) for k, v in state.items() if k not in value.items)]
    if isinstance(value, list | tuple):
        return list(enumerate(value[:_MAX_LISTED]))
    return list(value.items()) if isinstance(value, Mapping) else []


def _is_module(value: StandIn) -> bool:
    state = value.state
    return isinstance(state, Mapping) and all(isinstance(state.get(table), Mapping) for table in _TABLES)


def _walk_module(
    module: StandIn, prefix: str, depth: int, met: list[NamedModule]
) -> Iterator[tuple[str, Record]]:
    """What nn.Module.state_dict() would name, from the module's own tables."""
    if depth > _MAX_DEPTH or len(met) >= _MAX_TENSORS:
        raise UnsafeFileError("modules are nested without end")
    if not _is_module(module):
        return
    state = module.state
    parameters, buffers, modules = (state[table] for table in _TABLES)
    values = [value for table in (parameters, buffers, modules) for value in table.values()]
    is_leaf = not any(isinstance(value, TensorRecord | OddTensor | StandIn) for value in values)
    met.append(NamedModule(prefix[:-1], type(module).pickled_name, is_leaf, _settings(state)))
    passing = state.get("_non_persistent_buffers_set", ())
    for name, tensor in [*parameters.items(), *buffers.items()]:
        if isinstance(tensor, TensorRecord | OddTensor) and name not in passing:
            yield f"{prefix}{name}", tensor
    for name, child in modules.items():
        if isinstance(child, StandIn):
            yield from _walk_module(child, f"{prefix}{name}.", depth + 1, met)


def _settings(state: Mapping[str, Any]) -> dict[str, Any]:
    """A module's public attributes that are numbers, words, tuples of numbers, or functions or classes of torch."""
    settings = {}
    for key, value in state.items():
        if not isinstance(key, str) or key.startswith("_"):
            continue
        is_word = isinstance(value, str) and len(value) < _MAX_WORD
        is_shape = isinstance(value, tuple) and len(value) < _MAX_SIZES and all(isinstance(n, int) for n in value)
        if isinstance(value, bool | int | float) or is_word or is_shape:
            settings[key] = value
        elif isinstance(value, type) and issubclass(value, StandIn):
            settings[key] = value.pickled_name
    return settings
