"""One space of an explore or fuse run, as the pages see it, and how its neurons are numbered and called."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import streamlit as st

from fusion_engine import store
from fusion_engine.core.errors import FusionError
from fusion_engine.core.neurons import Neuron, written


@dataclass(frozen=True)
class SpaceView:
    """One space of a run. space: its entry of explore.json. names: the parents', made distinct. arrays: its part of
    explore.npz. Neurons go by an index into the arrays, parent after parent; that index means nothing elsewhere."""

    run: str
    space: Mapping[str, Any]
    names: Sequence[str]
    arrays: Mapping[str, np.ndarray]

    @property
    def total(self) -> int:
        return len(self.arrays["parent"])

    @cached_property
    def sizes(self) -> list[int]:
        """How many neurons each parent has here."""
        return np.bincount(self.arrays["parent"], minlength=len(self.names)).tolist()

    def label(self, index: int) -> str:
        """'parent_0:17' of an index into the arrays."""
        return written(self.neuron_of(index), self.names)

    def neuron_of(self, index: int) -> Neuron:
        return Neuron(int(self.arrays["parent"][index]), int(self.arrays["neuron"][index]))

    def index_of(self, neuron: Neuron) -> int:
        """Where a neuron is in the arrays; FusionError if this space has none such."""
        sizes = self.sizes
        if not (0 <= neuron.parent < len(sizes) and 0 <= neuron.index < sizes[neuron.parent]):
            raise FusionError(f"space {self.space['name']} has no neuron {neuron}")
        return sum(sizes[: neuron.parent]) + neuron.index


@st.cache_data(max_entries=40, show_spinner=False)
def load(run: str, index: int) -> dict[str, Any]:
    """The arrays of space number `index` of a run. Results never change, so they may be kept."""
    return dict(store.read_arrays(run, "explore.npz", f"{index}/"))
