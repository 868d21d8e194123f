"""Groupings edited by hand, as part of a recipe: what every solver and step makes of them."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import torch

import fusion_engine
from fusion_engine import load_data, pipeline
from fusion_engine.architectures import ViTConfig, build
from fusion_engine.core import registry
from fusion_engine.core.errors import FusionError
from fusion_engine.data import Dataset, balanced_sample
from fusion_engine.demo import load_demo
from fusion_engine.parents import make_parent
from fusion_engine.pipeline import FusionResult
from fusion_engine.stats import StatisticsCache

CACHE = StatisticsCache()  # traces and moments of the same parents once
fuse, fuse_again = partial(fusion_engine.fuse, cache=CACHE), partial(pipeline.fuse_again, cache=CACHE)
KMEANS = {"importance": "activation", "grouping": "kmeans", "solver": "average"}
SHORT = {
    "gradient": {"epochs": 1, "mixtures": 0},
    "fine_tuning": {"steps": 4},
    "full_distillation": {"steps": 4},
    "head_distillation": {"steps": 4},
}


@pytest.fixture(scope="module")
def digits() -> Dataset:
    data = load_data("digits:train")
    return data.subset(balanced_sample(data, 12).tolist())


@pytest.fixture(scope="module")
def parents() -> list:
    return load_demo("mlp")[:2]


@pytest.fixture(scope="module")
def plain(parents: list, digits: Dataset) -> FusionResult:
    return fuse(parents, digits, KMEANS)


def emptied(result: FusionResult, space: str) -> list[dict]:
    """Edits that merge two groups, so that one is left empty, exclude a neuron, and pin one."""
    labels = np.concatenate(result.groupings[space].labels)
    sizes = np.bincount(labels)
    size = len(result.groupings[space].labels[0])
    names = [f"{i // size}:{i % size}" for i in (np.flatnonzero(labels == g)[0] for g in np.argsort(-sizes)[:4])]
    return [
        {"edit": "merge", "space": space, "neurons": names[:2]},
        {"edit": "pin", "space": space, "neurons": [names[2]]},
        {"edit": "exclude", "space": space, "neurons": [names[3]]},
    ]


def same(one: dict, other: dict) -> bool:
    return all(torch.equal(tensor, other[name]) for name, tensor in one.items())


def test_groups_that_no_edit_touches_keep_their_rows_to_the_bit(
    parents: list, digits: Dataset, plain: FusionResult
) -> None:
    space = next(iter(plain.groupings))
    edits = emptied(plain, space)
    found = fuse(parents, digits, {**KMEANS, "edits": edits}).groupings
    before, after = plain.groupings[space], found[space]
    touched = {
        int(g.labels[int(p)][int(i)]) for g in (before, after) for e in edits for n in e["neurons"]
        for p, i in [n.split(":")]
    }  # fmt: skip
    rest = [g for g in range(before.size) if g not in touched]
    assert 0 < len(rest) < before.size
    for p in range(2):
        assert (before.merge[p][rest] == after.merge[p][rest]).all()
        assert (before.unmerge[p][:, rest] == after.unmerge[p][:, rest]).all()
    assert all(
        found[name] is not None and same_grouping(found[name], plain.groupings[name]) for name in found if name != space
    )
    merge, unmerge = np.concatenate(after.merge, 1), np.concatenate(after.unmerge, 0)
    used = merge.any(1)
    assert (~used).sum() == (~np.concatenate(before.merge, 1).any(1)).sum() + 1, "the merged group's slot is free"
    assert np.allclose((merge @ unmerge)[used][:, used], np.eye(used.sum()))


def same_grouping(one, other) -> bool:
    return all((a == b).all() for a, b in zip(one.merge + one.unmerge, other.merge + other.unmerge, strict=True))


def test_edits_that_put_things_back_give_the_same_weights_to_the_bit(
    parents: list, digits: Dataset, plain: FusionResult
) -> None:
    space = next(iter(plain.groupings))
    labels = plain.groupings[space].labels
    group = next(g for g in range(plain.groupings[space].size) if sum((part == g).sum() for part in labels) > 2)
    members = [f"{p}:{i}" for p, part in enumerate(labels) for i in np.flatnonzero(part == group)]
    other = next(f"0:{i}" for i, g in enumerate(labels[0]) if g != group)
    there = {"edit": "move", "space": space, "neurons": [members[0]], "to": other}
    back = {"edit": "move", "space": space, "neurons": [members[0]], "to": members[1]}
    assert same(plain.state, fuse(parents, digits, {**KMEANS, "edits": [there, back]}).state)
    assert not same(plain.state, fuse(parents, digits, {**KMEANS, "edits": [there]}).state)


@pytest.mark.parametrize("name", ["made", "late", "given"])
def test_late_and_given_groupings_are_edited_as_others(name: str, parents: list, digits: Dataset) -> None:
    grouping = "hungarian" if name == "late" else "kmeans"
    recipe = {"importance": "activation", "grouping": grouping, "solver": "least_squares"}
    first = fuse(parents, digits, recipe)
    spaces = list(first.groupings)
    edits = [edit for space in spaces for edit in emptied(first, space)]
    given = {"groupings": first.groupings} if name == "given" else {}
    found = fuse(parents, digits, {**recipe, "edits": edits}, **given)
    assert all("edited" in found.groupings[space].info for space in spaces)
    for space in spaces:
        assert (np.concatenate(found.groupings[space].labels) == -1).sum() == 1
    assert all(torch.isfinite(t).all() for t in found.state.values())
    assert any("edited by hand" in line for line in found.report["warnings"])


def methods() -> list[tuple[str, str]]:
    catalogue = registry.catalogue()
    return [(kind, m["name"]) for kind in ("solver", "post") for m in catalogue[kind]]


@pytest.mark.parametrize(("kind", "name"), methods())
def test_every_method_makes_finite_weights_of_empty_slots(
    kind: str, name: str, parents: list, digits: Dataset, plain: FusionResult
) -> None:
    spec = registry.get(kind, name)
    step = {"method": name, **SHORT.get(name, {})}
    recipe = {**KMEANS, "solver": step} if kind == "solver" else {**KMEANS, "post": [step]}
    if kind == "post" and spec.accepts is not None and "average" not in spec.accepts:
        recipe["solver"] = sorted(spec.accepts)[0]
    if kind == "solver" and spec.accepts is not None and "kmeans" not in spec.accepts:
        recipe["grouping"] = sorted(spec.accepts)[0]
    edits = [edit for space in plain.groupings for edit in emptied(plain, space)]
    if spec.accepts is not None and kind == "solver" and set(spec.accepts) == {"identity"}:
        with pytest.raises(FusionError, match="looks at no groups"):
            fuse(parents, digits, {**recipe, "edits": edits}, base=parents[0])
        return
    found = fuse(parents, digits, {**recipe, "edits": edits}, base=parents[0])
    assert all(torch.isfinite(t).all() for t in found.state.values())
    logits = found.model(digits.normalised(slice(0, 8)))
    assert torch.isfinite(logits).all()


@pytest.mark.parametrize(
    ("edit", "line"),
    [
        ({"edit": "exclude", "space": "nowhere", "neurons": ["0:1"]}, r"^edits.0: there is no space 'nowhere'"),
        ({"edit": "exclude", "space": "{space}", "neurons": ["7:1"]}, "there is no parent '7'"),
        ({"edit": "exclude", "space": "{space}", "neurons": ["0:9999"]}, "has neurons 0 to"),
        ({"edit": "exclude", "space": "{space}", "neurons": []}, "name neurons as a list"),
        ({"edit": "exclude", "space": "{space}", "neurons": ["0:1"], "to": "0:2"}, "only move has 'to'"),
        ({"edit": "move", "space": "{space}", "neurons": ["0:1"]}, "with 'to'"),
        ({"edit": "mvoe", "space": "{space}", "neurons": ["0:1"]}, "there is no edit 'mvoe'.*move"),
    ],
)
def test_edits_that_do_not_fit_are_refused_in_one_line(
    edit: dict, line: str, parents: list, digits: Dataset, plain: FusionResult
) -> None:
    stages: list[str] = []
    edit = {**edit, "space": edit["space"].format(space=next(iter(plain.groupings)))}
    with pytest.raises(FusionError, match=line) as caught:
        fuse(parents, digits, {**KMEANS, "edits": [edit]}, on_progress=lambda event: stages.append(event.stage))
    assert "\n" not in str(caught.value)
    assert not {"verify", "importance", "grouping"} & set(stages), "nothing expensive has begun"


def test_soft_groupings_are_not_edited(parents: list, digits: Dataset, plain: FusionResult) -> None:
    soft = next(m["name"] for m in registry.catalogue()["grouping"] if m["linear"])
    edits = emptied(plain, next(iter(plain.groupings)))
    with pytest.raises(FusionError, match="no groups to edit"):
        fuse(parents, digits, {**KMEANS, "grouping": soft, "edits": edits})


AGAIN = {
    "average": {**KMEANS, "post": ["repair"]},
    "least squares": {**KMEANS, "solver": "least_squares"},
    "late": {**KMEANS, "grouping": "hungarian", "solver": "least_squares"},
    "regmean": {**KMEANS, "solver": "regmean"},
    "fisher": {**KMEANS, "solver": "fisher"},
    "by weights": {"grouping": "weight_matching", "solver": "average"},
    "gradient": {**KMEANS, "solver": {"method": "gradient", **SHORT["gradient"]}},
    "late, then trained": {
        **KMEANS, "grouping": "hungarian", "solver": "least_squares", "post": [{"method": "fine_tuning", "steps": 4}],
    },
}  # fmt: skip


@pytest.mark.parametrize("at", [0, -1], ids=["first", "last"])
@pytest.mark.parametrize("recipe", AGAIN.values(), ids=AGAIN)
@pytest.mark.parametrize("name", ["mlp", "vgg"])
def test_fusing_again_gives_the_weights_of_a_whole_fusion_to_the_bit(
    name: str, recipe: dict, at: int, digits: Dataset
) -> None:
    parents = load_demo(name)[:2]
    first = fuse(parents, digits, recipe)
    space = list(first.groupings)[at]
    edited = {**recipe, "edits": emptied(first, space)}
    whole, again = fuse(parents, digits, edited), fuse_again(parents, digits, edited, first)
    assert same(whole.state, again.state)
    assert not same(whole.state, first.state)
    assert list(whole.groupings) == list(again.groupings)
    assert all(same_grouping(whole.groupings[n], again.groupings[n]) for n in whole.groupings)
    assert whole.report["edits"] == again.report["edits"]
    # From an edited fusion: one space more, and without any.
    other = next(iter(first.groupings)) if at else list(first.groupings)[-1]
    more = {**edited, "edits": [*edited["edits"], *emptied(first, other)]}
    assert same(fuse(parents, digits, more).state, fuse_again(parents, digits, more, again).state)
    assert same(first.state, fuse_again(parents, digits, recipe, again).state)


def test_levels_before_the_first_edited_one_are_not_solved_again(
    parents: list, digits: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = fuse(parents, digits, AGAIN["least squares"])
    edited = {**AGAIN["least squares"], "edits": emptied(first, list(first.groupings)[-1])}
    again = fuse_again(parents, digits, edited, first)
    assert "level 0 is kept from the earlier fusion" in again.report["warnings"]
    trained = fuse(parents, digits, AGAIN["gradient"])
    edited = {**AGAIN["gradient"], "edits": emptied(trained, list(trained.groupings)[-1])}
    notes = fuse_again(parents, digits, edited, trained).report["warnings"]
    assert any("all levels were solved again" in line for line in notes)


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({"seed": 1}, "has seed 0"),
        ({"data": 1}, "has other calibration samples"),
        ({"parents": 1}, "has other parents"),
        ({"recipe": {**KMEANS, "grouping": {"method": "kmeans", "tries": 2}}}, "has another grouping in its recipe"),
        ({"recipe": {**KMEANS, "solver": "least_squares", "width": 0.5}}, "another solver and another width"),
    ],
)
def test_a_fusion_that_differs_in_more_is_not_gone_on_from(
    change: dict, line: str, parents: list, digits: Dataset, plain: FusionResult
) -> None:
    data = digits.subset(list(range(0, len(digits), 2))) if "data" in change else digits
    own = parents[::-1] if "parents" in change else parents
    with pytest.raises(FusionError, match=line):
        fuse_again(own, data, change.get("recipe", KMEANS), plain, seed=change.get("seed", 0))


def test_the_report_says_what_was_done_and_what_it_costs(parents: list, digits: Dataset, plain: FusionResult) -> None:
    space = next(iter(plain.groupings))
    edits = emptied(plain, space)
    report = fuse(parents, digits, {**KMEANS, "edits": edits}).report
    (entry,) = report["edits"]
    assert entry["space"] == space
    assert entry["done"] == "groups of 2 neurons merged, 1 pinned, 1 excluded"
    assert 0 < entry["lost_before"] < entry["lost_after"] < 1
    assert entry["excluded"] == edits[2]["neurons"]
    merged = next(g for g in entry["groups"] if edits[0]["neurons"][0] in g["before"])
    assert set(edits[0]["neurons"]) <= set(merged["after"])
    assert merged["lost_after"] > merged["lost_before"]
    assert "edits" not in plain.report


@pytest.mark.parametrize("grouping", ["kmeans", "hungarian"])
def test_transformers_heads_are_not_edited_and_what_is_beside_them_is(grouping: str, digits: Dataset) -> None:
    config, made = ViTConfig((1, 8, 8), 4, 16, 2, (24,), (16,), 10), []
    for seed in (0, 1):
        torch.manual_seed(seed)
        made.append(make_parent(f"parent_{seed}", config, build(config).eval().state_dict()))
    recipe = {**KMEANS, "grouping": grouping, "solver": "least_squares"}
    first = fuse(made, digits, recipe)
    nest = next(iter(first.trace.nests.values()))
    for name, line in ((nest.block, "is of heads"), (nest.kinds[0][0], "lies inside the heads")):
        with pytest.raises(FusionError, match=line):
            fuse(made, digits, {**recipe, "edits": [{"edit": "exclude", "space": name, "neurons": ["0:0"]}]})
    inside = {nest.block, *(name for kind in nest.kinds for name in kind)}
    for space in [name for name in first.groupings if name not in inside]:
        edited = {**recipe, "edits": emptied(first, space)}
        whole, again = fuse(made, digits, edited), fuse_again(made, digits, edited, first)
        assert all(torch.isfinite(t).all() for t in whole.state.values())
        assert same(whole.state, again.state)
