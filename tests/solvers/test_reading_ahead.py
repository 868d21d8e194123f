"""The parents' features that do not fit in memory at once: fewer passes, the same numbers."""

from __future__ import annotations

import torch

from fusion_engine import fuse, load_data
from fusion_engine.demo import load_demo
from fusion_engine.fusing import Inputs, ParentFeatures
from fusion_engine.fusing import parent_features as module
from fusion_engine.graph import trace


def case() -> tuple[Inputs, list[str]]:
    parents, data = load_demo("mlp")[:2], load_data("digits:train").subset(list(range(40)))
    graph = trace(parents[0].model, (data.normalised(slice(0, 2)),))
    inputs = Inputs(graph, tuple(dict(p.state) for p in parents), data, ({}, {}))
    return inputs, [layer.output for layer in graph.layers.values()]


def test_nodes_that_fit_together_are_read_together(monkeypatch) -> None:
    inputs, nodes = case()
    passes: list[int] = []

    class Counting(module.Program):
        def __init__(self, trace, names, outputs, **more) -> None:
            passes.append(len(outputs))
            super().__init__(trace, names, outputs, **more)

    monkeypatch.setattr(module, "Program", Counting)
    sizes = [module.sample_bytes(inputs.trace, [node]) * 40 * 2 for node in nodes]
    assert len(nodes) > 2
    alone = [[b for batch in ParentFeatures(inputs, nodes, 0).batches(node) for b in batch] for node in nodes]
    assert passes == [1] * len(nodes)
    passes.clear()
    features, ticks = ParentFeatures(inputs, nodes, sizes[0] + sizes[1]), []
    for node, expected in zip(nodes, alone, strict=True):
        found = [b for batch in features.batches(node, lambda: ticks.append(1)) for b in batch]
        assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))
    assert passes[0] == 2
    assert len(passes) < len(nodes)
    assert ticks


def test_a_small_budget_changes_no_bit(monkeypatch) -> None:
    parents, data = load_demo("mlp")[:2], load_data("digits:train").subset(list(range(60)))
    recipe = {"importance": "activation", "grouping": "kmeans", "solver": "least_squares"}
    one = fuse(parents, data, recipe)
    for budget in (0, 60_000):
        original = ParentFeatures.__init__

        def limited(self, inputs, nodes, _, original=original, budget=budget, **more) -> None:
            original(self, inputs, nodes, budget, **more)

        with monkeypatch.context() as patched:
            patched.setattr(ParentFeatures, "__init__", limited)
            other = fuse(parents, data, recipe)
        assert all(torch.equal(one.state[name], other.state[name]) for name in one.state)
