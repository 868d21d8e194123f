"""How a file's tensors fill a given module: whatever prefix they have, and what else the file holds."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from torch import Tensor, nn

from ...core.errors import UnsupportedModelError
from .foreign import averaged, is_averaged, is_foreign, listed, offered
from .parts import twins
from .plain_names import plain_names

_SUPERFLUOUS = frozenset({  # buffers that some versions of a library keep in files, and compute otherwise
    "num_batches_tracked", "position_ids", "inv_freq", "masked_bias", "total_ops", "total_params",
})


@dataclass(frozen=True)
class Fit:
    """key_map: the module's name of a tensor -> its name in the file. beside: names in the file of what the module has
    not. copies: name in the file of an averaged copy -> of what it is a copy. notes: what is worth saying of them."""

    key_map: Mapping[str, str]
    beside: tuple[str, ...] = ()
    copies: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def ties(state: Mapping[str, Tensor]) -> dict[str, frozenset[str]]:
    """Name -> all names of the same tensor, for those that have several. state: a module's, not on 'meta'."""
    groups: dict[tuple[object, ...], list[str]] = {}
    for name, tensor in state.items():
        if tensor.numel() and tensor.device.type != "meta":
            key = (tensor.data_ptr(), tuple(tensor.shape), tensor.stride(), tensor.dtype)
            groups.setdefault(key, []).append(name)
    return {name: frozenset(group) for group in groups.values() if len(group) > 1 for name in group}


def missing(module: nn.Module, given: Mapping[str, object]) -> Iterator[str]:
    """Names of the module's tensors that must be given and are not. BatchNorm's counters need not be, which inference
    never reads; nor a tensor whose other name is given; nor integers that the module itself computes, such as
    positions."""
    state = module.state_dict()
    tied = ties(state)
    parameters = {name for name, _ in module.named_parameters(remove_duplicate=False)}
    for name, tensor in state.items():
        computed = name not in parameters and not tensor.is_floating_point() and not tensor.is_complex()
        if name not in given and not computed and not any(other in given for other in tied.get(name, ())):
            yield name


def fit(spec: str, module: nn.Module, state: Mapping[str, Tensor]) -> Fit:
    """How a file's tensors fill `module`: under their own names, or all behind one prefix ('module.', 'model.', any),
    or without what wrappers put into names; where neither is so, each by the one name that ends like its own.

    Other tensors are left beside if they lie outside the prefix, or their names say that they are of a loss, a metric
    or a counter. Raises UnsupportedModelError: tensors that the module needs are missing or of another shape, several
    prefixes fit, or the file has a tensor that might be the network's and that the module lacks.
    """
    wanted = module.state_dict()
    found: dict[str, dict[str, str]] = {}
    for prefix, names in _candidates(wanted, state):
        if names not in found.values() and prefix not in found and not any(missing(module, names)):
            found[prefix] = names
            if not prefix:
                break
    if not found and (single := _by_endings(wanted, state)) and not any(missing(module, single)):
        found = {"": single}
    original = {p: n for p, n in found.items() if not is_averaged(p)} or found
    right = {p: n for p, n in original.items() if _wrong_shape(wanted, state, n) is None} or original
    if not right:
        best = max((names for _, names in _candidates(wanted, state)), key=len, default={})
        lost = next(missing(module, best))
        raise UnsupportedModelError(f"--arch {spec}: the file has no tensor {lost!r}, which the module needs")
    if len(right) > 1:
        shown = ", ".join(prefix.rstrip(".") for prefix in right)
        raise UnsupportedModelError(
            f"--arch {spec}: the file holds several such networks ({shown}); choose one, such as --weights "
            f"{next(reversed(right)).rstrip('.')}"
        )
    ((prefix, names),) = right.items()
    wrong = _wrong_shape(wanted, state, names)
    if wrong is not None:
        raise UnsupportedModelError(
            f"--arch {spec}: {names[wrong]!r} is {tuple(state[names[wrong]].shape)} in the file and "
            f"{tuple(wanted[wrong].shape)} in the module"
        )
    return _with_rest(spec, prefix, names, state)


