"""Fisher-weighted averaging against autograd sample by sample, and what it makes of groups, draws and no classes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.func import functional_call

from fusion_engine import fuse, load_data
from fusion_engine.core.progress import Progress
from fusion_engine.core.recipe import Step
from fusion_engine.core.types import Grouping
from fusion_engine.data import Dataset, canonical_order
from fusion_engine.graph import merge_states, permute_state, trace
from fusion_engine.importance import score
from fusion_engine.parents import load_parents
from fusion_engine.solvers.fisher import _class_weights, fisher_information, information_part
from tests.fusions import Fusion, solve
from tests.zoo import build

SAMPLES = 12


def case(name: str = "mlp", parents: int = 2, grouping: str = "identity") -> Fusion:
    """Noisy relatives of a zoo model, with samples like its input."""
    model, inputs = build(name)
    graph = trace(model, inputs)
    random = torch.Generator().manual_seed(1)
    x = torch.randn(SAMPLES, *inputs[0].shape[1:], generator=random)
    if not inputs[0].is_floating_point():
        x = torch.randint(int(inputs[0].max()) + 1, x.shape, generator=random)
    data = canonical_order(Dataset(x=x, y=torch.arange(SAMPLES) % 2, classes=2))
    first = {k: v.detach().clone() for k, v in model.state_dict().items()}
    states = [first] + [
        {k: v + 0.3 * v.std() * torch.randn(v.shape, generator=random) if v.numel() > 1 and "running" not in k else v
         for k, v in first.items()}
        for _ in range(parents - 1)
    ]  # fmt: skip
    scores = tuple(score(graph, s, data, "activation", {}) for s in states)
    return Fusion(trace=graph, states=tuple(states), data=data, importance=scores, grouping=Step(method=grouping))


def information(context: Fusion, p: int, draws: int = 100) -> dict[str, torch.Tensor]:
    names = list(dict.fromkeys(context.trace.aliases.get(n, (n,))[0] for n in context.trace.parameters))
    return fisher_information(context.inputs, context.states[p], names, draws, Progress())


def by_definition(name: str, context: Fusion, p: int) -> dict[str, torch.Tensor]:
    """F of the module itself, by tensor name, each sample and class by itself."""
    model = build(name)[0].eval()
    weights = {k: context.states[p][k].clone().requires_grad_() for k, _ in model.named_parameters()}
    result = {k: torch.zeros(v.shape, dtype=torch.float64) for k, v in weights.items()}
    for x in context.data.normalised():
        for c in range(model(x[None]).shape[1]):
            log_p = functional_call(model, {**context.states[p], **weights}, (x[None],)).log_softmax(1)[0]
            gradients = torch.autograd.grad(log_p[c], list(weights.values()))
            for total, gradient in zip(result.values(), gradients, strict=True):
                total += float(log_p[c].exp()) * gradient.double() ** 2 / SAMPLES
    return result


@pytest.mark.parametrize("name", ["mlp", "vgg_bn_2fc", "tied", "activations", "lstm", "vit_fused"])
def test_information_is_that_of_autograd_sample_by_sample(name: str) -> None:
    context = case(name)
    expected = by_definition(name, context, 1)
    for key, tensor in information(context, 1).items():
        torch.testing.assert_close(tensor, expected[key], rtol=1e-3, atol=1e-4 * float(expected[key].max()))


def test_the_fused_weights_are_the_formula() -> None:
    context = case(parents=3)
    fused, _ = solve(context, "fisher", {"floor": 0.0, "head_weights": "uniform"})
    own = [by_definition("mlp", context, p) for p in range(3)]
    plain, _ = solve(context, "average", {"head_weights": "uniform"})
    for name in context.trace.parameters:
        total = sum(f[name] for f in own)
        expected = sum(f[name] * s[name] for f, s in zip(own, context.states, strict=True)) / total
        expected = torch.where(total > 0, expected, plain[name].double())
        certain = total > 1e-6 * total.max()
        torch.testing.assert_close(fused[name][certain], expected[certain].float(), rtol=1e-3, atol=1e-3)
        assert not torch.allclose(fused[name], plain[name], atol=1e-3)


def test_the_floor_leads_to_the_average() -> None:
    """As F counts ever less against the floor, so does the distance to the average; without any F it is the average."""
    context = case()
    plain, _ = solve(context, "average")
    gaps = []
    for floor in (0.0, 0.1, 1.0):
        fused, _ = solve(context, "fisher", {"floor": floor})
        gaps.append(sum(float((fused[n] - plain[n]).norm()) for n in plain))
    assert gaps[0] > gaps[1] > gaps[2] > 0
    # No neuron of the first layer is ever active: nothing but the last bias has information.
    dead = [{k: -v.abs() * 100 if k.endswith("bias") else v * 0 + 0.01 for k, v in s.items()} for s in context.states]
    context = replace(context, states=tuple(dead))
    first = context.trace.parameters[0]
    assert not information(context, 0)[first].any()
    fused, _ = solve(context, "fisher", {"floor": 0.0})
    torch.testing.assert_close(fused[first], solve(context, "average")[0][first])


@pytest.mark.parametrize("name", ["mlp", "vgg_bn_2fc", "tied"])
def test_one_parent_comes_back(name: str) -> None:
    context = case(name, parents=1)
    fused, _ = solve(context, "fisher", {"floor": 0.5})
    assert fused.keys() == context.states[0].keys()
    for key, tensor in context.states[0].items():
        torch.testing.assert_close(fused[key], tensor)
    context = case(name)
    fused, _ = solve(context, "fisher")
    for names in context.trace.aliases.values():
        assert all(torch.equal(fused[names[0]], fused[n]) for n in names if n in fused and names[0] in fused)
    for key in fused.keys() - {a for n in context.trace.parameters for a in context.trace.aliases.get(n, (n,))}:
        torch.testing.assert_close(fused[key], solve(context, "average")[0][key])


@pytest.mark.parametrize("grouping", ["permutation", "kmeans"])
def test_the_order_of_a_parents_neurons_is_nothing(grouping: str) -> None:
    context = case(grouping=grouping)
    shuffled, scores = dict(context.states[1]), dict(context.importance[1])
    random = np.random.default_rng(0)
    for space in context.trace.spaces.values():
        order = random.permutation(space.size)
        shuffled.update(permute_state(shuffled, space, order, context.trace))
        scores[space.name] = scores[space.name][torch.as_tensor(order)]
    moved = replace(context, states=(context.states[0], shuffled), importance=(context.importance[0], scores))
    one, other = (solve(c, "fisher")[0] for c in (context, moved))
    for key in one:
        torch.testing.assert_close(one[key], other[key], rtol=1e-3, atol=1e-4)


def test_it_reacts_to_which_samples_are_given_but_not_to_their_order() -> None:
    context = case()
    orders = torch.arange(SAMPLES).flip(0), torch.arange(SAMPLES // 2)
    flipped, half = (replace(context, data=context.data.subset(order)) for order in orders)
    for draws in (2, 10):
        one, again, other = (solve(c, "fisher", {"draws": draws})[0] for c in (context, flipped, half))
        name = context.trace.parameters[0]
        torch.testing.assert_close(one[name], again[name], rtol=1e-4, atol=1e-5)
        assert not torch.allclose(one[name], other[name], atol=1e-3)


def test_draws_are_of_the_prediction() -> None:
    """They are classes that can be, the same for the same seed, and on average p itself."""
    p = torch.tensor([0.05, 0.0, 0.7, 0.25], dtype=torch.float64)
    assert torch.equal(_class_weights(p, torch.zeros(3), 4, 0), p)
    samples = torch.randn(4000, 3, generator=torch.Generator().manual_seed(0))
    drawn = torch.stack([_class_weights(p, x, 2, 0) for x in samples])
    assert set(drawn.unique().tolist()) == {0.0, 0.5, 1.0}
    torch.testing.assert_close(drawn.mean(0), p, rtol=0, atol=0.02)
    assert torch.equal(drawn[5], _class_weights(p, samples[5], 2, 0))
    assert any(not torch.equal(a, _class_weights(p, x, 2, 1)) for a, x in zip(drawn[:50], samples, strict=False))


def test_information_moves_with_the_neurons_of_a_group() -> None:
    """Two neurons of equal shares make the first fused one: what makes them adds up (1 + 1), what reads them is shared
    (1/4 + 1/4). The last group has none of this parent's neurons, and no information."""
    context = case()
    space = next(iter(context.trace.spaces.values()))
    size = space.size
    unmerge = np.zeros((size, size))
    unmerge[:2, 0] = 1.0
    unmerge[np.arange(2, size), np.arange(1, size - 1)] = 1.0
    merge = unmerge.T / np.maximum(unmerge.sum(0)[:, None], 1)
    part = information_part(Grouping(space.name, "test", (merge,), (unmerge,)))
    written = next(m.tensor for m in space.members if m.role == "out" and len(context.states[0][m.tensor].shape) == 2)
    read = next(m.tensor for m in space.members if m.role == "in")
    own = {name: torch.rand(context.states[0][name].shape, dtype=torch.float64) for name in (written, read)}
    moved = merge_states([own], context.trace, {space.name: part})
    torch.testing.assert_close(moved[written][0], own[written][0] + own[written][1])
    torch.testing.assert_close(moved[written][1:-1], own[written][2:])
    torch.testing.assert_close(moved[read][:, 0], (own[read][:, 0] + own[read][:, 1]) / 4)
    torch.testing.assert_close(moved[read][:, 1:-1], own[read][:, 2:])
    assert not moved[written][-1].any()
    assert not moved[read][:, -1].any()


