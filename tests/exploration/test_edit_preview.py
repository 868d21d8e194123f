"""What a preview promises of edits is what fusing with them shows."""

from __future__ import annotations

import time

import numpy as np
import pytest

from fusion_engine import store
from fusion_engine.core.edits.applying import Groups
from fusion_engine.core.errors import FusionError
from fusion_engine.exploration import edit_preview
from fusion_engine.exploration.edit_preview import preview, second_best
from tests.jobs.job_runs import done

RECIPE = {"importance": "activation", "grouping": "kmeans", "solver": "average"}


@pytest.fixture(scope="module")
def fused(tmp_path_factory: pytest.TempPathFactory):
    """A function that fuses the demo parents by edits and gives the run, once for the same edits."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FUSION_HOME", str(tmp_path_factory.mktemp("home")))
        patch.delenv("FUSION_SCHEDULER", raising=False)
        parents = store.read_result(done("import_parents", demo="digits"))["parents"]

        def run(*edits: dict) -> str:
            recipe = {**RECIPE, "edits": list(edits)}
            return str(done("fuse", parents=parents, data="digits:train", samples=100, recipe=recipe))

        yield run


@pytest.fixture(scope="module")
def plain(fused) -> str:
    return fused()


def arrays_of(run: str, space: str) -> dict[str, np.ndarray]:
    index = next(s["index"] for s in store.read_explore(run)["spaces"] if s["name"] == space)
    return store.read_arrays(run, "explore.npz", f"{index}/")


def edits_of(arrays: dict[str, np.ndarray]) -> list[dict]:
    """One of each kind, on the largest groups."""
    sizes = np.bincount(arrays["group"])
    members = [np.flatnonzero(arrays["group"] == g) for g in np.argsort(-sizes)[:6]]
    name = [[f"parent_{arrays['parent'][i]}:{arrays['neuron'][i]}" for i in group] for group in members]
    return [
        {"edit": "move", "space": "fc1", "neurons": name[0][:1], "to": name[1][0]},
        {"edit": "merge", "space": "fc1", "neurons": [name[2][0], name[3][0]]},
        {"edit": "split", "space": "fc1", "neurons": name[4][:1]},
        {"edit": "pin", "space": "fc1", "neurons": name[4][1:2]},
        {"edit": "exclude", "space": "fc1", "neurons": name[5][:1]},
    ]


def agrees(found: edit_preview.Preview, real: dict[str, np.ndarray], error: float) -> None:
    assert (found.labels == real["group"]).all()
    assert (found.group_members == real["group_members"]).all()
    np.testing.assert_allclose(found.group_importance, real["group_importance"], rtol=1e-12)
    np.testing.assert_allclose(found.group_error, real["group_error"], rtol=1e-6, atol=1e-12)
    assert found.change.lost_after == pytest.approx(error, rel=1e-6)


def error_of(run: str) -> float:
    return next(s["error"] for s in store.read_explore(run)["spaces"] if s["name"] == "fc1")


def test_a_preview_is_what_fusing_with_the_edits_shows(fused, plain: str) -> None:
    edits = edits_of(arrays_of(plain, "fc1"))
    found, real = preview(plain, "fc1", edits), fused(*edits)
    agrees(found, arrays_of(real, "fc1"), error_of(real))
    assert found.change.lost_before == pytest.approx(error_of(plain), rel=1e-6)
    assert found.words == "1 neuron moved, groups of 2 merged, 1 split off, 1 pinned, 1 excluded"
    assert found.lost.shape == found.labels.shape
    assert found.lost[found.labels < 0] == pytest.approx(1)
    assert found.free == (found.group_members.sum(1) == 0).sum()
    judged = next(s["verdict"] for s in store.read_explore(real)["spaces"] if s["name"] == "fc1")
    counted = ("groups", "mixed", "several", "one_parent", "single", "empty", "severity", "sentence")
    assert [found.verdict[name] for name in counted] == [judged[name] for name in counted]
    assert [n["neuron"] for n in found.verdict["worst_neurons"]] == [n["neuron"] for n in judged["worst_neurons"]]


def test_edits_on_top_of_edits_are_as_all_of_them_from_the_start(fused, plain: str) -> None:
    """A pinned group stays pinned when something joins it later."""
    edits = edits_of(arrays_of(plain, "fc1"))
    half = fused(*edits)
    pinned = edits[3]["neurons"][0]
    other = arrays_of(half, "fc1")
    joining = next(i for i in np.flatnonzero(other["parent"] == 3) if other["group"][i] >= 0)
    more = [{"edit": "move", "space": "fc1", "neurons": [f"3:{other['neuron'][joining]}"], "to": pinned}]
    real = fused(*edits, *more)
    agrees(preview(half, "fc1", more), arrays_of(real, "fc1"), error_of(real))
    nothing = preview(half, "fc1", [])
    assert nothing.change.groups == ()
    agrees(nothing, other, error_of(half))


def test_the_second_best_group_is_the_one_that_trying_finds(plain: str) -> None:
    found, arrays = second_best(plain, "fc1"), arrays_of(plain, "fc1")
    for i in (0, 17, 100):
        neuron = [f"{arrays['parent'][i]}:{arrays['neuron'][i]}"]
        losses = {}
        for group in set(arrays["group"].tolist()) - {int(arrays["group"][i])}:
            at = np.flatnonzero(arrays["group"] == group)[0]
            to = f"{arrays['parent'][at]}:{arrays['neuron'][at]}"
            tried = preview(plain, "fc1", [{"edit": "move", "space": "fc1", "neurons": neuron, "to": to}])
            losses[group] = tried.change.lost_after - tried.change.lost_before
        assert int(found.group[i]) == min(losses, key=losses.__getitem__)
        assert found.margin[i] == pytest.approx(min(losses.values()), rel=1e-6, abs=1e-12)


@pytest.mark.parametrize(
    ("space", "edit", "line"),
    [
        ("fc9", {"edit": "exclude", "space": "fc9", "neurons": ["0:1"]}, "this run has no space 'fc9'"),
        ("fc1", {"edit": "exclude", "space": "fc2", "neurons": ["0:1"]}, "an edit of space 'fc2', not of 'fc1'"),
        ("fc1", {"edit": "exclude", "space": "fc1", "neurons": ["0:64"]}, "parent_0 has neurons 0 to 63"),
        ("fc1", {"edit": "exclude", "space": "fc1", "neurons": ["you:1"]}, "there is no parent 'you'"),
        ("fc1", {"edit": "split", "space": "fc1", "neurons": ["0:1"], "to": "0:2"}, "only move has 'to'"),
    ],
)
def test_what_cannot_be_previewed_is_said_in_a_line(space: str, edit: dict, line: str, plain: str) -> None:
    with pytest.raises(FusionError, match=line):
        preview(plain, space, [edit])


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({"hard": False}, "mixes neurons instead of grouping them"),
        ({"edits_refused": "space 'fc1' is of heads"}, "is of heads"),
    ],
)
def test_soft_groupings_and_heads_have_no_preview(
    change: dict, line: str, plain: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = store.read_explore(plain)
    found["spaces"] = [{**space, **change} for space in found["spaces"]]
    monkeypatch.setattr(store, "read_explore", lambda run: found)
    edit_preview._read.cache_clear()
    with pytest.raises(FusionError, match=line):
        preview(plain, "fc1", [])


def test_two_parents_of_512_neurons_take_no_time(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    features = rng.normal(size=(2_000, 1_024))
    covariance = features.T @ features / 2_000
    labels = rng.integers(0, 512, 1_024)
    shares = 1.0 / np.bincount(labels, minlength=512)[labels]
    groups = Groups(labels, shares, 512)
    known = edit_preview._Known(
        ("a", "b"), (512, 512), np.repeat([0, 1], 512), np.ones(1_024), groups, covariance, np.diag(covariance).copy(),
        edit_preview.group_error(covariance, groups),
    )  # fmt: skip
    monkeypatch.setattr(edit_preview, "_read", lambda run, space: known)
    edits = [
        {"edit": "exclude", "space": "s", "neurons": ["0:0-99"]},
        {"edit": "merge", "space": "s", "neurons": ["1:0-9"]},
    ]
    seconds = []
    for _ in range(5):
        started = time.perf_counter()
        preview("run", "s", edits)
        seconds.append(time.perf_counter() - started)
    assert min(seconds) < 0.05
