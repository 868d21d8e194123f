"""Spaces of every zoo model: permutations and changes of basis keep the function, and nothing is forgotten."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from fusion_engine.graph import Program, permute_state, random_permutation, read_site, trace, transform_state
from tests.zoo import build

from .traced_zoo import Traced, difference, double, traced

TOLERANCE = 1e-8


def orders(zoo: Traced, seed: int = 0) -> dict[str, np.ndarray]:
    random = np.random.default_rng(seed)
    return {name: random_permutation(space.size, random) for name, space in zoo.trace.spaces.items()}


def matters(zoo: Traced, names: tuple[str, ...]) -> bool:
    """Whether the function depends on a tensor at all: the bias of separate keys cancels in the softmax."""
    noise = torch.rand_like(zoo.state[names[0]])
    return difference(zoo.run(zoo.state), zoo.run({**zoo.state, **dict.fromkeys(names, noise)})) > TOLERANCE


def test_every_space_alone_and_all_together(zoo: Traced) -> None:
    reference, together = zoo.run(zoo.state), dict(zoo.state)
    for name, order in orders(zoo).items():
        space = zoo.trace.spaces[name]
        alone = permute_state(zoo.state, space, order, zoo.trace)
        assert any(not torch.equal(t, zoo.state[n]) for n, t in alone.items()), name
        assert difference(reference, zoo.run({**zoo.state, **alone})) < TOLERANCE, name
        together.update(permute_state(together, space, order, zoo.trace))
    assert difference(reference, zoo.run(together)) < TOLERANCE


def test_one_tensor_left_behind_is_noticed(zoo: Traced) -> None:
    reference = zoo.run(zoo.state)
    for name, order in orders(zoo).items():
        moved = permute_state(zoo.state, zoo.trace.spaces[name], order, zoo.trace)
        groups = {zoo.trace.aliases[n] for n in moved}
        if len(groups) == 1:
            continue  # queries and keys in one fused weight: nothing else has to move
        for left in filter(lambda names: matters(zoo, names), groups):
            partial = {n: t for n, t in moved.items() if n not in left}
            assert difference(reference, zoo.run({**zoo.state, **partial})) > TOLERANCE, (name, left)


def test_changes_of_basis_that_the_freedom_allows(zoo: Traced) -> None:
    reference = zoo.run(zoo.state)
    generator = torch.Generator().manual_seed(0)
    for name, space in zoo.trace.spaces.items():
        if space.freedom == "perm":
            continue
        matrix = torch.randn(space.size, space.size, generator=generator, dtype=torch.float64) * 0.3
        matrix += torch.eye(space.size, dtype=torch.float64)
        if space.freedom == "orth":
            matrix = torch.linalg.qr(matrix)[0]
        changed = transform_state(zoo.state, space, matrix, zoo.trace)
        assert difference(reference, zoo.run({**zoo.state, **changed})) < 1e-7, name


def test_activations_at_the_sites_move_with_the_neurons(zoo: Traced) -> None:
    for name, order in orders(zoo).items():
        space = zoo.trace.spaces[name]
        program = Program(zoo.trace, None, [site.node for site in space.sites])
        with torch.no_grad():
            before = program(zoo.state, *zoo.inputs)
            after = program({**zoo.state, **permute_state(zoo.state, space, order, zoo.trace)}, *zoo.inputs)
        for site, old, new in zip(space.sites, before, after, strict=True):
            torch.testing.assert_close(read_site(new, site), read_site(old, site)[order], rtol=0, atol=TOLERANCE)


def test_names_are_unique_and_do_not_depend_on_the_seed_or_the_width() -> None:
    assert list(traced("vgg11").trace.spaces) == [f"features.{i}" for i in (0, 3, 6, 8, 11, 13, 16, 18)]
    from tests.zoo_models.chains import VGG
    from tests.zoo_models.convolutional import ResNet

    for small, large in ((VGG(True, True), VGG(True, True, width=2)), (ResNet(8), ResNet(12))):
        x = torch.randn(2, 3, 32, 32)
        first, second = trace(small, (x,)), trace(large, (x,))
        assert list(first.spaces) == list(second.spaces)
        assert list(first.layers) == list(second.layers)


def test_dependency_order(zoo: Traced) -> None:
    """A space comes after the spaces that its first producing weight reads."""
    names = list(zoo.trace.spaces)
    for layer in zoo.trace.layers.values():
        if layer.space is None or sum(x.space == layer.space for x in zoo.trace.layers.values()) != 1:
            continue
        reads = [
            s.name
            for s in zoo.trace.spaces.values()
            if any(m.tensor == layer.weight and m.role == "in" and 1 in m.dims for m in s.members)
        ]
        assert all(names.index(r) < names.index(layer.space) for r in reads if r != layer.space), layer.name


def test_members_index_every_entry_once(zoo: Traced) -> None:
    for space in zoo.trace.spaces.values():
        for member in space.members:
            assert member.index.shape[0] == space.size
            assert len(np.unique(member.index)) == member.index.size
            size = int(np.prod([zoo.trace.shapes[member.tensor][d] for d in member.dims]))
            assert member.index.min() >= 0
            assert member.index.max() < size


@pytest.mark.parametrize(
    ("name", "space", "size", "tensors"),
    [
        ("vgg_bn_2fc", "features.25", 32, {"features.25.weight", "classifier.0.weight"}),
        ("resnet", "conv1", 8, {"conv1.weight", "layers.0.conv2.weight", "layers.1.conv2.weight"}),
        ("vit_fused", "patch", 12, {"token", "position", "norm.weight", "head.weight", "blocks.1.mlp.2.bias"}),
        ("language_model", "block.attention.proj", 16, {"token.weight", "position.weight"}),
        ("upscale", "expand", 5, {"expand.weight", "expand.bias", "refine.weight"}),
    ],
)
def test_what_a_space_couples(name: str, space: str, size: int, tensors: set[str]) -> None:
    found = traced(name).trace.spaces[space]
    assert found.size == size
    assert tensors <= {m.tensor for m in found.members}


def test_flattened_maps_and_heads_are_blocks_of_entries() -> None:
    flat = traced("vgg_bn_2fc").trace.spaces["features.25"].members[-1]
    assert flat.tensor == "classifier.0.weight"
    assert flat.index.shape == (32, 4)
    heads = traced("vit_fused").trace.spaces["blocks.0.attention.qkv"]
    assert (heads.size, heads.block, heads.freedom) == (2, True, "perm")


def test_outputs_and_inputs_are_frozen() -> None:
    frozen = dict(traced("mlp").trace.frozen)
    assert frozen["fc.2.weight"] == "output of the model"
    assert "fc.0" in frozen["fc.0.weight"]


def test_spaces_of_one_parent_hold_for_another() -> None:
    model, _ = build("mlp", seed=3)
    state = double(model.state_dict())
    zoo = traced("mlp")
    space = zoo.trace.spaces["fc.0"]
    moved = permute_state(state, space, np.arange(space.size)[::-1].copy(), zoo.trace)
    assert difference(zoo.run(state), zoo.run({**state, **moved})) < TOLERANCE
