"""The passports of all neurons of a space at once: one pass over the samples for every parent."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from fusion_engine.core.errors import FusionError, UnsupportedModelError
from fusion_engine.core.progress import Progress
from fusion_engine.core.registry import nearest
from fusion_engine.core.types import Grouping, State
from fusion_engine.data import Dataset
from fusion_engine.graph import Trace
from fusion_engine.parents import Parent
from fusion_engine.pipeline.widths import trace_parents

from ..space_tables import groups_of
from .excitation import class_answers, correlations, extremes
from .reading import Reading, read_at, read_space
from .samples import shown
from .shapes import SpacePassports
from .weights import Incoming, incoming

EXTREMES = 8


@dataclass(frozen=True)
class FusedNetwork:
    """A fused network's weights and the groupings it was made by."""

    state: State
    groupings: Mapping[str, Grouping]


@dataclass(frozen=True)
class Subject:
    """What passports are about. sources: by parent the space that holds its neurons; inside attention heads that of
    the head that met, elsewhere `space` itself."""

    graph: Trace
    parents: tuple[Parent, ...]
    data: Dataset
    space: str
    sources: tuple[str, ...]
    fused: FusedNetwork | None

    @property
    def sizes(self) -> list[int]:
        """Neurons of each parent."""
        pairs = zip(self.parents, self.sources, strict=True)
        return [self.graph.fitting(parent.state).spaces[source].size for parent, source in pairs]


def subject(parents: Sequence[Parent], data: Dataset, space: str, fused: FusedNetwork | None = None) -> Subject:
    """Trace the networks. Raises FusionError for a space that is not there, and for one inside attention heads without
    a fused network: its neurons are shown with those of the heads that met, which only a fusion says."""
    more = [] if fused is None else [fused.state]
    graph = trace_parents(parents, data.normalised(slice(0, 2)), more)
    if space not in graph.spaces:
        raise FusionError(f"these parents have no space {space!r}{nearest(space, graph.spaces)}")
    sources = (space,) * len(parents)
    for nest in graph.nests.values():
        kind = next((kind for kind in nest.kinds if space in kind), None)
        if kind is None:
            continue
        labels = None if fused is None else fused.groupings[nest.block].labels
        if labels is None:
            raise UnsupportedModelError(
                f"space {space} lies inside attention heads: which heads meet is known for a finished fusion alone; "
                "open the passport from one"
            )
        head = list(kind).index(space)
        sources = tuple(kind[int(np.flatnonzero(of_parent == head)[0])] for of_parent in labels)
    return Subject(graph, tuple(parents), data, space, sources, fused)


def space_passports(about: Subject, progress: Progress | None = None) -> tuple[SpacePassports, dict[str, np.ndarray]]:
    """Everything that all neurons' passports share; `shapes` says what is in it. Raises UnsupportedModelError where
    the space cannot be read sample by sample."""
    progress = progress or Progress()
    graph, data = about.graph, about.data
    networks = [(parent.state, source) for parent, source in zip(about.parents, about.sources, strict=True)]
    if about.fused is not None:
        networks.append((about.fused.state, about.space))
    readings = [read_space(graph, state, source, data, part) for (state, source), part in progress.each(networks)]
    own, fused = readings[: len(about.parents)], readings[len(about.parents) :]
    values, at = np.concatenate([r.values for r in own], 1), np.concatenate([r.at for r in own], 1)
    top, bottom = extremes(values, EXTREMES)
    kept = np.unique(np.concatenate([top.ravel(), bottom.ravel()]))
    samples, kind, notes = shown(data, kept)
    # Labels of positions, and values, are no classes of samples.
    y = data.y if data.is_classified else None
    classes = 1 if y is None else max(about.parents[0].classes, data.classes)
    labels = np.full(len(data), -1, np.int64) if y is None else y.numpy()
    answers = class_answers(values, np.zeros_like(labels) if y is None else labels, classes)
    arrays = {
        "top": top, "bottom": bottom,
        "top_value": _taken(values, top), "bottom_value": _taken(values, bottom),
        "top_at": _taken(at, top), "bottom_at": _taken(at, bottom),
        "mean": answers.mean.astype(np.float32), "std": answers.std.astype(np.float32),
        "quantiles": answers.quantiles.astype(np.float32), "preferred": answers.preferred,
        "selectivity": answers.selectivity.astype(np.float32),
        "labels": labels, "kept": kept, "samples": samples, "values/parents": np.ascontiguousarray(values.T),
    }  # fmt: skip
    if about.fused is not None:
        arrays |= _of_fused(values, fused[0], groups_of(about.fused.groupings[about.space]), top, bottom)
    shape = data.input_shape if len(data.input_shape) == 3 or kind != "image" else samples.shape[1:]
    read = [incoming(graph, state, source, read_at(graph, state, source).node, shape) for state, source in networks]
    weights = [found for found in read[: len(about.parents)] if isinstance(found, Incoming)]
    site = read_at(graph, about.parents[0].state, about.sources[0])
    why = next((found for found in read if isinstance(found, str)), None)
    if why is None:
        arrays |= _weights(weights)
    info: SpacePassports = {
        "space": about.space, "sizes": about.sizes, "sampled": len(data), "classes": classes,
        "labelled": y is not None, "read": site.module or site.node, "grid": list(own[0].grid),
        "sample_shape": list(samples.shape[1:]), "kind": kind, "notes": notes,
        "layer": weights[0].layer if why is None else None,
        "incoming_from": weights[0].source if why is None else None, "no_weights": why,
        "fused": about.fused is not None,
    }  # fmt: skip
    return info, arrays


def _taken(values: np.ndarray, numbers: np.ndarray) -> np.ndarray:
    """(N, K) entries of `values` (samples, N) at the samples' numbers."""
    return np.take_along_axis(values.T, numbers, 1)


def _of_fused(
    values: np.ndarray, reading: Reading, group: np.ndarray, top: np.ndarray, bottom: np.ndarray
) -> dict[str, np.ndarray]:
    theirs = np.where(group[None, :] >= 0, reading.values[:, group.clip(0)], np.nan).astype(np.float32)
    return {
        "group": group, "fused_top": _taken(theirs, top), "fused_bottom": _taken(theirs, bottom),
        "fused_correlation": correlations(values, theirs).astype(np.float32),
        "values/fused": np.ascontiguousarray(reading.values.T),
    }  # fmt: skip


def _weights(found: Sequence[Incoming]) -> dict[str, np.ndarray]:
    pictures = [entry.pictures for entry in found if entry.pictures is not None]
    if pictures:
        return {"weights": np.concatenate(pictures)}
    indices = [entry.index for entry in found if entry.index is not None]
    sizes = [entry.weight.astype(np.float32) for entry in found if entry.weight is not None]
    width = min(index.shape[1] for index in indices)
    return {
        "incoming": np.concatenate([index[:, :width] for index in indices]).astype(np.int64),
        "incoming_weight": np.concatenate([size[:, :width] for size in sizes]),
    }
