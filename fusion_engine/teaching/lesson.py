"""Making a lesson: four tiny networks trained on points in the plane, and all that is found of them by the engine."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from ..analysis.connectivity import connectivity
from ..architectures.mlp import MLPConfig
from ..core.progress import Progress
from ..core.types import Array
from ..data import Dataset
from ..parents import Parent
from ..pipeline import FusionResult, fuse
from ..training import train_parents
from .problems import Drawn
from .shapes import Fused, Lesson, Network, Points

PARENTS, WIDTH = 4, 8
POINTS, TEST_POINTS = 240, 600
RIDGE = 1e-3
"""Of the least-squares solve; a number, so that the page can do the same."""
_EPOCHS, _RATE, _STEPS = 60, 0.03, 41
_PAIRS = {"method": "permutation", "features": "post"}
_KMEANS = {"method": "kmeans", "start": "heaviest_first"}
_AVERAGE = {"method": "average", "head_weights": "uniform"}
_SOLVE = {"method": "least_squares", "head_weights": "uniform", "ridge": RIDGE}

RECIPES: dict[str, dict[str, Any]] = {
    "average": {"importance": "activation", "grouping": "identity", "solver": _AVERAGE},
    "pairs": {"importance": "activation", "grouping": _PAIRS, "solver": _AVERAGE},
    "kmeans": {"importance": "activation", "grouping": _KMEANS, "solver": _AVERAGE},
    "kmeans_uniform": {"importance": "uniform", "grouping": _KMEANS, "solver": _AVERAGE},
    "average_solved": {"importance": "activation", "grouping": "identity", "solver": _SOLVE},
    "pairs_solved": {"importance": "activation", "grouping": _PAIRS, "solver": _SOLVE},
    "kmeans_solved": {"importance": "activation", "grouping": _KMEANS, "solver": _SOLVE},
    "kmeans_uniform_solved": {"importance": "uniform", "grouping": _KMEANS, "solver": _SOLVE},
}
"""What a lesson fuses its networks by, all without chance: parents count alike at the output."""


def make_lesson(
    problem: str, train: Drawn, test: Drawn | None, seed: int, progress: Progress | None = None, width: int = WIDTH
) -> Lesson:
    """Train and fuse. train, test: points (n, 2) and classes (n,); test None: networks are judged on `train`.

    The same points and seed give the same lesson. Raises Cancelled from `progress`.
    """
    progress = progress or Progress()
    data = _dataset(train, problem)
    judged = data if test is None else replace(_dataset(test, problem), classes=data.classes)
    config = MLPConfig((2, width, data.classes))
    parents = train_parents(
        config, data, parents=PARENTS, regime="full", seed=seed, epochs=_EPOCHS, learning_rate=_RATE,
        on_progress=progress.part(0.0, 0.6),
    )  # fmt: skip
    return lesson_of(parents, data, judged, problem, seed, progress.part(0.6, 1.0))


def lesson_of(
    parents: Sequence[Parent], data: Dataset, judged: Dataset, problem: str, seed: int, progress: Progress
) -> Lesson:
    """What the engine finds of these networks. judged: the points that accuracies and paths are measured on."""
    fused: dict[str, dict[str, Fused]] = {}
    turns = [(count, recipe) for count in range(2, len(parents) + 1) for recipe in RECIPES]
    for (count, recipe), part in progress.part(0.0, 0.8, "fuse").each(turns, lambda t: f"{t[1]} of {t[0]} networks"):
        part.report(0.0, recipe)
        last = fuse(list(parents[:count]), data, RECIPES[recipe], seed=0, test=judged)
        fused.setdefault(str(count), {})[recipe] = _fused(last)
        if recipe == "kmeans":
            importance = last.importance[next(iter(last.groupings))]
    labels = fused[str(len(parents))]["pairs"]["labels"]
    matched = [_order(labels[0], own) for own in labels]
    first, second = parents[0].state, parents[1].state
    ways = {"as_is": second, "aligned": _permuted(second, matched[1])}
    path = {}
    for way, other in ways.items():
        path[way] = connectivity(last.trace, first, other, judged, method="permutation", points=_STEPS).as_is.as_json()
        del path[way]["levels"]
    return {
        "problem": problem, "classes": data.classes, "width": len(labels[0]), "seed": seed,
        "fresh": judged is not data, "train": _points(data), "test": _points(judged),
        "parents": [
            {"network": network_of(parent.state), "accuracy": found["accuracy"], "loss": found["loss"]}
            for parent, found in zip(parents, last.report["parents"], strict=True)
        ],
        "matched": matched,
        "importance": [np.asarray(scores).tolist() for scores in importance],
        "fused": fused, "path": path,
    }  # fmt: skip


def network_of(state: Mapping[str, torch.Tensor]) -> Network:
    """The weights of a network of one hidden layer, as JSON holds them: float32 values."""
    w1, b1, w2, b2 = (state[f"fc{layer}.{part}"].tolist() for layer in (1, 2) for part in ("weight", "bias"))
    return {"w1": w1, "b1": b1, "w2": w2, "b2": b2}


def state_of(network: Network) -> dict[str, torch.Tensor]:
    """The state dict of `network_of`."""
    named = zip(("fc1.weight", "fc1.bias", "fc2.weight", "fc2.bias"), ("w1", "b1", "w2", "b2"), strict=True)
    return {name: torch.tensor(network[key], dtype=torch.float32) for name, key in named}  # type: ignore[literal-required]


def _permuted(state: Mapping[str, torch.Tensor], order: Sequence[int]) -> dict[str, torch.Tensor]:
    """The same network with the hidden neuron order[g] in place g."""
    first = {name: state[name][list(order)] for name in ("fc1.weight", "fc1.bias")}
    return {**state, **first, "fc2.weight": state["fc2.weight"][:, list(order)]}


def _dataset(points: Drawn, problem: str) -> Dataset:
    x, y = points
    tensors = torch.from_numpy(x).float(), torch.from_numpy(y)
    return Dataset(*tensors, classes=int(y.max()) + 1, name=problem)


def _points(data: Dataset) -> Points:
    assert data.y is not None
    return {"x": [[round(v, 4) for v in pair] for pair in data.x.tolist()], "y": data.y.tolist()}


def _fused(result: FusionResult) -> Fused:
    grouping = next(iter(result.groupings.values()))
    labels = grouping.labels or tuple(_labels(np.asarray(matrix)) for matrix in grouping.merge)
    found = result.report["fused"]
    return {
        "network": network_of(result.state), "labels": [np.asarray(own).tolist() for own in labels],
        "accuracy": found["accuracy"], "loss": found["loss"],
    }  # fmt: skip


def _labels(merge: Array) -> Array:
    """(n_p,) the group of each neuron of a hard grouping, from its (n, n_p) merge matrix."""
    found: Array = merge.argmax(0)
    return found


def _order(reference: Sequence[int], own: Sequence[int]) -> list[int]:
    """Which neuron of a network stands for each neuron of the reference, by the groups they share."""
    place = {group: neuron for neuron, group in enumerate(own)}
    return [place[group] for group in reference]

