"""What the files of parents do not say of their network, settled by how well labelled samples are predicted."""

import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor, nn

from ..architectures import Config, build, fits, get, names
from ..core.errors import DataError, ParentError
from ..core.seeds import numpy_generator
from ..core.types import Array
from ..data import Dataset, canonical_order, check_samples
from .parent import Parent, make_parent

_FEWEST = 20  # labelled samples that can settle anything
_ROUNDS: Final = (32, 128, 256)  # samples that the readings which are still in the race are judged by
_PRODUCT = 128  # readings that are tried all; of more, one setting after another
_OUT, _RIVAL, _BETTER = 4.0, 2.0, 3.0  # standard errors: out of the race, not told from the best, better than assumed
_LEAST_GAIN = 0.1  # of the way from a guess to no error: untrained networks go a little of it by chance
_ALIKE = 0.2  # relative difference of the outputs of readings that do the same

Change = Mapping[str, Any]
_MOST_KNOWN = 32
_READINGS: dict[tuple[str, ...], "_Reading"] = {}


def settled(parents: Sequence[Parent], data: Dataset) -> tuple[list[Parent], list[str]]:
    """The parents as labelled samples say that they are to be read, and notes on what was found.

    Settings that a file does not say (`Metadata.assumed`) and that another network of the same weights could have are
    tried: the parents' errors are compared sample by sample between the readings, over all parents whose files leave
    the same open. What is assumed stays unless another reading makes fewer errors by three standard errors of the
    difference; of the readings that are as good as the best, the one that changes least of what is assumed is taken.
    (Losses would mislead: read with a steeper activation, a network is often more certain of the same answers.)
    Samples without class labels, or too few of them, settle nothing.

    Raises ParentError where what is assumed is clearly wrong and samples do not tell which of several others is right.
    """
    if not data.is_classified or len(data) < _FEWEST or any(parent.classes < 2 for parent in parents):
        return list(parents), []
    found, lines = list(parents), list[str]()
    together: dict[tuple[Any, ...], list[int]] = {}
    for p, parent in enumerate(parents):
        if _open(parent) and _fits(parent, data):
            shapes = tuple((name, tuple(t.shape)) for name, t in parent.state.items())
            together.setdefault((str(parent.architecture.as_json()), _open(parent), shapes), []).append(p)
    for numbers in together.values():
        group = [parents[p] for p in numbers]
        reading = _known(group, data)
        for p in numbers:
            found[p] = _read(parents[p], reading)
        lines.append(
            reading.line if len(group) == len(parents) else f"{', '.join(p.name for p in group)}: {reading.line}"
        )
    return found, lines


@dataclass(frozen=True)
class _Reading:
    """What samples say of parents. config: as they are to be read. certain: whether anything is still assumed."""

    config: Config
    certain: bool
    line: str


@dataclass(frozen=True)
class _Judged:
    """error: share of the parents that predict each sample wrongly (n,). loss: their mean cross entropy (n,), at most
    that of a guess: beyond it lie classes that a parent never saw. outputs: (parents, n, classes)."""

    error: Array
    loss: Array
    outputs: Array

    @property
    def rank(self) -> tuple[float, float]:
        """Less is better."""
        return float(self.error.mean()), float(self.loss.mean())


def _open(parent: Parent) -> frozenset[str]:
    """What is assumed of this parent and samples could settle."""
    if not parent.metadata.assumed or parent.architecture.name not in names():
        return frozenset()
    groups = get(parent.architecture.name).undecided(parent.architecture)
    offered = {key for group in groups for change in itertools.islice(group, 1) for key in change}
    return frozenset(parent.metadata.assumed.keys() & offered)


def _fits(parent: Parent, data: Dataset) -> bool:
    """Whether the samples are the parent's; where they are not, that is said elsewhere."""
    try:
        check_samples(data, parent.classes, parent.input_shape)
    except DataError:
        return False
    return True


def _read(parent: Parent, reading: _Reading) -> Parent:
    """The parent as it is to be read."""
    metadata, opened = parent.metadata, _open(parent)
    if reading.certain:
        metadata = replace(metadata, assumed={key: text for key, text in metadata.assumed.items() if key not in opened})
    if reading.config == parent.architecture:
        return replace(parent, metadata=metadata)
    metadata = replace(metadata, reading=(*metadata.reading, reading.line))
    read = make_parent(parent.name, reading.config, parent.state, metadata, parent.key_map)
    return replace(read, beside=parent.beside, copies=parent.copies, dtypes=parent.dtypes)