def test_a_parent_without_a_neuron_in_a_group_has_no_say() -> None:
    """The second parent's first two neurons are both in group 0, so that group 1 is the first parent's alone: what
    makes it and what reads it is as it is there."""
    context = case()
    space = next(iter(context.trace.spaces.values()))
    unmerge = [np.eye(space.size), np.eye(space.size)]
    unmerge[1][1] = unmerge[1][0]
    counts = sum(u.sum(0) for u in unmerge)
    merge = tuple(u.T / counts[:, None] for u in unmerge)
    labels = tuple(u.argmax(1) for u in unmerge)
    grouping = Grouping(space.name, "kmeans", merge, tuple(unmerge), labels)
    context = replace(context, groupings={space.name: grouping})
    fused, groupings = solve(context, "fisher", {"floor": 0.0, "head_weights": "uniform"})
    assert groupings[space.name] is grouping
    own = information(context, 0)
    for member in space.members:
        name, dim = member.tensor, member.dims[0]
        informed = own[name].select(dim, 1) > 0
        assert informed.any()
        one, other = (state[name].select(dim, 1)[informed] for state in (fused, context.states[0]))
        torch.testing.assert_close(one, other)


def test_a_model_without_classes_is_averaged_with_a_note() -> None:
    context = case("language_model")
    fused, _ = solve(context, "fisher")
    plain, _ = solve(context, "average")
    assert all(torch.equal(fused[key], plain[key]) for key in plain)
    assert any("no Fisher information" in note for note in context.notes)


def test_real_parents_gain_from_it(shared_data: Path) -> None:
    folder = shared_data / "mnist-mlp-noniid2"
    parents = load_parents([folder / "parent_0.safetensors", folder / "parent_1.safetensors"])
    samples, test = load_data(shared_data / "mnist-calibration-400.npz"), load_data(shared_data / "mnist-test-9600.npz")
    few = samples.subset(torch.arange(0, len(samples), 4))
    x, y = test.normalised(), test.y
    right = {}
    for solver in ("average", "fisher"):
        fused = fuse(parents, few, {"grouping": "identity", "solver": {"method": solver, "head_weights": "uniform"}})
        logits = functional_call(parents[0].model, dict(fused.state), (x,))
        right[solver] = float((logits.argmax(1) == y).double().mean())
    assert right["fisher"] > right["average"]
