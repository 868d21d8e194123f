"""Networks of tokens, with masks, from data to fused weights: tiny ones with random weights."""

from __future__ import annotations

import sys
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from benchmarks._language import LENGTH, WORDS, Classifier, LanguageModel
from fusion_engine import fuse
from fusion_engine.architectures.custom import custom_config
from fusion_engine.core.errors import DataError
from fusion_engine.data import Dataset
from fusion_engine.graph import permute_state, random_permutation, trace
from fusion_engine.importance import score
from fusion_engine.parents import Parent, make_parent

INPUTS = ("input_ids", "attention_mask")


class TinyClassifier(Classifier):
    def __init__(self) -> None:
        super().__init__(width=8, heads=2, blocks=1)


class TinyLanguageModel(LanguageModel):
    def __init__(self) -> None:
        super().__init__(width=8, heads=2, blocks=1)


@cache
def parents_of(kind: str, twin: bool = False) -> list[Parent]:
    """Two parents of other weights; twin: the second has the first one's, with its neurons permuted."""
    config, _ = custom_config(f"{__name__}:{kind}", (2, LENGTH), INPUTS)
    made = []
    for seed in range(2):
        torch.manual_seed(seed)
        model: nn.Module = globals()[kind]()
        state = {name: tensor * 2 if tensor.ndim > 1 else tensor for name, tensor in model.state_dict().items()}
        made.append(make_parent(f"p{seed}", config, state))
    if twin:
        graph, state = trace(made[0].model, (samples().x[:2],)), dict(made[0].state)
        for space in graph.spaces.values():
            order = random_permutation(space.size, np.random.default_rng(3))
            state.update(permute_state(state, space, order, graph))
        made[1] = make_parent("twin", config, state)
    return made


def samples(labelled: bool = False, padding: int = 0) -> Dataset:
    """24 samples of 3 to LENGTH tokens; padding: the token behind them."""
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(1, len(WORDS), (24, LENGTH), generator=generator)
    lengths = torch.randint(3, LENGTH + 1, (24, 1), generator=generator)
    mask = (torch.arange(LENGTH) < lengths).long()
    x = torch.stack([ids * mask + padding * (1 - mask), mask], 1)
    y = torch.arange(24) % 6 if labelled else None
    return Dataset(x, y, classes=6 if labelled else 0, name="tokens", inputs=INPUTS)


KINDS = [("TinyClassifier", True), ("TinyLanguageModel", False)]


@pytest.mark.parametrize("recipe", ["git_rebasin_weights", "git_rebasin_activations", "kf_linear"])
@pytest.mark.parametrize(("kind", "labelled"), KINDS)
def test_a_permuted_twin_comes_back(kind: str, labelled: bool, recipe: str) -> None:
    first, second = parents_of(kind, twin=True)
    data = samples(labelled)
    result = fuse([first, second], data, recipe, test=data)
    seen = data.counted(data.x)
    assert seen is not None
    with torch.no_grad():
        expected, outputs = first.model(data.x), result.model(data.x)
    if not labelled:
        expected, outputs = expected[seen], outputs[seen]
    torch.testing.assert_close(outputs, expected, rtol=2e-3, atol=2e-3)
    assert result.report["fused"]["loss"] == pytest.approx(result.report["parents"][0]["loss"], abs=1e-3)
    assert result.report["task"]["metric"] == ("accuracy" if labelled else "perplexity")


@pytest.mark.parametrize("recipe", ["kf_linear", "regmean"])
@pytest.mark.parametrize(("kind", "labelled"), KINDS)
def test_what_is_masked_changes_nothing(
    kind: str, labelled: bool, recipe: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Moments, importances and solves see the positions that count alone."""
    # Else the order, and so what is held out, follows the samples' contents, padding included.
    monkeypatch.setattr(sys.modules["fusion_engine.pipeline.prepare"], "canonical_order", lambda data: data)
    parents = parents_of(kind)
    fused = [fuse(parents, samples(labelled, padding), recipe, seed=0).state for padding in (0, 5)]
    for name, tensor in fused[0].items():
        torch.testing.assert_close(tensor, fused[1][name], rtol=1e-4, atol=1e-4, msg=name)


@pytest.mark.parametrize(("kind", "labelled"), KINDS)
def test_recipes_of_fine_tuned_models(kind: str, labelled: bool) -> None:
    parents, data = parents_of(kind), samples(labelled)
    for recipe in ("average", "ties"):
        base = parents[0] if recipe == "ties" else None
        result = fuse(parents, data, recipe, base=base, test=data)
        assert np.isfinite(result.report["fused"]["loss"])
    distilled = fuse(parents, data, {
        "grouping": "identity", "solver": "average", "post": [{"method": "full_distillation", "steps": 20}],
    }, test=data)  # fmt: skip
    assert distilled.report["decisions"]["full_distillation"]["held_out_after"] > 0


METHODS = ["conductance", "gradient_x_activation", "feature_ablation", "activation", "uniform"]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(("kind", "labelled"), KINDS)
def test_every_importance_scores_tokens_from_their_embedding_on(kind: str, labelled: bool, method: str) -> None:
    parent, data = parents_of(kind)[0], samples(labelled).subset(range(4))
    graph = trace(parent.model, (data.x[:2],))
    scores = score(graph, parent.state, data, method)
    assert len(scores["output"]) == (6 if labelled else len(WORDS))
    assert set(graph.spaces) <= {*scores, "output"}
    other = score(graph, parent.state, samples(labelled, 5).subset(range(4)), method)
    for name, values in scores.items():
        assert bool(values.isfinite().all())
        if method != "feature_ablation" or labelled:  # an ablation at masked positions is felt by nobody
            torch.testing.assert_close(values, other[name], rtol=1e-3, atol=1e-6, msg=name)


def test_conductance_of_a_layer_sums_to_the_change_of_the_logits() -> None:
    """Completeness, from zero embeddings to the sample's, of a network that is linear in them."""

    class Linear(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed, self.head = nn.Embedding(5, 4), nn.Linear(4, 3)

        def forward(self, ids: Tensor) -> Tensor:
            return self.head(self.embed(ids).sum(1))

    torch.manual_seed(0)
    model, ids = Linear(), torch.tensor([[1, 2], [3, 4]])
    data = Dataset(ids, torch.tensor([0, 2]), classes=3)
    scores = score(trace(model, (ids,)), model.state_dict(), data, "conductance", {"n_steps": 100})
    change = (model(ids) - model.head.bias).gather(1, data.y[:, None])
    expected = torch.zeros(3, dtype=torch.float64).index_add_(0, data.y, change[:, 0].detach().abs().double()) / 2
    torch.testing.assert_close(scores["output"], expected.clamp_min(1e-8), rtol=1e-3, atol=1e-6)


def test_inputs_of_another_kind_are_refused_in_a_line() -> None:
    parents, data = parents_of("TinyClassifier"), samples(True)
    with pytest.raises(DataError, match="read for the inputs input_ids, attention_mask"):
        fuse(parents, replace(data, inputs=("input_ids", "token_type_ids")), "average")