def _known(parents: Sequence[Parent], data: Dataset) -> _Reading:
    """`_judge`, which is the same whenever the same parents meet the same samples."""
    key = (data.digest, *(f"{p.digest} {p.architecture.as_json()} {sorted(_open(p))}" for p in parents))
    if key not in _READINGS:
        while len(_READINGS) >= _MOST_KNOWN:
            _READINGS.pop(next(iter(_READINGS)))
        _READINGS[key] = _judge(parents, data)
    return _READINGS[key]


def _judge(parents: Sequence[Parent], data: Dataset) -> _Reading:
    """How parents whose files leave the same open are to be read."""
    assumed, opened = parents[0].architecture, _open(parents[0])
    race = _Race(parents, data)
    groups = [list(group) for group in get(assumed.name).undecided(assumed)]
    groups = [group for group in groups if group and group[0].keys() & opened]
    if math.prod(map(len, groups)) <= _PRODUCT:
        race.run(assumed, [_joined(changes) for changes in itertools.product(*groups)])
    else:
        for group in [*groups, *groups]:
            race.run(race.best if race.judged else assumed, group)
    judged, samples = race.judged, f"{len(race.labels)} labelled samples"
    standing, best = judged[assumed], judged[race.best]
    gain = 1 - 1 / parents[0].classes - best.error  # over a guess
    if not _clearly(gain, _BETTER) or gain.mean() < _LEAST_GAIN * (1 - 1 / parents[0].classes):
        return _Reading(assumed, False, f"{samples} do not settle what the file does not say: no reading predicts them")
    taken = assumed
    if _clearly(standing.error - best.error, _BETTER):
        good = [c for c in judged if c != assumed and not _clearly(judged[c].error - best.error, _RIVAL)]
        taken = min(good, key=lambda c: (len(_changed(c, assumed, groups)), judged[c].rank))
    changes = _changed(taken, assumed, groups)
    rivals = _rivals(judged, taken)
    others = [c for c in rivals if not _changed(c, assumed, groups) > changes]
    if taken != assumed and others:
        switches = dict.fromkeys(_switch(c, assumed) for c in (taken, others[0]))
        raise ParentError(
            f"{parents[0].name}: the file does not say what the network is; {samples} rule out {_named(assumed)} "
            f"and do not tell {_named(taken)} from {_named(others[0])}: give {' or '.join(switches)}"
        )
    line = f"{samples} agree with what was assumed: read as {_named(assumed)}, {_right(standing)} of them are right"
    same = [c for c in judged if c != assumed and not _clearly(judged[c].error - standing.error, _RIVAL)]
    same = [c for c in same if _alike(judged[c], standing) and not np.array_equal(judged[c].outputs, standing.outputs)]
    if same:
        closest = min(same, key=lambda c: judged[c].rank)
        line += f"; read as {_named(closest)} it would do nearly the same ({_switch(closest, assumed)})"
    if taken != assumed:
        line = (
            f"read as {_named(taken)}, not as {_named(assumed)}: the file does not say, and of {race.tried} readings "
            f"of the same weights this one predicts {samples} best ({_right(judged[taken])} right, not "
            f"{_right(standing)}); give {_switch(assumed, taken)} for the other"
        )
    if rivals:
        line += (
            f"; the samples do not tell it from {_named(rivals[0])} ({_right(judged[rivals[0]])} right): give "
            f"{_switch(rivals[0], assumed)} if it is that"
        )
    return _Reading(taken, not rivals, line)


def _changed(config: Config, assumed: Config, groups: Sequence[Sequence[Change]]) -> frozenset[int]:
    """Numbers of the groups of settings in which a reading is not what is assumed."""
    keys = [group[0].keys() for group in groups]
    return frozenset(i for i, own in enumerate(keys) if any(getattr(config, k) != getattr(assumed, k) for k in own))


def _rivals(judged: Mapping[Config, "_Judged"], config: Config) -> list[Config]:
    """Readings that samples do not tell from `config`, and that do something else; the best first."""
    own = judged[config]
    found = [c for c, other in judged.items() if c != config and not _clearly(other.error - own.error, _RIVAL)]
    found = [c for c in found if not _alike(judged[c], own)]
    return sorted(found, key=lambda c: judged[c].rank)


