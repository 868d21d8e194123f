"""How two networks of one architecture differ: layer by layer by their weights, space by space by their features."""

import math
import time
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from ..core.errors import FusionError
from ..core.progress import Listener, Progress, no_progress
from ..core.types import Grouping, State
from ..data import Dataset, canonical_order, check_samples
from ..evaluation import collect_outputs
from ..graph import Trace, merge_states
from ..parents import Parent, check_parents, same_widths, settled
from ..pipeline import trace_parents
from ..stats import checked_device
from ..tasks import find_task
from .alignment import pairing_methods, reorderings
from .shapes import Difference, LayerDifference, LevelDifference, SpaceDifference, TensorDifference
from .similarity import cka_by_space

NONE, AUTO = "none", "auto"
_WITHOUT_DATA = ("weight_matching", "identity")  # groupings that see no samples
_CLOSE = 1e-3  # relative difference of the outputs that rounding explains
_FURTHER = 0.01  # by which alignment may fail to bring weights nearer before that is said
_CHECKED = 64  # samples on which aligned weights are checked


def difference(
    first: Parent,
    second: Parent,
    data: Dataset | None = None,
    *,
    align: str = AUTO,
    seed: int = 0,
    device: str = "cpu",
    on_progress: Listener = no_progress,
) -> Difference:
    """How `second` differs from `first`, as plain values. Neither is modified.

    data: samples to compare features on, labels are not needed; None compares weights alone. align: the grouping that
    pairs neurons, 'none', or 'auto': `balanced` with data, `weight_matching` without; networks of different widths are
    compared as they are, by features alone where shapes differ. Raises FusionError subclasses: for networks of
    different architectures, a grouping that does not pair neurons, or one that needs samples without any.

        from fusion_engine import difference, load_data, load_parents
        first, second = load_parents(["a.safetensors", "b.safetensors"])
        difference(first, second, load_data("digits:test"))["layers"]
    """
    return compare_networks(first, second, data, align=align, seed=seed, device=device, on_progress=on_progress)[0]


def compare_networks(
    first: Parent,
    second: Parent,
    data: Dataset | None = None,
    *,
    align: str = AUTO,
    seed: int = 0,
    device: str = "cpu",
    on_progress: Listener = no_progress,
) -> tuple[Difference, Trace, Parent]:
    """As `difference`, with the networks' common trace, and the first network as it was read in the end."""
    started, where, progress = time.perf_counter(), checked_device(device), Progress.to(on_progress)
    method = _method(align, data)
    pair, notes = [first, second], list[str]()
    if data is not None:
        pair, notes = settled(pair, data)
        check_samples(data, first.classes, first.input_shape)
        data = canonical_order(data)
    # What is said of parents that are to be fused does not concern networks that are compared.
    said = (line for line in check_parents(pair) if not line.startswith(("class counts", "the parents have different")))
    notes = list(dict.fromkeys([*said, *notes]))
    progress.part(0.0, 0.1, "trace").report(0.0, "tracing the architecture")
    samples = _example(pair[0]) if data is None else data
    graph = trace_parents(pair, samples.normalised(slice(0, 2)))
    states = [parent.state for parent in pair]
    in_order: State | None = None
    orders: Mapping[str, Grouping] = {}
    if method and not same_widths(pair):
        notes.append("the networks have different widths, so their neurons were not aligned")
        method = ""
    if method:
        progress.part(0.1, 0.5, "align").report(0.0, f"pairing neurons by {method}")
        orders = reorderings(graph, states[0], states[1], samples, method, seed=seed, device=where)
        in_order = merge_states([states[1]], graph, orders)
        notes += _changed(pair[1], in_order, samples, where)
    layers = _layers(graph, pair, in_order)
    spaces = list[SpaceDifference]()
    agreement = None
    if data is not None:
        part = progress.part(0.5, 0.9, "features")
        spaces = _spaces(graph, states, orders, data, where, part)
        progress.part(0.9, 1.0, "outputs").report(0.0, "comparing the outputs")
        agreement = _agreement(pair, data, where)
    every = [tensor for layer in layers for tensor in layer["tensors"]]
    as_is = _together(states[0], states[1], _counted(every))
    aligned = None if in_order is None else _together(states[0], in_order, _counted(every))
    if as_is is not None and aligned is not None and aligned > as_is + _FURTHER:
        notes.append(
            f"aligning by {method} brought the weights further apart ({as_is:.3f} to {aligned:.3f}): the networks may "
            "be in one order already, as a network and one made or trained from it are"
        )
    report: Difference = {
        "networks": [parent.name for parent in pair], "same": _same(*states),
        "align": method, "samples": 0 if data is None else len(data), "layers": layers,
        "levels": _levels(graph, pair, in_order, layers, spaces), "spaces": spaces,
        "as_is": as_is, "aligned": aligned,
        "agreement": agreement, "notes": [*notes, *graph.warnings],
        "seconds": round(time.perf_counter() - started, 3),
    }  # fmt: skip
    progress.part(0.0, 1.0, "done").report(1.0, "done")
    return report, graph, pair[0]


