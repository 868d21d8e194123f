"""Chosen neurons as rows of a table: what is known of each without fusing anything."""

import re
from collections.abc import Mapping, Sequence
from typing import TypedDict

import numpy as np

from fusion_engine.core.errors import FusionError
from fusion_engine.core.neurons import Neuron, read_neurons, written
from fusion_engine.core.registry import nearest

from .explored import Explored
from .space_tables import space_tables


class NeuronRow(TypedDict):
    """neuron: 'fc1/parent_0:17'. group: its number, -1 for none; mates: the others in it. mean, std: of its
    pre-activation. neighbours: the most correlated others, best first, and how much."""

    neuron: str
    importance: float
    group: int
    mates: list[str]
    mean: float
    std: float
    neighbours: list[str]
    correlation: list[float]


def split_spaces(text: str) -> dict[str, list[str]]:
    """'fc1/parent_0:17,parent_1:3-7 fc2/0:1' by space: a space's name holds until the next. FusionError in one line
    where a neuron comes before any space."""
    found: dict[str, list[str]] = {}
    space = ""
    for part in re.split(r"[,;\s]+", text):
        named, slash, neuron = part.rpartition("/")
        space = named if slash else space
        if neuron and not space:
            raise FusionError(f"{neuron!r}: say of which space, for example fc1/{neuron}")
        if neuron:
            found.setdefault(space, []).append(neuron)
    if not found:
        raise FusionError("name neurons as space/parent:index, for example fc1/0:17,1:3-7")
    return found


def neuron_rows(about: Explored, names: Sequence[str], wanted: Mapping[str, Sequence[str]]) -> list[NeuronRow]:
    """A row for every neuron. names: the parents'. wanted: by space its neurons, as `read_neurons` takes them.
    FusionError in one line for spaces, parents and neurons that are not there."""
    rows = []
    for space, texts in wanted.items():
        if space not in about.stats:
            raise FusionError(f"there is no space {space!r}{nearest(space, about.stats)}")
        sizes = about.stats[space].sizes
        chosen = read_neurons(texts, names, sizes)
        arrays = space_tables(about.stats[space], about.groupings[space]).arrays
        every = [f"{space}/{written(Neuron(p, i), names)}" for p, size in enumerate(sizes) for i in range(size)]
        starts = np.cumsum([0, *sizes])
        for neuron in chosen:
            at = int(starts[neuron.parent]) + neuron.index
            group = int(arrays["group"][at])
            mates = np.flatnonzero(arrays["group"] == group) if group >= 0 else np.zeros(0, np.int64)
            near = arrays["neighbours"][at] >= 0
            rows.append(
                NeuronRow(
                    neuron=every[at],
                    importance=float(arrays["importance"][at]),
                    group=group,
                    mates=[every[i] for i in mates if i != at],
                    mean=float(arrays["mean"][at]),
                    std=float(arrays["std"][at]),
                    neighbours=[every[i] for i in arrays["neighbours"][at][near]],
                    correlation=[float(value) for value in arrays["correlation"][at][near]],
                )
            )
    return rows
