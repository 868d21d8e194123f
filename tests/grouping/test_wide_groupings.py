"""Wide spaces: groupings by points are those by the Gram, and whole fusions give the same network."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from fusion_engine import fuse, load_data
from fusion_engine.core.errors import FusionError
from fusion_engine.core.matrices import lazy as matrices
from fusion_engine.demo import load_demo
from fusion_engine.grouping.auto import lost
from fusion_engine.grouping.clustering.kmeans import best_of_starts
from fusion_engine.grouping.clustering.point_kmeans import best_of_point_starts
from fusion_engine.grouping.matching import weight_matching
from fusion_engine.grouping.one_space import group
from fusion_engine.stats import Points, SpaceStats, WideStats, points


def both(parents: int, n: int = 24, rows: int = 40, seed: int = 0, **more: Any) -> tuple[SpaceStats, WideStats]:
    """The same noisy twins as a Gram and as points."""
    random = np.random.default_rng(seed)
    base = random.normal(size=(rows, n)) + 1
    twins = [(base + 0.5 * random.normal(size=base.shape))[:, random.permutation(n)] for _ in range(parents)]
    joint = np.concatenate(twins, 1).astype(np.float32)
    common: dict[str, Any] = {
        "space": "s", "sizes": (n,) * parents, "means": joint.mean(0, dtype=np.float64), "count": rows,
        "importance": tuple(np.exp(0.5 * random.normal(size=n)) for _ in range(parents)), "size": n, "seed": seed,
        **more,
    }  # fmt: skip
    gram = joint.T.astype(np.float64) @ joint
    return SpaceStats(**common, gram=gram), WideStats(**common, points=Points(joint.T.copy(), np.ones(rows)))


@pytest.mark.parametrize(
    ("method", "parameters", "parents"),
    [
        ("kmeans", {}, 3), ("kmeans", {"start": "kmeans++"}, 3), ("kmeans", {"start": "heaviest_first"}, 2),
        ("permutation", {}, 2), ("permutation", {"against": "barycentre", "weights": "importance"}, 3),
        ("permutation", {"score": "inner_product", "against": "all_pairs"}, 3), ("hungarian", {}, 2),
        ("balanced", {}, 3), ("partial_permutation", {"ratio": 1.0}, 2), ("auto", {}, 2), ("cca", {}, 2),
        ("optimal_transport", {}, 2), ("agglomerative", {}, 2),
    ],
)  # fmt: skip
def test_groups_by_points_are_those_by_the_gram(method: str, parameters: dict[str, Any], parents: int) -> None:
    for seed in range(3):
        dense, wide = both(parents, seed=seed)
        one, other = group(dense, method, parameters), group(wide, method, parameters)
        for a, b in zip((*one.merge, *one.unmerge), (*other.merge, *other.unmerge), strict=True):
            np.testing.assert_allclose(b, a, atol=1e-9)
        np.testing.assert_allclose(lost(wide, other), lost(dense, one), rtol=1e-6)


def test_pooled_search_and_pruned_iterations_leave_nothing_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fusion_engine.grouping.clustering.point_kmeans._POOL", 7)
    monkeypatch.setattr("fusion_engine.grouping.clustering.point_kmeans._CHUNK", 50)
    for seed in range(5):
        dense, wide = both(4, n=30, rows=12, seed=seed)
        given = dense.weights, 20, 2
        cost, labels = best_of_starts(dense.gram, *given, np.random.default_rng(seed))
        found, others = best_of_point_starts(wide.points.at, *given, np.random.default_rng(seed))
        assert (labels == others).all()
        np.testing.assert_allclose(found, cost, rtol=1e-5)


def test_points_that_coincide_still_fill_every_group() -> None:
    at = np.repeat(np.eye(3, dtype=np.float32), 5, 0)
    for start in ("farthest_first", "kmeans++", "heaviest_first"):
        _, labels = best_of_point_starts(at, np.ones(15), 9, 2, np.random.default_rng(0), start)
        assert len(set(labels.tolist())) == 9


def test_held_out_samples_judge_the_starts() -> None:
    dense, wide = both(2, rows=60)
    held = wide.points.at[:, 45:].astype(np.float64)
    apart = {"held_means": held.mean(1), "held_count": 15}
    one = group(SpaceStats(**{**vars(dense), **apart, "held": held @ held.T}), "kmeans", {"tries": "auto"})
    judged = Points(wide.points.at, np.ones(60), held=15)
    common = {f: getattr(wide, f) for f in ("space", "sizes", "means", "count", "importance", "size", "seed")}
    other = group(WideStats(**common, **apart, points=judged), "kmeans", {"tries": "auto"})
    assert all((a == b).all() for a, b in zip(one.labels or (), other.labels or (), strict=True))
    assert one.info["chosen"] == pytest.approx(other.info["chosen"])


def test_a_method_that_needs_all_pairs_says_which_do_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fusion_engine.stats.wide_stats.FORMED", 40)
    with pytest.raises(FusionError, match=r"48 neurons .* use kmeans, hungarian"):
        group(both(2)[1], "agglomerative")
    assert group(both(2)[1], "auto").info["chosen"]["refused"].keys() == {"agglomerative"}


@pytest.mark.parametrize(
    "recipe", ["kf_linear", "hf_linear", "git_rebasin_activations", "git_rebasin_weights", "regmean", "pleas"]
)
def test_fusions_of_wide_networks_are_those_of_others(recipe: str, monkeypatch: pytest.MonkeyPatch) -> None:
    parents, data = load_demo("mlp")[:2], load_data("digits:train").subset(list(range(60)))
    x = data.normalised()
    one = fuse(parents, data, recipe)
    for module in (points, weight_matching):
        monkeypatch.setattr(module, "WIDE", 8)
    monkeypatch.setattr(matrices, "_KEPT", 8)
    other = fuse(parents, data, recipe)
    if recipe in ("kf_linear", "git_rebasin_activations"):
        assert all(entry["exact"] for entry in other.report["decisions"]["wide"].values())
    for name, grouping in one.groupings.items():
        for a, b in zip(grouping.merge, other.groupings[name].merge, strict=True):
            np.testing.assert_allclose(b, a, atol=1e-9, err_msg=name)
    with torch.inference_mode():
        wanted = one.model(x)
        assert float((other.model(x) - wanted).norm() / wanted.norm()) < 1e-4


def test_a_projection_is_said_with_its_error(monkeypatch: pytest.MonkeyPatch) -> None:
    parents, data = load_demo("mlp")[:2], load_data("digits:train").subset(list(range(300)))
    for name, value in {"WIDE": 8, "FORMED": 8, "DIMENSIONS": 256}.items():
        monkeypatch.setattr(points, name, value)
    report = fuse(parents, data, "kf_linear").report
    chosen = next(iter(report["decisions"]["wide"].values()))
    assert not chosen["exact"]
    assert chosen["coordinates"] == 256
    assert 0 < chosen["measured_error"] < 2 * chosen["standard_error"]
    assert any("random projections of 300 rows" in line for line in report["warnings"])
