"""The regression mean against worked numbers, stacked least squares and permuted parents."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from fusion_engine.core.errors import RecipeError
from fusion_engine.core.recipe import Step
from fusion_engine.core.registry import check_parameters
from fusion_engine.core.types import Layer
from fusion_engine.data import Dataset, canonical_order, load_data
from fusion_engine.demo import load_demo
from fusion_engine.graph import Program, permute_state, trace
from fusion_engine.importance import score
from fusion_engine.parents import make_parent
from fusion_engine.pipeline import fuse
from fusion_engine.solvers.regmean import method as regmean
from fusion_engine.solvers.regmean.input_gram import InputGram
from fusion_engine.solvers.regmean.regression_mean import regression_mean, rows_are_cheaper
from fusion_engine.stats import layer_rows
from tests.fusions import Fusion, solve
from tests.zoo import build

BOTH = torch.ones(2, 1)


def tensors(*rows: object) -> list[torch.Tensor]:
    return [torch.tensor(row, dtype=torch.float64) for row in rows]


def case(name: str, *others: int, grouping: str = "identity", samples: int = 120, noise: float = 1.0, **more):
    """A context of a zoo model and noisy copies of it, one a seed in `others`."""
    model, inputs = build(name)
    graph = trace(model, inputs)
    x = torch.randn(samples, *inputs[0].shape[1:], generator=torch.Generator().manual_seed(1))
    data = canonical_order(Dataset(x=x, y=torch.arange(samples) % 2, classes=2))
    states = [{k: v.detach().clone() for k, v in model.state_dict().items()}]
    for seed in others:
        random = torch.Generator().manual_seed(seed)
        states.append({
            k: v + noise * v.std() * torch.randn(v.shape, generator=random)
            if v.is_floating_point() and v.numel() > 1 and "running" not in k else v.clone()
            for k, v in states[0].items()
        })
    return context_of(graph, states, data, grouping, **more)


def context_of(graph, states, data, grouping: str, **more) -> Fusion:
    return Fusion(
        trace=graph, states=tuple(states), data=data,
        importance=tuple(score(graph, s, data, "activation", {}) for s in states),
        grouping=Step(method=grouping, parameters=check_parameters("grouping", grouping, {})), **more,
    )


def outputs(context: Fusion, state, node: str | None = None, inputs: torch.Tensor | None = None):
    program = Program(context.trace, None, [node or context.trace.output])
    with torch.no_grad():
        return program(state, context.data.normalised() if inputs is None else inputs)[0]


def last_layer(context: Fusion) -> tuple[Layer, list[torch.Tensor]]:
    """The last layer, and every parent's inputs of it with a column of ones, (samples, d + 1) float64."""
    layer = list(context.trace.layers.values())[-1]
    inputs = [outputs(context, s, layer.input).double() for s in context.states]
    return layer, [torch.cat([x, x.new_ones(len(x), 1)], 1) for x in inputs]


def with_bias(state, layer: Layer) -> torch.Tensor:
    return torch.cat([state[layer.weight].double(), state[layer.bias].double()[:, None]], 1)


def test_a_worked_example() -> None:
    """G_1 = [[2, 1], [1, 2]], W_1 = (1, 0), G_2 = 2 I, W_2 = (0, 1), alpha = 1/2: the damped sum is
    [[4, 1/2], [1/2, 4]], the right side (2, 1/2) + (0, 2), and the solution (3/7, 4/7)."""
    grams = tensors([[[2, 1], [1, 2]]], [[[2, 0], [0, 2]]])
    solved = regression_mean(grams, tensors([[1, 0]], [[0, 1]]), BOTH, 0.5)
    torch.testing.assert_close(solved, torch.tensor([[3 / 7, 4 / 7]], dtype=torch.float64))


def test_without_off_diagonals_every_input_is_weighed_by_itself() -> None:
    grams = tensors([[[1, 5], [5, 3]]], [[[3, -2], [-2, 1]]])
    solved = regression_mean(grams, tensors([[1, 0]], [[0, 1]]), BOTH, 0.0)
    torch.testing.assert_close(solved, torch.tensor([[0.25, 0.25]], dtype=torch.float64))


def test_shares_decide_row_by_row() -> None:
    grams = tensors([[[1.0]]], [[[3.0]]])
    shares = torch.tensor([[1.0, 0.5, 0.0, 0.0], [0.0, 0.5, 1.0, 0.0]])
    solved = regression_mean(grams, tensors([[0.0]] * 4, [[4.0]] * 4), shares, 0.9)
    assert solved.flatten().tolist() == [0.0, 3.0, 4.0, 3.0]


