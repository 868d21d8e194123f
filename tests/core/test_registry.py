"""The registry: a method's signature is its schema."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Annotated, Literal

import pytest

from fusion_engine.core import registry
from fusion_engine.core.errors import RecipeError
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