def relative(first: Tensor, second: Tensor) -> float:
    """||A - B|| / sqrt(||A||^2 + ||B||^2) in float64; 0 of two that are zero."""
    return _ratio([(first, second)])


def unrelated_cka(sizes: Sequence[int], rows: int) -> float:
    """About what the plug-in CKA of n and m independent features of one variance is on r rows:
    sqrt(n m / ((r + n) (r + m)))."""
    n, m = sizes
    return math.sqrt(n * m / ((rows + n) * (rows + m))) if rows else 0.0


def _method(align: str, data: Dataset | None) -> str:
    """The grouping that pairs neurons; '' for none."""
    if align == NONE:
        return ""
    method = ("weight_matching" if data is None else "balanced") if align == AUTO else align
    offered = pairing_methods()
    if method not in offered:
        raise FusionError(
            f"align {align!r} pairs no neurons one to one; use one of {AUTO}, {NONE}, {', '.join(offered)}"
        )
    if data is None and method not in _WITHOUT_DATA:
        raise FusionError(f"align {method!r} looks at samples: give some as data, or align by weight_matching")
    return method


def _example(parent: Parent) -> Dataset:
    """Inputs to trace a network with, where there are no samples."""
    return Dataset(parent.example_input(2), None, classes=parent.classes, name="example")


def _changed(parent: Parent, in_order: State, samples: Dataset, device: torch.device) -> list[str]:
    """A note where the aligned network does not say what it said before: then the numbers mean little."""
    few = samples.subset(list(range(min(len(samples), _CHECKED))))
    before, after = collect_outputs([parent.model, parent.model], [parent.state, in_order], few, device=device)
    change = float((after - before).abs().max() / before.abs().max().clamp_min(1e-12))
    if change <= _CLOSE:
        return []
    return [f"aligning the neurons of {parent.name} changed its outputs by {change:.1%}: do not trust what is aligned"]


def _layers(graph: Trace, pair: Sequence[Parent], in_order: State | None) -> list[LayerDifference]:
    """By module, in the order of the graph as far as it tells, else of the state."""
    first, second = pair
    trained = {alias for name in graph.parameters for alias in graph.aliases.get(name, (name,))}
    tied = {alias for names in graph.aliases.values() for alias in names[1:]}
    modules: dict[str, list[TensorDifference]] = {}
    for name, tensor in first.state.items():
        if name in tied:
            continue
        module = name.rpartition(".")[0] or name
        other, moved = second.state[name], None if in_order is None else in_order[name]
        alike = tensor.shape == other.shape
        modules.setdefault(module, []).append({
            "name": name, "file": [own.key_map.get(name, name) for own in pair],
            "shapes": [list(tensor.shape), list(other.shape)],
            "counted": name in trained and tensor.is_floating_point(),
            "as_is": relative(tensor, other) if alike else None,
            "aligned": None if moved is None or not alike else relative(tensor, moved),
        })
    found: list[LayerDifference] = []
    for module, tensors in modules.items():
        counted = [tensor["name"] for tensor in tensors if tensor["counted"]]
        found.append({
            "name": module, "level": _level_of(graph, tensors), "as_is": _together(first.state, second.state, counted),
            "aligned": None if in_order is None else _together(first.state, in_order, counted), "tensors": tensors,
        })
    return sorted(found, key=lambda layer: math.inf if layer["level"] is None else layer["level"])


