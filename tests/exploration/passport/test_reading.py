"""Answers of neurons, against all activations at once."""

import numpy as np
import pytest
import torch

from fusion_engine.architectures import build as build_network
from fusion_engine.architectures.vit import ViTConfig
from fusion_engine.core.errors import FusionError, UnsupportedModelError
from fusion_engine.data import Dataset
from fusion_engine.demo import load_demo
from fusion_engine.exploration.passport.excitation import class_answers, correlations, extremes
from fusion_engine.exploration.passport.reading import read_at, read_space
from fusion_engine.exploration.passport.silencing import Network, silenced
from fusion_engine.exploration.passport.space_passports import FusedNetwork, space_passports, subject
from fusion_engine.exploration.passport.weights import Incoming, incoming
from fusion_engine.exploration.passport.where import where_it_looks
from fusion_engine.graph import Trace, trace
from fusion_engine.jobs.inputs import read_data
from fusion_engine.parents.parent import make_parent
from fusion_engine.pipeline import fuse
from tests.module_hooks import capture
from tests.zoo import build

DATA = read_data("digits:train", 60)


def recorded(model: torch.nn.Module, module: str, x: torch.Tensor) -> torch.Tensor:
    with capture(model, [module]) as captured, torch.no_grad():
        model(x)
    return captured.outputs[module]


@pytest.fixture(scope="module")
def vgg() -> tuple[list, Trace]:
    parents = load_demo("vgg")
    return parents, trace(parents[0].model, (DATA.normalised(slice(0, 2)),))


def test_answers_are_the_largest_of_each_map(vgg, monkeypatch) -> None:
    parents, graph = vgg
    monkeypatch.setattr("fusion_engine.exploration.passport.reading._BATCH", 7)  # the last batch is a short one
    found = read_space(graph, parents[1].state, "features.3", DATA)
    maps = recorded(parents[1].model, "features.3", DATA.normalised())
    assert found.grid == tuple(maps.shape[2:])
    np.testing.assert_allclose(found.values, maps.flatten(2).amax(2).numpy(), rtol=1e-5)
    np.testing.assert_array_equal(found.at, maps.flatten(2).argmax(2).numpy())


def test_top_inputs_are_those_of_a_sort_of_everything() -> None:
    values = np.random.default_rng(0).normal(size=(40, 3)).astype(np.float32)
    values[5, 1] = values[9, 1] = 9.0  # equal: the first comes first
    top, bottom = extremes(values, 4)
    assert top[1].tolist()[:2] == [5, 9]
    for neuron in range(3):
        order = sorted(range(40), key=lambda i: (-values[i, neuron], i))
        assert top[neuron].tolist() == order[:4]
        assert bottom[neuron].tolist() == sorted(range(40), key=lambda i: (values[i, neuron], i))[:4]
    assert extremes(values[:2], 8)[0].shape == (3, 2)


def test_answers_to_classes() -> None:
    values = np.array([[1.0, -1.0], [3.0, -3.0], [0.5, -0.5], [-8.5, -0.5]])
    found = class_answers(values, np.array([0, 0, 2, 2]), 4)
    np.testing.assert_allclose(found.mean[0], [2.0, np.nan, -4.0, np.nan])
    np.testing.assert_allclose(found.std[0, [0, 2]], [1.0, 4.5])
    np.testing.assert_allclose(found.quantiles[0, 0], np.quantile([1.0, 3.0], [0.05, 0.25, 0.5, 0.75, 0.95]))
    assert found.preferred.tolist() == [0, 2]
    # Rectified means are 2 and 0.25 for the first neuron, and nothing excites the second.
    np.testing.assert_allclose(found.selectivity, [(2 - 0.25) / (2 + 0.25), 0.0])


def test_correlations() -> None:
    a = np.random.default_rng(1).normal(size=(30, 2))
    b = a + np.random.default_rng(2).normal(size=(30, 2))
    expected = [np.corrcoef(a[:, i], b[:, i])[0, 1] for i in range(2)]
    np.testing.assert_allclose(correlations(a, b), expected)
    assert np.isnan(correlations(a, np.ones_like(a))).all()


def _hooked(model: torch.nn.Module, module: str, neuron: int, value: float, x: torch.Tensor) -> torch.Tensor:
    def override(_module, _inputs, output):
        changed = output.clone()
        changed[:, neuron] = value
        return changed

    handle = model.get_submodule(module).register_forward_hook(override)
    try:
        with torch.no_grad():
            return model(x)
    finally:
        handle.remove()


@pytest.mark.parametrize("to", ["mean", "zero"])
def test_silencing_is_what_a_hook_does(vgg, to: str) -> None:
    parents, graph = vgg
    parent, neuron = parents[0], 7
    test = read_data("digits:test", 100)
    fill = float(recorded(parent.model, "features.3", DATA.normalised())[:, neuron].mean()) if to == "mean" else 0.0
    found = silenced(graph, Network(parent.state, (neuron,)), "features.3", DATA, test, to)
    for logits, part in (
        (parent.model(test.normalised()), "before"),
        (_hooked(parent.model, "features.3", neuron, fill, test.normalised()), "after"),
    ):
        assert found[part]["accuracy"] == pytest.approx(float((logits.argmax(1) == test.y).float().mean()))
        assert found[part]["loss"] == pytest.approx(float(torch.nn.functional.cross_entropy(logits, test.y)), rel=1e-4)
        own = test.y == 3
        loss = torch.nn.functional.cross_entropy(logits[own], test.y[own])
        assert found[part]["loss_by_class"][3] == pytest.approx(float(loss), rel=1e-4)
    assert found["before"]["loss"] != found["after"]["loss"]


