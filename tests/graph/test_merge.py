"""Merging: the arithmetic of averaging, exact for permuted copies, at other widths, with output weights."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from fusion_engine.core.errors import ParentError, UnsupportedModelError
from fusion_engine.core.types import Grouping, Space
from fusion_engine.graph import merge_states, permute_state, random_permutation, trace
from tests.zoo import build
from tests.zoo_models.chains import VGG

from .traced_zoo import Traced, difference, double, traced


def aligned(space: Space, orders: list[np.ndarray]) -> Grouping:
    """Undo the permutations of copies: copy p's neuron j is the parent's neuron orders[p][j]."""
    back = []
    for order in orders:
        matrix = np.zeros((space.size, space.size))
        matrix[order, np.arange(space.size)] = 1
        back.append(matrix)
    return Grouping(space.name, "test", tuple(m / len(orders) for m in back), tuple(m.T for m in back))


def stacked(space: Space, count: int) -> Grouping:
    """Keep the neurons of all parents: the fused space is `count` times as wide."""
    eye, parts = np.eye(space.size), []
    for p in range(count):
        parts.append(np.concatenate([eye if q == p else 0 * eye for q in range(count)]))
    return Grouping(space.name, "test", tuple(parts), tuple(m.T for m in parts))


def assert_equal(first: dict[str, Tensor], second: dict[str, Tensor]) -> None:
    assert list(first) == list(second)
    for name, tensor in second.items():
        torch.testing.assert_close(first[name], tensor, rtol=1e-12, atol=1e-12, msg=name)


def test_copies_permuted_in_one_space_come_back(zoo: Traced) -> None:
    for number, space in enumerate(zoo.trace.spaces.values()):
        random = np.random.default_rng(number)
        orders = [np.arange(space.size), *(random_permutation(space.size, random) for _ in range(2))]
        copies = [{**zoo.state, **permute_state(zoo.state, space, o, zoo.trace)} for o in orders]
        merged = merge_states(copies, zoo.trace, {space.name: aligned(space, orders)})
        assert_equal(merged, zoo.state)


def test_copies_permuted_in_all_spaces_come_back(zoo: Traced) -> None:
    """Merging undoes the spaces in order, blocks before what is in them: the copy was permuted in reverse."""
    random = np.random.default_rng(0)
    orders = {n: [np.arange(s.size), random_permutation(s.size, random)] for n, s in zoo.trace.spaces.items()}
    copy = dict(zoo.state)
    for name, space in reversed(zoo.trace.spaces.items()):
        copy.update(permute_state(copy, space, orders[name][1], zoo.trace))
    groupings = {n: aligned(s, orders[n]) for n, s in zoo.trace.spaces.items()}
    assert_equal(merge_states([zoo.state, copy], zoo.trace, groupings), zoo.state)


def test_no_grouping_is_the_plain_mean(zoo: Traced) -> None:
    states = [zoo.state, double(build(zoo.name, seed=1)[0].state_dict())]
    before = [{k: v.clone() for k, v in s.items()} for s in states]
    merged = merge_states(states, zoo.trace, {})
    identity = {n: aligned(s, [np.arange(s.size)] * 2) for n, s in zoo.trace.spaces.items()}
    assert_equal(merge_states(states, zoo.trace, identity), merged)
    for name, tensor in merged.items():
        if tensor.is_floating_point():
            torch.testing.assert_close(tensor, (states[0][name] + states[1][name]) / 2)
        else:
            assert torch.equal(tensor, states[0][name])
    assert all(torch.equal(a[k], b[k]) for a, b in zip(before, states, strict=True) for k in a)


@pytest.mark.parametrize("name", ["mlp", "vgg11", "vgg_bn_2fc", "resnet", "densenet", "upscale"])
def test_two_equal_parents_side_by_side_compute_the_same(name: str) -> None:
    zoo = traced(name)
    wide = {n: stacked(s, 2) for n, s in zoo.trace.spaces.items()}
    merged = merge_states([zoo.state, zoo.state], zoo.trace, wide)
    assert difference(zoo.run(zoo.state), zoo.run(merged)) < 1e-10


def test_parents_of_different_width() -> None:
    """A wide parent made of two copies of a narrow one, summed back neuron by neuron, is the narrow one."""
    zoo = traced("vgg_bn_2fc")
    wide = merge_states([zoo.state] * 2, zoo.trace, {n: stacked(s, 2) for n, s in zoo.trace.spaces.items()})
    groupings = {}
    for name, space in zoo.trace.spaces.items():
        eye = np.eye(space.size)
        groupings[name] = Grouping(name, "test", (eye / 2, np.hstack([eye, eye]) / 4), (eye, np.vstack([eye, eye])))
    assert_equal(merge_states([zoo.state, wide], zoo.trace, groupings), zoo.state)
    with pytest.raises(ParentError, match="group every space"):
        merge_states([zoo.state, wide], zoo.trace, {})


def test_interleaved_neurons_cannot_change_their_width() -> None:
    zoo = traced("roll")
    with pytest.raises(UnsupportedModelError, match="space 'first' cannot change its width"):
        merge_states([zoo.state] * 2, zoo.trace, {n: stacked(s, 2) for n, s in zoo.trace.spaces.items()})


def test_output_weights_choose_the_parent_of_every_class() -> None:
    zoo = traced("vgg_bn_2fc")
    other = double(build("vgg_bn_2fc", seed=1)[0].state_dict())
    first = torch.tensor([1.0, 0.0] * 5)
    merged = merge_states([zoo.state, other], zoo.trace, {}, [first, 1 - first])
    for name in ("classifier.3.weight", "classifier.3.bias"):
        assert torch.equal(merged[name][0::2], zoo.state[name][0::2])
        assert torch.equal(merged[name][1::2], other[name][1::2])
    torch.testing.assert_close(
        merged["classifier.0.bias"], (zoo.state["classifier.0.bias"] + other["classifier.0.bias"]) / 2
    )
    with pytest.raises(UnsupportedModelError, match="7 classes"):
        merge_states([zoo.state, other], zoo.trace, {}, [torch.ones(7) / 2] * 2)


def test_some_tensors_only_and_types_kept() -> None:
    model, inputs = build("vgg_bn_2fc")
    found = trace(model, inputs)
    state = model.state_dict()
    merged = merge_states([state, state], found, {}, names={"features.0.weight"})
    assert list(merged) == ["features.0.weight"]
    assert merged["features.0.weight"].dtype == torch.float32
    assert merged["features.0.weight"].data_ptr() != state["features.0.weight"].data_ptr()


def test_tied_tensors_stay_tied() -> None:
    zoo = traced("language_model")
    merged = merge_states([zoo.state] * 2, zoo.trace, {})
    assert merged["token.weight"] is merged["out.weight"]


def test_a_grouping_for_another_number_of_parents_is_refused() -> None:
    zoo = traced("mlp")
    grouping = aligned(zoo.trace.spaces["fc.0"], [np.arange(16)] * 3)
    with pytest.raises(ParentError, match="3 parents, not 2"):
        merge_states([zoo.state] * 2, zoo.trace, {"fc.0": grouping})


def test_wide_models_load_their_merged_state() -> None:
    zoo = traced("vgg11")
    merged = merge_states([zoo.state] * 2, zoo.trace, {n: stacked(s, 2) for n, s in zoo.trace.spaces.items()})
    VGG(width=2).double().load_state_dict(merged)
