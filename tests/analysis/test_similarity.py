"""Similarities against direct formulas on the activations themselves, scikit-learn, and brute force."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from analysis_cases import case, shuffled

from fusion_engine.analysis import similarity
from fusion_engine.analysis.canonical import canonical_correlations, linear_cka, svcca
from fusion_engine.analysis.distance_correlation import correlation, partial_correlation, u_centred
from fusion_engine.graph import Program
from fusion_engine.stats import grouping_sites

RNG = np.random.default_rng


def related(rows: int = 300) -> tuple[np.ndarray, np.ndarray]:
    """Two sets of 6 and 4 features, some of them shared."""
    random = RNG(0)
    shared = random.normal(size=(rows, 3))
    x = np.concatenate([shared, random.normal(size=(rows, 3))], 1) @ random.normal(size=(6, 6))
    y = np.concatenate([shared[:, :2], random.normal(size=(rows, 2))], 1) @ random.normal(size=(4, 4))
    return x - x.mean(0), y - y.mean(0)


def moments(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return x.T @ x, x.T @ y, y.T @ y


def test_cka_is_the_normalised_alignment_of_sample_grams() -> None:
    x, y = related()
    k, m = x @ x.T, y @ y.T
    direct = (k * m).sum() / np.sqrt((k * k).sum() * (m * m).sum())
    assert linear_cka(*moments(x, y)) == pytest.approx(direct, rel=1e-10)
    turn = np.linalg.qr(RNG(1).normal(size=(6, 6)))[0]
    assert linear_cka(*moments(x, 3 * x @ turn)) == pytest.approx(1)
    assert linear_cka(*moments(x, 0 * y)) == 0


def test_cka_is_not_debiased() -> None:
    """Independent features of n neurons and r rows: n / (n + r), as the docstring says."""
    x, y = (RNG(seed).normal(size=(90, 60)) for seed in (0, 1))
    assert linear_cka(*moments(x - x.mean(0), y - y.mean(0))) == pytest.approx(60 / 150, abs=0.02)


def test_canonical_correlations_are_scikit_learns() -> None:
    cross_decomposition = pytest.importorskip("sklearn.cross_decomposition")
    x, y = related()
    fitted = cross_decomposition.CCA(4, max_iter=5000, tol=1e-12).fit(x, y)
    scores = fitted.transform(x, y)
    wanted = [np.corrcoef(scores[0][:, i], scores[1][:, i])[0, 1] for i in range(4)]
    np.testing.assert_allclose(canonical_correlations(*moments(x, y)), wanted, atol=1e-5)


def test_svcca_keeps_the_leading_directions() -> None:
    random = RNG(0)
    x = random.normal(size=(400, 5)) * [30, 20, 10, 0.1, 0.1]
    y = x @ random.normal(size=(5, 5))
    x, y = x - x.mean(0), y - y.mean(0)

    def leading(z: np.ndarray) -> np.ndarray:
        u, s, _ = np.linalg.svd(z, full_matrices=False)
        count = int(np.searchsorted(np.cumsum(s**2) / (s**2).sum(), 0.99)) + 1
        return u[:, :count]

    direct = np.linalg.svd(leading(x).T @ leading(y), compute_uv=False).mean()
    assert svcca(*moments(x, y)) == pytest.approx(direct, rel=1e-8)
    assert canonical_correlations(*moments(x, y)) == pytest.approx(np.ones(5), abs=1e-8)


def test_features_that_never_vary_correlate_with_nothing() -> None:
    x, y = related()
    doubled = np.concatenate([x, x, np.zeros((len(x), 2))], 1)
    np.testing.assert_allclose(
        canonical_correlations(*moments(doubled, y)), canonical_correlations(*moments(x, y)), atol=1e-8
    )
    assert svcca(*moments(0 * x, y)) == 0


def brute_u_centred(x: np.ndarray) -> np.ndarray:
    n = len(x)
    d = np.array([[np.linalg.norm(a - b) for b in x] for a in x])
    out = np.zeros((n, n))
    for i in range(n):
        for j in range(n):
            if i != j:
                out[i, j] = (
                    d[i, j] - d[i].sum() / (n - 2) - d[:, j].sum() / (n - 2) + d.sum() / ((n - 1) * (n - 2))
                )
    return out


def test_distance_correlations_against_brute_force() -> None:
    random = RNG(3)
    z = random.normal(size=(12, 2))
    x, y = z + 0.5 * random.normal(size=(12, 2)), np.c_[z[:, :1] ** 2, random.normal(size=12)]
    a, b, c = (brute_u_centred(m) for m in (x, y, z))
    np.testing.assert_allclose(u_centred(x), a, atol=1e-12)
    np.testing.assert_allclose(a.sum(0), 0, atol=1e-12)

    def inner(p: np.ndarray, q: np.ndarray) -> float:
        return sum(p[i, j] * q[i, j] for i in range(12) for j in range(12) if i != j) / (12 * 9)

    def cosine(p: np.ndarray, q: np.ndarray) -> float:
        return inner(p, q) / np.sqrt(inner(p, p) * inner(q, q))

    assert correlation(u_centred(x), u_centred(y)) == pytest.approx(cosine(a, b), rel=1e-10)
    without = [m - inner(m, c) / inner(c, c) * c for m in (a, b)]
    found = partial_correlation(*(u_centred(m) for m in (x, y, z)))
    assert found == pytest.approx(cosine(*without), rel=1e-10)
    ab, ac, bc = cosine(a, b), cosine(a, c), cosine(b, c)  # as for ordinary partial correlations (Székely & Rizzo)
    assert found == pytest.approx((ab - ac * bc) / np.sqrt((1 - ac**2) * (1 - bc**2)), rel=1e-10)


def test_independent_features_have_no_distance_correlation_on_average() -> None:
    random = RNG(4)
    found = []
    for _ in range(60):
        a, b = (u_centred(random.normal(size=(40, 5))) for _ in range(2))
        found.append(correlation(a, b))
    assert abs(np.mean(found)) < 3 * np.std(found) / np.sqrt(len(found)) + 1e-3
    assert min(found) < 0 < max(found)


def test_a_common_cause_explains_what_is_shared() -> None:
    random = RNG(5)
    z = random.normal(size=(200, 3))
    a, b, c = (u_centred(z + 0.3 * random.normal(size=(200, 3)) * on) for on in (1, 1, 0))
    assert correlation(a, b) > 0.7
    assert abs(partial_correlation(a, b, c)) < 0.15
    assert correlation(a, a) == pytest.approx(1)
    assert partial_correlation(a, a, a) == 0
    constant = u_centred(np.ones((200, 2)))
    assert correlation(a, constant) == 0
    assert partial_correlation(a, b, constant) == pytest.approx(correlation(a, b))


@pytest.mark.parametrize("name", ["mlp", "vgg_bn_2fc", "resnet"])
def test_a_copy_in_another_order_is_the_same_network(name: str) -> None:
    c = case(name)
    copy, _ = shuffled(c.trace, c.first)
    for space in similarity(c.trace, [c.first, c.second, copy], c.data):
        assert set(space.measures) == {"cka", "svcca", "cca", "distance_correlation", "partial_distance_correlation"}
        for measure in ("cka", "svcca", "cca", "distance_correlation"):
            matrix = space.measures[measure]
            assert matrix[0, 2] == pytest.approx(1, abs=1e-4), (space.name, measure)
            assert matrix[0, 1] == pytest.approx(matrix[1, 2], abs=1e-3)
            np.testing.assert_array_equal(matrix, matrix.T)
        assert space.measures["cka"][0, 1] < 0.99


def test_cka_of_a_space_is_that_of_its_activations() -> None:
    c = case("mlp")
    found = {space.name: space for space in similarity(c.trace, [c.first, c.second], c.data)}
    for name, space in c.trace.spaces.items():
        program = Program(c.trace, None, [space.features[0].node])
        with torch.inference_mode():
            x, y = (program(s, c.data.x)[0].double().numpy() for s in (c.first, c.second))
        direct = linear_cka(*moments(x - x.mean(0), y - y.mean(0)))
        assert found[name].measures["cka"][0, 1] == pytest.approx(direct, rel=1e-6)
        wanted = correlation(u_centred(x), u_centred(y))
        assert found[name].measures["distance_correlation"][0, 1] == pytest.approx(wanted, rel=1e-6)
        assert "partial_distance_correlation" not in found[name].measures
        assert (found[name].rows, found[name].samples) == (48, 48)


def test_few_samples_are_drawn_by_the_seed() -> None:
    c = case("mlp")

    def drawn(seed: int) -> float:
        space = similarity(c.trace, [c.first, c.second], c.data, most_samples=16, seed=seed)[0]
        assert space.samples == 16
        return float(space.measures["distance_correlation"][0, 1])

    assert drawn(0) == drawn(0)
    assert drawn(0) != drawn(1)


def test_samples_are_compared_where_attention_puts_tokens_first() -> None:
    c = case("vit_module")
    name, (site,) = next((n, places) for n, places in grouping_sites(c.trace).items() if n.endswith("in_proj@0"))
    program = Program(c.trace, None, [site.node])
    with torch.inference_mode():
        tensors = [program(s, c.data.x)[0] for s in (c.first, c.second)]
    assert tensors[0].shape[:2] == (5, 48), "tokens, samples"
    x, y = (t.mean(0)[:, site.index.ravel()].double().numpy() for t in tensors)
    found = {space.name: space for space in similarity(c.trace, [c.first, c.second], c.data)}
    wanted = correlation(u_centred(x), u_centred(y))
    assert found[name].measures["distance_correlation"][0, 1] == pytest.approx(wanted, rel=1e-5)
