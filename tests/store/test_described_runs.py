"""Names, notes and tags of runs; runs found by them; and which runs can be compared."""

from __future__ import annotations

import pytest

from fusion_engine import store
from fusion_engine.core.errors import StoreError

A, B, C = "a" * 32, "b" * 32, "c" * 32


def add(recipe: object = "average", **arguments: object) -> str:
    return store.create_run("fuse", {"parents": A, "data": "digits:train", "test": "digits:test", "recipe": recipe}
                            | arguments)


def keep(identifier: str, *digests: str, name: str = "") -> None:
    parents = [{"digest": digest, "name": "p"} for digest in digests]
    store.save_parents(identifier, lambda folder: None, {"id": identifier, "name": name or identifier,
                                                         "parents": parents})


def test_a_run_is_described_bit_by_bit() -> None:
    run = add()
    assert store.read_about(run) == {"name": "", "note": "", "tags": [], "changed": 0.0}
    store.describe_run(run, name="  the good one ", tags=["paper", "old  idea", "paper"])
    store.describe_run(run, note="first line  \n\n<b>second</b>\n")
    found = store.read_about(run)
    assert (found["name"], found["tags"]) == ("the good one", ["paper", "old idea"])
    assert found["note"] == "first line\n\n<b>second</b>"
    assert found["changed"] > 0
    store.change_tags(run, add=["new"], remove=["paper", "never there"])
    assert store.read_about(run)["tags"] == ["old idea", "new"]
    store.describe_run(run, name="", note="", tags=())
    assert store.find_runs("good") == []


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"name": "x" * 81}, "at most 80 characters"), ({"name": "two\nlines"}, "on one line"),
        ({"name": "right\u202eleft"}, "on one line"), ({"note": "n" * 4001}, "at most 4,000 characters"),
        ({"note": "bell\a"}, "cannot be shown"), ({"tags": ["t" * 31]}, "1 to 30"), ({"tags": ["a,b"]}, "comma"),
        ({"tags": [" "]}, "1 to 30"), ({"tags": [str(n) for n in range(21)]}, "at most 20 tags"),
    ],
)
def test_what_is_too_long_or_odd_changes_nothing(change: dict, words: str) -> None:
    run = add()
    store.describe_run(run, name="kept", note="kept", tags=["kept"])
    before = store.read_about(run)
    with pytest.raises(StoreError, match=words):
        store.describe_run(run, **change)
    assert store.read_about(run) == before


@pytest.mark.parametrize("text", ["{", "[]", '{"name": 3}', '{"name": "a\\nb", "note": "", "tags": [], "changed": 0}'])
def test_a_damaged_description_hides_no_run(text: str) -> None:
    run = add()
    (store.run_folder(run) / "about.json").write_text(text)
    assert store.read_about(run)["name"] == ""
    assert [found["id"] for found in store.find_runs()] == [run]


def test_runs_are_found_by_all_that_is_said_of_them() -> None:
    keep(A, "1", name="MNIST quarters")
    one, two, three = add(), add({"name": "mine"}, test=C), add({"solver": {}}, parents=B)
    store.create_run("explore", {"parents": A})
    store.describe_run(one, name="Best", tags=["Paper", "x"])
    store.describe_run(two, note="worse than the BEST", tags=["x"])

    def found(*words: str, **conditions: object) -> list[str]:
        return [run["id"] for run in store.find_runs(*words, **conditions)]

    assert found() == [three, two, one]
    assert found("best") == [two, one]
    assert found("best worse") == [two]
    assert found("mnist") == [two, one]
    assert found(one[-8:]) == [one]
    assert found(tags=["x"]) == [two, one]
    assert found(tags=["x", "paper"]) == [one]
    assert found(recipe="mine") == [two]
    assert found(recipe="custom") == [three]
    assert found(parents="mnist quarters") == found(parents=A) == [two, one]
    assert found(data=C) == [two]
    assert found(data="digits:train") == [three, two, one]
    assert found("best", parents=B) == []
    assert len(found(kind=None)) == 4
    assert found(state="queued") == [three, two, one]
    assert found(state="done") == []
    assert store.every_tag(store.find_runs()) == store.tags_in_use() == ["Paper", "x"]


def test_one_run_is_named() -> None:
    one, two = add(), add()
    store.describe_run(one, name="good")
    assert store.named_run("good") == store.named_run(one) == store.named_run(one[-8:]) == one
    store.describe_run(two, name="good")
    with pytest.raises(StoreError, match="means 2 runs"):
        store.named_run("good")
    with pytest.raises(StoreError, match="there is no fusion 'better'"):
        store.named_run("better")


def test_runs_are_comparable_by_weights_and_test_samples_not_by_names() -> None:
    keep(A, "1", "2", name="one name")
    keep(B, "2", "1", name="another")
    keep(C, "1", "3")
    known = "d" * 32
    runs = {
        "same": store.ground(add(test=known)), "renamed": store.ground(add(parents=B, test=known)),
        "foreign": store.ground(add(parents=C, test=known)), "elsewhere": store.ground(add()),
        "neither": store.ground(add(parents=C)),
    }
    said = store.said_apart({run: run.upper() for run in runs}, runs, "same")
    assert said == (
        "FOREIGN has other parents; ELSEWHERE has other test data; NEITHER has other parents and other test data"
    )
    assert store.said_apart({}, {"same": runs["same"]}, "same") == ""
