"""All analyses together, on parents as they are loaded and on a fusion of them."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch

from fusion_engine.analysis import WHAT, Fused, analyse
from fusion_engine.architectures import MLPConfig
from fusion_engine.core.errors import FusionError
from fusion_engine.core.progress import ProgressEvent
from fusion_engine.data import load_data
from fusion_engine.demo import demo_files
from fusion_engine.evaluation import collect_logits, ensembles, evaluate
from fusion_engine.parents import load_parents, make_parent
from fusion_engine.pipeline import FusionResult, fuse


@pytest.fixture(scope="module")
def parents():
    return load_parents(demo_files()[:3])


@pytest.fixture(scope="module")
def data():
    return load_data("digits:test").subset(list(range(150)))


@pytest.fixture(scope="module")
def fused(parents, data) -> FusionResult:
    return fuse(parents, data, "kf_linear")


@pytest.fixture(scope="module")
def report(parents, data, fused) -> dict:
    return analyse(parents, data, fused=fused, points=5)


def test_everything_is_in_the_report_and_plain(report, parents, data, fused) -> None:
    assert json.loads(json.dumps(report, allow_nan=False)) == report
    assert report["what"] == list(WHAT)
    assert report["parents"] == ["parent_0", "parent_1", "parent_2"]
    assert (report["samples"], report["classes"], report["fused"]) == (150, 10, True)
    assert [s["name"] for s in report["similarity"]["spaces"]] == list(fused.trace.spaces)
    assert set(report["seconds"]) == {*WHAT, "total"}


def test_the_parts_agree_with_each_other_and_with_plain_evaluation(report, parents, data, fused) -> None:
    accuracies = [evaluate(p.model, None, data).accuracy for p in parents]
    own = evaluate(fused.model, None, data).accuracy
    assert [p["accuracy"] for p in report["coverage"]["parents"]] == accuracies
    assert report["coverage"]["fused"]["accuracy"] == own == report["budget"]["fused"]["accuracy"]
    pairs = {(p["first"], p["second"]): p for p in report["connectivity"]["pairs"]}
    assert list(pairs) == [
        ("parent_0", "parent_1"), ("parent_0", "parent_2"), ("parent_0", "fused"), ("parent_1", "fused"),
        ("parent_2", "fused"),
    ]  # fmt: skip
    for kind in ("as_is", "aligned"):
        assert pairs["parent_0", "parent_1"][kind]["accuracy"][0] == pytest.approx(accuracies[0])
        assert pairs["parent_2", "fused"][kind]["accuracy"][-1] == pytest.approx(own)
    budget = report["budget"]
    for level in budget["levels"]:
        lost = budget["ensemble"]["accuracy"] - level["fused"]["accuracy"]
        assert level["grouping_loss"] + level["approximation_loss"] == pytest.approx(lost)


def test_the_ensemble_of_the_budget_is_the_recipes(parents, data) -> None:
    """Head weights `confidence` mean the softmax ensemble, which the fusion's own report measures."""
    recipe = {
        "importance": "activation", "grouping": "kmeans",
        "solver": {"method": "least_squares", "head_weights": "confidence"},
    }  # fmt: skip
    result = fuse(parents, data, recipe, test=data)
    found = analyse(parents, data, fused=result, what=["budget"])
    assert found["budget"]["head_weights"] == "confidence"
    assert found["budget"]["ensemble"]["accuracy"] == pytest.approx(result.report["softmax_ensemble"]["accuracy"])


def test_the_same_twice_and_nothing_changes(parents, data, fused, report) -> None:
    before = [parent.digest for parent in parents]
    again = analyse(parents, data, fused=fused, points=5)
    assert {k: v for k, v in again.items() if k != "seconds"} == {k: v for k, v in report.items() if k != "seconds"}
    assert [replace(parent).digest for parent in parents] == before


def test_the_order_of_the_samples_does_not_matter(parents, data) -> None:
    """Not even where only some of them are drawn."""
    many = load_data("digits:train")  # more than any analysis looks at
    order = torch.randperm(len(many), generator=torch.Generator().manual_seed(0))
    one, other = (analyse(parents[:2], d, what=["similarity"]) for d in (many, many.subset(order)))
    assert one["similarity"] == other["similarity"]


def test_progress_never_falls(parents, data) -> None:
    events: list[ProgressEvent] = []
    analyse(parents, data, what=["similarity", "connectivity"], points=2, on_progress=events.append)
    fractions = [event.fraction for event in events]
    assert fractions == sorted(fractions)
    assert fractions[-1] == 1
    assert {"trace", "similarity", "connectivity"} <= {event.stage for event in events}


def test_without_labels_only_similarity(parents, data) -> None:
    unlabelled = replace(data, y=None)
    found = analyse(parents, unlabelled)
    assert found["what"] == ["similarity"]
    assert any("no labels" in note for note in found["notes"])
    with pytest.raises(FusionError, match="no labels"):
        analyse(parents, unlabelled, what=["coverage"])