def likely_names(wanted: Mapping[str, object], state: Mapping[str, Tensor]) -> dict[str, str]:
    """The module's names -> the file's, of the prefix that fits most; shapes are not looked at."""
    return max((names for _, names in _candidates(wanted, state)), key=len, default={})


def _candidates(wanted: Mapping[str, object], state: Mapping[str, Tensor]) -> Iterator[tuple[str, dict[str, str]]]:
    """Prefixes that some of the file's names have before the module's, and the names in the file that this gives."""
    yield "", {name: name for name in wanted if name in state}
    plain, ours = plain_names(state), plain_names(wanted)
    spellings = [(dict(zip(state, state, strict=True)), dict(zip(wanted, wanted, strict=True)))]
    if plain is not None and ours is not None:
        spellings.append(({short: name for name, short in plain.items()}, ours))
    shared = _shared_prefix(list(wanted))
    for file_names, short_names in spellings:
        for cut in ("", shared) if shared else ("",):
            short = {name: s.removeprefix(cut) for name, s in short_names.items()}
            ends = [own[: len(own) - len(end)] for end in _anchors(short) for own in file_names if own.endswith(end)]
            for prefix in sorted((p for p in dict.fromkeys(ends) if not p or p.endswith(".")), key=len):
                names = {n: file_names[f"{prefix}{s}"] for n, s in short.items() if f"{prefix}{s}" in file_names}
                yield prefix, names


def _anchors(short: Mapping[str, str]) -> list[str]:
    """A few of the module's names, spread over it: a prefix is looked for at these."""
    names = list(short.values())
    return [names[i] for i in sorted({0, len(names) // 2, len(names) - 1})] if names else []


def _shared_prefix(names: list[str]) -> str:
    """The module that holds all tensors, with a dot; '' where there is none."""
    first = names[0].partition(".")[0] if names else ""
    return f"{first}." if first and all(name.startswith(f"{first}.") for name in names) else ""


def _by_endings(wanted: Mapping[str, Tensor], state: Mapping[str, Tensor]) -> dict[str, str]:
    """Each of the module's names -> the one name in the file that ends like it and has its shape; empty if any has
    several, or two have the same."""
    plain, ours = (plain_names(names) or dict(zip(names, names, strict=True)) for names in (state, wanted))
    found = {}
    for name, tensor in wanted.items():
        ends = [
            own for own, short in plain.items()
            if f".{short}".endswith(f".{ours[name]}") and not averaged(own) and state[own].shape == tensor.shape
        ]
        if len(ends) > 1:
            return {}
        if ends:
            found[name] = ends[0]
    return found if len(set(found.values())) == len(found) else {}


def _wrong_shape(wanted: Mapping[str, Tensor], state: Mapping[str, Tensor], names: Mapping[str, str]) -> str | None:
    return next((name for name, own in names.items() if wanted[name].shape != state[own].shape), None)


def _with_rest(spec: str, prefix: str, names: Mapping[str, str], state: Mapping[str, Tensor]) -> Fit:
    """The fit with what else is in the file; refuses what might be the network's own."""
    used = set(names.values())
    rest = [own for own in state if own not in used]
    places = {} if is_averaged(prefix) else {own: place for own in rest if (place := averaged(own)) is not None}
    copies = twins(places, used)
    others = [own for own in rest if own not in copies]
    for own in others:
        outside = own in places or (bool(prefix) and not own.startswith(prefix))
        if not outside and own.rpartition(".")[2] not in _SUPERFLUOUS and not is_foreign(own, state[own]):
            raise UnsupportedModelError(f"--arch {spec}: the file has a tensor {own!r} that the module lacks")
    said = [own for own in others if own not in places and own.rpartition(".")[2] not in _SUPERFLUOUS]
    return Fit(names, tuple(others), copies, _notes(said, list(places.values())))


def _notes(said: list[str], places: list[str]) -> tuple[str, ...]:
    notes = []
    if said:
        notes.append(f"not the network's, and not fused: {listed(said)}")
    if places:
        notes.append(offered(places[0]))
    return tuple(notes)