def _level_of(graph: Trace, tensors: Sequence[TensorDifference]) -> int | None:
    """The first level that uses one of them."""
    names = {alias for t in tensors for alias in graph.aliases.get(t["name"], (t["name"],))}
    return next((level.index for level in graph.levels if not names.isdisjoint(level.tensors)), None)


def _levels(
    graph: Trace, pair: Sequence[Parent], in_order: State | None, layers: Sequence[LayerDifference],
    spaces: Sequence[SpaceDifference],
) -> list[LevelDifference]:
    found: list[LevelDifference] = []
    for level in graph.levels:
        used = [tensor for layer in layers if layer["level"] == level.index for tensor in layer["tensors"]]
        names = _counted(used)
        made = [space["cka"] for space in spaces if space["level"] == level.index]
        found.append({
            "index": level.index, "name": level.name, "as_is": _together(pair[0].state, pair[1].state, names),
            "aligned": None if in_order is None else _together(pair[0].state, in_order, names),
            "cka": min(made, default=None),
        })
    return found


def _spaces(
    graph: Trace, states: Sequence[State], orders: Mapping[str, Grouping], data: Dataset, device: torch.device,
    progress: Progress,
) -> list[SpaceDifference]:
    """By depth; a space of several places has one entry a place ('name@0')."""
    found: list[SpaceDifference] = []
    for name, (cka, rows) in cka_by_space(graph, states, data, device=device, progress=progress).items():
        space = name.rpartition("@")[0] or name
        level = graph.level_of(graph.spaces[space]) if space in graph.spaces else None
        sizes = [graph.fitting(state).spaces[space].size for state in states] if space in graph.spaces else [0, 0]
        found.append({
            "name": name, "level": level, "sizes": sizes, "rows": rows, "cka": round(float(cka[0, 1]), 6),
            "unrelated": round(unrelated_cka(sizes, rows), 6), "moved": _moved(orders.get(space)),
        })
    return found


def _moved(order: Grouping | None) -> float | None:
    """Share of the neurons that stand elsewhere after their permutation."""
    return None if order is None else round(1 - float(np.trace(np.asarray(order.merge[0]))) / order.size, 6)


def _agreement(pair: Sequence[Parent], data: Dataset, device: torch.device) -> float | None:
    """Share of the predictions that are the same class."""
    outputs = collect_outputs([parent.model for parent in pair], [None, None], data, device=device)
    task = find_task(data, tuple(outputs.shape[2:]))
    if task is not None and not task.has_classes:
        return None
    if task is None and (outputs.dim() != 3 or outputs.shape[-1] < 2):
        return None
    first, second = (outputs if task is None else torch.stack([task.logits(own) for own in outputs])).argmax(-1)
    seen = None if task is None else task.seen(data.x)
    return float((first == second)[... if seen is None else seen].double().mean())


def _counted(tensors: Iterable[TensorDifference]) -> list[str]:
    return [tensor["name"] for tensor in tensors if tensor["counted"]]


def _together(first: State, second: State, names: Iterable[str]) -> float | None:
    """The relative difference of several tensors as one; None of none, and where shapes differ."""
    pairs = [(first[name], second[name]) for name in names]
    if not pairs or any(a.shape != b.shape for a, b in pairs):
        return None
    return _ratio(pairs)


def _same(first: State, second: State) -> bool:
    """To the bit: rounded figures hide small changes."""
    return all(t.dtype == second[name].dtype and torch.equal(t, second[name]) for name, t in first.items())


def _ratio(pairs: Sequence[tuple[Tensor, Tensor]]) -> float:
    apart = sum(float((a.double() - b.double()).square().sum()) for a, b in pairs)
    size = sum(float(t.double().square().sum()) for pair in pairs for t in pair)
    return round(math.sqrt(apart / size), 6) if size > 0 else 0.0
