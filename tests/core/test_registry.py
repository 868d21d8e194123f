"""The registry: a method's signature is its schema."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Annotated, Literal

import pytest

from fusion_engine.core import registry
from fusion_engine.core.errors import Cancelled, RecipeError
from fusion_engine.core.progress import Progress
from fusion_engine.core.registry import Param, register


def test_everything_is_read_from_the_signature(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_METHODS", dict(registry._METHODS))

    @register("grouping", "toy", title="Toy", citation="nobody", needs={"weights"}, max_parents=3)
    def toy(
        stats: object,
        *,
        a: Annotated[int, Param("a count", ge=1, le=5)] = 2,
        b: Annotated[float | Literal["auto"], Param("a number or auto")] = "auto",
        c: Annotated[bool | None, Param("maybe", label="Sea")] = None,
        d: Annotated[Literal["x", "y"], Param("a letter", expert=True)] = "x",
    ) -> None:
        """Does a thing.

        And more.
        """

    spec = registry.get("grouping", "toy")
    assert (spec.summary, spec.max_parents, spec.needs) == ("Does a thing.", 3, {"weights"})
    a, b, c, d = spec.parameters
    assert (a.type, a.default, a.ge, a.le, a.label) == ("int", 2, 1, 5, "A")
    assert (b.type, b.words, b.default) == ("float", ("auto",), "auto")
    assert (c.type, c.optional, c.label) == ("bool", True, "Sea")
    assert (d.choices, d.expert) == (("x", "y"), True)
    assert registry.check_parameters("grouping", "toy", {"b": 3}) == {"a": 2, "b": 3.0, "c": None, "d": "x"}


def test_a_value_may_differ_by_space(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_METHODS", dict(registry._METHODS))

    @register("grouping", "toy", title="Toy")
    def toy(stats: object, *, part: Annotated[float | Mapping[str, float], Param("share", ge=0, le=1)] = 0.5) -> None:
        """Does a thing."""

    (part,) = registry.get("grouping", "toy").parameters
    assert (part.type, part.by_space) == ("float", True)

    def check(value: object) -> object:
        return registry.check_parameters("grouping", "toy", {"part": value})["part"]

    assert check(1) == 1.0
    assert check({"a.0": 1}) == {"others": 0.5, "a.0": 1.0}
    assert check({0: 1, "others": 0}) == {"others": 0.0, "0": 1.0}
    for wrong, words in ({"a.0": 2}, r"part\.a\.0: 2 is too large"), ({"a": {"b": 1}}, r"part\.a: it takes one value"):
        with pytest.raises(RecipeError, match=words):
            check(wrong)


def test_an_undocumented_parameter_is_a_bug() -> None:
    with pytest.raises(TypeError, match="needs Annotated"):

        @register("grouping", "bad", title="Bad")
        def bad(stats: object, *, a: int = 2) -> None:
            """Bad."""


def test_every_method_is_documented() -> None:
    catalogue = json.loads(json.dumps(registry.catalogue()))
    assert set(catalogue) == set(registry.KINDS)
    for kind, methods in catalogue.items():
        for method in methods:
            assert method["summary"], (kind, method["name"])
            assert all(p["help"] for p in method["parameters"]), (kind, method["name"])
        assert methods, kind


@pytest.fixture
def registered(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a test registers is gone after it."""
    registry.catalogue()
    monkeypatch.setattr(registry, "_METHODS", dict(registry._METHODS))


@pytest.mark.usefixtures("registered")
def test_needs_may_hang_on_parameters() -> None:
    @register(
        "post", "toy", title="Toy",
        needs={"moments": {}, "importance": {"weights": "importance"}, "labels": {"share": True}},
        uses={"class_counts": {"weights": ("importance", "counts"), "share": True}},
    )  # fmt: skip
    def toy(
        inputs: object,
        *,
        weights: Annotated[Literal["uniform", "importance", "counts"], Param("whose")] = "uniform",
        share: Annotated[float, Param("of labels", ge=0, le=1)] = 0.0,
    ) -> None:
        """Does a thing."""

    spec = registry.get("post", "toy")
    entry = json.loads(json.dumps(spec.as_json()))
    assert entry["needs"] == ["importance", "labels", "moments"], "whatever it may need"
    assert entry["uses"] == ["class_counts"]

    def needed(**parameters: object) -> tuple[frozenset[str], frozenset[str]]:
        filled = registry.check_parameters("post", "toy", parameters)
        assert registry.needed(entry, parameters) == spec.needed(parameters) == spec.needed(filled)
        return spec.needed(filled), spec.used(filled)

    assert needed() == ({"moments"}, {"moments"})
    assert needed(weights="importance") == ({"moments", "importance"},) * 2
    assert needed(share=1e-3) == ({"moments", "labels"},) * 2
    assert needed(weights="counts", share=1) == ({"moments", "labels"}, {"moments", "labels", "class_counts"})


@pytest.mark.parametrize("needs", [{"moments": {"weight": "importance"}}, {"momets"}])
def test_needs_of_nothing_there_is_are_a_bug(needs: dict) -> None:
    with pytest.raises(TypeError, match=r"is no need, or hangs on a parameter"):

        @register("post", "bad", title="Bad", needs=needs)
        def bad(inputs: object, *, weights: Annotated[str, Param("whose")] = "uniform") -> None:
            """Does a thing."""