class _Race:
    """Judges readings of the same weights by more and more of the samples; those far behind are given up."""

    def __init__(self, parents: Sequence[Parent], data: Dataset) -> None:
        assert data.y is not None
        drawn = numpy_generator(0, "settled").permutation(len(data))[: _ROUNDS[-1]]
        chosen = canonical_order(data).subset(drawn.tolist())  # the same in whatever order they came
        batches = list(chosen.batches(len(chosen)))
        assert chosen.y is not None
        self.x, self.labels = torch.cat([x for x, _ in batches]), chosen.y
        self.parents = parents
        self.judged: dict[Config, _Judged] = {}
        self.tried = 0

    @property
    def best(self) -> Config:
        """Of the readings that went the whole way, the one with the fewest errors, and of such the least loss."""
        return min(self.judged, key=lambda config: self.judged[config].rank)

    def run(self, start: Config, changes: Iterable[Change]) -> None:
        """Judge `start`, which goes the whole way, and what it is with each of the changes."""
        shapes = {name: tuple(tensor.shape) for name, tensor in self.parents[0].state.items()}
        readings = {start: None}
        for change in changes:
            with suppress(ValueError):
                config = replace(start, **change)  # type: ignore[type-var]
                if fits(config, shapes):
                    readings[config] = None
        left = [config for config in readings if config not in self.judged]
        self.tried += len(left)
        parts: dict[Config, list[_Judged]] = {config: [] for config in left}
        for low, high in itertools.pairwise((0, *_ROUNDS)):
            if low >= len(self.x):
                break
            for config in left:
                parts[config].append(self._judge(config, slice(low, high)))
            errors = {config: np.concatenate([part.error for part in parts[config]]) for config in left}
            errors |= {config: judged.error[:high] for config, judged in self.judged.items()}
            best = min(errors, key=lambda config: float(errors[config].mean()))
            left = [c for c in left if c == start or not _clearly(errors[c] - errors[best], _OUT)]
        for config in left:
            error, loss = (np.concatenate([getattr(p, name) for p in parts[config]]) for name in ("error", "loss"))
            self.judged[config] = _Judged(error, loss, np.concatenate([p.outputs for p in parts[config]], 1))

    @torch.no_grad()
    def _judge(self, config: Config, part: slice) -> _Judged:
        with torch.device("meta"):
            model = build(config)
        x, y = self.x[part], self.labels[part]
        outputs = torch.stack([_outputs(model, parent.state, x) for parent in self.parents])
        guess, wrong = math.log(outputs.shape[-1]), outputs.argmax(-1) != y
        loss = -outputs.double().log_softmax(-1)[:, torch.arange(len(y)), y]
        loss = torch.nan_to_num(loss, nan=guess).clamp(max=guess).mean(0)
        return _Judged(wrong.double().mean(0).numpy(), loss.numpy(), outputs.numpy())


def _outputs(model: nn.Module, state: Mapping[str, Tensor], x: Tensor) -> Tensor:
    model.load_state_dict(dict(state), strict=False, assign=True)
    outputs: Tensor = model.eval()(x)
    return outputs


def _joined(changes: Iterable[Change]) -> Change:
    return {key: value for change in changes for key, value in change.items()}


def _clearly(difference: Array, errors: float) -> bool:
    """Whether the mean of these differences is above zero by so many standard errors."""
    return bool(difference.mean() > errors * difference.std() / np.sqrt(len(difference))) and bool(difference.any())


def _alike(a: _Judged, b: _Judged) -> bool:
    return bool(np.linalg.norm(a.outputs - b.outputs) <= _ALIKE * np.linalg.norm(b.outputs))


def _named(config: Config) -> str:
    """The network, with its activation also where that is the usual one."""
    activation = getattr(config, "activation", "")
    return str(config) if activation in str(config) else f"{config}, {activation}"


def _right(judged: _Judged) -> str:
    return f"{1 - float(judged.error.mean()):.1%}"


def _switch(config: Config, other: Config) -> str:
    """What to give for --arch to have `config` read, where it is `other` without."""
    values, others = config.as_json(), other.as_json()
    changed = {key: value for key, value in values.items() if value != others[key]}
    return f"--arch {config.name}:" + ",".join(f"{key}={_written(value)}" for key, value in changed.items())


def _written(value: Any) -> str:
    if isinstance(value, list):
        return "-".join(str(int(entry)) if isinstance(entry, bool) else str(entry) for entry in value) or "none"
    return str(value).lower() if isinstance(value, bool) else str(value)
