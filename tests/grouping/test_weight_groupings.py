"""Groupings that see weights alone, on small networks: brute force, POT, and permuted copies."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import ot
import pytest
import torch
from torch import nn

from fusion_engine.core import registry
from fusion_engine.core.errors import FusionError
from fusion_engine.core.recipe import Step
from fusion_engine.data import Dataset
from fusion_engine.graph import Trace, permute_state, trace
from fusion_engine.grouping import Network, group_network
from fusion_engine.grouping.network import AlignedStates
from fusion_engine.importance import score
from tests.fusions import Fusion, solve
from tests.zoo import build


def mlp(*widths: int, seed: int = 0) -> tuple[nn.Module, Trace, dict[str, torch.Tensor]]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        layers = [[nn.Linear(a, b), nn.ReLU()] for a, b in itertools.pairwise(widths)]
    model = nn.Sequential(*itertools.chain.from_iterable(layers))[:-1].eval()
    return model, trace(model, (torch.zeros(2, widths[0]),)), model.state_dict()


def network(graph: Trace, states: list, importance: np.ndarray | None = None, **more) -> Network:
    sizes = [{n: s.size for n, s in graph.fitting(state).spaces.items()} for state in states]
    scores = tuple({n: np.ones(size) if importance is None else importance for n, size in own.items()} for own in sizes)
    return Network(graph, tuple(states), sizes[0], scores, **more)


def orders(grouping, p: int) -> list[int]:
    return grouping.merge[p].argmax(1).tolist()


def test_weight_matching_is_the_best_of_all() -> None:
    """One hidden layer: of all permutations the one with the largest products of weights and biases on both sides."""
    _, graph, first = mlp(4, 5, 3)
    _, _, second = mlp(4, 5, 3, seed=1)
    (grouping,) = group_network(network(graph, [first, second]), "weight_matching").values()
    a, b = ([t.double().numpy() for t in state.values()] for state in (first, second))

    def product(p: tuple[int, ...]) -> float:
        moved = [b[0][list(p)], b[1][list(p)], b[2][:, list(p)]]
        return sum(float((x * y).sum()) for x, y in zip(a, moved, strict=False))

    assert orders(grouping, 1) == list(max(itertools.permutations(range(5)), key=product))


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_no_single_space_can_do_better(seed: int) -> None:
    """Two hidden layers: neither can gain by another permutation while the other stays."""
    _, graph, first = mlp(4, 4, 4, 2)
    _, _, second = mlp(4, 4, 4, 2, seed=seed)
    found = group_network(network(graph, [first, second]), "weight_matching")
    a, b = ([t.double().numpy() for t in state.values()] for state in (first, second))

    def product(p: list[int], q: list[int]) -> float:
        moved = [b[0][p], b[1][p], b[2][q][:, p], b[3][q], b[4][:, q], b[5]]
        return sum(float((x * y).sum()) for x, y in zip(a, moved, strict=True))

    p, q = (orders(grouping, 1) for grouping in found.values())
    every = [list(r) for r in itertools.permutations(range(4))]
    best = max(max(product(r, q) for r in every), max(product(p, r) for r in every))
    assert product(p, q) == pytest.approx(best)


@pytest.mark.parametrize("against", ["reference", "all_pairs", "barycentre"])
def test_copies_of_four_parents(against: str) -> None:
    model, inputs = build("resnet")
    graph, state = trace(model, inputs), model.state_dict()
    random, copies = np.random.default_rng(0), [state]
    for _ in range(3):
        copy = dict(state)
        for space in graph.spaces.values():
            copy.update(permute_state(copy, space, random.permutation(space.size), graph))
        copies.append(copy)
    found = group_network(network(graph, copies), "weight_matching", {"against": against, "reference": 2})
    aligned = AlignedStates(network(graph, copies))
    for name, grouping in found.items():
        aligned.apply(name, [m * 4 for m in grouping.merge], list(grouping.unmerge))
    for other in aligned.states:
        for name, tensor in copies[1].items():
            torch.testing.assert_close(other[name], tensor, rtol=1e-6, atol=1e-6)


def test_weight_matching_depends_on_the_seed_alone() -> None:
    _, graph, first = mlp(6, 8, 8, 3)
    _, _, second = mlp(6, 8, 8, 3, seed=1)
    one, again = (group_network(network(graph, [first, second], seed=3), "weight_matching") for _ in range(2))
    assert all((one[n].merge[1] == again[n].merge[1]).all() for n in one)


def test_transport_by_hand() -> None:
    """Layer by layer: rows of W and b against each other, the second layer's columns in the first's fused order."""
    _, graph, first = mlp(4, 5, 5, 2)
    _, _, second = mlp(4, 5, 5, 2, seed=1)
    found = list(group_network(network(graph, [first, second]), "optimal_transport_weights").values())
    a, b = ([t.double().numpy() for t in state.values()] for state in (first, second))
    mass, order = np.full(5, 0.2), np.arange(4)
    for layer in (0, 1):
        mine = np.c_[a[2 * layer], a[2 * layer + 1]]
        other = np.c_[b[2 * layer][:, order], b[2 * layer + 1]]
        plan = ot.emd(mass, mass, np.linalg.norm(other[:, None] - mine[None], axis=-1))
        np.testing.assert_allclose(found[layer].merge[1], plan.T / 0.2 / 2, atol=1e-9)
        order = plan.argmax(0)


def test_transport_of_different_widths() -> None:
    _, graph, first = mlp(4, 5, 2)
    _, other, second = mlp(4, 7, 2, seed=1)
    both = replace(graph, variants=(other,))
    (grouping,) = group_network(network(both, [first, second]), "optimal_transport_weights").values()
    assert grouping.merge[1].shape == (5, 7)
    np.testing.assert_allclose(grouping.merge[1].sum(1), 0.5)
    np.testing.assert_allclose(grouping.unmerge[1].sum(1), 1.0)
    with pytest.raises(FusionError, match="needs equal widths"):
        group_network(network(both, [first, second]), "weight_matching")
    with pytest.raises(FusionError, match="reference parent 2 has 7"):
        group_network(network(both, [first, second]), "optimal_transport_weights", {"reference": 2})


def test_incoming_weights_leave_out_what_is_the_same_for_all() -> None:
    """A folded batch norm says nothing; weights and biases do."""
    _, graph, state = mlp(4, 5, 2)
    (name,) = graph.spaces
    stats = AlignedStates(network(graph, [state, state])).incoming(name)
    rows = np.c_[state["0.weight"].double().numpy(), state["0.bias"].double().numpy()]
    np.testing.assert_allclose(stats.gram[:5, 5:], rows @ rows.T, atol=1e-6)
    constant = {**state, "0.bias": torch.full((5,), 3.0)}
    stats = AlignedStates(network(graph, [constant, constant])).incoming(name)
    np.testing.assert_allclose(stats.gram[:5, 5:], rows[:, :4] @ rows[:, :4].T, atol=1e-6)


@pytest.mark.parametrize(
    ("method", "instead"), [("weight_matching", "permutation"), ("optimal_transport_weights", "balanced"),
                            ("cca", "balanced"), ("zipit", "balanced")]
)  # fmt: skip
def test_heads_are_grouped_by_features_and_said_so(method: str, instead: str) -> None:
    model, inputs = build("vit_fused")
    graph, state = trace(model, inputs), model.state_dict()
    x = torch.randn(16, *inputs[0].shape[1:], generator=torch.Generator().manual_seed(0))
    data = Dataset(x=x, y=None, classes=2)
    scores = score(graph, state, data, "activation", {})
    step = Step(method=method, parameters=registry.check_parameters("grouping", method, {}))
    context = Fusion(graph, (state, state), data, (scores, scores), step)
    _, groupings = solve(context, "average")
    inside = {name for nest in graph.nests.values() for kind in nest.kinds for name in kind} | set(graph.nests)
    assert inside
    for name, grouping in groupings.items():
        assert grouping.method == (instead if name in inside else method)
        assert bool(grouping.info.get("fallback")) == (name in inside)
    assert sum(instead in note for note in context.notes) == len(graph.nests)
