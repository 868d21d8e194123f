"""How two networks differ, against the definitions and against copies whose difference is known."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from fusion_engine.analysis import compare_networks, difference
from fusion_engine.analysis.difference import relative, unrelated_cka
from fusion_engine.core.errors import FusionError, ParentError
from fusion_engine.data import Dataset, load_data
from fusion_engine.demo import load_demo
from fusion_engine.parents import Parent, make_parent
from tests.analysis.analysis_cases import shuffled


@pytest.fixture(scope="module")
def parents() -> list[Parent]:
    return load_demo("mlp")


@pytest.fixture(scope="module")
def data() -> Dataset:
    return load_data("digits:test").subset(list(range(200)))


def like(parent: Parent, state: dict[str, torch.Tensor], name: str = "copy") -> Parent:
    return make_parent(name, parent.architecture, state, parent.metadata, parent.key_map)


def test_relative_differences_are_of_the_definition() -> None:
    a, b = torch.tensor([3.0, 0.0]), torch.tensor([0.0, 4.0])
    assert relative(a, b) == pytest.approx(1.0)
    assert relative(a, -a) == pytest.approx(math.sqrt(2), abs=1e-6)
    assert relative(a, a) == relative(torch.zeros(3), torch.zeros(3)) == 0
    assert relative(a, torch.zeros(2)) == 1
    assert relative(a, 2 * a) == pytest.approx(3 / math.sqrt(9 + 36), abs=1e-6)


def test_a_shuffled_copy_is_the_same_once_it_is_aligned(parents: list[Parent], data: Dataset) -> None:
    _, graph, _ = compare_networks(parents[0], parents[1])
    state, orders = shuffled(graph, parents[0].state)
    copy = like(parents[0], state)
    for samples, method in ((data, "balanced"), (None, "weight_matching")):
        found = difference(parents[0], copy, samples)
        assert found["align"] == method
        assert not found["same"]
        assert found["as_is"] > 0.5
        assert found["aligned"] == 0
        assert all(layer["aligned"] == 0 < layer["as_is"] for layer in found["layers"])
        for space in found["spaces"]:
            assert space["cka"] == pytest.approx(1)
            elsewhere = orders[space["name"]] != np.arange(space["sizes"][0])
            assert space["moved"] == pytest.approx(float(elsewhere.mean()))
    assert difference(parents[0], copy, data)["agreement"] == 1


def test_one_changed_layer_is_found(parents: list[Parent], data: Dataset) -> None:
    state = {name: tensor.clone() for name, tensor in parents[0].state.items()}
    state["fc2.weight"] += 0.1 * torch.randn(state["fc2.weight"].shape, generator=torch.Generator().manual_seed(0))
    found = difference(parents[0], like(parents[0], state), data, align="none")
    changed = {layer["name"]: layer["as_is"] for layer in found["layers"]}
    assert (changed["fc1"], changed["fc3"]) == (0, 0)
    before, after = (torch.cat([s["fc2.weight"].flatten(), s["fc2.bias"]]) for s in (parents[0].state, state))
    assert changed["fc2"] == pytest.approx(float((after - before).norm() / torch.cat([before, after]).norm()), abs=1e-6)
    assert [level["as_is"] for level in found["levels"]] == list(changed.values())
    assert [space["cka"] < 1 - 1e-6 for space in found["spaces"]] == [False, True]
    assert (found["aligned"], found["align"], found["spaces"][0]["moved"]) == (None, "", None)
    assert found["samples"] == 200


def test_cka_is_of_the_definition(parents: list[Parent], data: Dataset) -> None:
    """||Y'X||^2 / (||X'X|| ||Y'Y||) of centred pre-activations, from the features themselves."""
    found = difference(parents[0], parents[1], data)
    x = data.normalised().flatten(1).double()
    own = [x @ p.state["fc1.weight"].double().T + p.state["fc1.bias"].double() for p in parents[:2]]
    a, b = (values - values.mean(0) for values in own)
    expected = (a.T @ b).norm() ** 2 / ((a.T @ a).norm() * (b.T @ b).norm())
    assert found["spaces"][0]["cka"] == pytest.approx(float(expected), abs=1e-5)
    said = [p.model(data.normalised()).argmax(1) for p in parents[:2]]
    assert found["agreement"] == pytest.approx(float((said[0] == said[1]).double().mean()))


def test_unrelated_features_have_about_the_cka_that_is_said() -> None:
    random = np.random.default_rng(0)
    rows, n, m = 120, 40, 25
    values = []
    for _ in range(20):
        a, b = random.normal(size=(rows, n)), random.normal(size=(rows, m))
        a, b = a - a.mean(0), b - b.mean(0)
        values.append(np.linalg.norm(a.T @ b) ** 2 / (np.linalg.norm(a.T @ a) * np.linalg.norm(b.T @ b)))
    assert unrelated_cka([n, m], rows) == pytest.approx(np.mean(values), rel=0.05)


def test_an_alignment_that_leads_away_is_said(parents: list[Parent], data: Dataset) -> None:
    """Half-way to another network, neurons stand where they stood; features may pair them otherwise."""
    middle = {name: (tensor + parents[1].state[name]) / 2 for name, tensor in parents[0].state.items()}
    found = difference(parents[0], like(parents[0], middle), data, align="balanced")
    assert found["aligned"] > found["as_is"] + 0.01
    assert any("brought the weights further apart" in note for note in found["notes"])
    assert not difference(parents[0], parents[1], data)["notes"]


def test_a_change_too_small_for_the_figures_is_a_change(parents: list[Parent]) -> None:
    state = {name: tensor.clone() for name, tensor in parents[0].state.items()}
    state["fc1.weight"][0, 0] += 1e-6
    found = difference(parents[0], like(parents[0], state))
    assert all(tensor["as_is"] == 0 for layer in found["layers"] for tensor in layer["tensors"])
    assert not found["same"]


def test_the_same_network_is_the_same_and_names_of_files_are_kept(parents: list[Parent]) -> None:
    twin = replace(parents[0], name="twin", key_map={name: f"net.{name}" for name in parents[0].state})
    found = difference(parents[0], twin)
    assert found["same"]
    assert "identical" in found["notes"][0]
    assert found["layers"][0]["tensors"][0]["file"] == ["fc1.weight", "net.fc1.weight"]


@pytest.mark.parametrize(
    ("align", "words"), [("kmeans", "pairs no neurons"), ("hungarian", "looks at samples"), ("x", "pairs no neurons")]
)
def test_alignments_that_cannot_work_are_refused(parents: list[Parent], align: str, words: str) -> None:
    with pytest.raises(FusionError, match=words):
        difference(parents[0], parents[1], align=align)


def test_other_architectures_are_refused_and_other_widths_compared_as_they_are(
    parents: list[Parent], data: Dataset
) -> None:
    with pytest.raises(ParentError, match="different architectures"):
        difference(parents[0], load_demo("vgg")[0])
    config = replace(parents[0].architecture, widths=(64, 40, 32, 10))
    state = {n: t.clone() for n, t in parents[1].state.items()}
    state |= {"fc1.weight": state["fc1.weight"][:40], "fc1.bias": state["fc1.bias"][:40],
              "fc2.weight": state["fc2.weight"][:, :40]}
    narrow = make_parent("narrow", config, state)
    found = difference(parents[0], narrow, data)
    assert [layer["as_is"] is None for layer in found["layers"]] == [True, True, False]
    assert found["spaces"][0]["sizes"] == [64, 40]
    assert (found["align"], found["as_is"]) == ("", None)
    assert any("different widths" in note for note in found["notes"])
