"""Steps that train: what may change, what must not get worse, and how training inputs are drawn."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch

from fusion_engine import fuse, load_data
from fusion_engine.core import registry
from fusion_engine.core.errors import FusionError, RecipeError
from fusion_engine.data import balanced_sample
from fusion_engine.demo import load_demo
from fusion_engine.fusing.sampling import augmented, mixup, shifted
from tests.fusions import refine
from tests.post.fused_cases import fused_case

TRAINING = [name for name in registry.names("post") if "gradients" in registry.get("post", name).needs]
BASE = {"importance": "activation", "grouping": "kmeans", "solver": "least_squares"}
STEPS = {"steps": 40}
TUNED = [{"method": "fine_tuning", "steps": 100}]


@pytest.fixture(scope="module")
def setting():
    data = load_data("digits:train")
    return load_demo("mlp")[:2], data.subset(balanced_sample(data, 15).tolist())


@pytest.mark.parametrize("name", TRAINING)
def test_held_out_cross_entropy_never_rises(name: str, setting) -> None:
    parents, data = setting
    report = fuse(parents, data, {**BASE, "post": [{"method": name, **STEPS}]}).report
    decision = report["decisions"][name]
    assert decision["held_out_after"] <= decision["held_out_before"]
    assert decision["steps"] > 0  # it did improve


@pytest.mark.parametrize("name", TRAINING)
def test_same_seed_same_bits(name: str, setting) -> None:
    parents, data = setting
    recipe = {**BASE, "post": [{"method": name, **STEPS}]}
    one, other = (fuse(parents, data, recipe, seed=3) for _ in range(2))
    assert all(torch.equal(one.state[k], other.state[k]) for k in one.state)


def test_head_distillation_changes_the_last_layer_alone(setting) -> None:
    parents, data = setting
    other = {"method": "head_distillation", "temperature": 4.0, **STEPS}
    before = fuse(parents, data, {**BASE, "post": [other]}).state
    after = fuse(parents, data, {**BASE, "post": [{"method": "head_distillation", **STEPS}]}).state
    last = list(before)[-1].rpartition(".")[0]
    changed = {k for k in before if not torch.equal(before[k], after[k])}
    assert changed == {f"{last}.weight", f"{last}.bias"}


def test_hopeless_training_returns_the_solved_weights(setting) -> None:
    """With a destructive rate every check is worse, so the step hands back what it was given."""
    parents, data = setting
    before = fuse(parents, data, BASE).state
    wild = {"method": "full_distillation", "steps": 100, "rate": 1.0, "patience": 1}
    after = fuse(parents, data, {**BASE, "post": [wild]}).state
    assert all(torch.equal(before[k], after[k]) for k in before)


def test_mixup_stays_between_its_two_samples() -> None:
    generator = torch.Generator().manual_seed(0)
    x, y = torch.randn(50, 3, generator=generator), torch.eye(50)
    mixed, shares = mixup(x, y, generator)
    torch.testing.assert_close(shares.sum(1), torch.ones(50))
    torch.testing.assert_close(shares @ x, mixed)  # inputs and labels are mixed alike
    assert ((shares > 0).sum(1) <= 2).all()


def test_labels_in_the_target_lower_the_loss_against_them(setting) -> None:
    parents, data = setting
    losses = [
        fuse(
            parents, data, {**BASE, "post": [{"method": "full_distillation", "labels": share, "steps": 60}]}, test=data
        ).report["fused"]["loss"]
        for share in (0.0, 0.8)
    ]
    assert losses[1] < losses[0]


def test_shift_by_nothing_is_the_image_and_by_something_is_not() -> None:
    x = torch.rand(4, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(shifted(x, 0.0, torch.Generator().manual_seed(1)), x, rtol=1e-4, atol=1e-5)
    assert not torch.allclose(shifted(x, 0.2, torch.Generator().manual_seed(1)), x, atol=1e-2)


@pytest.mark.parametrize("name", TRAINING)
def test_progress_carries_the_losses_and_the_report_their_curve(name: str, setting) -> None:
    parents, data = setting
    seen = []
    result = fuse(parents, data, {**BASE, "post": [{"method": name, **STEPS}]}, on_progress=seen.append)
    details = [e.detail for e in seen if e.detail.get("level") == name]
    assert [d["step"] for d in details] == list(range(1, 41))
    assert all((d["index"], d["levels"], d["steps"]) == (0, 1, 40) for d in details)
    assert details[-1]["held_out"] < details[0]["held_out"]
    curve = result.report["decisions"][name]["curve"]
    assert [point[0] for point in curve] == [25, 40]
    assert curve[-1][1:] == (details[-1]["loss"], details[-1]["held_out"])
    json.dumps(details)


def test_fine_tuning_learns_the_labels(setting) -> None:
    parents, data = setting
    losses = [fuse(parents, data, {**BASE, "post": post}, test=data).report["fused"]["loss"] for post in ([], TUNED)]
    assert losses[1] < 0.8 * losses[0]


def test_fine_tuning_without_labels_is_refused_before_anything_is_computed(setting) -> None:
    parents, data = setting
    events = []
    with pytest.raises(RecipeError, match=r"needs labels .* use post 'full_distillation'"):
        fuse(parents, replace(data, y=None), {**BASE, "post": TUNED}, on_progress=events.append)
    assert not events


def test_tokens_are_drawn_but_not_mixed() -> None:
    x, y = torch.arange(12).reshape(6, 2), torch.eye(6)
    drawn, shares = augmented(x, y, 8, True, 0.2, torch.Generator().manual_seed(0))
    assert torch.equal(drawn, x[shares.argmax(1)])


@pytest.mark.parametrize("step", ["head_distillation", "full_distillation"])
@pytest.mark.parametrize("name", ["unet", "upscale"])
def test_a_model_without_logits_is_refused_in_a_line(name: str, step: str) -> None:
    _, fusion, fused = fused_case(name)
    with pytest.raises(FusionError, match=r"what the outputs are for|does not end in a linear layer"):
        refine(fusion, fused, step, {"steps": 3})


def test_more_labels_than_outputs_are_refused_in_a_line() -> None:
    _, fusion, fused = fused_case("mlp")
    more = replace(fusion, data=replace(fusion.data, classes=99))
    with pytest.raises(FusionError, match="labels go up to 98, but the model knows 5 classes"):
        refine(more, fused, "full_distillation", {"steps": 3})
