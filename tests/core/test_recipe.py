"""Recipes: strict, round-tripping, and refusing what cannot work before anything is computed."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fusion_engine.core import registry
from fusion_engine.core.errors import RecipeError
from fusion_engine.core.recipe import Recipe, Step, parse_settings
from fusion_engine.presets import recipes


def values(spec: registry.ParameterSpec) -> st.SearchStrategy:
    """Any value the parameter allows."""
    options = [st.sampled_from(spec.words)] if spec.words else []
    if spec.choices is not None:
        options.append(st.sampled_from(spec.choices))
    elif spec.type == "bool":
        options.append(st.booleans())
    elif spec.type == "int":
        options.append(st.integers(int(spec.ge or 0), int(spec.le if spec.le is not None else 10**6)))
    elif spec.type == "float":
        options.append(st.floats(spec.ge, spec.le if spec.le is not None else 1e6, allow_nan=False))
    if spec.by_space:
        options.append(st.dictionaries(st.sampled_from(("fc1", "features.0", "others")), st.one_of(options)))
    return st.one_of(options)


@st.composite
def steps(draw: st.DrawFn, kind: str, among: frozenset[str] | None = None) -> dict:
    known = [name for name in registry.names(kind) if among is None or name in among]
    spec = registry.get(kind, draw(st.sampled_from(known)))
    chosen = draw(st.lists(st.sampled_from(spec.parameters), unique_by=lambda p: p.name)) if spec.parameters else []
    return {"method": spec.name, **{p.name: draw(values(p)) for p in chosen}}


@st.composite
def any_recipe(draw: st.DrawFn) -> Recipe:
    parts = {kind: draw(steps(kind)) for kind in ("importance", "solver")}
    parts["grouping"] = draw(steps("grouping", registry.get("solver", parts["solver"]["method"]).accepts))

    def follows(step: dict) -> bool:
        accepts = registry.get("post", step["method"]).accepts
        return accepts is None or parts["solver"]["method"] in accepts

    post = draw(st.lists(steps("post").filter(follows), max_size=2))
    return Recipe.from_mapping({"name": "x", **parts, "post": post})


@settings(max_examples=60, deadline=None)
@given(any_recipe())
def test_yaml_round_trips_and_filling_in_defaults_is_stable(recipe: Recipe) -> None:
    assert Recipe.from_yaml(recipe.to_yaml()) == recipe
    filled = recipe.checked()
    assert filled.checked() == filled
    assert Recipe.from_yaml(filled.to_yaml()) == filled


@pytest.mark.parametrize("name", recipes())
def test_presets_are_valid(name: str) -> None:
    recipes()[name].recipe.checked(2, ["labels", "class_counts", "base"])


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("grouping: {method: kmeens}", "did you mean 'kmeans'"),
        ("groping: kmeans", "did you mean 'grouping'"),
        ("grouping: {method: kmeans, trys: 3}", "did you mean 'tries'"),
        ("grouping: {method: kmeans, tries: 0}", "smallest allowed value is 1"),
        ("grouping: {method: kmeans, tries: 2.5}", "not of type int"),
        ("grouping: {method: kmeans, tries: true}", "not of type int"),
        ("grouping: {method: kmeans, start: best}", "not one of farthest_first"),
        ("solver: {method: least_squares, ridge: .nan}", "not of type float"),
        ("solver: {method: least_squares, ridge: much}", "one of auto"),
        ("grouping: kmeans\ngrouping: hungarian", "given twice"),
        ("grouping: [kmeans]", "give a method's name"),
        ("- kmeans", "a recipe is a mapping"),
        ("grouping: {method: kmeans", "not valid YAML"),
        ("grouping: !!python/object/apply:os.system [ls]", "not valid YAML"),
        ("post: {method: ''}", "unknown post"),
    ],
)
def test_mistakes_are_named(text: str, line: str) -> None:
    with pytest.raises(RecipeError, match=line) as caught:
        Recipe.from_yaml(text).checked()
    assert "\n" not in str(caught.value)


def test_what_the_input_lacks_is_named_with_a_way_out() -> None:
    shares = Recipe(solver={"method": "average", "head_weights": "class_share"})
    with pytest.raises(RecipeError, match="use head_weights 'importance'"):
        shares.checked(2, ["labels"])
    shares.checked(2, ["labels", "class_counts"])
    with pytest.raises(RecipeError, match="at most 2 parents and there are 3; use grouping kmeans"):
        Recipe(grouping="hungarian").checked(3)


def test_labels_are_asked_for_by_the_step_that_needs_them() -> None:
    tuned = Recipe(post=["fine_tuning"])
    with pytest.raises(RecipeError, match=r"post 'fine_tuning' needs labels .* use post 'full_distillation'"):
        tuned.checked(2)
    tuned.checked(2, ["labels"])


@pytest.mark.parametrize("step", [n for n in registry.names("post") if registry.get("post", n).accepts is not None])
def test_steps_for_norms_of_averaged_models_do_not_follow_least_squares(step: str) -> None:
    Recipe(solver="average", post=[step]).checked(2)
    with pytest.raises(RecipeError, match=r"cannot follow solver 'least_squares'.*without it, or solver 'average'"):
        Recipe(solver="least_squares", post=["repair", step]).checked(2)


def test_settings_change_a_copy() -> None:
    recipe = Recipe(grouping="kmeans", post=["head_distillation"])
    changed = recipe.set(parse_settings(["grouping.tries=7", "importance=uniform", "post.0.steps=9"]))
    assert changed.grouping.parameters == {"tries": 7}
    assert changed.post[0].parameters == {"steps": 9}
    assert recipe.grouping.parameters == {}


def test_numbers_are_read_by_the_declared_type() -> None:
    settings = parse_settings(["solver=least_squares", "solver.ridge=1e-3", "width=5e-1"])
    recipe = Recipe().set({"grouping": "kmeans", **settings})
    assert (recipe.checked().solver.parameters["ridge"], recipe.width) == (0.001, 0.5)
    recipe = Recipe.from_yaml("solver: {method: least_squares, ridge: 1e-3}\ngrouping: kmeans\nwidth: 5e-1")
    assert (recipe.checked().solver.parameters["ridge"], recipe.width) == (0.001, 0.5)
    assert Recipe.from_yaml(recipe.checked().to_yaml()) == recipe.checked()
    for text in ("wide", "nan", "inf"):
        with pytest.raises(RecipeError, match="width"):
            Recipe.from_mapping({"width": text})


def test_a_method_and_its_parameters_may_be_set_together() -> None:
    changed = Recipe().set(parse_settings(["solver=regmean", "solver.alpha=0.5", "post=[repair]"]))
    assert changed.solver == Step(method="regmean", parameters={"alpha": 0.5})
    changed = Recipe().set(parse_settings(["post=[repair]", "post.0.x=1"]))
    assert changed.post == (Step(method="repair", parameters={"x": 1}),)


def test_a_single_space_is_set_by_its_name() -> None:
    recipe = Recipe(grouping={"method": "partial_permutation", "ratio": 0.6})
    changed = recipe.set(parse_settings(["grouping.ratio.layer1.0.conv1=0.2", "grouping.ratio.fc1=1"]))
    assert changed.grouping.parameters == {"ratio": {"others": 0.6, "layer1.0.conv1": 0.2, "fc1": 1}}
    assert recipe.grouping.parameters == {"ratio": 0.6}
    again = changed.set(parse_settings(["grouping.ratio.others=0.5", "grouping.ratio.fc1=0"]))
    assert again.grouping.parameters == {"ratio": {"others": 0.5, "layer1.0.conv1": 0.2, "fc1": 0}}
    assert changed.grouping.parameters["ratio"]["fc1"] == 1
    assert Recipe.from_yaml(again.to_yaml()) == again
    plain = Recipe(grouping="partial_permutation").set({"grouping.ratio.fc1": 0.2})
    assert plain.checked().grouping.parameters["ratio"] == {"others": 0.5, "fc1": 0.2}
    with pytest.raises(RecipeError, match="tries"):
        Recipe(grouping="kmeans").set({"grouping.tries.fc1": 3}).checked()


@pytest.mark.parametrize(
    "pair", ["tries", "=3", "groping.tries=3", "post.0.steps=3", "solvr=average", "width.fc1=2", "name.x=a"]
)
def test_wrong_settings_are_named(pair: str) -> None:
    with pytest.raises(RecipeError, match="--set"):
        Recipe().set(parse_settings([pair]))


def test_a_recipe_that_needs_a_base_model_says_how_to_give_one() -> None:
    recipe = Recipe(solver="ties")
    recipe.checked()
    recipe.checked(2, ["base"])
    with pytest.raises(RecipeError, match=r"solver 'ties' needs the base model .*--base FILE.*another recipe"):
        recipe.checked(2, ["labels"])