def test_other_widths_are_compared_but_not_connected(parents, data) -> None:
    first = parents[0].state
    narrow = make_parent("narrow", MLPConfig((64, 60, 32, 10)), _chosen(first, torch.arange(60)))
    found = analyse([parents[0], narrow], data)
    assert found["connectivity"]["pairs"] == []
    assert any("different widths" in note for note in found["notes"])
    space = found["similarity"]["spaces"][0]
    assert space["sizes"] == [64, 60]
    # All but four neurons are the same: the directions of the narrow one are all in the wide one.
    assert space["measures"]["cca"][0][1] == pytest.approx(1, abs=1e-5)
    assert 0.5 < space["measures"]["cka"][0][1] < 1


def test_a_fused_network_of_half_the_width_has_a_budget(parents, data) -> None:
    recipe = {"importance": "activation", "grouping": "kmeans", "solver": "least_squares", "width": 0.5}
    fused = fuse(parents, data, recipe)
    found = analyse(parents, data, fused=fused, what=["budget", "connectivity"], points=2)
    assert found["budget"]["fused"]["accuracy"] == evaluate(fused.model, None, data).accuracy
    assert found["budget"]["levels"][0]["grouping_loss"] > 0
    assert [(p["first"], p["second"]) for p in found["connectivity"]["pairs"]] == [
        ("parent_0", "parent_1"), ("parent_0", "parent_2")
    ]  # fmt: skip


def test_without_a_recipe_parents_count_alike(parents, data, fused) -> None:
    found = analyse(parents, data, fused=Fused(fused.state, fused.groupings), what=["budget"])["budget"]
    assert found["head_weights"] == "uniform"
    logits = ensembles(collect_logits([p.model for p in parents], [None] * 3, data))["ensemble"]
    assert found["ensemble"]["accuracy"] == pytest.approx(float((logits.argmax(1) == data.y).double().mean()))


def _chosen(state: dict, neurons: torch.Tensor) -> dict:
    """The network with only these neurons of its first layer, in this order."""
    dims = {"fc1.weight": 0, "fc1.bias": 0, "fc2.weight": 1}
    return {n: t.index_select(dims[n], neurons) if n in dims else t for n, t in state.items()}


@pytest.mark.parametrize(
    ("what", "message"),
    [(["budget"], "folder of a fusion's run"), (["similarty"], "did you mean 'similarity'"), ([], "no analysis")],
)
def test_impossible_wishes_are_refused_at_once(parents, data, what, message) -> None:
    with pytest.raises(FusionError, match=message):
        analyse(parents, data, what=what, fused=Fused(parents[0].state, {}))


def test_one_parent_alone(parents, data) -> None:
    assert analyse(parents[:1], data)["what"] == ["coverage"]
    for what, message in (("similarity", "give two or more"), ("connectivity", "give another parent")):
        with pytest.raises(FusionError, match=message):
            analyse(parents[:1], data, what=[what])
    with pytest.raises(FusionError, match="no labels"):
        analyse(parents[:1], replace(data, y=None))
    found = analyse(parents[:1], data, fused=Fused(parents[1].state, {}), points=2)
    assert found["what"] == ["coverage", "connectivity"]
    assert [(p["first"], p["second"]) for p in found["connectivity"]["pairs"]] == [("parent_0", "fused")]


def test_networks_that_overflow_are_refused(parents, data) -> None:
    large = {name: 1e20 * tensor for name, tensor in parents[0].state.items()}
    with pytest.raises(FusionError, match="large does not give finite outputs"):
        analyse([parents[0], make_parent("large", parents[0].architecture, large)], data)
    with pytest.raises(FusionError, match="the fused network does not give finite outputs"):
        analyse(parents, data, fused=Fused(large, {}))


def test_a_device_that_is_not_there(parents, data) -> None:
    with pytest.raises(FusionError, match="no device 'tpu'"):
        analyse(parents, data, device="tpu")


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_gpu_says_the_same(parents, data, fused, report) -> None:
    found = analyse(parents, data, fused=fused, points=5, device="cuda")
    for name in ("coverage", "similarity", "connectivity", "budget"):
        for one, other in zip(numbers(found[name]), numbers(report[name]), strict=True):
            assert one == pytest.approx(other, abs=1e-3)


def numbers(value: object) -> list[float]:
    """All numbers in a report's part, in order."""
    if isinstance(value, dict):
        return [n for part in value.values() for n in numbers(part)]
    if isinstance(value, list):
        return [n for part in value for n in numbers(part)]
    return [value] if isinstance(value, float) else []


def test_copies_in_another_order_are_told_to_be_the_same(parents, data) -> None:
    first = parents[0]
    order = torch.randperm(64, generator=torch.Generator().manual_seed(0))
    found = analyse([first, make_parent("copy", first.architecture, _chosen(first.state, order))], data, points=5)
    (pair,) = found["connectivity"]["pairs"]
    assert pair["aligned"]["barrier"] < 1e-6 < pair["as_is"]["barrier"]
    assert found["similarity"]["spaces"][0]["measures"]["distance_correlation"][0][1] == pytest.approx(1, abs=1e-5)
