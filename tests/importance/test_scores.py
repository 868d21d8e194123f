"""What every importance method must keep, and the definitions that captum has no oracle for."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from captum.attr import LayerFeatureAblation
from importance_cases import Case
from torch import Tensor, nn

from fusion_engine.core.errors import Cancelled, DataError, RecipeError, UnsupportedModelError
from fusion_engine.core.progress import Progress, ProgressEvent
from fusion_engine.core.registry import get, names
from fusion_engine.data import Dataset
from fusion_engine.graph import Program, trace
from fusion_engine.importance import attribution, feature_ablation, score
from tests.conformance.checks import nothing_left_behind
from tests.module_hooks import capture

METHODS = names("importance")
WITH_TARGETS = [name for name in METHODS if "labels" in get("importance", name).uses]


def relative(a: dict[str, Tensor], b: dict[str, Tensor]) -> float:
    assert set(a) == set(b)
    return max(float((a[k] - b[k]).abs().max() / b[k].max()) for k in b)


def test_defaults_are_read_from_the_signature() -> None:
    assert get("importance", "conductance").parameters[0].default == 10


@pytest.mark.parametrize("method", METHODS)
def test_neither_batch_size_nor_order_matters(vgg_case: Case, method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = score(vgg_case.trace, vgg_case.state, vgg_case.data, method)
    order = torch.randperm(len(vgg_case.data), generator=torch.Generator().manual_seed(0))
    for module in (attribution, feature_ablation):
        monkeypatch.setattr(module, "fitting_batch", lambda *_, **__: 5)
    parts = score(vgg_case.trace, vgg_case.state, vgg_case.data.subset(order), method)
    assert relative(parts, whole) < 1e-5


@pytest.mark.parametrize("method", METHODS)
def test_scores_are_positive_and_nothing_is_modified(mlp_case: Case, method: str) -> None:
    state = {k: v.clone() for k, v in mlp_case.state.items()}
    x = mlp_case.data.x.clone()
    scores = score(mlp_case.trace, state, mlp_case.data, method)
    for name, values in scores.items():
        size = 4 if name == "output" else mlp_case.trace.spaces[name].size
        assert values.shape == (size,)
        assert values.dtype == torch.float64
        assert (values >= 1e-8).all()
    assert all(torch.equal(state[k], v) for k, v in mlp_case.state.items())
    assert torch.equal(mlp_case.data.x, x)
    assert not mlp_case.data.x.requires_grad


def test_activation_and_uniform(case: Case) -> None:
    found = score(case.trace, case.state, case.data, "activation")
    by_module = {m: n for n, m in case.model.named_modules()}
    with torch.no_grad(), capture(case.model, [by_module[m] for m in case.modules.values()]) as captured:
        case.model(case.data.x)
    expected = case.expected(lambda module: captured.outputs[by_module[module]])
    assert relative(found, expected) < 1e-6
    uniform = score(case.trace, case.state, case.data, "uniform")
    assert all((uniform[name] == 1).all() and len(uniform[name]) == len(expected[name]) for name in expected)


def test_many_conductance_steps_add_up_to_the_change_of_the_logit(mlp_case: Case) -> None:
    one = mlp_case.data.subset([3])
    with torch.no_grad():
        change = (mlp_case.model(one.x) - mlp_case.model(one.x * 0))[0, int(one.y[0])]  # type: ignore[index]
    modest = score(mlp_case.trace, mlp_case.state, one, "conductance", {"n_steps": 500})
    assert float(modest["output"].sum()) == pytest.approx(abs(float(change)), rel=1e-2)
    # All weights positive: nothing cancels, so absolute contributions add up as well.
    state = {k: v.abs() for k, v in mlp_case.state.items()}
    positive = replace(one, x=one.x.abs())
    logits = Program(mlp_case.trace, None, [mlp_case.trace.output])
    change = (logits(state, positive.x)[0] - logits(state, positive.x * 0)[0])[0, int(one.y[0])]  # type: ignore[index]
    found = score(mlp_case.trace, state, positive, "conductance", {"n_steps": 500})
    for values in found.values():
        assert float(values.sum()) == pytest.approx(float(change), rel=1e-2)


def test_deeplift_contributions_add_up_exactly(mlp_case: Case) -> None:
    state = {k: v.abs() for k, v in mlp_case.state.items()}
    data = replace(mlp_case.data, x=mlp_case.data.x.abs())
    found = score(mlp_case.trace, state, data, "deeplift")
    totals = [float(values.sum()) for values in found.values()]
    assert totals == pytest.approx([totals[0]] * len(totals), rel=1e-4)


@pytest.mark.parametrize("method", WITH_TARGETS)
def test_without_labels_the_predicted_classes_are_the_targets(mlp_case: Case, method: str) -> None:
    with torch.no_grad():
        predicted = mlp_case.model(mlp_case.data.x).argmax(1)
    events: list[ProgressEvent] = []
    unlabelled = replace(mlp_case.data, y=None)
    found = score(mlp_case.trace, mlp_case.state, unlabelled, method, progress=Progress(events.append))
    labelled = score(mlp_case.trace, mlp_case.state, replace(mlp_case.data, y=predicted), method)
    assert relative(found, labelled) == 0
    assert "predicted classes" in events[0].message


@pytest.mark.parametrize("method", METHODS)
def test_labels_matter_where_the_method_says_so(mlp_case: Case, method: str) -> None:
    assert mlp_case.data.y is not None
    others = replace(mlp_case.data, y=(mlp_case.data.y + 1) % 4)
    one, other = (score(mlp_case.trace, mlp_case.state, data, method) for data in (mlp_case.data, others))
    assert (relative(one, other) > 1e-3) == (method in WITH_TARGETS)


@pytest.mark.parametrize("method", [m for m in METHODS if get("importance", m).needs])
def test_cancel_stops_the_work(mlp_case: Case, method: str) -> None:
    def stop(event: ProgressEvent) -> None:
        raise Cancelled

    state = mlp_case.state
    with nothing_left_behind(state), pytest.raises(Cancelled):
        score(mlp_case.trace, mlp_case.state, mlp_case.data, method, progress=Progress(stop))


def test_wrong_use_is_refused_in_one_line(mlp_case: Case) -> None:
    with pytest.raises(RecipeError, match="did you mean 'conductance'"):
        score(mlp_case.trace, mlp_case.state, mlp_case.data, "conductanse")
    with pytest.raises(RecipeError, match="n_steps"):
        score(mlp_case.trace, mlp_case.state, mlp_case.data, "conductance", {"n_steps": 0})
    wrong = Dataset(mlp_case.data.x, torch.full((len(mlp_case.data),), 7), classes=8)
    with pytest.raises(DataError, match="4 classes"):
        score(mlp_case.trace, mlp_case.state, wrong, "conductance")


class Gated(nn.Module):
    """Two factors that both depend on the input: DeepLIFT has no rule for their product."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.out = nn.Linear(6, 5), nn.Linear(6, 5), nn.Linear(5, 4)

    def forward(self, x: Tensor) -> Any:
        return self.out(self.a(x) * self.b(x).sigmoid())