def test_a_stream_is_silenced_at_every_sum() -> None:
    """With a neuron of the stream always 0, the weights from it make no difference, wherever it is read."""
    model, inputs = build("resnet")
    graph = trace(model, inputs)
    space = next(s for s in graph.spaces.values() if len(s.features) > 1)
    state = {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}
    x = torch.cat([inputs[0]] * 2)
    data = Dataset(x, torch.arange(len(x)) % 3, classes=3)
    expected = silenced(graph, Network(state, (2,)), space.name, data, data, "zero")["after"]
    for member in space.members:
        if member.role == "in":
            state[member.tensor].movedim(member.dims[0], 0)[member.index[2]] = 5.0
    found = silenced(graph, Network(state, (2,)), space.name, data, data, "zero")
    assert found["after"]["loss"] == pytest.approx(expected["loss"], rel=1e-5)
    assert found["before"]["loss"] != pytest.approx(found["after"]["loss"], rel=1e-2)


@pytest.mark.parametrize("name", ["vit_fused", "vit_encoder_pre", "vit_module", "language_model", "resnet"])
def test_every_space_of_other_networks_is_read_and_looked_into(name: str) -> None:
    model, inputs = build(name)
    graph, state = trace(model, inputs), model.state_dict()
    data = Dataset(torch.cat([inputs[0]] * 2), None)
    for space in graph.spaces:
        found = read_space(graph, state, space, data)
        assert found.values.shape == (len(data), graph.spaces[space].size)
        # The two halves are the same samples: they stay apart, in order.
        np.testing.assert_allclose(found.values[: len(inputs[0])], found.values[len(inputs[0]) :], rtol=1e-4, atol=1e-5)
        if name == "language_model":
            with pytest.raises(UnsupportedModelError, match="no gradient"):
                where_it_looks(graph, state, space, 0, data, [0])
        else:
            assert len(where_it_looks(graph, state, space, 0, data, [0, 3]).maps) == 2


def test_where_a_neuron_looks(vgg) -> None:
    parents, graph = vgg
    looked = where_it_looks(graph, parents[0].state, "features.3", 5, DATA, [3, 9])
    maps = recorded(parents[0].model, "features.3", DATA.normalised())
    assert looked.how == "activation"
    np.testing.assert_allclose(looked.maps, maps[[3, 9], 5].numpy(), rtol=1e-4, atol=1e-5)
    mlp = load_demo("mlp")[0]
    flat = trace(mlp.model, (DATA.normalised(slice(0, 2)),))
    looked = where_it_looks(flat, mlp.state, "fc1", 5, DATA, [3])
    assert looked.how == "gradient"
    # Linear in the input: gradient times input adds up to the value without the bias.
    value = recorded(mlp.model, "fc1", DATA.normalised([3]))[0, 5] - mlp.state["fc1.bias"][5]
    assert float(looked.maps.sum()) == pytest.approx(float(value), rel=1e-4)


def test_what_a_neuron_reads(vgg) -> None:
    parents, graph = vgg
    state = parents[0].state

    def read(space: str) -> Incoming:
        found = incoming(graph, state, space, read_at(graph, state, space).node, DATA.input_shape)
        assert isinstance(found, Incoming)
        return found

    first = read("features.0")
    np.testing.assert_array_equal(first.pictures, state["features.0.weight"].numpy())
    second = read("features.3")
    norms = state["features.3.weight"].flatten(2).norm(dim=2)
    assert second.source == "features.0"
    np.testing.assert_array_equal(second.index[:, 0], norms.argmax(1).numpy())
    np.testing.assert_allclose(np.abs(second.weight[:, 0]), norms.amax(1).numpy(), rtol=1e-5)


def test_a_space_that_is_not_there_is_named() -> None:
    with pytest.raises(FusionError, match=r"did you mean 'features\.3'"):
        subject(load_demo("vgg"), DATA, "features.33")


def test_without_a_fusion_there_is_nothing_of_one() -> None:
    info, arrays = space_passports(subject(load_demo("vgg"), DATA, "features.3"))
    assert info["sizes"] == [32, 32]
    assert "group" not in arrays
    np.testing.assert_array_equal(arrays["samples"][0], DATA.x[arrays["kept"][0]].numpy())


def test_inside_heads_the_neurons_are_those_of_the_heads_that_met() -> None:
    config = ViTConfig((1, 8, 8), patch=4, width=8, heads=4, hidden=(12,), inner=(8,), classes=10)
    parents = []
    for seed in range(2):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            parents.append(make_parent(f"p{seed}", config, build_network(config).state_dict()))
    result = fuse(parents, DATA, {"importance": "activation", "grouping": "hungarian", "solver": "average"})
    nest = next(iter(result.trace.nests.values()))
    space = next(s for s in nest.kinds[0] if result.groupings[s].info["sources"][1] != s)
    with pytest.raises(UnsupportedModelError, match="which heads meet"):
        subject(parents, DATA, space)
    about = subject(parents, DATA, space, FusedNetwork(result.state, result.groupings))
    assert list(about.sources) == result.groupings[space].info["sources"]
    info, arrays = space_passports(about)
    read = read_space(about.graph, parents[1].state, about.sources[1], DATA)
    np.testing.assert_array_equal(arrays["values/parents"][info["sizes"][0] :], read.values.T)
