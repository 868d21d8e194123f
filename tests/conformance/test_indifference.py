"""What must not matter: the order of the samples (METHODS.md, invariant 5), the scale of the importances (6), and the
order of a parent's neurons where two parents differ (7), which copies of one parent cannot tell."""

from __future__ import annotations

import pytest
import torch

from fusion_engine import fuse, load_data
from fusion_engine.core.errors import UnsupportedModelError
from fusion_engine.core.recipe import Recipe
from fusion_engine.data import balanced_sample
from fusion_engine.demo import load_demo
from tests.zoo import zoo_names

from . import checks
from .cases import ACTIVATION, Case
from .engine import Method, is_equivariant, uses
from .methods import GROUPINGS, IMPORTANCES, MATCHINGS, SOLVERS, companion, default, joined_pairs, over, trains

# One of each kind, without neurons that are silent for all samples.
LIVELY = ("mlp", "densenet", "grouped_residual", "vit_fused")


def drawn_by_number(grouping: Method) -> bool:
    """Whether a grouping judges by held-out samples, which are drawn by their place."""
    return grouping.name == "auto" or "auto" in grouping.parameters.values()


@over(
    [
        (name, grouping, checks.without_choices(solver))
        for name, grouping, solver in joined_pairs(everywhere=False)
        if not trains(solver) and not drawn_by_number(grouping)
    ],
    "grouping",
    "solver",
)
def test_sample_order_does_not_matter(case: Case, grouping: Method, solver: Method) -> None:
    """Sums over the samples, in whatever order these come: nothing sorts them here. What draws samples is given them by
    `fuse`, which sorts."""
    checks.order_of_samples_is_nothing(case, grouping, solver)


@pytest.mark.parametrize(
    "recipe",
    [
        {"solver": {"method": "gradient", "epochs": 1}},
        {"solver": "least_squares", "post": [{"method": "full_distillation", "steps": 5}]},
        {"grouping": {"method": "kmeans", "tries": "auto"}, "solver": {"method": "regmean"}},
    ],
    ids=["gradient", "distillation", "judged groups"],
)
def test_fusing_sorts_the_samples(recipe: dict) -> None:
    """So that what draws samples by their place draws the same ones."""
    parents, digits = load_demo("mlp")[:2], load_data("digits:train")
    data = digits.subset(balanced_sample(digits, 6).tolist())
    shuffled = data.subset(torch.randperm(len(data), generator=torch.Generator().manual_seed(3)))
    chosen = Recipe.from_mapping({"importance": "activation", "grouping": "kmeans", **recipe})
    one, other = fuse(parents, data, chosen).state, fuse(parents, shuffled, chosen).state
    assert all(torch.equal(one[name], other[name]) for name in one)


@over(joined_pairs(everywhere=False), "grouping", "solver")
def test_scale_of_importance_does_not_matter(case: Case, grouping: Method, solver: Method) -> None:
    checks.scale_of_importance_is_nothing(case, grouping, solver)


# ---- order of neurons


@over([(name, grouping) for name in zoo_names() for grouping in MATCHINGS], "grouping")
def test_order_of_neurons_does_not_matter(case: Case, grouping: Method) -> None:
    if case.has_silent_neurons:
        pytest.skip("silent neurons are equally good to match with any")
    checks.order_of_neurons_is_nothing(case, grouping, checks.AVERAGE)


@over(
    [
        (name, grouping, default("solver", solver))
        for name in LIVELY
        for solver in SOLVERS
        if solver != "average"
        for grouping in companion(solver)
    ],
    "grouping",
    "solver",
)
def test_order_of_neurons_does_not_matter_to_solvers(case: Case, grouping: Method, solver: Method) -> None:
    checks.order_of_neurons_is_nothing(case, grouping, solver)


@over([(name,) for name in LIVELY])
def test_lively_networks_have_no_silent_neurons(case: Case) -> None:
    assert not case.has_silent_neurons


@over([(LIVELY[0], Method("grouping", name)) for name in GROUPINGS if not uses(Method("grouping", name))], "grouping")
def test_it_matters_to_groupings_that_look_at_nothing(case: Case, grouping: Method) -> None:
    assert not is_equivariant(grouping)
    with pytest.raises(AssertionError, match="another order"):
        checks.order_of_neurons_is_nothing(case, grouping, checks.AVERAGE)


@over([(name, default("importance", i)) for name in zoo_names() for i in IMPORTANCES], "importance")
def test_scores_follow_their_neurons(case: Case, importance: Method) -> None:
    try:
        case.scores("second", importance)
    except UnsupportedModelError as reason:
        assert importance != ACTIVATION
        pytest.skip(str(reason))
    checks.scores_follow_their_neurons(case, importance)
