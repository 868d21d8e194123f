"""The shape of a lesson, as JSON holds it."""

from typing import Any, TypedDict


class Points(TypedDict):
    """x: n pairs of coordinates, within [-3, 3]. y: their n classes."""

    x: list[list[float]]
    y: list[int]


class Network(TypedDict):
    """logits = w2 relu(w1 x + b1) + b2. w1: (h, 2), b1: (h,), w2: (classes, h), b2: (classes,); float32 values."""

    w1: list[list[float]]
    b1: list[float]
    w2: list[list[float]]
    b2: list[float]


class Fused(TypedDict):
    """labels: the group of each neuron, one list a parent. accuracy, loss: on the lesson's test points."""

    network: Network
    labels: list[list[int]]
    accuracy: float
    loss: float


class Lesson(TypedDict):
    """fresh: whether the test points are others than those the networks were trained on. parents: four networks, with
    accuracy and loss. matched: for each parent the order that brings its neurons to those of the first; the first's is
    its own. importance: (h,) mean absolute pre-activation of every neuron, one list a parent. fused: by number of
    parents ('2', '3', '4') and recipe (see `lesson.RECIPES`). path: between the first two, as_is and aligned by
    `matched`, each a `connectivity.Path.as_json`.
    """

    problem: str
    classes: int
    width: int
    seed: int
    fresh: bool
    train: Points
    test: Points
    parents: list[dict[str, Any]]  # network, accuracy, loss
    matched: list[list[int]]
    importance: list[list[float]]
    fused: dict[str, dict[str, Fused]]
    path: dict[str, Any]


class DemoBarrier(TypedDict):
    """The paths between two of the demo's parents on its test data. parents: digests. See `Connectivity.as_json`."""

    first: str
    second: str
    parents: list[str]
    as_is: dict[str, Any]
    aligned: dict[str, Any]
