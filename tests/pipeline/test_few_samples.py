"""Of very few samples the plain average and the best parent are judged beside the recipe's own network."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from fusion_engine.architectures import MLPConfig, build
from fusion_engine.core.errors import FusionError
from fusion_engine.core.recipe import Recipe
from fusion_engine.data import Dataset, load_data
from fusion_engine.demo import load_demo
from fusion_engine.graph import average_state
from fusion_engine.parents import Parent, make_parent
from fusion_engine.pipeline import FusionResult, few_samples, fuse, fuse_again
from fusion_engine.pipeline.few_samples import chooses


@pytest.fixture(scope="module")
def digits() -> Dataset:
    return load_data("digits:train")


@pytest.fixture(scope="module")
def siblings(digits: Dataset) -> list[Parent]:
    """Two parents from one start, each trained on half of the classes: their average is better than both."""
    config, parents = MLPConfig((64, 32, 10)), []
    torch.manual_seed(0)
    x, y = digits.normalised(), digits.y
    assert y is not None

    def trained(state: dict[str, torch.Tensor], rows: torch.Tensor, steps: int) -> dict[str, torch.Tensor]:
        model = build(config).train()
        model.load_state_dict(state)
        adam = torch.optim.Adam(model.parameters(), 3e-3)
        for _ in range(steps):
            some = rows[torch.randint(0, len(rows), (64,))]
            loss = nn.functional.cross_entropy(model(x[some]), y[some])
            adam.zero_grad()
            loss.backward()
            adam.step()
        return model.state_dict()

    start = trained(build(config).state_dict(), torch.arange(len(x)), 60)
    for half in (0, 1):
        rows = (y % 2 == half).nonzero()[:, 0]
        parents.append(make_parent(f"p{half}", config, trained(start, rows, 50)))
    return parents


def some(digits: Dataset, count: int, *, labels: bool = False) -> Dataset:
    few = digits.subset(torch.randperm(len(digits), generator=torch.Generator().manual_seed(1))[:count])
    return few if labels else replace(few, y=None)


def accuracy(result: FusionResult, name: str = "fused") -> float:
    return float(result.report[name]["accuracy"])


@pytest.mark.parametrize("labels", [True, False])
def test_five_samples_give_the_average_of_siblings(digits: Dataset, siblings: list[Parent], labels: bool) -> None:
    result = fuse(siblings, some(digits, 5, labels=labels), "kf_linear", test=load_data("digits:test"))
    assert result.report["decisions"]["few_samples"]["taken"] == "average"
    wanted = average_state([p.state for p in siblings])
    assert all(torch.equal(result.state[name], tensor) for name, tensor in wanted.items())
    assert {g.method for g in result.groupings.values()} == {"identity"}
    (line,) = [line for line in result.report["warnings"] if "chosen by 5 samples" in line]
    assert "the plain average" in line
    assert ("loss on samples left out" if labels else "loss on what the parents' ensemble predicts") in line
    assert accuracy(result) > 0.8


def test_five_samples_give_a_parent_of_strangers(digits: Dataset) -> None:
    parents = load_demo()
    result = fuse(parents, some(digits, 5, labels=True), "kf_linear", test=load_data("digits:test"))
    taken = result.report["decisions"]["few_samples"]["taken"]
    best = next(p for p in parents if p.name == taken)
    assert all(torch.equal(result.state[name], tensor) for name, tensor in best.state.items())
    assert accuracy(result) > accuracy(result, "average") + 0.2
    grouping = next(iter(result.groupings.values()))
    own = [p.name for p in parents].index(taken)
    assert [bool(m.any()) for m in grouping.merge] == [p == own for p in range(len(parents))]
    assert (grouping.merge[own] == grouping.unmerge[own].T).all()


def test_what_cannot_be_judged_is_said(digits: Dataset, siblings: list[Parent]) -> None:
    report = fuse(siblings, some(digits, 3), "kf_linear").report
    assert "few_samples" not in report["decisions"]
    assert any(line.startswith("undecided: from 3 calibration samples") for line in report["warnings"])


@pytest.mark.parametrize(
    ("count", "recipe"),
    [
        (20, {"name": "kf_linear"}),  # samples enough
        (5, {"solver": {"method": "least_squares", "ridge": 0.1}}),  # nothing is left to choose
        (5, {"edits": [{"edit": "move", "space": "fc1", "neurons": ["0:1"], "to": "1:3"}]}),  # chosen by hand
    ],
)
def test_nothing_is_judged(digits: Dataset, siblings: list[Parent], count: int, recipe: dict[str, object]) -> None:
    whole = {"grouping": "kmeans", "solver": "least_squares", **recipe}
    report = fuse(siblings, some(digits, count), whole).report
    assert "few_samples" not in report["decisions"]
    assert not any("chosen by" in line or "undecided" in line for line in report["warnings"])


def test_equal_parents_keep_the_recipes_network(digits: Dataset, siblings: list[Parent]) -> None:
    twin = make_parent("twin", siblings[0].architecture, siblings[0].state)
    report = fuse([siblings[0], twin], some(digits, 8), {"grouping": "kmeans", "solver": "least_squares"}).report
    assert report["decisions"]["few_samples"]["taken"] == "recipe"


def test_a_fusion_that_goes_on_with_edits_is_made_whole(digits: Dataset, siblings: list[Parent]) -> None:
    few, recipe = some(digits, 5), {"grouping": "kmeans", "solver": "least_squares"}
    first = fuse(siblings, few, recipe)
    assert first.report["decisions"]["few_samples"]["taken"] == "average"
    edited = {**recipe, "edits": [{"edit": "move", "space": "fc1", "neurons": ["0:1"], "to": "1:3"}]}
    again, whole = fuse_again(siblings, few, edited, first), fuse(siblings, few, edited)
    assert all(torch.equal(again.state[name], tensor) for name, tensor in whole.state.items())
    back = fuse_again(siblings, few, recipe, again)
    assert all(torch.equal(back.state[name], tensor) for name, tensor in first.state.items())


def test_a_rule_of_head_weights_is_not_chosen_by_samples() -> None:
    def recipe(**solver: object) -> Recipe:
        return Recipe.from_mapping({"grouping": "weight_matching", "solver": solver}).checked()

    assert not chooses(recipe(method="average", head_weights="auto"))
    assert chooses(recipe(method="least_squares", ridge="auto"))


def test_a_fold_that_cannot_be_fused_is_said(
    digits: Dataset, siblings: list[Parent], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*given: object) -> torch.Tensor:
        raise FusionError("too few samples of class 3")

    monkeypatch.setattr(few_samples, "_left_out", refused)
    report = fuse(siblings, some(digits, 5), "kf_linear").report
    assert "few_samples" not in report["decisions"]
    assert any("undecided" in line and "too few samples of class 3" in line for line in report["warnings"])