@pytest.mark.parametrize("alpha", [0.0, 0.5, 0.9, 0.99])
@pytest.mark.parametrize("counts", [(4, 3, 5), (30, 2, 20), (7, 0, 9)])
def test_rows_and_their_products_give_the_formula(alpha: float, counts: tuple[int, ...]) -> None:
    random = torch.Generator().manual_seed(sum(counts))
    rows = [torch.randn(n, 9, generator=random).double() for n in counts]
    rows[0][:, 3] = 0  # an input that only one parent lacks, and one that is zero in all
    for x in rows:
        x[:, 5] = 0
        x[:, 6] *= 1e-4
    weights = [torch.randn(6, 9, generator=random).double() for _ in counts]
    shares = torch.tensor([[1.0, 0.2, 0, 1, 0, 0], [1, 0.3, 0.5, 0, 1, 0], [1, 0.5, 0.5, 0, 0, 0]]).double()
    seen = torch.stack([x.square().sum(0) for x in rows])
    wanted = torch.empty(6, 9).double()
    for row, share in enumerate(shares.T):
        share = share if share.sum() else torch.ones(3)
        wanted[row] = sum(s * w[row] for s, w in zip(share, weights, strict=True)) / share.sum()
        if int((share > 0).sum()) == 1:
            continue
        left, right = torch.zeros(9, 9).double(), torch.zeros(9).double()
        for s, x, weight in zip(share, rows, weights, strict=True):
            gram = x.T @ x
            gram = s * (alpha * gram + (1 - alpha) * gram.diagonal().diag())
            left, right = left + gram, right + gram @ weight[row]
        alive = (share[:, None] * seen).sum(0) > 0
        wanted[row, alive] = torch.linalg.solve(left[alive][:, alive], right[alive])
    few = regression_mean(rows, weights, shares, alpha)
    many = regression_mean([(x.T @ x)[None] for x in rows], weights, shares, alpha)
    torch.testing.assert_close(few, wanted, rtol=1e-9, atol=1e-10)
    torch.testing.assert_close(many, wanted, rtol=1e-9, atol=1e-10)


def test_rows_are_taken_while_they_are_few() -> None:
    assert rows_are_cheaper(100, 1000, 500, 2, 0.9)
    assert not rows_are_cheaper(4000, 1000, 500, 2, 0.9)
    assert not rows_are_cheaper(100, 1000, 500, 2, 1.0), "nothing is left on the diagonal"


