"""What finished jobs have measured of a space's neurons beside its exploration: other scores, and preferred classes."""

from dataclasses import dataclass

import numpy as np
import streamlit as st

from fusion_engine import store
from fusion_engine.core.errors import FusionError
from fusion_engine.store.shapes import Run


@dataclass(frozen=True)
class Measured:
    """scores: (T,) by method. preferred: (T,) the class to which a neuron answers most; None where it is not known."""

    scores: dict[str, np.ndarray]
    preferred: np.ndarray | None


@st.cache_data(max_entries=20, ttl=5, show_spinner=False)
def measured(parents: str, data: str, space: str, sizes: tuple[int, ...]) -> Measured:
    """Of these parents on this data, the newest of each. sizes: neurons of each parent in the space."""
    scores: dict[str, np.ndarray] = {}
    preferred = None
    for run in store.list_runs():
        asked = run["arguments"]
        if run["state"] != "done" or asked.get("parents") != parents or asked.get("data") != data:
            continue
        try:
            if run["kind"] == "scores":
                scores = scores_of(run["id"], space, sizes) | scores
            elif run["kind"] == "passport" and asked.get("space") == space and not asked.get("neurons"):
                preferred = _preferred(run, sizes) if preferred is None else preferred
        except FusionError:
            continue
    return Measured(scores, preferred)


@st.cache_data(max_entries=20, show_spinner=False)
def scores_of(run: str, space: str, sizes: tuple[int, ...]) -> dict[str, np.ndarray]:
    """(T,) by method, of a run of the job scores; without those that do not fit the space."""
    arrays = store.read_arrays(run, "scores.npz")
    found = {}
    for method in dict.fromkeys(key.split("|")[0] for key in arrays):
        parts = [arrays.get(f"{method}|{space}|{parent}") for parent in range(len(sizes))]
        if all(part is not None and part.shape == (n,) for part, n in zip(parts, sizes, strict=True)):
            found[method] = np.concatenate(parts)
    return found


def _preferred(run: Run, sizes: tuple[int, ...]) -> np.ndarray | None:
    about = store.read_result(run["id"])
    if not about.get("labelled") or about.get("sizes") != list(sizes):
        return None
    return store.read_arrays(run["id"], "passport.npz", "preferred").get("")