def test_methods_say_whether_they_look_at_importance() -> None:
    for kind, name, parameters, looks in [
        ("grouping", "permutation", {}, False),
        ("grouping", "permutation", {"weights": "importance"}, True),
        ("grouping", "weight_matching", {}, False),
        ("grouping", "weight_matching", {"weights": "importance"}, True),
        ("grouping", "optimal_transport", {}, False),
        ("grouping", "optimal_transport", {"marginals": "importance"}, True),
        ("grouping", "kmeans", {}, True),
        ("solver", "average", {}, True),
        ("solver", "average", {"head_weights": "uniform"}, False),
    ]:
        spec = registry.get(kind, name)
        filled = registry.check_parameters(kind, name, parameters)
        assert ("importance" in spec.used(filled)) == looks, (name, parameters)


def test_labels_are_used_where_a_share_of_them_is_asked_for() -> None:
    spec = registry.get("post", "full_distillation")
    filled = registry.check_parameters("post", spec.name, {})
    assert "labels" not in spec.used(filled)
    assert "labels" in spec.used({**filled, "labels": 0.2})
    assert "labels" not in spec.needed({**filled, "labels": 0.2}), "without labels it follows the ensemble alone"


@pytest.mark.usefixtures("registered")
def test_steps_on_norms_follow_every_solver_that_keeps_them() -> None:
    before = {name: registry.get("post", name).accepts for name in registry.names("post")}

    @register("solver", "toy", title="Toy", keeps_norms=True)
    def toy(inputs: object) -> None:
        """Does a thing."""

    for name, solvers in before.items():
        spec = registry.get("post", name)
        assert spec.statistics == (solvers is not None), name
        if solvers is None:
            assert spec.accepts is None, name
            assert spec.as_json()["accepts"] is None
        else:
            assert {"average", "ties"} <= solvers, name
            assert solvers.isdisjoint({"gradient", "least_squares", "regmean"}), name
            assert spec.accepts == {*solvers, "toy"}, name
            assert spec.as_json()["accepts"] == sorted({*solvers, "toy"})


@pytest.mark.usefixtures("registered")
def test_a_grouping_may_ask_for_progress_which_is_no_parameter() -> None:
    @register("grouping", "toy", title="Toy")
    def toy(stats: object, *, progress: Progress, rounds: Annotated[int, Param("sweeps")] = 3) -> str:
        """Does a thing."""
        progress.report(0.5, f"{stats}, {rounds} rounds")
        return "grouped"

    def stop(event: object) -> None:
        raise Cancelled

    spec = registry.get("grouping", "toy")
    assert spec.takes_progress
    assert [p.name for p in spec.parameters] == ["rounds"]
    assert registry.check_parameters("grouping", "toy", {}) == {"rounds": 3}
    assert spec.run("stats", rounds=3) == "grouped"
    with pytest.raises(Cancelled):
        spec.run("stats", progress=Progress(stop), rounds=3)
    assert not registry.get("grouping", "identity").takes_progress
    with pytest.raises(RecipeError, match="no parameter 'progress'"):
        registry.check_parameters("grouping", "toy", {"progress": 1})


@pytest.mark.parametrize(
    ("name", "parameters", "equivariant"),
    [
        ("hungarian", {}, True),
        ("identity", {}, False),
        ("kmeans", {}, False),
        ("kmeans", {"start": "heaviest_first"}, True),
        ("zipit", {}, True),
        ("zipit", {"alpha": 0}, False),
        ("auto", {}, False),
        ("auto", {"candidates": "balanced, permutation"}, True),
    ],
)
def test_whether_the_order_of_a_parents_neurons_matters_may_hang_on_parameters(
    name: str, parameters: dict, equivariant: bool
) -> None:
    assert registry.get("grouping", name).is_equivariant(parameters) == equivariant


@pytest.mark.parametrize("text", ["1e-3", "1E-3", "1.0e-3", ".001", "+1e-3", "0.001"])
def test_text_that_is_a_number_is_read_as_one(text: str) -> None:
    assert _ridge(text) == 0.001
    ratio = registry.check_parameters("grouping", "partial_permutation", {"ratio": {"fc1": text}})["ratio"]
    assert ratio == {"others": 0.5, "fc1": 0.001}


@pytest.mark.parametrize(
    "text", ["nan", "inf", "-inf", "1e999", "1_000", " 1", "1e", "e3", ".", "0x10", "one", "1e-3 ", "٣", ""]
)
def test_other_text_is_none(text: str) -> None:
    with pytest.raises(RecipeError, match=r"solver\.ridge: .* is not of type float or one of auto") as caught:
        _ridge(text)
    assert repr(text) in str(caught.value)


def test_bounds_hold_for_numbers_given_as_text() -> None:
    assert _ridge("auto") == "auto"
    with pytest.raises(RecipeError, match="too small; the smallest allowed value is 0"):
        _ridge("-1e-3")
    with pytest.raises(RecipeError, match="'3' is not of type int"):
        registry.check_parameters("solver", "gradient", {"batch": "3"})


def _ridge(value: object) -> object:
    return registry.check_parameters("solver", "least_squares", {"ridge": value})["ridge"]