def test_deeplift_names_an_operator_without_a_rule(mlp_case: Case) -> None:
    model = Gated().eval()
    traced = trace(model, (mlp_case.data.x[:2],))
    with pytest.raises(UnsupportedModelError, match=r"'mul'.*conductance"):
        score(traced, model.state_dict(), mlp_case.data, "deeplift")
    assert set(score(traced, model.state_dict(), mlp_case.data, "conductance")) >= {"output"}


class Residual(nn.Module):
    """A skip connection around a hidden layer."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.hidden, self.back, self.out = (
            nn.Linear(6, 5), nn.Linear(5, 7), nn.Linear(7, 5), nn.Linear(5, 4)
        )

    def forward(self, x: Tensor) -> Any:
        stem = self.stem(x).relu()
        return self.out((stem + self.back(self.hidden(stem).relu())).relu())


def test_ablation_keeps_what_goes_around_the_neuron(mlp_case: Case) -> None:
    torch.manual_seed(0)
    model, data = Residual().eval(), mlp_case.data
    traced = trace(model, (data.x[:2],))
    space = traced.layers["hidden"].space
    assert space is not None
    found = score(traced, model.state_dict(), data, "feature_ablation")[space]
    attributed = LayerFeatureAblation(model, model.hidden).attribute(data.x, target=data.y)
    torch.testing.assert_close(found, attributed.double().abs().mean(0), rtol=1e-5, atol=1e-7)
