"""The shipped demo parents: there, small, and an interesting case."""

from __future__ import annotations

import pytest

from fusion_engine.core.errors import ParentError
from fusion_engine.data import load_data
from fusion_engine.demo import DEMOS, demo_files, load_demo
from fusion_engine.demo.__main__ import PARENTS, make
from fusion_engine.evaluation import compare


@pytest.mark.parametrize("name", DEMOS)
def test_demo_is_worth_fusing(name: str) -> None:
    parents = load_demo(name)
    assert len(parents) == PARENTS[name]
    assert all(p.metadata.class_counts and p.metadata.training["regime"] == "non_iid" for p in parents)
    report = compare(parents, None, load_data("digits:test"))
    assert report["average"]["accuracy"] < min(p["accuracy"] for p in report["parents"]) - 0.2
    assert report["softmax_ensemble"]["accuracy"] > report["best_parent"]["accuracy"] + 0.02


def test_demo_is_small() -> None:
    assert sum(file.stat().st_size for name in DEMOS for file in demo_files(name)) < 2**20


def test_demo_can_be_made_again() -> None:
    """Weights agree bit for bit only on one machine; what was trained on agrees everywhere."""
    shipped, made = load_demo("mlp"), make("mlp")
    assert [p.metadata for p in shipped] == [p.metadata for p in made]
    test = load_data("digits:test")
    pairs = zip(compare(shipped, None, test)["parents"], compare(made, None, test)["parents"], strict=True)
    assert all(abs(a["accuracy"] - b["accuracy"]) < 0.05 for a, b in pairs)


def test_unknown_demo() -> None:
    with pytest.raises(ParentError, match="did you mean 'vgg'"):
        load_demo("vg")