@pytest.mark.parametrize("name", ["mlp", "vgg_bn_2fc", "resnet", "vit_fused"])
def test_a_network_is_the_same_from_rows_and_from_products(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    context, found, most = case(name, 3, samples=12, noise=0.02), [], []
    for limit in (0, 1000):

        def few(rows: int, *_: object, limit: int = limit) -> bool:
            most.append(rows)
            return rows <= limit

        monkeypatch.setattr(regmean, "rows_are_cheaper", few)
        found.append(outputs(context, solve(context, "regmean")[0]))
    assert 0 < min(most) <= 1000
    torch.testing.assert_close(found[0], found[1], rtol=1e-4, atol=1e-4)


def test_what_no_input_tells_apart_stays_the_mean() -> None:
    """Inputs 1 and 2 are always equal, input 3 is always zero: only the sum of the first two weights is determined."""
    x = [torch.tensor([[1.0, 1, 0], [2, 2, 0]]).double(), torch.tensor([[3.0, 3, 0]]).double()]
    weights = tensors([[1, 1, 5]], [[4, 2, 7]])
    solved = regression_mean([(r.T @ r)[None] for r in x], weights, BOTH, 1.0)[0]
    total = (5 * 2 + 9 * 6) / 14
    torch.testing.assert_close(float(solved[:2].sum()), total, rtol=1e-5, atol=0)
    torch.testing.assert_close(float(solved[0] - solved[1]), 1.0, rtol=1e-5, atol=0)
    assert solved[2] == 6


def test_products_that_rounding_made_indefinite() -> None:
    """Correlations of eigenvalues 2.0005, 1 and -0.0005: the last direction says nothing."""
    gram = tensors([[[1, 1.0005, 0], [1.0005, 1, 0], [0, 0, 1]]])[0]
    solved = regression_mean([gram, gram.clone()], tensors([[1, 3, 0]], [[3, 1, 4]]), BOTH, 1.0)
    torch.testing.assert_close(solved, torch.tensor([[2.0, 2, 2]], dtype=torch.float64))


def test_small_maps_are_exact_where_the_kernel_leaves_them() -> None:
    layer = Layer("c", "conv", "w", None, None, "in", "out", None,
                  {"stride": 1, "padding": 1, "dilation": 1, "groups": 1})
    gram = InputGram(layer, (8, 16, 3, 3), False)
    gram.add(torch.rand(300, 16, 1, 1, generator=torch.Generator().manual_seed(0)))
    centre = torch.arange(16 * 9) % 9 == 4
    assert (gram.read()[0].diagonal() > 0).equal(centre)
    assert int((gram.read() != 0).sum()) == 16 * 16


def test_rows_know_the_same_inputs_as_products() -> None:
    """A pixel that hardly varies beside its channel's others is no input, whichever way they are kept."""
    layer = Layer("c", "conv", "w", None, None, "in", "out", None,
                  {"stride": 1, "padding": 1, "dilation": 1, "groups": 1})
    x = torch.rand(50, 2, 2, 2, generator=torch.Generator().manual_seed(0))
    x[:, 0, 0, 0] *= 1e-5
    seen = []
    for keep_rows in (False, True):
        gram = InputGram(layer, (8, 2, 3, 3), True, keep_rows)
        gram.add(x)
        read = gram.read()
        seen.append((read.square().sum(0) if keep_rows else read[0].diagonal()) > 0)
    assert seen[0].equal(seen[1])
    assert int(seen[0].sum()) == 19 - 1


def test_alpha_one_is_the_stacked_least_squares_solution() -> None:
    context = case("mlp", 3, 4)
    fused, _ = solve(context, "regmean", {"alpha": 1.0})
    layer, inputs = last_layer(context)
    wanted = torch.cat([x @ with_bias(s, layer).T for x, s in zip(inputs, context.states, strict=True)])
    stacked = torch.cat(inputs)
    solution = torch.linalg.lstsq(stacked, wanted, driver="gelsd").solution
    torch.testing.assert_close(stacked @ with_bias(fused, layer).T, stacked @ solution, rtol=1e-4, atol=1e-4)
    average, _ = solve(context, "average")
    assert not torch.allclose(stacked @ with_bias(average, layer).T, stacked @ solution, rtol=1e-2, atol=1e-2)


def test_alpha_is_the_papers_formula() -> None:
    context = case("mlp", 3)
    fused, _ = solve(context, "regmean", {"alpha": 0.7})
    layer, inputs = last_layer(context)
    left, right = 0.0, 0.0
    for x, state in zip(inputs, context.states, strict=True):
        gram = x.T @ x
        gram = 0.7 * gram + 0.3 * gram.diagonal().diag()
        left, right = left + gram, right + gram @ with_bias(state, layer).T
    seen = left.diagonal() > 0  # other inputs are always zero, and the formula has no inverse
    wanted = torch.linalg.solve(left[seen][:, seen], right[seen]).T
    torch.testing.assert_close(with_bias(fused, layer)[:, seen], wanted, rtol=1e-4, atol=1e-5)


def test_a_class_is_the_business_of_the_parents_that_know_it() -> None:
    context = case("mlp", 3)
    classes = context.importance[0]["output"].numel()
    counts = np.zeros((2, classes))
    counts[0, 0], counts[1, 1:] = 10, 10
    context = case("mlp", 3, class_counts=counts)
    fused, _ = solve(context, "regmean", {"head_weights": "class_share"})
    layer, _ = last_layer(context)
    for number, row in enumerate(with_bias(fused, layer)):
        owner = context.states[min(number, 1)]
        torch.testing.assert_close(row, with_bias(owner, layer)[number])


@pytest.mark.parametrize("name", ["mlp", "vgg_bn_2fc", "resnet", "mobilenet", "vit_fused"])
def test_permuted_parents_are_aligned_first(name: str) -> None:
    """A and a permuted B, grouped, give what A and B give position by position: weights and inputs both travel."""
    plain = case(name, 3, samples=40, noise=0.02)
    first, second = plain.states
    random, moved = np.random.default_rng(0), dict(second)
    for space in plain.trace.spaces.values():
        moved.update(permute_state(moved, space, random.permutation(space.size), plain.trace))
    grouped = context_of(plain.trace, [first, moved], plain.data, "balanced")
    wanted, _ = solve(plain, "regmean", {"head_weights": "uniform"})
    found, _ = solve(grouped, "regmean", {"head_weights": "uniform"})
    torch.testing.assert_close(outputs(plain, found), outputs(plain, wanted), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("groups", [1, 2, 4])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("bias", [False, True])
def test_products_of_convolution_inputs(groups: int, stride: int, bias: bool) -> None:
    shape = (8, 4 // groups, 3, 3)
    layer = Layer("c", "conv", "w", None, None, "in", "out", None,
                  {"stride": stride, "padding": 1, "dilation": 1, "groups": groups})
    x = torch.randn(6, 4, 5, 5, generator=torch.Generator().manual_seed(0))
    gram = InputGram(layer, shape, bias)
    for part in x.split([2, 4]):
        gram.add(part)
    rows = torch.cat(list(layer_rows(layer, x, shape))).double().reshape(-1, groups, shape[1] * 9)
    if bias:
        rows = torch.cat([rows, torch.ones(len(rows), groups, 1)], 2)
    torch.testing.assert_close(gram.read(), torch.einsum("rgi,rgj->gij", rows, rows), rtol=1e-5, atol=1e-4)
    if groups == 1:
        kept = InputGram(layer, shape, bias, keep_rows=True)
        for part in x.split([2, 4]):
            kept.add(part)
        torch.testing.assert_close(kept.read().double(), rows[:, 0])


def test_little_memory_gives_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    context = case("resnet", 3, samples=30)
    at_once, _ = solve(context, "regmean")
    parts = regmean._RegressionMean._batches_of_layers

    def one_at_a_time(self, layers, state):
        self.budget = 1
        found = list(parts(self, layers, state))
        assert [len(part) for part in found] == [1] * len(layers)
        return iter(found)

    monkeypatch.setattr(regmean._RegressionMean, "_batches_of_layers", one_at_a_time)
    in_turn, _ = solve(context, "regmean")
    assert all(torch.equal(at_once[k], in_turn[k]) for k in at_once)


def test_samples_kept_for_later_steps_are_not_read() -> None:
    kept = case("mlp", 3, reserve=True)
    data = kept.data.subset(torch.nonzero(~kept.held_out).flatten().tolist())
    other = context_of(kept.trace, kept.states, data, "identity")
    one, two = solve(kept, "regmean")[0], solve(other, "regmean")[0]
    for name in one:
        torch.testing.assert_close(one[name], two[name], rtol=1e-5, atol=1e-6)


def test_layers_that_stay_average_are_named() -> None:
    context = case("tied", 3)
    solve(context, "regmean")
    assert any("keeps its average weights: its weight is shared" in note for note in context.notes)


def test_alpha_beyond_one_is_refused() -> None:
    with pytest.raises(RecipeError, match=r"solver\.alpha: 1\.5 is too large; the largest allowed value is 1"):
        solve(case("mlp", 3), "regmean", {"alpha": 1.5})


@pytest.mark.parametrize("from_rows", [True, False])
def test_inputs_that_are_silent_up_to_rounding_keep_the_mean(from_rows: bool) -> None:
    random = torch.Generator().manual_seed(0)
    rows = [torch.randn(40, 3, generator=random, dtype=torch.float64) for _ in range(2)]
    for x in rows:
        x[:, 1] *= 1e-9
    weights = [torch.randn(2, 3, generator=random, dtype=torch.float64) for _ in range(2)]
    given = [x.clone() for x in rows] if from_rows else [(x.T @ x)[None] for x in rows]
    solved = regression_mean(given, weights, torch.ones(2, 2), 0.9)
    torch.testing.assert_close(solved[:, 1], (weights[0] + weights[1])[:, 1] / 2)
    assert float(solved.abs().max()) < 5


@pytest.mark.parametrize(("gamma", "large"), [(0.1, False), (1e-6, True)])
def test_weights_far_larger_than_the_parents_are_said(gamma: float, large: bool) -> None:
    parents = []
    for number, parent in enumerate(load_demo()[:2]):
        state = {name: tensor.clone() for name, tensor in parent.state.items()}
        state["fc1.bias"][torch.randperm(64, generator=torch.Generator().manual_seed(number))[:8]] = -100.0
        parents.append(make_parent(parent.name, parent.architecture, state))
    recipe = {"grouping": {"method": "cca", "gamma": gamma}, "solver": "regmean"}
    result = fuse(parents, load_data("digits:train").subset(slice(0, 100)), recipe)
    said = [line for line in result.report["warnings"] if line.startswith("regmean: weights of fc2 are")]
    assert bool(said) == large
    assert (float(result.state["fc2.weight"].abs().max()) < 10) != large
